"""What a decoder's process is left with, read from the kernel."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.decoding.confinement import ADDRESS_SPACE_BYTES
from stages.decoding.process import ChildProcess

READ = "stages.decoding.reading:read_audio"


@pytest.fixture(scope="module")
def child() -> Iterator[ChildProcess]:
    child = ChildProcess(READ)
    yield child
    child.end()


def facts(child: ChildProcess, file: str) -> dict[str, list[str]]:
    """Lines of a file of /proc by their first words."""
    lines = Path(f"/proc/{child.pid}/{file}").read_text().splitlines()
    return {line[:25].strip().split(":")[0]: line[25:].split() for line in lines}


def status(child: ChildProcess, name: str) -> list[str]:
    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))


def test_limits_are_set_and_cannot_be_raised(child: ChildProcess) -> None:
    limits = facts(child, "limits")
    assert limits["Max address space"][:2] == [str(ADDRESS_SPACE_BYTES)] * 2
    assert limits["Max core file size"][:2] == ["0", "0"]
    assert limits["Max open files"][:2] == ["64", "64"]
    assert limits["Max processes"][:2] == ["0", "0"]
    assert limits["Max file size"][0] == "0"


def test_it_runs_alone_without_privileges(child: ChildProcess) -> None:
    assert status(child, "NoNewPrivs") == ["1"]
    assert status(child, "CapEff") == ["0" * 16]
    if child.held["unprivileged"]:
        assert "0" not in status(child, "Uid")
    assert status(child, "Threads") == ["1"]
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


def test_the_kernel_confirms_what_it_says_it_holds(child: ChildProcess) -> None:
    assert child.held.keys() == {"own_network", "unprivileged", "few_system_calls"}
    assert (status(child, "Seccomp") == ["2"]) == child.held["few_system_calls"]
    networks = {os.readlink(f"/proc/{pid}/ns/net") for pid in (child.pid, os.getpid())}
    assert (len(networks) == 2) == child.held["own_network"]


def test_its_environment_is_made_and_not_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary")
    monkeypatch.setenv("HOME", "/canary")
    child = ChildProcess(READ)
    found = Path(f"/proc/{child.pid}/environ").read_text()
    links = {os.readlink(f"/proc/{child.pid}/fd/{number}") for number in (0, 1, 2)}
    child.end()
    assert "canary" not in found
    assert f"PYTHONPATH={os.pathsep.join(os.path.abspath(p) for p in sys.path)}" in found
    assert links == {"/dev/null"}
