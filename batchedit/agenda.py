"""What is due when: a heap of work that waits without holding a worker."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Agenda(Generic[T]):
    """Entries in the order of their times; equal times keep the order in which they were added."""

    _heap: list[tuple[float, int, T]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, at: float, work: T) -> None:
        """Let `work` become due at clock time `at`, in seconds."""
        heapq.heappush(self._heap, (at, next(self._order), work))

    def pop_due(self, now: float) -> T | None:
        """The earliest entry that is due, taken off; None if there is none."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[2]
        return None

    def next_at(self) -> float | None:
        """Clock time of the earliest entry, None when empty."""
        return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        return len(self._heap)
