"""What the user has decided: unknown outcomes, suspect pictures, and what is to be bought once more."""

from __future__ import annotations

from collections.abc import Iterable

from batchedit.ledger.adding import add_decision
from batchedit.ledger.records import Attempt, Bill, Decision, Note, Override
from batchedit.ledger.rendered import LedgerRendered
from batchedit.lifecycle import Event, State
from batchedit.money import ZERO


class LedgerChoices(LedgerRendered):
    """One method for each decision. None of them buys; they only allow a later run to."""

    def slots_in(self, state: str) -> list[str]:
        """The tasks whose request is in this state, in the order in which they were first recorded."""
        rows = self._connection.execute(
            "SELECT slot FROM tasks JOIN requests ON key = request_key WHERE state = ? ORDER BY tasks.rowid", (state,)
        )
        return [row["slot"] for row in rows]

    def resend(self, attempt: Attempt) -> None:
        """unknown -> pending, on the user's word. The price stays at risk: it may have been bought all the same."""
        with self.transaction():
            note = Note(message="sent again on the user's word; may have been bought twice", code="RESENT")
            self._end(attempt, "resent", note, Bill(cost=ZERO, basis="none", doubt=attempt.reserved))
            self._move(attempt.key, State.UNKNOWN, Event.RESEND, not_before=None, reason="", code="")

    def write_off(self, attempt: Attempt) -> None:
        """unknown -> lost, on the user's word. The worst price counts as spent."""
        with self.transaction():
            note = Note(message="never settled; written off at its worst price", code="WRITTEN_OFF")
            self._end(attempt, "written off", note, Bill(cost=attempt.reserved, basis="assumed"))
            self._move(attempt.key, State.UNKNOWN, Event.WRITE_OFF, reason=note.message, code=note.code)

    def was_resent(self, key: str) -> bool:
        """True if the user's one resend of this request is used up."""
        sql = "SELECT 1 FROM attempts WHERE request_key = ? AND outcome = 'resent'"
        return self._one_or_none(sql, key) is not None

    def keep(self, slots: Iterable[str]) -> int:
        """suspect -> done for the requests of these tasks: the user takes what came. Returns how many."""
        kept = 0
        with self.transaction():
            for slot in slots:
                row = self._one_or_none(
                    "SELECT key FROM requests JOIN tasks ON key = request_key WHERE slot = ? AND state = 'suspect'"
                    " AND EXISTS (SELECT 1 FROM raws WHERE raws.request_key = key)",
                    slot,
                )
                if row is not None:
                    self._move(row["key"], State.SUSPECT, Event.KEEP, reason="", code="")
                    kept += 1
        return kept

    def decide(self, decisions: Iterable[Decision]) -> int:
        """Keep what people have said about delivered pictures; returns how many. Nothing that was said is removed."""
        now, count = self._effects.stamp(), 0
        with self.transaction():
            for said in decisions:
                add_decision(self._connection, said, now)
                count += 1
        return count

    def want_again(self, slots: Iterable[str]) -> int:
        """
        Let the next run buy these tasks once more; returns how many it will.

        One that failed is tried again as it is. One that is suspect or lost gets a new revision.
        """
        wanted = 0
        with self.transaction():
            for slot in slots:
                row = self._one_or_none(
                    "SELECT key, state, requests.revision FROM requests JOIN tasks ON key = request_key WHERE slot = ?"
                    " AND state IN ('failed', 'suspect', 'lost')",
                    slot,
                )
                if row is None:
                    continue
                wanted += 1
                if row["state"] == State.FAILED:
                    self._connection.execute("UPDATE requests SET retryable = 1 WHERE key = ?", (row["key"],))
                else:
                    self._connection.execute(
                        "UPDATE tasks SET revision = ? WHERE slot = ?", (row["revision"] + 1, slot)
                    )
        return wanted

    def drop_overrides(self, slots: Iterable[str]) -> int:
        """Let these tasks have the manifest's own prompts again, and what they had before; returns how many had not."""
        now, dropped = self._effects.stamp(), 0
        with self.transaction():
            for slot in slots:
                rows = self._connection.execute(
                    "SELECT * FROM overrides WHERE slot = ? ORDER BY id", (slot,)
                ).fetchall()
                if not rows or rows[-1]["prompt"] is None:
                    continue
                begin = max((row["id"] for row in rows if row["prompt"] is None), default=0)
                first = next(row for row in rows if row["id"] > begin)  # since it last had the manifest's own
                before = self._one("SELECT revision FROM requests WHERE key = ?", first["replaces"])["revision"]
                if any(row["prompt"] is not None and row["revision"] == before for row in rows if row["id"] < begin):
                    # That was a re-edit's request too: no run had yet played the drop before this one.
                    first = next(row for row in rows if row["id"] == begin)
                    before = first["revision"]
                self._override(slot, Override(revision=before, prompt=None, base="", replaces=first["replaces"]), now)
                dropped += 1
        return dropped

    def _override(self, slot: str, override: Override, now: str) -> None:
        self._connection.execute(
            "INSERT INTO overrides (slot, at, revision, prompt, base_prompt, replaces) VALUES (?, ?, ?, ?, ?, ?)",
            (slot, now, override.revision, override.prompt, override.base, override.replaces),
        )
        self._connection.execute("UPDATE tasks SET revision = ? WHERE slot = ?", (override.revision, slot))
