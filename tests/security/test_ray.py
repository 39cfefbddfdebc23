"""Orders to Ray from a stranger: its ports are on the loopback, it answers only to its token."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import ray
from ray import _raylet
from ray.core.generated import gcs_service_pb2
from ray.core.generated.gcs_service_pb2_grpc import InternalKVGcsServiceStub

ROOT = Path(__file__).parents[2]
OPEN_RAY = """
import ray, sys
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
MESSAGES: Any = gcs_service_pb2
RAYLET: Any = _raylet
pytestmark = pytest.mark.usefixtures("ray_of_two_cpus")


def session() -> Path:
    return Path(node().get_session_dir_path())


def node() -> Any:
    return ray._private.worker._global_node


def put_without(token: str | None) -> grpc.StatusCode | None:
    """Status of a write to the control store; None where it was taken."""
    headers = [("authorization", f"Bearer {token}")] if token else []
    request = MESSAGES.InternalKVPutRequest(namespace=b"canary", key=b"canary", value=b"sings")
    with grpc.insecure_channel(ray.get_runtime_context().gcs_address) as channel:
        try:
            InternalKVGcsServiceStub(channel).InternalKVPut(request, timeout=20, metadata=headers)
        except grpc.RpcError as error:
            return error.code()
    return None


def own_token() -> str:
    return str(RAYLET.AuthenticationTokenLoader.instance().get_raw_token())


def test_no_port_can_be_reached_from_another_machine() -> None:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    pids = {process.pid for process in family}
    heard = {
        found.laddr[0].removeprefix("::ffff:")
        for found in psutil.net_connections("tcp")
        if found.laddr and found.pid in pids and found.status == psutil.CONN_LISTEN
    }
    assert heard == {"127.0.0.1"}


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_the_control_store_takes_nothing_without_the_token(token: str | None) -> None:
    assert put_without(token) == grpc.StatusCode.UNAUTHENTICATED
    assert put_without(own_token()) is None, "the same write is taken with the token"


def test_no_dashboard_and_an_agent_that_runs_no_stranger_s_command(tmp_path: Path) -> None:
    assert not node().address_info.get("webui_url")
    (port_file,) = session().glob("dashboard_agent_listen_port_*")
    port = int(port_file.read_text())
    if port < 0:
        pytest.skip("another Ray of this machine has the agent's port, so this agent has none")
    canary = tmp_path / "canary"
    url = f"http://127.0.0.1:{port}/api/job_agent/jobs/"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        order = urllib.request.Request(
            url,
            json.dumps({"entrypoint": f"touch {canary}"}).encode(),
            {"Content-Type": "application/json", **headers},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(order, timeout=20)
        refused.value.close()
        assert refused.value.code in (401, 403)
    assert not canary.exists()


def test_an_environment_that_would_open_ray_is_not_listened_to() -> None:
    program = (
        "import os\n"
        "from pipeline.private_ray import private\n"
        "with private():\n"
        "    print(os.environ.get('RAY_AUTH_MODE'), len(os.environ['RAY_AUTH_TOKEN']))\n"
        "print(os.environ['RAY_AUTH_TOKEN'])\n"
    )
    told = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "guessed"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["None 64", "guessed"]


def test_the_token_is_in_no_file_of_the_session() -> None:
    token = own_token().encode()
    files = [path for path in session().rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if token in path.read_bytes()]


def test_a_cluster_that_anybody_commands_is_joined_only_by_consent(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "a.wav").write_bytes(b"x")
    spec = tmp_path / "job.yaml"
    spec.write_text(
        f"name: j\ninputs: {{uri: {inputs}}}\noutput: {tmp_path / 'out'}\nstages: {{decode: }}\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    opened = subprocess.Popen(
        [sys.executable, "-c", OPEN_RAY],
        env=clean | {"RAY_AUTH_MODE": "disabled"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert opened.stdout
    address = opened.stdout.readline().strip()

    def plan(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs.cli", "plan", str(spec), "--address", address]
        return subprocess.run(
            command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False
        )

    try:
        refused, agreed = plan(), plan(RAY_AUTH_MODE="disabled")
    finally:
        opened.communicate("")
    assert refused.returncode == 2
    assert f"the Ray cluster at {address} takes orders without a token" in refused.stderr
    assert agreed.returncode == 0, agreed.stderr
