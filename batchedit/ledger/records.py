"""Rows of the ledger as values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from batchedit.keys import from_spec
from batchedit.lifecycle import State
from batchedit.model import CostBasis, Quote, Raw, Request
from batchedit.money import ZERO, MicroUSD
from batchedit.recipe import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """
    A request as the ledger knows it.

    Attributes:
        generation: How often a new run was wanted on purpose; starts at 1.
        counted: Attempts so far that count against the retry limit.
        not_before: ISO time before which it shall not be sent, None for at once.
        tried: There has been an attempt.
        labels: Of the task that bears the cost.
        edit: Likewise.
    """

    request: Request
    state: State
    quote: Quote
    client_ref: str
    generation: int
    counted: int
    not_before: str | None
    buyer_slot: str
    tried: bool
    labels: Mapping[str, str]
    edit: str

    @property
    def key(self) -> str:
        """The request's key."""
        return self.request.key

    @classmethod
    def read(cls, row: sqlite3.Row) -> RequestRow:
        """From a row of the table `requests`."""
        return cls(
            request=from_spec(row["key"], row["spec"]),
            state=State(row["state"]),
            quote=Quote(low=MicroUSD(row["quote_low_microusd"]), high=MicroUSD(row["quote_high_microusd"])),
            client_ref=row["client_ref"],
            generation=row["generation"],
            counted=row["counted"],
            not_before=row["not_before"],
            buyer_slot=row["buyer_slot"],
            tried=bool(row["tried"]),
            labels=json.loads(row["buyer_labels"] or "{}"),
            edit=row["buyer_edit"] or "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    One try at getting a request accepted and finished.

    Attributes:
        number: Starts at 1 for each request.
        scope: Where it was sent; only there can it be followed or asked about.
        key_print: Fingerprint of the key that sent it.
        findable: True if the provider's list knows our reference for it.
        reserved: The worst price, held while the attempt is open.
        provider_run_id: The provider's own id, None until accepted and in forms without one.
        answer_file: Digest of a stored answer that cannot be asked for again, None without one.
    """

    id: int
    key: str
    number: int
    scope: str
    key_print: str
    findable: bool
    generation: int
    idempotency_key: str
    body_sha256: str
    reserved: MicroUSD
    started_at: str
    provider_run_id: str | None = None
    answer_file: str | None = None

    @classmethod
    def read(cls, row: sqlite3.Row) -> Attempt:
        """From a row of the table `attempts`."""
        return cls(
            id=row["id"],
            key=row["request_key"],
            number=row["number"],
            scope=row["scope"],
            key_print=row["key_print"],
            findable=bool(row["findable"]),
            generation=row["generation"],
            idempotency_key=row["idempotency_key"],
            body_sha256=row["body_sha256"],
            reserved=MicroUSD(row["reserved_microusd"]),
            started_at=row["started_at"],
            provider_run_id=row["provider_run_id"],
            answer_file=row["answer_file"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """
    What an attempt cost.

    Attributes:
        cost: Micro-dollars.
        basis: ``reported`` by the provider, ``computed`` from the price list, ``assumed`` at the worst price when it
            was written off, or ``none`` when nothing is known to have been sold.
        doubt: How much more it may turn out to be; only where the provider reported nothing.
    """

    cost: MicroUSD = ZERO
    basis: CostBasis = "none"
    doubt: MicroUSD = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """What further runs of one request cost that nobody wanted, and how much more they may cost; micro-dollars."""

    cost: MicroUSD = ZERO
    doubt: MicroUSD = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """
    What is kept of an answer that brought no picture, or of a call that got none.

    Attributes:
        message: Redacted before it gets here.
        phase: How far a call got that was not answered; empty if it was.
    """

    message: str = ""
    code: str = ""
    http_status: int | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A provider's rate limit in edits per minute as it was learnt, and how often it was found again."""

    per_minute: float
    confidence: int


@dataclass(frozen=True, slots=True)
class Digest:
    """
    A picture on this machine as it was when it was read.

    Attributes:
        path: Absolute.
        modified_ns: Time of the last change of its content, in nanoseconds as the file system tells it.
        changed_ns: Time of the last change of anything about it, which no program can set.
        sha256: Of its bytes, hex.
        format: That its first bytes announce.
        located: 1 if it says where it was taken, 0 if not, None if nobody has looked.
    """

    path: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    sha256: str
    format: str
    located: int | None

    def row(self) -> tuple[str, int, int, int, int, str, str, int | None]:
        """Its fields, in order."""
        return (
            self.path, self.size_bytes, self.modified_ns, self.changed_ns, self.inode, self.sha256, self.format,
            self.located,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """
    A task as the ledger knows it.

    Attributes:
        paths: Where its pictures shall go, one per sample, relative to the output folder.
        place: File and line of its item, as text.
        recipe: Digest of what its files are made with; empty to deliver the raws as they are.
        upstream: Slot of the task whose picture it starts from; empty if it starts from none.
        was: Slot that it was called before its row was renamed, for recording it; empty if it was not.
    """

    slot: str
    item_id: str
    edit: str
    variant: str
    key: str
    labels: Mapping[str, str]
    paths: tuple[str, ...]
    place: str
    tags: tuple[str, ...] = ()
    recipe: str = ""
    upstream: str = ""
    was: str = ""

    @classmethod
    def read(cls, row: sqlite3.Row, *, key: str | None = None) -> TaskRow:
        """From a row of the table `tasks`, or of `waiting` with the key that it has got."""
        return cls(
            slot=row["slot"],
            item_id=row["item_id"],
            edit=row["edit"],
            variant=row["variant"],
            key=row["request_key"] if key is None else key,
            labels=json.loads(row["labels"]),
            paths=tuple(json.loads(row["paths"])),
            place=row["place"],
            tags=tuple(json.loads(row["tags"])),
            recipe=row["recipe"],
            upstream=row["upstream"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """
    A task that starts from a picture which is not there yet, or not approved.

    Attributes:
        request: What it will be, with a placeholder for that picture.
        upstream: Slot of the task that it starts from.
        gate: ``done`` or ``approved``: what that task must be.
    """

    task: TaskRow
    request: Request
    quote: Quote
    upstream: str
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """
    What a person has said about a task's pictures.

    Attributes:
        key: The request that brought them.
        verdict: ``approved`` or ``rejected``; ``undecided`` takes back what was said before.
        reason: One of a few words, such as ``halo``; may be empty.
        note: Free text; may be empty.
        who: May be empty.
        files: Which files were looked at, if they are not those that lie there now; empty if they are.
    """

    slot: str
    key: str
    verdict: str
    reason: str = ""
    note: str = ""
    who: str = ""
    files: str = field(default="", compare=False)

    @classmethod
    def read(cls, row: sqlite3.Row) -> Decision:
        """From a row of the table `decisions`."""
        return cls(
            slot=row["slot"],
            key=row["request_key"],
            verdict=row["verdict"],
            reason=row["reason"],
            note=row["note"],
            who=row["who"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    """A decision with its number in the ledger and its time (ISO, UTC)."""

    id: int
    at: str
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """
    How somebody wants a task's pictures made again. Buys nothing.

    Attributes:
        key: The request that brought them.
        prompt: All of the new prompt; empty leaves it to whoever buys.
        note: What is wrong with them; may be empty.
        who: May be empty.
    """

    slot: str
    key: str
    prompt: str = ""
    note: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """
    What somebody who saw the variants of an item side by side, without their names, has said.

    Attributes:
        shown: (slot, request key) of each, in the order of the sides.
        outcome: ``won``, ``tie``, or ``undone``, which takes back what was said before.
        winner: Slot of the best one; empty if none won.
        who: May be empty.
    """

    item_id: str
    edit: str
    shown: tuple[tuple[str, str], ...]
    outcome: str
    winner: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """
    Another prompt than the manifest's for a task: what a re-edit has put in its place.

    Attributes:
        revision: That the task is bought as.
        prompt: None: the manifest's own again.
        base: The manifest's prompt at that time. If it says something else by now, that counts.
        replaces: Key of the request that the task had before.
    """

    revision: int
    prompt: str | None
    base: str
    replaces: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """
    A task with pictures, for somebody who is to look at them.

    Attributes:
        key: The request that brought them.
        path: Of the first one, relative to the output folder.
        decision: What was last said about them, None if nothing was.
    """

    slot: str
    item_id: str
    edit: str
    variant: str
    key: str
    path: str
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow:
    """
    A delivered file.

    Attributes:
        number: Counts the task's samples from 1.
        planned: The path that the manifest asked for, relative to the output folder.
        path: The path it has; differs from `planned` when the provider sent another format.
        path_key: `path` as a file system that folds case and width sees it.
        recipe: Digest of what it was made with; empty for a raw as it is.
        findings: What its checks have found, when it is delivered; None leaves what the ledger has of that.
    """

    slot: str
    number: int
    planned: str
    path: str
    path_key: str
    key: str
    sha256: str
    recipe: str = ""
    findings: tuple[Finding, ...] | None = None

    @classmethod
    def read(cls, row: sqlite3.Row) -> OutputRow:
        """From a row of the table `outputs`."""
        return cls(
            slot=row["slot"],
            number=row["number"],
            planned=row["planned"],
            path=row["path"],
            path_key=row["path_key"],
            key=row["request_key"],
            sha256=row["sha256"],
            # A ledger of an older version has none, and is only read there.
            recipe=row["recipe"] if "recipe" in row.keys() else "",  # noqa: SIM118  a row is no mapping
        )


def read_raw(row: sqlite3.Row) -> Raw:
    """A kept picture, from a row of the table `raws`."""
    return Raw(
        number=row["number"],
        sha256=row["sha256"],
        format=row["format"],
        width=row["width"],
        height=row["height"],
        size_bytes=row["size_bytes"],
        trailing_bytes=row["trailing_bytes"] if "trailing_bytes" in row.keys() else 0,  # noqa: SIM118  as above
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    Where a request stands, for the planner.

    Attributes:
        retryable: For a failed one: a later run may well succeed.
        bought: True if money was or may have been spent on it.
    """

    state: State
    retryable: bool
    reason: str

    @property
    def bought(self) -> bool:
        """True if money was, or may have been, spent on it."""
        return self.state not in (State.PENDING, State.FAILED)
