"""What a notice says: how it ended, what it cost, what failed most, what to do next."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchedit.budget import NearLimit, described
from batchedit.errors import BatchEditError, ExitCode
from batchedit.jobs.model import Job
from batchedit.jobs.money import stamp
from batchedit.jobs.sending import Message, NotSentNotice, ping, send
from batchedit.ledger.books import Books
from batchedit.ledger.reader import has_begun
from batchedit.ledger.sums import Trouble
from batchedit.lifecycle import State
from batchedit.money import MicroUSD, decimal_text, format_usd
from batchedit.redaction import redact
from batchedit.report.advice import manifest_words, next_step

if TYPE_CHECKING:
    from batchedit.jobs.ended import JobEnd

GROUPS = 3
WARNING = "warning"
_SHOWN = 300
_HEAD = {
    ExitCode.DONE: "finished",
    ExitCode.SOME_FAILED: "finished, some failed",
    ExitCode.ACCOUNT: "stopped, the provider refuses the account",
    ExitCode.LIMIT: "stopped at a limit, work is left",
    ExitCode.UNKNOWN: "some outcomes are unknown",
    ExitCode.LEDGER: "the ledger cannot be used",
    ExitCode.STORAGE: "what must be kept cannot be written",
    ExitCode.USAGE: "could not be started as it is",
    ExitCode.NOTHING_SELECTED: "nothing is selected",
    ExitCode.SIGINT: "interrupted",
    ExitCode.SIGTERM: "terminated",
}
_EVENTS = {
    ExitCode.DONE: "finished",
    ExitCode.SOME_FAILED: "finished",
    ExitCode.ACCOUNT: "account",
    ExitCode.LIMIT: "limit",
    ExitCode.UNKNOWN: "unknown",
    ExitCode.SIGINT: "limit",
    ExitCode.SIGTERM: "limit",
}
_WELL = (ExitCode.DONE, ExitCode.SOME_FAILED, ExitCode.LIMIT)
_LEFT = (State.PENDING, State.SENDING, State.ACCEPTED, State.FETCHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """
    The figures of a notice. Requests, not pictures; money in micro-dollars.

    Attributes:
        failed: What did not end well: failed, suspect and lost ones.
        left: Neither done nor failed nor unknown: for another start.
        spent: By this start.
        spent_night: By all starts in this night, as the ledger has it.
        at_risk: May still be billed, in all ledgers of the job.
        groups: The reasons most tasks failed for, with what to do about each.
    """

    done: int
    failed: int
    unknown: int
    left: int
    spent: MicroUSD
    spent_night: MicroUSD
    at_risk: MicroUSD
    low: MicroUSD
    high: MicroUSD
    groups: Sequence[tuple[Trouble, str]]


def announce(job: Job, environment: Mapping[str, str]) -> list[str]:
    """Tell the heartbeats that the job has started; what went wrong, a sentence each."""
    troubles = []
    for notice in job.notices:
        if notice.via == "heartbeat":
            try:
                ping(notice, environment, "/start")
            except NotSentNotice as error:
                troubles.append(f"{notice}: {error}")
    return troubles


def tell(end: JobEnd, environment: Mapping[str, str]) -> list[str]:
    """Send the notices that are for how the job ended; what went wrong, a sentence each."""
    troubles: list[str] = []
    if not end.job.notices:
        return troubles
    message = make_message(end, figures_of(end, troubles))
    return troubles + _send(end.job, message, environment, heartbeats=True)


def tell_warning(job: Job, warning: NearLimit, percent: int, environment: Mapping[str, str]) -> list[str]:
    """Send the notices that are for warnings; what went wrong, a sentence each."""
    what = clean(described(warning.name))
    title = clean(f"{job.name}: {percent} % of {what} is spent or held")
    text = f"{format_usd(warning.used)} of {format_usd(warning.limit)}; the job goes on"
    facts = {
        "version": 1,
        "job": job.name,
        "title": title,
        "events": [WARNING],
        "for": what,
        "percent": percent,
        "currency": "USD",
        "limit": decimal_text(warning.limit),
        "used": decimal_text(warning.used),
    }
    message = Message(title=title, text=text, facts=facts, events=frozenset({WARNING}))
    return _send(job, message, environment, heartbeats=False)  # which would take it for the end


def _send(job: Job, message: Message, environment: Mapping[str, str], *, heartbeats: bool) -> list[str]:
    """Send a message to everybody who wants such, and to heartbeats; what went wrong, a sentence each."""
    troubles = []
    for notice in job.notices:
        if heartbeats if notice.via == "heartbeat" else notice.events & message.events:
            try:
                send(notice, message, environment, folder=job.folder)
            except NotSentNotice as error:
                troubles.append(f"{notice}: {error}")
    return troubles


def figures_of(end: JobEnd, troubles: list[str]) -> Told:
    """What the runs and the ledgers say; a ledger that cannot be read goes to the troubles."""
    last = {part.part.place: part.summary for part in end.parts if part.summary is not None}
    states: Counter[State] = Counter()
    for summary in last.values():
        states.update(summary.states)
    spent_night = at_risk = 0
    groups: list[tuple[Trouble, str]] = []
    for path in end.ledgers:
        try:
            if not has_begun(path):
                continue
            with Books(path) as books:
                for _, _, spent, held in books.money_between(stamp(end.night.begins), stamp(end.night.ends)):
                    spent_night, at_risk = spent_night + spent, at_risk + held
                out = _out_of(path)
                words = manifest_words(books.runs(), out)
                groups += [(trouble, next_step(trouble, out, words)) for trouble in books.troubles(groups=GROUPS)]
        except BatchEditError as error:
            troubles.append(f"the figures are not complete: {error}")
    quotes = [part.plan.figures.quote for part in end.parts if part.plan is not None and part.summary is not None]
    return Told(
        done=states[State.DONE],
        failed=states[State.FAILED] + states[State.SUSPECT] + states[State.LOST],
        unknown=states[State.UNKNOWN],
        left=sum(states[state] for state in _LEFT) + sum(part.kept_back for part in end.parts),
        spent=MicroUSD(sum(summary.spent for summary in end.summaries)),
        spent_night=MicroUSD(spent_night),
        at_risk=MicroUSD(at_risk),
        low=MicroUSD(sum(quote.low for quote in quotes)),
        high=MicroUSD(sum(quote.high for quote in quotes)),
        groups=sorted(groups, key=lambda group: -group[0].tasks)[:GROUPS],
    )


def events_of(end: JobEnd, told: Told) -> frozenset[str]:
    """What happened, in the words of `on`."""
    found = {_EVENTS.get(end.exit_code, "failed")}
    if told.failed or _gave_up(end):
        found.add("failed")
    if told.unknown:
        found.add("unknown")
    if told.left and end.exit_code is not ExitCode.ACCOUNT:
        found.add("limit")
    return frozenset(found)


def _gave_up(end: JobEnd) -> bool:
    """Such as where the provider cannot be reached: work is left, but not as planned."""
    return any(summary.gave_up for summary in end.summaries)


def make_message(end: JobEnd, told: Told) -> Message:
    """The notice about an end."""
    job = end.job
    title = clean(f"{job.name}: {_HEAD.get(end.exit_code, 'ended with an error')}")
    if end.rehearsal:
        title += " (rehearsal)"
    events = events_of(end, told)
    return Message(
        title=title,
        text="\n".join(clean(line) for line in _lines(end, told)),
        facts=_facts(end, told, title, events),
        events=events,
        is_well=end.exit_code in _WELL and not _gave_up(end),
    )


def next_command(end: JobEnd) -> str:
    """The command that goes on; it asks about unknown outcomes before it buys anything."""
    job = shlex.quote(str(end.job.path))
    match end.exit_code:
        case ExitCode.DONE:
            return ""
        case ExitCode.USAGE | ExitCode.NOTHING_SELECTED:
            return f"batchedit job check {job}"
        case _:
            return f"batchedit job run {job}"


def clean(text: str) -> str:
    """A line of a notice: no secrets, nothing that a terminal or a mail program would act on, not too long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in redact(text)).split(" "))
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."


def _lines(end: JobEnd, told: Told) -> list[str]:
    lines = [f"night of {end.night.day}, exit code {int(end.exit_code)}"]
    if end.summaries:
        left = f", {told.left} left" if told.left else ""
        lines.append(f"{told.done} done, {told.failed} failed, {told.unknown} unknown{left}")
        night = f" ({format_usd(told.spent_night)} in this night)" if told.spent_night != told.spent else ""
        lines.append(
            f"spent {format_usd(told.spent)}{night}, estimate {format_usd(told.low)} to {format_usd(told.high)}"
        )
        if told.at_risk:
            lines.append(f"at risk {format_usd(told.at_risk)}")
    lines += [str(standing) for standing in end.limits]
    lines += [line for reason in end.reasons for line in reason.splitlines()]
    for trouble, step in told.groups:
        lines.append(f"{trouble.tasks} x {trouble.code or trouble.state}: {trouble.reason}")
        lines.append(f"  {step}")
    lines += [f"written: {_shown(path)}" for path in end.files]
    command = next_command(end)
    if command:
        lines.append(f"next: {command}")
    return lines


def _facts(end: JobEnd, told: Told, title: str, events: frozenset[str]) -> dict[str, Any]:
    return {
        "version": 1,
        "job": end.job.name,
        "title": title,
        "night": f"{end.night.day}",
        "events": sorted(events),
        "exit_code": int(end.exit_code),
        "rehearsal": end.rehearsal,
        "done": told.done,
        "failed": told.failed,
        "unknown": told.unknown,
        "left": told.left,
        "currency": "USD",
        "spent": decimal_text(told.spent),
        "spent_night": decimal_text(told.spent_night),
        "at_risk": decimal_text(told.at_risk),
        "estimate": {"low": decimal_text(told.low), "high": decimal_text(told.high)},
        "limits": [
            {
                "for": clean(standing.words),
                "limit": decimal_text(standing.limit),
                "spent": decimal_text(standing.spent),
                "at_risk": decimal_text(standing.at_risk),
            }
            for standing in end.limits
        ],
        "failures": [
            {"code": clean(trouble.code), "reason": clean(trouble.reason), "tasks": trouble.tasks, "next": clean(step)}
            for trouble, step in told.groups
        ],
        "reasons": [clean(line) for reason in end.reasons for line in reason.splitlines()],
        "files": [str(path) for path in end.files],
        "next": next_command(end),
    }


def end_facts(end: JobEnd) -> dict[str, Any]:
    """The same for `job run --json`, with what went wrong with files and notices."""
    troubles = list(end.troubles)
    told = figures_of(end, troubles)
    facts = _facts(end, told, make_message(end, told).title, events_of(end, told))
    return {**facts, "troubles": [clean(trouble) for trouble in troubles]}


def end_lines(end: JobEnd) -> list[str]:
    """The same for people."""
    message = make_message(end, figures_of(end, []))
    return [message.title, *message.text.splitlines()]


def _out_of(ledger: Path) -> Path:
    return ledger.parent.parent if ledger.parent.name == ".batchedit" else ledger


def _shown(path: Path) -> str:
    return os.path.normpath(path)
