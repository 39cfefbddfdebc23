"""Servers that lead a fetch elsewhere: addresses of this machine, its network, its cloud."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from pipeline import guarded_http, remote_inputs
from pipeline.guarded_http import ALLOWED_NETWORKS, may_connect
from pipeline.inputs import fetched, list_inputs
from schemas.errors import ItemError, SpecError
from schemas.job import InputsSpec
from schemas.source import Source

AUDIO = b"RIFF" + bytes(1000)
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A web server on the loopback, and every path that was asked of it."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def send(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    return answer


def lead_to(place: str) -> Answer:
    return send(b"", 302, Location=place)


@pytest.fixture
def server() -> Iterator[Server]:
    known = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            known.answers.get(self.path, send(b"", 404))(self)

        do_HEAD = do_GET  # noqa: N815  (http.server's names)

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the test's output clean."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    known.port = web.server_port
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield known
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of this machine allows its loopback, as the tests' own server needs it."""
    monkeypatch.setenv(ALLOWED_NETWORKS, "127.0.0.1/32")


def refusal(source: Source) -> ItemError:
    with pytest.raises(ItemError) as caught, fetched(source):
        pass
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_this_machine_is_asked_nothing(server: Server, host: str) -> None:
    server.answers["/a.wav"] = send(AUDIO)
    url = server.url("/a.wav", host)
    with pytest.raises(SpecError, match="cannot be listed: it leads to an address that is not pub"):
        list_inputs(InputsSpec(uri=url))
    error = refusal(Source(url, len(AUDIO), ""))
    assert error.error_class == "FORBIDDEN_URI"
    assert ALLOWED_NETWORKS in str(error)
    assert server.asked == []


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "[fd00::1]", "[fe80::1]"])
def test_the_network_and_the_cloud_s_metadata_are_asked_nothing(address: str) -> None:
    assert refusal(Source(f"http://{address}/latest", 9, "")).error_class == "FORBIDDEN_URI"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        *((carried, True) for carried in ("::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::")),
        *((private, False) for private in ("127.1.2.3", "192.168.0.9", "100.64.0.1", "0.0.0.0")),
        *((private, False) for private in ("224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1")),
        *(
            (carried, False)
            for carried in ("::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe")
        ),
        ("fe80::1%eth0", False),
        *((cloud, False) for cloud in ("168.63.129.16", "::ffff:168.63.129.16", "192.0.0.192")),
        *((protocol, False) for protocol in ("192.0.0.8", "192.0.0.10", "192.88.99.1")),
        *((local, False) for local in ("64:ff9b:1::101:101", "64:ff9b:1:a00:0:100::", "fec0::1")),
        *((carried, False) for carried in ("::10.0.0.1", "::1.1.1.1", "::ffff:0:10.0.0.1")),
        *((teredo, False) for teredo in ("2001::f5ff:fffe", "2001:0:101:101::fefe:fefe")),
        *((unused, False) for unused in ("3fff::1", "4000::1", "5f00::1", "2001:db8::1")),
        *((next_to_it, True) for next_to_it in ("168.63.129.17", "192.0.1.1", "2001:200::1")),
    ],
)
def test_an_address_is_public_or_refused(address: str, public: bool) -> None:
    assert may_connect(address) is public


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("168.63.129.16/32", "168.63.129.16"),
        ("10.0.0.0/8", "64:ff9b::10.0.0.1"),
        ("64:ff9b::/96", "64:ff9b::10.0.0.1"),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1"),
        ("2001::/32", "2001:0:101:101::f5ff:fffe"),
    ],
)
def test_what_the_owner_allows_wins(
    monkeypatch: pytest.MonkeyPatch, network: str, address: str
) -> None:
    assert not may_connect(address)
    monkeypatch.setenv(ALLOWED_NETWORKS, f"192.168.7.0/24, {network}")
    assert may_connect(address)


def test_an_allowed_network_is_fetched_from_and_a_mistyped_one_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, allowed: None
) -> None:
    server.answers["/a.wav"] = send(AUDIO, ETag='"1"')
    (source,) = list_inputs(InputsSpec(uri=server.url("/a.wav"))).sources
    assert (source.size_bytes, source.etag) == (len(AUDIO), "1")
    with fetched(source) as path:
        assert path.read_bytes() == AUDIO
    monkeypatch.setenv(ALLOWED_NETWORKS, "127.0.0.1/8")
    with pytest.raises(SpecError, match=f"{ALLOWED_NETWORKS}: .*has host bits set"):
        may_connect("127.0.0.1")


@pytest.mark.parametrize(
    ("place", "error_class"),
    [
        ("http://169.254.169.254/latest/meta-data", "FORBIDDEN_URI"),
        ("http://[::1]:{port}/canary", "FORBIDDEN_URI"),
        ("file:///etc/passwd", "UNREADABLE"),
        ("ftp://127.0.0.1/x", "UNREADABLE"),
        ("http://127.0.0.1:{port}/loop", "UNREADABLE"),
    ],
)
def test_a_redirect_leads_to_nothing_that_could_not_be_named(
    server: Server, allowed: None, place: str, error_class: str
) -> None:
    server.answers["/loop"] = lead_to("/loop")
    server.answers["/canary"] = send(AUDIO)
    server.answers["/a.wav"] = lead_to(place.format(port=server.port))
    error = refusal(Source(server.url("/a.wav"), len(AUDIO), ""))
    assert error.error_class == error_class
    assert "\n" not in str(error)
    assert "/canary" not in server.asked


def test_a_page_of_links_leads_to_its_own_folder_only(server: Server, allowed: None) -> None:
    links = (
        "a.wav",
        "../../outside.wav",
        "/admin.wav",
        "http://169.254.169.254/x.wav",
        "%2e%2e/b.wav",
    )
    page = "".join(f'<a href="{link}">x</a>' for link in links).encode()
    for name in ("/in", "/in/"):
        server.answers[name] = send(page, Content_Type="text/html")
    for name in ("/in/a.wav", "/outside.wav", "/b.wav", "/admin.wav"):
        server.answers[name] = send(AUDIO)
    sources = list_inputs(InputsSpec(uri=server.url("/in/**/*.wav"))).sources
    good, *bad = sorted(sources, key=lambda source: source.uri != server.url("/in/a.wav"))
    with fetched(good) as path:
        assert path.read_bytes() == AUDIO
    assert {refusal(source).error_class for source in bad} == {"FORBIDDEN_URI"}
    assert len(bad) == 2
    assert not any("169.254" in source.uri for source in sources)


def test_a_list_without_end_is_not_read_to_its_end(
    server: Server, allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded_http, "MAX_PAGE_BYTES", 1 << 20)
    server.answers["/in/"] = send(b'<a href="a.wav">' * 100_000, Content_Type="text/html")
    with pytest.raises(SpecError, match="a list of files of more than 1048576 bytes"):
        list_inputs(InputsSpec(uri=server.url("/in/*.wav")))


def test_more_bytes_than_were_listed_end_the_fetch(server: Server, allowed: None) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()  # no length: the body ends when the connection does
        if request.command == "GET":
            while True:
                try:
                    request.wfile.write(bytes(1 << 20))
                except OSError:
                    return

    server.answers["/a.wav"] = endless
    error = refusal(Source(server.url("/a.wav"), 1 << 20, ""))
    assert error.error_class == "CHANGED"
    assert "sends more than its 1048576 bytes" in str(error)


def test_packed_bytes_are_not_unpacked(server: Server, allowed: None) -> None:
    import gzip

    packed = gzip.compress(bytes(1 << 20))
    server.answers["/a.wav"] = send(packed, Content_Encoding="gzip")
    with fetched(Source(server.url("/a.wav"), len(packed), "")) as path:
        assert path.stat().st_size == len(packed)


def test_a_body_that_breaks_off_and_one_that_takes_too_long_are_failed(
    server: Server, allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/a.wav"] = send(AUDIO)
    error = refusal(Source(server.url("/a.wav"), len(AUDIO) + 1, ""))
    assert (error.error_class, "broke off after" in str(error)) == ("UNREADABLE", True)
    monkeypatch.setattr(remote_inputs, "MAX_FETCH_S", 0)
    assert refusal(Source(server.url("/a.wav"), len(AUDIO), "")).error_class == "TIMEOUT"


@pytest.mark.parametrize(
    "uri",
    [
        *("ftp://h/x", "file+ssh://h/x", "simplecache::file:///etc/passwd", "github://a:b@/x"),
        *("reference://x", "zip://x::file:///etc/passwd", "memory://x::file:///etc/passwd"),
    ],
)
def test_a_scheme_that_nobody_allowed_is_not_opened(uri: str) -> None:
    with pytest.raises(SpecError):
        list_inputs(InputsSpec(uri=uri))
    assert refusal(Source(uri, 1, "")).error_class == "FORBIDDEN_URI"


def test_a_key_of_a_bucket_never_becomes_a_path() -> None:
    store = fsspec.filesystem("memory")
    for key in ("/b/%2e%2e/%2e%2e/evil.wav", "/b/" + "n" * 4096 + ".wav", "/b/-rf.wav"):
        store.pipe(key, b"bytes")
    store.pipe("/b/new\nline\x1b[2J\u202e.wav", b"bytes")
    outcomes = []
    for source in list_inputs(InputsSpec(uri="memory://b")).sources:
        try:
            with fetched(source) as path:
                outcomes.append(path.name)
        except ItemError as error:
            outcomes.append(error.error_class)
    assert outcomes == ["FORBIDDEN_URI", "input", "input", "input"]
