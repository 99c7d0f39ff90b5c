"""
What a run would do, before it does it: each task against what the ledger knows.

Pure decisions over values; `batch` feeds them with tasks, digests and ledger rows.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from batchedit.differences import Difference
from batchedit.forecast import Forecast
from batchedit.lifecycle import State
from batchedit.model import Quote
from batchedit.money import ZERO, MicroUSD


class Verdict(enum.StrEnum):
    """What becomes of a task when the plan is run."""

    NEW = "new"  # bought
    RETRY = "retry"  # failed for a passing reason: tried again
    CHANGED = "changed"  # bought before with other content: not bought again without consent
    DUPLICATE = "duplicate"  # equal to another task: bought once, delivered to both
    DONE = "done"  # paid and delivered
    DELIVER = "deliver"  # paid; its file is missing: put there again at no cost
    RENDER = "render"  # paid; only its path or what its file is made with has changed: made anew at no cost
    IN_FLIGHT = "in flight"  # accepted by the provider: followed at no cost
    UNKNOWN = "unknown"  # outcome not seen: the provider is asked, nothing is bought
    FAILED = "failed"  # refused for good: change the row or the picture
    SUSPECT = "suspect"  # paid, but not what was asked for: for a person to look at
    LOST = "lost"  # paid, and can no longer be fetched
    WAITING = "waiting"  # starts from a picture that this run is to bring: bought as soon as that is there
    UNAPPROVED = "waiting for approval"  # starts from a picture that somebody must approve first: not bought before
    BLOCKED = "blocked"  # starts from a picture that will not come by itself


VERDICT_WORDS = {
    Verdict.NEW: "to buy",
    Verdict.RETRY: "failed for a passing reason: to try again",
    Verdict.DUPLICATE: "equal to another task: bought once, delivered to each",
    Verdict.DONE: "done already",
    Verdict.RENDER: "to render, free: done, with another path, post or checks now",
    Verdict.DELIVER: "paid already: delivered again at no cost",
    Verdict.IN_FLIGHT: "in flight at the provider: followed at no cost",
    Verdict.UNKNOWN: "outcome unknown: the provider is asked, nothing is bought",
    Verdict.CHANGED: "changed since they were bought: not bought again without --changed",
    Verdict.FAILED: "refused for good",
    Verdict.SUSPECT: "paid, but not what was asked for",
    Verdict.LOST: "paid and lost",
    Verdict.WAITING: "wait for the edit they start from: bought as soon as it is done",
    Verdict.UNAPPROVED: "wait for approval of the edit they start from: not bought before, not in the quote",
    Verdict.BLOCKED: "start from an edit that is not done, and is not bought here: not bought before it is done",
}
"""What each means for a run, as a plan says it of a number of tasks."""


BUYING = frozenset({Verdict.NEW, Verdict.RETRY, Verdict.WAITING})
"""Verdicts that cost money."""

UNBOUGHT = BUYING | {Verdict.UNAPPROVED, Verdict.BLOCKED}
"""Verdicts that cost money now or, as it is meant, later."""


def judge(
    *,
    state: State | None,
    retryable: bool,
    changed: bool,
    accept_changed: bool,
    delivered: bool,
    renamed: bool = False,
) -> Verdict:
    """
    The verdict on one task, if no other one of the manifest wants the same request.

    Args:
        state: Of its request in the ledger, None if the ledger does not know the request.
        retryable: For a failed request: the reason may pass.
        changed: The slot was bought with other content.
        accept_changed: The user agreed to buy changed tasks again.
        delivered: All its files are where they should be.
        renamed: They are all there, but under other names than are wanted now, or made with another recipe.
    """
    if state is State.DONE:
        if renamed:
            return Verdict.RENDER
        return Verdict.DONE if delivered else Verdict.DELIVER
    if state in (State.ACCEPTED, State.FETCHING):
        return Verdict.IN_FLIGHT
    if state in (State.UNKNOWN, State.SENDING):
        return Verdict.UNKNOWN
    if state is State.SUSPECT:
        return Verdict.SUSPECT
    if state is State.LOST:
        return Verdict.LOST
    if state is State.FAILED and not retryable:
        return Verdict.FAILED
    if changed and not accept_changed:
        return Verdict.CHANGED
    return Verdict.RETRY if state is State.FAILED else Verdict.NEW


_FIELDS = ("model", "prompt", "images", "mask", "quality", "size", "format", "samples", "revision")


def what_changed(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """Which parts of a request differ, in words, from its stored content; empty if none does."""
    return ", ".join(name for name in _FIELDS if _content(old.get(name)) != _content(new.get(name)))


def _content(value: object) -> object:
    """A picture counts by its identity, not by where it lies."""
    if isinstance(value, dict):
        return value.get("id")
    if isinstance(value, list):
        return [_content(entry) for entry in value]
    return value


@dataclass(slots=True, kw_only=True)
class Part:
    """
    What the tasks of one group come to.

    Attributes:
        tasks: All of them, whatever becomes of them.
        purchases: Requests that would be bought for them.
        pictures: How many pictures that would be.
        quote: For those.
    """

    tasks: int = 0
    purchases: int = 0
    pictures: int = 0
    quote: Quote = field(default_factory=lambda: Quote(low=ZERO, high=ZERO))

    def add(self, verdict: Verdict, quote: Quote, pictures: int) -> None:
        """Count one task."""
        self.tasks += 1
        if verdict in BUYING:
            self.purchases += 1
            self.pictures += pictures
            self.quote += quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """
    Consent to a plan that was saved.

    Attributes:
        digest: Of what it says; runs of it are known by this.
        high: What all runs of it together may cost, in micro-dollars.
    """

    digest: str
    high: MicroUSD


_SHOWN = 20


@dataclass(slots=True, kw_only=True)
class PlanFigures:
    """
    A plan in numbers.

    Attributes:
        counts: Tasks by verdict.
        quote: For everything that would be bought.
        pictures: How many pictures that would be.
        later: For everything that waits for approval; no part of `quote`.
        changed: Some of the changed tasks, with what has changed.
        changed_fields: In how many changed tasks each field has changed.
        failed: Some of the tasks that failed, with the reason.
        by: Name of a label, or ``edit``, ``quality``, ... -> value -> what its tasks come to.
        capped: (label or ``edit``, value) of each budget of its own -> the high quote of what is to be bought for it.
        orphans: Tasks that earlier runs of this manifest wanted and that it does not hold any more. Nothing is done
            about them.
        orphan_slots: Some of them.
        reedits: Tasks whose prompt is that of a re-edit, and not the manifest's.
        reedit_prompts: Some of them: (slot, revision, prompt).
        resumed: Those of them that an earlier run has begun, and this one goes on with.
        located: Local pictures that say where they were taken.
        dearest: The highest price of one request that would be bought, in micro-dollars; `dearest_place` is its row's.
        forecast: Time and room; None if the tasks were not looked at.
        seals: Digests over all tasks in order, by what of them: ``wanted`` (the requests), ``quotes``, ``standing``
            (the verdicts). Empty if the tasks were not looked at.
    """

    counts: Counter[Verdict] = field(default_factory=Counter)
    quote: Quote = field(default_factory=lambda: Quote(low=ZERO, high=ZERO))
    pictures: int = 0
    later: Quote = field(default_factory=lambda: Quote(low=ZERO, high=ZERO))
    changed: list[tuple[str, tuple[Difference, ...]]] = field(default_factory=list)
    changed_fields: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    by: dict[str, dict[str, Part]] = field(default_factory=dict)
    capped: Counter[tuple[str, str]] = field(default_factory=Counter)
    orphans: int = 0
    orphan_slots: list[str] = field(default_factory=list)
    reedits: int = 0
    reedit_prompts: list[tuple[str, int, str]] = field(default_factory=list)
    resumed: int = 0
    located: int = 0
    dearest: MicroUSD = ZERO
    dearest_place: str = ""
    forecast: Forecast | None = None
    seals: dict[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> int:
        """All tasks of the manifest."""
        return self.counts.total()

    @property
    def purchases(self) -> int:
        """Requests that would be bought."""
        return sum(self.counts[verdict] for verdict in BUYING)

    def add_orphan(self, slot: str) -> None:
        """Count a task that the manifest does not hold any more."""
        self.orphans += 1
        if len(self.orphan_slots) < _SHOWN:
            self.orphan_slots.append(slot)

    def add_reedit(self, slot: str, revision: int, prompt: str) -> None:
        """Count a task whose prompt is that of a re-edit."""
        self.reedits += 1
        if len(self.reedit_prompts) < _SHOWN:
            self.reedit_prompts.append((slot, revision, prompt))

    def add(self, verdict: Verdict, quote: Quote, pictures: int) -> None:
        """Count one task."""
        self.counts[verdict] += 1
        if verdict in BUYING:
            self.quote += quote
            self.pictures += pictures
        elif verdict is Verdict.UNAPPROVED:
            self.later += quote
