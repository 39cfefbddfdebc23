"""Object stores: the same batches from far away, within a bound, and clear words when it fails."""

import os
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from model.loader import Loader
from model.loader.committed import open_committed
from model.loader.range_cache import RangeCache
from model.loader.storage import Storage
from schemas.errors import OutputError, StorageError
from tests.model.loader.loaders import equal_content, loader, steps

SECRET = "s3cr3t-4f1d"


@pytest.fixture
def in_memory(output: Path) -> Iterator[str]:
    """The output in fsspec's memory."""
    store = fsspec.filesystem("memory")
    store.put(f"{output}/", "/bucket/out/", recursive=True)
    yield "memory://bucket/out"
    store.rm("/bucket", recursive=True)


def test_an_object_store_gives_the_batches_of_a_folder(
    output: Path, in_memory: str, cache_folder: Path, tmp_path: Path
) -> None:
    here = loader(output, cache_folder=cache_folder)
    for uri in (in_memory, f"{in_memory}/shards/"):
        far = loader(uri, cache_folder=tmp_path / "cache")
        assert far.digest == here.digest
        assert steps(far, 0, 12) == steps(here, 0, 12)


def test_what_is_kept_serves_when_the_store_is_gone(
    in_memory: str, tmp_path: Path, output: Path
) -> None:
    found = loader(in_memory, cache_folder=tmp_path, window_groups=1)
    whole = steps(found, 0, 20)
    fsspec.filesystem("memory").rm("/bucket/out/shards", recursive=True)
    assert steps(loader(in_memory, cache_folder=tmp_path, window_groups=1), 0, 20) == whole


def test_the_cache_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = RangeCache(tmp_path / "ranges", 100)
    keys = [(f"{n}", 0, 30) for n in range(5)]
    for number, key in enumerate(keys):
        cache.put(key, bytes([number]) * 30)
        assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 100
        assert cache.get(keys[0]) == bytes(30)  # used again and again, so never dropped
    assert cache.get(keys[1]) is None
    assert cache.get(keys[4]) == bytes([4]) * 30
    cache.put(("large", 0, 101), bytes(101))
    assert cache.get(("large", 0, 101)) is None
    assert cache.get(keys[4]) is not None


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "ranges").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="the loader's cache cannot be used"):
        RangeCache(tmp_path / "ranges", 100).put(("x", 0, 1), b"1")


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves a folder with byte ranges, as stores do; `broken` makes it fail."""

    broken = False
    num_bytes = 0

    def log_message(self, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if type(self).broken and path.suffix == ".parquet":
            self.send_error(403)
        elif wanted is None or not path.is_file():
            super().do_GET()
        else:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            data = path.read_bytes()[int(first) : int(last) + 1]
            type(self).num_bytes += len(data)
            self.send_response(206)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


class LeakyStore(MemoryFileSystem):
    """Puts the request that failed into its error, as clients of object stores do."""

    protocol = "leaky"
    store: ClassVar[dict[str, Any]] = {}

    def cat_file(self, path: str, start: Any = None, end: Any = None, **more: Any) -> bytes:
        raise OSError(
            f"403 for https://u:{SECRET}@host/x?X-Amz-Signature={SECRET} with "
            f"<Headers('Host': 'h', 'Authorization': 'AWS4 Signature={SECRET}')>, token={SECRET}"
        )


def test_no_secret_of_a_store_s_error_is_told(tmp_path: Path) -> None:
    fsspec.register_implementation("leaky", LeakyStore, clobber=True)
    storage = Storage(f"leaky://u:{SECRET}@bucket/out", RangeCache(tmp_path, 100))
    with pytest.raises(StorageError, match="the store does not give it") as caught:
        storage.read("x", 0, 1, sha256="x")
    said = str(caught.value)
    assert "403 for https://host/x?..." in said
    assert "'Host': 'h'" in said
    assert SECRET not in said


def test_a_checkpoint_written_after_the_listing_hides_no_output(
    output: Path, in_memory: str, cache_folder: Path
) -> None:
    # What a reader sees whose listing is older than the hint: the checkpoint is not there.
    hint = b'{"version": 99, "size": 7}'
    fsspec.filesystem("memory").pipe("/bucket/out/manifest/_delta_log/_last_checkpoint", hint)
    here = open_committed(str(output), RangeCache(cache_folder / "ranges", 0))
    far = open_committed(in_memory, RangeCache(cache_folder / "ranges", 0))
    assert (far.version, far.digest) == (here.version, here.digest)


def test_the_folder_is_looked_at_seldom_and_half_files_go(tmp_path: Path) -> None:
    cache = RangeCache(tmp_path / "ranges", 1600)  # looked at every 100 bytes
    cache.put(("0", 0, 10), bytes(10))
    foreign = cache.folder / "of-another-process.range"
    foreign.write_bytes(bytes(1595))
    half, young = cache.folder / "x.1.part", cache.folder / "y.1.part"
    for path in (half, young):
        path.write_bytes(b"half")
    for path, hours in ((foreign, 3), (half, 2)):
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    for number in range(1, 10):
        cache.put((str(number), 0, 10), bytes(10))
        assert foreign.exists()
    cache.put(("10", 0, 20), bytes(20))
    assert not foreign.exists()
    assert not half.exists()
    assert young.exists()
    assert all(cache.get((str(number), 0, 10)) is not None for number in range(10))


@pytest.fixture
def served(output: Path) -> Iterator[tuple[str, type[RangeHandler]]]:
    """The output on an HTTP server of its own."""

    class Handler(RangeHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(output))

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Handler
        server.shutdown()
        thread.join()


def test_batches_come_over_http_in_ranges_each_once(
    output: Path,
    served: tuple[str, type[RangeHandler]],
    cache_folder: Path,
    tmp_path: Path,
) -> None:
    uri, handler = served
    wanted = steps(loader(output, cache_folder=cache_folder), 0, 12)
    assert steps(loader(uri, cache_folder=tmp_path), 0, 12) == wanted
    asked = handler.num_bytes
    assert steps(loader(uri, cache_folder=tmp_path), 0, 12) == wanted
    assert handler.num_bytes == asked
    handler.broken = True
    with pytest.raises(StorageError, match=r"the store does not give it .*403"):
        loader(uri, cache_folder=tmp_path / "another")


def test_gone_and_short_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"123")
    storage = Storage(str(tmp_path), RangeCache(tmp_path / "cache", 100))
    assert bytes(storage.read("short", 1, 3, sha256="x")) == b"23"
    with pytest.raises(OutputError, match="short: 1 bytes where 7 were wanted from 2 on"):
        storage.read("short", 2, 9, sha256="x")
    with pytest.raises(OutputError, match="gone is committed but is not there"):
        storage.read("gone", 0, 1, sha256="x")
    with pytest.raises(OutputError, match="nosuchstore://x: no way to read it"):
        Storage("nosuchstore://x", RangeCache(tmp_path / "cache", 100))


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_the_number_of_threads_changes_no_batch(
    output: Path, cache_folder: Path, num_threads: int
) -> None:
    usual = loader(output, cache_folder=cache_folder)
    found = Loader(usual.spec, cache_folder, num_threads=num_threads)
    assert steps(found, 0, 12) == steps(usual, 0, 12)
    assert all(equal_content(found.batch(step), usual.batch(step)) for step in range(12))
    found.close()


def test_what_the_disk_is_told_too_early_is_no_error(output: Path, cache_folder: Path) -> None:
    storage = Storage(str(output), RangeCache(cache_folder / "ranges", 1 << 20))
    storage.will_need("shards/gone.parquet", 0, 100)
