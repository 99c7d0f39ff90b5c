"""When a run stops sending, as `--until` says it: by the clock of this machine, also where that clock is changed."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from batchedit.errors import UsageError

_CLOCK = re.compile("(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?")


def stop_time(text: str, now: float) -> float:
    """
    The Unix time that a text means: a time of day is its next one, a date with a time is that moment.

    A time of day that the clock skips is the moment at which the clock, not yet changed, would have shown it; of one
    that it shows twice, the first counts: as in the window of a job.

    Args:
        text: Such as ``06:00`` or ``2026-11-27T06:00``, by the clock of this machine, or ``2026-11-27T05:00Z``.
        now: Unix time in seconds.

    Raises:
        UsageError: for anything else, and for what is over.
    """
    if _CLOCK.fullmatch(text):
        clock, today = time.fromisoformat(text), datetime.fromtimestamp(now).date()  # noqa: DTZ006  this machine's day
        for days in range(3):
            moment = datetime.combine(today + timedelta(days=days), clock).timestamp()
            if moment > now:
                return moment
    try:
        named: float | None = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        named = None
    if named is None or not re.search(r"[T ][0-9]{2}:", text):
        raise UsageError(
            "--until: this is neither a time of day nor a date with a time", hint="write 06:00, or 2026-11-27T06:00"
        )
    if named <= now:
        raise UsageError(f"--until: {text} is over", hint="a time without a date is its next one")
    return named
