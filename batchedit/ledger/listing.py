"""One task after the other as the ledger knows it, for lists, selections and a close look at one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from batchedit.ledger.adding import MADE_ANEW
from batchedit.ledger.lineage import LedgerLineage
from batchedit.ledger.waiting import has_table
from batchedit.lifecycle import State
from batchedit.money import MicroUSD
from batchedit.recipe import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTask:
    """
    A task with where its request stands; amounts in micro-dollars. A `selectors.Candidate`.

    Attributes:
        place: File and line of its row, as text.
        paths: Where its pictures shall go.
        key: Of the request that serves it; empty as long as it waits for another task's picture.
        state: Of that request; None as long as it waits.
        shared: Another task bears the request's cost.
        cost: What its request has cost; 0 if it is shared.
        at_risk: What may still be billed for it; 0 if it is shared.
        attempts: At its request.
        delivered: How many files lie at their paths as far as the ledger knows.
        runs: Numbers of the runs that wanted it last or tried its request.
        is_in_last: The last run is one of them.
        review: What a person has said about the pictures that it has: ``approved``, ``rejected``, ``none``.
        review_reason: Why; may be empty.
        recipe: Digest of what its files shall be made with; empty to deliver what was bought as it is.
        checks: (name, verdict) of the checks of its files that were not passed.
        start: What has become of the picture that it started from, in the words of `lineage.STARTS`; empty if that
            still counts, or somebody has approved this one since.
        is_anew: Its files were made anew, and are others, since somebody decided about them.
    """

    slot: str
    id: str
    edit: str
    variant: str
    labels: Mapping[str, str]
    tags: tuple[str, ...]
    place: str
    paths: tuple[str, ...]
    revision: int
    created_at: str
    key: str
    state: State | None
    code: str
    reason: str
    retryable: bool
    model: str
    quality: str
    size: str
    format: str
    shared: bool
    cost: MicroUSD
    at_risk: MicroUSD
    attempts: int
    delivered: int
    runs: frozenset[int]
    is_in_last: bool
    review: str
    review_reason: str
    recipe: str = ""
    checks: tuple[tuple[str, str], ...] = ()
    start: str = ""
    is_anew: bool = False

    @property
    def status(self) -> str:
        """The state of its request; ``waiting`` without one."""
        return "waiting" if self.state is None else str(self.state)

    @property
    def verdict(self) -> str | None:
        """None: a verdict needs the manifest."""
        return None

    @property
    def line(self) -> int | None:
        """The line of its row, None where there are no lines."""
        return line_in(self.place)

    def in_run(self, number: int | None) -> bool:
        """True if this run worked on it; None is the last one."""
        return self.is_in_last if number is None else number in self.runs


def line_in(place: str) -> int | None:
    """The line that a place names, such as 12 in ``jobs.csv:12:3``; None without one."""
    numbers: list[int] = []
    for part in reversed(place.split(":")[1:]):
        if len(numbers) == 2 or not (part.isascii() and part.isdecimal()):
            break
        numbers.append(int(part))
    return numbers[-1] if numbers else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAttempt:
    """
    One try at one of a task's requests; amounts in micro-dollars, times as kept.

    Attributes:
        outcome: None while it is open.
        surplus: What further runs of it have cost that nobody wanted.
        at_risk: What may still be billed for it.
        pictures: Kept from it.
    """

    key: str
    revision: int
    number: int
    run_id: int
    started_at: str
    accepted_at: str | None
    ended_at: str | None
    outcome: str | None
    provider_run_id: str | None
    http_status: int | None
    code: str
    message: str
    cost: MicroUSD
    basis: str
    surplus: MicroUSD
    at_risk: MicroUSD
    pictures: int


_WAITING = (
    "SELECT waiting.*, requests.state AS upstream_state FROM waiting LEFT JOIN tasks ON tasks.slot = waiting.upstream"
    " LEFT JOIN requests ON requests.key = tasks.request_key"
    # One that was bought before, from an older picture, is listed with what it has.
    " WHERE NOT EXISTS (SELECT 1 FROM tasks AS had WHERE had.slot = waiting.slot)"
)
_RISK = "doubt_microusd + surplus_doubt_microusd + CASE WHEN outcome IS NULL THEN reserved_microusd ELSE 0 END"
_TASKS = (
    "SELECT tasks.*, requests.state, requests.reason, requests.code, requests.retryable, requests.buyer_slot,"
    " requests.model, requests.quality, requests.size, requests.format,"
    " (SELECT count(*) FROM outputs WHERE outputs.slot = tasks.slot) AS delivered,"
    " (SELECT count(*) FROM attempts WHERE attempts.request_key = requests.key) AS attempts,"
    " (SELECT coalesce(sum(cost_microusd + surplus_microusd), 0) FROM attempts"
    "  WHERE attempts.request_key = requests.key) AS cost,"
    f" (SELECT coalesce(sum({_RISK}), 0) FROM attempts WHERE attempts.request_key = requests.key) AS at_risk,"
    " (SELECT group_concat(DISTINCT run_id) FROM attempts WHERE attempts.request_key = requests.key) AS tried_by"
)
_OF_TASKS = " FROM tasks JOIN requests ON requests.key = tasks.request_key"
_REVIEWS = ", " + ", ".join(
    f"(SELECT CASE verdict WHEN 'undecided' THEN NULL ELSE {column} END FROM decisions"
    f" WHERE decisions.slot = tasks.slot AND decisions.request_key = tasks.request_key"
    f" ORDER BY decisions.id DESC LIMIT 1) AS review{suffix}"
    for column, suffix in (("verdict", ""), ("reason", "_reason"))
)
_NO_REVIEWS = ", '[]' AS tags, NULL AS review, NULL AS review_reason"
_ANEW = (
    f", coalesce((SELECT {MADE_ANEW} FROM decisions WHERE decisions.slot = tasks.slot"
    " AND decisions.request_key = tasks.request_key ORDER BY decisions.id DESC LIMIT 1), 0) AS is_anew"
)
_UNMET = (
    ", (SELECT group_concat(name || ':' || verdict) FROM checks WHERE checks.slot = tasks.slot"
    " AND verdict <> 'passed') AS unmet"
)


class LedgerListing(LedgerLineage):
    """The questions of lists; `reader.Ledger` answers them."""

    @cached_property
    def _reviews(self) -> bool:
        """False for a ledger of an older version, which is only read here: it has no verdicts, tags, nor chains."""
        return has_table(self._connection, "decisions")

    @cached_property
    def _listing(self) -> str:
        unmet = _UNMET if has_table(self._connection, "checks") else ", NULL AS unmet"
        anew = _ANEW if self.has_lineage else ", 0 AS is_anew"
        return _TASKS + (_REVIEWS if self._reviews else _NO_REVIEWS) + unmet + anew + _OF_TASKS

    def last_run(self) -> int:
        """The number of the last run, 0 if there was none."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()[0])

    def last_decision(self) -> int:
        """The number of the last verdict on a picture, 0 if there was none."""
        if not self._reviews:
            return 0
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM decisions").fetchone()[0])

    def listed(self) -> Iterator[ListedTask]:
        """All tasks, in the order in which they were first recorded; those that wait for another one's picture last."""
        last = self.last_run()
        for row in self._connection.execute(f"{self._listing} ORDER BY tasks.rowid"):
            yield self._listed(row, last)
        if self._reviews:
            for row in self._connection.execute(f"{_WAITING} ORDER BY waiting.rowid"):
                yield _listed_waiting(row, last)

    def listed_task(self, slot: str) -> ListedTask | None:
        """One task, None if the ledger does not know it."""
        row = self._connection.execute(f"{self._listing} WHERE tasks.slot = ?", (slot,)).fetchone()
        if row is not None:
            return self._listed(row, self.last_run())
        row = self._one_waiting(slot)
        return None if row is None else _listed_waiting(row, self.last_run())

    def _listed(self, row: sqlite3.Row, last: int) -> ListedTask:
        start = self.start_of(row["slot"]) if self.has_lineage and row["upstream"] else None
        return _listed(row, last, "" if start is None else start.what)

    def unmet_checks(self) -> list[tuple[str, str, int, str]]:
        """(check, ``warned`` or ``failed``, how many tasks, slot of one of them), the worst first."""
        if not has_table(self._connection, "checks"):
            return []
        rows = self._connection.execute(
            "SELECT name, checks.verdict, count(DISTINCT slot), min(slot) FROM checks JOIN tasks USING (slot)"
            " WHERE checks.verdict <> 'passed' GROUP BY name, checks.verdict ORDER BY checks.verdict, 3 DESC, name"
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def checks_of(self, slot: str) -> list[Finding]:
        """What was found about a task's files, in the order of pictures and names."""
        if not has_table(self._connection, "checks"):
            return []
        rows = self._connection.execute(
            "SELECT name, verdict, measured, wanted FROM checks WHERE slot = ? ORDER BY number, name", (slot,)
        )
        return [Finding(**dict(row)) for row in rows]

    def recipe(self, task: ListedTask) -> dict[str, Any]:
        """What is bought for a task, as in `keys.to_spec`; with a placeholder for a picture that it waits for."""
        sql, name = "SELECT spec FROM requests WHERE key = ?", task.key
        if not task.key:
            sql, name = "SELECT spec FROM waiting WHERE slot = ?", task.slot
        spec: dict[str, Any] = json.loads(self._connection.execute(sql, (name,)).fetchone()["spec"])
        return spec

    def _one_waiting(self, slot: str) -> sqlite3.Row | None:
        if not self._reviews:
            return None
        row: sqlite3.Row | None = self._connection.execute(f"{_WAITING} AND waiting.slot = ?", (slot,)).fetchone()
        return row

    def slots_of(self, item_id: str) -> list[str]:
        """The tasks of an item."""
        sql = "SELECT slot FROM {} WHERE item_id = ? ORDER BY rowid"
        tables = ("tasks", "waiting") if self._reviews else ("tasks",)
        rows = [row for table in tables for row in self._connection.execute(sql.format(table), (item_id,))]
        return list(dict.fromkeys(row["slot"] for row in rows))

    def history(self, slot: str, key: str) -> list[PastAttempt]:
        """All attempts at a task's request and at those that it has had and paid for before, oldest first."""
        rows = self._connection.execute(
            f"SELECT attempts.*, requests.revision, {_RISK} AS at_risk, (SELECT count(*) FROM raws WHERE"
            " raws.request_key = attempts.request_key AND raws.attempt_id = attempts.id) AS pictures"
            " FROM attempts JOIN requests ON requests.key = attempts.request_key"
            " WHERE requests.key IN (SELECT key FROM requests WHERE buyer_slot = ? UNION SELECT ?)"
            " ORDER BY attempts.id",
            (slot, key),
        )
        return [
            PastAttempt(
                key=row["request_key"],
                revision=row["revision"],
                number=row["number"],
                run_id=row["run_id"],
                started_at=row["started_at"],
                accepted_at=row["accepted_at"],
                ended_at=row["ended_at"],
                outcome=row["outcome"],
                provider_run_id=row["provider_run_id"],
                http_status=row["http_status"],
                code=row["code"],
                message=row["message"],
                cost=MicroUSD(row["cost_microusd"]),
                basis=row["cost_basis"],
                surplus=MicroUSD(row["surplus_microusd"]),
                at_risk=MicroUSD(row["at_risk"]),
                pictures=row["pictures"],
            )
            for row in rows
        ]


def _listed(row: sqlite3.Row, last: int, start: str) -> ListedTask:
    tried = frozenset(int(number) for number in (row["tried_by"] or "").split(",") if number)
    runs = tried | {row["wanted_by"]}
    shared = row["slot"] != row["buyer_slot"]
    return ListedTask(
        slot=row["slot"],
        id=row["item_id"],
        edit=row["edit"],
        variant=row["variant"],
        labels=json.loads(row["labels"]),
        tags=tuple(json.loads(row["tags"])),
        place=row["place"],
        paths=tuple(json.loads(row["paths"])),
        revision=row["revision"],
        created_at=row["created_at"],
        key=row["request_key"],
        state=State(row["state"]),
        code=row["code"],
        reason=row["reason"],
        retryable=bool(row["retryable"]),
        model=row["model"],
        quality=row["quality"],
        size=row["size"],
        format=row["format"],
        shared=shared,
        cost=MicroUSD(0 if shared else row["cost"]),
        at_risk=MicroUSD(0 if shared else row["at_risk"]),
        attempts=row["attempts"],
        delivered=row["delivered"],
        runs=runs,
        is_in_last=last in runs,
        review=row["review"] or "none",
        review_reason=row["review_reason"] or "",
        recipe=row["recipe"] if "recipe" in row.keys() else "",  # noqa: SIM118  a row is no mapping
        checks=pairs_in(row["unmet"]),
        start=start,
        is_anew=bool(row["is_anew"]),
    )


def pairs_in(text: str | None) -> tuple[tuple[str, str], ...]:
    """(name, verdict) of each check, from `name:verdict,name:verdict`."""
    pairs = (each.partition(":") for each in (text or "").split(",") if each)
    return tuple(sorted({(name, verdict) for name, _, verdict in pairs}))


def _listed_waiting(row: sqlite3.Row, last: int) -> ListedTask:
    spec, upstream = json.loads(row["spec"]), row["upstream"]
    approval = row["gate"] == "approved" and row["upstream_state"] == State.DONE
    return ListedTask(
        slot=row["slot"],
        id=row["item_id"],
        edit=row["edit"],
        variant=row["variant"],
        labels=json.loads(row["labels"]),
        tags=tuple(json.loads(row["tags"])),
        place=row["place"],
        paths=tuple(json.loads(row["paths"])),
        revision=spec["revision"],
        created_at=row["created_at"],
        key="",
        state=None,
        code="",
        reason=f"waits for approval of {upstream}" if approval else f"waits for {upstream}",
        retryable=True,
        model=spec["model"],
        quality=spec["quality"],
        size=spec["size"],
        format=spec["format"],
        shared=False,
        cost=MicroUSD(0),
        at_risk=MicroUSD(0),
        attempts=0,
        delivered=0,
        runs=frozenset({row["wanted_by"]}),
        is_in_last=last == row["wanted_by"],
        review="none",
        review_reason="",
    )
