"""Nothing phones home: not our dependencies, not their workers, not a name that is looked up."""

import ipaddress
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipeline.quiet import QUIET_ENVIRONMENT
from schemas.errors import EngineMissingError
from stages.diarize.pyannote import PyannoteDiarizer
from tests.security.conftest import Watched, works

ROOT = Path(__file__).parents[2]
_ADDRESS = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')


def strangers(lines: list[str]) -> list[str]:
    """Lines with an address beyond the loopback."""
    found = [(line, _ADDRESS.search(line)) for line in lines]
    return [
        line for line, match in found if match and not is_loopback(ipaddress.ip_address(match[1]))
    ]


def is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@pytest.mark.skipif(not works("strace", "-f"), reason="no strace, or it may not trace here")
def test_a_run_connects_to_nothing_beyond_the_loopback(watched: Watched) -> None:
    assert any("AF_INET" in line for line in watched.connects), "Ray's own connections"
    assert strangers(watched.connects) == []


@pytest.mark.skipif(not works("strace", "-f"), reason="no strace, or it may not trace here")
def test_the_watch_would_see_a_stranger(tmp_path: Path) -> None:
    call = (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    )
    strace = ("strace", "-f", "-qq", "-e", "trace=connect", "-o", str(tmp_path / "trace"))
    subprocess.run([*strace, sys.executable, "-c", call], capture_output=True, check=False)
    assert len(strangers((tmp_path / "trace").read_text().splitlines())) == 1


def test_a_run_in_an_empty_network_ends_well(watched: Watched) -> None:
    assert "1 inputs = 1 done" in watched.said


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_workers_have_every_switch_off() -> None:
    found = ray.get(ray.remote(lambda: dict(os.environ)).remote())
    assert QUIET_ENVIRONMENT.items() <= found.items()


@pytest.mark.filterwarnings("ignore")  # pyannote.audio warns of much at import
def test_pyannote_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYANNOTE_METRICS_ENABLED", raising=False)
    (tmp_path / "config.yaml").write_text("pipeline: {name: none}\n")
    with pytest.raises(EngineMissingError):
        PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(tmp_path))).open()
    from pyannote.audio.telemetry.metrics import is_metrics_enabled

    assert not is_metrics_enabled()


def test_the_command_line_sets_the_switches_before_anything_reads_them() -> None:
    program = (
        "import os, sys\n"
        "from jobs.cli import main\n"
        "heavy = {'ray', 'huggingface_hub', 'pyannote', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "main(['status', '/nowhere'])\n"
        f"assert {QUIET_ENVIRONMENT!r}.items() <= os.environ.items()\n"
        "import huggingface_hub.constants as hub\n"
        "assert hub.HF_HUB_OFFLINE and hub.HF_HUB_DISABLE_TELEMETRY\n"
        "from ray._common.usage.usage_lib import usage_stats_enabled\n"
        "assert not usage_stats_enabled()\n"
    )
    clean = {name: v for name, v in os.environ.items() if name not in QUIET_ENVIRONMENT}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=clean, check=True)
