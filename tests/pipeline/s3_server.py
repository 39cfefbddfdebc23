"""An S3 server on loopback, with a bucket, for as long as a block lasts."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import s3fs
from moto.server import ThreadedMotoServer

VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


@contextmanager
def s3_server() -> Iterator[str]:
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
        yield f"s3://{bucket}"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()
