"""The limits of a job on one of its manifests: run, night and month, for everybody and for values of labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from batchedit.caps import PeriodCap, with_money_of
from batchedit.jobs.model import MONTH, NIGHT, RUN, Job, Limit
from batchedit.jobs.window import Night, months_of
from batchedit.ledger.reader import Ledger, has_begun
from batchedit.money import MicroUSD, format_usd

START = "this start of the job"
_LATEST = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    How a limit of the job stands, over all of its ledgers; amounts in micro-dollars.

    Attributes:
        words: What it is for.
        at_risk: May still be billed, and counts.
    """

    words: str
    limit: MicroUSD
    spent: MicroUSD
    at_risk: MicroUSD

    def __str__(self) -> str:
        risk = f" and {format_usd(self.at_risk)} at risk" if self.at_risk else ""
        return f"{format_usd(self.spent)}{risk} of {format_usd(self.limit)} for {self.words}"


def stamp(moment: datetime) -> str:
    """A moment as the ledger writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def caps_of(job: Job, night: Night, started: datetime, began: str = "") -> list[PeriodCap]:
    """
    The job's limits, with nothing counted against them yet.

    Args:
        started: When this start of the job began.
        began: When the first of the starts began that were cut off, and that this one goes on with; empty for none.
    """
    end = night.closes or night.ends
    months = months_of(min(started, end), max(started, end), job.zone)
    found = []
    for limit in job.budget:
        match limit.period:
            case "run":
                found.append(_cap(limit, START, began or stamp(started), _LATEST))
            case "night":
                found.append(_cap(limit, f"the night of {night.day}", stamp(night.begins), stamp(night.ends)))
            case _:
                # A night over the end of a month must have room in both.
                found += [_cap(limit, f"the month {name}", stamp(since), stamp(until)) for name, since, until in months]
    return [replace(cap, warn_at=job.warn_at) for cap in found]


def counted(caps: Sequence[PeriodCap], ledgers: Iterable[Path]) -> tuple[PeriodCap, ...]:
    """The caps with what some ledgers say counts against them; ledgers that are not begun say nothing."""
    found = tuple(caps)
    for path in dict.fromkeys(ledgers):
        if found and has_begun(path):
            with Ledger(path) as ledger:
                found = with_money_of(found, ledger)
    return found


def began_at(job: Job, ledgers: Iterable[Path]) -> str | None:
    """When the start of a job began that was cut off, or goes on; None if there is none, whatever its ledgers."""
    found = []
    for path in dict.fromkeys(ledgers):
        if has_begun(path):
            with Ledger(path) as ledger:
                found.append(ledger.open_start(job.name))
    return min((at for at in found if at is not None), default=None)


def with_warnings(caps: Sequence[PeriodCap], job: Job, ledgers: Iterable[Path], began: str) -> tuple[PeriodCap, ...]:
    """The caps with the thresholds that were told already."""
    told: dict[tuple[str, str, str], int] = {}
    for path in dict.fromkeys(ledgers):
        if job.warn_at and has_begun(path):
            with Ledger(path) as ledger:
                for name, percent in ledger.warned(job.name).items():
                    told[name] = max(percent, told.get(name, 0))
    return tuple(
        replace(cap, warned=told.get(warning_name(cap.label, cap.value, cap.period, began), 0)) for cap in caps
    )


def warning_name(label: str, value: str, period: str, began: str) -> tuple[str, str, str]:
    """What a limit is called where warnings are noted: each start of a job has its own."""
    return label, value, f"{period} {began}" if period == START else period


def run_limit(job: Job) -> MicroUSD | None:
    """What one start may spend in all, None without such a limit."""
    return next((limit.amount for limit in job.budget if limit.period == RUN and not limit.label), None)


def standings(job: Job, night: Night, started: datetime, ledgers: Iterable[Path], began: str = "") -> list[Standing]:
    """How the job's limits stand now."""
    return [
        Standing(
            words=f"{cap.label} {cap.value} in {cap.period}" if cap.label else cap.period,
            limit=cap.amount,
            spent=cap.spent,
            at_risk=cap.held,
        )
        for cap in counted(caps_of(job, night, started, began), ledgers)
    ]


def has_limit(job: Job) -> bool:
    """True if the job limits everybody's spending."""
    return any(not limit.label and limit.period in (RUN, NIGHT, MONTH) for limit in job.budget)


def _cap(limit: Limit, period: str, since: str, until: str) -> PeriodCap:
    return PeriodCap(amount=limit.amount, period=period, since=since, until=until, label=limit.label, value=limit.value)
