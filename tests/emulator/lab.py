"""An emulator, a client without manners and a clock that only moves when told or when somebody sleeps."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import trio.testing
from PIL import Image

from batchedit.emulator import ConnectionCut, Emulator, Faults, Switches

T = TypeVar("T")

ORIGIN = "https://api.example"
KEY = "rf_live_test"
CREATE = "/v1/models/openai/gpt-image-2/edit/runs"
SYNC = "/v1/run/openai/gpt-image-2/edit"
PHOTO_URL = "https://shop.example/mug.png"
BEGIN = 1_800_000_000.0
"""Unix seconds at which every test begins."""


async def inline(work: Callable[[], T], /) -> T:
    """Render in place: a thread would let the virtual clock run away."""
    return work()


@cache
def picture(colour: int = 90, *, side: int = 32, form: str = "PNG") -> bytes:
    """A small one-coloured picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (colour, 120, 160)).save(buffer, form)
    return buffer.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture, which must decode."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size


class Lab:
    """
    One emulator under a virtual clock.

    Args:
        faults: What goes wrong.
        seed: Of the emulator.
        state_dir: Of the emulator.
        begin: Unix seconds at which the clock stands.
        switches: Values that differ from a run of exactly 10 seconds and the defaults.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        seed: str = "0",
        state_dir: Path | None = None,
        begin: float = BEGIN,
        **switches: Any,
    ) -> None:
        switches.setdefault("latency", (10.0, 10.0))
        self.now = begin
        self._running_since: float | None = None
        self.emulator = Emulator(
            switches=Switches(**switches),
            faults=faults or Faults(),
            seed=seed,
            state_dir=state_dir,
            clock=self.clock,
            offload=inline,
        )

    def clock(self) -> float:
        """Unix seconds, virtual."""
        return self.now if self._running_since is None else self.now + anyio.current_time() - self._running_since

    def wait(self, seconds: float = 11.0) -> None:
        """Let time pass; by default until a run has ended."""
        self.now += seconds

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something under the virtual clock."""

        async def main() -> T:
            self._running_since = anyio.current_time()
            try:
                return await work()
            finally:
                self.now, self._running_since = self.clock(), None

        clock = trio.testing.MockClock(autojump_threshold=0)
        return anyio.run(main, backend="trio", backend_options={"clock": clock})

    async def send(self, method: str, url: str, *, key: str | None = KEY, **more: Any) -> httpx.Response:
        """One call, from inside `run`. URLs of storage never get the key."""
        headers = dict(more.pop("headers", {}))
        if key is not None and "/storage/" not in url:
            headers["authorization"] = f"Bearer {key}"
        transport = httpx.ASGITransport(self.emulator.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await client.request(method, url, headers=headers, **more)

    def call(self, method: str, url: str, **more: Any) -> httpx.Response:
        """One call."""
        return self.run(lambda: self.send(method, url, **more))

    def get(self, url: str, **more: Any) -> Any:
        """The JSON of a read that must succeed."""
        answer = self.call("GET", url, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, ref: str | None = "ref", *, idempotency_key: str | None = None, **fields: Any) -> httpx.Response:
        """Create a run; `fields` go over the usual input."""
        headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        return self.call("POST", CREATE, json=body(ref, **fields), headers=headers)

    def created(self, ref: str | None = "ref", **fields: Any) -> str:
        """Create a run; gives its id."""
        answer = self.create(ref, **fields)
        assert answer.status_code < 300, answer.text
        return str(answer.json()["id"])

    def finished(self, ref: str | None = "ref", **fields: Any) -> dict[str, Any]:
        """Create a run, wait for its end; gives its record."""
        run_id = self.created(ref, **fields)
        self.wait()
        record: dict[str, Any] = self.get(f"/v1/runs/{run_id}")
        return record

    def edit(self, **fields: Any) -> httpx.Response:
        """The synchronous form."""
        return self.call("POST", SYNC, json=body(None, **fields)["input"])

    def upload(self, data: bytes, media: str = "image/png") -> str:
        """All three steps; gives the asset's id."""
        ticket = self.ticket(len(data), media)
        put = self.call("PUT", ticket["upload_url"], content=data, headers={"content-type": media})
        assert put.status_code == 200, put.text
        asset_id = str(ticket["asset_id"])
        assert self.call("POST", f"/v1/asset-uploads/{asset_id}/confirmations", json={}).status_code == 201
        return asset_id

    def ticket(self, size: int, media: str = "image/png") -> dict[str, str]:
        """The first step of an upload."""
        form = {"filename": "mug.png", "mime_type": media, "size_bytes": size}
        answer = self.call("POST", "/v1/asset-uploads", json=form)
        assert answer.status_code == 201, answer.text
        ticket: dict[str, str] = answer.json()
        return ticket

    def is_cut(self, method: str, url: str, **more: Any) -> bool:
        """True if a call ends without a complete answer."""
        try:
            self.call(method, url, **more)
        except ConnectionCut:
            return True
        return False

    def runs(self, ref: str = "ref") -> int:
        """How many runs a reference has, by the emulator's own books."""
        return int(self.emulator.audit()["by_client_ref"].get(ref, {"runs": 0})["runs"])


def body(ref: str | None, **fields: Any) -> dict[str, Any]:
    """The body of a creation."""
    data: dict[str, Any] = {"input": {"prompt": "white background", "image_urls": [PHOTO_URL], **fields}}
    if ref is not None:
        data["client_ref"] = ref
    return data
