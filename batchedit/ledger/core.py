"""
The ledger's file held open for writing: identity, transactions, and the one way to move a request.

Transitions are compare-and-set: a caller names the state it starts from and fails if the request is elsewhere, so
that no two parties can move a request at once. Each transition is appended to `events` in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from batchedit.effects import Effects
from batchedit.errors import LedgerError, StorageError
from batchedit.ledger.connection import DAMAGED_HINT, open_for_writing
from batchedit.ledger.lock import LedgerLock, lock_path
from batchedit.ledger.records import Attempt, Bill, Note
from batchedit.lifecycle import TRANSITIONS, Event, State

T = TypeVar("T")


class LedgerCore:
    """
    The one writer of a ledger. Synchronous: nothing in it can be cancelled half-way.

    Args:
        path: The ledger's file; made if there is none, its folder must exist.
        effects: For time stamps.
        world: ``real`` or ``rehearsal``; a ledger holds one of them.

    Raises:
        LedgerError: if it is in use, damaged, newer, or of the other world.
        StorageError: if the disk refuses it.
    """

    def __init__(self, path: Path, effects: Effects, *, world: str) -> None:
        self.path = path
        self._effects = effects
        self._run_id: int | None = None
        self._lock = LedgerLock(lock_path(path), since=effects.stamp())
        try:
            new_id = f"{effects.draw('ledger').getrandbits(64):016x}"
            self._db = open_for_writing(path, identity={"ledger_id": new_id, "world": world})
        except BaseException:
            self._lock.close()
            raise
        self._connection = self._db.conn
        self._connection.row_factory = sqlite3.Row
        try:
            self.id = self._check_identity(world)
            with self.transaction():  # whoever may write may make it untrue
                self._connection.execute("DELETE FROM meta WHERE name = 'settled'")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and release the lock."""
        self._connection.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        One durable change; a part of the one that is under way where there is one.

        Raises:
            StorageError: if the disk does not take it. Nothing may be bought after that.
        """
        if self._connection.in_transaction:
            yield
            return
        self.begin()
        try:
            with self._storage():
                yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def begin(self) -> None:
        """Begin a change that `commit` makes durable. Raises StorageError if the ledger cannot be written."""
        with self._storage():
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make what has been done since `begin` durable. Raises StorageError if the disk does not take it."""
        try:
            with self._storage():
                self._connection.execute("COMMIT")
        except StorageError:
            self.rollback()
            raise

    def rollback(self) -> None:
        """Undo what has been done since `begin`; nothing if an error has ended it already."""
        self._connection.rollback()

    def step(self, work: Callable[[], T]) -> T:
        """
        Do one of several steps that share a commit, and return its result: one that fails is undone by itself.

        Raises:
            StorageError: if the disk does not take it; also whatever `work` raises.
        """
        with self._storage():
            self._connection.execute("SAVEPOINT step")
            try:
                result = work()
            except BaseException:
                if self._connection.in_transaction:  # an error of the disk ends all of it
                    self._connection.execute("ROLLBACK TO step")
                    self._connection.execute("RELEASE step")
                raise
            self._connection.execute("RELEASE step")
        return result

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StorageError(f"the ledger {self.path} cannot be written: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """
        Questions outside a transaction.

        Raises:
            StorageError: if the file cannot be read.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"the ledger {self.path} cannot be read: {error}") from error

    def _check_identity(self, world: str) -> str:
        with self.reading():
            values = {row["name"]: row["value"] for row in self._connection.execute("SELECT * FROM meta")}
        if not values.keys() >= {"ledger_id", "world"}:
            raise LedgerError(f"the ledger {self.path} does not say whose it is", hint=DAMAGED_HINT)
        if values["world"] != world:
            held, wanted = ("rehearsal", "real") if world == "real" else ("real", "rehearsal")
            raise LedgerError(
                f"the ledger {self.path} holds a {held} run; a {wanted} one does not mix with it",
                hint="name another folder with --out",
            )
        return str(values["ledger_id"])

    def _move(self, key: str, state: State, event: Event, **columns: Any) -> None:
        target = TRANSITIONS[state, event]
        now = self._effects.stamp()
        sets = "".join(f", {name} = :{name}" for name in columns)
        cursor = self._connection.execute(
            f"UPDATE requests SET state = :target, changed_at = :now{sets} WHERE key = :key AND state = :state",
            {**columns, "target": target, "now": now, "key": key, "state": state},
        )
        if cursor.rowcount != 1:
            actual = self._one("SELECT state FROM requests WHERE key = ?", key)["state"]
            raise LedgerError(f"request {key[:12]} is {actual}, not {state}: {event} does not apply")
        self._connection.execute(
            "INSERT INTO events (at, run_id, request_key, event, state_from, state_to) VALUES (?, ?, ?, ?, ?, ?)",
            (now, self._run_id, key, event, state, target),
        )

    def _end(self, attempt: Attempt, outcome: str, note: Note, bill: Bill | None = None) -> None:
        bill = bill or Bill()
        self._connection.execute(
            "UPDATE attempts SET outcome = ?, ended_at = ?, http_status = coalesce(?, http_status), code = ?,"
            " message = ?, cost_microusd = ?, cost_basis = ?, doubt_microusd = ?, phase = CASE ? WHEN '' THEN phase"
            " ELSE ? END WHERE id = ?",
            (outcome, self._effects.stamp(), note.http_status, note.code, note.message, bill.cost, bill.basis,
             bill.doubt, note.phase, note.phase, attempt.id),
        )  # fmt: skip

    def _one(self, sql: str, *parameters: object) -> sqlite3.Row:
        row = self._one_or_none(sql, *parameters)
        if row is None:
            raise LedgerError(f"the ledger {self.path} lacks a row that it should have")
        return row

    def _one_or_none(self, sql: str, *parameters: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
        return row
