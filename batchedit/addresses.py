"""
Which addresses pictures may be fetched from and uploaded to.

The addresses come from outside: from an answer of the provider, and from whoever answers there, who may send us on. So
that none of them leads into the network of whoever runs this, a name is looked up once, each of its addresses must be
public, and the connection goes to one of those that were looked at. The table is our own, since the interpreter's has
changed between releases and takes some wrapped addresses for public ones.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import anyio

from batchedit.errors import Rejected

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses that a host name has at this moment; raises OSError if it has none."""

_HTTPS_PORT = 443
_SWITCH = "if that is right, write storage: any under provider"

# RFC 6890 and its registry, multicast, and an address at which the machines of a large cloud find their host.
_CLOSED_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
_OPEN_6 = IPv6Network("2000::/3")
# Protocol assignments with Teredo, documentation, 6to4: the last wraps IPv4 addresses that routers unwrap.
_CLOSED_6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# The IPv4 internet as a network sees it that has IPv6 only; the second is for networks' own translators (RFC 8215).
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/96"))


def is_public(address: str) -> bool:
    """True if the address, given in numbers, belongs to a machine on the public internet, whatever it is wrapped in."""
    try:
        numbers = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(numbers, IPv6Address):
        inner = _unwrapped(numbers)
        if inner is None:
            return numbers in _OPEN_6 and not any(numbers in network for network in _CLOSED_6)
        numbers = inner
    return not any(numbers in network for network in _CLOSED_4)


@dataclass(frozen=True, slots=True)
class Reach:
    """
    Where storage may be.

    Attributes:
        policy: ``public`` (https, at public addresses) or ``any`` (https; http on this machine).
        lookup: Finds the addresses of a name.
    """

    policy: str = "public"
    lookup: Lookup | None = None

    def check(self, scheme: str, host: str, port: int | None, userinfo: bytes = b"") -> None:
        """
        Look at the parts of an address as it is written.

        Raises:
            Rejected: if storage may not be there.
        """
        where = f"{scheme}://{host}"
        if userinfo:
            raise Rejected(f"the storage's address holds a user name ({where})", code="URL")
        if self.policy == "any":
            if scheme != "https" and not (scheme == "http" and is_loopback(host)):
                raise Rejected(f"the storage's address is not https ({where})", code="URL")
            return
        if scheme != "https" or not host:
            raise Rejected(f"the storage's address is not https ({where}); {_SWITCH}", code="URL")
        if port not in (None, _HTTPS_PORT):
            raise Rejected(f"the storage's address has the port {port} ({where}); {_SWITCH}", code="URL")

    async def addresses(self, host: str, port: int) -> list[str]:
        """
        What a name stands for at this moment.

        Raises:
            OSError: if it stands for nothing.
            Rejected: if any of it is not public: a name that has both belongs to somebody who tries things out.
        """
        found = await (self.lookup or looked_up)(host, port)
        closed = [address for address in found if self.policy != "any" and not is_public(address)]
        if closed:
            where = f"the storage's name {host} stands for {closed[0]}, which is not on the public internet"
            raise Rejected(f"{where}; {_SWITCH}", code="ADDRESS")
        return found


async def looked_up(host: str, port: int) -> list[str]:
    """The system's answer, each address once, in its order."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    return [*dict.fromkeys(addresses)]


def is_loopback(host: str) -> bool:
    """True if a host, as it is written, is this machine."""
    host = host.lower()
    if host in ("localhost", "::1"):
        return True
    try:
        return ip_address(host) in IPv4Network("127.0.0.0/8")
    except ValueError:
        return False


def path_of(url: str) -> str:
    """The path of a storage's address, for messages. Raises Rejected if it is none."""
    try:
        return urlsplit(url).path
    except ValueError as error:
        raise Rejected(f"the storage's address is not a URL ({error})", code="URL") from None


def _unwrapped(numbers: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is meant, if one is."""
    if numbers.ipv4_mapped is not None:
        return numbers.ipv4_mapped
    if any(numbers in network for network in _TRANSLATED):
        return IPv4Address(int(numbers) & 0xFFFFFFFF)
    return None
