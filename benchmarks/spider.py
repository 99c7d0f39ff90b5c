"""
Scrapy, as somebody would use it who knows it: `python -m benchmarks.spider ORIGIN COUNT IN_FLIGHT LATENCY FOLDER`.

As many edits are in flight as requests may be: each that is over starts the next one. AutoThrottle is off, and a
creation is never sent again by itself, which Scrapy's default would not do for a POST either.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess

from benchmarks.loops import BODY, CREATE, HEADERS

_POLL_SECONDS = 0.05


class Edits(scrapy.Spider):
    """Create, wait, read until it is over, download, write."""

    name = "edits"
    origin: str
    latency: float
    folder: Path
    numbers: Iterator[int]
    in_flight: int

    async def start(self) -> AsyncIterator[Any]:
        """As many edits as may be in flight."""
        for _ in range(self.in_flight):
            for request in self._next():
                yield request

    def _next(self) -> list[Any]:
        return [self._create(number) for number in [next(self.numbers, None)] if number is not None]

    def _create(self, number: int) -> Any:
        return scrapy.Request(
            self.origin + CREATE,
            method="POST",
            headers={**HEADERS, "content-type": "application/json"},
            body=json.dumps({**BODY, "client_ref": f"spider-{number}"}),
            callback=self.created,
            meta={"dont_retry": True},
            cb_kwargs={"number": number},
            dont_filter=True,
        )

    async def created(self, response: Any, number: int) -> AsyncIterator[Any]:
        """It exists; look at it when it should be over."""
        if self.latency:
            await asyncio.sleep(self.latency)
        yield self._look(json.loads(response.body)["id"], number)

    def _look(self, run: str, number: int) -> Any:
        url = f"{self.origin}/v1/runs/{run}"
        return scrapy.Request(
            url, headers=HEADERS, callback=self.looked, cb_kwargs={"number": number}, dont_filter=True
        )

    async def looked(self, response: Any, number: int) -> AsyncIterator[Any]:
        """Over or not."""
        record = json.loads(response.body)
        if record["status_code"] != "succeeded":
            await asyncio.sleep(_POLL_SECONDS)
            yield self._look(record["id"], number)
            return
        url = record["output"]["outputs"][0]["url"]
        yield scrapy.Request(url, callback=self.downloaded, cb_kwargs={"number": number}, dont_filter=True)

    def downloaded(self, response: Any, number: int) -> list[Any]:
        """Write it, and begin the next one."""
        (self.folder / f"{number}.png").write_bytes(response.body)
        return self._next()


def main() -> None:
    """Run the spider."""
    origin, count, in_flight, latency, folder, _ = sys.argv[1:]
    Path(folder).mkdir(parents=True)
    settings = {
        "AUTOTHROTTLE_ENABLED": False,
        "CONCURRENT_REQUESTS": int(in_flight),
        "CONCURRENT_REQUESTS_PER_DOMAIN": int(in_flight),
        "COOKIES_ENABLED": False,
        "DOWNLOAD_DELAY": 0,
        "LOG_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "TELNETCONSOLE_ENABLED": False,
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    }
    process = CrawlerProcess(settings)
    process.crawl(
        Edits,
        origin=origin,
        latency=float(latency),
        folder=Path(folder),
        numbers=iter(range(int(count))),
        in_flight=int(in_flight),
    )
    process.start()


if __name__ == "__main__":
    main()
