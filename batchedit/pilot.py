"""
What a sample that was bought tells about the rest of its manifest.

The sample's tasks are ordinary tasks of the same ledger: a full run afterwards buys only the others. The projection is
a stratified ratio estimate. For each stratum, what was billed is set in proportion to what was quoted, and applied to
the quotes of what is left. Its interval (95 %, on the careful side) takes the percentile bootstrap of these ratios,
resampled within the strata and seeded, together with the Wilson interval of the share that was not billed at all.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

from batchedit.ledger.books import Books
from batchedit.lifecycle import State
from batchedit.manifest import Findings
from batchedit.money import ZERO, MicroUSD
from batchedit.plan import BUYING
from batchedit.planned import Plan
from batchedit.planner import walk
from batchedit.selecting import stratum
from batchedit.summary import Latency, summarize

RESAMPLES = 1_000
_Z = 1.959964
_OPEN = frozenset({State.PENDING, State.SENDING, State.ACCEPTED, State.FETCHING})

Stratum = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """
    One request of the sample that has come to an end, or whose outcome is unknown; amounts in micro-dollars.

    Attributes:
        most: What it may have cost, what is at risk included.
        failed: It is not done.
    """

    stratum: Stratum
    quoted: MicroUSD
    cost: MicroUSD
    most: MicroUSD
    failed: bool


@dataclass(slots=True, kw_only=True)
class Rest:
    """What of one stratum is still to be bought; `quoted` is the low quote of all of it together."""

    requests: int = 0
    quoted: MicroUSD = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A share with its 95 % interval, each from 0 to 1."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What the rest will cost, in micro-dollars."""

    low: MicroUSD
    likely: MicroUSD
    high: MicroUSD


@dataclass(slots=True, kw_only=True)
class Pilot:
    """
    What a sample has shown.

    Attributes:
        tasks: In the sample.
        trials: Its requests that have come to an end.
        spent: On the sample so far, in earlier runs too; `at_risk` may still be billed.
        pictures: Of the sample, at their places.
        latency: From sending to the picture being here; None before the first.
        failures: Share of trials that are not done.
        rest: By stratum, what is left to buy.
        projection: For the rest; None if nothing was billed, so that the quotes are all that is known.
    """

    tasks: int
    trials: list[Trial] = field(default_factory=list)
    spent: MicroUSD = ZERO
    at_risk: MicroUSD = ZERO
    pictures: int = 0
    latency: Latency | None = None
    failures: Interval | None = None
    rest: dict[Stratum, Rest] = field(default_factory=dict)
    projection: Projection | None = None

    @property
    def per_picture(self) -> MicroUSD | None:
        """What a delivered picture of the sample has cost, failures included; None if there is none."""
        return MicroUSD(round(self.spent / self.pictures)) if self.pictures else None


def examine(whole: Plan, drawn: frozenset[str], strata: Sequence[str], chance: random.Random) -> Pilot:
    """
    Look at a sample after it was bought.

    Args:
        whole: The plan of everything that the sample was drawn from, made after it was bought.
        drawn: The sample's slots.
        strata: What it was stratified by.
        chance: For the resampling.

    Raises:
        LedgerError: if there is no ledger.
    """
    pilot = Pilot(tasks=len(drawn))
    with Books(whole.workspace.ledger) as books:
        books.restrict(drawn)
        for entry in walk(whole, books, Findings()):
            place = stratum(entry.task, strata)
            if entry.task.slot not in drawn:
                if entry.verdict in BUYING:
                    rest = pilot.rest.setdefault(place, Rest())
                    rest.requests += 1
                    rest.quoted = MicroUSD(rest.quoted + entry.quote.low)
                continue
            known = books.listed_task(entry.task.slot)
            if known is None:
                continue
            pilot.spent = MicroUSD(pilot.spent + known.cost)
            pilot.at_risk = MicroUSD(pilot.at_risk + known.at_risk)
            pilot.pictures += known.delivered
            if known.state not in _OPEN and not known.shared:
                most = MicroUSD(known.cost + known.at_risk)
                pilot.trials.append(
                    Trial(
                        stratum=place,
                        quoted=entry.quote.low,
                        cost=known.cost,
                        most=most,
                        failed=known.state is not State.DONE,
                    )
                )
        together = [replace(row, quality="") for row in books.durations()]
        pilot.latency = summarize([], [], durations=together).latency.get("")
    pilot.failures = share([(trial.stratum, trial.failed) for trial in pilot.trials], pilot.rest)
    pilot.projection = project(pilot.trials, pilot.rest, chance)
    return pilot


def wilson(share_found: float, count: float) -> Interval:
    """The Wilson score interval (95 %) of a share that was found in so many trials."""
    if count <= 0:
        return Interval(low=0.0, likely=share_found, high=1.0)
    centre = (share_found + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * sqrt(share_found * (1 - share_found) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(low=min(low, share_found), likely=share_found, high=max(high, share_found))


def share(found: Sequence[tuple[Stratum, bool]], rest: Mapping[Stratum, Rest]) -> Interval | None:
    """
    The share of trials that something is true of, each stratum weighing as much as there is left of it.

    Returns:
        None without any trial.
    """
    if not found:
        return None
    by: dict[Stratum, list[bool]] = {}
    for place, is_so in found:
        by.setdefault(place, []).append(is_so)
    left = {place: rest[place].requests if place in rest else 0 for place in by}
    if not sum(left.values()):
        left = {place: len(values) for place, values in by.items()}
    total = sum(left.values())
    weights = {place: count / total for place, count in left.items()}
    likely = sum(weights[place] * sum(values) / len(values) for place, values in by.items())
    # As many trials as an unstratified sample of the same certainty would need.
    effective = 1 / sum(weights[place] ** 2 / len(values) for place, values in by.items())
    return wilson(min(1.0, likely), effective)


def project(trials: Sequence[Trial], rest: Mapping[Stratum, Rest], chance: random.Random) -> Projection | None:
    """
    What the rest will cost, judged by the trials.

    Returns:
        None if nothing was billed.
    """
    billed = [trial for trial in trials if trial.most]
    unbilled = share([(trial.stratum, not trial.most) for trial in trials], rest)
    if not billed or unbilled is None:
        return None
    lows, highs = [], []
    for _ in range(RESAMPLES):
        drawn = _resampled(billed, chance)
        lows.append(_scaled(drawn, rest, most=False))
        highs.append(_scaled(drawn, rest, most=True))
    low, high = sorted(lows)[RESAMPLES * 25 // 1000], sorted(highs)[-1 - RESAMPLES * 25 // 1000]
    likely = _scaled(billed, rest, most=True)
    return Projection(
        low=MicroUSD(round(min(low, likely) * (1 - unbilled.high))),
        likely=MicroUSD(round(likely * (1 - unbilled.likely))),
        high=MicroUSD(round(max(high, likely) * (1 - unbilled.low))),
    )


def _resampled(billed: Sequence[Trial], chance: random.Random) -> list[Trial]:
    by: dict[Stratum, list[Trial]] = {}
    for trial in billed:
        by.setdefault(trial.stratum, []).append(trial)
    return [trial for group in by.values() for trial in chance.choices(group, k=len(group))]


def _scaled(billed: Sequence[Trial], rest: Mapping[Stratum, Rest], *, most: bool) -> int:
    """The quotes of the rest, times cost over quote of what was billed in the same stratum, or else in any."""
    cost: dict[Stratum | None, int] = {None: 0}
    quoted: dict[Stratum | None, int] = {None: 0}
    for trial in billed:
        for place in (trial.stratum, None):
            cost[place] = cost.get(place, 0) + (trial.most if most else trial.cost)
            quoted[place] = quoted.get(place, 0) + trial.quoted
    total = 0
    for place, left in rest.items():
        known = place if quoted.get(place) else None
        total += left.quoted * cost[known] // quoted[known] if quoted[known] else 0
    return total
