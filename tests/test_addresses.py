"""Where pictures may be fetched from and uploaded to: nothing leads into the network of whoever runs this."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import anyio
import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from batchedit import addresses
from batchedit.addresses import Reach, is_public
from batchedit.bodies import Body
from batchedit.endpoint import Endpoint, Key
from batchedit.errors import ProviderError, Rejected
from batchedit.providers.base import Send
from batchedit.wire import Wire
from tests.conftest import Result, Served, Shop

CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::2",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "fe80::1",
    "fe80::1%lo",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "2001::1",
    "2001:0:a9fe:a9fe::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2002:808:808::",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:7f00:0:100::808:808",
    "5f00::1",
    "4000::1",
    "localhost",
    "127.1",
    "0x7f.1",
    "2130706433",
]
OPEN = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "168.63.129.15",
    "2606:4700:4700::1111",
    "2a00:1450:4001::8b",
    "2600::1",
    "2003::1",
    "3ffe::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "64:ff9b:1::808:808",
]


@pytest.mark.parametrize("address", CLOSED)
def test_what_is_not_public(address: str) -> None:
    """Including what wraps such an address, and what is no address in the usual form."""
    assert not is_public(address)


@pytest.mark.parametrize("address", OPEN)
def test_what_is_public(address: str) -> None:
    """Neighbours of what is not; and the IPv4 internet as a network sees it that has IPv6 only."""
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_the_interpreter_knows_to_be_private(
    numbers: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """It knows fewer; except that it calls all of NAT64's own addresses one or the other, by release."""
    inner = addresses._unwrapped(numbers) if isinstance(numbers, ipaddress.IPv6Address) else None
    if inner is None and (numbers.is_private or numbers.is_multicast or numbers.is_reserved or numbers.is_link_local):
        assert not is_public(str(numbers))


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "64:ff9b:1::{}"]))
def test_wrapping_changes_nothing(numbers: ipaddress.IPv4Address, wrapping: str) -> None:
    """What is inside decides."""
    assert is_public(wrapping.format(numbers)) == is_public(str(numbers))


@pytest.mark.parametrize(
    "url",
    [
        "http://storage.example/a.png", "ftp://storage.example/a.png", "https://storage.example:8443/a.png",
        "https://someone@storage.example/a.png", "https://someone:secret@storage.example/", "https:///a.png",
    ],
)  # fmt: skip
def test_addresses_that_are_refused_as_they_are_written(url: str) -> None:
    """Before any name is looked up; the message has no secret in it."""
    parts = httpx.URL(url)
    with pytest.raises(Rejected) as caught:
        Reach().check(parts.scheme, parts.host, parts.port, parts.userinfo)
    assert "secret" not in str(caught.value)


class Canary:
    """A server on this machine that nobody may reach; over TLS with a certificate for any of the names here."""

    def __init__(self, host: str, context: ssl.SSLContext, answer: bytes) -> None:
        self._context, self._answer = context, answer
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with (
                    connection,
                    contextlib.suppress(OSError),
                    self._context.wrap_socket(connection, server_side=True) as secured,
                ):
                    secured.recv(65536)
                    secured.sendall(self._answer)


def answer(status: str, *headers: str, body: bytes = b"picture") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


STAND_IN = "127.0.0.2"
"""Taken for a public address in these tests."""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Canary]]:
    """Servers on the port that storage may have, under names that stand for what a test says."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "storage.example", "rebinding.example", "both.example", "inner.example", "127.0.0.1"
    ).configure_cert(context)
    servers: list[Canary] = []
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == STAND_IN or real(address))

    def make(host: str, reply: bytes) -> Canary:
        servers.append(Canary(host, context, reply))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def names(monkeypatch: pytest.MonkeyPatch, book: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """What names stand for, one answer after the other, the last one for ever; returns who was asked for."""
    asked: list[str] = []

    async def look(host: str, port: int) -> list[str]:
        asked.append(host)
        answers = book[host]
        return [*answers[min(asked.count(host), len(answers)) - 1]]

    monkeypatch.setattr(addresses, "looked_up", look)
    return asked


def fetch(url: str, times: int = 1, backend: str = "asyncio") -> bytes | ProviderError:
    """The picture, or what went wrong."""

    async def main() -> bytes | ProviderError:
        body = b""
        async with Wire(Endpoint(base_url="https://api.example", timeout_seconds=5)) as wire:
            try:
                for _ in range(times):
                    async with wire.fetch(url) as chunks:
                        body = b"".join([chunk async for chunk in chunks])
            except ProviderError as problem:
                return problem
            return body

    return anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_public_name_is_connected_to_where_it_was_looked_at(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """The name stays in the certificate and in the Host header; a dead address before a living one does not matter."""
    server = network(STAND_IN, answer("200 OK"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", server.port)
    asked = names(monkeypatch, {"storage.example": [["2606:4700:4700::dead", STAND_IN]]})
    assert fetch(f"https://storage.example:{server.port}/a.png", backend=backend) == b"picture"
    assert (asked, server.connections) == (["storage.example"], 1)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_numbers_that_mean_this_machine_are_refused(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """However they are written: the system's own reading of them is what is looked at."""
    canary = network("127.0.0.1", answer("200 OK"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", canary.port)
    outcome = fetch(f"https://{host}:{canary.port}/a.png")
    assert isinstance(outcome, ProviderError)
    assert canary.connections == 0


def test_a_name_that_changes_its_mind_gets_nowhere(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public when it is looked at, this machine when it would be connected to: it is looked up once."""
    server, canary = network(STAND_IN, answer("200 OK")), network("127.0.0.1", answer("200 OK", body=b"secret"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", server.port)
    asked = names(monkeypatch, {"rebinding.example": [[STAND_IN], ["127.0.0.1"]]})
    url = f"https://rebinding.example:{server.port}/a.png"
    assert fetch(url) == b"picture"
    assert len(asked) == 1
    names(monkeypatch, {"rebinding.example": [[STAND_IN], ["127.0.0.1"]]})
    outcome = fetch(url, times=2)
    assert isinstance(outcome, Rejected)
    assert "127.0.0.1" in str(outcome)
    assert canary.connections == 0


def test_one_closed_address_among_public_ones_is_one_too_many(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs such a name."""
    server = network(STAND_IN, answer("200 OK"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", server.port)
    names(monkeypatch, {"both.example": [[STAND_IN, "169.254.169.254"]]})
    assert isinstance(fetch(f"https://both.example:{server.port}/a.png"), Rejected)
    assert server.connections == 0


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 For ever"])
@pytest.mark.parametrize(
    "target", ["https://inner.example:{port}/", "https://127.0.0.1:{port}/", "http://inner.example/"]
)
def test_nobody_is_sent_on_to_where_he_may_not_go(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch, status: str, target: str
) -> None:
    """Each redirect is looked at like the first address."""
    canary = network("127.0.0.1", answer("200 OK", body=b"secret"))
    server = network(STAND_IN, answer(status, f"location: {target.format(port=canary.port)}"))
    names(
        monkeypatch, {"storage.example": [[STAND_IN]], "inner.example": [["127.0.0.1"]], "127.0.0.1": [["127.0.0.1"]]}
    )
    check = Reach.check
    monkeypatch.setattr(Reach, "check", lambda self, scheme, host, _, *more: check(self, scheme, host, None, *more))
    outcome = fetch(f"https://storage.example:{server.port}/a.png")
    assert isinstance(outcome, Rejected)
    assert (server.connections, canary.connections) == (1, 0)


def test_uploads_go_to_public_addresses_only(network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of an upload comes from an answer too."""
    canary = network("127.0.0.1", answer("200 OK"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", canary.port)
    names(monkeypatch, {"inner.example": [["127.0.0.1"]]})
    send = Send(
        method="PUT", url=f"https://inner.example:{canary.port}/put?sig=x", body=Body((b"photo",)), client="put"
    )

    async def main() -> None:
        async with Wire(Endpoint(base_url="https://api.example")) as wire:
            await wire.send(send)

    with pytest.raises(Rejected):
        anyio.run(main)
    assert canary.connections == 0


@pytest.mark.parametrize("path", ["@127.0.0.1:{port}/v1/runs", ".inner.example:{port}/v1", ":{port}/v1/runs"])
def test_the_key_goes_to_one_origin_only(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Whatever the rest of an address does to its beginning."""
    canary = network("127.0.0.1", answer("200 OK"))
    send = Send(method="GET", url=path.format(port=canary.port))

    async def main() -> None:
        async with Wire(Endpoint(base_url="https://inner.example", key=Key("rf_live_canary"))) as wire:
            await wire.send(send)

    with pytest.raises(Rejected, match="alone may see the key"):
        anyio.run(main)
    assert canary.connections == 0


TRICKS = [
    # who stands before the host
    "https://storage.example@127.0.0.1:{port}/a.png", "https://127.0.0.1:{port}@127.0.0.1:{port}/a.png",
    "https://storage.example:443@127.0.0.1:{port}/a.png", "https://:@127.0.0.1:{port}/a.png", "https://@127.0.0.1:{port}/a",
    "https://a:b@c@127.0.0.1:{port}/a.png", "https://storage.example%40127.0.0.1:{port}/a.png",
    "https://storage.example\\@127.0.0.1:{port}/a.png", "https://storage.example#@127.0.0.1:{port}/a.png",
    "https://127.0.0.1:{port}#@storage.example/", "https://127.0.0.1:{port}?@storage.example/",
    "https://127.0.0.1:{port}\\.storage.example/",
    # letters that become others
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/", "https://127\u30020\u30020\u30021:{port}/",
    "https://127\uff0e0\uff0e0\uff0e1:{port}/", "https://\uff11\uff12\uff17.0.0.1:{port}/", "https://\u24c1ocalhost:{port}/",
    "https://\uff4cocalhost:{port}/", "https://loc\u00adalhost:{port}/", "https://xn--127-0.0.0.1:{port}/",
    "https://lo\u0301calhost:{port}/", "https://localho\u017ft:{port}/", "https://\u212aocalhost:{port}/",
    # other ways to write it
    "https://localhost.:{port}/", "https://LOCALHOST:{port}/", "https://loc%61lhost:{port}/", "https://127.0.0.1.:{port}/",
    "https://0177.0.0.1:{port}/", "https://0x7f000001:{port}/", "https://017700000001:{port}/", "https://127.0.1:{port}/",
    "https://0:{port}/", "https://0.0.0.0:{port}/", "https://[::]:{port}/", "https://[::ffff:7f00:1]:{port}/",
    "https://[::127.0.0.1]:{port}/", "https://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", "https://[::1%25lo]:{port}/",
    "https://[64:ff9b::7f00:1]:{port}/", "https://[2002:7f00:1::]:{port}/", "https://127.0.0.1%00.storage.example:{port}/",
    "https://127.0.0.1%2f.storage.example:{port}/", "https://127.0.0.1\t:{port}/", "https:// 127.0.0.1:{port}/",
    "https:127.0.0.1:{port}/", "https:///127.0.0.1:{port}/", "//127.0.0.1:{port}/", "HTTP://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/", "https+unix://127.0.0.1:{port}/", "https://127.0.0.1:0{port}/", "https://127.0.0.1:+{port}/",
]  # fmt: skip


def test_no_way_of_writing_it_leads_to_this_machine(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch
) -> None:
    """User names, letters that another standard folds, numbers in other bases: not one connection."""
    assert len(TRICKS) >= 50
    canary = network("127.0.0.1", answer("200 OK", body=b"secret"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", canary.port)
    real = addresses.looked_up

    async def look(host: str, port: int) -> list[str]:
        if host.endswith("storage.example"):
            return [STAND_IN]  # which listens to nobody here
        return await real(host, port)

    monkeypatch.setattr(addresses, "looked_up", look)
    for trick in TRICKS:
        outcome = fetch(trick.format(port=canary.port))
        assert isinstance(outcome, ProviderError), trick
        assert "secret" not in str(outcome)
    assert canary.connections == 0


def test_a_name_for_each_closed_address_gets_nowhere(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole table, over the client that fetches: refused before a connection is tried."""
    canary = network("127.0.0.1", answer("200 OK"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", canary.port)
    tried: list[object] = []
    monkeypatch.setattr("anyio.connect_tcp", lambda *where, **_: tried.append(where))
    assert len(CLOSED) >= 60
    book = {f"name-{number}.example": [[address]] for number, address in enumerate(CLOSED)}
    names(monkeypatch, book)
    for name in book:
        assert isinstance(fetch(f"https://{name}:{canary.port}/a.png"), Rejected), book[name]
    assert tried == []
    assert canary.connections == 0


@pytest.mark.parametrize("length", [1, 2, 5, 6])
def test_a_chain_of_redirects_is_followed_to_a_limit_and_never_inside(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Public ones first, this machine last; and six in a row are too many, wherever they lead."""
    canary = network("127.0.0.1", answer("200 OK", body=b"secret"))
    last = f"https://inner.example:{canary.port}/"
    servers = [network(STAND_IN, answer("302 Found", f"location: {last}"))]
    for _ in range(length - 1):
        servers.append(
            network(STAND_IN, answer("307 Again", f"location: https://storage.example:{servers[-1].port}/next"))
        )
    names(monkeypatch, {"storage.example": [[STAND_IN]], "inner.example": [["127.0.0.1"]]})
    check = Reach.check
    monkeypatch.setattr(Reach, "check", lambda self, scheme, host, _, *more: check(self, scheme, host, None, *more))
    assert isinstance(fetch(f"https://storage.example:{servers[-1].port}/a.png"), ProviderError)
    assert sum(server.connections for server in servers) == min(length, 6)
    assert canary.connections == 0


@pytest.mark.parametrize(
    "location",
    ["https:////]]/[]0,n:@", "https:////]-[.%;", "https://h:x/", "//\u2100/", "http:;-/f][?]0-:t"],
)
def test_a_redirect_to_nonsense_is_told_as_that(
    network: Callable[..., Canary], monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """It is a problem of that picture, and no error that nobody expected."""
    server = network(STAND_IN, answer("302 Found", f"location: {location}"))
    monkeypatch.setattr(addresses, "_HTTPS_PORT", server.port)
    names(monkeypatch, {"storage.example": [[STAND_IN]]})
    assert isinstance(fetch(f"https://storage.example:{server.port}/a.png"), ProviderError)
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_key_follows_no_redirect(network: Callable[..., Canary], status: int, method: str) -> None:
    """The API's answer is an answer, whatever it says of another place."""
    second = network("127.0.0.1", answer("200 OK"))
    first = network("127.0.0.1", answer(f"{status} Elsewhere", f"location: https://127.0.0.1:{second.port}/v1/runs"))

    async def main() -> int:
        endpoint = Endpoint(base_url=f"https://127.0.0.1:{first.port}", key=Key("rf_live_canary"))
        async with Wire(endpoint) as wire:
            answered = await wire.send(Send(method=method, url="/v1/runs", body=Body((b"{}",))))
            return answered.status

    assert anyio.run(main) == status
    assert (first.connections, second.connections) == (1, 0)


def test_a_night_with_storage_that_is_not_public(
    cli: Callable[..., Result], shop: Shop, serve: Callable[..., Served]
) -> None:
    """Paid, not fetched, and said so with what to do; the same command fetches them for nothing afterwards."""
    served = serve(latency=(0.01, 0.02))
    manifest = served.manifest(shop, provider=", storage: public, images_as: data-uri")
    first = cli("run", str(manifest), "--yes", "--out", "out")
    assert first.code != 0
    assert "storage: any" in first.out + first.err
    assert shop.outputs() == []
    billed = served.audit()["billed_microusd_total"]
    served.manifest(shop, provider=", storage: any, images_as: data-uri")
    second = cli("run", str(manifest), "--yes", "--out", "out")
    assert second.code == 0, second.out
    assert len(shop.outputs()) == 3
    assert served.audit()["billed_microusd_total"] == billed > 0
