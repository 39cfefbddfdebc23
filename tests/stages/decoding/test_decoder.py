"""Attacks from inside the decoder's process: each is contained, and the next file decodes."""

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from schemas.errors import ItemError, StorageError
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.decoding.asking import GOOD, HOSTILE, LIMITS, asked, holding, refused
from tests.stages.media_files import sine


@pytest.fixture(scope="module")
def shared() -> Iterator[IsolatedDecoder]:
    decoder = IsolatedDecoder(HOSTILE, attempts=1)
    yield decoder
    decoder.close()


@pytest.fixture
def decoder(shared: IsolatedDecoder) -> Iterator[IsolatedDecoder]:
    """With it every test ends: after whatever happened, the next good file decodes."""
    yield shared
    contents, samples = asked(shared, "good.wav")
    assert contents.num_samples == 32_000
    assert np.abs(samples - sine(2, 16_000)).max() < 1 / 32_767
    assert not samples.flags.writeable


def pid_of(decoder: IsolatedDecoder) -> int:
    assert decoder.child is not None
    return decoder.child.pid


@pytest.mark.parametrize(
    ("attack", "error_class", "said"),
    [
        ("segfault", "CRASH", "died of SIGSEGV; it is broken"),
        ("abort", "CRASH", "died of SIGABRT; it is broken"),
        ("exit", "CRASH", "ended with exit status unknown; it is broken"),
        ("eat", "OOM_ITEM", "ran out of memory (limit 2048 MB); its header may lie"),
        ("starve", "OOM_ITEM", "ran out of memory"),
    ],
)
def test_a_file_that_ends_its_decoder_fails_alone(
    decoder: IsolatedDecoder, attack: str, error_class: str, said: str
) -> None:
    error = refused(decoder, attack)
    assert error.error_class == error_class
    assert f"{attack}: its decoder {said}" in str(error)


@pytest.mark.parametrize("attack", ["sleep", "spin", "hang-up"])
def test_a_file_that_never_ends_is_stopped_by_the_clock(
    decoder: IsolatedDecoder, attack: str
) -> None:
    asked(decoder, "good.wav")
    pid = pid_of(decoder)
    before = decoder.cpu_s()
    error = refused(decoder, attack, wall_s=1)
    if attack == "spin":
        assert decoder.cpu_s() > before
    assert error.error_class == ("CRASH" if attack == "hang-up" else "TIMEOUT")
    assert not psutil.pid_exists(pid)


def test_a_file_is_blamed_only_if_it_ends_a_fresh_decoder_too() -> None:
    patient = IsolatedDecoder(HOSTILE)
    asked(patient, "good.wav")
    os.kill(pid_of(patient), signal.SIGSTOP)  # as if an earlier file had left it ill
    killer = threading.Timer(0.2, os.kill, (pid_of(patient), signal.SIGKILL))
    killer.start()
    assert asked(patient, "good.wav")[0].num_samples == 32_000
    killer.join()
    error = refused(patient, "segfault")
    assert "segfault: its decoder died of SIGSEGV, 2 times; it is broken" in str(error)
    patient.close()


def test_a_decoder_that_died_between_files_is_replaced_in_silence(decoder: IsolatedDecoder) -> None:
    asked(decoder, "good.wav")
    child = decoder.child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    while child.is_alive():
        time.sleep(0.01)
    asked(decoder, "good.wav")
    assert pid_of(decoder) != child.pid


@pytest.mark.parametrize(
    "lie",
    ["longer", "slower", "wider", "negative", "endless", "wordy", "many", "hold", "not-numbers"],
)
def test_an_answer_beyond_the_limits_or_out_of_form_is_a_crash(
    decoder: IsolatedDecoder, lie: str
) -> None:
    error = refused(decoder, lie, GOOD)
    assert error.error_class == "CRASH"
    assert "was killed" in str(error)


@pytest.mark.parametrize(
    "words",
    [
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"\0\0\xff\xff" + b"[" * 0xFFFF,
    ],
    ids=["too long", "too deep"],
)
def test_noise_on_the_line_is_a_crash(decoder: IsolatedDecoder, words: bytes) -> None:
    assert refused(decoder, "say", words.hex()).error_class == "CRASH"


def test_half_an_answer_is_not_waited_for_longer_than_a_whole_one(decoder: IsolatedDecoder) -> None:
    assert refused(decoder, "say", b"\0\0\0\xff{".hex(), wall_s=1).error_class == "TIMEOUT"


@pytest.mark.parametrize(
    "answer",
    [
        '{"failed": ["NO_SUCH_CLASS", "x"]}',
        '{"failed": ["NOT_AUDIO", 5]}',
        '{"failed": "NOT_AUDIO"}',
        '{"contents": {}}',
        '{"ready": {}}',
        "{}",
        "[1, 2",
    ],
)
def test_answers_that_nobody_agreed_on_are_a_crash(decoder: IsolatedDecoder, answer: str) -> None:
    error = refused(decoder, "answer", answer)
    assert error.error_class == "CRASH"
    assert "answered out of form" in str(error)


def test_a_sentence_without_end_is_cut(decoder: IsolatedDecoder) -> None:
    error = refused(decoder, "answer", f'{{"failed": ["NOT_AUDIO", "{"x" * 100_000}"]}}')
    assert error.error_class == "NOT_AUDIO"
    assert len(str(error)) == 1000
    decoder.close()  # it sleeps on, its answer given


@pytest.mark.parametrize("lie", ["shrink", "overflow"])
def test_the_memory_for_samples_keeps_its_size(decoder: IsolatedDecoder, lie: str) -> None:
    with pytest.raises(RuntimeError, match=r"PermissionError|OSError"):
        asked(decoder, lie)


def test_files_are_neither_written_nor_read_nor_removed(
    decoder: IsolatedDecoder, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("sings")
    assert "EPERM" in str(refused(decoder, "write", str(tmp_path / "new")))
    assert "EPERM" in str(refused(decoder, "write", str(canary)))
    assert "EPERM" in str(refused(decoder, "read", str(canary)))
    assert "EPERM" in str(refused(decoder, "read", "/etc/passwd"))
    assert "EPERM" in str(refused(decoder, "delete", str(canary)))
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
    assert canary.read_text() == "sings"


def test_nobody_is_called(decoder: IsolatedDecoder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        assert "EPERM" in str(refused(decoder, "connect", str(server.getsockname()[1])))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_nothing_is_started_and_nobody_signalled(decoder: IsolatedDecoder) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        assert "EPERM" in str(refused(decoder, "fork"))
        assert "EPERM" in str(refused(decoder, "run", "/bin/true"))
        assert "EPERM" in str(refused(decoder, "kill", str(os.getpid())))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not heard
    assert not psutil.Process(pid_of(decoder)).children()


def test_no_secret_of_ours_is_in_its_environment(
    monkeypatch: pytest.MonkeyPatch, decoder: IsolatedDecoder
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    decoder.close()
    assert "AWS" not in str(refused(decoder, "environment"))


def test_a_bug_in_the_decoder_keeps_its_traceback(decoder: IsolatedDecoder) -> None:
    with pytest.raises(RuntimeError, match=r"in the decoder: ValueError: .where") as raised:
        asked(decoder, "raise", b"where")
    assert "hostile.py" in raised.value.__notes__[0]


def test_a_decoder_is_replaced_when_it_has_served_or_grown(decoder: IsolatedDecoder) -> None:
    short_lived = IsolatedDecoder(HOSTILE, most_files=2)
    pids = []
    for _ in range(4):
        asked(short_lived, "good.wav")
        pids.append(pid_of(short_lived))
    short_lived.close()
    assert pids[0] == pids[1] != pids[2] == pids[3]

    slim = IsolatedDecoder(HOSTILE, most_resident_bytes=200 << 20)
    asked(slim, "good.wav")
    before = pid_of(slim)
    refused(slim, "grow", "10")
    asked(slim, "good.wav")
    assert pid_of(slim) == before
    refused(slim, "grow", "200")
    asked(slim, "good.wav")
    assert pid_of(slim) != before
    assert slim.cpu_s() > 0
    slim.close()


def test_neither_zombies_nor_descriptors_are_left(decoder: IsolatedDecoder) -> None:
    asked(decoder, "good.wav")
    gc.collect()  # what other tests left is not counted
    me = psutil.Process()
    before = me.num_fds(), len(me.children())
    for _ in range(3):
        refused(decoder, "segfault")
    asked(decoder, "good.wav")
    assert (me.num_fds(), len(me.children())) == before
    decoder.close()
    assert len(me.children()) == before[1] - 1


def test_many_threads_may_ask(decoder: IsolatedDecoder) -> None:
    asked(decoder, "good.wav")
    found: list[int] = []

    def ask() -> None:
        for _ in range(5):
            found.append(asked(decoder, "good.wav")[0].num_samples)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [32_000] * 15


def test_what_does_not_start_is_our_failure_and_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="No module named 'no_such'"):
        asked(IsolatedDecoder("no_such.module:read"), "good.wav")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(StorageError, match="cannot be started"):
        asked(IsolatedDecoder(), "good.wav")
    assert not issubclass(StorageError, ItemError)


def test_no_room_for_samples_is_our_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    decoder = IsolatedDecoder(HOSTILE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    asked(decoder, "good.wav")
    with holding(GOOD) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(StorageError, match=r"no memory for the samples of good\.wav"):
                decoder.read(file, "good.wav", LIMITS, wall_s=60)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    decoder.close()
