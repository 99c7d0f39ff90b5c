"""
From a ledger's rows to figures. Pure: the same rows give the same figures, and every grouping adds up to the total.

    spent     what was billed, as reported by the provider or else as listed
      useful    for pictures that are wanted and were not refused
      waste     the rest, by kind: rejected, superseded, suspect, lost, written off, failed but billed, double
    at risk   what may still be billed: open and unknown requests at their worst price, and the part of a price
              range that the provider left open by reporting no cost
    avoided   what equal tasks would have cost on their own; an estimate, never subtracted from anything
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from batchedit.ledger.sums import CostGroup, Durations, TaskGroup, Trouble
from batchedit.lifecycle import State
from batchedit.money import ZERO, MicroUSD

NO_LABEL = "(none)"
DOUBLE = "double"
GROUPINGS = ("day", "run", "edit", "variant", "quality", "size", "model", "provider", "outcome")
"""What every ledger can be grouped by, besides its labels."""
OF_ATTEMPTS = frozenset({"day", "run", "outcome"})
"""Groupings that a task has no part in, since it may have had several attempts: they tell money, and no deliveries."""


@dataclass(slots=True, kw_only=True)
class Money:
    """
    The money of one group, in micro-dollars. `spent` is `useful` and all of `waste`.

    Attributes:
        requests: Different requests with at least one attempt; counted where the first attempt is.
        attempts: All of them, refused and throttled ones included.
        pictures: Kept.
        delivered: Pictures at their places, those of equal tasks included.
        unpriced: The part of `at_risk` that is there because the provider named no price.
        doubled: The part of `spent` and `at_risk` that may have been bought twice: surplus runs, and attempts that were
            sent again on the user's word.
        waste: The part of `spent` that brought nothing that is wanted, by kind.
        quoted_low, quoted_high: What was quoted for what was bought.
        avoided: What equal tasks would have cost on their own.
        reviewed: Tasks whose pictures somebody has looked at; `approved` of them were approved, `at_once` of those at
            their first revision.
    """

    spent: MicroUSD = ZERO
    useful: MicroUSD = ZERO
    waste: Counter[str] = field(default_factory=Counter)
    at_risk: MicroUSD = ZERO
    unpriced: MicroUSD = ZERO
    doubled: MicroUSD = ZERO
    quoted_low: MicroUSD = ZERO
    quoted_high: MicroUSD = ZERO
    avoided: MicroUSD = ZERO
    attempts: int = 0
    requests: int = 0
    pictures: int = 0
    delivered: int = 0
    reviewed: int = 0
    approved: int = 0
    at_once: int = 0

    @property
    def wasted(self) -> MicroUSD:
        """All waste together."""
        return MicroUSD(self.waste.total())

    @property
    def per_delivered(self) -> MicroUSD | None:
        """What a delivered picture has cost, waste included, rounded; None if there is none."""
        return MicroUSD(round(self.spent / self.delivered)) if self.delivered else None

    @property
    def per_approved(self) -> MicroUSD | None:
        """What an approved task has cost, all others included, rounded; None if there is none."""
        return MicroUSD(round(self.spent / self.approved)) if self.approved else None

    def add(self, row: CostGroup) -> None:
        """Count attempts."""
        self.spent = MicroUSD(self.spent + row.cost + row.surplus)
        if row.use == "useful":
            self.useful = MicroUSD(self.useful + row.cost)
        elif row.cost:
            self.waste[row.use] += row.cost
        if row.surplus:
            self.waste[DOUBLE] += row.surplus
        self.at_risk = MicroUSD(self.at_risk + row.at_risk + row.doubt + row.surplus_doubt)
        resent = row.doubt if row.outcome == "resent" else ZERO
        self.unpriced = MicroUSD(self.unpriced + row.doubt - resent)
        self.doubled = MicroUSD(self.doubled + row.surplus + row.surplus_doubt + resent)
        self.quoted_low = MicroUSD(self.quoted_low + row.quoted_low)
        self.quoted_high = MicroUSD(self.quoted_high + row.quoted_high)
        self.attempts += row.attempts
        self.requests += row.requests
        self.pictures += row.pictures

    def deliver(self, row: TaskGroup) -> None:
        """Count tasks."""
        self.delivered += row.delivered
        self.avoided = MicroUSD(self.avoided + row.avoided)
        self.reviewed += row.tasks if row.verdict else 0
        if row.verdict == "approved":
            self.approved += row.tasks
            self.at_once += 0 if row.again else row.tasks


@dataclass(slots=True, kw_only=True)
class Minute:
    """What happened in one minute: purchases that ended well, calls that were refused for their rate, money."""

    done: int = 0
    throttled: int = 0
    attempts: int = 0
    spent: MicroUSD = ZERO


@dataclass(slots=True, kw_only=True)
class Latency:
    """How long purchases of one quality took, in seconds."""

    count: int
    median: float
    p95: float
    p99: float
    longest: float


@dataclass(slots=True, kw_only=True)
class Figures:
    """
    One or several ledgers in numbers.

    Attributes:
        tasks: By the state of their request.
        by: Name of a label or one of `GROUPINGS` -> value -> money.
        basis: Spent money by where the figure comes from: ``reported``, ``computed`` or ``assumed``.
        minutes: By ISO minute in UTC, in order.
        latency: By quality.
        troubles: Why tasks are not done, most frequent first.
        spellings: Label values that differ only in case and spaces, by label: probably one and the same.
    """

    total: Money = field(default_factory=Money)
    tasks: Counter[State] = field(default_factory=Counter)
    by: dict[str, dict[str, Money]] = field(default_factory=dict)
    basis: Counter[str] = field(default_factory=Counter)
    minutes: dict[str, Minute] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    spellings: dict[str, list[list[str]]] = field(default_factory=dict)


def summarize(
    costs: Iterable[CostGroup],
    tasks: Iterable[TaskGroup],
    *,
    troubles: Iterable[Trouble] = (),
    durations: Iterable[Durations] = (),
    by: Iterable[str] | None = None,
    zone: tzinfo = UTC,
) -> Figures:
    """
    The figures of what `ledger.books` has read, of one ledger or of several.

    Args:
        by: What to group by: some of `GROUPINGS`, names of labels. None groups by every label there is and by day.
        zone: Whose midnight ends a day.
    """
    figures = Figures()
    cost_rows, task_rows = list(costs), list(tasks)
    texts = {row.labels for row in cost_rows} | {row.labels for row in task_rows}
    labels = label_names(texts)
    names = list(by) if by is not None else [*labels, "day"]
    cost_keys = {name: _cost_key(name, zone) for name in names}
    task_keys = {name: _task_key(name) for name in names}
    figures.by = {name: {} for name in names}
    for row in cost_rows:
        figures.total.add(row)
        if row.basis != "none":
            figures.basis[row.basis] += row.cost
        for name, key in cost_keys.items():
            figures.by[name].setdefault(key(row), Money()).add(row)
        _count(figures.minutes.setdefault(row.minute, Minute()), row)
    for group in task_rows:
        figures.tasks[group.state] += group.tasks
        figures.total.deliver(group)
        for name, task_key in task_keys.items():
            if task_key is not None:
                figures.by[name].setdefault(task_key(group), Money()).deliver(group)
    figures.minutes = dict(sorted(figures.minutes.items()))
    figures.latency = _latencies(durations)
    figures.troubles = sorted(troubles, key=lambda trouble: -trouble.tasks)
    figures.spellings = _spellings(labels, task_rows)
    return figures


def crossed(
    costs: Iterable[CostGroup], tasks: Iterable[TaskGroup], names: Sequence[str], *, zone: tzinfo = UTC
) -> dict[tuple[str, ...], Money]:
    """The money of each combination of values, such as client and season; `names` as for `summarize`."""
    found: dict[tuple[str, ...], Money] = {}
    cost_keys = [_cost_key(name, zone) for name in names]
    for row in costs:
        found.setdefault(tuple(key(row) for key in cost_keys), Money()).add(row)
    task_keys = [key for name in names if (key := _task_key(name)) is not None]
    if len(task_keys) == len(names):
        for group in tasks:
            found.setdefault(tuple(key(group) for key in task_keys), Money()).deliver(group)
    return dict(sorted(found.items()))


def label_names(texts: Iterable[str]) -> list[str]:
    """The names of all labels in these JSON objects, sorted."""
    return sorted({name for text in texts for name in _labels(text)})


def in_zone(minute: str, zone: tzinfo) -> datetime:
    """A minute of the ledger, which is in UTC, by another clock."""
    return datetime.fromisoformat(minute).replace(tzinfo=UTC).astimezone(zone)


def _day(minute: str, zone: tzinfo) -> str:
    return minute[:10] if zone is UTC else in_zone(minute, zone).date().isoformat()


def _count(minute: Minute, row: CostGroup) -> None:
    minute.attempts += row.attempts
    minute.done += row.attempts if row.outcome == "done" else 0
    minute.throttled += row.attempts if row.outcome == "throttled" else 0
    minute.spent = MicroUSD(minute.spent + row.cost + row.surplus)


@lru_cache(maxsize=100_000)
def _labels(text: str) -> Mapping[str, str]:
    found: dict[str, str] = json.loads(text)
    return found


def _cost_key(name: str, zone: tzinfo) -> Callable[[CostGroup], str]:
    match name:
        case "day":
            return lambda row: _day(row.minute, zone)
        case "run":
            return lambda row: row.run
        case "edit" | "variant" | "quality" | "size" | "model" | "provider" | "outcome":
            return lambda row: getattr(row, name) or NO_LABEL
        case _:
            return lambda row: _labels(row.labels).get(name) or NO_LABEL


def _task_key(name: str) -> Callable[[TaskGroup], str] | None:
    """None for `OF_ATTEMPTS`."""
    match name:
        case _ if name in OF_ATTEMPTS:
            return None
        case "edit" | "variant" | "quality" | "size" | "model" | "provider":
            return lambda row: getattr(row, name) or NO_LABEL
        case _:
            return lambda row: _labels(row.labels).get(name) or NO_LABEL


def _latencies(durations: Iterable[Durations]) -> dict[str, Latency]:
    counts: dict[str, Counter[int]] = {}
    for row in durations:
        counts.setdefault(row.quality, Counter())[max(0, row.tenths)] += row.count
    return {quality: _latency(sorted(found.items())) for quality, found in sorted(counts.items())}


def _latency(found: Sequence[tuple[int, int]]) -> Latency:
    total = sum(count for _, count in found)

    def at(percent: int) -> float:
        seen = 0
        for tenths, count in found:
            seen += count
            if 100 * seen >= percent * total:
                return tenths / 10
        return found[-1][0] / 10

    return Latency(count=total, median=at(50), p95=at(95), p99=at(99), longest=found[-1][0] / 10)


def _spellings(labels: Iterable[str], tasks: Iterable[TaskGroup]) -> dict[str, list[list[str]]]:
    found: dict[str, dict[str, set[str]]] = {name: {} for name in labels}
    for row in tasks:
        for name, value in _labels(row.labels).items():
            found[name].setdefault("".join(value.casefold().split()), set()).add(value)
    alike = {name: [sorted(each) for each in values.values() if len(each) > 1] for name, values in found.items()}
    return {name: values for name, values in alike.items() if values}
