"""
From a ledger's rows to figures. Pure: the same rows give the same figures, and every grouping adds up to the total.

    spent     what was billed, as reported by the provider or else as listed
      useful    for pictures that are wanted and were not refused
      waste     the rest, by kind: rejected, superseded, suspect, lost, written off, failed but billed, double
    at risk   what may still be billed: open and unknown requests at their worst price, and the part of a price
              range that the provider left open by reporting no cost
    avoided   what was not bought again: equal tasks (deduplicated), what a later run wanted and found paid for
              (reused), and put at its place once more (restored); an estimate, never subtracted from anything
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from itertools import product

from batchedit.grouping import (
    GROUPINGS,
    IN_TIME,
    OF_ATTEMPTS,
    TAG,
    YIELDING,
    cost_keys,
    heading,
    label_names,
    labels_of,
    tags_of,
    task_keys,
    together,
)
from batchedit.ledger.sums import CostGroup, Dear, Durations, TaskGroup, Trouble, Unmet
from batchedit.lifecycle import State
from batchedit.money import ZERO, MicroUSD

DOUBLE = "double"


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
        saved: What was not bought again, by kind: ``deduplicated``, ``reused``, ``restored``.
        successes: Attempts that ended well; `throttled` were refused for their rate (429).
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
    saved: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    successes: int = 0
    throttled: int = 0
    requests: int = 0
    pictures: int = 0
    delivered: int = 0
    reviewed: int = 0
    undecided: int = 0
    approved: int = 0
    at_once: int = 0

    @property
    def wasted(self) -> MicroUSD:
        """All waste together."""
        return MicroUSD(self.waste.total())

    @property
    def avoided(self) -> MicroUSD:
        """All that was not bought again."""
        return MicroUSD(self.saved.total())

    @property
    def retries(self) -> int:
        """Attempts that were not their request's first."""
        return self.attempts - self.requests

    @property
    def per_success(self) -> float | None:
        """Attempts for each that ended well, rounded to a hundredth; None if there is none."""
        return round(self.attempts / self.successes, 2) if self.successes else None

    @property
    def first_time(self) -> float | None:
        """The share of judged tasks that were approved at their first revision; None if nobody has judged any."""
        return round(self.at_once / self.judged, 4) if self.judged else None

    @property
    def judged(self) -> int:
        """Tasks of which somebody has judged the first picture, or the one that they have now."""
        return self.reviewed + self.undecided

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
        self.successes += row.attempts if row.outcome == "done" else 0
        self.throttled += row.attempts if row.outcome == "throttled" else 0
        self.requests += row.requests
        self.pictures += row.pictures

    def deliver(self, row: TaskGroup) -> None:
        """Count tasks."""
        self.delivered += row.delivered
        for kind, amount in (("deduplicated", row.avoided), ("reused", row.reused), ("restored", row.restored)):
            if amount:
                self.saved[kind] += amount
        self.reviewed += row.tasks if row.verdict else 0
        self.undecided += row.tasks if row.before and not row.verdict else 0
        if row.verdict == "approved":
            self.approved += row.tasks
            self.at_once += 0 if row.again else row.tasks


@dataclass(slots=True, kw_only=True)
class Minute:
    """
    What happened in one minute, or in a stretch of `length` minutes: purchases that ended well, calls that were refused
    for their rate, money.
    """

    done: int = 0
    throttled: int = 0
    attempts: int = 0
    spent: MicroUSD = ZERO
    length: int = 1


@dataclass(slots=True, kw_only=True)
class Latency:
    """How long purchases of one quality took, or how long they waited to be sent, in seconds."""

    count: int
    median: float
    p95: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """
    Pictures of one kind whose reported price lies outside of what the price list said. Amounts in micro-dollars.

    Attributes:
        purchases: Attempts that brought pictures and whose price the provider named.
        paid: What these cost, surplus runs left out.
        low, high: What was quoted for them.
    """

    provider: str
    model: str
    quality: str
    size: str
    purchases: int
    paid: MicroUSD
    low: MicroUSD
    high: MicroUSD

    @property
    def apart(self) -> MicroUSD:
        """How far outside: more than `high`, or less than `low` and then negative."""
        return MicroUSD(self.paid - self.high if self.paid > self.high else self.paid - self.low)


@dataclass(slots=True, kw_only=True)
class Figures:
    """
    One or several ledgers in numbers.

    Attributes:
        tasks: By the state of their request.
        by: Name of a label or one of `GROUPINGS` -> value -> money.
        yielded: Names in `by` that are a label's, though there is a grouping of that name.
        basis: Spent money by where the figure comes from: ``reported``, ``computed`` or ``assumed``.
        minutes: By ISO minute in UTC, in order.
        latency: How long purchases took, by quality.
        queue: How long requests waited from being wanted until they were first sent in that run, by quality; those
            that were not sent are not in it.
        overlapping: Names in `by` whose values add up to more than the total, since a task counts under several.
        prices: Money by the price list that its run quoted from.
        drifts: Kinds of pictures whose reported prices the price list does not hold, the dearest first.
        dearest: Items that have cost most.
        troubles: Why tasks are not done, most frequent first.
        unmet: What checks of delivered files have to say, what failed first, then the most frequent.
        spellings: Label values that differ only in case and spaces, by label: probably one and the same.
    """

    total: Money = field(default_factory=Money)
    tasks: Counter[State] = field(default_factory=Counter)
    by: dict[str, dict[str, Money]] = field(default_factory=dict)
    yielded: set[str] = field(default_factory=set)
    basis: Counter[str] = field(default_factory=Counter)
    minutes: dict[str, Minute] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    queue: dict[str, Latency] = field(default_factory=dict)
    overlapping: set[str] = field(default_factory=set)
    prices: dict[str, Money] = field(default_factory=dict)
    drifts: list[Drift] = field(default_factory=list)
    dearest: list[Dear] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The names in `by` that are labels, sorted."""
        return sorted(name for name in self.by if name in self.yielded or name not in GROUPINGS)

    def heading(self, name: str) -> str:
        """What stands above the values of a name in `by`."""
        return heading(name, is_label=name in self.yielded)

    def of_tasks(self, name: str) -> bool:
        """Whether deliveries are told by this name, too: a task may have had attempts on several days."""
        return name in self.yielded or name not in OF_ATTEMPTS

    def ranked(self, name: str, most: int) -> tuple[list[tuple[str, Money]], list[tuple[str, Money]], str]:
        """
        The values of a name, the dearest first, and days and months in their order.

        Returns:
            At most so many of them, what is left out, and what that is called: ``more``, or ``earlier`` where it comes
            before what is shown.
        """
        groups = self.by[name].items()
        if name in IN_TIME and name not in self.yielded:
            ranked = sorted(groups, key=lambda entry: entry[0])
            return ranked[-most:], ranked[:-most], "earlier"
        ranked = sorted(groups, key=lambda entry: (-entry[1].spent, entry[0]))
        return ranked[:most], ranked[most:], "more"

    @property
    def busy_minutes(self) -> int:
        """How many minutes there were in which attempts ended (quarters of an hour count whole in a long ledger)."""
        return sum(minute.length for minute in self.minutes.values())

    @property
    def per_minute(self) -> float | None:
        """Purchases that ended well in each busy minute, rounded to a hundredth; None if there was none."""
        return round(self.total.successes / self.busy_minutes, 2) if self.total.successes else None

    troubles: list[Trouble] = field(default_factory=list)
    unmet: list[Unmet] = field(default_factory=list)
    spellings: dict[str, list[list[str]]] = field(default_factory=dict)


def summarize(
    costs: Iterable[CostGroup],
    tasks: Iterable[TaskGroup],
    *,
    troubles: Iterable[Trouble] = (),
    unmet: Iterable[Unmet] = (),
    durations: Iterable[Durations] = (),
    dearest: Iterable[Dear] = (),
    by: Iterable[str] | None = None,
    zone: tzinfo = UTC,
    known: Iterable[str] = (),
) -> Figures:
    """
    The figures of what `ledger.books` has read, of one ledger or of several.

    Args:
        by: What to group by: some of `GROUPINGS`, names of labels. None groups by every label there is and by day.
        zone: Whose midnight ends a day, and with its last day a month.
        known: Names of labels that none of these rows may have, but others of the same ledgers.
    """
    figures = Figures()
    cost_rows, task_rows = list(costs), list(tasks)
    texts = {row.labels for row in cost_rows} | {row.labels for row in task_rows}
    labels = label_names(texts)
    names = list(by) if by is not None else [*labels, "day"]
    figures.by = {name: {} for name in names}
    figures.yielded = {*YIELDING} & {*names} & {*labels, *known}
    of_costs = {name: cost_keys(name, zone, is_label=name in figures.yielded) for name in names}
    for row in cost_rows:
        _count(figures.minutes.setdefault(row.minute, Minute()), row)
    _add_costs(figures, together(cost_rows, zone), of_costs)
    of_tasks = {name: task_keys(name, is_label=name in figures.yielded) for name in names}
    for group in task_rows:
        figures.tasks[group.state] += group.tasks
        figures.total.deliver(group)
        for name, found in of_tasks.items():
            if found is not None:
                for value in found(group):
                    figures.by[name].setdefault(value, Money()).deliver(group)
    if TAG in names and any(
        len(tags_of(text)) > 1 for text in {row.tags for row in cost_rows} | {row.tags for row in task_rows}
    ):
        figures.overlapping.add(TAG)
    figures.minutes = dict(sorted(figures.minutes.items()))
    spans = list(durations)
    figures.latency = _latencies(span for span in spans if not span.queued)
    figures.queue = _latencies(span for span in spans if span.queued)
    figures.troubles = sorted(troubles, key=lambda trouble: -trouble.tasks)
    figures.unmet = _together(unmet)
    figures.spellings = _spellings(labels, task_rows)
    figures.dearest = sorted(dearest, key=lambda dear: (-dear.spent, dear.item))
    return figures


def _add_costs(
    figures: Figures, rows: Iterable[CostGroup], keys: Mapping[str, Callable[[CostGroup], Iterable[str]]]
) -> None:
    reported: dict[tuple[str, str, str, str], list[int]] = {}
    for row in rows:
        figures.total.add(row)
        figures.prices.setdefault(row.price_list, Money()).add(row)
        if row.basis != "none":
            figures.basis[row.basis] += row.cost
        if row.basis == "reported" and row.outcome in _BROUGHT:
            sums = reported.setdefault((row.provider, row.model, row.quality, row.size), [0, 0, 0, 0])
            for number, more in enumerate((row.attempts, row.cost, row.quoted_low, row.quoted_high)):
                sums[number] += more
        for name, values in keys.items():
            for value in values(row):
                figures.by[name].setdefault(value, Money()).add(row)
    figures.drifts = [
        Drift(
            provider=kind[0], model=kind[1], quality=kind[2], size=kind[3], purchases=count, paid=MicroUSD(paid),
            low=MicroUSD(low), high=MicroUSD(high),
        )
        for kind, (count, paid, low, high) in sorted(reported.items(), key=lambda entry: (-entry[1][1], entry[0]))
        if high and not low <= paid <= high
    ]  # fmt: skip


_BROUGHT = frozenset({"done", "suspect", "lost"})
"""Outcomes of attempts that brought pictures, whose price can be compared with the list's."""


def _together(unmet: Iterable[Unmet]) -> list[Unmet]:
    """Those of several ledgers, added up."""
    found: dict[tuple[str, str], Unmet] = {}
    for each in unmet:
        known = found.get((each.name, each.verdict))
        found[each.name, each.verdict] = each if known is None else replace(known, tasks=known.tasks + each.tasks)
    return sorted(found.values(), key=lambda each: (each.verdict, -each.tasks, each.name))


def crossed(
    costs: Iterable[CostGroup],
    tasks: Iterable[TaskGroup],
    names: Sequence[str],
    *,
    zone: tzinfo = UTC,
    yielded: Collection[str] = (),
) -> dict[tuple[str, ...], Money]:
    """
    The money of each combination of values, such as client and season; `names` as for `summarize`, `yielded` as in
    `Figures`.

    With `TAG` among the names a task counts in as many rows as it has tags.
    """
    found: dict[tuple[str, ...], Money] = {}
    of_costs = [cost_keys(name, zone, is_label=name in yielded) for name in names]
    for row in costs:
        for values in product(*(key(row) for key in of_costs)):
            found.setdefault(values, Money()).add(row)
    of_tasks = [key for name in names if (key := task_keys(name, is_label=name in yielded)) is not None]
    if len(of_tasks) == len(names):
        for group in tasks:
            for values in product(*(key(group) for key in of_tasks)):
                found.setdefault(values, Money()).deliver(group)
    return dict(sorted(found.items()))


def _count(minute: Minute, row: CostGroup) -> None:
    minute.attempts += row.attempts
    minute.length = max(minute.length, row.stretch)
    minute.done += row.attempts if row.outcome == "done" else 0
    minute.throttled += row.attempts if row.outcome == "throttled" else 0
    minute.spent = MicroUSD(minute.spent + row.cost + row.surplus)


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
        for name, value in labels_of(row.labels).items():
            found[name].setdefault("".join(value.casefold().split()), set()).add(value)
    alike = {name: [sorted(each) for each in values.values() if len(each) > 1] for name, values in found.items()}
    return {name: values for name, values in alike.items() if values}
