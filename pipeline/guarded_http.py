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
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that public hosts have (RFC 4291, section 2.4, and IANA's registry)."""
_NO_PUBLIC_HOST: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # an Azure machine's host: its metadata, DNS and health (Azure's docs)
        "192.0.0.0/24",  # protocols of the IETF (RFC 6890); 192.0.0.192 is Oracle's metadata
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        "2001::/23",  # protocols of the IETF (RFC 2928); Teredo, 2001::/32, carries IPv4 (RFC 4380)
        "3fff::/20",  # examples in documents (RFC 9637)
    )
)
"""What Python's `is_global`, whose tables differ between releases, may take for public.

Outside of `_GLOBAL_UNICAST`, and so refused too: site-local fec0::/10 (RFC 3879), 64:ff9b:1::/48 of
local translators, which may reach any private IPv4 address (RFC 8215), IPv4-translated
::ffff:0:0:0/96 (RFC 2765), and IPv4-compatible ::/96 (RFC 4291, section 2.5.5.1).
"""
_CARRIERS = tuple(
    (ipaddress.IPv6Network(network), low_bit)
    for network, low_bit in (
        ("::ffff:0:0/96", 0),  # IPv4-mapped (RFC 4291, section 2.5.5.2)
        ("64:ff9b::/96", 0),  # NAT64 (RFC 6052)
        ("2002::/16", 80),  # 6to4 (RFC 3056)
    )
)
"""Networks that lead to a public host where the IPv4 address in them does, and its lowest bit."""


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
    named: _Address = ipaddress.ip_address(address.partition("%")[0])
    found = _carried(named)
    if _is_public(found):
        return True
    return any(one in network for network in _allowed_networks() for one in (named, found))


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _NO_PUBLIC_HOST):
        return False
    return address.is_global and not address.is_multicast


def refusal_in(error: BaseException | None) -> PrivateAddressError | None:
    """The refused connection behind an error of the store, if that was its cause."""
    while error is not None:
        if isinstance(error, PrivateAddressError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _carried(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    for network, low_bit in _CARRIERS:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> low_bit & 0xFFFFFFFF)
    return address


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
