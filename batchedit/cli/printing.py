"""What the commands say: plans, progress, ends."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from batchedit.cli.asking import be_silent, speak
from batchedit.cli.voice import say
from batchedit.cli.watching import is_live
from batchedit.errors import ExitCode, Problem
from batchedit.forecast import duration_text
from batchedit.lifecycle import State
from batchedit.logs import LOGGER
from batchedit.money import MicroUSD, decimal_text, format_usd
from batchedit.report.advice import advice, waiting_lines
from batchedit.report.text import state_counts

if TYPE_CHECKING:
    from batchedit.context import Progress
    from batchedit.ending import RunSummary
    from batchedit.ledger.health import LedgerInfo
    from batchedit.manifest import Skip
    from batchedit.planned import Plan
    from batchedit.verifying import Verification

_PLAIN_EVERY_SECONDS = 60.0


def skipped_lines(plan: Plan) -> list[str]:
    """Rows that make no task, by reason, with their places."""
    reasons: dict[str, list[Skip]] = {}
    for skip in plan.findings.skipped:
        reasons.setdefault(skip.reason, []).append(skip)
    lines = []
    for reason, skips in reasons.items():
        count = sum(skip.count for skip in skips)
        shown = ", ".join(str(skip.place) for skip in skips[:6]) + (f" and {count - 6} more" if count > 6 else "")
        lines.append(f"  {count:>7}  skipped, {reason}: {shown}")
    return lines


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem or a warning for editors and CI: one shape for both, as docs/problems.md says."""
    return {
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "field": problem.field,
        "value": problem.value,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
        "count": problem.count,
        "severity": "warning" if problem.warning else "error",
    }


def findings_json(problems: Iterable[Problem], skipped: Iterable[Skip] = ()) -> str:
    """Everything that was found, in the order of files and lines; skipped rows once for each reason."""
    reasons: dict[str, dict[str, Any]] = {}
    for skip in skipped:
        known = reasons.get(skip.reason)
        if known is None:
            problem = Problem(place=skip.place, code="skipped-row", message=f"skipped: {skip.reason}")
            reasons[skip.reason] = {**problem_json(problem), "count": skip.count, "severity": "info"}
        else:
            known["count"] += skip.count
    found = [*map(problem_json, problems), *reasons.values()]
    found.sort(key=lambda entry: (entry["file"], entry["line"] or 0, entry["column"] or 0))
    return json.dumps(found, indent=2, ensure_ascii=False)


def say_warnings(plan: Plan) -> None:
    """Warnings go to stderr, also where problems follow: what is nearly a column often is the cause of them."""
    for warning in plan.findings.warnings:
        say(f"warning: {warning}", err=True)


def end_text(plan: Plan, summary: RunSummary) -> str:
    """The end of a run for people: what happened, what it cost, what to do next."""
    states = state_counts(summary.states.items()) or "nothing was to be bought"
    lines = [f"{_HEAD.get(summary.exit_code, 'stopped')}: {states}   (exit code {int(summary.exit_code)})"]
    earlier = f" and {format_usd(summary.spent_before)} by the runs that it continues" if summary.spent_before else ""
    money = "rehearsal money" if plan.rehearsal else "real money"
    lines.append(
        f"spent {format_usd(summary.spent)}{earlier}, at risk {format_usd(summary.at_risk)},"
        f" budget {format_usd(summary.budget)} ({money})"
    )
    if summary.reason:
        lines.append(summary.reason)
    lines += summary.notes
    if summary.states[State.UNKNOWN]:
        slots = ", ".join(summary.unknown)
        lines.append(
            f"{count(summary.states[State.UNKNOWN], 'request')} with an unknown outcome ({slots}): money may be out;"
            " they are held, and never sent again blindly"
        )
    lines += advice(summary.states, _shown(plan), plan.words)
    if summary.held_back:
        lines.append(f"{count(summary.held_back, 'task')} changed since bought: add --changed to buy them again")
    lines += waiting_lines(summary.waiting, _shown(plan))
    lines.append(f"pictures: {plan.workspace.root}")
    lines.append(f"report:   batchedit report {shlex.quote(str(_shown(plan)))}")
    return "\n".join(lines)


def end_json(plan: Plan, summary: RunSummary) -> str:
    """The end of a run for programs."""
    return json.dumps(
        {
            "version": 1,
            "run": summary.run_id,
            "exit_code": int(summary.exit_code),
            "states": {str(state): count for state, count in summary.states.items()},
            "spent": decimal_text(summary.spent),
            "spent_before": decimal_text(summary.spent_before),
            "at_risk": decimal_text(summary.at_risk),
            "budget": decimal_text(summary.budget),
            "currency": "USD",
            "rehearsal": plan.rehearsal,
            "unknown": list(summary.unknown),
            "held_back": summary.held_back,
            "undelivered": summary.undelivered,
            "waiting": dict(sorted(summary.waiting.items())),
            "reason": summary.reason,
            "notes": list(summary.notes),
            "out": str(plan.workspace.root),
            "ledger": str(plan.workspace.ledger),
        },
        indent=2,
        ensure_ascii=False,
    )


def verification_text(done: Verification) -> str:
    """What was verified, for people."""
    lines = [f"{flaw.what}: {flaw.where}\n  {flaw.advice}" for flaw in done.flaws]
    read = f", {done.bytes_read} bytes read" if done.bytes_read else ""
    found = count(len(done.flaws), "flaw") if done.flaws else "nothing is missing"
    lines.append(f"{count(done.outputs, 'delivered file')}, {count(done.raws, 'kept picture')}{read}: {found}")
    if done.unlisted:
        lines.append(f"{count(done.unlisted, 'kept picture')} of a run that was cut off; harmless")
    return "\n".join(lines)


def verification_json(done: Verification) -> str:
    """What was verified, for programs."""
    return json.dumps({"version": 1, **asdict(done)}, indent=2, ensure_ascii=False)


def ledger_text(found: LedgerInfo) -> str:
    """A ledger for people."""
    rows = ", ".join(f"{count} {table}" for table, count in found.rows.items())
    return "\n".join(
        (
            f"{found.path}",
            f"  ledger   {found.ledger_id}, {found.world} money, schema {found.schema}",
            f"  file     {found.size_bytes} bytes on {found.file_system or 'a disk of unknown type'},"
            f" journal {found.journal_mode}, SQLite {found.sqlite}",
            f"  writer   {found.owner or 'nobody'}",
            f"  rows     {rows}",
        )
    )


def ledger_json(found: LedgerInfo) -> str:
    """A ledger for programs."""
    return json.dumps({"version": 1, **asdict(found), "path": str(found.path)}, indent=2, ensure_ascii=False)


class ProgressLine:
    """
    Progress on stderr: a tqdm bar on a terminal; elsewhere a plain line each minute and each tenth.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._told = 0
        self._terminal = is_live(sys.stderr)
        self._last = self._start = _now()
        self._tenths = -1
        self._began = 0
        self._progress: Progress | None = None
        self._first, self._since = 0, self._start
        self._asked = ""
        speak(self.standing)

    def __call__(self, progress: Progress) -> None:
        """Show where the run stands."""
        if self._progress is None or progress.run != self._progress.run:  # a job has several
            self._first, self._since = _finished(progress), _now()
            self._told, self._tenths = 0, -1
        self._progress = progress
        if self._asked:
            LOGGER.info("asked by a signal: %s", self._asked)
            self._asked = ""
        if self._quiet:
            return
        for note in progress.notes[self._told :]:
            self._tell(note)
        self._told = len(progress.notes)
        if self._terminal:
            self._show_bar(progress)
            return
        finished = _finished(progress)
        tenths = 10 * finished // progress.total if progress.total else 0
        if self._tenths < 0:
            self._tenths, self._began = tenths, finished
        elif tenths > self._tenths or _now() - self._last >= _PLAIN_EVERY_SECONDS:
            self._tenths, self._last = max(tenths, self._tenths), _now()
            say(progress_text(progress, self._seconds_left(progress, finished)), err=True)

    def standing(self) -> str:
        """Where the run stands, for somebody who asks by a signal; the log has it with the next change."""
        if self._progress is None:
            return "the run is being prepared; nothing was sent"
        finished = _finished(self._progress)
        new, left = finished - self._first, self._progress.total - finished - self._progress.unknown
        seconds = (_now() - self._since) * left / new if new > 0 and left > 0 else None
        self._asked = progress_text(self._progress, seconds)
        return self._asked

    def close(self) -> None:
        """Leave the terminal as it was."""
        be_silent(self.standing)
        if self._bar is not None:
            self._bar.close()

    def _seconds_left(self, progress: Progress, finished: int) -> float | None:
        new, left = finished - self._began, progress.total - finished - progress.unknown
        return (_now() - self._start) * left / new if new > 0 and left > 0 else None

    def _tell(self, note: str) -> None:
        """What is said once in a run, when it happens; the summary says it again."""
        if self._bar is not None:
            self._bar.clear()
        say(f"note: {note}", err=True)

    def _show_bar(self, progress: Progress) -> None:
        finished = _finished(progress)
        if self._bar is None:
            import tqdm

            tqdm.tqdm.monitor_interval = 0
            self._bar = tqdm.tqdm(
                total=progress.total, initial=finished, unit="edit", smoothing=0.05, mininterval=0.2, leave=False
            )
        self._bar.set_postfix_str(
            f"{progress.in_flight} in flight, {progress.failed} failed, {progress.unknown} unknown,"
            f" {_of(progress)}{_limited(progress)}",
            refresh=False,
        )
        self._bar.total = progress.total  # grows when edits come that were waiting for others
        self._bar.update(finished - self._bar.n)


def _now() -> float:
    return time.monotonic()  # noqa: TID251  how often a person is told is no part of a run


def _finished(progress: Progress) -> int:
    return progress.done + progress.failed + progress.suspect + progress.lost


def _of(progress: Progress) -> str:
    """What is spent, of what may be."""
    budget = "" if progress.budget is None else f" of {format_usd(MicroUSD(progress.budget))}"
    return f"{format_usd(MicroUSD(progress.spent))}{budget}"


def _limited(progress: Progress) -> str:
    """The rate in force; and what was named, if it is less than that."""
    named, pace = progress.limit, progress.limit if progress.pace is None else progress.pace
    if pace is None:
        return ""
    return f", limit {pace}/min" + (f" of {named}/min" if named is not None and pace < named else "")


def progress_text(progress: Progress, seconds_left: float | None = None) -> str:
    """One plain line."""
    left = "" if seconds_left is None else f", about {duration_text(seconds_left)} left"
    return (
        f"{progress.done} of {progress.total} done, {progress.failed} failed, {progress.unknown} unknown,"
        f" {progress.in_flight} in flight{_limited(progress)}, spent {_of(progress)},"
        f" held {format_usd(MicroUSD(progress.held))}{left}"
    )


_HEAD = {
    ExitCode.DONE: "finished",
    ExitCode.SOME_FAILED: "finished, not everything succeeded",
    ExitCode.LIMIT: "stopped, work is left",
    ExitCode.UNKNOWN: "finished, some outcomes are unknown",
    ExitCode.ACCOUNT: "stopped: the provider refuses the account",
    ExitCode.BUG: "finished, with an error of batchedit itself",
    ExitCode.LEDGER: "stopped: the ledger is not as it should be",
    ExitCode.STORAGE: "stopped: the disk does not take what must be kept",
    ExitCode.SIGINT: "interrupted",
    ExitCode.SIGTERM: "terminated",
}


def count(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shown(plan: Plan) -> Any:
    workspace = plan.workspace
    return workspace.root if workspace.ledger.parent == workspace.state else workspace.ledger
