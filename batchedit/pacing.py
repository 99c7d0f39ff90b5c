"""
When the next call may start: several rate limits at once, one shared cool-down, no clock of its own.

Each limit is a GCRA (generic cell rate algorithm, ITU-T I.371) with no tolerance: starts are evenly spaced and a quiet
time earns no burst. A request of several units would still let a window hold a few units too many, so that a limit
also remembers what it let pass in the last window.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from batchedit.learning import SLACK_SECONDS, Learner

WINDOW_SECONDS = 60.0
MARGIN_SECONDS = 0.1
"""
Added to the window: calls that leave on time arrive a little early or late, and the provider counts arrivals.
"""


# Where the server names no time, everybody pauses briefly, and for longer only if it goes on: the request itself waits
# for a second or more, and the provider's own sample doubles up to 32 s (provider-api, section 12).
_FIRST_PAUSE_SECONDS = 0.25
# Where no limit is kept or looked for, one refusal says little about the rate.
_BRIEF_PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Rate:
    """
    One limit of `per_minute` units: evenly spaced, and never more of them in any 60 seconds.

    A request of more units than the limit starts when nothing else is in its window.

    Attributes:
        per_minute: Units per 60 seconds.
    """

    per_minute: float
    _free_at: float = field(default=float("-inf"), repr=False)
    _passed: deque[tuple[float, int]] = field(default_factory=deque, repr=False)
    _units: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.per_minute <= 0:
            raise ValueError("a rate must be above zero")

    def ready_at(self, now: float, weight: int) -> float:
        """The earliest clock time in seconds, not before `now`, at which a start of `weight` units conforms."""
        at, units = max(now, self._free_at), self._units
        for start, passed in self._passed:
            leaves = start + _SPAN
            if leaves > at:
                if units + weight <= self.per_minute:
                    break
                at = leaves
            units -= passed
        return at

    def take(self, at: float, weight: int) -> None:
        """Record a start of `weight` units at clock time `at`, which is never before that of an earlier one."""
        while self._passed and self._passed[0][0] + _SPAN <= at:
            self._units -= self._passed.popleft()[1]
        self._passed.append((at, weight))
        self._units += weight
        self._free_at = max(at - SLACK_SECONDS, self._free_at) + weight * _SPAN / self.per_minute


_SPAN = WINDOW_SECONDS + MARGIN_SECONDS


class Pacer:
    """
    The rate limits and the cool-down that all workers share.

    Args:
        requests: Most purchases per minute; None for no limit.
        images: Most pictures bought per minute.
        calls: Most calls of any kind per minute: purchases, reads and uploads.
        learner: Finds the limit that nobody has named; None to obey 429s by pausing only.
    """

    def __init__(
        self,
        *,
        requests: float | None = None,
        images: float | None = None,
        calls: float | None = None,
        learner: Learner | None = None,
    ) -> None:
        self._requests, self._images, self._calls = (
            Rate(per_minute) if per_minute else None for per_minute in (requests, images, calls)
        )
        self.learner = learner
        is_limited = learner is not None or requests is not None or images is not None or calls is not None
        self.cooldown = Cooldown(first_seconds=_FIRST_PAUSE_SECONDS if is_limited else _BRIEF_PAUSE_SECONDS)

    @property
    def per_minute(self) -> float | None:
        """
        The limit on purchases per minute that is in force: what was named, or less where refusals have taught so. None
        where nothing was named or found.
        """
        learner = self.learner
        if learner is not None and (learner.found is not None or self._requests is not None):
            return learner.per_minute
        return None if self._requests is None else self._requests.per_minute

    def ready_at(self, now: float, *, images: int) -> float:
        """
        The earliest clock time, not before `now`, at which a call may start.

        Args:
            images: Pictures that it buys; 0 for a read or an upload.
        """
        at = self.cooldown.ready_at(now)
        if self.learner is not None and images:
            at = self.learner.ready_at(at)
        rates = [(rate, weight) for rate, weight in self._rates(images) if rate is not None]
        while True:
            before = at
            for rate, weight in rates:
                at = rate.ready_at(at, weight)
            if at == before:
                return at

    def take(self, at: float, *, images: int) -> None:
        """Record that a call starts at clock time `at`."""
        self.cooldown.take(at)
        if images and self.learner is not None:
            self.learner.take(at)
        for rate, weight in self._rates(images):
            if rate is not None:
                rate.take(at, weight)

    def refuse(self, sent: float, now: float, *, buys: bool, wish: float | None, jitter: float) -> bool:
        """
        A 429 was seen: everybody pauses, and the rate of purchases shrinks if it was one of them.

        Args, Returns: as for `Cooldown.refuse`.
        """
        fresh = self.cooldown.refuse(sent, now, wish=wish, jitter=jitter)
        if self.learner is not None and buys:
            self.learner.refuse(sent, now, in_a_row=self.cooldown.in_a_row if fresh else 0, wish=wish)
        return fresh

    def exhausted(self, now: float, seconds: float) -> None:
        """The server says that it takes nothing more for so many seconds."""
        self.cooldown.until = max(self.cooldown.until, now + seconds)
        if self.learner is not None:
            self.learner.fill(now)

    def _rates(self, images: int) -> tuple[tuple[Rate | None, int], ...]:
        if not images:
            return ((self._calls, 1),)
        return ((self._requests, 1), (self._images, images), (self._calls, 1))


@dataclass(slots=True)
class Cooldown:
    """
    The pause after a 429, shared by all workers, and the ramp after the pause.

    Attributes:
        until: Nothing starts before this clock time.
        refused: How many 429s were seen.
        in_a_row: So many rounds of them since the last call that was let through.
        first_seconds: The first pause, where the server names no time.
    """

    until: float = float("-inf")
    refused: int = 0
    in_a_row: int = 0
    first_seconds: float = _FIRST_PAUSE_SECONDS
    _gap: float = field(default=0.0, repr=False)
    _last: float = field(default=float("-inf"), repr=False)

    def ready_at(self, now: float) -> float:
        """The earliest clock time, not before `now`, at which a call may start; they come back one by one."""
        at = max(now, self.until)
        return max(at, self._last + self._gap) if self._gap else at

    def take(self, at: float) -> None:
        """Record that a call starts at clock time `at`."""
        if self._gap:
            if self._last >= self.until:
                self._gap *= _GAP_SHRINKS
            if self._gap < _SMALLEST_GAP_SECONDS:
                self._gap = 0.0
        self._last = at

    def refuse(self, sent: float, now: float, *, wish: float | None, jitter: float) -> bool:
        """
        A 429 was seen: nothing starts for as long as the server wishes, or for longer each time if it says nothing.

        Args:
            sent: Clock time at which the refused call was sent.
            now: Clock time.
            wish: What the server asked for, in seconds; None if it named nothing.
            jitter: From 0 to 1, drawn; lengthens the pause by up to a quarter, so that clients do not come back in
                step.

        Returns:
            True if this begins a new round: the call was sent after the last pause.
        """
        self.refused += 1
        fresh = sent >= self.until
        if fresh:
            self.in_a_row += 1
        doubled = min(self.first_seconds * 2.0 ** min(self.in_a_row - 1, 30), _LONGEST_PAUSE_SECONDS)
        # Zero or a time that has passed is no wish: the server has just refused, and at once would be a storm.
        seconds = doubled if wish is None or wish <= 0 else wish
        self.until = max(self.until, now + seconds + jitter * max(self.first_seconds, seconds / 4))
        self._gap = min(_LARGEST_GAP_SECONDS, (self.until - now) / 8)
        return fresh

    def passed(self, sent: float) -> None:
        """A call that was sent at clock time `sent` was let through."""
        if sent >= self.until:
            self.in_a_row = 0


_LONGEST_PAUSE_SECONDS = 32.0
# After a pause the second start waits for so long, each further one for less.
_LARGEST_GAP_SECONDS = 1.0
_GAP_SHRINKS = 0.7
_SMALLEST_GAP_SECONDS = 0.005
