"""The process that reads strangers' bytes knows no secret: neither by environment nor otherwise."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.base import Recording
from stages.decode import PyavDecode
from tests.security.conftest import SECRETS
from tests.stages.media_files import sine, wav_bytes

KNOWN = {
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHOME",
    "PYTHONPATH",
}
MORE_SECRETS = {
    "RAY_AUTH_TOKEN": "canary-ray-1c5d",
    "AWS_ACCESS_KEY_ID": "canary-id-88af",
    "AWS_SESSION_TOKEN": "canary-session-03be",
    "GOOGLE_APPLICATION_CREDENTIALS": "/canary-google-5521.json",
    "http_proxy": "http://user:canary-proxy-7ab0@127.0.0.1:9",
}


@pytest.fixture
def decoder_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A child that has decoded a file for a stage in an environment full of secrets."""
    for name, secret in (SECRETS | MORE_SECRETS).items():
        monkeypatch.setenv(name, secret)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(sine(1, 16_000), 16_000))
    stage = PyavDecode(PyavDecode.Spec())
    stage.process(Recording("s", "r", str(path), {"path": path}))
    assert stage.decoder is not None
    assert stage.decoder.child is not None
    yield stage.decoder.child.pid
    stage.close()


def test_its_environment_holds_what_python_needs_and_no_more(decoder_pid: int) -> None:
    content = Path(f"/proc/{decoder_pid}/environ").read_text()
    names = {entry.partition("=")[0] for entry in content.split("\0") if entry}
    assert names <= KNOWN
    assert "PYTHONPATH" in names  # it is the environment that was read, and not nothing
    for secret in (SECRETS | MORE_SECRETS).values():
        assert secret not in content


def test_neither_its_arguments_nor_its_memory_hold_one(decoder_pid: int) -> None:
    secrets = [secret.encode() for secret in (SECRETS | MORE_SECRETS).values()]
    arguments = Path(f"/proc/{decoder_pid}/cmdline").read_bytes()
    assert b"stages.decoding.child" in arguments
    assert not any(secret in arguments for secret in secrets)
    try:
        memory = b"".join(memory_of(decoder_pid))
    except PermissionError:
        pytest.skip("the kernel lets nobody look into another process")
    assert b"LC_ALL" in memory
    assert [secret for secret in secrets if secret in memory] == []


def memory_of(pid: int) -> Iterator[bytes]:
    """What a process has written to: its heap, stack, and the changed pages of libraries."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if not rights.startswith("rw") or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(place, 16) for place in span.split("-"))
            yield os.pread(memory.fileno(), end - start, start)
