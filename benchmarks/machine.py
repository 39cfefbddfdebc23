"""What benchmarks share: the clock, memory, options, and what a figure was measured on."""

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, Any]:
    """CPU, memory, GPU, commit and versions."""
    return {
        "cpu": _cpu_name(),
        "cores": len(psutil.Process().cpu_affinity()),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "gpu": _gpu_name(),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: version(name) for name in ("torch", "ray", "pyarrow", "deltalake")},
    }


def timed(work: Callable[[], object]) -> float:
    """Seconds until the work is done, on the GPU too where there is one."""
    import torch

    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def memory_bytes(field: str) -> int:
    """A field of Linux's account of this process: `VmRSS` now, `VmHWM` at its highest.

    Not `ru_maxrss`: a process inherits that of the one which started it.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def options(question: str) -> argparse.ArgumentParser:
    """Of a benchmark with figures for `report`; `question` is its docstring."""
    parser = argparse.ArgumentParser(description=question.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON line and no table")
    parser.add_argument("--short", action="store_true", help="less work, for a try")
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def report(benchmark: str, figures: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Prints the figures and the machine; the last line is one JSON object."""
    import torch

    content = {"benchmark": benchmark, **figures, "threads": torch.get_num_threads()}
    content |= {"short": arguments.short, **machine()}
    if not arguments.json:
        for key, value in content.items():
            print(f"{key:36} {value}")
    print(json.dumps(content))


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _gpu_name() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()
