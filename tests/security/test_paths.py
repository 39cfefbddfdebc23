"""Names made to be taken for paths, options or lines: what a job reads and writes stays its own."""

import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.inputs import fetched, list_inputs
from pipeline.manifest import Manifest
from pipeline.output import open_output
from pipeline.references import GroundTruthError, find_references
from pipeline.run import run_job
from schemas.errors import ItemError, OutputError, SpecError
from schemas.job import InputsSpec
from schemas.source import Source
from tests.pipeline.toy_jobs import Silent, toy_job

CANARY = "canary-7f3a"
NAMES = (
    b"-i.txt",
    b"--output=evil.txt",
    b"new\nline.txt",
    b"esc\x1b[2J.txt",
    "rtl\u202etxt.exe.txt".encode(),
    b"%2e%2e%2f%2e%2e%2fevil.txt",
    b"..\\..\\evil.txt",
    b"'; DROP TABLE segments; --.txt",
    b"$(touch evil).txt",
    b"\xff\xfe.txt",
    b"n" * 251 + b".txt",
    b"C:evil.txt",
    b"file:evil.txt",
)
OUR_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*|\.lock|_delta_log")


def paths_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def refusal(source: Source) -> ItemError:
    with pytest.raises(ItemError) as caught, fetched(source):
        pass
    return caught.value


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_a_job_over_hostile_names_reads_and_writes_its_own_files_only(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "diary.txt").write_text(f"{CANARY} diary")
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in NAMES:
        Path(os.fsdecode(bytes(inputs) + b"/" + name)).write_bytes(b"good recording")
    for link, target in (
        ("passwd.txt", "/etc/passwd"),
        ("diary.txt", "../secret/diary.txt"),
        ("zero.txt", "/dev/zero"),
        ("folder.txt", "../secret"),
    ):
        (inputs / link).symlink_to(target)
    (inputs / "inside.txt").symlink_to("-i.txt")
    os.mkfifo(inputs / "fifo.txt")
    before = paths_below(tmp_path)

    out = tmp_path / "out"
    run_job(toy_job(inputs, out), Silent())

    assert paths_below(tmp_path) - before == {"out"} | {f"out/{p}" for p in paths_below(out)}
    for path in paths_below(out):
        assert all(OUR_NAMES.fullmatch(part) for part in path.split("/")), path
    manifest = Manifest(out)
    ended = manifest.table("recordings", ["uri", "outcome"]).to_pylist()
    failed = {Path(row["uri"]).name for row in ended if row["outcome"] == "failed"}
    assert failed == {"passwd.txt", "diary.txt", "zero.txt", "folder.txt", "fifo.txt"}
    assert len(ended) == len(NAMES) + 1 + len(failed)
    classes = manifest.table("failures", ["uri", "segment_id", "error_class"]).to_pylist()
    found = {Path(r["uri"]).name: r["error_class"] for r in classes if r["segment_id"] is None}
    assert found == {
        **dict.fromkeys(("passwd.txt", "diary.txt", "zero.txt", "folder.txt"), "FORBIDDEN_URI"),
        "fifo.txt": "UNREADABLE",
    }
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not any(CANARY.encode() in content or b"root:x" in content for content in written)


def test_links_are_followed_where_the_spec_says_so_and_devices_never_are(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("audio")
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "a.wav").symlink_to("../elsewhere")
    (inputs / "b.wav").symlink_to("/dev/zero")
    for uri in (inputs, inputs / "*.wav"):
        good, bad = list_inputs(InputsSpec(uri=str(uri), follow_links=True)).sources
        with fetched(good) as path:
            assert path.read_text() == "audio"
        assert refusal(bad).error_class == "UNREADABLE"
        kept_out = list_inputs(InputsSpec(uri=str(uri))).sources
        assert [refusal(s).error_class for s in kept_out] == ["FORBIDDEN_URI"] * 2


def test_a_link_that_the_spec_itself_names_is_read(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "a.wav").write_text("audio")
    (tmp_path / "folder").symlink_to(real)
    (tmp_path / "file.wav").symlink_to(real / "a.wav")
    for uri in ("folder", "folder/*.wav", "file.wav"):
        (source,) = list_inputs(InputsSpec(uri=str(tmp_path / uri))).sources
        with fetched(source) as path:
            assert path.read_text() == "audio"


def lead_out(path: Path, secret: Path) -> None:
    """Puts a link to `secret` in the place of a file or a folder; size and mtime stay the same."""
    files = [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else [path]
    for file in files:
        target = secret / file.relative_to(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes().replace(b"public", b"secret"))
        status = file.stat()
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.rename(path.with_name("moved"))
    path.symlink_to(secret)


@pytest.mark.parametrize("swapped", ["x/y/a.txt", "x/y", "x"])
@pytest.mark.parametrize("uri", ["in", "in/**/*.txt", "in/*/y/a.txt"])
def test_what_was_listed_is_read_through_no_link_that_took_its_place(
    tmp_path: Path, swapped: str, uri: str
) -> None:
    file = tmp_path / "in" / "x" / "y" / "a.txt"
    file.parent.mkdir(parents=True)
    file.write_text("public")
    spec = InputsSpec(uri=str(tmp_path / uri), include=["**/*.txt"])
    job = toy_job(tmp_path / "in", tmp_path / "out")
    job = replace(job, spec=job.spec.model_copy(update={"inputs": spec}))
    listing = list_inputs(spec)
    (begun,) = open_output(job, listing).sources
    (trusting,) = list_inputs(spec.model_copy(update={"follow_links": True})).sources
    (source,) = listing.sources
    assert source == begun == trusting
    with pytest.raises(ItemError, match="leads out of the folder") as caught, fetched(source):
        lead_out(tmp_path / "in" / swapped, tmp_path / "secret")
    assert caught.value.error_class == "FORBIDDEN_URI"
    for sent in (source, begun):
        assert refusal(pickle.loads(pickle.dumps(sent))).error_class == "FORBIDDEN_URI"
    with fetched(trusting) as path:
        assert path.read_text() == "secret"


def test_a_link_within_the_folder_may_take_a_file_s_place(tmp_path: Path) -> None:
    (tmp_path / "in" / "x").mkdir(parents=True)
    (tmp_path / "in" / "x" / "a.txt").write_text("public")
    for uri in ("in", "in/x", "in/x/*.txt", "in/x/a.txt"):
        spec = InputsSpec(uri=str(tmp_path / uri), include=["x/a.txt", "a.txt"])
        (source,) = list_inputs(spec).sources
        before = source.source_id
        (tmp_path / "in" / "x").rename(tmp_path / "in" / "moved")
        (tmp_path / "in" / "x").symlink_to("moved")
        with fetched(source) as path:
            assert path.read_text() == "public"
        (tmp_path / "in" / "x").unlink()
        (tmp_path / "in" / "moved").rename(tmp_path / "in" / "x")
        assert before == Source(source.uri, source.size_bytes, source.etag).source_id


def test_no_glob_reaches_through_a_linked_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.wav").write_text(CANARY)
    inputs = tmp_path / "in"
    (inputs / "x").mkdir(parents=True)
    (inputs / "x" / "b.wav").write_text("audio")
    (inputs / "link").symlink_to(secret)
    for pattern in ("*/*.wav", "**/*.wav"):
        (source,) = list_inputs(InputsSpec(uri=f"{inputs}/{pattern}")).sources
        assert source.uri.endswith("/x/b.wav")
    with pytest.raises(SpecError, match="no file matches"):
        list_inputs(InputsSpec(uri=f"{inputs}/l*/a.wav"))


@pytest.mark.parametrize("uri", ["/dev/zero", "/dev/full", "file:///dev/zero"])
def test_a_device_is_no_input(uri: str) -> None:
    with pytest.raises(SpecError, match="there is nothing at"):
        list_inputs(InputsSpec(uri=uri))


@pytest.mark.parametrize("place", ["../secret.rttm", "{folder}/secret.rttm", "link.rttm"])
def test_ground_truth_is_read_from_its_own_folder_only(tmp_path: Path, place: str) -> None:
    (tmp_path / "secret.rttm").write_text(f"SPEAKER a 1 0 {CANARY} <NA> <NA> x <NA> <NA>\n")
    root = tmp_path / "truth"
    root.mkdir()
    (root / "link.rttm").symlink_to("../secret.rttm")
    (root / "manifest.csv").write_text(f"path,rttm\na.wav,{place.format(folder=tmp_path)}\n")
    with pytest.raises(GroundTruthError, match="there is no file") as caught:
        find_references(root, ["s3://b/a.wav"])
    assert CANARY not in str(caught.value)


def test_an_output_is_made_below_no_file_and_over_no_stranger_s_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("good a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text(CANARY)
    with pytest.raises(OutputError, match="holds no audiomill job"):
        run_job(toy_job(tmp_path / "in", tmp_path / "mine"), Silent(), fresh=True)
    assert (tmp_path / "mine" / "letter").read_text() == CANARY
