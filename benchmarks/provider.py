"""
A stand-in for the provider that costs next to nothing, so that what is measured is the client.

The project's own emulator does what the real service does, renders real pictures and keeps its books on disk, which
takes milliseconds a call. This one answers the few calls that a run makes from memory, over plain sockets, in a
process of its own: `python -m benchmarks.provider PORT SWITCHES`. How many calls a second it can answer is measured by
`python -m benchmarks capacity`.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import struct
import sys
import time
import zlib
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

_SIDE = 1024
_REFUSALS = (
    (429, b'{"code":"RATE_LIMITED","message":"slow down"}'),
    (503, b'{"code":"MODEL_UNAVAILABLE","message":"try again later"}'),
)
_REASONS = {
    200: b"OK", 201: b"Created", 404: b"Not Found", 429: b"Too Many Requests", 500: b"Internal Server Error",
    503: b"Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """
    How the stand-in behaves.

    Attributes:
        latency: Seconds that a run takes.
        picture_bytes: About so many bytes for each picture.
        limit: Creations allowed in any 60 seconds; 0 for no limit.
        refused: Share of creations that are refused with one of the provider's codes for "not now".
        broken: Share of creations answered with a 500 that says nothing; no run is made, which nobody can know.
        cut: Share of creations that are made and whose connection then ends without an answer.
        hang: Share of creations that are made and never answered.
        seed: Of the shares.
    """

    latency: float = 0.0
    picture_bytes: int = 10_000
    limit: int = 0
    refused: float = 0.0
    broken: float = 0.0
    cut: float = 0.0
    hang: float = 0.0
    seed: int = 1


@dataclass(slots=True)
class Books:
    """What was asked for."""

    creations: int = 0
    refusals: int = 0
    reads: int = 0
    lists: int = 0
    pictures: int = 0
    most_in_a_minute: int = 0
    runs: dict[str, tuple[float, str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    attempts: deque[float] = field(default_factory=deque)
    granted: list[float] = field(default_factory=list)
    refused_at: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """The counts, and what each reference was billed."""
        bills: dict[str, int] = {}
        for _, reference in self.runs.values():
            bills[reference] = bills.get(reference, 0) + 1
        begin = self.granted[0] if self.granted else 0.0
        return {
            "creations": self.creations,
            "refusals": self.refusals,
            "reads": self.reads,
            "lists": self.lists,
            "pictures": self.pictures,
            "runs": len(self.runs),
            "most_in_a_minute": self.most_in_a_minute,
            "billed_twice": sum(count > 1 for reference, count in bills.items() if reference),
            "processor_seconds": time.process_time(),
            "granted": [round(at - begin, 3) for at in self.granted],
            "refused_at": [round(at - begin, 3) for at in self.refused_at],
        }


class Picture:
    """
    PNG files of 1024 by 1024 pixels, as the provider sells them (it has none of fewer than 655,360): a gradient with
    the grain of a photograph in as many lines as the size in bytes asks for. They differ in a comment, so that no two
    outputs have the same content.
    """

    def __init__(self, size: int) -> None:
        from PIL import Image, ImageChops

        gradient = Image.linear_gradient("L").resize((_SIDE, _SIDE))
        picture = Image.merge("RGB", (gradient, gradient.rotate(90), gradient.rotate(180)))
        # Four bits of noise in each sample: what is left of a photograph's grain once a line is predicted.
        noisy = min(_SIDE, 2 * size // (3 * _SIDE))
        grain = bytes(byte & 15 for byte in random.Random(1).randbytes(3 * _SIDE * noisy)) + bytes(
            3 * _SIDE * (_SIDE - noisy)
        )
        noise = Image.frombytes("RGB", (_SIDE, _SIDE), grain)
        file = io.BytesIO()
        ImageChops.add(picture, noise).save(file, "PNG")
        self._front = file.getvalue().removesuffix(_chunk(b"IEND", b""))

    def of(self, run: str) -> bytes:
        """The picture of one run."""
        return self._front + _chunk(b"tEXt", b"Run\0" + run.encode()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class Service:
    """All answers."""

    def __init__(self, behaviour: Behaviour, origin: str) -> None:
        self._behaviour, self._origin = behaviour, origin
        self._draw = random.Random(behaviour.seed)
        self._picture = Picture(behaviour.picture_bytes)
        self.books = Books()

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Status and body; None if the connection shall end, and `hang` is a status of -1."""
        path, _, query = target.partition("?")
        if method == "POST":
            return self._create(body, headers)
        if path.startswith("/v1/runs/"):
            self.books.reads += 1
            return self._read(path.removeprefix("/v1/runs/"))
        if path == "/v1/runs":
            self.books.lists += 1
            return self._list(parse_qs(query))
        if path.startswith("/pictures/"):
            self.books.pictures += 1
            return 200, self._picture.of(path.removeprefix("/pictures/").partition(".")[0])
        if path == "/books":
            return 200, json.dumps(self.books.summary()).encode()
        return 404, b"{}"

    def _create(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes] | None:
        books, behaviour, now = self.books, self._behaviour, time.monotonic()
        books.creations += 1
        key = headers.get("idempotency-key", "")
        if key in books.keys:
            return 201, self._record(books.keys[key], full=False)
        if self._draw.random() < behaviour.refused:
            books.refusals += 1
            return self._draw.choice(_REFUSALS)
        if self._draw.random() < behaviour.broken:
            books.refusals += 1
            return 500, b'{"code":"INTERNAL","message":"something went wrong"}'
        while books.attempts and books.attempts[0] <= now - 60:
            books.attempts.popleft()
        if behaviour.limit and len(books.attempts) >= behaviour.limit:
            books.refusals += 1
            books.refused_at.append(now)
            return 429, b'{"code":"RATE_LIMITED","message":"Rate limit exceeded"}'
        books.attempts.append(now)
        books.granted.append(now)
        books.most_in_a_minute = max(books.most_in_a_minute, len(books.attempts))
        run = f"run-{len(books.order):08d}"
        books.runs[run] = (time.time() + behaviour.latency, str(json.loads(body).get("client_ref", "")))
        books.order.append(run)
        if key:
            books.keys[key] = run
        drawn = self._draw.random()
        if drawn < behaviour.cut:
            return None
        if drawn < behaviour.cut + behaviour.hang:
            return -1, b""
        return 201, self._record(run, full=False)

    def _read(self, run: str) -> tuple[int, bytes]:
        return (200, self._record(run)) if run in self.books.runs else (404, b'{"code":"RUN_NOT_FOUND"}')

    def _list(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        books = self.books
        wanted = query.get("q", [""])[0].partition("'")[2].rstrip("'")
        if wanted:
            found = [run for run in books.order if books.runs[run][1] == wanted]
        else:
            found = books.order[: -int(query["limit"][0]) - 1 : -1]
        records = b",".join(self._record(run) for run in found)
        return 200, b'{"items":[' + records + b'],"next":null}'

    def _record(self, run: str, *, full: bool = True) -> bytes:
        ends, reference = self.books.runs[run]
        over = time.time() >= ends and full
        begin = ends - self._behaviour.latency
        record = {
            "id": run,
            "status_code": "succeeded" if over else "queued",
            "client_ref": reference,
            "created_at": _stamp(begin),
            "cost": "0.133" if over else None,
            "completed_at": _stamp(ends) if over else None,
            "output": {"outputs": [{"type": "image", "url": f"{self._origin}/pictures/{run}.png?sig=x"}]}
            if over
            else None,
        }
        return json.dumps(record).encode()


def _stamp(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat()


class Connection(asyncio.Protocol):
    """One connection: requests with a length, answers with a length, in turn."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            method, target, _ = lines[0].split(" ")
            answer = self._service.answer(method, target, headers, body)
            if answer is None:
                self._transport.abort()
                return
            status, content = answer
            if status < 0:
                continue
            kind = b"image/png" if target.startswith("/pictures/") else b"application/json"
            head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
            self._transport.write(head % (status, _REASONS[status], kind, len(content)) + content)


async def _serve(port: int, behaviour: Behaviour) -> None:
    loop = asyncio.get_running_loop()
    service = Service(behaviour, f"http://127.0.0.1:{port}")
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    """`python -m benchmarks.provider PORT '{"latency": 0.3}'`."""
    asyncio.run(_serve(int(sys.argv[1]), Behaviour(**json.loads(sys.argv[2]))))


def switches(behaviour: Behaviour) -> str:
    """The behaviour as `main` takes it."""
    return json.dumps(asdict(behaviour))


def port_of(origin: str) -> int:
    """The port in an origin."""
    return urlsplit(origin).port or 80


if __name__ == "__main__":
    main()
