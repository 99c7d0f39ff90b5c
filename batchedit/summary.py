"""
From ledger rows to figures. Pure: the same rows give the same figures, and every grouping adds up to the total.

    spent     what was billed, as reported by the provider or else as listed
    at risk   what may still be billed: open and unknown requests at their worst price, and the part of a price
              range that the provider left open by reporting no cost
    avoided   what equal tasks would have cost on their own; an estimate, never subtracted from anything
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from batchedit.ledger.records import CostRow, TaskState
from batchedit.lifecycle import State
from batchedit.money import ZERO, MicroUSD

NO_LABEL = "(none)"


@dataclass(slots=True, kw_only=True)
class Money:
    """
    The money of one group, in micro-dollars.

    Attributes:
        requests: Different requests with at least one attempt.
        attempts: All of them, refused and throttled ones included.
        pictures: Kept.
        unpriced: The part of `at_risk` that is there because the provider named no price.
        doubled: The part of `spent` and `at_risk` that may have been bought twice: surplus runs, and attempts that were
            sent again on the user's word.
        wasted: The part of `spent` that brought no usable picture: suspect, lost, billed failures, surplus runs.
    """

    spent: MicroUSD = ZERO
    at_risk: MicroUSD = ZERO
    unpriced: MicroUSD = ZERO
    wasted: MicroUSD = ZERO
    doubled: MicroUSD = ZERO
    attempts: int = 0
    pictures: int = 0
    requests: int = 0
    _keys: set[str] = field(default_factory=set, repr=False)

    def add(self, row: CostRow) -> None:
        """Count one attempt."""
        cost = row.cost + row.surplus
        useful = row.cost if row.outcome == "done" else 0
        self.spent = MicroUSD(self.spent + cost)
        self.wasted = MicroUSD(self.wasted + cost - useful)
        self.at_risk = MicroUSD(self.at_risk + row.at_risk + row.doubt + row.surplus_doubt)
        resent = row.doubt if row.outcome == "resent" else ZERO
        self.unpriced = MicroUSD(self.unpriced + row.doubt - resent)
        self.doubled = MicroUSD(self.doubled + row.surplus + row.surplus_doubt + resent)
        self.attempts += 1
        self.pictures += row.pictures
        self._keys.add(row.key)
        self.requests = len(self._keys)


@dataclass(slots=True, kw_only=True)
class Failures:
    """Tasks that ended alike for the same reason: how many, and where the first of them stand."""

    state: State
    code: str
    reason: str
    count: int = 0
    slots: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Figures:
    """
    A ledger in numbers.

    Attributes:
        tasks: By the state of their request.
        by: Name of a label, or ``day``, ``edit``, ``quality`` -> value -> money.
        basis: Spent money by where the figure comes from: ``reported`` or ``computed``.
        avoided: Saved by buying equal tasks once, at the price that was paid.
        failures: Most frequent first.
    """

    total: Money = field(default_factory=Money)
    tasks: Counter[State] = field(default_factory=Counter)
    by: dict[str, dict[str, Money]] = field(default_factory=dict)
    basis: Counter[str] = field(default_factory=Counter)
    avoided: MicroUSD = ZERO
    failures: list[Failures] = field(default_factory=list)


_GROUPS: dict[str, Callable[[CostRow], str]] = {
    "day": lambda row: row.day,
    "edit": lambda row: row.edit,
    "variant": lambda row: row.variant or NO_LABEL,
    "quality": lambda row: row.quality,
    "size": lambda row: row.size,
    "model": lambda row: row.model,
}


def summarize(costs: Iterable[CostRow], tasks: Iterable[TaskState], *, by: Iterable[str] | None = None) -> Figures:
    """
    The figures of a ledger.

    Args:
        costs: All attempts.
        tasks: All tasks.
        by: What to group by: ``day``, ``edit``, ``variant``, ``quality``, ``size``, ``model`` or the name of a
            label. None groups by every label there is and by day.
    """
    figures = Figures()
    rows = list(costs)
    if by is None:
        labels = sorted({name for row in rows for name in row.labels})
        by = [*labels, "day"]
    groups = {name: _GROUPS.get(name, _label(name)) for name in by}
    figures.by = {name: {} for name in groups}
    for row in rows:
        figures.total.add(row)
        if row.basis != "none":
            figures.basis[row.basis] += row.cost
        for name, value_of in groups.items():
            figures.by[name].setdefault(value_of(row), Money()).add(row)
    grouped: dict[tuple[State, str, str], Failures] = {}
    for task in tasks:
        figures.tasks[task.state] += 1
        if not task.buyer and task.state is State.DONE:
            figures.avoided = MicroUSD(figures.avoided + task.cost)
        if task.reason and task.state is not State.DONE:
            group = grouped.setdefault(
                (task.state, task.code, task.reason),
                Failures(state=task.state, code=task.code, reason=task.reason),
            )
            group.count += 1
            if len(group.slots) < 3:
                group.slots.append(task.slot)
    figures.failures = sorted(grouped.values(), key=lambda group: -group.count)
    return figures


def _label(name: str) -> Callable[[CostRow], str]:
    return lambda row: row.labels.get(name, NO_LABEL)
