"""A real HTTP server on the loopback that answers like an OpenAI-compatible one, as told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-loopback-4711-secret"
KEY_ENV = "AUDIOMILL_TEST_ENDPOINT_KEY"


@dataclass
class Reply:
    """One answer of the server: status and body, after `wait_s`, a byte every `drip_s`."""

    status: int = 200
    body: bytes = b""
    wait_s: float = 0.0
    drip_s: float = 0.0


def said(content: Any, finish_reason: str = "stop") -> Reply:
    """A chat completion whose content is the JSON of `content`, or a text as it stands."""
    text = content if isinstance(content, str) else json.dumps(content)
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return Reply(200, json.dumps({"choices": [choice]}).encode())


@dataclass
class Endpoint:
    """What the server heard, and what it says next: each reply once, then `default`."""

    base_url: str
    default: Reply | Callable[[dict[str, Any]], Reply]
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def material(self, index: int = -1) -> Any:
        """The JSON that a request gave the model as the user's message."""
        return json.loads(self.requests[index]["messages"][1]["content"])


@contextmanager
def loopback(
    default: Reply | Callable[[dict[str, Any]], Reply], *replies: Reply
) -> Iterator[Endpoint]:
    """A running server; it stops at the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                endpoint.requests.append(body)
                endpoint.headers.append(dict(self.headers))
                endpoint.paths.append(self.path)
                endpoint.in_flight += 1
                endpoint.most_in_flight = max(endpoint.most_in_flight, endpoint.in_flight)
                reply = endpoint.replies.pop(0) if endpoint.replies else endpoint.default
            if callable(reply):
                reply = reply(body)
            time.sleep(reply.wait_s)
            with endpoint.lock:
                endpoint.in_flight -= 1
            try:
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                for byte in reply.body if reply.drip_s else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(reply.drip_s)
                if not reply.drip_s:
                    self.wfile.write(reply.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client hung up, as a test wanted it to

        def log_message(self, format: str, *args: Any) -> None:
            """Keeps the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", default, list(replies))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
