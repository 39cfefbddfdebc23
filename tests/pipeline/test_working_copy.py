"""An output on an S3 server is what it is in a folder, from every machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.toy_job import (
    Rows,
    ToyCluster,
    content,
    differing,
    race,
    run_alone,
    toy_cluster,
    write_inputs,
)
from jobs.cli import main
from model.loader import CodesSample, Loader, LoaderSource, LoaderSpec
from pipeline.bucket import Bucket
from pipeline.leftovers import collect_leftovers
from pipeline.manifest import Manifest
from pipeline.output import check_clearable, clear
from pipeline.verify import verify
from pipeline.working_copy import bucket_of, folder_of, publish, read
from schemas.errors import OutputError, StorageError
from tests.pipeline.s3_server import s3_server

NUM_INPUTS = 15


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as uri:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield uri


@pytest.fixture(scope="module")
def cluster(store: str) -> Iterator[ToyCluster]:
    with toy_cluster(3) as found:
        yield found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("s3") / "in", NUM_INPUTS)


@pytest.fixture(scope="module")
def undisturbed(
    cluster: ToyCluster, inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Rows]:
    return run_alone(cluster, inputs, tmp_path_factory.mktemp("alone") / "out")


@pytest.fixture(scope="module")
def output(store: str, cluster: ToyCluster, inputs: Path, undisturbed: dict[str, Rows]) -> str:
    """An output that three drivers made at once."""
    uri = f"{store}/jobs/out"
    found = race(cluster, inputs, uri, undisturbed, 3)
    assert found.exit_codes == [0, 0, 0]
    assert found.differing_tables == []
    return uri


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From now on this is another machine: it has no copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("elsewhere")
def test_another_machine_finds_all_of_it(output: str, undisturbed: dict[str, Rows]) -> None:
    out = folder_of(output)
    assert differing(content(out), undisturbed) == []
    found = verify(out)
    assert found.problems == ()
    assert found.accounts is not None
    assert found.accounts["inputs"] == NUM_INPUTS + 2
    assert not list(out.glob("shards/*")), "shards stay where they are"


@pytest.mark.usefixtures("elsewhere")
def test_the_commands_take_its_uri(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    assert json.loads(said("status", output, "--json"))["pending"] == 0
    assert "as committed" in said("status", output, "--verify")
    rows = said("query", output, "SELECT count(*) AS n FROM recordings", "--format", "json")
    assert json.loads(rows) == [{"n": NUM_INPUTS + 2}]


def test_a_trainer_reads_the_shards_where_they_are(
    output: str, undisturbed: dict[str, Rows], tmp_path: Path
) -> None:
    source = LoaderSource(uri=output, sample=CodesSample())
    spec = LoaderSpec(sources=(source,), context_length=4096, sequences_per_step=1)
    found = Loader(spec, tmp_path).counted(0)
    assert found.num_samples == sum(shard["num_rows"] for shard in undisturbed["shards"]) > 1


def test_damage_on_the_store_is_named_whatever_the_copy_says(output: str, tmp_path: Path) -> None:
    out = folder_of(output)
    bucket = bucket_of(out)
    assert bucket is not None
    Manifest(out).table("recordings")
    victim = next(name for name in bucket.list("manifest/table=recordings"))
    whole = bucket.read(victim)
    try:
        (tmp_path / "torn").write_bytes(whole[:-10])
        bucket.put(victim, tmp_path / "torn")
        assert [problem.partition(":")[0] for problem in verify(out).problems] == [victim]
    finally:
        (tmp_path / "whole").write_bytes(whole)
        bucket.put(victim, tmp_path / "whole")
    assert verify(out).ok


def test_leftovers_are_found_on_the_store(output: str) -> None:
    out = folder_of(output)
    bucket = bucket_of(out)
    assert bucket is not None
    collect_leftovers(out, grace_s=0)
    name = "shards/shard-000000-0-0123456789ab.parquet"
    bucket.create(name, b"of an attempt that was killed")
    assert collect_leftovers(out, grace_s=3600) == []
    assert [found.name for found in collect_leftovers(out, grace_s=0)] == [name]
    assert bucket.stat(name) is None
    assert verify(out).ok


def test_a_copy_of_what_was_cleared_elsewhere_is_not_believed(
    store: str,
    cluster: ToyCluster,
    inputs: Path,
    undisturbed: dict[str, Rows],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = f"{store}/again/out"
    assert race(cluster, inputs, uri, undisturbed, 1).differing_tables == []
    here = folder_of(uri)
    assert list(here.glob("manifest/table=recordings/*"))
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert folder_of(uri) != here
        clear(folder_of(uri))
    assert folder_of(uri) == here
    assert not list(here.glob("manifest/*"))
    assert race(cluster, inputs, uri, undisturbed, 1).differing_tables == []
    assert verify(here).ok


def test_a_stranger_s_folder_leads_to_no_store(output: str, tmp_path: Path) -> None:
    theirs = tmp_path / "gift"
    theirs.mkdir()
    (theirs / ".store").write_text(output)
    before = Bucket(output).list()
    for open_it in (bucket_of, Manifest, verify, check_clearable, clear):
        with pytest.raises(OutputError, match="no working copy that audiomill keeps"):
            open_it(theirs)
    assert main(["gc", str(theirs), "--grace", "0"]) == 2
    assert Bucket(output).list() == before


def test_a_folder_that_a_console_made_is_no_file(store: str) -> None:
    bucket = Bucket(f"{store}/made")
    assert bucket.create("", b"")
    assert bucket.create("report/", b"")
    assert bucket.list() == {}
    check_clearable(folder_of(bucket.uri))


def test_what_another_run_here_has_put_on_the_store_needs_no_copy(store: str) -> None:
    out = folder_of(f"{store}/twice")
    (out / "shards").mkdir()
    (out / "shards" / "a").write_bytes(b"the same")
    publish(out, "shards/a", keep=False)
    publish(out, "shards/a", keep=False)
    assert Bucket(f"{store}/twice").read("shards/a") == b"the same"
    with pytest.raises(StorageError):
        publish(out, "shards/b")


def test_a_folder_with_something_else_in_it_is_left_alone(store: str) -> None:
    bucket = Bucket(f"{store}/theirs")
    bucket.create("thesis.txt", b"all of it")
    with pytest.raises(OutputError, match=r"s3://.*/theirs.* holds no audiomill job"):
        check_clearable(folder_of(bucket.uri))
    assert read(folder_of(bucket.uri), "thesis.txt") == b"all of it"


def test_starting_over_leaves_nothing_behind(output: str) -> None:
    out = folder_of(output)
    clear(out)
    assert list(Bucket(output).list()) == []
    with pytest.raises(OutputError, match="holds no audiomill output"):
        Manifest(folder_of(output))
