"""What the commands say: plans, progress, ends."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from batchedit.cli.voice import say
from batchedit.errors import ExitCode, Problem
from batchedit.lifecycle import State
from batchedit.money import MicroUSD, decimal_text, format_usd
from batchedit.plan import Verdict
from batchedit.report.advice import advice, waiting_lines
from batchedit.report.text import state_counts

if TYPE_CHECKING:
    from batchedit.context import Progress
    from batchedit.ending import RunSummary
    from batchedit.ledger.health import LedgerInfo
    from batchedit.manifest import Skip
    from batchedit.model import Quote
    from batchedit.planner import Plan
    from batchedit.verifying import Verification

_PLAIN_EVERY_SECONDS = 30.0
_VERDICTS = {
    Verdict.NEW: "to buy",
    Verdict.RETRY: "to try again",
    Verdict.DUPLICATE: "equal to another task: bought once, delivered to each",
    Verdict.DONE: "done already",
    Verdict.DELIVER: "paid already: delivered again at no cost",
    Verdict.IN_FLIGHT: "in flight at the provider: followed at no cost",
    Verdict.UNKNOWN: "outcome unknown: the provider is asked, nothing is bought",
    Verdict.CHANGED: "changed since they were bought: not bought again without --changed",
    Verdict.FAILED: "refused for good",
    Verdict.SUSPECT: "paid, but not what was asked for",
    Verdict.LOST: "paid and lost",
    Verdict.WAITING: "wait for the edit they start from: bought as soon as it is done",
    Verdict.UNAPPROVED: "wait for approval of the edit they start from: not bought before, not in the quote",
    Verdict.BLOCKED: "start from an edit that has not succeeded: not bought before it has",
}


def plan_text(plan: Plan, budget: MicroUSD | None = None) -> str:
    """A plan for people; `budget` is a flag's and wins over the manifest's."""
    figures = plan.figures
    lines = [f"{plan.manifest.name}: {_count(figures.tasks, 'task')} for {plan.workspace.root}"]
    for verdict, words in _VERDICTS.items():
        if figures.counts[verdict]:
            lines.append(f"  {figures.counts[verdict]:>7}  {words}")
    lines += [f"           {slot}: {what}" for slot, what in figures.changed[:5]]
    lines += [f"           {slot}: {why}" for slot, why in figures.failed[:5]]
    if figures.purchases:
        money = "rehearsal money" if plan.rehearsal else f"{plan.settings.name}, prices of {plan.prices.version}"
        lines.append(f"  quote    {_range(plan)} for {_count(figures.pictures, 'picture')} ({money})")
    else:
        lines.append("  nothing to buy")
    if plan.choice.left_out:
        lines.append(f"  {plan.choice.left_out:>7}  not selected: left as they are")
    if figures.counts[Verdict.UNAPPROVED]:
        lines.append(f"  later    {_span(figures.later)} once all of it is approved")
    lines += skipped_lines(plan)
    limit = plan.manifest.budget if budget is None else budget
    if limit is not None:
        short = " (may stop before the end: more is quoted)" if limit < figures.quote.high else ""
        lines.append(f"  budget   {format_usd(limit)}{short}")
    return "\n".join(lines)


def plan_json(plan: Plan) -> str:
    """A plan for programs."""
    figures = plan.figures
    return json.dumps(
        {
            "version": 1,
            "name": plan.manifest.name,
            "out": str(plan.workspace.root),
            "rehearsal": plan.rehearsal,
            "tasks": figures.tasks,
            "counts": {str(verdict): figures.counts[verdict] for verdict in Verdict},
            "not_selected": plan.choice.left_out,
            "requests_to_buy": figures.purchases,
            "pictures_to_buy": figures.pictures,
            "quote": {"low": decimal_text(figures.quote.low), "high": decimal_text(figures.quote.high)},
            "quote_after_approval": {
                "low": decimal_text(figures.later.low),
                "high": decimal_text(figures.later.high),
            },
            "currency": "USD",
            "price_list": plan.prices.version,
            "skipped": [
                {"place": str(skip.place), "reason": skip.reason, "count": skip.count} for skip in plan.findings.skipped
            ],
            "warnings": [problem_json(problem) for problem in plan.findings.warnings],
        },
        indent=2,
        ensure_ascii=False,
    )


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
    """A problem for editors and CI."""
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
        "warning": problem.warning,
    }


def say_warnings(plan: Plan) -> None:
    """Warnings go to stderr."""
    for warning in plan.findings.warnings:
        say(f"warning: {warning}", err=True)


def end_text(plan: Plan, summary: RunSummary) -> str:
    """The end of a run for people: what happened, what it cost, what to do next."""
    lines = [
        f"{_HEAD.get(summary.exit_code, 'stopped')}: {state_counts(summary.states.items())}"
        f"   (exit code {int(summary.exit_code)})"
    ]
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
            f"{_count(summary.states[State.UNKNOWN], 'request')} with an unknown outcome ({slots}): money may be out;"
            " they are held, and never sent again blindly"
        )
    lines += advice(summary.states)
    if summary.held_back:
        lines.append(f"{_count(summary.held_back, 'task')} changed since bought: add --changed to buy them again")
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
    found = _count(len(done.flaws), "flaw") if done.flaws else "nothing is missing"
    lines.append(f"{_count(done.outputs, 'delivered file')}, {_count(done.raws, 'kept picture')}{read}: {found}")
    if done.unlisted:
        lines.append(f"{_count(done.unlisted, 'kept picture')} of a run that was cut off; harmless")
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
    """Progress on stderr: a tqdm bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()  # noqa: TID251  how often a person is told is no part of a run

    def __call__(self, progress: Progress) -> None:
        """Show where the run stands."""
        if self._quiet:
            return
        if self._terminal:
            self._show_bar(progress)
        elif time.monotonic() - self._last >= _PLAIN_EVERY_SECONDS:  # noqa: TID251  as above
            self._last = time.monotonic()  # noqa: TID251  as above
            say(progress_text(progress), err=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()

    def _show_bar(self, progress: Progress) -> None:
        finished = progress.done + progress.failed + progress.suspect + progress.lost
        if self._bar is None:
            import tqdm

            tqdm.tqdm.monitor_interval = 0
            self._bar = tqdm.tqdm(
                total=progress.total, initial=finished, unit="edit", smoothing=0.05, mininterval=0.2, leave=False
            )
        self._bar.set_postfix_str(
            f"{progress.in_flight} in flight, {progress.failed} failed, {progress.unknown} unknown,"
            f" {format_usd(progress.spent)}",
            refresh=False,
        )
        self._bar.total = progress.total  # grows when edits come that were waiting for others
        self._bar.update(finished - self._bar.n)


def progress_text(progress: Progress) -> str:
    """One plain line."""
    return (
        f"{progress.done} of {progress.total} done, {progress.failed} failed, {progress.unknown} unknown,"
        f" {progress.in_flight} in flight, spent {format_usd(progress.spent)}, held {format_usd(progress.held)}"
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


def _range(plan: Plan) -> str:
    return _span(plan.figures.quote)


def _span(quote: Quote) -> str:
    return format_usd(quote.low) if quote.low == quote.high else f"{format_usd(quote.low)} to {format_usd(quote.high)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shown(plan: Plan) -> Any:
    workspace = plan.workspace
    return workspace.root if workspace.ledger.parent == workspace.state else workspace.ledger
