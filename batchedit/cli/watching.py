"""What `status` says at a glance and what `status --watch` keeps saying, from any shell, while a run goes on."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from batchedit.cli.voice import say
from batchedit.effects import Effects
from batchedit.errors import ExitCode, LedgerError
from batchedit.forecast import duration_text
from batchedit.lifecycle import State
from batchedit.money import decimal_text, format_usd

if TYPE_CHECKING:
    from batchedit.ledger.glance import Glance

_PLAIN_SECONDS = 60.0


def is_live(stream: object) -> bool:
    """True for a terminal on which lines can be drawn anew."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and os.environ.get("TERM", "") != "dumb"


def glance_text(found: Glance, now: float) -> str:
    """Where a run stands, for people; always the same number of lines."""
    share = f" ({100 * found.finished // found.total} %)" if found.total else ""
    head = f"run {found.run} of {found.manifest}" if found.run else "no run yet"
    if found.owner:
        stands = f"going on ({found.owner})"
    elif found.job:
        stands = f"ended; the job {found.job} goes on"
    elif found.exit_code is None:
        stands = "cut off; the same command goes on" if found.run else ""
    else:
        stands = f"ended with exit code {found.exit_code}"
    if found.reconciled is not None and found.reconciled.ended is not None and not found.owner:
        stands += f"; reconciled since, exit code {found.reconciled.exit_code}"
    left = found.seconds_left if found.owner else None
    odd = "".join(f", {found.states[state]} {state}" for state in (State.SUSPECT, State.LOST) if found.states[state])
    until = "" if left is None else f"{datetime.fromtimestamp(now + left).astimezone():%H:%M}"
    return "\n".join(
        (
            f"{head}: {stands}",
            f"  {found.states[State.DONE]} of {found.total} done{share}, {found.states[State.FAILED]} failed,"
            f" {found.states[State.UNKNOWN]} unknown, {found.in_flight} in flight{odd}",
            f"  {found.begun} sent in the last minute{_of_the_pace(found)}, spent"
            f" {format_usd(found.spent)}{'' if found.budget is None else f' of {format_usd(found.budget)}'},"
            f" at risk {format_usd(found.at_risk)}",
            "  " + ("time left: not known" if left is None else f"about {duration_text(left)} left, until {until}"),
        )
    )


def _of_the_pace(found: Glance) -> str:
    if found.pace is None:
        return ""
    return f" of {found.pace}" + (f" ({found.limit} named)" if found.limit not in (None, found.pace) else "")


def glance_json(found: Glance) -> str:
    """Where a run stands, on one line for programs."""
    return json.dumps(
        {
            "version": 1,
            "run": found.run or None,
            "manifest": found.manifest,
            "going_on": bool(found.owner),
            "job": found.job or None,
            "exit_code": found.exit_code,
            "reconciled": None if found.reconciled is None else found.reconciled._asdict(),
            "states": {str(state): found.states[state] for state in State},
            "in_flight": found.in_flight,
            "spent": decimal_text(found.spent),
            "at_risk": decimal_text(found.at_risk),
            "budget": None if found.budget is None else decimal_text(found.budget),
            "sent_last_minute": found.begun,
            "limit_per_minute": found.limit,
            "pace_per_minute": found.pace,
            "seconds_left": None if found.seconds_left is None else round(found.seconds_left),
        },
        ensure_ascii=False,
    )


def ledgers_at(where: str) -> list[Path]:
    """
    The ledgers that are meant: the file itself, an output folder's, or those of a job's file.

    Raises:
        ManifestError: for a job that is wrong.
    """
    from batchedit.jobs import is_job, load_job
    from batchedit.ledger.reader import ledger_at

    if is_job(Path(where)):
        from batchedit.jobs.parts import ledgers_of

        return list(ledgers_of(load_job(where)))
    return [ledger_at(where)]


def _look(paths: Sequence[Path], now: float) -> Glance:
    """The ledger that is being written; else the one whose last run is the latest."""
    from batchedit.ledger.glance import glance

    begun = [path for path in paths if path.exists()] or paths[:1]
    if not begun:
        raise LedgerError("no manifest of the job can be read", hint="batchedit job check")
    return max((glance(path, now) for path in begun), key=lambda found: (bool(found.owner), found.started))


def watch(paths: Sequence[Path], every: float, *, as_json: bool) -> int:
    """
    Say where a run stands until it has ended, with all that a job does after it; it may still have to begin.

    On a terminal the lines are drawn anew; elsewhere, and as JSON, a new line or block is added when something changes,
    at most once a minute for people.
    """
    live = is_live(sys.stdout) and not as_json
    shown, last, seen = 0, -_PLAIN_SECONDS, ""
    effects = Effects()
    while True:
        now = effects.wall()
        try:
            found = _look(paths, now)
        except LedgerError:
            if any(path.exists() for path in paths):
                raise
            say(f"there is no ledger at {paths[0]} yet" if paths else "its manifests cannot be read", err=True)
            return ExitCode.LEDGER
        text = glance_json(found) if as_json else glance_text(found, now)
        clock = time.monotonic()  # noqa: TID251  how often a person is told is no part of a run
        over = not (found.owner or found.job)
        if live:
            # Our own codes, after the text was made harmless: up, and clear to the end.
            if shown:
                sys.stdout.write(f"\x1b[{shown}A\x1b[J")
            say(text)
            sys.stdout.flush()
            shown = text.count("\n") + 1
        elif text != seen and (as_json or over or clock - last >= _PLAIN_SECONDS):
            say(text)
            sys.stdout.flush()
            seen, last = text, clock
        if over:
            return ExitCode.DONE
        time.sleep(every)
