"""An S3 server on loopback, with a bucket, for as long as a block lasts."""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import s3fs
from moto.server import ThreadedMotoServer

VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


App = Callable[..., Iterable[bytes]]
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
)


class Throttling:
    """A store under too much load: of so many requests one is answered with 503, SlowDown.

    With `does_it` the request is done all the same, and only its answer is lost.
    """

    def __init__(self, app: App, one_in: int, *, does_it: bool) -> None:
        self.app = app
        self.one_in = one_in
        self.does_it = does_it
        self.num_requests = 0
        self.num_refused = 0

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.num_requests += 1
        if self.num_requests % self.one_in:
            return self.app(environ, start_response)
        self.num_refused += 1
        if self.does_it:
            b"".join(self.app(environ, lambda *_: None))
        start_response("503 Slow Down", [("Content-Type", "application/xml")])
        return [SLOW_DOWN]


@contextmanager
def s3_server(throttle: Callable[[App], App] = lambda app: app) -> Iterator[str]:
    """URI of the bucket. Processes that are started in the block find the server too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        host, port = server.get_host_and_port()
        values = (f"http://{host}:{port}", "test", "test", "us-east-1")
        os.environ.update(zip(VARIABLES, values, strict=True))
        bucket = f"audiomill-{secrets.token_hex(4)}"  # a server forgets nothing while Python runs
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
        listening = server._server
        if listening is None:
            raise RuntimeError("the server did not start")
        listening.app = throttle(listening.app)
        yield f"s3://{bucket}"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()
