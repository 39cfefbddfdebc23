"""What is forgotten is nowhere in an output, what else is there is as it was."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import s3fs
from deltalake import DeltaTable

from model.loader import CodesSample, Loader, LoaderSource, LoaderSpec
from pipeline.delta_log import Replacement
from pipeline.delta_store import DeltaStore
from pipeline.forget import _commit, forget
from pipeline.inputs import list_inputs
from pipeline.manifest import Manifest
from pipeline.output import find_output
from pipeline.report import render_page
from pipeline.run import run_job
from pipeline.status import status_of
from pipeline.store import DataFile
from pipeline.sweep import NO_BYTES
from pipeline.verify import verify
from pipeline.working_copy import folder_of
from schemas.errors import OutputError, SpecError
from tests.pipeline.forgettable import Personal, hearing_job, make_forgettable, source_named
from tests.pipeline.s3_server import s3_server
from tests.pipeline.toy_jobs import Silent

ROOT = Path(__file__).resolve().parents[2]
KILLED_AT = {
    "before the entry": "pipeline.delta_store.DeltaStore.replace",
    "before anything is deleted": "pipeline.forget.listing",
    "half way": "pipeline.delta_store.DeltaStore.delete",
}
"""Names of what does not come back."""
KILLED = """
import importlib, os, sys
from pathlib import Path
from pipeline.forget import forget
name = sys.argv[1].split(".")
holder = importlib.import_module(".".join(name[:2]))
for part in name[2:-1]:
    holder = getattr(holder, part)
calls, real = [], getattr(holder, name[-1])
def last(*arguments):
    calls.append(arguments)
    if name[-1] != "delete" or len(calls) == 3:
        os.kill(os.getpid(), 9)
    return real(*arguments)
setattr(holder, name[-1], last)
forget(Path(sys.argv[2]), sys.argv[3:])
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_forgettable(tmp_path_factory.mktemp("forget"))


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """An output with a report and scores that quote everybody."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    quoted = " ".join(Personal.of(out, "a", "b", "copy", "d", "e").strings)
    (out / "report").mkdir()
    for name in ("report/index.html", "scores.json"):
        (out / name).write_text(quoted)
    return out


def uri_of(out: Path, name: str) -> str:
    return source_named(out, name).uri


def ends(out: Path) -> list[int]:
    found = verify(out)
    assert found.problems == ()
    assert found.orphans == ()
    assert found.accounts is not None
    status = status_of(out)
    assert status.complete
    names = ("inputs", "done", "rejected", "failed", "forgotten", "pending")
    counts = [found.accounts[name] for name in names]
    assert counts == [getattr(status, name) for name in names]
    assert counts[0] == sum(counts[1:])
    return counts[1:]


def samples(out: Path, cache: Path) -> dict[str, list[list[int]]]:
    """Segments as the loader gives them."""
    source = LoaderSource(uri=str(out), sample=CodesSample())
    spec = LoaderSpec(sources=(source,), context_length=256, sequences_per_step=1)
    loader = Loader(spec, cache)
    found = {
        document.segment_id: document.content.tolist()
        for number in range(loader.num_sequences)
        for document in loader.sequence(number).documents
    }
    loader.close()
    return found


def test_nothing_of_it_is_left_and_the_rest_is_as_it_was(out: Path, tmp_path: Path) -> None:
    personal = Personal.of(out, "a", "copy")
    everywhere = personal.found_in(out)
    folders = {name.partition("/")[0] for name in everywhere}
    assert folders == {"manifest", "shards", "report", "scores.json"}
    assert ends(out) == [3, 3, 1, 0, 0]
    tables = ("recordings", "segments", "sketches", "failures")
    before = {name: Manifest(out).table(name).to_pylist() for name in tables}
    coded = samples(out, tmp_path / "before")
    a, copy = source_named(out, "a"), source_named(out, "copy")
    found = forget(out, [a.uri])
    assert found.sources == (a, copy)
    assert found.copies == (copy,)
    assert found.similar == found.already == ()
    assert set(found.deleted) >= {name for name in everywhere if name.startswith("manifest")}
    assert f"forgotten: {copy.uri} (an exact copy)" in found.to_text()
    assert personal.found_in(out) == {}
    assert ends(out) == [2, 2, 1, 2, 0]
    assert "+ 2 forgotten + 0 pending" in status_of(out).to_text()
    assert "+ 2 forgotten + 0 pending" in verify(out).to_text()
    gone = {a.source_id, copy.source_id}
    for name in tables:
        now = Manifest(out).table(name).to_pylist()
        wanted = [row for row in before[name] if row["source_id"] not in gone]
        assert sorted(now, key=_key) == sorted(wanted, key=_key), name
    left = samples(out, tmp_path / "after")
    assert 0 < len(left) < len(coded)
    assert left == {segment: codes for segment, codes in coded.items() if segment in left}
    assert coded.keys() - left.keys() <= personal.strings
    only = Personal(frozenset({a.source_id})).found_in(out)
    assert [Path(name).parent.name for name in only] == ["table=tombstones"]


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["source_id"], row.get("segment_id") or ""


def test_a_failed_input_is_forgotten_by_its_source_id(out: Path) -> None:
    personal = Personal.of(out, "d")
    assert personal.found_in(out, but=("inputs-*", "index.html", "scores.json"))
    assert len(forget(out, [source_named(out, "d").source_id]).sources) == 1
    assert personal.found_in(out) == {}
    assert ends(out) == [3, 3, 0, 1, 0]
    assert Manifest(out).table("failures").num_rows > 0, "segments of others failed as well"


def test_empty_files_have_nothing_in_common(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("empty", "void"):
        (tmp_path / "in" / f"{name}.txt").touch()
    out = make_forgettable(tmp_path)
    same = [row["recording_id"] for row in Manifest(out).table("recordings").to_pylist()]
    assert same.count(NO_BYTES) == 2
    found = forget(out, [uri_of(out, "void")])
    assert [source.uri for source in found.sources] == [uri_of(out, "void")]
    assert ends(out) == [3, 3, 2, 1, 0]


def test_shards_of_which_nothing_is_left_go(out: Path) -> None:
    names = ("a", "b", "e")
    personal = Personal.of(out, *names)
    found = forget(out, [uri_of(out, name) for name in names])
    assert [source.uri for source in found.similar] == [uri_of(out, "f")]
    assert f"not forgotten: {uri_of(out, 'f')}" in found.to_text()
    assert list((out / "shards").iterdir()) == []
    assert personal.found_in(out) == {}
    assert ends(out) == [0, 2, 1, 4, 0]
    assert Manifest(out).table("recordings")["duplicate_of"].null_count == 2


def test_one_after_the_other_gives_what_all_at_once_give(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "other")
    for name in ("e", "a"):
        forget(out, [uri_of(out, name)])
        ends(out)
    forget(tmp_path / "other", [uri_of(out, "a"), uri_of(out, "e")])
    assert ends(out) == ends(tmp_path / "other")
    for table in ("tokens", "segments", "recordings"):
        both = [Manifest(one).table(table).to_pylist() for one in (out, tmp_path / "other")]
        assert sorted(map(str, both[0])) == sorted(map(str, both[1])), table
    assert samples(out, tmp_path / "one") == samples(tmp_path / "other", tmp_path / "two")


def test_twice_is_harmless(out: Path) -> None:
    forget(out, [uri_of(out, "a")])
    (out / "report" / "index.html").write_text("a new one")
    files = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix in (".parquet", ".json")}
    again = forget(out, [uri_of(out, "copy"), uri_of(out, "a")])
    assert not again.sources
    assert not again.deleted
    assert [source.uri for source in again.already] == [uri_of(out, "a"), uri_of(out, "copy")]
    assert files == {path: path.stat().st_mtime_ns for path in files}
    assert (out / "report" / "index.html").exists()


@pytest.mark.parametrize("when", KILLED_AT)
def test_whoever_is_killed_goes_on_with_the_same_command(out: Path, when: str) -> None:
    personal = Personal.of(out, "a", "copy")
    a = uri_of(out, "a")
    arguments = [sys.executable, "-c", KILLED, KILLED_AT[when], str(out), a]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    half = verify(out)
    assert half.problems == ()
    assert half.accounts is not None
    assert half.accounts["forgotten"] == (0 if when == "before the entry" else 2)
    assert half.orphans
    assert personal.found_in(out)
    again = forget(out, [a])
    assert bool(again.already) is (when != "before the entry")
    assert personal.found_in(out) == {}
    assert ends(out) == [2, 2, 1, 2, 0]


class _Overtaken(DeltaStore):
    """A store whose first replacement comes too late."""

    others: tuple[str, ...] = ()

    def replace(
        self,
        number: int,
        unit: str,
        replacements: Sequence[Replacement],
        files: Sequence[DataFile],
        epoch: int,
    ) -> bool:
        others, self.others = self.others, ()
        if others:
            _commit(Manifest(self.root), frozenset(others))
        return super().replace(number, unit, replacements, files, epoch)


@pytest.mark.parametrize("others", [("b",), ("a",), ("a", "e")])
def test_two_at_once_forget_what_both_were_told(out: Path, others: tuple[str, ...]) -> None:
    personal = Personal.of(out, "a", "copy", *others)
    manifest = Manifest(out)
    store = manifest.store = _Overtaken(out)
    store.others = tuple(source_named(out, name).source_id for name in others)
    _commit(manifest, frozenset({source_named(out, "a").source_id}))
    forget(out, [uri_of(out, "a")])
    assert personal.found_in(out) == {}
    assert ends(out)[3] == 2 + len(set(others) - {"a"})


def test_rows_of_who_was_forgotten_are_damage(out: Path) -> None:
    b = source_named(out, "b").source_id
    tombstone = {"source_id": b, "outcome": "done", "ended_at": datetime.now(UTC)}
    Manifest(out).commit_rows("half", {"tombstones": [tombstone]})
    said = {problem.partition(" (")[0] for problem in verify(out).problems}
    tables = {"recordings": 1, "segments": 5, "sketches": 1, "failures": 1}
    assert said == {
        f"table {name}: {n} of an input that was forgotten" for name, n in tables.items()
    }
    with pytest.raises(OutputError, match="the output is damaged"):
        status_of(out)


def test_a_job_that_is_not_finished_is_refused(out: Path) -> None:
    max((out / "manifest" / "_delta_log").glob("*.json")).unlink()
    with pytest.raises(OutputError, match=r"is not finished.*run its job to the end first"):
        forget(out, [uri_of(out, "a")])


def test_who_is_no_input_is_named_and_nobody_is_forgotten(out: Path) -> None:
    with pytest.raises(SpecError, match=r"'nobody.wav', 'x': no input of .* has that URI"):
        forget(out, ["nobody.wav", uri_of(out, "a"), "x"])
    assert ends(out) == [3, 3, 1, 0, 0]


def test_the_job_stays_finished_and_may_lose_the_input(tmp_path: Path) -> None:
    out = make_forgettable(tmp_path)
    forget(out, [uri_of(out, "f"), uri_of(out, "a")])
    job = hearing_job(tmp_path / "in", out)
    for name in ("a", "f"):
        found = find_output(job, list_inputs(job.spec.inputs))
        assert found is not None
        assert found.pending(job) == []
        assert run_job(job, Silent()).ending == "finished"
        (tmp_path / "in" / f"{name}.txt").unlink()
    (tmp_path / "in" / "b.txt").unlink()
    with pytest.raises(OutputError, match=r"1 gone .*b\.txt"):
        run_job(job, Silent())


def test_readers_of_delta_see_the_rest_with_and_without_checkpoints(out: Path) -> None:
    for name in ("a", "b"):
        forget(out, [uri_of(out, name)])
        manifest = Manifest(out)
        delta = DeltaTable(str(out / "manifest"))
        for table in ("segments", "tokens", "shards", "tombstones"):
            seen = delta.to_pyarrow_table(filters=[("table", "=", table)])
            assert seen.num_rows == manifest.table(table).num_rows > 0
        assert uri_of(out, name) not in delta.to_pyarrow_table()["uri"].to_pylist()
        manifest.store._make_checkpoint()
        proofs = list((out / "manifest" / "_delta_log").glob("*.checkpoint.sha256"))
        assert f"{manifest.store.refresh():020}" in {proof.name[:20] for proof in proofs}
        with_it, without = DeltaStore(out), DeltaStore(out, trust_checkpoints=False)
        assert sorted(with_it.committed_files()) == sorted(without.committed_files())
        assert with_it.units() == without.units()
        ends(out)


def test_the_report_counts_it(out: Path) -> None:
    def page() -> str:
        with Manifest(out).connect() as db:
            return render_page(db, job_name="toy", score=None, clip=lambda row: None)

    assert "forgotten" not in page()
    forget(out, [uri_of(out, "a")])
    assert '<data id="inputs" value="7">' in page()
    assert '<data id="forgotten" value="2">2</data> forgotten' in page()


@pytest.fixture
def bucket(out: Path) -> Iterator[str]:
    """The output on a store."""
    with s3_server() as uri:
        files = s3fs.S3FileSystem(skip_instance_cache=True)
        for path in (path for path in out.rglob("*") if path.is_file()):
            if path.name not in (".lock", "catalog.duckdb"):
                files.put_file(str(path), f"{uri}/out/{path.relative_to(out).as_posix()}")
        yield f"{uri}/out"


def test_on_a_store_it_goes_from_every_machine(
    bucket: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    personal = Personal.of(out, "a", "copy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    other = folder_of(bucket)
    (other / "report").mkdir()
    for name in ("report/index.html", "scores.json"):
        shutil.copyfile(out / name, other / name)
    assert Manifest(other).table("segments").num_rows
    assert set(personal.found_in(other)) > {"report/index.html", "scores.json"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    here = folder_of(bucket)
    found = forget(here, [uri_of(here, "a")])
    assert found.removed_pages == ("report/index.html", "scores.json")
    assert personal.found_in(here) == {}
    assert ends(here) == [2, 2, 1, 2, 0]
    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.get(f"{bucket}/", str(tmp_path / "store") + "/", recursive=True)
    assert (tmp_path / "store" / "job.json").exists()
    assert personal.found_in(tmp_path / "store") == {}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert status_of(folder_of(bucket)).forgotten == 2
    assert personal.found_in(other) == {}
