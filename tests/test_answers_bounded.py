"""Answers without end: what is read of them, unfolded of them and waited for them is bounded. Over raw sockets."""

from __future__ import annotations

import gzip
import resource
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from batchedit import outputs, wire
from batchedit.bodies import Body
from batchedit.endpoint import Endpoint
from batchedit.errors import ProviderError, Unseen
from batchedit.filing import Filing
from batchedit.pictures import BadPicture
from batchedit.providers.base import Answer, Send
from batchedit.wire import Wire
from tests.test_wire import Server, server

__all__ = ["server"]
MEGABYTE = 1024 * 1024
Act = Callable[[Server, socket.socket], None]
Servers = Callable[..., Server]


def says(head: str, *pieces: bytes, times: int = 1, pause: float = 0.0) -> Act:
    """A server that answers with this head and then these pieces, over and over, until nobody listens."""

    def act(server: Server, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head.encode())
        for _ in range(times):
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)

    return act


def ask(origin: str, *, seconds: float = 20.0) -> Answer | ProviderError:
    """A read of the API."""

    async def main() -> Answer | ProviderError:
        async with Wire(Endpoint(base_url=origin, timeout_seconds=seconds)) as one:
            try:
                return await one.send(Send(method="GET", url="/v1/runs", body=Body((b"",)), buys=False))
            except ProviderError as problem:
                return problem

    return anyio.run(main)


def fetch(origin: str, *, seconds: float = 20.0) -> int | ProviderError:
    """The length of a download."""

    async def main() -> int | ProviderError:
        async with Wire(Endpoint(base_url=origin, timeout_seconds=seconds)) as one:
            try:
                async with one.fetch(f"{origin}/a.png") as chunks:
                    return sum([len(chunk) async for chunk in chunks])
            except ProviderError as problem:
                return problem

    return anyio.run(main)


def peak() -> int:
    """Of this process' memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform.startswith("linux") else 1)


def bomb(coding: str, size: int) -> bytes:
    """So many zeros, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15}[coding])
    return b"".join([packer.compress(bytes(MEGABYTE)) for _ in range(size // MEGABYTE)]) + packer.flush()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_unfolded_up_to_the_limit_only(server: Servers, monkeypatch: pytest.MonkeyPatch, coding: str) -> None:
    """300 MB in 300 KB: refused after the limit, and the memory shows it."""
    monkeypatch.setattr(wire, "ANSWER_LIMIT_BYTES", 8 * MEGABYTE)
    body = bomb(coding, 300 * MEGABYTE)
    assert len(body) < MEGABYTE
    before = peak()
    problem = ask(server(says(f"content-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n", body)).origin)
    assert isinstance(problem, Unseen)
    assert "larger than any answer may be" in str(problem)
    assert peak() - before < 60 * MEGABYTE


@pytest.mark.parametrize(
    ("coding", "body", "plain"),
    [
        ("gzip", gzip.compress(b'{"a": 1}' * 500_000, mtime=0), b'{"a": 1}' * 500_000),
        ("x-gzip", gzip.compress(b"{}", mtime=0), b"{}"),
        ("deflate", zlib.compress(b"{}" * 1000), b"{}" * 1000),
        ("deflate", zlib.compress(b"{}" * 1000)[2:-4], b"{}" * 1000),
        ("identity", b"{}", b"{}"),
        ("gzip", b"", b""),
    ],
)
def test_what_was_asked_for_is_unfolded(server: Servers, coding: str, body: bytes, plain: bytes) -> None:
    """Whole, with zlib's head or without."""
    answer = ask(server(says(f"content-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n", body)).origin)
    assert isinstance(answer, Answer), answer
    assert answer.body == plain


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(b"{}" * 9000, mtime=0)[:-12]), ("gzip", b"no gzip"), ("br", b"{}"), ("gzip, gzip", b"{}")],
)
def test_what_cannot_be_unfolded_is_no_answer(server: Servers, coding: str, body: bytes) -> None:
    """Cut short, damaged, or in a coding that nobody asked for: the outcome is unknown, not half of it believed."""
    answer = ask(server(says(f"content-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n", body)).origin)
    assert isinstance(answer, Unseen)


def test_an_endless_answer_ends_at_the_limit(server: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunked, without a length."""
    monkeypatch.setattr(wire, "ANSWER_LIMIT_BYTES", 2 * MEGABYTE)
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    problem = ask(server(says("transfer-encoding: chunked\r\n\r\n", chunk, times=100_000)).origin)
    assert isinstance(problem, Unseen)
    assert "larger than any answer may be" in str(problem)


@pytest.mark.parametrize("call", [ask, fetch])
@pytest.mark.parametrize(
    "head",
    [
        "".join(f"x-{number}: {'y' * 1000}\r\n" for number in range(200)) + "content-length: 0\r\n\r\n",
        "x: " + "y" * 1_000_000 + "\r\n\r\n",
        "content-length: nonsense\r\n\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "no colon\r\n\r\n",
    ],
)
def test_heads_without_end_are_no_answer(
    server: Servers, call: Callable[[str], Answer | int | ProviderError], head: str
) -> None:
    """A flood of fields, one field of a megabyte, lengths that contradict each other."""
    assert isinstance(call(server(says(head)).origin), Unseen)


@pytest.mark.parametrize("call", [ask, fetch])
def test_drops_do_not_hold_a_call_for_ever(server: Servers, call: Callable[..., Answer | int | ProviderError]) -> None:
    """A byte now and then keeps a connection busy; the whole has a deadline too."""
    began = time.monotonic()
    drip = says("content-length: 1000000\r\n\r\n", b"x", times=1_000, pause=0.05)
    problem = call(server(drip).origin, seconds=0.2)
    assert isinstance(problem, Unseen)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("call", [ask, fetch])
@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        ("transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        ("x: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    ],
    ids=["bytes", "hints"],
)
def test_many_small_pieces_do_not_take_the_processor(
    server: Servers, call: Callable[..., Answer | int | ProviderError], head: str, pieces: bytes
) -> None:
    """Each is work in the loop that all calls share: a body a byte at a time, hints instead of an answer."""
    status = "103 Early Hints" if "103" in head else "200 OK"
    sent: list[int] = []

    def act(server: Server, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status}\r\n{head}".encode())
        with suppress(OSError):
            while len(sent) < 1_000:
                connection.sendall(pieces)
                sent.append(len(pieces))

    problem = call(server(act).origin, seconds=100)
    assert isinstance(problem, Unseen)
    assert "come" in str(problem)
    assert len(sent) < 1_000, "it was read to its end"


def test_silence_does_not_hold_a_download_for_ever(server: Servers) -> None:
    """Nothing comes after the head."""
    problem = fetch(server(says("content-length: 9\r\n\r\n", b"x", pause=5)).origin, seconds=0.2)
    assert isinstance(problem, Unseen)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_an_encoded_picture_is_not_taken(server: Servers, coding: str) -> None:
    """It was asked for as it is; nothing of it is unfolded, and it is asked for again later."""
    body = gzip.compress(bytes(MEGABYTE))
    problem = fetch(server(says(f"content-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n", body)).origin)
    assert isinstance(problem, Unseen)
    assert "encoded" in str(problem)
    assert fetch(server(says("content-encoding: identity\r\ncontent-length: 3\r\n\r\n", b"abc")).origin) == 3


def test_a_picture_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written of it by then is removed."""
    monkeypatch.setattr(outputs, "PICTURE_LIMIT_BYTES", 5 * MEGABYTE)
    files = Filing(tmp_path, tmp_path / "state")
    files.open()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MEGABYTE)

    with pytest.raises(BadPicture, match="more than"):
        anyio.run(outputs.Outputs(files).receive, endless())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
