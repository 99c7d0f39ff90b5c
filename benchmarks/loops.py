"""
The loops that a user would write by hand: `python -m benchmarks.loops NAME ORIGIN COUNT IN_FLIGHT LATENCY FOLDER`.

Each creates its runs, waits for as long as they are known to take, reads them until they are over, and downloads. None
keeps a ledger: killed, it has to start over and pays again.
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

Json = Callable[[str, str, Any], Awaitable[Any]]
Raw = Callable[[str], Awaitable[bytes]]
Save = Callable[[Path, bytes], Awaitable[None]]


async def work(count: int, in_flight: int, latency: float, folder: Path, call: Json, fetch: Raw, save: Save) -> None:
    """So many workers take numbers from one iterator."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            run = await call("POST", CREATE, {**BODY, "client_ref": f"loop-{number}"})
            await asyncio.sleep(latency)
            record = await call("GET", f"/v1/runs/{run['id']}", None)
            while record["status_code"] != "succeeded":
                await asyncio.sleep(0.05)
                record = await call("GET", f"/v1/runs/{run['id']}", None)
            await save(folder / f"{number}.png", await fetch(record["output"]["outputs"][0]["url"]))

    await asyncio.gather(*(worker() for _ in range(in_flight)))


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


async def with_aiohttp(origin: str, count: int, in_flight: int, latency: float, folder: Path, save: Save) -> None:
    """The fastest client there is."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def call(method: str, path: str, body: Any) -> Any:
            async with session.request(method, origin + path, json=body) as answer:
                return await answer.json()

        async def fetch(url: str) -> bytes:
            async with session.get(url) as answer:
                return await answer.read()

        await work(count, in_flight, latency, folder, call, fetch, save)


async def with_httpx(origin: str, count: int, in_flight: int, latency: float, folder: Path, save: Save) -> None:
    """httpx as most people use it: one client, its own pool, limits as wide as the work."""
    import httpx

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(base_url=origin, headers=HEADERS, limits=limits, timeout=60) as client:

        async def call(method: str, path: str, body: Any) -> Any:
            return (await client.request(method, path, json=body)).json()

        async def fetch(url: str) -> bytes:
            return (await client.get(url)).content

        await work(count, in_flight, latency, folder, call, fetch, save)


LOOPS: dict[str, tuple[Callable[..., Awaitable[None]], Save]] = {
    "aiohttp": (with_aiohttp, just_write),
    "aiohttp-durable": (with_aiohttp, decode_sync_rename),
    "httpx": (with_httpx, just_write),
}


def main() -> None:
    """Run one loop."""
    name, origin, count, in_flight, latency, folder = sys.argv[1:]
    path = Path(folder)
    path.mkdir(parents=True)
    loop, save = LOOPS[name]

    async def run() -> None:
        await loop(origin, int(count), int(in_flight), float(latency), path, save)

    asyncio.run(run())


if __name__ == "__main__":
    main()
