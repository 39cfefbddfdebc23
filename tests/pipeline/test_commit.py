"""The commit, one disturbance at a time; the simulation mixes them."""

from collections.abc import Callable

import pytest

from benchmarks.simulation.simulated_store import Truth
from pipeline.commit import MAX_TRIES, Outcome, commit_unit
from pipeline.garbage import collect
from pipeline.store import UnknownOutcomeError
from schemas.errors import StorageError
from tests.pipeline.memory_store import MemoryStore


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
def store(truth: Truth) -> MemoryStore:
    return MemoryStore(truth)


def units(truth: Truth) -> list[str]:
    return [entry.unit for entry in truth.log]


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_a_unit_is_committed_once(truth: Truth, store: MemoryStore) -> None:
    first, second = store.write("a", 0, attempt=1), store.write("a", 0, attempt=2)
    assert commit_unit(store, "a", (first,), 0) is Outcome.COMMITTED
    assert commit_unit(MemoryStore(truth), "a", (second,), 0) is Outcome.ALREADY
    store.refresh()
    assert list(store.committed_files()) == [first]
    assert {first.name, second.name} <= truth.files.keys(), "a commit deletes nothing"


def test_a_unit_without_files_is_committed(truth: Truth, store: MemoryStore) -> None:
    assert commit_unit(store, "settled", (), 0) is Outcome.COMMITTED
    assert commit_unit(store, "settled", (), 0) is Outcome.ALREADY
    assert units(truth) == ["settled"]


def test_of_two_at_once_the_later_one_goes_after(truth: Truth, store: MemoryStore) -> None:
    other = MemoryStore(truth)
    store.before_append = [lambda: commit_unit(other, "b", (), 0)]
    assert commit_unit(store, "a", (store.write("a", 0),), 0) is Outcome.COMMITTED
    assert units(truth) == ["b", "a"]


def test_of_two_at_the_same_unit_one_wins(truth: Truth, store: MemoryStore) -> None:
    mine, its = store.write("a", 0, attempt=1), store.write("a", 0, attempt=2)
    store.before_append = [lambda: commit_unit(MemoryStore(truth), "a", (its,), 0)]
    assert commit_unit(store, "a", (mine,), 0) is Outcome.ALREADY
    assert [entry.files for entry in truth.log] == [(its,)]


def test_an_attempt_from_before_a_collection_is_fenced(truth: Truth, store: MemoryStore) -> None:
    late = store.write("a", 0)
    assert collect(MemoryStore(truth), lambda name: True) == [late.name]
    assert commit_unit(store, "a", (late,), 0) is Outcome.FENCED
    again = store.write("a", store.epoch())
    assert commit_unit(store, "a", (again,), store.epoch()) is Outcome.COMMITTED
    assert again.name != late.name, "equal content, and still another file"


def test_a_collection_just_before_the_entry_fences(truth: Truth, store: MemoryStore) -> None:
    late = store.write("a", 0)
    store.before_append = [lambda: collect(MemoryStore(truth), lambda name: True)]
    assert commit_unit(store, "a", (late,), 0) is Outcome.FENCED
    assert units(truth) == ["collection-1"]


def test_a_lost_reply_is_looked_up(truth: Truth, store: MemoryStore) -> None:
    file = store.write("a", 0)
    store.after_append = [failing(UnknownOutcomeError("no answer"))]
    assert commit_unit(store, "a", (file,), 0) is Outcome.ALREADY
    assert units(truth) == ["a"]
    assert file.name in truth.files


def test_a_lost_request_is_made_again(truth: Truth, store: MemoryStore) -> None:
    store.before_append = [failing(UnknownOutcomeError("no answer"))]
    assert commit_unit(store, "a", (store.write("a", 0),), 0) is Outcome.COMMITTED
    assert units(truth) == ["a"]


def test_a_failed_commit_can_be_made_again(truth: Truth, store: MemoryStore) -> None:
    file = store.write("a", 0)
    store.before_append = [failing(StorageError("disk full"))]
    with pytest.raises(StorageError, match="disk full"):
        commit_unit(store, "a", (file,), 0)
    assert commit_unit(store, "a", (file,), 0) is Outcome.COMMITTED


def test_a_store_that_never_answers_is_named(truth: Truth, store: MemoryStore) -> None:
    store.before_append = [failing(UnknownOutcomeError("no answer"))] * MAX_TRIES
    with pytest.raises(
        StorageError, match="unit a could not be committed in 1000 tries, and some were never"
    ):
        commit_unit(store, "a", (store.write("a", 0),), 0)
    assert not truth.log


@pytest.mark.parametrize("name", ["a.parquet", "a-1-0123456789ab.parquet", ".a.part"])
def test_a_file_that_garbage_collection_cannot_place_is_refused(
    store: MemoryStore, name: str
) -> None:
    file = store.write("a", 0)
    stranger = type(file)(name, 1, 1, file.sha256)
    with pytest.raises(ValueError, match="epoch 0"):
        commit_unit(store, "a", (file, stranger), 0)
