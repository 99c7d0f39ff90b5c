"""
Everything a run takes from the outside besides the network and the disk: wall time, randomness, threads.

Monotonic time is `anyio.current_time()`, which a virtual clock moves; the rest is in :class:`Effects`, so that a
whole night can be simulated and repeated from its seed.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from anyio import CapacityLimiter

T = TypeVar("T")

_MOST_WORKERS = 4


class Offload(Protocol):
    """Runs a blocking function without holding up the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """The function's result, once it has finished."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """Run `work` in a worker thread; a cancelled caller still waits for it to end."""
    import anyio.to_thread

    return await anyio.to_thread.run_sync(work)


class FewThreads:
    """
    Runs blocking functions in a few threads, the others wait: a crowd of threads fights over the interpreter.

    Args:
        most: At the same time.
    """

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._limiters: dict[object, CapacityLimiter] = {}

    async def __call__(self, work: Callable[[], T], /) -> T:
        """The function's result; a cancelled caller still waits for it."""
        import anyio.lowlevel
        import anyio.to_thread

        loop = anyio.lowlevel.current_token()  # a limiter belongs to one event loop
        if loop not in self._limiters:
            self._limiters = {loop: anyio.CapacityLimiter(self._most)}
        return await anyio.to_thread.run_sync(work, limiter=self._limiters[loop])


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
        offload: For files and decoding.
        workers: Processes for decoding and keeping pictures; 0 does that by `offload`.
        commit: For waiting until the ledger is on the disk, which nothing else must hold up.
        seed: Decides every random draw of the run.
    """

    wall: Callable[[], float] = _wall_time
    offload: Offload = field(default_factory=FewThreads)
    workers: int = 0
    commit: Offload = in_thread
    seed: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def real(cls) -> Effects:
        """Those of a run that nobody has made any for."""
        return cls(workers=processes())

    def draw(self, role: str, key: str = "", number: int = 0) -> random.Random:
        """
        A generator of its own for one draw site.

        Keyed, not shared: the order in which tasks run can then never change what they draw.
        """
        return random.Random(f"{self.seed}/{role}/{key}/{number}")

    def stamp(self) -> str:
        """Now, as kept in the ledger."""
        return iso(self.wall())


def processes() -> int:
    """How many processes decode and keep pictures: one for each processor, within reason."""
    return min(os.cpu_count() or 1, _MOST_WORKERS)


def iso(unix: float) -> str:
    """Unix time in seconds as ISO 8601 in UTC with milliseconds, sortable as text."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(stamp: str) -> float:
    """The inverse of :func:`iso`."""
    return datetime.fromisoformat(stamp).timestamp()
