"""
When the next request may start: several rate limits at once, one shared cool-down, no clock of its own.

Each limit is a GCRA (generic cell rate algorithm, ITU-T I.371): it remembers one number, the earliest moment at
which the next unit conforms. The tolerance is zero: starts are evenly spaced and a quiet time earns no burst. A request
of several units starts as soon as its first one conforms, so that a window may hold that many units more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Rate:
    """
    One limit of `per_minute` units, spaced evenly.

    Attributes:
        per_minute: Units per 60 seconds.
        free_at: Clock time in seconds at which the next unit conforms.
    """

    per_minute: float
    free_at: float = 0.0

    def __post_init__(self) -> None:
        if self.per_minute <= 0:
            raise ValueError("a rate must be above zero")

    def ready_at(self, now: float) -> float:
        """The earliest time at which a start conforms, not before `now`."""
        return max(now, self.free_at)

    def take(self, at: float, weight: int) -> None:
        """Record a start of `weight` units at time `at`."""
        self.free_at = max(at, self.free_at) + weight * WINDOW_SECONDS / self.per_minute


@dataclass(slots=True)
class Pacer:
    """
    Rate limits and the cool-down that all workers share.

    Attributes:
        requests: Limit on requests, None without one.
        images: Limit on pictures bought, None without one.
        paused_until: No start before this clock time; set by a 429.
        throttled: How many 429s were seen.
    """

    requests: Rate | None = None
    images: Rate | None = None
    paused_until: float = 0.0
    throttled: int = 0
    _last_start: float = field(default=float("-inf"), repr=False)

    @classmethod
    def from_limits(cls, requests_per_minute: float | None, images_per_minute: float | None) -> Pacer:
        """A pacer with the given limits; None means none."""
        return cls(
            requests=Rate(requests_per_minute) if requests_per_minute else None,
            images=Rate(images_per_minute) if images_per_minute else None,
        )

    def reserve(self, now: float, *, images: int) -> float:
        """
        Book the next start and return the clock time at which it may happen.

        Args:
            now: Clock time in seconds.
            images: Pictures that the request buys; 0 for a read, which counts as a request only.
        """
        rates = [(rate, weight) for rate, weight in ((self.requests, 1), (self.images, images)) if rate and weight]
        at = max([now, self.paused_until, *(rate.ready_at(now) for rate, _ in rates)])
        for rate, weight in rates:
            rate.take(at, weight)
        self._last_start = max(self._last_start, at)
        return at

    def pause(self, until: float) -> None:
        """Let nothing start before `until`; an earlier end never shortens a longer pause."""
        self.throttled += 1
        self.paused_until = max(self.paused_until, until)
        for rate in (self.requests, self.images):
            if rate is not None:
                rate.free_at = max(rate.free_at, self.paused_until)
