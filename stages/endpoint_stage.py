"""What the stages that ask an endpoint have in common: their life cycle and their fingerprint."""

from pathlib import Path
from typing import Any

from schemas.ids import digest
from stages.base import SegmentStage
from stages.endpoint_client import OPERATIONAL, EndpointClient, EndpointSpec, check_endpoint


class EndpointStage(SegmentStage):
    """A stage that asks questions in `process` through `self.client`.

    Raises `EngineMissingError` where the spec names no server, or a key that is not there.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        check_endpoint(spec)
        if spec.cache_dir:
            # Workers run in another folder than the driver: the path is settled here.
            spec = spec.model_copy(update={"cache_dir": str(Path(spec.cache_dir).resolve())})
        super().__init__(spec)
        self._client: EndpointClient | None = None

    @property
    def client(self) -> EndpointClient:
        if self._client is None:
            raise RuntimeError(f"stage {self.name!r} was not opened before it had to ask")
        return self._client

    def open(self) -> None:
        self._client = EndpointClient(self.spec)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def fingerprint(self) -> str:
        """As for every stage, but where and how fast the model answers changes no value."""
        decisive = self.spec.model_dump_json(exclude=set(OPERATIONAL))
        return digest(self.name, self.engine, self.describe(), decisive)

    def __getstate__(self) -> dict[str, Any]:
        # An open client holds a socket and the key; neither may travel.
        return self.__dict__ | {"_client": None}
