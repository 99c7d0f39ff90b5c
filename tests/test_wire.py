"""What may be said of a call that was not answered, against a server that fails on purpose over real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
import trustme

from batchedit.bodies import Body
from batchedit.endpoint import Endpoint
from batchedit.errors import NotSent, ProviderError, Rejected, Unseen
from batchedit.providers.base import Answer, Send
from batchedit.wire import Wire

BODY = b'{"input":"' + b"x" * 2_000_000 + b'"}'
PURCHASE = Send(method="POST", url="/v1/runs", body=Body((BODY,)), buys=True, timeout_seconds=1.5)
STRAY = b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}'
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Takes connections one after the other; what it does with each is the test's. Counts requests read whole."""

    def __init__(self, *acts: Callable[[Server, socket.socket], None]) -> None:
        self._acts = acts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.executed = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        for act in self._acts:
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    act(self, connection)

    def read(self, connection: socket.socket, limit: int | None = None) -> None:
        """Read one request, or only the first bytes of it."""
        data = b""
        while b"\r\n\r\n" not in data or len(data) < data.index(b"\r\n\r\n") + 4 + len(BODY):
            data += connection.recv(65536)
            if limit is not None and len(data) >= limit:
                return
        self.executed += 1


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def resets_during_the_upload(server: Server, connection: socket.socket) -> None:
    server.read(connection, limit=100_000)
    reset(connection)


def closes_after_reading(server: Server, connection: socket.socket) -> None:
    server.read(connection)


def resets_after_reading(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    reset(connection)


def never_answers(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    connection.settimeout(5)
    connection.recv(1)


def cuts_the_answer(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")


def answers_and_then_closes_under_the_next(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(GOOD)
    server.read(connection)


def answers(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(GOOD)


def send(origin: str, times: int = 1, backend: str = "asyncio") -> Answer | ProviderError:
    """The answer to the last of so many purchases on one wire, or what went wrong."""

    async def main() -> Answer | ProviderError:
        async with Wire(Endpoint(base_url=origin)) as wire:
            for _ in range(times - 1):
                await wire.send(PURCHASE, idempotency_key="k")
                await anyio.sleep(0.2)  # until the connection's end has arrived, if it has ended
            try:
                return await wire.send(PURCHASE, idempotency_key="k")
            except ProviderError as problem:
                return problem

    return anyio.run(main, backend=backend)


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*acts: Callable[[Server, socket.socket], None]) -> Server:
        made.append(Server(*acts))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("act", "times", "executed", "phase"),
    [
        (resets_during_the_upload, 1, 0, None),
        (closes_after_reading, 1, 1, "waiting for the answer"),
        (resets_after_reading, 1, 1, "waiting for the answer"),
        (never_answers, 1, 1, "waiting for the answer"),
        (cuts_the_answer, 1, 1, "reading the answer"),
        (answers_and_then_closes_under_the_next, 2, 2, "waiting for the answer"),
    ],
)
def test_what_was_executed_is_never_reported_as_not_sent(
    server: Callable[..., Server],
    act: Callable[[Server, socket.socket], None],
    times: int,
    executed: int,
    phase: str | None,
    backend: str,
) -> None:
    """Once a server may have read a purchase it may have been billed: only "unknown" is true then."""
    one = server(act)
    problem = send(one.origin, times, backend)
    assert isinstance(problem, Unseen)
    assert one.executed == executed
    assert problem.phase == phase if phase is not None else problem.phase.startswith(("sending", "waiting"))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_only_a_connection_that_never_was_is_not_sent(backend: str) -> None:
    """Refused: nothing can have been bought."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    problem = send(origin, backend=backend)
    assert isinstance(problem, NotSent)
    assert problem.phase == "connecting"


def test_a_connection_that_was_closed_while_idle_is_replaced(server: Callable[..., Server]) -> None:
    """The next purchase goes over a new one and is sent once."""
    one = server(answers, answers)
    assert isinstance(send(one.origin, 2), Answer)
    assert one.executed == 2


def answers_twice_at_once(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(GOOD + b"HTTP/1.1 402 Payment Required\r\ncontent-length: 2\r\n\r\n{}")
    connection.settimeout(5)
    connection.recv(1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_answer_that_nobody_asked_for_is_not_the_next_ones(server: Callable[..., Server], backend: str) -> None:
    """A purchase must never be told what was meant for another call."""
    one = server(answers_twice_at_once, answers)
    answer = send(one.origin, 2, backend)
    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert one.executed == 2


def answers_all(server: Server, connection: socket.socket) -> None:
    for _ in range(5):
        server.read(connection)
        connection.sendall(GOOD)


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="needs two records in one segment")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_over_tls_an_answer_that_nobody_asked_for_is_not_the_next_ones(
    server: Callable[..., Server], backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has left the socket already, with the answer before it, and waits to be deciphered."""
    authority, before = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(before)
    monkeypatch.setenv("SSL_CERT_FILE", str(before))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def answers_twice(server: Server, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            server.read(secured)
            secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # both leave together
            secured.sendall(GOOD)
            secured.sendall(STRAY)
            secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            with contextlib.suppress(OSError):
                secured.recv(1)

    def answers_once(server: Server, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            server.read(secured)
            secured.sendall(GOOD.replace(b"{}", b"[]"))

    one = server(answers_twice, answers_once)
    answer = send(one.origin.replace("http", "https"), times=2, backend=backend)
    assert isinstance(answer, Answer)
    assert (answer.body, one.executed) == (b"[]", 2)


def test_a_connection_is_used_again(server: Callable[..., Server]) -> None:
    """There is no second one to be had from this server."""
    one = server(answers_all)
    assert isinstance(send(one.origin, 5), Answer)
    assert one.executed == 5


def test_calls_at_the_same_time_have_a_connection_each(server: Callable[..., Server]) -> None:
    """None waits for another; what was cut off is not used again."""
    one = server(never_answers, answers, answers)

    async def main() -> list[object]:
        outcomes: list[object] = []
        async with Wire(Endpoint(base_url=one.origin)) as wire:

            async def call() -> None:
                try:
                    outcomes.append((await wire.send(PURCHASE, idempotency_key="k")).status)
                except ProviderError as problem:
                    outcomes.append(type(problem))

            async with anyio.create_task_group() as group:
                group.start_soon(call)
                await anyio.sleep(0.1)
            await call()
        return outcomes

    assert anyio.run(main) == [Unseen, 200]


def moved(location: str) -> Callable[[Server, socket.socket], None]:
    """A server that sends everybody elsewhere, and closes."""

    def act(server: Server, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())

    return act


def gives(server: Server, connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\npicture")


def fetch(url: str) -> bytes | ProviderError:
    async def main() -> bytes | ProviderError:
        async with Wire(Endpoint(base_url="http://127.0.0.1:9")) as wire:
            try:
                async with wire.fetch(url) as chunks:
                    return b"".join([chunk async for chunk in chunks])
            except ProviderError as problem:
                return problem

    return anyio.run(main)


def test_a_download_follows_a_few_redirects(server: Callable[..., Server]) -> None:
    """Also relative ones."""
    one = server(moved("/b?x=1"), moved("c"), gives)
    assert fetch(f"{one.origin}/a") == b"picture"


def test_a_download_does_not_go_round_for_ever(server: Callable[..., Server]) -> None:
    """Six redirects are one too many."""
    one = server(*[moved("/again")] * 6, gives)
    problem = fetch(f"{one.origin}/a")
    assert isinstance(problem, Unseen)
    assert "redirects" in str(problem)


def test_a_redirect_to_where_pictures_may_not_come_from_is_refused(server: Callable[..., Server]) -> None:
    """Each address on the way is checked like the first."""
    for location in ("http://storage.example/a", "ftp://127.0.0.1/a", "file:///etc/passwd"):
        one = server(moved(location))
        problem = fetch(f"{one.origin}/a")
        assert isinstance(problem, Rejected), location
        assert "https" in str(problem)
