"""Fetching over HTTP from servers that nobody vouches for: where a URL may lead, and how much it
may send.

A name can resolve to, and a redirect can lead to, a machine that only this one can reach: a service
on the loopback, a neighbour, the cloud's metadata. So the address itself is looked at, after the
name was resolved and before the connection is made, at every hop.
"""

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from schemas.errors import SpecError

if TYPE_CHECKING:  # aiohttp takes a quarter of a second, and most jobs read a disk
    from aiohttp import ClientSession

ALLOWED_NETWORKS = "AUDIOMILL_ALLOWED_NETWORKS"
"""Variable with the networks that may be fetched from although they are not public, by comma."""
MAX_PAGE_BYTES = 64 << 20
"""Of a page that lists files; a body that is fetched has limits of its own."""
CONNECT_TIMEOUT_S = 30
READ_TIMEOUT_S = 60
"""Without a single byte."""
MAX_FETCH_S = 3600
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class PrivateAddressError(OSError):
    """A connection that was not made. Its text is always the same, so that it can be told apart."""

    def __init__(self) -> None:
        super().__init__(
            "it leads to an address that is not public (this machine, its network or its cloud's "
            f"metadata); {ALLOWED_NETWORKS}=10.1.0.0/16 would allow the addresses of that network"
        )


def guarded_http() -> Any:
    """fsspec's HTTP store with the guard in it. Raises `ImportError` without aiohttp."""
    from fsspec.implementations.http import HTTPFileSystem

    return HTTPFileSystem(get_client=_client)


def may_connect(address: str) -> bool:
    """Whether an IP address is public, or in a network that this machine's owner allows."""
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    found = _carried(found)
    if found.is_global and not found.is_multicast:
        return True
    return any(found in network for network in _allowed_networks())


def refusal_in(error: BaseException | None) -> PrivateAddressError | None:
    """The refused connection behind an error of the store, if that was its cause."""
    while error is not None:
        if isinstance(error, PrivateAddressError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _carried(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _allowed_networks() -> Iterator[_Network]:
    for text in filter(None, os.environ.get(ALLOWED_NETWORKS, "").replace(" ", "").split(",")):
        try:
            yield ipaddress.ip_network(text)
        except ValueError as error:
            raise SpecError(
                f"{ALLOWED_NETWORKS}: {error}; wanted networks by comma, such as 10.1.0.0/16"
            ) from error


def _guarded_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, place = address
    if not may_connect(str(place[0])):
        raise PrivateAddressError
    return socket.socket(family, kind, protocol)


async def _client(**options: Any) -> "ClientSession":
    """A session that connects through the guard, and knows no proxy, password or cookie."""
    import aiohttp

    class Response(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            """A whole page, of what a person could have put there."""
            if self._body is None:
                page = bytearray()
                while part := await self.content.read(1 << 20):
                    page += part
                    if len(page) > MAX_PAGE_BYTES:
                        self.close()
                        raise aiohttp.ClientPayloadError(
                            f"a list of files of more than {MAX_PAGE_BYTES} bytes"
                        )
                self._body = bytes(page)
            return await super().read()

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=_guarded_socket),
        timeout=aiohttp.ClientTimeout(
            total=MAX_FETCH_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
        ),
        # What is fetched is audio: packed bytes would only be a way to send more than was counted.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        response_class=Response,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        **options,
    )
