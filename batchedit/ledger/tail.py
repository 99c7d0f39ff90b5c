"""Changes of state as they become durable, read beside a run that writes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from batchedit.errors import StorageError
from batchedit.ledger.connection import open_for_reading
from batchedit.money import MicroUSD

_MOST = 500
_ENDED = frozenset({"done", "failed", "suspect", "lost", "pending"})
_ROWS = """
SELECT events.id, events.at, events.run_id, events.request_key, event, state_from, state_to, attempts.number,
 attempts.ended_at, attempts.code, attempts.cost_microusd, attempts.cost_basis,
 (SELECT slot FROM tasks WHERE tasks.request_key = events.request_key ORDER BY tasks.rowid LIMIT 1) AS slot,
 (SELECT count(*) FROM tasks WHERE tasks.request_key = events.request_key) AS tasks
FROM events LEFT JOIN attempts ON attempts.request_key = events.request_key AND attempts.number =
 (SELECT max(number) FROM attempts AS earlier WHERE earlier.request_key = events.request_key
  AND earlier.started_at <= events.at)
WHERE events.id > ? ORDER BY events.id LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One request has moved from one state to another, durably.

    Attributes:
        id: Grows with each change of a ledger.
        at: ISO 8601, UTC.
        run: Number of the run, None outside of one.
        request: The request's key.
        slot: A task that wants it, empty if none does any more; `tasks` is how many do.
        event: What happened, in the words of docs/states.md.
        attempt: Number of the attempt, None before the first one.
        code: Class of what went wrong, empty if nothing did.
        cost: What the attempt cost, None while that is open; `basis` says where it comes from.
    """

    id: int
    at: str
    run: int | None
    request: str
    slot: str
    tasks: int
    event: str
    before: str
    after: str
    attempt: int | None
    code: str
    cost: MicroUSD | None
    basis: str


class Tail:
    """
    Reads a ledger's changes from some point on. A context manager.

    Raises:
        LedgerError: if there is none at the path, or it is damaged or newer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_for_reading(path)
        with closing(self._connection.execute("SELECT value FROM meta WHERE name = 'ledger_id'")) as cursor:
            self.ledger_id = str(cursor.fetchone()[0])

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self._connection.close()

    def newest(self) -> int:
        """Number of the last change, 0 if there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def after(self, last: int) -> list[Change]:
        """
        The next changes after number `last`, not all at once: ask until there are none.

        Raises:
            StorageError: if the ledger cannot be read.
        """
        return [_change(row) for row in self._rows(_ROWS, last, _MOST)]

    def _rows(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"the ledger {self.path} cannot be read: {error}") from error


def _change(row: sqlite3.Row) -> Change:
    ended = row["state_to"] in _ENDED and row["ended_at"] is not None
    return Change(
        id=row["id"],
        at=row["at"],
        run=row["run_id"],
        request=row["request_key"],
        slot=row["slot"] or "",
        tasks=row["tasks"],
        event=row["event"],
        before=row["state_from"],
        after=row["state_to"],
        attempt=row["number"],
        code=(row["code"] or "") if row["ended_at"] is not None or row["state_to"] == "unknown" else "",
        cost=MicroUSD(row["cost_microusd"]) if ended else None,
        basis=row["cost_basis"] if ended else "none",
    )
