"""One real run for several threats: in an empty network, watched, with secrets in every channel."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEY = "canary-key-9d41c0"
SECRETS = {
    "AUDIOMILL_TEST_KEY": KEY,
    "AWS_SECRET_ACCESS_KEY": "canary-aws-77b02e",
    "HF_TOKEN": "hf_canary50a3f1",
    "SOME_PASSWORD": "canary-password-e8d2",
}
SPEC = """
name: watched
inputs: {{uri: {inputs}}}
output: {out}
stages:
  decode:
  normalize:
  vad:
  diarize:
  segment: {{min_s: 1.0}}
  quality:
  mos:
  asr:
  caption:
    engine: endpoint
    base_url: http://127.0.0.1:9/v1
    model: nobody
    api_key_env: AUDIOMILL_TEST_KEY
    max_attempts: 1
run: {{workers: 1, max_failed_fraction: 1.0, breaker_inputs: null}}
"""
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Watched:
    """What a run of the command line left behind."""

    out: Path
    home: Path
    ray: Path
    said: str
    connects: list[str]
    """Lines of strace, one for every call of connect(2) in any process; none without strace."""


def works(*command: str) -> bool:
    return (
        bool(shutil.which(command[0]))
        and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A run over a telephone call, by the command line as a person starts it."""
    # The paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="am-", dir="/tmp") as ray_folder:
        yield watch(tmp_path_factory.mktemp("watched"), Path(ray_folder))


def watch(folder: Path, ray_folder: Path) -> Watched:
    trace = folder / "trace"
    inputs, home, out = folder / "in", folder / "home", folder / "out"
    inputs.mkdir()
    home.mkdir()
    shutil.copy(ROOT / "jobs/demo/corpus/telephone.wav", inputs / "call.wav")
    spec = folder / "job.yaml"
    spec.write_text(SPEC.format(inputs=inputs, out=out))
    command = [sys.executable, "-m", "jobs.cli", "run", str(spec)]
    if works("strace", "-f"):
        command = [*("strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace)), *command]
    if works("unshare", "-Urn"):
        command = ["unshare", "-Urn", sys.executable, "-c", LOOPBACK_UP, *command]
    quiet = ("RAY_", "HF_", "PYANNOTE", "DO_NOT_TRACK")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(quiet)}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=kept | SECRETS | {"HOME": str(home), "RAY_TMPDIR": str(ray_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    connects = trace.read_text().splitlines() if trace.exists() else []
    return Watched(out, home, ray_folder, done.stdout + done.stderr, connects)
