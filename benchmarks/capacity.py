"""
Can the stand-in provider outrun the clients? Drive it with something that does nothing but ask.

    python -m benchmarks.capacity ORIGIN SECONDS     # one driver; `python -m benchmarks capacity` starts several

A driver holds many plain sockets with one call under way on each, as clients do (create, read, picture), and looks at
the answers only as far as it must to make the next calls. What the provider then answers a second is what it can, on
a machine that it shares with the drivers; beside it stand the calls a second that clients made when edits took no
time, and how busy they kept it.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

from benchmarks.clients import CLIENTS, take
from benchmarks.loops import BODY, CREATE
from benchmarks.provider import Behaviour, port_of
from benchmarks.running import ROOT, Job, Result, provider, say
from benchmarks.scenarios import Settings, bar

_CONNECTIONS = 32
_RUN_ID = re.compile(rb'\{"id": "(run-\d{8})"')
_LENGTH = re.compile(rb"content-length: (\d+)\r\n\r\n")
_CALLS_OF_AN_EDIT = 3
_DRIVERS = 2
_SECONDS = 5.0


def drive(origin: str, seconds: float) -> int:
    """Ask for so long; how many calls were answered."""
    body = json.dumps({**BODY, "client_ref": "driver"}).encode()
    create = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (CREATE.encode(), len(body), body)
    answered = 0
    with ExitStack() as stack:
        address = ("127.0.0.1", port_of(origin))
        connections = [stack.enter_context(socket.create_connection(address)) for _ in range(_CONNECTIONS)]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answers = _exchange(connections, [create] * _CONNECTIONS)
            runs = [_RUN_ID.search(answer)[1] for answer in answers]  # type: ignore[index]
            _exchange(connections, [b"GET /v1/runs/%s HTTP/1.1\r\nhost: x\r\n\r\n" % run for run in runs])
            _exchange(connections, [b"GET /pictures/%s.png HTTP/1.1\r\nhost: x\r\n\r\n" % run for run in runs])
            answered += _CALLS_OF_AN_EDIT * len(runs)
    return answered


def _exchange(connections: list[socket.socket], requests: list[bytes]) -> list[bytes]:
    """One call on each connection."""
    for connection, request in zip(connections, requests, strict=True):
        connection.send(request)
    return [_answer(connection) for connection in connections]


def _answer(connection: socket.socket) -> bytes:
    received = connection.recv(1 << 18)
    while (length := _LENGTH.search(received)) is None or len(received) < length.end() + int(length[1]):
        received += connection.recv(1 << 18)
    return received


def capacity(settings: Settings) -> Result:
    """What the stand-in provider can answer, beside what clients ask of it when edits take no time."""
    behaviour = Behaviour(latency=0.0, picture_bytes=10_000)
    with provider(behaviour) as origin:
        command = [sys.executable, "-m", "benchmarks.capacity", origin, str(_SECONDS)]
        drivers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(_DRIVERS)]
        said = [driver.communicate()[0] for driver in drivers]
    able = sum(int(text) for text in said) / _SECONDS
    say(f"  the provider answers {able:.0f} calls a second")
    rows = [[f"{_DRIVERS} drivers", None, None, able, able / _CALLS_OF_AN_EDIT, 1.0, None]]
    raw, asked = [], 0.0
    for name in ("batchedit", "aiohttp", "aiohttp-durable"):
        client = CLIENTS[name]
        if name not in settings.clients or client.missing():
            continue
        outcome = take(client, Job(behaviour=behaviour, count=settings.count(5000)), settings.ground)
        raw.append(outcome.raw())
        each, edits = outcome.calls / outcome.usage.seconds, outcome.count / outcome.usage.seconds
        busy = outcome.books["processor_seconds"] / outcome.usage.seconds
        rows.append([name, outcome.count, outcome.usage.seconds, each, edits, each / able, busy])
        asked = max(asked, each)
    return {
        "columns": ["who asks", "edits", "seconds", "calls/s", "edits/s", "of what it can", "provider busy"],
        "rows": rows,
        "bars": [bar("most calls/s of a client / calls/s that the provider can answer", asked / able, 1.0)],
        "notes": [
            "busy: the provider's processor time as a share of the client's wall time; below 1, it waits for the client"
        ],
        "rounds": [raw],
    }


def main() -> None:
    """One driver."""
    print(drive(sys.argv[1], float(sys.argv[2])))


if __name__ == "__main__":
    main()
