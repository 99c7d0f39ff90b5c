"""
Adding what people say about pictures, beside a run that goes on.

A run holds the ledger's lock for hours; a review must not wait for it, and must not be in its way. So this connection
takes no lock of ours: it only adds rows, in tables that a run never writes, each time in one transaction that lasts as
long as one sync of the disk. SQLite itself lets one writer in after the other, and both sides wait for their turn. It
never checkpoints: that stays the run's. What is added here a run notices when it plans, that is, the next time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from batchedit.effects import Effects
from batchedit.errors import StorageError
from batchedit.ledger.adding import FILES_OF, add_decision, look_of
from batchedit.ledger.connection import open_for_adding
from batchedit.ledger.records import Comparison, Decision, Wish
from batchedit.ledger.waiting import has_column, has_table
from batchedit.ledger.writer import LedgerWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """
    A decision of somebody who saw the state of things as it was a moment ago.

    Attributes:
        seen: Number of the latest decision about these pictures that he knew, 0 for none; None does not care.
        files: What he has looked at, as `Shown.look`; empty does not care.
    """

    decision: Decision
    seen: int | None = None
    files: str = ""


class DecisionBook:
    """
    A ledger opened for adding decisions, wishes and comparisons; a context manager. Of use in several threads.

    Args:
        path: The ledger's file.
        effects: For time stamps; None for the real ones.

    Raises:
        LedgerError: if there is none, it is damaged or newer; for one of an older version also if it is in use, since
            that has to be brought up to date first.
        StorageError: if the disk refuses it.
    """

    def __init__(self, path: Path, effects: Effects | None = None) -> None:
        self.path, self._effects = path, effects or Effects()
        self._turn = threading.Lock()
        self._connection = open_for_adding(path)
        if not (has_table(self._connection, "comparisons") and has_column(self._connection, "decisions", "files")):
            world = self._connection.execute("SELECT value FROM meta WHERE name = 'world'").fetchone()["value"]
            self._connection.close()
            LedgerWriter(path, self._effects, world=world).close()
            self._connection = open_for_adding(path)

    def __enter__(self) -> Self:
        """The book itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._connection.close()

    def decide(self, rulings: Iterable[Ruling]) -> list[int | None]:
        """
        Add decisions, all in one step.

        Returns:
            The number of each; None for one that was not taken, since the task has other pictures by now, or somebody
            has said something about them that was not `seen`.

        Raises:
            StorageError: if the disk does not take it; then none is there.
        """
        with self._transaction() as now:
            return [self._decide(ruling, now) for ruling in rulings]

    def wish(self, wish: Wish) -> int | None:
        """
        Add how a task's pictures shall be made again; without prompt and note nothing is wished any more.

        Returns:
            Its number; None if the task has other pictures by now.

        Raises:
            StorageError: if the disk does not take it.
        """
        with self._transaction() as now:
            return self._wish(wish, now)

    def compare(self, comparison: Comparison) -> int | None:
        """
        Add which variant somebody liked best.

        Returns:
            Its number; None if one of them has other pictures by now.

        Raises:
            StorageError: if the disk does not take it.
        """
        with self._transaction() as now:
            return self._compare(comparison, now)

    def take(
        self, decisions: Iterable[Decision], wishes: Iterable[Wish] = (), comparisons: Iterable[Comparison] = ()
    ) -> None:
        """
        Add all of it in one step, but for what is about pictures that tasks do not have any more.

        Raises:
            StorageError: if the disk does not take it; then nothing is there.
        """
        with self._transaction() as now:
            for decision in decisions:
                self._decide(Ruling(decision=decision), now)
            for wish in wishes:
                self._wish(wish, now)
            for comparison in comparisons:
                self._compare(comparison, now)

    def _wish(self, wish: Wish, now: str) -> int | None:
        if not self._has(wish.slot, wish.key):
            return None
        return self._connection.execute(
            "INSERT INTO wishes (slot, request_key, wished_at, prompt, note, who) VALUES (?, ?, ?, ?, ?, ?)",
            (wish.slot, wish.key, now, wish.prompt, wish.note, wish.who),
        ).lastrowid

    def _compare(self, comparison: Comparison, now: str) -> int | None:
        if not all(self._has(slot, key) for slot, key in comparison.shown):
            return None
        return self._connection.execute(
            "INSERT INTO comparisons (item_id, edit, shown, winner, outcome, compared_at, who)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (comparison.item_id, comparison.edit, _shown(comparison.shown), comparison.winner, comparison.outcome,
             now, comparison.who),
        ).lastrowid  # fmt: skip

    def _decide(self, ruling: Ruling, now: str) -> int | None:
        said = ruling.decision
        if not self._has(said.slot, said.key):
            return None
        if ruling.files:
            held = self._connection.execute(FILES_OF.format(slot="?"), (said.slot,)).fetchone()[0]
            if look_of(held) != ruling.files:
                return None
        if ruling.seen is not None:
            last = self._connection.execute(
                "SELECT coalesce(max(id), 0) AS id FROM decisions WHERE slot = ? AND request_key = ?",
                (said.slot, said.key),
            ).fetchone()["id"]
            if last != ruling.seen:
                return None
        return add_decision(self._connection, said, now)

    def _has(self, slot: str, key: str) -> bool:
        row = self._connection.execute("SELECT 1 FROM tasks WHERE slot = ? AND request_key = ?", (slot, key)).fetchone()
        return row is not None

    @contextmanager
    def _transaction(self) -> Iterator[str]:
        with self._turn:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._effects.stamp()
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise StorageError(f"the ledger {self.path} cannot be written: {error}") from error
            finally:
                if self._connection.in_transaction:
                    self._connection.rollback()


def _shown(pairs: Sequence[tuple[str, str]]) -> str:
    return json.dumps([list(pair) for pair in pairs], ensure_ascii=False)
