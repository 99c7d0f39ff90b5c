"""
The loops that a user would write by hand:

    python -m benchmarks.loops NAME ORIGIN COUNT IN_FLIGHT LATENCY FOLDER PER_MINUTE

Each creates its runs, waits for as long as they are known to take, reads them until they are over, and downloads. What
fails is tried again after a pause, as the first answer to a search for "retry" says. None keeps a ledger: killed, one
has to start over and pays again; and one that never learns what became of a creation pays again too.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

BODY = {
    "input": {"prompt": "on white", "image_urls": ["https://example.com/a.jpg"], "num_images": 1, "quality": "high"},
}
CREATE = "/v1/models/openai/gpt-image-2/edit/runs"
HEADERS = {"authorization": "Bearer rf_live_benchmark"}
TIMEOUT_SECONDS = 20
_LONGEST_PAUSE_SECONDS = 30.0

Json = Callable[[str, str, Any], Awaitable[tuple[int, Any]]]
Raw = Callable[[str], Awaitable[bytes]]
Save = Callable[[Path, bytes], Awaitable[None]]
Turn = Callable[[], Awaitable[None]]


async def work(
    count: int, in_flight: int, latency: float, folder: Path, turn: Turn, call: Json, fetch: Raw, save: Save
) -> None:
    """So many workers take numbers from one iterator."""
    numbers = iter(range(count))

    async def stubborn(method: str, path: str, body: Any) -> Any:
        pause = 1.0
        while True:
            if method == "POST":
                await turn()
            try:
                status, answer = await call(method, path, body)
            except Exception:
                status, answer = 0, None
            if status and status < 300:
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def worker() -> None:
        for number in numbers:
            run = await stubborn("POST", CREATE, {**BODY, "client_ref": f"loop-{number}"})
            await asyncio.sleep(latency)
            record = await stubborn("GET", f"/v1/runs/{run['id']}", None)
            while record["status_code"] != "succeeded":
                await asyncio.sleep(0.05)
                record = await stubborn("GET", f"/v1/runs/{run['id']}", None)
            await save(folder / f"{number}.png", await fetch(record["output"]["outputs"][0]["url"]))

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def paced(per_minute: float) -> Turn:
    """One turn after the other, evenly; at once if there is no limit."""
    due = 0.0

    async def turn() -> None:
        nonlocal due
        if not per_minute:
            return
        now = asyncio.get_running_loop().time()
        due = max(due, now)
        wait, due = due - now, due + 60 / per_minute
        await asyncio.sleep(wait)

    return turn


async def just_write(path: Path, data: bytes) -> None:
    """What most scripts do."""
    path.write_bytes(data)  # noqa: ASYNC240  that is what they do


def _durable(path: Path, data: bytes) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.load()
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


async def decode_sync_rename(path: Path, data: bytes) -> None:
    """Decode, write, sync and rename, in a thread."""
    await asyncio.to_thread(_durable, path, data)


async def with_aiohttp(
    origin: str, count: int, in_flight: int, latency: float, folder: Path, turn: Turn, save: Save
) -> None:
    """The fastest client there is."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS, timeout=timeout) as session:

        async def call(method: str, path: str, body: Any) -> tuple[int, Any]:
            async with session.request(method, origin + path, json=body) as answer:
                return answer.status, await answer.json()

        async def fetch(url: str) -> bytes:
            async with session.get(url) as answer:
                return await answer.read()

        await work(count, in_flight, latency, folder, turn, call, fetch, save)


async def with_httpx(
    origin: str, count: int, in_flight: int, latency: float, folder: Path, turn: Turn, save: Save
) -> None:
    """httpx as most people use it: one client, its own pool, limits as wide as the work."""
    import httpx

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(base_url=origin, headers=HEADERS, limits=limits, timeout=TIMEOUT_SECONDS) as client:

        async def call(method: str, path: str, body: Any) -> tuple[int, Any]:
            answer = await client.request(method, path, json=body)
            return answer.status_code, answer.json()

        async def fetch(url: str) -> bytes:
            return (await client.get(url)).content

        await work(count, in_flight, latency, folder, turn, call, fetch, save)


LOOPS: dict[str, tuple[Callable[..., Awaitable[None]], Save]] = {
    "aiohttp": (with_aiohttp, just_write),
    "aiohttp-durable": (with_aiohttp, decode_sync_rename),
    "httpx": (with_httpx, just_write),
}


def main() -> None:
    """Run one loop."""
    name, origin, count, in_flight, latency, folder, per_minute = sys.argv[1:]
    path = Path(folder)
    path.mkdir(parents=True)
    loop, save = LOOPS[name]

    async def run() -> None:
        turn = paced(float(per_minute))
        await loop(origin, int(count), int(in_flight), float(latency), path, turn, save)

    asyncio.run(run())


if __name__ == "__main__":
    main()
