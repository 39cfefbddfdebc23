"""A driver in a process of its own, which runs the counted job wherever it is told to.

    python -m benchmarks.faults.driver ADDRESS

reads a JSON object a line (`inputs`, `out`, `workers`, `work_s`, `shared`) and prints one a line:
`{"event": "up"}` once it has joined the Ray at ADDRESS, one `committed` for each unit or shard, and
`{"event": "end", "error": null}` when the run is over.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.faults.toy import counted_job
from benchmarks.machine import ROOT
from benchmarks.toy_job import ToyCluster
from pipeline.run import run_job
from pipeline.shards import ShardPlan
from pipeline.worker import UnitResult
from schemas.errors import AudiomillError
from tests.pipeline.toy_jobs import Silent, open_toy_tokenizer


@dataclass
class Driver:
    """A driver process, seen from outside; a context, so that none is left behind."""

    process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Ended, or killed if there is an error: its workers must not outlive what asked for it."""
        if error is None:
            self.end()
        else:
            self.kill()

    @classmethod
    def start(cls, cluster: ToyCluster, log: Path) -> Self:
        """It is up once `up` is in its events; what it says of errors goes to `log`."""
        with log.open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.faults.driver", cluster.address],
                cwd=ROOT,
                env=cluster.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        return cls(process)

    def ask(
        self, inputs: Path, out: Path | str, *, workers: int, work_s: float, shared: bool = False
    ) -> None:
        """Has it run the job; before it is up too."""
        asked = {
            "inputs": str(inputs),
            "out": str(out),
            "workers": workers,
            "work_s": work_s,
            "shared": shared,
        }
        if self.process.stdin is None:
            raise RuntimeError("a driver without a line to it")
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def events(self) -> Iterator[dict[str, Any]]:
        """What it tells, as it comes, until it ends."""
        if self.process.stdout is None:
            raise RuntimeError("a driver without a line from it")
        for line in self.process.stdout:
            yield json.loads(line)

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next such event; raises `RuntimeError` if the driver ends before."""
        for said in self.events():
            if said["event"] == event:
                return said
        raise RuntimeError(f"a driver ended with {self.process.wait()} before {event!r}")

    def kill(self) -> None:
        self.process.kill()
        self._close()

    def end(self) -> None:
        """Waits until it has left its Ray, or has died."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


_LINE_FD = 100
"""Of the driver's end of the line, once it is a driver."""


class _Telling(Silent):
    def unit_done(self, result: UnitResult) -> None:
        _tell("committed")

    def shard_done(self, plan: ShardPlan, num_frames: int) -> None:
        _tell("committed")


def _tell(event: str, **more: Any) -> None:
    os.write(_LINE_FD, (json.dumps({"event": event, **more}) + "\n").encode())


def main(address: str) -> None:
    """Serves one line after the other."""
    import ray

    # The line is for events alone: what libraries print goes to the log.
    os.dup2(1, _LINE_FD)
    os.dup2(2, 1)
    # Joined here and not by the run, so that workers come from the pool of those that are idle.
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    _tell("up")
    for line in sys.stdin:
        asked = json.loads(line)
        job = counted_job(
            Path(asked["inputs"]),
            asked["out"],
            workers=asked["workers"],
            work_s=asked["work_s"],
        )
        try:
            run_job(job, _Telling(), open_tokenizer=open_toy_tokenizer, shared=asked["shared"])
        except AudiomillError as error:
            _tell("end", error=type(error).__name__, says=str(error))
        else:
            _tell("end", error=None)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
