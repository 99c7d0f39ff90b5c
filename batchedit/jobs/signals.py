"""
Ctrl-C, SIGTERM and SIGHUP for a whole job: also while it waits, plans, or writes its reports.

A run's own handlers are there only while it sends. Without these a signal before or after would end the process on the
spot, and nobody would be told.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from batchedit.control import Control

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WORDS = "stopped by a signal; the same command goes on from here"


@contextmanager
def hearing(control: Control) -> Iterator[None]:
    """
    Let signals stop what obeys a control, while the context lasts; for the main thread.

    The second one ends a run at once, and where none goes on, the process. That a terminal is closed may be said by
    several, and counts once.
    """

    def heard(number: int, _frame: object) -> None:
        if control.asked:
            if number == signal.SIGHUP:
                return
            if not control.heeded:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
                return
        control.stop(_WORDS, terminated=number != signal.SIGINT)

    # Under nohup SIGHUP is to be ignored.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, heard)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
