"""
What a run wants: its tasks, the requests they need, and the tasks whose request is not known yet.

A task that starts from another one's picture has no request before that picture is there, since its key depends on
the bytes. Until then it is kept in `waiting` with its recipe. When the picture comes, `release` turns it into a
request, in one step with whatever follows from that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from batchedit.keys import client_ref, from_spec, started_from, to_spec
from batchedit.ledger.choices import LedgerChoices
from batchedit.ledger.records import Override, RequestRow, TaskRow, WaitingRow, read_raw
from batchedit.ledger.waiting import waiting_by_reason
from batchedit.lifecycle import Event, State
from batchedit.model import Quote, Request
from batchedit.money import MicroUSD


@dataclass(slots=True)
class Released:
    """
    Tasks that wait no longer.

    Attributes:
        buys: Requests that nobody has queued yet.
        known: Slots of tasks whose request was known before; it may be done already.
        tasks: How many tasks there are in all.
    """

    buys: list[RequestRow] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    tasks: int = 0


class LedgerWanted(LedgerChoices):
    """Recording what is wanted."""

    _may_be_stale: bool | None = None

    def record_tasks(self, wanted: Iterable[tuple[TaskRow, Request, Quote]], *, provider: str) -> None:
        """
        Note the tasks of the current run and the requests they need; what is known already stays as it is.

        A task whose content has changed now points to its new request; the old request and its pictures stay.
        """
        now = self._effects.stamp()
        with self.transaction():
            if self._may_be_stale is None:
                self._may_be_stale = self._one_or_none("SELECT 1 FROM waiting LIMIT 1") is not None
            for task, request, quote in wanted:
                self._record(task, request, quote, provider, now)
                if self._may_be_stale:
                    self._connection.execute("DELETE FROM waiting WHERE slot = ?", (task.slot,))

    def record_overrides(self, overrides: Iterable[tuple[str, Override]]) -> None:
        """Note which tasks are wanted with another prompt than the manifest's from now on: (slot, what)."""
        now = self._effects.stamp()
        with self.transaction():
            for slot, override in overrides:
                self._override(slot, override, now)

    def record_waiting(self, waiting: Iterable[WaitingRow], *, provider: str) -> None:
        """Note tasks of the current run that start from a picture which is not there yet, or not approved."""
        now = self._effects.stamp()
        with self.transaction():
            for row in waiting:
                task = row.task
                self._connection.execute(
                    "INSERT OR REPLACE INTO waiting (slot, item_id, edit, variant, labels, tags, place, paths, recipe,"
                    " upstream, gate, provider, spec, quote_low_microusd, quote_high_microusd, wanted_by, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (task.slot, task.item_id, task.edit, task.variant, _json(dict(task.labels)), _json(task.tags),
                     task.place, _json(task.paths), task.recipe, row.upstream, row.gate, provider, to_spec(row.request),
                     row.quote.low, row.quote.high, self._run_id, now),
                )  # fmt: skip

    def release(self, key: str, raws: Path) -> Released:
        """
        Turn what waits for the pictures of a request into requests of its own, if that is done.

        A task whose request turns out to be done already releases in turn what waits for it.

        Args:
            raws: The folder of the kept pictures.
        """
        released, done, now = Released(), [key], self._effects.stamp()
        with self.transaction():
            for finished in done:
                first = self._one_or_none(
                    "SELECT raws.* FROM raws JOIN requests ON key = request_key"
                    " WHERE request_key = ? AND state = 'done' ORDER BY number LIMIT 1",
                    finished,
                )
                if first is None:
                    continue
                raw = read_raw(first)
                rows = self._connection.execute(
                    "SELECT waiting.* FROM tasks JOIN waiting ON waiting.upstream = tasks.slot"
                    " WHERE tasks.request_key = ? AND gate = 'done' AND waiting.wanted_by = ? ORDER BY waiting.rowid",
                    (finished, self._run_id),
                ).fetchall()
                for row in rows:
                    request = started_from(from_spec("", row["spec"]), raw.sha256, raws / raw.name)
                    quote = Quote(low=MicroUSD(row["quote_low_microusd"]), high=MicroUSD(row["quote_high_microusd"]))
                    if self._release_one(TaskRow.read(row, key=request.key), request, quote, row["provider"], now,
                                         released):  # fmt: skip
                        done.append(request.key)
        return released

    def anybody_waits(self) -> bool:
        """True if a task of the current run starts from a picture that is not there yet, or not approved."""
        return self._one_or_none("SELECT 1 FROM waiting WHERE wanted_by = ? LIMIT 1", self._run_id) is not None

    def waiting(self) -> dict[str, int]:
        """How many tasks of the current run wait, by what for; see `waiting_by_reason`."""
        return dict(waiting_by_reason(self._connection, self._run_id))

    def _release_one(
        self, task: TaskRow, request: Request, quote: Quote, provider: str, now: str, released: Released
    ) -> bool:
        """True if its request is done already."""
        if not released.tasks and self._page_end is None:
            # Requests that are made from here on are not met by `pending_after`: who releases them queues them.
            self._page_end = int(self._one("SELECT coalesce(max(rowid), 0) AS n FROM requests")["n"])
        released.tasks += 1
        known = self._one_or_none("SELECT state, retryable, wanted_by FROM requests WHERE key = ?", request.key)
        self._record(task, request, quote, provider, now)
        self._connection.execute("DELETE FROM waiting WHERE slot = ?", (task.slot,))
        state = State.PENDING if known is None else State(known["state"])
        if known is not None and state is State.FAILED and known["retryable"] and known["wanted_by"] != self._run_id:
            self._redo(request.key)
            state = State.PENDING
        if state is not State.PENDING:
            released.known.append(task.slot)
        elif known is None or known["wanted_by"] != self._run_id:
            released.buys.append(self.request(request.key))
            if known is not None:
                self.queued_elsewhere |= {request.key}
        return state is State.DONE

    def _record(self, task: TaskRow, request: Request, quote: Quote, provider: str, now: str) -> None:
        self._record_request(task, request, quote, provider, now)
        self._connection.execute(
            "INSERT INTO tasks (slot, item_id, edit, variant, request_key, labels, tags, place, paths, recipe,"
            " upstream, wanted_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (slot) DO"
            " UPDATE SET request_key = excluded.request_key, labels = excluded.labels, tags = excluded.tags,"
            " place = excluded.place, paths = excluded.paths, recipe = excluded.recipe, upstream = excluded.upstream,"
            " wanted_by = excluded.wanted_by",
            (task.slot, task.item_id, task.edit, task.variant, request.key, _json(dict(task.labels)),
             _json(task.tags), task.place, _json(task.paths), task.recipe, task.upstream, self._run_id, now),
        )  # fmt: skip
        if task.was:
            self._inherit(task.slot, task.was)

    def _inherit(self, slot: str, was: str) -> None:
        """What was said and done about a task under its former name holds on under the new one."""
        for table, columns in _SAID:
            same = " AND ".join(f"own.{name} IS old.{name}" for name in columns)
            self._connection.execute(
                f"INSERT INTO {table} (slot, {', '.join(columns)}) SELECT :slot, {', '.join(columns)} FROM {table}"
                f" AS old WHERE slot = :was AND NOT EXISTS (SELECT 1 FROM {table} AS own WHERE own.slot = :slot"
                f" AND {same}) ORDER BY id",
                {"slot": slot, "was": was},
            )
        self._connection.execute("UPDATE tasks SET was = '' WHERE slot = ? AND was = ?", (was, slot))
        self._connection.execute(
            "UPDATE tasks SET was = :was, revision = (SELECT revision FROM tasks AS old WHERE old.slot = :was)"
            " WHERE slot = :slot",
            {"slot": slot, "was": was},
        )

    def _record_request(self, task: TaskRow, request: Request, quote: Quote, provider: str, now: str) -> None:
        params = request.params
        self._connection.execute(
            "INSERT INTO requests (key, provider, model, quality, size, format, samples, revision, spec, buyer_slot,"
            " client_ref, quote_low_microusd, quote_high_microusd, wanted_by, created_at, changed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET wanted_by = excluded.wanted_by,"
            # A price or a place may have changed since; what was bought keeps the figures of its day.
            " spec = CASE state WHEN 'pending' THEN excluded.spec ELSE spec END,"
            " quote_low_microusd = CASE state WHEN 'pending' THEN excluded.quote_low_microusd"
            " ELSE quote_low_microusd END,"
            " quote_high_microusd = CASE state WHEN 'pending' THEN excluded.quote_high_microusd"
            " ELSE quote_high_microusd END",
            (request.key, provider, request.model, params.quality, params.size, params.format, params.samples,
             request.revision, to_spec(request), task.slot, client_ref(self.id, request.key), quote.low, quote.high,
             self._run_id, now, now),
        )  # fmt: skip

    def _redo(self, key: str) -> None:
        """failed -> pending, as a new intent to buy."""
        self._move(key, State.FAILED, Event.REDO, counted=0, not_before=None, reason="", code="")
        self._connection.execute("UPDATE requests SET generation = generation + 1 WHERE key = ?", (key,))


_SAID = (
    ("decisions", ("request_key", "decided_at", "verdict", "reason", "note", "who", "files")),
    ("wishes", ("request_key", "wished_at", "prompt", "note", "who")),
    ("overrides", ("at", "revision", "prompt", "base_prompt", "replaces")),
)
"""Tables of what is said and done about tasks, with all columns but the task's own."""


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
