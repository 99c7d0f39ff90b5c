"""
Looking at runs that the provider works on: when, and many with one call.

Each run has a time at which a look is worthwhile. Where several are due at about the same time, one page of the
provider's list answers for all of them, and for those that have ended early. What the list does not show, or shows as
unfinished several times, is looked at singly: it may lag.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio

from batchedit.errors import NotSent, ProviderError, Throttled, Unseen
from batchedit.latency import Latencies
from batchedit.providers.base import Listing

ReadList = Callable[[int], Awaitable[Mapping[str, Listing]]]

_WORTHWHILE = 3
"""So many runs that are due together are looked up in the list."""
_SMALLEST_PAGE = 20
_LARGEST_PAGE = 200
_LISTED_LOOKS = 3
"""After so many looks in the list a run is looked at singly."""
_LIST_FAILURES = 3
"""So many failures of the list in a row, and it is not asked again in this run."""


@dataclass(slots=True, eq=False)
class Watcher:
    """
    One run that is waited for.

    Attributes:
        since: Clock time of its acceptance.
        inline: Its pictures come in the answer to the read itself, once: the list must not answer for it.
        exact: `since` is when it was accepted, not when somebody took it up later.
        due: Clock time of the next look, None if that is to be decided.
        before: When it was last seen unfinished, in seconds after its acceptance.
        looks: How often somebody was sent to look, or told.
        listed: How often the list has shown it unfinished since.
        told: Set when the list shows that it is over; `answer` is what a read would then have answered, if known.
    """

    run_id: str
    since: float
    inline: bool = False
    exact: bool = True
    due: float | None = None
    before: float = 0.0
    looks: int = 0
    listed: int = 0
    answer: bytes | None = None
    told: anyio.Event = field(default_factory=anyio.Event)

    def forget(self) -> None:
        """Nobody has looked yet."""
        self.answer, self.told = None, anyio.Event()

    def tell(self, answer: bytes | None) -> None:
        """The list shows that it is over, with what a read would answer if it shows that too."""
        self.answer = answer
        self.told.set()


class Board:
    """
    All runs that are waited for.

    Args:
        latencies: Decides when to look.
        can_list: False where the provider has no list of runs.
    """

    def __init__(self, latencies: Latencies, *, can_list: bool) -> None:
        self._latencies = latencies
        self._can_list = can_list
        self._failures = 0
        self._watched: dict[Watcher, None] = {}  # a set that keeps the order, so that a simulation can be repeated
        self._reading: anyio.Event | None = None

    async def wait(self, watcher: Watcher, read: ReadList) -> bytes | None:
        """
        Wait until a look at the run is worthwhile.

        Args:
            read: Reads so many of the newest runs in the provider's list.

        Returns:
            The answer of a read that was made for several runs, or None: the caller looks for itself.
        """
        if watcher.due is None:
            self._plan(watcher)
        watcher.forget()
        self._watched[watcher] = None
        try:
            while not watcher.told.is_set():
                assert watcher.due is not None
                with anyio.move_on_after(max(0.0, watcher.due - anyio.current_time())):
                    await watcher.told.wait()
                    break
                if self._reading is not None:
                    await self._reading.wait()
                elif not self._is_worthwhile(watcher) or not await self._look_together(watcher, read):
                    break
        finally:
            del self._watched[watcher]
        watcher.looks += 1
        watcher.listed, watcher.due = 0, None
        return watcher.answer

    def ended(self, watcher: Watcher, seconds: float | None) -> None:
        """
        A run has ended.

        Args:
            seconds: After its acceptance, by the provider's own clock; None if it does not say.
        """
        if seconds is not None:
            self._latencies.observe(seconds, seconds)
        elif watcher.exact:
            elapsed = anyio.current_time() - watcher.since
            # A run that is over at the first look may have ended long before: a little earlier each time is tried out.
            self._latencies.observe(watcher.before or 0.8 * elapsed, elapsed)

    # -- inside ----------------------------------------------------------------------------------------------

    def _plan(self, watcher: Watcher) -> None:
        """Not over yet, or never looked at: when to look next."""
        elapsed = max(0.0, anyio.current_time() - watcher.since)
        if watcher.looks or watcher.listed:
            watcher.before = elapsed
        watcher.due = watcher.since + self._latencies.next_look(elapsed)

    def _is_worthwhile(self, watcher: Watcher) -> bool:
        if not self._can_list or watcher.listed >= _LISTED_LOOKS:
            return False
        soon = anyio.current_time() + self._latencies.horizon()
        due = sum(1 for other in self._watched if other.due is not None and other.due <= soon)
        return due >= _WORTHWHILE

    async def _look_together(self, watcher: Watcher, read: ReadList) -> bool:
        """Read the list for everybody. False if it did not show this run."""
        self._reading = reading = anyio.Event()
        try:
            page = min(max(2 * len(self._watched), _SMALLEST_PAGE), _LARGEST_PAGE)
            listed = await read(page)
        except ProviderError as problem:
            self._failures += 1
            if not isinstance(problem, (Throttled, Unseen, NotSent)) or self._failures >= _LIST_FAILURES:
                self._can_list = False
            return False
        finally:
            self._reading = None
            reading.set()
        self._failures = 0
        soon = anyio.current_time() + self._latencies.horizon()
        for other in self._watched:
            listing = listed.get(other.run_id)
            is_due = other.due is not None and other.due <= soon
            if listing is not None and listing.ended:
                other.tell(None if other.inline else listing.answer)
            elif is_due and listing is not None:
                other.listed += 1
                self._plan(other)
            elif is_due:
                # The page is too short for it, or lags: each that is due would read the same in vain.
                other.listed = _LISTED_LOOKS
        return watcher.run_id in listed
