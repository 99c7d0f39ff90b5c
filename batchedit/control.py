"""Stopping a run from outside of its event loop: another thread, a notebook's interrupt, an orchestrator's time-out."""

from __future__ import annotations

import threading


class Control:
    """What `run_plan` obeys besides signals. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0

    def stop(self) -> None:
        """
        Send nothing more. The first time what is in flight may end within the grace; the second time it is left to the
        next run, which takes it up at no cost.
        """
        with self._lock:
            self._asked += 1

    @property
    def asked(self) -> int:
        """How often `stop` was called."""
        with self._lock:
            return self._asked
