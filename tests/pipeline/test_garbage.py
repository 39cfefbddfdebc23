"""Garbage collection, one situation at a time; the simulation mixes them."""

import pytest

from benchmarks.simulation.simulated_store import Truth
from pipeline.commit import MAX_TRIES, Outcome, commit_unit
from pipeline.garbage import collect
from pipeline.store import UnknownOutcomeError
from schemas.errors import StorageError
from tests.pipeline.memory_store import MemoryStore
from tests.pipeline.test_commit import failing


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
def store(truth: Truth) -> MemoryStore:
    return MemoryStore(truth)


def yes(name: str) -> bool:
    return True


def test_files_that_no_entry_names_are_deleted(truth: Truth, store: MemoryStore) -> None:
    kept, stray = store.write("a", 0, attempt=1), store.write("a", 0, attempt=2)
    commit_unit(store, "a", (kept,), 0)
    assert collect(store, yes) == [stray.name]
    assert list(truth.files) == [kept.name]
    assert store.epoch() == 1


def test_nobody_is_fenced_for_nothing(truth: Truth, store: MemoryStore) -> None:
    file = store.write("a", 0)
    commit_unit(store, "a", (file,), 0)
    assert collect(store, yes) == []
    live = store.write("b", 0)
    assert collect(store, lambda name: name != live.name) == []
    assert store.epoch() == 0
    assert commit_unit(store, "b", (live,), 0) is Outcome.COMMITTED


def test_garbage_of_an_earlier_epoch_fences_nobody(truth: Truth, store: MemoryStore) -> None:
    store.write("a", 0)
    collect(store, yes)
    late, live = store.write("a", 0), store.write("a", 1)
    assert collect(store, lambda name: name != live.name) == [late.name]
    assert store.epoch() == 1
    assert commit_unit(store, "a", (live,), 1) is Outcome.COMMITTED


def test_leftovers_and_strangers_go_if_granted(truth: Truth, store: MemoryStore) -> None:
    names = [".a-0-0123456789ab.parquet.77.part", "a.parquet", "notes.txt"]
    for name in names:
        truth.put(name, None)
    assert collect(store, lambda name: name.endswith(".part")) == names[:1]
    assert collect(store, yes) == names[1:]
    assert store.epoch() == 0, "they are never committed, so nobody is fenced"


def test_a_file_that_is_committed_meanwhile_stays(truth: Truth, store: MemoryStore) -> None:
    live, stray = store.write("a", 0), store.write("b", 0)
    store.before_append = [lambda: commit_unit(MemoryStore(truth), "a", (live,), 0)]
    assert collect(store, yes) == [stray.name]
    assert list(truth.files) == [live.name]


def test_files_since_a_collection_by_another_stay(truth: Truth, store: MemoryStore) -> None:
    stray = store.write("a", 0)
    others: list[str] = []

    def another() -> None:
        other = MemoryStore(truth)
        collect(other, yes)
        others.append(other.write("a", other.epoch()).name)

    store.before_append = [another]
    assert collect(store, yes) == [stray.name]
    assert list(truth.files) == others
    assert [entry.unit for entry in truth.log] == ["collection-1"]


def test_an_entry_whose_reply_was_lost_counts(truth: Truth, store: MemoryStore) -> None:
    stray = store.write("a", 0)
    store.after_append = [failing(UnknownOutcomeError("no answer"))]
    assert collect(store, yes) == [stray.name]
    assert [entry.epoch for entry in truth.log] == [1]


@pytest.mark.parametrize(
    "errors", [[UnknownOutcomeError("no answer")] * MAX_TRIES, [StorageError("disk full")]]
)
def test_without_an_entry_nothing_is_deleted(
    truth: Truth, store: MemoryStore, errors: list[Exception]
) -> None:
    stray = store.write("a", 0)
    store.before_append = [failing(error) for error in errors]
    with pytest.raises(StorageError, match=r"nothing was deleted|disk full"):
        collect(store, yes)
    assert list(truth.files) == [stray.name]
    assert collect(store, yes) == [stray.name], "and the next time goes well"
