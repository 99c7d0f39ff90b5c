"""Stopping a run from outside of its event loop: another thread, a notebook's interrupt, an orchestrator's time-out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_BY_CALLER = "stopped by its caller; the same plan goes on from here"


class Control:
    """What `run_plan` and `run_job` obey besides signals. Any thread may use it, and a handler of signals."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler may interrupt whoever holds it, on the same thread
        self._asked = self._heeding = 0
        self._why, self._terminated = _BY_CALLER, False

    def stop(self, why: str = _BY_CALLER, *, terminated: bool = False) -> None:
        """
        Send nothing more. The first time what is in flight may end within the grace; the second time it is left to the
        next run, which takes it up at no cost.

        Args:
            why: What the summary says; that of the first call counts.
            terminated: It ends with exit code 143 instead of 130.
        """
        with self._lock:
            if not self._asked:
                self._why, self._terminated = why, terminated
            self._asked += 1

    @property
    def asked(self) -> int:
        """How often `stop` was called."""
        with self._lock:
            return self._asked

    @property
    def why(self) -> str:
        """Why it was asked to stop."""
        return self._why

    @property
    def terminated(self) -> bool:
        """True if that is to end with exit code 143."""
        return self._terminated

    @property
    def heeded(self) -> bool:
        """True while a run looks at it, which a second `stop` ends at once."""
        return self._heeding > 0

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """For who looks at it."""
        with self._lock:
            self._heeding += 1
        try:
            yield
        finally:
            with self._lock:
                self._heeding -= 1
