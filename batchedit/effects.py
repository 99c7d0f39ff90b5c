"""
Everything a run takes from the outside besides the network and the disk: wall time, randomness, threads.

Monotonic time is `anyio.current_time()`, which a virtual clock moves; the rest is in :class:`Effects`, so that a
whole night can be simulated and repeated from its seed.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs a blocking function without holding up the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """The function's result, once it has finished."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """Run `work` in a worker thread; a cancelled caller still waits for it to end."""
    import anyio.to_thread

    return await anyio.to_thread.run_sync(work)


async def inline(work: Callable[[], T], /) -> T:
    """Run `work` at once: for simulations, where a thread would let the virtual clock run away."""
    import anyio.lowlevel

    await anyio.lowlevel.checkpoint()
    return work()


def _wall_time() -> float:
    return time.time()  # noqa: TID251  the one place where wall time enters


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """
    The outside world of one run.

    Attributes:
        wall: Unix time in seconds; for stamps and for the age of things between runs, never for pacing.
        offload: For disk work and decoding.
        seed: Decides every random draw of the run.
    """

    wall: Callable[[], float] = _wall_time
    offload: Offload = in_thread
    seed: str = field(default_factory=lambda: secrets.token_hex(8))

    def draw(self, role: str, key: str = "", number: int = 0) -> random.Random:
        """
        A generator of its own for one draw site.

        Keyed, not shared: the order in which tasks run can then never change what they draw.
        """
        return random.Random(f"{self.seed}/{role}/{key}/{number}")

    def stamp(self) -> str:
        """Now, as kept in the ledger."""
        return iso(self.wall())


def iso(unix: float) -> str:
    """Unix time in seconds as ISO 8601 in UTC with milliseconds, sortable as text."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(stamp: str) -> float:
    """The inverse of :func:`iso`."""
    return datetime.fromisoformat(stamp).timestamp()
