"""A worker of Ray and its decoder: a crash is one file's failure, and both die together."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ItemError
from schemas.verdict import Keep
from stages.base import Recording
from stages.decode import PyavDecode
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.decoding.asking import GOOD, HOSTILE, refused
from tests.stages.decoding.test_process import is_gone, wait_until_gone


class Worker:
    """Holds a decode stage and a decoder under attack, as an actor does."""

    def __init__(self) -> None:
        self._stage = PyavDecode(PyavDecode.Spec())
        self._attacked = IsolatedDecoder(HOSTILE, attempts=1)

    def decoded_s(self, path: str) -> object:
        verdict = self._stage.process(Recording("s", "r", path, {"path": path}))
        assert isinstance(verdict, Keep)
        return verdict.values["decoded_s"]

    def attack(self, name: str) -> ItemError:
        return refused(self._attacked, name)

    def pids(self) -> tuple[int, int]:
        """Of this worker and of its decoder."""
        assert self._stage.decoder is not None
        assert self._stage.decoder.child is not None
        return os.getpid(), self._stage.decoder.child.pid


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_a_worker_of_ray_survives_its_decoder_and_not_the_other_way_round(tmp_path: Path) -> None:
    import ray

    (tmp_path / "a.wav").write_bytes(GOOD)
    actor: Any = ray.remote(Worker).options(num_cpus=1).remote()
    assert ray.get(actor.decoded_s.remote(str(tmp_path / "a.wav"))) == 2.0
    error = ray.get(actor.attack.remote("segfault"))
    assert error.error_class == "CRASH"
    assert "SIGSEGV" in str(error)
    worker, decoder = ray.get(actor.pids.remote())
    assert not is_gone(decoder)
    os.kill(worker, signal.SIGKILL)
    wait_until_gone(decoder)
