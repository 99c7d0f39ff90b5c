"""
Rows whose id is another one now: what they were called when the ledger saw them last.

What was bought has not changed by a new name, nor what people have said of it. A task that the ledger does not know is
taken for one that it knows if that had the same request and is not in the manifest any more.
"""

from __future__ import annotations

from batchedit.ledger.reader import Ledger
from batchedit.manifest import Findings, Manifest
from batchedit.model import Task
from batchedit.scratch import Scratch


class Renames(Scratch):
    """
    The renamed tasks of one walk over a manifest. A context manager.

    Args:
        reader: The ledger, None if there is none yet.
    """

    TABLES = """
    CREATE TABLE here (slot TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE taken (slot TEXT PRIMARY KEY) WITHOUT ROWID;
    """

    def __init__(self, manifest: Manifest, reader: Ledger | None) -> None:
        super().__init__()
        self._manifest, self._reader, self._has_read = manifest, reader, False

    def former(self, task: Task, key: str) -> str:
        """
        The slot that a task had before, each for one task only; empty if it is new, or has the name that it had.

        Args:
            key: Of its request, as if nobody had edited it again.
        """
        if self._reader is None:
            return ""
        for slot in self._reader.former_slots(
            task.slot, key, edit=task.edit, variant=task.variant, manifest=self._manifest.name
        ):
            if not self._is_here(slot) and self._insert("taken", slot):
                return slot
        return ""

    def _is_here(self, slot: str) -> bool:
        """True for a task of the manifest. All of it is read once, and only if there is something to find out."""
        if not self._has_read:
            self._has_read = True
            for task in self._manifest.tasks(Findings()):
                self._insert("here", task.slot)
        return self._connection.execute("SELECT 1 FROM here WHERE slot = ?", (slot,)).fetchone() is not None

    def _insert(self, table: str, slot: str) -> bool:
        return self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES (?)", (slot,)).rowcount == 1
