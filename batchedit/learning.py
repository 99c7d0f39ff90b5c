"""
Finding a rate limit that nobody has named, from what is let through and what is refused.

It starts slowly and doubles until something is refused. What was let through in the last minute is then the best
estimate there is: a window of a minute holds exactly that many, and a bucket that refills holds little more. From a
little below the estimate the rate returns to it along a cubic curve, stays near it, and then looks carefully whether
there is more, the more seldom the more often the answer has been the same (after CUBIC, RFC 9438).

Only time spent sending counts as time: a run that is held up by something else learns nothing about the limit.
"""

from __future__ import annotations

import math
from collections import deque

_WINDOW_SECONDS = 60.0
SLACK_SECONDS = 0.05
"""A start that comes late by so much does not move those that follow: every timer is a little late."""
_START_PER_MINUTE = 60.0
_SLOWEST_PER_MINUTE = 6.0
_DOUBLING_SECONDS = 10.0
_KEEP = 0.97
"""Of the estimate, right after a refusal."""
_CUT = 0.85
"""Of the rate, where a refusal comes although the last minute says that more is allowed."""
_FIRST_HOLD_SECONDS = 60.0
_LONGEST_HOLD_SECONDS = 960.0
_SAME = 0.05
"""Estimates that differ by less, or by a single start, agree with each other."""
_LONG_SECONDS = 5.0
"""Who asks for a longer pause has a window that is full."""
_DOUBTFUL = 0.8
"""A refusal at less than this part of what passed before may have nothing to do with our rate."""
_WHOLE = 0.8
"""So much of a minute must have passed since its first start for the starts in it to be a minute's."""
_MANY = 20
"""So many starts tell something even if they were made within seconds."""
_SMALLEST_STEP = 1.0
"""Starts per minute by which the rate grows at least while it looks for more."""
_DOUBTS = 3
"""So many of those in a row are believed."""


class Learner:
    """
    A rate of starts that adapts to refusals.

    Args:
        known: What an earlier run found, per minute; None if nothing is known.
        confidence: How often that has been found again.
        ceiling: The limit that the user named; it starts there and never goes above it.
    """

    def __init__(self, known: float | None = None, *, confidence: int = 0, ceiling: float | None = None) -> None:
        self._peak = known
        self._ceiling = ceiling or float("inf")
        self._floor = known * _KEEP if known else ceiling or _START_PER_MINUTE
        self._confidence = confidence
        self._doubts = 0
        self._age = 0.0
        self._last = self._free_at = float("-inf")
        self._starts: deque[float] = deque()
        self._refused: deque[float] = deque()

    @property
    def found(self) -> float | None:
        """The limit per minute as far as it is known, None before the first refusal."""
        return self._peak

    @property
    def confidence(self) -> int:
        """How often in a row the same limit was found."""
        return self._confidence

    @property
    def per_minute(self) -> float:
        """The rate now."""
        if self._peak is None:
            rate = self._floor * math.exp2(min(self._age / _DOUBLING_SECONDS, 60.0))
        else:
            hold = min(_FIRST_HOLD_SECONDS * math.exp2(min(self._confidence, 30)), _LONGEST_HOLD_SECONDS)
            course = math.pow(self._age / hold - 1.0, 3)
            width = self._peak - self._floor
            # A low estimate may rest on a bad minute: from it the way up must not be in proportion to it.
            rate = self._peak + course * (max(width, _SMALLEST_STEP) if course > 0 else width)
        return min(rate, self._ceiling)

    def ready_at(self, now: float) -> float:
        """The earliest clock time in seconds, not before `now`, for the next start."""
        at = max(now, self._free_at)
        if self._peak is None:
            return at
        # What made the window full came ever faster: it also leaves it ever faster, and not evenly.
        self._forget(now)
        over = len(self._starts) - len(self._refused) - max(1, math.floor(max(self._peak, self.per_minute)))
        return at if over < 0 else max(at, self._starts[over] + _WINDOW_SECONDS + SLACK_SECONDS)

    def take(self, at: float) -> None:
        """Record a start at clock time `at`."""
        if self._starts:
            # What is longer than two turns was not spent sending.
            self._age += min(at - self._last, 2 * _WINDOW_SECONDS / self.per_minute)
        self._last = at
        self._free_at = max(at - SLACK_SECONDS, self._free_at) + _WINDOW_SECONDS / self.per_minute
        self._starts.append(at)
        self._forget(at)

    def refuse(self, sent: float, now: float, *, in_a_row: int, wish: float | None = None) -> None:
        """
        A start was refused.

        Args:
            sent: Clock time of that start.
            now: Clock time.
            in_a_row: Rounds of refusals since something was let through; 0 for a further one of the same round.
            wish: Seconds to wait that the server named, if it did.
        """
        self._refused.append(sent)
        self._forget(now)
        if in_a_row == 0:
            return
        rate, passed = self.per_minute, len(self._starts) - len(self._refused)
        if passed <= 0:
            # Nothing was let through at all: that says nothing about how much will be.
            if self._peak is None:
                self._floor, self._age = max(rate / 2, _SLOWEST_PER_MINUTE), 0.0
            return
        # A second one in a row, or a long wait: the last minute was more than is allowed, if there was a whole minute.
        # A few starts of the first seconds say nothing about a minute; taken for its limit they would be far too few.
        tells = passed >= _MANY or now - self._starts[0] >= _WHOLE * _WINDOW_SECONDS
        full = tells and (in_a_row > 1 or (wish or 0.0) >= _LONG_SECONDS)
        if self._peak is None:
            estimate = float(passed) if full or passed >= rate / 2 else rate / 2
        elif full or passed >= _DOUBTFUL * self._peak:
            estimate = max(float(passed), rate * _CUT) if not full else float(passed)
        elif self._doubts + 1 < _DOUBTS:
            self._doubts += 1
            return
        else:
            estimate = rate * _CUT
        self._settle(estimate)

    def fill(self, now: float) -> None:
        """The server says that nothing more is allowed at clock time `now`: what passed in a minute is the limit."""
        self._forget(now)
        passed = float(max(1, len(self._starts) - len(self._refused)))
        if self.per_minute > passed:
            self._settle(passed)

    def _settle(self, estimate: float) -> None:
        same = self._peak is not None and abs(estimate - self._peak) <= max(1.0, _SAME * self._peak)
        self._confidence = self._confidence + 1 if same else 0
        estimate = max(estimate, _SLOWEST_PER_MINUTE)
        self._peak, self._floor, self._age, self._doubts = estimate, estimate * _KEEP, 0.0, 0

    def _forget(self, now: float) -> None:
        for times in (self._starts, self._refused):
            while times and times[0] <= now - _WINDOW_SECONDS:
                times.popleft()
