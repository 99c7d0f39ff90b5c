"""What a run asks its own ledger while it is going on, through the writing connection."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from batchedit.ledger.digests import LedgerDigests
from batchedit.ledger.job_starts import LedgerJobs
from batchedit.ledger.periods import LedgerPeriods
from batchedit.ledger.records import Attempt, OutputRow, Pace, RequestRow, TaskRow, read_raw
from batchedit.lifecycle import State
from batchedit.model import Raw
from batchedit.money import MicroUSD

_TRIED = (
    "EXISTS (SELECT 1 FROM attempts WHERE request_key = requests.key) AS tried,"
    " (SELECT labels FROM tasks WHERE slot = buyer_slot) AS buyer_labels,"
    " (SELECT edit FROM tasks WHERE slot = buyer_slot) AS buyer_edit"
)


class LedgerReads(LedgerDigests, LedgerPeriods, LedgerJobs):
    """The questions; none of them changes anything."""

    _page_end: int | None = None
    """Requests with a later row were made while the run went on, by somebody who queues them himself."""

    queued_elsewhere: frozenset[str] = frozenset()
    """Keys of older requests that somebody else has queued, although `pending_after` may show them."""

    def pending_after(self, position: int, limit: int) -> list[tuple[int, RequestRow]]:
        """Up to `limit` pending requests of the current run, in the order of the manifest, after `position`."""
        rows = self._connection.execute(
            f"SELECT rowid AS position, *, {_TRIED} FROM requests"
            " WHERE state = 'pending' AND wanted_by = ? AND rowid > ? AND (? IS NULL OR rowid <= ?)"
            " ORDER BY rowid LIMIT ?",
            (self._run_id, position, self._page_end, self._page_end, limit),
        )
        return [(row["position"], RequestRow.read(row)) for row in rows]

    def request(self, key: str) -> RequestRow:
        """One request."""
        return RequestRow.read(self._one(f"SELECT *, {_TRIED} FROM requests WHERE key = ?", key))

    def open_attempts(self) -> list[tuple[RequestRow, Attempt]]:
        """Everything that is accepted, being fetched or unknown, from whichever run."""
        rows = self._connection.execute("SELECT * FROM attempts WHERE outcome IS NULL ORDER BY id").fetchall()
        return [(self.request(row["request_key"]), Attempt.read(row)) for row in rows]

    def open_attempt(self, key: str) -> Attempt | None:
        """The request's attempt that has not ended, None if there is none."""
        row = self._one_or_none("SELECT * FROM attempts WHERE request_key = ? AND outcome IS NULL", key)
        return None if row is None else Attempt.read(row)

    def paid_attempt(self, key: str) -> Attempt | None:
        """The attempt that brought the request's pictures, None if there is none."""
        row = self._one_or_none(
            "SELECT * FROM attempts WHERE request_key = ? AND outcome IN ('done', 'suspect', 'lost')"
            " ORDER BY number DESC LIMIT 1",
            key,
        )
        return None if row is None else Attempt.read(row)

    def is_wanted(self, key: str) -> bool:
        """True if the current run's manifest asks for this request."""
        row = self._one_or_none("SELECT 1 FROM requests WHERE key = ? AND wanted_by = ?", key, self._run_id)
        return row is not None

    def refused_body(self, key: str, generation: int) -> str | None:
        """
        Digest of the body last sent for this request under the generation's idempotency key, if it surely came to
        nothing; None if none was, or if nobody saw what became of it.
        """
        row = self._one_or_none(
            "SELECT body_sha256, outcome FROM attempts WHERE request_key = ? AND generation = ?"
            " ORDER BY number DESC LIMIT 1",
            key,
            generation,
        )
        return None if row is None or row["outcome"] in ("absent", "resent") else str(row["body_sha256"])

    def closed_run_ids(self, key: str) -> frozenset[str]:
        """The provider's run ids of this request's attempts that have ended."""
        rows = self._connection.execute(
            "SELECT provider_run_id FROM attempts WHERE request_key = ? AND outcome IS NOT NULL"
            " AND provider_run_id IS NOT NULL",
            (key,),
        )
        return frozenset(row["provider_run_id"] for row in rows)

    def tasks_of(self, key: str) -> list[TaskRow]:
        """The tasks that are served by this request; the one that bears the cost first."""
        rows = self._connection.execute(
            "SELECT tasks.* FROM tasks JOIN requests ON key = request_key WHERE request_key = ?"
            " ORDER BY slot <> buyer_slot, tasks.rowid",
            (key,),
        )
        return [TaskRow.read(row) for row in rows]

    def done_tasks(self) -> Iterator[TaskRow]:
        """The tasks of the current run whose request is done. Nothing may be written until the last one is taken."""
        rows = self._connection.execute(
            "SELECT tasks.* FROM tasks JOIN requests ON key = request_key"
            " WHERE tasks.wanted_by = ? AND state = 'done' ORDER BY tasks.rowid",
            (self._run_id,),
        )
        for row in rows:
            yield TaskRow.read(row)

    def done_among(self, slots: Iterable[str]) -> Iterator[TaskRow]:
        """Those of some tasks whose request is done."""
        for slot in slots:
            row = self._one_or_none(
                "SELECT tasks.* FROM tasks JOIN requests ON key = request_key WHERE slot = ? AND state = 'done'", slot
            )
            if row is not None:
                yield TaskRow.read(row)

    def raws_of(self, key: str) -> list[Raw]:
        """The kept pictures of a request, in order."""
        rows = self._connection.execute("SELECT * FROM raws WHERE request_key = ? ORDER BY number", (key,))
        return [read_raw(row) for row in rows]

    def states(self) -> Counter[State]:
        """Requests by state: those that the current run wants, and all that are open from earlier ones."""
        rows = self._connection.execute(
            "SELECT state, count(*) AS n FROM requests WHERE wanted_by = ?"
            " OR state IN ('sending', 'accepted', 'fetching', 'unknown') GROUP BY state",
            (self._run_id,),
        )
        counts = Counter(dict.fromkeys(State, 0))
        counts.update({State(row["state"]): row["n"] for row in rows})
        return counts

    def owns(self, path: str) -> bool:
        """True if a delivered file is listed under this path."""
        return self._one_or_none("SELECT 1 FROM outputs WHERE path = ?", path) is not None

    def outputs_of(self, slot: str) -> list[OutputRow]:
        """The delivered files of a task, in order."""
        rows = self._connection.execute("SELECT * FROM outputs WHERE slot = ? ORDER BY number", (slot,))
        return [OutputRow.read(row) for row in rows]

    def asset(self, scope: str, sha256: str) -> str | None:
        """The provider's asset that holds this content, None if it was never uploaded."""
        row = self._one_or_none("SELECT asset_id FROM uploads WHERE scope = ? AND sha256 = ?", scope, sha256)
        return None if row is None else str(row["asset_id"])

    def pace(self, scope: str) -> Pace | None:
        """The provider's rate limit as an earlier run has found it, None if none has."""
        row = self._one_or_none("SELECT per_minute, confidence FROM paces WHERE scope = ?", scope)
        return None if row is None else Pace(per_minute=row["per_minute"], confidence=row["confidence"])

    def at_risk(self) -> MicroUSD:
        """What may still be billed for anything in this ledger, whichever run it was."""
        row = self._one(
            "SELECT coalesce(sum(doubt_microusd + surplus_doubt_microusd"
            " + CASE WHEN outcome IS NULL THEN reserved_microusd ELSE 0 END), 0) AS amount FROM attempts"
        )
        return MicroUSD(row["amount"])

    def money_of_plan(self, plan: str) -> tuple[MicroUSD, MicroUSD, MicroUSD]:
        """
        What counts against the agreement to a saved plan: (spent, held, held by others).

        Spent are the costs of all runs of it. Held is whatever may still be billed for any open attempt in this ledger,
        and held by others the part of it that no run of the plan has begun.
        """
        spent = self._one(
            "SELECT coalesce(sum(cost_microusd + surplus_microusd), 0) AS cost,"
            " coalesce(sum(doubt_microusd + surplus_doubt_microusd), 0) AS doubt FROM attempts WHERE run_id IN"
            " (SELECT id FROM runs WHERE plan = ?)",
            plan,
        )
        held = self._one(
            "SELECT coalesce(sum(reserved_microusd), 0) AS held, coalesce(sum(CASE WHEN plan = ? THEN 0 ELSE"
            " reserved_microusd END), 0) AS others FROM attempts JOIN runs ON runs.id = run_id WHERE outcome IS NULL",
            plan,
        )
        return MicroUSD(spent["cost"]), MicroUSD(held["held"] + spent["doubt"]), MicroUSD(held["others"])

    def money_by_labels(self) -> Iterator[tuple[dict[str, str], str, MicroUSD, MicroUSD]]:
        """
        What `money` says, by the labels and the edit of the task that bears the cost: (labels, edit, spent, held).

        Nothing may be written until the last one is taken.
        """
        rows = self._connection.execute(
            "SELECT labels, edit, sum(in_chain * (cost_microusd + surplus_microusd)) AS spent,"
            " sum(in_chain * (doubt_microusd + surplus_doubt_microusd) + is_open * reserved_microusd) AS held FROM"
            " (SELECT *, outcome IS NULL AS is_open, run_id IN"
            "  (SELECT id FROM runs WHERE chain = (SELECT chain FROM runs WHERE id = ?)) AS in_chain FROM attempts)"
            " AS tries JOIN requests ON key = tries.request_key JOIN tasks ON slot = buyer_slot"
            " WHERE in_chain OR is_open GROUP BY labels, edit",
            (self._run_id,),
        )
        for row in rows:
            yield json.loads(row["labels"]), row["edit"], MicroUSD(row["spent"]), MicroUSD(row["held"])

    def money(self) -> tuple[MicroUSD, MicroUSD]:
        """
        What counts against the current run's budget: (spent, held).

        Spent are the costs of this run and of the interrupted ones that it continues: a crash does not refill a
        budget. Held is whatever may still be billed for any open attempt in this ledger.
        """
        spent = self._one(
            "SELECT coalesce(sum(cost_microusd + surplus_microusd), 0) AS cost, "
            " coalesce(sum(doubt_microusd + surplus_doubt_microusd), 0) AS doubt FROM attempts WHERE run_id IN"
            " (SELECT id FROM runs WHERE chain = (SELECT chain FROM runs WHERE id = ?))",
            self._run_id,
        )
        held = self._one("SELECT coalesce(sum(reserved_microusd), 0) AS held FROM attempts WHERE outcome IS NULL")
        return MicroUSD(spent["cost"]), MicroUSD(held["held"] + spent["doubt"])
