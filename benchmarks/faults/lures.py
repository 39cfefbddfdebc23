"""What strangers send to lead us elsewhere: files, references, names, SQL, YAML, text in a report.

Files go through the chain (`chain.py`), where a listener and a watch see who follows them. The rest
is put to the door that it would come through, here; references lead to such a listener too.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from benchmarks.faults.chain import LURE_FAMILIES, LURE_STAGES, listener, run_chain
from benchmarks.faults.corpus import sample
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.steps import STEPS
from benchmarks.malformed.kind import Setting
from benchmarks.malformed.kinds import KINDS
from pipeline.inputs import fetched, list_inputs
from pipeline.query import query
from pipeline.report import render_page
from pipeline.spec_file import load_job
from schemas.errors import AudiomillError
from schemas.job import InputsSpec
from tests.pipeline.manifest_rows import connection_with, failure, recording, segment
from tests.pipeline.manifest_rows import run as run_row

CANARY = "canary-91d4"
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'>\u202egnp"
SQL = (
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM glob('{folder}/*')",
    "COPY (SELECT 1) TO '{written}'",
    "SELECT 1; COPY (SELECT 1) TO '{written}'; SELECT 2",
    "ATTACH '{written}'",
    "INSTALL httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{written}'",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{written}''')",
)
YAML = (
    "name: x\nseed: !!python/object/apply:os.system ['touch {written}']\n",
    "name: x\nseed: !!python/object/new:os.system ['touch {written}']\n",
    "a: &a [ha, ha]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n",
    "a: &a {{x: 1}}\nb: {{<<: *a}}\n",
    "name: " + "[" * 5000 + "]" * 5000 + "\n",
    "name: mine\nname: theirs\n",
    "version: 1\nname: ../../evil\ninputs: {{uri: in}}\noutput: out\nstages: {{decode: null}}\n",
    "version: 1\nname: a/b\ninputs: {{uri: in}}\noutput: out\nstages: {{decode: null}}\n",
)
TRAVERSAL = (
    "{folder}/in",
    "{folder}/in/*/*.wav",
    "file://{folder}/in/%2e%2e/secret.txt",
    "/dev/zero",
    "/dev/full",
)
"""In the folder lies a link to another one; a link that the spec itself names may be followed."""


def run(asked: Asked) -> Report:
    """All of them; a lure is open if it led anywhere."""
    report = Report()
    folder = asked.folder
    written = folder / "written"
    secret = folder / "secret.txt"
    secret.write_text(CANARY)
    out = folder / "out-of-a-job" / "out"
    STEPS["commit"].prepare(out)
    is_open: list[str] = []

    def check(what: str, attempt: Callable[[], object]) -> None:
        report.runs += 1
        led = None
        with suppress(AudiomillError):
            led = f"was answered: {str(attempt())[:200]}"
        if written.exists():
            led = "wrote a file"
            written.unlink()
        if led:
            is_open.append(f"{what!r} {led}")

    names = {"folder": folder, "secret": secret, "written": written}
    for sql in SQL:
        check(sql, partial(query, out, sql.format(**names)))
    path = folder / "job.yaml"
    for text in YAML:
        path.write_text(text.format(**names))
        check(text[:60], lambda: load_job(path))
    with listener() as heard:
        for uri in references(folder, heard.port):
            check(uri[:60], partial(read_all, uri))
        connections = heard.connections()
    report.runs += 1
    is_open += [f"in the report: {found}" for found in _in_report()]
    lures = [kind for kind in KINDS if kind.family in LURE_FAMILIES]
    found = run_chain(asked, lures if asked.is_long else sample(), LURE_STAGES)
    if found["error"]:
        report.failures.append(f"{found['error']}; {asked.again()}")
    else:
        report.runs += sum(kind.uri is None for kind in lures)
        connections += found["connections"]
        is_open += [f"opened {name}" for name in found["canaries_opened"]]
        is_open += found["unexpected"]
    is_open += [f"{connections} connections"] * bool(connections)
    report.wanted = report.runs
    report.failures += [f"{what}; {asked.again()}" for what in is_open]
    report.figures = {
        "open": None if found["error"] else len(is_open),
        "connections": None if found["error"] else connections,
        "canaries_opened": found.get("canaries_opened"),
    }
    return report


def references(folder: Path, port: int) -> Iterator[str]:
    """References that are no path below the inputs, with what they are after in place.

    Those of the network name that port of the loopback.
    """
    inputs = folder / "in"
    inputs.mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "a.wav").write_text(CANARY)
    (inputs / "leads-out").symlink_to(folder / "elsewhere")
    (inputs / "a.wav").symlink_to(folder / "elsewhere" / "a.wav")
    for kind in KINDS:
        if kind.uri is not None:
            kind.make(Setting(path=folder / "reference", port=port))
            yield kind.uri.format(folder=folder, port=port)
    for uri in TRAVERSAL:
        yield uri.format(folder=folder)


def read_all(uri: str) -> str:
    """Names and first bytes of all inputs that a reference leads to.

    One that is refused does not end it. Raises `AudiomillError` where all of them were.
    """
    read, refusals = [], []
    for source in list_inputs(InputsSpec(uri=uri, include=["**/*"])).sources:
        try:
            with fetched(source) as path:
                read.append(f"{source.uri}: {path.read_bytes()[:40]!r}")
        except AudiomillError as error:
            refusals.append(error)
    if not read:
        raise refusals[0]
    return ", ".join(read)


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.harmful: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "script", "iframe", "object", "embed"):
            self.harmful.append(f"<{tag}>")
        self.harmful += [name for name, _ in attrs if name.startswith("on")]


def _in_report() -> list[str]:
    """What of a hostile text is alive in the report."""
    uri = f"/in/{HOSTILE}/a.wav"
    stages = [{"stage": HOSTILE, "engine": HOSTILE, "items": 1, "compute_s": 1.0}]
    with connection_with(
        recordings=[recording(uri), recording("/in/b.wav", outcome="failed")],
        segments=[segment(uri, 0, 5, HOSTILE, speaker=HOSTILE, safety_flags=[HOSTILE])],
        failures=[failure("/in/b.wav", HOSTILE, HOSTILE, HOSTILE)],
        runs=[run_row("1", stages)],
    ) as db:
        page = render_page(db, job_name=HOSTILE, score=None, clip=lambda _: None)
    turned = ["a mark that turns the reading direction"] if "\u202e" in page else []
    return [*_Tags(page).harmful, *turned]
