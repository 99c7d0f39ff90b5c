"""
How long runs take, and when it is worthwhile to look at one: learnt from those that have ended.

Nothing is known at first, so that looks come close together and then further apart. Once some runs have ended, looks
are placed at quantiles of what was seen: the first near the fastest, few in all, most runs found soon after their end.
"""

from __future__ import annotations

import random
from bisect import bisect_right, insort
from collections import deque

_KEPT = 200
_ENOUGH = 5
_LADDER = (0.05, 0.35, 0.65, 0.9, 1.0)
"""Quantiles at which to look: a little over three looks for a run, wherever it lies."""
_LATE = 1.02
"""A look comes so much after the quantile, so that it does not just miss it."""
_QUICKEST_SECONDS = 0.1
_QUICK_LOOKS = 300
"""So many looks are spent on the question whether runs are quick; where there is a list, most of them share a read."""
_SMALLEST_SECONDS = 0.02
_SMALLEST_PART = 0.03
_LARGEST_FACTOR = 2.5
_GROWTH = 0.2
_LONGEST_SECONDS = 10.0
_LONGEST_HORIZON_SECONDS = 5.0


class Latencies:
    """
    The latencies of the last runs, in seconds from acceptance to end.

    Args:
        first_seconds: Between looks at a run while nothing is known; the first ones come sooner.
        draw: Spreads the looks, and places an end that is known to lie between two looks.
    """

    def __init__(self, first_seconds: float, draw: random.Random) -> None:
        self._first = first_seconds
        self._quick_looks = _QUICK_LOOKS
        self._draw = draw
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def observe(self, low: float, high: float) -> None:
        """A run ended so many seconds after its acceptance: later than `low`, not later than `high`."""
        seconds = self._draw.uniform(max(0.0, min(low, high)), high)
        self._recent.append(seconds)
        insort(self._sorted, seconds)
        if len(self._recent) > _KEPT:
            del self._sorted[bisect_right(self._sorted, self._recent.popleft()) - 1]

    def next_look(self, elapsed: float) -> float:
        """
        When to look next at a run that was not over `elapsed` seconds after its acceptance; in the same terms.

        Looks go on for ever, in growing steps.
        """
        spread = self._draw.uniform(0.98, 1.02)
        step = min(max(self._first, _GROWTH * elapsed), max(self._first, _LONGEST_SECONDS))
        if len(self._sorted) < _ENOUGH:
            # Quick runs are found out at once, at the price of some looks at the first ones.
            self._quick_looks -= 1
            quick = elapsed + _QUICKEST_SECONDS if self._quick_looks >= 0 else step
            return elapsed + min(step, quick) * spread
        gap = self._smallest_gap()
        for quantile in _LADDER:
            at = self._quantile(quantile) * _LATE + _SMALLEST_SECONDS
            if at >= elapsed + gap:
                # Where quick and slow runs are mixed, a quick one must not wait for the time of the slow ones.
                soon = _LARGEST_FACTOR * elapsed or at
                return max(min(at, soon) * spread, elapsed + gap)
        return elapsed + max(gap, min(_GROWTH * elapsed, _LONGEST_SECONDS)) * spread

    def horizon(self) -> float:
        """Looks that are due within so many seconds may as well be made together."""
        return min(self._smallest_gap(), _LONGEST_HORIZON_SECONDS)

    def _smallest_gap(self) -> float:
        median = self._quantile(0.5) if self._sorted else self._first
        return max(_SMALLEST_SECONDS, _SMALLEST_PART * median)

    def _quantile(self, part: float) -> float:
        return self._sorted[min(int(part * len(self._sorted)), len(self._sorted) - 1)]
