"""
Where tasks come from: what they were called before their row was renamed, and what has become of the picture that they
started from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from batchedit.ledger.views import IS_NOW
from batchedit.ledger.waiting import has_column

REJECTED, REPLACED = "rejected", "replaced"
STARTS = (REJECTED, REPLACED)
"""What may have become of the picture that a task started from."""


@dataclass(frozen=True, slots=True)
class Start:
    """
    Something that was said or done about the picture that a task started from, after the task had its own.

    Attributes:
        slot: The task whose picture that is; the one that it started from, or one before that.
        what: `REJECTED`, or `REPLACED` by another one.
        at: When (ISO, UTC).
        number: Of the decision, 0 without one.
    """

    slot: str
    what: str
    at: str
    number: int


class LedgerLineage:
    """The questions about it; `reader.Ledger` answers them."""

    _connection: sqlite3.Connection

    @cached_property
    def has_lineage(self) -> bool:
        """False for a ledger of an older version, which is only read here."""
        return has_column(self._connection, "tasks", "was")

    @cached_property
    def has_renamed(self) -> bool:
        """Most ledgers have no renamed task, and need not be asked for each one."""
        sql = "SELECT 1 FROM tasks WHERE was <> '' LIMIT 1"
        return self.has_lineage and self._connection.execute(sql).fetchone() is not None

    def renamed(self) -> Iterator[tuple[str, str]]:
        """(slot, what it was called before) of each task that has had another name."""
        if self.has_renamed:
            for row in self._connection.execute("SELECT slot, was FROM tasks WHERE was <> '' ORDER BY rowid"):
                yield row["slot"], row["was"]

    def is_former(self, slot: str) -> bool:
        """True for what is merely the name that a task had before."""
        if not self.has_renamed:
            return False
        sql = f"SELECT 1 FROM tasks WHERE slot = ? AND NOT {IS_NOW.format(task='tasks')}"
        return self._connection.execute(sql, (slot,)).fetchone() is not None

    def former_slots(self, slot: str, key: str, *, edit: str, variant: str, manifest: str) -> list[str]:
        """
        What a task may have been called before: tasks that had its request, the likeliest first.

        Which of them the manifest still holds is for others to say.

        Args:
            key: The task's request, as if nobody had edited it again.
            edit, variant: The task's.
            manifest: Name of the manifest whose runs were the last to want them.
        """
        if not self.has_lineage:
            return []
        known = self._connection.execute("SELECT 1 FROM tasks WHERE slot = ?", (slot,)).fetchone()
        if known is not None:
            if not self.has_renamed:
                return []
            rows = self._connection.execute(
                "SELECT slot FROM tasks WHERE was = ?", (slot,)
            )  # it has its old name again
            return [row["slot"] for row in rows]
        rows = self._connection.execute(
            "SELECT t.slot FROM tasks AS t JOIN runs ON runs.id = t.wanted_by WHERE t.slot IN ("
            "  SELECT slot FROM tasks WHERE request_key = :key UNION SELECT buyer_slot FROM requests WHERE key = :key"
            "  UNION SELECT slot FROM overrides WHERE replaces = :key)"
            " AND runs.manifest = :manifest AND NOT EXISTS (SELECT 1 FROM tasks AS heir WHERE heir.was = t.slot"
            "  AND heir.was <> '')"
            " ORDER BY t.edit = :edit AND t.variant = :variant DESC, t.wanted_by DESC, t.rowid",
            {"key": key, "manifest": manifest, "edit": edit, "variant": variant},
        )
        return [row["slot"] for row in rows]

    def start_of(self, slot: str) -> Start | None:
        """
        What has become of the picture that a task started from; None if it still counts, or somebody has approved the
        task's own picture since.
        """
        if not self.has_lineage:
            return None
        found = self._start(slot)
        if found is None:
            return None
        said = self._connection.execute(
            "SELECT d.id, d.decided_at, d.verdict FROM decisions AS d JOIN tasks AS t ON t.slot = d.slot"
            " AND t.request_key = d.request_key WHERE d.slot = ? ORDER BY d.id DESC LIMIT 1",
            (slot,),
        ).fetchone()
        if said is None or said["verdict"] != "approved":
            return found
        is_later = said["id"] > found.number if found.number else said["decided_at"] >= found.at
        return None if is_later else found

    def _start(self, slot: str) -> Start | None:
        task = self._connection.execute(
            "SELECT upstream, json_extract(spec, '$.images[0].id') AS picture FROM tasks"
            " JOIN requests ON key = request_key WHERE slot = ? AND upstream <> '' AND state = 'done'",
            (slot,),
        ).fetchone()
        if task is None:
            return None
        upstream, picture = task["upstream"], task["picture"]
        said = self._connection.execute(
            "SELECT id, decided_at, verdict FROM decisions AS d WHERE slot = ? AND EXISTS (SELECT 1 FROM raws"
            " WHERE raws.request_key = d.request_key AND 'sha256:' || sha256 = ?) ORDER BY id DESC LIMIT 1",
            (upstream, picture),
        ).fetchone()
        if said is not None and said["verdict"] == REJECTED:
            return Start(upstream, REJECTED, said["decided_at"], said["id"])
        now = self._connection.execute(
            "SELECT changed_at, (SELECT 'sha256:' || sha256 FROM raws WHERE raws.request_key = key ORDER BY number"
            " LIMIT 1) AS picture FROM tasks JOIN requests ON key = request_key WHERE slot = ?",
            (upstream,),
        ).fetchone()
        if now is None:
            return None
        if now["picture"] != picture:
            return Start(upstream, REPLACED, now["changed_at"], 0)
        return self.start_of(upstream)  # of a chain, the one between may be the one to blame
