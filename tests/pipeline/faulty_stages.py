"""Toy stages that end their worker in every way, for tests of the engine under faults."""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from pipeline.assemble import Job, NamedStage, Pass
from schemas.errors import StorageError
from schemas.job import RunSpec
from schemas.verdict import Verdict
from stages.base import Recording
from tests.pipeline.toy_jobs import toy_job
from tests.pipeline.toy_stages import ToyDecode

HOARD: list[np.ndarray] = []
"""What a worker never lets go of."""


class FaultyDecode(ToyDecode):
    """Does what the first word of the file says, and decodes it if it survives that."""

    def process(self, recording: Recording) -> Verdict:
        match recording.values["path"].read_text().split()[0]:
            case "segfault":
                ctypes.string_at(0)
            case "hold":  # a call of C that does not let go of the interpreter
                ctypes.PyDLL(None).sleep(1000)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "wait":
                while not (recording.values["path"].parent / "go").exists():
                    time.sleep(0.05)
            case "orphan":
                child = subprocess.Popen(["sleep", "1000"])
                (recording.values["path"].parent / "child").write_text(str(child.pid))
                os.kill(os.getpid(), signal.SIGKILL)
            case "eat":
                raise MemoryError("256 GiB")
            case "full":
                raise StorageError("the disk is full")
            case "keep":
                HOARD.append(np.ones(40 << 20, np.uint8))
            case "model" if not (recording.values["path"].parent / "model").exists():
                raise OSError("no model here")
        return super().process(recording)


class NoModelDecode(ToyDecode):
    """Its model is not on the workers."""

    def open(self) -> None:
        raise FileNotFoundError("weights.bin")


class AbortingDecode(ToyDecode):
    """Its library takes the process down when it is loaded."""

    def open(self) -> None:
        os.abort()


class UnsendableDecode(ToyDecode):
    """No worker can be made with it."""

    def __reduce__(self) -> tuple[object, ...]:
        return _missing, ("weights.bin",)


def faulty_job(
    inputs: Path,
    out: Path,
    run: RunSpec | None = None,
    decode: type[ToyDecode] = FaultyDecode,
) -> Job:
    """The toy job with another first stage."""
    job = toy_job(inputs, out, run)
    stages = (NamedStage("decode", decode(decode.Spec())), *job.stages[1:])
    return Job(spec=job.spec, stages=stages, passes=(Pass(stages),))


def _missing(name: str) -> None:
    raise FileNotFoundError(name)
