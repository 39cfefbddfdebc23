"""Who may give orders to Ray: nobody but this user's job.

Whoever reaches Ray's ports and is answered can run code as its owner. So a Ray of our own listens
on the loopback alone and answers only to a token, which is made for it and lies in no file; and a
cluster that answers to anybody is not joined unless the user says so.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import _raylet
from ray._private import ray_constants, services

from schemas.errors import PlanError

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
_ACROSS_MACHINES = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
_PROBE_TIMEOUT_S = 20.0
_tokens: Any = _raylet
"""Ray's compiled half, which has no types."""


@contextmanager
def private() -> Iterator[None]:
    """A Ray that is started in the block is private, whatever the environment says of it.

    Listening on the loopback alone is what Ray does by itself where it knows no clusters (macOS).
    """
    names = (MODE, TOKEN, _ACROSS_MACHINES)
    before = {name: os.environ.pop(name, None) for name in names}  # no mode: Ray asks for a token
    try:
        # Named in the environment, so that Ray writes none to the user's home, readable for all.
        os.environ |= {TOKEN: secrets.token_hex(32), _ACROSS_MACHINES: "0"}
        _tokens.AuthenticationTokenLoader.instance().reset_cache()
        with (
            _replaced(ray_constants, "ENABLE_RAY_CLUSTER", False),
            # Without a dashboard its process would still be started, for usage reports; and with
            # those off it still asks the cloud's metadata which cloud this is.
            _replaced(services, "start_api_server", lambda *_, **__: (None, None)),
        ):
            yield
    finally:
        for name, value in before.items():
            if name == MODE:
                continue  # Ray has set it, and this process speaks with a token from now on
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def check_guarded(gcs_address: str) -> None:
    """Raises `PlanError` where the cluster answers without a token and the user did not agree.

    `gcs_address` is HOST:PORT of the cluster's control store. The user agrees with Ray's own
    variable, RAY_AUTH_MODE=disabled.
    """
    if os.environ.get(MODE, "").lower() == "disabled" or not _answers_anybody(gcs_address):
        return
    raise PlanError(
        f"the Ray cluster at {gcs_address} takes orders without a token: whoever reaches its ports "
        f"can run code on it; start every node with {MODE}=token (jobs/cluster shows how), or "
        f"export {MODE}=disabled here if its network is closed to others"
    )


def _answers_anybody(gcs_address: str) -> bool:
    """Whether the control store tells its keys to a caller without a token."""
    import grpc
    from ray.core.generated import gcs_service_pb2
    from ray.core.generated.gcs_service_pb2_grpc import InternalKVGcsServiceStub

    messages: Any = gcs_service_pb2
    # No proxy of this machine: what it says would not be the cluster's answer.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(gcs_address, options=options) as channel:
        try:
            InternalKVGcsServiceStub(channel).InternalKVKeys(
                messages.InternalKVKeysRequest(), timeout=_PROBE_TIMEOUT_S
            )
        except grpc.RpcError:
            return False  # refused, or spoken to in a way that wants certificates
    return True


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
