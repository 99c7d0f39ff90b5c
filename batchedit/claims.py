"""
What the tasks of one walk lay claim to: output names and requests. On the disk, so that a million of them need no
memory.
"""

from __future__ import annotations

from batchedit.scratch import Scratch

_LEFT_OUT = "\0"
"""Before the slot of a task that is not selected; no slot begins like this."""


class Claims(Scratch):
    """The claims of one walk, first come first served. A context manager."""

    TABLES = """
    CREATE TABLE names (name TEXT PRIMARY KEY, slot TEXT NOT NULL, place TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE requests (key BLOB PRIMARY KEY) WITHOUT ROWID;
    """
    CACHE_KIB = 16 * 1024

    def name(self, name: str, slot: str, place: str) -> str | None:
        """Claim an output name for a task; where the other task stands, if another one has claimed it before."""
        if self._insert("names", name, slot, place):
            return None
        owner, where = self._connection.execute("SELECT slot, place FROM names WHERE name = ?", (name,)).fetchone()
        return None if owner == slot else str(where)

    def name_left_out(self, name: str, slot: str, place: str) -> str | None:
        """As `name`, for a task that is not selected: its name is taken, but it is not among those that get files."""
        return self.name(name, _LEFT_OUT + slot, place)

    def withdraw(self, name: str, slot: str) -> None:
        """A task that has claimed this name is not selected after all: it keeps the name, as by `name_left_out`."""
        sql = "UPDATE names SET slot = ? WHERE name = ? AND slot = ?"
        self._connection.execute(sql, (_LEFT_OUT + slot, name, slot))

    def request(self, key: str) -> bool:
        """Claim a request, by its key in hex; False if another task has claimed it before."""
        return self._insert("requests", bytes.fromhex(key))

    def release(self, key: str) -> None:
        """Take back the claim to a request: the task is not wanted after all."""
        self._connection.execute("DELETE FROM requests WHERE key = ?", (bytes.fromhex(key),))

    def knows(self, slot: str) -> bool:
        """True if this task has claimed a name, selected or not. After the walk: the first question takes a while."""
        self._connection.execute("CREATE INDEX IF NOT EXISTS names_slot ON names (slot)")
        sql = "SELECT 1 FROM names WHERE slot IN (?, ?)"
        return self._connection.execute(sql, (slot, _LEFT_OUT + slot)).fetchone() is not None

    def without(self, slots: set[str]) -> set[str]:
        """Those of the tasks that have claimed no name."""
        if not slots:
            return set()
        self._connection.execute("CREATE INDEX IF NOT EXISTS names_slot ON names (slot)")
        asked = self._connection.execute
        return {slot for slot in slots if asked("SELECT 1 FROM names WHERE slot = ?", (slot,)).fetchone() is None}

    def _insert(self, table: str, *values: object) -> bool:
        marks = ", ".join("?" * len(values))
        return self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values).rowcount == 1
