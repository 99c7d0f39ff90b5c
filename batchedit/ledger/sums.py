"""
Rows of the ledger that were added up for a report, as values. Amounts in micro-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchedit.lifecycle import State
from batchedit.model import Raw, Request
from batchedit.money import ZERO, MicroUSD

USES = ("useful", "superseded", "rejected", "suspect", "lost", "written off", "failed but billed", "open", "nothing")
"""What became of the money of an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostGroup:
    """
    Attempts that agree in everything a report groups by, and what they cost together. Amounts in micro-dollars.

    Attributes:
        run: Its number, with the ledger's name in front where there are several.
        minute: ISO minute (UTC) in which they ended, or began if they are open; or the first minute of a stretch.
        stretch: So many minutes long.
        labels: JSON of the labels of the task that bears the cost.
        tags: JSON of that task's tags.
        price_list: Version of the price list that the run quoted from.
        outcome: How they ended, ``open`` while they have not.
        use: One of `USES`.
        basis: Where the cost comes from.
        requests: How many of them are their request's first attempt, so that each request is counted once.
        pictures: Kept from them.
        at_risk: Reserved and not settled: may still be billed.
        doubt: How much more than `cost` it may have been: no price was named, or it was sent again.
        surplus: What further runs cost that nobody wanted; `surplus_doubt` is how much more they may have cost.
        quoted_low: What was quoted for those that bought something; `quoted_high` is the quote's other end.
    """

    minute: str
    run: str
    labels: str
    edit: str
    variant: str
    provider: str
    model: str
    quality: str
    size: str
    outcome: str
    use: str
    basis: str
    attempts: int
    requests: int
    pictures: int
    cost: MicroUSD
    at_risk: MicroUSD
    doubt: MicroUSD
    surplus: MicroUSD
    surplus_doubt: MicroUSD
    quoted_low: MicroUSD
    quoted_high: MicroUSD
    tags: str = "[]"
    price_list: str = ""
    stretch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroup:
    """
    Tasks that agree in everything a report groups by.

    Attributes:
        shared: They are delivered what another task has paid for.
        verdict: What was last said about their pictures: ``approved``, ``rejected`` or nothing.
        again: Their pictures are of a later revision than the first.
        before: Those that they had before were rejected.
        delivered: Pictures at their places.
        avoided: What shared ones would have cost on their own, at the price that was paid.
        reused: What those have cost that a later run wanted again and did not have to buy; `restored` likewise where it
            put the pictures at their places again.
    """

    labels: str
    edit: str
    variant: str
    provider: str
    model: str
    quality: str
    size: str
    state: State
    shared: bool
    verdict: str
    again: bool
    before: bool
    tasks: int
    delivered: int
    avoided: MicroUSD
    tags: str = "[]"
    reused: MicroUSD = ZERO
    restored: MicroUSD = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """
    Tasks with files of which a check has something to say.

    Attributes:
        verdict: ``warned`` or ``failed``.
        example: Slot of one of them.
    """

    name: str
    verdict: str
    tasks: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """
    Tasks that did not end well for one reason.

    Attributes:
        cost: Spent on them so far; `at_risk` is what may still be billed.
        first: When the first of them came to this state, ISO; `last` likewise.
        slots: The first few of them.
    """

    state: State
    code: str
    reason: str
    retryable: bool
    tasks: int
    cost: MicroUSD
    at_risk: MicroUSD
    first: str
    last: str
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """
    So many purchases of a quality took so many tenths of a second from sending to the pictures being here.

    Attributes:
        queued: They were not bought, but waited so long: from the moment when a run wanted a request (it was recorded,
            or the run began if it was known before) until the first attempt at it in that run was sent. Requests that
            were never sent are not among them.
    """

    quality: str
    tenths: int
    count: int
    queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dear:
    """What an item has cost: all its edits, variants and revisions together, surplus runs included."""

    item: str
    spent: MicroUSD
    requests: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """
    A task with its first picture, for a contact sheet.

    Attributes:
        request: What was bought, with where the input lay.
        raw: The kept picture; None if there is none.
        path: Where it was delivered, relative to the output folder; empty if it was not.
    """

    slot: str
    state: State
    verdict: str
    request: Request
    raw: Raw | None
    path: str
    cost: MicroUSD
