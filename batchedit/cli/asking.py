"""
SIGUSR1, and SIGINFO (Ctrl-T) where there is one: a line on stderr that says where the run stands, and nothing else.

The handler writes by itself, past all buffers: whatever is being printed or waited for is not disturbed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from batchedit.redaction import harmless

SIGNALS = ("SIGUSR1", "SIGINFO")
_speakers: list[Callable[[], str]] = []


def listen() -> None:
    """Answer these signals from now on; without that the first one would end the process."""
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, _answer)


def speak(speaker: Callable[[], str]) -> None:
    """Let this one say where the run stands, until `be_silent`."""
    _speakers.append(speaker)


def be_silent(speaker: Callable[[], str]) -> None:
    """It has nothing to say any more."""
    if speaker in _speakers:
        _speakers.remove(speaker)


def _answer(_number: int, _frame: object) -> None:
    text = _speakers[-1]() if _speakers else "no run goes on in this process now"
    start = "\r\x1b[K" if os.isatty(2) and os.environ.get("TERM", "") != "dumb" else ""
    try:
        os.write(2, f"{start}status: {harmless(text)}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody reads it
