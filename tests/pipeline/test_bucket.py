"""Objects are made whole and once; a store that does not keep to that is refused."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.bucket import Bucket
from pipeline.store import UnknownOutcomeError
from schemas.errors import SpecError, StorageError
from tests.pipeline.s3_server import s3_server


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server() as uri:
        yield Bucket(f"{uri}/some/out")


def test_one_of_many_makes_an_object(bucket: Bucket) -> None:
    barrier = Barrier(8)

    def make(number: int) -> bool:
        barrier.wait()
        return bucket.create("log/7.json", b"by %d" % number)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert made.count(True) == 1
    assert bucket.read("log/7.json") == b"by %d" % made.index(True)


def test_objects_are_listed_with_size_and_age_and_go_for_good(
    bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    bucket.put("files/a/x", tmp_path / "file")
    assert bucket.create("files/b", b"1")
    assert not bucket.create("files/b", b"2")
    found = bucket.list("files")
    assert list(found) == ["files/a/x", "files/b"]
    assert found["files/a/x"].size_bytes == 5
    assert found["files/a/x"].modified > (tmp_path / "file").stat().st_mtime - 2
    assert found["files/a/x"] == bucket.stat("files/a/x")
    bucket.delete("files/a/x")
    bucket.delete("files/a/x")
    assert list(bucket.list("files")) == ["files/b"]
    assert bucket.stat("files/a/x") is None
    assert bucket.list("nothing") == {}
    with pytest.raises(FileNotFoundError):
        bucket.read("files/a/x")


def test_a_store_that_keeps_to_it_passes_and_nothing_is_left(bucket: Bucket) -> None:
    before = bucket.list()
    bucket.check()
    assert bucket.list() == before


class Careless(MemoryFileSystem):
    """Writes over what is there, as stores do that do not know the header."""

    cachable = False
    store: dict[str, Any] = {}  # noqa: RUF012  (as in the class it stands for)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value)


class Silent(MemoryFileSystem):
    """Does what it is told, or not, and its answer is lost."""

    cachable = False
    store: dict[str, Any] = {}  # noqa: RUF012
    does = True

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        if self.does:
            super().pipe_file(path, value)
        raise TimeoutError("no answer")


def test_a_store_that_overwrites_is_refused() -> None:
    bucket = Bucket("memory://place/out")
    bucket._filesystem = Careless()
    with pytest.raises(StorageError, match="put-if-absent"):
        bucket.check()
    assert bucket.list() == {}


def test_a_lost_answer_is_looked_up() -> None:
    bucket = Bucket("memory://place/out")
    bucket._filesystem = silent = Silent()
    assert not bucket.create("entry", b"made"), "somebody made it: the log says who"
    silent.does = False
    with pytest.raises(UnknownOutcomeError, match="no answer"):
        bucket.create("other", b"perhaps later")


def test_a_store_that_cannot_be_used_is_named_with_what_to_check(bucket: Bucket) -> None:
    nowhere = Bucket("s3://no-such-bucket/out")
    for call in (
        lambda: nowhere.create("x", b""),
        lambda: nowhere.check(),
    ):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/out/.*check that the bucket"):
            call()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://bucket", "a whole bucket"),
        ("http://host/out", "no place for an output"),
        ("abfs://container/out", "no place for an output"),
        ("s3://bucket/out::file://x", "chain"),
    ],
)
def test_what_is_no_place_for_an_output_is_refused(uri: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Bucket(uri)
