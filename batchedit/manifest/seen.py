"""
What a walk over rows must remember of all of them: ids, names of pictures. On the disk, so that a million rows need no
memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from batchedit.scratch import Scratch


class _Rows(Scratch):
    """What is remembered of rows. A walk may go on in another thread than it began in."""

    MOVES = True

    def _run(self, statement: str, *values: str) -> sqlite3.Cursor:
        # Names of files need not be valid Unicode, which SQLite's texts must be; so all of them are bytes.
        return self._connection.execute(statement, [value.encode("utf-8", "surrogatepass") for value in values])

    def _insert(self, statement: str, *values: str) -> bool:
        """True if the row was new."""
        return self._run(f"INSERT OR IGNORE INTO {statement}", *values).rowcount == 1


@dataclass(frozen=True, slots=True)
class Known:
    """An id that was met before: itself, or one that differs only by case or leading zeros; and where."""

    id: str
    place: str


class Ids(_Rows):
    """The ids of a walk, first come first served."""

    TABLES = """
    CREATE TABLE ids (plain BLOB PRIMARY KEY, id BLOB NOT NULL, place BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE others (id BLOB PRIMARY KEY, place BLOB NOT NULL) WITHOUT ROWID;
    """

    def claim(self, item_id: str, place: str) -> Known | None:
        """Claim an id; what was met before, if it is the same or nearly the same."""
        plain = item_id.casefold().lstrip("0")
        if self._insert("ids VALUES (?, ?, ?)", plain, item_id, place):
            return None
        first = Known(*map(_text, self._run("SELECT id, place FROM ids WHERE plain = ?", plain).fetchone()))
        if first.id == item_id or self._insert("others VALUES (?, ?)", item_id, place):
            return first
        (other,) = self._run("SELECT place FROM others WHERE id = ?", item_id).fetchone()
        return Known(item_id, _text(other))


class Pictures(_Rows):
    """The pictures of a folder, each with its file name without extension, and whether a row has named it."""

    TABLES = """
    CREATE TABLE pictures (path BLOB PRIMARY KEY, stem BLOB NOT NULL, named INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    CREATE TABLE stems (stem BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
    """

    def add(self, path: str, stem: str) -> None:
        """Note a picture."""
        if self._insert("pictures (path, stem) VALUES (?, ?)", path, stem) and not self._insert(
            "stems VALUES (?, 1)", stem
        ):
            self._run("UPDATE stems SET count = count + 1 WHERE stem = ?", stem)

    def name(self, path: str) -> None:
        """A row has named this path, whether or not there is such a picture."""
        self._run("UPDATE pictures SET named = 1 WHERE path = ?", path)

    def is_shared(self, stem: str) -> bool:
        """True if several pictures have this file name."""
        found = self._run("SELECT count FROM stems WHERE stem = ?", stem).fetchone()
        return found is not None and found[0] > 1

    def unnamed(self) -> Iterator[str]:
        """The pictures that no row has named, sorted."""
        for (path,) in self._run("SELECT path FROM pictures WHERE named = 0 ORDER BY path"):
            yield _text(path)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
