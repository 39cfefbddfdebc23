"""How decoders live and die: never longer than those who started them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import psutil
import pytest

from stages.decoding.decoder import IsolatedDecoder
from stages.decoding.process import ChildDiedError, ChildProcess
from stages.decoding.samples import SampleStore
from tests.stages.decoding.asking import GOOD, HOSTILE, LIMITS, asked, holding, refused

ROOT = Path(__file__).resolve().parents[3]
PARENT = """
import sys, threading
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.decoding.asking import HOSTILE, asked
decoder = IsolatedDecoder(HOSTILE)
asked(decoder, "good.wav")
print(decoder.child.pid, flush=True)
asked(decoder, *sys.argv[1:2]) if sys.argv[1:] else sys.stdin.read()
"""
IGNORING = """
import ctypes, signal, threading
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.decoding.asking import HOSTILE, asked, refused
def ignore():
    ctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(1))  # as Ray does
ignore()
decoder = IsolatedDecoder(HOSTILE, attempts=1)
print(refused(decoder, "segfault"))
def from_a_thread():
    ignore()
    print(refused(decoder, "segfault"))
    asked(decoder, "good.wav")
    decoder.close()
thread = threading.Thread(target=from_a_thread)
thread.start()
thread.join()
"""


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def is_gone(pid: int) -> bool:
    try:
        # Who lost its parent is reaped by process 1, in a container perhaps never.
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_asleep(pid: int) -> None:
    """Until it is in the attack, which holds the interpreter's lock; or for a second."""
    for _ in range(50):
        if "nanosleep" in Path(f"/proc/{pid}/wchan").read_text():
            return
        time.sleep(0.02)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.02)


@pytest.mark.parametrize("busy", [True, False])
def test_a_decoder_dies_with_a_worker_that_is_killed(busy: bool) -> None:
    with running(PARENT, *(["sleep"] if busy else [])) as parent:
        pid = int(first_line(parent.stdout))
        assert not is_gone(pid)
        if busy:
            wait_until_asleep(pid)
        os.kill(parent.pid, signal.SIGKILL)
        wait_until_gone(pid)


def test_a_decoder_dies_with_a_worker_that_ends() -> None:
    with running(PARENT) as parent:
        pid = int(first_line(parent.stdout))
        assert parent.stdin is not None
        parent.stdin.close()
        assert parent.wait(60) == 0
        wait_until_gone(pid)


def test_a_child_whose_parent_died_before_it_looked_does_not_live() -> None:
    script = "from stages.decoding.confinement import die_with; die_with({}); print('alive')"
    for parent_pid, said in ((os.getpid(), "alive\n"), (1 << 22, "")):
        command = [sys.executable, "-c", script.format(parent_pid)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (run.stdout, run.returncode) == (said, 0 if said else 1)


def test_a_decoder_that_went_with_its_thread_is_replaced() -> None:
    decoder = IsolatedDecoder(HOSTILE)
    thread = threading.Thread(target=asked, args=(decoder, "good.wav"))
    thread.start()
    thread.join()
    assert decoder.child is not None
    before = decoder.child.pid
    wait_until_gone(before)
    asked(decoder, "good.wav")
    assert decoder.child.pid != before
    decoder.close()


def test_nothing_that_a_decoder_began_outlives_it() -> None:
    decoder = IsolatedDecoder("tests.stages.decoding.hostile_family:read", attempts=1)
    relative = int(str(refused(decoder, "who")))
    assert not is_gone(relative)
    assert "SIGSEGV" in str(refused(decoder, "segfault"))
    wait_until_gone(relative)

    relative = int(str(refused(decoder, "who")))
    decoder.close()
    wait_until_gone(relative)


def test_ignored_sigchld_costs_at_most_the_signals_name() -> None:
    with running(IGNORING) as parent:
        said, _ = parent.communicate(timeout=120)
    assert parent.returncode == 0
    in_main, in_thread = said.splitlines()
    assert in_main.startswith("segfault: its decoder died of SIGSEGV")
    assert in_thread.startswith("segfault: its decoder ended with exit status unknown")


def test_a_copy_of_the_worker_leaves_its_decoder_alone() -> None:
    decoder = IsolatedDecoder(HOSTILE)
    asked(decoder, "good.wav")
    assert decoder.child is not None
    copy = ctypes.CDLL(None).fork()  # not os.fork, which warns of threads
    if copy == 0:
        decoder.close()
        os._exit(0)
    assert os.waitpid(copy, 0)[1] == 0
    assert decoder.child.is_alive()
    before = decoder.child.pid
    asked(decoder, "good.wav")
    assert decoder.child.pid == before
    decoder.close()


def test_cpu_time_has_a_limit_of_its_own_for_each_file() -> None:
    child = ChildProcess(HOSTILE)

    def ask(name: str, content: bytes) -> bytes:
        message = {"name": name, "limits": asdict(LIMITS), "cpu_s": 0.1}
        with holding(content) as file, SampleStore(LIMITS.max_bytes) as store:
            return child.ask(message, [file.fileno(), store.fd], time.monotonic() + 120)

    for _ in range(2):
        assert b"num_samples" in ask("good.wav", GOOD)
    with pytest.raises(ChildDiedError, match="used up its CPU time") as raised:
        ask("spin", b"")
    assert raised.value.error_class == "TIMEOUT"
    assert not child.is_alive()
