"""
What files are made with, the files that were made, and what was found about them.

A made file is noted here before it gets its name: after a crash in between, the next run finds a file in the tree whose
digest the ledger knows, and may replace it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from batchedit.ledger.connection import open_for_reading
from batchedit.ledger.reads import LedgerReads
from batchedit.ledger.records import OutputRow, TaskRow
from batchedit.ledger.waiting import has_table
from batchedit.paths import collision_key
from batchedit.recipe import Finding, Recipe


def was_made(ledger: Path, sha256: str) -> bool:
    """True for the digest of a file that was made of a raw of this ledger."""
    if not ledger.exists():
        return False
    with closing(open_for_reading(ledger)) as connection:
        return is_made(connection, sha256)


def is_made(connection: sqlite3.Connection, sha256: str) -> bool:
    """As `was_made`, asked of a connection."""
    if not has_table(connection, "renders"):
        return False
    return connection.execute("SELECT 1 FROM renders WHERE sha256 = ?", (sha256,)).fetchone() is not None


class MadeFile(Protocol):
    """What is kept of a file that was made."""

    @property
    def sha256(self) -> str:
        """Of its bytes, hex."""

    @property
    def format(self) -> str:
        """``png``, ``jpeg`` or ``webp``."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def size_bytes(self) -> int:
        """Its length."""


class LedgerRendered(LedgerReads):
    """One method for each thing that is noted; all of it is free."""

    _known_recipes: dict[str, Recipe] | None = None

    def remember_recipes(self, recipes: Iterable[Recipe]) -> None:
        """Keep the text of recipes, which tasks are then recorded with by their digests."""
        with self.transaction():
            for recipe in recipes:
                self._connection.execute(
                    "INSERT OR IGNORE INTO recipes (digest, recipe) VALUES (?, ?)", (recipe.digest, recipe.text)
                )

    def recipe(self, digest: str) -> Recipe:
        """A recipe that is kept."""
        known = self._known_recipes = self._known_recipes if self._known_recipes is not None else {}
        if digest not in known:
            known[digest] = Recipe.parse(self._one("SELECT recipe FROM recipes WHERE digest = ?", digest)["recipe"])
        return known[digest]

    def begin_files(
        self, task: TaskRow, renders: Iterable[tuple[MadeFile, str]], paths: Iterable[str]
    ) -> list[OutputRow]:
        """
        Note files that were made for a task and have no names yet. They may get them only when this is durable.

        Args:
            renders: Each with the digest of the raw that it was made of.
            paths: That they will get: files of these names are not listed any more, since their bytes change.

        Returns:
            All files that the task had, and those of others that are not listed any more.
        """
        now = self._effects.stamp()
        with self.transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO renders (sha256, raw_sha256, recipe, format, width, height, size_bytes, made_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (file.sha256, raw, task.recipe, file.format, file.width, file.height, file.size_bytes, now)
                    for file, raw in renders
                ],
            )
            before = self.outputs_of(task.slot)
            for path in paths:
                taken = self._one_or_none("SELECT * FROM outputs WHERE path_key = ?", collision_key(path))
                if taken is not None:
                    before += [OutputRow.read(taken)] if taken["slot"] != task.slot else []
                    self._connection.execute("DELETE FROM outputs WHERE path_key = ?", (taken["path_key"],))
            return before

    def is_taken(self, task: TaskRow) -> bool:
        """True if another task has a file under a name that this one wants."""
        sql = "SELECT 1 FROM outputs WHERE path_key = ? AND slot <> ?"
        return any(self._one_or_none(sql, collision_key(path), task.slot) is not None for path in task.paths)

    def deliver_again(self, outputs: Iterable[OutputRow]) -> None:
        """List files again that were not listed for a while and are still what they were."""
        with self.transaction():
            for output in outputs:
                if not self.owns(output.path):
                    self._put_output(output)

    def redeliver(self, slot: str, outputs: Sequence[OutputRow]) -> list[OutputRow]:
        """
        Note the files of a task in place of those that it had.

        Returns:
            Those that it does not have any more and that nobody else has; they may be removed.
        """
        with self.transaction():
            before = self.outputs_of(slot)
            self._forget_outputs(slot)
            self._connection.execute("DELETE FROM checks WHERE slot = ?", (slot,))
            for output in outputs:
                self._put_output(output)
            return [row for row in before if not self.owns(row.path)]

    def note_findings(self, slot: str, number: int, sha256: str, findings: Sequence[Finding]) -> None:
        """Keep what was found about a task's picture, in place of what was found before."""
        with self.transaction():
            self._connection.execute("DELETE FROM checks WHERE slot = ? AND number = ?", (slot, number))
            if not findings:
                return
            self._connection.executemany(
                "INSERT OR REPLACE INTO checks (slot, number, name, sha256, verdict, measured, wanted, checked_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (slot, number, each.name, sha256, each.verdict, each.measured, each.wanted, self._effects.stamp())
                    for each in findings
                ],
            )

    def want(self, wanted: Iterable[tuple[str, str, Sequence[str]]]) -> None:
        """What tasks want of their files from now on: (slot, digest of the recipe or nothing, paths)."""
        with self.transaction():
            self._connection.executemany(
                "UPDATE tasks SET recipe = ?, paths = ? WHERE slot = ?",
                [(recipe, json.dumps(list(paths), ensure_ascii=False), slot) for slot, recipe, paths in wanted],
            )

    def outdated(self, after: int, limit: int) -> list[tuple[int, TaskRow]]:
        """
        The next tasks of the current run, with their positions, whose files only have to be made anew: they are all
        there under their names, made with another recipe.
        """
        rows = self._connection.execute(
            "SELECT tasks.rowid AS position, tasks.* FROM tasks JOIN requests ON key = request_key"
            " WHERE tasks.rowid > ? AND tasks.wanted_by = ? AND state = 'done' AND EXISTS (SELECT 1 FROM outputs"
            "  WHERE outputs.slot = tasks.slot AND outputs.recipe <> tasks.recipe) ORDER BY tasks.rowid LIMIT ?",
            (after, self._run_id, limit),
        )
        return [(row["position"], TaskRow.read(row)) for row in rows]

    def _forget_outputs(self, slot: str) -> None:
        self._connection.execute("DELETE FROM outputs WHERE slot = ?", (slot,))

    def _put_output(self, output: OutputRow) -> None:
        # A task that is not wanted any more (renamed, removed) hands its name over; its pictures stay among the raws.
        self._connection.execute(
            "DELETE FROM outputs WHERE path_key = ? AND (slot <> ? OR number <> ?)",
            (output.path_key, output.slot, output.number),
        )
        self._connection.execute(
            "INSERT INTO outputs (slot, number, planned, path, path_key, request_key, sha256, recipe, placed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (slot, number) DO UPDATE SET planned = excluded.planned,"
            " path = excluded.path, path_key = excluded.path_key, request_key = excluded.request_key,"
            " sha256 = excluded.sha256, recipe = excluded.recipe, placed_at = excluded.placed_at",
            (output.slot, output.number, output.planned, output.path, output.path_key, output.key, output.sha256,
             output.recipe, self._effects.stamp()),
        )  # fmt: skip
        if output.findings is not None:
            self.note_findings(output.slot, output.number, output.sha256, output.findings)
