"""
The ledger's writing side: one method per event, one transaction per method.

Write order, true at every instant:

1. an attempt is durable before its first byte is sent (`begin_attempt`);
2. a run id or a stored answer is durable before anything is interpreted (`accept`, `keep_answer`);
3. only files that are complete at their path are named (`finish`, `deliver`);
4. a request becomes done in the transaction that lists its pictures and settles its cost (`finish`);
5. removal goes the other way: row first, then file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from batchedit.errors import LedgerError, NothingSelected
from batchedit.keys import idempotency_key
from batchedit.ledger.job_starts import owner_of_this
from batchedit.ledger.records import Attempt, Bill, Note, OutputRow, Pace, RequestRow, Surplus, TaskRow
from batchedit.ledger.run_records import Reconciled, RunStart
from batchedit.ledger.wanted import LedgerWanted
from batchedit.lifecycle import Event, State
from batchedit.model import Raw
from batchedit.money import MicroUSD

INTERRUPTED = (None, 130, 143)
"""Exit codes of runs that were cut off: killed, or stopped by a signal. The next run continues them."""


class LedgerWriter(LedgerWanted):
    """The one writer of a ledger. Synchronous: nothing in it can be cancelled half-way."""

    # -- runs ------------------------------------------------------------------------------------------------

    def start_run(self, start: RunStart) -> int:
        """Note that a run begins, and return its id. It continues the last one if that was cut off, or is its pilot."""
        with self.transaction():
            last = self._one_or_none(
                "SELECT chain, exit_code, started_at FROM runs WHERE manifest = ? ORDER BY id DESC LIMIT 1",
                start.manifest,
            )
            cursor = self._connection.execute(
                "INSERT INTO runs (chain, started_at, manifest, provider, model, program, price_list, plan,"
                " budget_microusd, facts) VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._effects.stamp(), start.manifest, start.provider, start.model, start.program,
                 start.price_list, start.plan, start.budget, start.facts.text()),
            )  # fmt: skip
            run_id = int(cursor.lastrowid or 0)
            goes_on = last is not None and (
                last["exit_code"] in INTERRUPTED or (start.since != "" and last["started_at"] >= start.since)
            )
            chain = last["chain"] if last is not None and goes_on else run_id
            self._connection.execute("UPDATE runs SET chain = ? WHERE id = ?", (chain, run_id))
        self._run_id = run_id
        return run_id

    def begin_job(self, job: str, began: str) -> None:
        """Note that a job's start goes on in this process. It began at an ISO moment, or earlier if it was cut off."""
        with self.transaction():
            self._connection.execute(
                "INSERT INTO job_starts (job, at, event, owner) VALUES (?, ?, 'began', ?)",
                (job, self.open_start(job) or began, owner_of_this()),
            )

    def rejoin_run(self) -> int:
        """
        Go on with the last run, without noting a new one, and return its id. That it is reconciled is noted with it.

        Raises:
            NothingSelected: if there is none.
        """
        row = self._one_or_none("SELECT max(id) AS id FROM runs")
        if row is None or row["id"] is None:
            raise NothingSelected(f"the ledger {self.path} holds no run yet: there is nothing to settle")
        self._run_id = int(row["id"])
        self._note_reconciled(Reconciled(self._effects.stamp()))
        return self._run_id

    def end_reconciliation(self, exit_code: int) -> None:
        """Note how the reconciliation that began with `rejoin_run` ended."""
        row = self._one("SELECT facts FROM runs WHERE id = ?", self._run_id)
        began = json.loads(row["facts"])["reconciled"][0]
        self._note_reconciled(Reconciled(began, self._effects.stamp(), int(exit_code)))

    def _note_reconciled(self, reconciled: Reconciled) -> None:
        with self.transaction():
            row = self._one("SELECT facts FROM runs WHERE id = ?", self._run_id)
            facts = {**json.loads(row["facts"]), "reconciled": reconciled}
            self._connection.execute(
                "UPDATE runs SET facts = ? WHERE id = ?", (json.dumps(facts, ensure_ascii=False), self._run_id)
            )

    def end_run(self, exit_code: int, reason: str) -> None:
        """Note how the current run ended."""
        with self.transaction():
            self._connection.execute(
                "UPDATE runs SET ended_at = ?, exit_code = ?, stop_reason = ? WHERE id = ?",
                (self._effects.stamp(), exit_code, reason, self._run_id),
            )

    def settle(self, mark: str) -> None:
        """Note that nothing is left to do; holds until the ledger is opened for writing again."""
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('settled', ?)", (mark,))

    def wanted_paths(self) -> Iterator[str]:
        """Where the files of the current run's tasks were delivered."""
        rows = self._connection.execute(
            "SELECT path FROM outputs JOIN tasks USING (slot) WHERE wanted_by = ?", (self._run_id,)
        )
        for row in rows:
            yield row["path"]

    def wanted_tasks(self) -> int:
        """How many tasks the current run has."""
        return int(self._one("SELECT count(*) AS n FROM tasks WHERE wanted_by = ?", self._run_id)["n"])

    def redo_failed(self) -> int:
        """Queue again what failed for a passing reason and is wanted by the current run; returns how many."""
        with self.transaction():
            keys = [
                row["key"]
                for row in self._connection.execute(
                    "SELECT key FROM requests WHERE state = 'failed' AND retryable = 1 AND wanted_by = ?",
                    (self._run_id,),
                )
            ]
            for key in keys:
                self._redo(key)
        return len(keys)

    # -- attempts --------------------------------------------------------------------------------------------

    def begin_attempt(
        self,
        row: RequestRow,
        *,
        scope: str,
        key_print: str,
        findable: bool,
        generation: int,
        body_sha256: str,
        reserved: MicroUSD,
    ) -> Attempt:
        """
        pending -> sending. Durable when this returns, so that the first byte may go out.

        Args:
            row: The request.
            scope: Where it will be sent.
            key_print: Fingerprint of the key that will send it.
            findable: The provider's list will know our reference for it.
            generation: Decides the idempotency key; one more than the row's only if a new run is wanted on purpose.
            body_sha256: Of the exact bytes that will be sent.
            reserved: The worst price.
        """
        now = self._effects.stamp()
        token = idempotency_key(row.client_ref, generation)
        with self.transaction():
            last = self._one("SELECT coalesce(max(number), 0) AS n FROM attempts WHERE request_key = ?", row.key)
            self._move(row.key, State.PENDING, Event.BEGIN, generation=generation, not_before=None)
            cursor = self._connection.execute(
                "INSERT INTO attempts (request_key, number, run_id, scope, key_print, findable, generation,"
                " idempotency_key, body_sha256, reserved_microusd, started_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (row.key, last["n"] + 1, self._run_id, scope, key_print, int(findable), generation, token, body_sha256,
                 reserved, now),
            )  # fmt: skip
            return Attempt.read(self._one("SELECT * FROM attempts WHERE id = ?", cursor.lastrowid))

    def accept(self, attempt: Attempt, *, provider_run_id: str, answer: str) -> None:
        """sending -> accepted: the provider has it under this run id."""
        with self.transaction():
            self._move(attempt.key, State.SENDING, Event.ACCEPTED)
            self._connection.execute(
                "UPDATE attempts SET provider_run_id = ?, answer = ?, accepted_at = ? WHERE id = ?",
                (provider_run_id, answer, self._effects.stamp(), attempt.id),
            )

    def keep_answer(self, attempt: Attempt, *, answer: str | None, answer_file: str | None) -> None:
        """
        Note the answer that ends an attempt, before it is interpreted.

        sending -> accepted where the answer is the first sign of life (the synchronous form).
        """
        with self.transaction():
            state = self._one("SELECT state FROM requests WHERE key = ?", attempt.key)["state"]
            if state == State.SENDING:
                self._move(attempt.key, State.SENDING, Event.ACCEPTED)
            self._connection.execute(
                "UPDATE attempts SET answer = coalesce(?, answer), answer_file = coalesce(?, answer_file),"
                " accepted_at = coalesce(accepted_at, ?) WHERE id = ?",
                (answer, answer_file, self._effects.stamp(), attempt.id),
            )

    def retry(
        self,
        attempt: Attempt,
        event: Event,
        outcome: str,
        note: Note,
        *,
        not_before: str | None,
        counts: bool,
        bill: Bill | None = None,
    ) -> None:
        """sending or accepted -> pending: surely not bought, to be tried again."""
        with self.transaction():
            state = State.ACCEPTED if event is Event.PROVIDER_FAILED else State.SENDING
            self._end(attempt, outcome, note, bill)
            self._move(attempt.key, state, event, not_before=not_before, reason=note.message, code=note.code)
            self._connection.execute(
                "UPDATE requests SET counted = counted + ?, generation = generation + ? WHERE key = ?",
                # After a run that ended, a new one is wanted on purpose: the old key would replay the failed one.
                (int(counts), int(event is Event.PROVIDER_FAILED), attempt.key),
            )

    def fail(self, attempt: Attempt, outcome: str, note: Note, *, retryable: bool, bill: Bill | None = None) -> None:
        """sending or accepted -> failed: there is no picture, and the same thing would fail again now."""
        with self.transaction():
            state = State(self._one("SELECT state FROM requests WHERE key = ?", attempt.key)["state"])
            self._end(attempt, outcome, note, bill)
            self._move(attempt.key, state, Event.REFUSED, reason=note.message, code=note.code, retryable=int(retryable))

    def refuse(self, key: str, note: Note, *, retryable: bool) -> None:
        """pending -> failed without an attempt: it cannot even be sent, such as when its picture has changed."""
        with self.transaction():
            self._move(key, State.PENDING, Event.REFUSED, reason=note.message, code=note.code, retryable=int(retryable))

    def postpone(self, key: str, note: Note, *, not_before: str | None, counts: bool) -> None:
        """pending, but later: what an attempt needs could not be prepared now."""
        with self.transaction():
            self._connection.execute(
                "UPDATE requests SET not_before = ?, reason = ?, code = ?, counted = counted + ?"
                " WHERE key = ? AND state = 'pending'",
                (not_before, note.message, note.code, int(counts), key),
            )

    def note(self, attempt: Attempt, note: Note) -> None:
        """Write down why an open attempt does not get on; its state stays."""
        with self.transaction():
            self._connection.execute(
                "UPDATE attempts SET http_status = ?, code = ?, message = ? WHERE id = ?",
                (note.http_status, note.code, note.message, attempt.id),
            )
            self._connection.execute(
                "UPDATE requests SET reason = ?, code = ? WHERE key = ?", (note.message, note.code, attempt.key)
            )

    def lose_answer(self, attempt: Attempt, event: Event, note: Note) -> None:
        """sending or accepted -> unknown. The attempt stays open and its price at risk."""
        state = State.ACCEPTED if event is Event.MISSING else State.SENDING
        with self.transaction():
            self._move(attempt.key, state, event, reason=note.message, code=note.code)
            self._connection.execute(
                "UPDATE attempts SET http_status = ?, code = ?, message = ?, phase = ? WHERE id = ?",
                (note.http_status, note.code, note.message, note.phase, attempt.id),
            )

    def found(
        self,
        attempt: Attempt,
        *,
        provider_run_id: str,
        surplus_runs: int,
        surplus: MicroUSD,
        surplus_doubt: MicroUSD,
    ) -> Surplus:
        """
        unknown -> accepted: the provider knows the reference. Surplus runs of it may be a double purchase.

        Returns:
            What of the surplus was not known before.
        """
        with self.transaction():
            old = self._one("SELECT surplus_microusd, surplus_doubt_microusd FROM attempts WHERE id = ?", attempt.id)
            self._move(attempt.key, State.UNKNOWN, Event.FOUND, reason="", code="")
            self._connection.execute(
                "UPDATE attempts SET provider_run_id = ?, accepted_at = coalesce(accepted_at, ?),"
                " surplus_runs = max(surplus_runs, ?), surplus_microusd = max(surplus_microusd, ?),"
                " surplus_doubt_microusd = max(surplus_doubt_microusd, ?) WHERE id = ?",
                (provider_run_id, self._effects.stamp(), surplus_runs, surplus, surplus_doubt, attempt.id),
            )
        return Surplus(
            cost=MicroUSD(max(0, surplus - old["surplus_microusd"])),
            doubt=MicroUSD(max(0, surplus_doubt - old["surplus_doubt_microusd"])),
        )

    def absent(self, attempt: Attempt, note: Note) -> None:
        """
        unknown -> pending: the provider has been asked for long enough and does not know the reference.

        Raises:
            LedgerError: if it was accepted once; then not being listed proves nothing, and it must stay unknown.
        """
        with self.transaction():
            row = self._one("SELECT accepted_at, provider_run_id FROM attempts WHERE id = ?", attempt.id)
            if row["accepted_at"] is not None or row["provider_run_id"] is not None:
                raise LedgerError(f"request {attempt.key[:12]} was accepted once and cannot be taken for absent")
            self._end(attempt, "absent", note)
            self._move(attempt.key, State.UNKNOWN, Event.ABSENT, not_before=None, reason="", code="")
            self._connection.execute("UPDATE requests SET counted = counted + 1 WHERE key = ?", (attempt.key,))

    # -- results ---------------------------------------------------------------------------------------------

    def reply(self, attempt: Attempt) -> list[TaskRow]:
        """accepted -> fetching: the run has ended with pictures. Returns the tasks that they are for."""
        with self.transaction():
            self._move(attempt.key, State.ACCEPTED, Event.REPLY)
            return self.tasks_of(attempt.key)

    def finish(
        self, attempt: Attempt, raws: Sequence[Raw], outputs: Sequence[OutputRow], bill: Bill
    ) -> list[OutputRow]:
        """
        fetching -> done: the pictures are listed and the cost is settled in one step.

        Returns:
            Files that these tasks had before under other names, no longer listed; they may be removed.
        """
        with self.transaction():
            before = [row for slot in {output.slot for output in outputs} for row in self.outputs_of(slot)]
            self._add_raws(attempt, raws)
            for slot in {output.slot for output in outputs}:
                self._forget_outputs(slot)
            for output in outputs:
                self._put_output(output)
            self._end(attempt, "done", Note(), bill)
            self._move(attempt.key, State.FETCHING, Event.VERIFIED, reason="", code="")
            return [row for row in before if not self.owns(row.path)]

    def set_aside(self, attempt: Attempt, event: Event, raws: Sequence[Raw], bill: Bill, note: Note) -> None:
        """fetching -> suspect or lost: paid, but not what was asked for, or not to be had any more."""
        outcome = "suspect" if event is Event.ODD else "lost"
        with self.transaction():
            self._add_raws(attempt, raws)
            self._end(attempt, outcome, note, bill)
            self._move(attempt.key, State.FETCHING, event, reason=note.message, code=note.code)

    def deliver(self, outputs: Iterable[OutputRow]) -> None:
        """Note files that were placed for tasks whose request is done already."""
        with self.transaction():
            for output in outputs:
                self._put_output(output)

    def replace_raws(self, attempt: Attempt, raws: Sequence[Raw]) -> None:
        """Note pictures that were fetched again for an attempt that has ended, in place of those that were lost."""
        with self.transaction():
            self._connection.execute("DELETE FROM raws WHERE request_key = ?", (attempt.key,))
            self._add_raws(attempt, raws)

    def record_upload(self, scope: str, sha256: str, asset_id: str) -> None:
        """Note that the provider holds the content `sha256` as `asset_id`."""
        with self.transaction():
            self._connection.execute(
                "INSERT INTO uploads (scope, sha256, asset_id, uploaded_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (scope, sha256) DO UPDATE SET asset_id = excluded.asset_id,"
                " uploaded_at = excluded.uploaded_at",
                (scope, sha256, asset_id, self._effects.stamp()),
            )

    def record_pace(self, scope: str, pace: Pace) -> None:
        """Note the rate limit of a provider, for the next run."""
        with self.transaction():
            self._connection.execute(
                "INSERT INTO paces (scope, per_minute, confidence, learnt_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (scope) DO UPDATE SET per_minute = excluded.per_minute,"
                " confidence = excluded.confidence, learnt_at = excluded.learnt_at",
                (scope, pace.per_minute, pace.confidence, self._effects.stamp()),
            )

    def forget_upload(self, scope: str, sha256: str) -> None:
        """Note that the provider does not hold this content any more."""
        with self.transaction():
            self._connection.execute("DELETE FROM uploads WHERE scope = ? AND sha256 = ?", (scope, sha256))

    def recover(self) -> int:
        """
        Close what a dead process left: sending -> unknown. Returns how many.

        Recovery never sends anything; it only puts work where the next run looks for it.
        """
        with self.transaction():
            rows = self._connection.execute("SELECT key FROM requests WHERE state = 'sending'").fetchall()
            for row in rows:
                self._move(
                    row["key"],
                    State.SENDING,
                    Event.ANSWER_LOST,
                    reason="the program ended before the answer came",
                    code="INTERRUPTED",
                )
        return len(rows)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _add_raws(self, attempt: Attempt, raws: Sequence[Raw]) -> None:
        self._connection.executemany(
            "INSERT INTO raws (request_key, number, attempt_id, sha256, format, width, height, size_bytes,"
            " trailing_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    attempt.key,
                    raw.number,
                    attempt.id,
                    raw.sha256,
                    raw.format,
                    raw.width,
                    raw.height,
                    raw.size_bytes,
                    raw.trailing_bytes,
                )
                for raw in raws
            ],
        )
