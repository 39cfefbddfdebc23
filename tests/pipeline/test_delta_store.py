"""The store on a real disk: numbers are given once, hashes stay, what is damaged is named."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, Transaction

from pipeline.checkpoint import Action, checkpoint_of
from pipeline.commit import Outcome, commit_unit
from pipeline.delta_log import EPOCH_ID, actions_of, entry_name
from pipeline.delta_store import COMMITS_PER_CHECKPOINT, DeltaStore, wrong_checkpoints
from pipeline.garbage import collect
from pipeline.store import DataFile
from schemas.errors import OutputError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Schema.from_arrow(pa.schema([("table", pa.string()), ("x", pa.int64())]))
DRIVER = """
import sys
from pathlib import Path
from pipeline.commit import commit_unit
from tests.pipeline.test_delta_store import SCHEMA, DeltaStore, file
store = DeltaStore.create(Path(sys.argv[1]), SCHEMA)
print("up", flush=True)
sys.stdin.readline()
won = 0
for unit in range(40):
    outcome = commit_unit(store, f"u{unit}", [file(f"u{unit}", sha=sys.argv[2] * 64)], 0)
    won += outcome.value == "committed"
print(won)
"""


def file(unit: str, *, epoch: int = 0, sha: str = "a" * 64, folder: str = "") -> DataFile:
    folder = folder or "manifest/table=recordings"
    return DataFile(f"{folder}/{unit}-{epoch}-{sha[:12]}.parquet", 3, 10, sha)


def log_of(root: Path) -> Path:
    return root / "manifest" / "_delta_log"


def units_in(checkpoint: Path) -> set[str]:
    said = pq.read_table(checkpoint, columns=["txn"])["txn"].to_pylist()
    return {txn["appId"] for txn in said if txn} - {EPOCH_ID}


def commit_many(store: DeltaStore, num: int) -> None:
    for index in range(num):
        assert commit_unit(store, f"u{index}", [file(f"u{index}")], 0) is Outcome.COMMITTED


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore.create(tmp_path, SCHEMA)


def test_of_two_that_saw_the_same_log_one_gets_the_next_number(
    tmp_path: Path, store: DeltaStore
) -> None:
    other = DeltaStore(tmp_path)
    assert store.refresh() == other.refresh() == 0
    assert store.append(1, "a", [file("a")], 0)
    assert not other.append(1, "b", [file("b")], 0)
    other.refresh()
    assert (other.is_committed("a"), other.is_committed("b")) == (True, False)
    assert not DeltaStore(tmp_path).is_committed("b")


def test_processes_at_once_give_every_unit_and_every_number_once(tmp_path: Path) -> None:
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path), sha],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for sha in "abcd"
    ]
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write("go\n")
        driver.stdin.flush()
    won = [int(driver.communicate()[0]) for driver in drivers]
    assert sum(won) == 40
    store = DeltaStore(tmp_path)
    assert store.refresh() == 40, "the first entry, and one a unit"
    by_unit = Counter(f.name.split("/")[-1].split("-")[0] for f in store.committed_files())
    assert by_unit == {f"u{unit}": 1 for unit in range(40)}
    by_writer = Counter(f.sha256[0] for f in store.committed_files())
    assert [by_writer[sha] for sha in "abcd"] == won


def test_a_checkpoint_says_what_the_entries_say(tmp_path: Path, store: DeltaStore) -> None:
    commit_many(store, COMMITS_PER_CHECKPOINT)
    shard = file("shard-000000", folder="shards", sha="b" * 64)
    assert commit_unit(store, "shard", [file("s"), shard], 0) is Outcome.COMMITTED
    store.refresh()
    log = log_of(tmp_path)
    assert len(list(log.glob("*.checkpoint.parquet"))) == 1
    entries = [log / f"{n:020}.json" for n in range(1, COMMITS_PER_CHECKPOINT)]
    for path in entries:
        path.rename(path.with_suffix(".away"))
    from_checkpoint = DeltaStore(tmp_path)
    assert from_checkpoint.units() == store.units()
    assert sorted(from_checkpoint.committed_files()) == sorted(store.committed_files())
    assert shard in from_checkpoint.committed_files()
    table = DeltaTable(str(tmp_path / "manifest"))
    assert table.version() == store.refresh()
    assert table.transaction_version("u7") == 1
    assert table.transaction_version("audiomill-epoch") == 0
    inside = [f for f in store.committed_files() if f.name.startswith("manifest/")]
    assert len(table.file_uris()) == len(inside)


def test_a_rotten_checkpoint_is_not_used_and_not_built_upon(
    tmp_path: Path, store: DeltaStore
) -> None:
    commit_many(store, COMMITS_PER_CHECKPOINT)
    store.refresh()
    path = next(log_of(tmp_path).glob("*.checkpoint.parquet"))
    said = pq.read_table(path)
    is_other = [(row["txn"] or {}).get("appId") != "u42" for row in said.to_pylist()]
    pq.write_table(said.filter(is_other), path)
    reader = DeltaStore(tmp_path)
    assert reader.is_committed("u42")
    assert sorted(reader.committed_files()) == sorted(store.committed_files())
    for index in range(COMMITS_PER_CHECKPOINT):
        assert commit_unit(reader, f"v{index}", [], 0) is Outcome.COMMITTED
    made = max(log_of(tmp_path).glob("*.checkpoint.parquet"))
    assert made != path
    assert units_in(made) == {f"u{index}" for index in range(COMMITS_PER_CHECKPOINT)} | {"v0"}


@pytest.mark.parametrize("at", [5, 40, 100, 200, 300, -3])
def test_a_damaged_entry_is_named(tmp_path: Path, store: DeltaStore, at: int) -> None:
    commit_many(store, 3)
    path = log_of(tmp_path) / f"{2:020}.json"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(bytes(data))
    with pytest.raises(OutputError, match=r"0002\.json: the entry is damaged"):
        DeltaStore(tmp_path)


@pytest.mark.parametrize("size", [0, 40, -1])
def test_a_torn_entry_is_named(tmp_path: Path, store: DeltaStore, size: int) -> None:
    commit_many(store, 2)
    path = log_of(tmp_path) / f"{2:020}.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(OutputError, match=r"0002\.json: the entry is damaged"):
        DeltaStore(tmp_path)


def test_a_missing_entry_is_named(tmp_path: Path, store: DeltaStore) -> None:
    commit_many(store, 3)
    (log_of(tmp_path) / f"{2:020}.json").unlink()
    with pytest.raises(OutputError, match=r"0002\.json is missing, and there are later ones"):
        DeltaStore(tmp_path)


def test_an_entry_of_another_program_is_refused(tmp_path: Path, store: DeltaStore) -> None:
    DeltaTable(str(tmp_path / "manifest")).create_write_transaction(
        [],
        mode="append",
        schema=SCHEMA,
        partition_by=["table"],
        commit_properties=CommitProperties(app_transactions=[Transaction("u", 1)]),
    )
    with pytest.raises(OutputError, match="another program wrote it"):
        store.refresh()


def test_entries_never_leave_a_gap(store: DeltaStore) -> None:
    with pytest.raises(ValueError, match="gap"):
        store.append(2, "a", [], 0)


def test_a_shard_needs_a_row_that_tells_of_it(store: DeltaStore) -> None:
    with pytest.raises(ValueError, match="needs a row"):
        store.append(1, "a", [file("a", folder="shards")], 0)


def test_garbage_goes_and_what_is_committed_stays(tmp_path: Path, store: DeltaStore) -> None:
    kept, late = file("a"), file("b")
    shard = file("shard-000000", folder="shards")
    stray = ["manifest/table=recordings/.c.1.part", "shards/.d.1.part"]
    stray += ["shards/strange.parquet", "manifest/_delta_log/.00000000000000000009.json.1.part"]
    for name in [kept.name, late.name, shard.name, *stray, "job.json"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("content")
    assert commit_unit(store, "a", [kept, shard], 0) is Outcome.COMMITTED
    assert sorted(collect(store, lambda name: True)) == sorted([late.name, *stray])
    assert (tmp_path / kept.name).exists()
    assert (tmp_path / shard.name).exists()
    assert (tmp_path / "job.json").exists()
    assert commit_unit(DeltaStore(tmp_path), "b", [late], 0) is Outcome.FENCED
    assert DeltaStore(tmp_path).epoch() == 1


def test_the_log_is_plain_delta(tmp_path: Path, store: DeltaStore) -> None:
    commit_many(store, 1)
    lines = (log_of(tmp_path) / f"{1:020}.json").read_text().splitlines()
    kinds = [next(iter(json.loads(line))) for line in lines]
    assert kinds == ["commitInfo", "add", "txn", "txn"]
    assert json.loads(lines[1])["add"]["partitionValues"] == {"table": "recordings"}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    ("fault", "said", "is_there"),
    [
        ("inject=link,linkat:error=EIO:when=1", "committed", True),
        ("inject=fsync:error=EIO:when=2", "already", True),
        ("inject=link,linkat:error=ENOSPC:when=1", "make room", False),
        ("inject=fsync:error=EIO:when=1", "failed", False),
    ],
)
def test_an_unknown_outcome_is_looked_up_and_a_known_failure_is_told(
    tmp_path: Path, store: DeltaStore, fault: str, said: str, is_there: bool
) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from pipeline.commit import commit_unit\n"
        "from schemas.errors import StorageError\n"
        "from tests.pipeline.test_delta_store import DeltaStore, file\n"
        "store = DeltaStore(Path(sys.argv[1]))\n"
        "try: print(commit_unit(store, 'u', [file('u')], 0).value)\n"
        "except StorageError as error: print(error)"
    )
    traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,link,linkat"]
    done = subprocess.run(
        [*traced, "-e", fault, sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said in done.stdout
    assert DeltaStore(tmp_path).is_committed("u") is is_there
    assert [p.name for p in log_of(tmp_path).iterdir() if p.name.endswith(".part")] == []


def write_proved(root: Path, number: int, data: bytes) -> None:
    """As the store does it, whatever the content is."""
    path = log_of(root) / f"{number:020}.checkpoint.parquet"
    path.write_bytes(data)
    path.with_suffix("").with_suffix(".checkpoint.sha256").write_text(
        hashlib.sha256(data).hexdigest()
    )


def actions_to(root: Path, number: int) -> list[Action]:
    entries = (log_of(root) / entry_name(n) for n in range(number + 1))
    return [action for path in entries for action in actions_of(str(path), path.read_bytes())]


def test_a_checkpoint_that_says_other_than_the_entries_is_named(
    tmp_path: Path, store: DeltaStore
) -> None:
    commit_many(store, 4)
    good, _ = checkpoint_of(None, actions_to(tmp_path, 2))
    write_proved(tmp_path, 2, good)
    assert wrong_checkpoints(tmp_path) == []
    lacking, _ = checkpoint_of(None, actions_to(tmp_path, 2))
    write_proved(tmp_path, 3, lacking)
    (said,) = wrong_checkpoints(tmp_path)
    assert said == (
        f"manifest/_delta_log/{3:020}.checkpoint.parquet: this checkpoint does not say what the "
        "entries say"
    )


def test_an_entry_that_only_a_checkpoint_still_knows_is_missed(
    tmp_path: Path, store: DeltaStore
) -> None:
    commit_many(store, 3)
    write_proved(tmp_path, 3, checkpoint_of(None, actions_to(tmp_path, 3))[0])
    DeltaStore(tmp_path)
    (log_of(tmp_path) / entry_name(3)).unlink()
    for trust in (True, False):
        with pytest.raises(OutputError, match=r"0003\.json is missing, and there are later ones"):
            DeltaStore(tmp_path, trust_checkpoints=trust)


def test_of_two_that_make_a_checkpoint_the_first_is_kept(tmp_path: Path, store: DeltaStore) -> None:
    commit_many(store, COMMITS_PER_CHECKPOINT - 1)
    theirs = log_of(tmp_path) / f"{COMMITS_PER_CHECKPOINT:020}.checkpoint.parquet"
    theirs.write_bytes(b"of another driver, which has not proved it yet")
    assert commit_unit(store, "last", [file("last")], 0) is Outcome.COMMITTED
    assert theirs.read_bytes() == b"of another driver, which has not proved it yet"
    assert list(log_of(tmp_path).glob("*.sha256")) == []
    assert DeltaStore(tmp_path).is_committed("last")


def test_a_commit_stands_although_its_checkpoint_cannot_be_made(
    tmp_path: Path, store: DeltaStore, caplog: pytest.LogCaptureFixture
) -> None:
    commit_many(store, COMMITS_PER_CHECKPOINT - 1)
    # An entry that another driver writes, and that cannot be read: what comes after it is refused.
    (log_of(tmp_path) / entry_name(COMMITS_PER_CHECKPOINT + 1)).mkdir()
    number = store.refresh() + 1
    assert store.append(number, "last", [file("last")], 0)
    assert "no checkpoint of" in caplog.text
    (log_of(tmp_path) / entry_name(COMMITS_PER_CHECKPOINT + 1)).rmdir()
    assert DeltaStore(tmp_path).is_committed("last")
