"""
Files that an earlier delivery to a folder has brought, and that are not delivered any more: their task is rejected now,
has another picture, another name, or is gone.

What was delivered is kept beside the ledger, for each folder, before the first file is copied and until the files are
gone. A sheet that lies there proves nothing: it may be of another ledger, whose files and sheet are not ours to touch.
"""

from __future__ import annotations

import csv
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchedit import disk
from batchedit.errors import UsageError
from batchedit.exporting.files import text_to
from batchedit.exporting.results import DELIVERY, PREFIX
from batchedit.ledger.exports import Exports
from batchedit.manifest.rows import LineTooLong, lines_of
from batchedit.paths import collision_key, path_problem
from batchedit.report.as_csv import unguarded
from batchedit.scratch import Scratch

_COLUMNS = ("file", "sha256")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that lies there and is not delivered any more, and why."""

    path: str
    sha256: str
    why: str


def is_sheet(path: Path) -> bool:
    """True for a sheet that a delivery has written, by its last columns."""
    return not path.is_symlink() and path.is_file() and _last_columns(path) == DELIVERY


def header_of(path: Path) -> tuple[str, ...]:
    """The first row of a table, which may be anybody's; empty for what is no table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(next(csv.reader(lines_of(file)), []))
    except (OSError, ValueError, csv.Error, LineTooLong):
        return ()


def _last_columns(path: Path) -> tuple[str, ...]:
    return tuple(name.removeprefix(PREFIX) for name in header_of(path)[-len(DELIVERY) :])


class Earlier(Scratch):
    """
    What was delivered to a folder before. A context manager.

    Args:
        folder: Where to.
        state: Where the ledger's folder keeps its own things.
    """

    TABLES = """
    CREATE TABLE earlier (path TEXT, sha256 TEXT, PRIMARY KEY (path, sha256)) WITHOUT ROWID;
    CREATE TABLE now (path TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE INDEX earlier_digest ON earlier (sha256);
    CREATE TABLE ours (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    """

    def __init__(self, folder: Path, state: Path) -> None:
        super().__init__()
        self._folder = folder
        self._read = ("", "")
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._kept = state / "delivered" / f"{name}.csv"
        for path, sha256 in _pairs(self._kept):
            self.add(path, sha256)

    def look_at_sheet(self, sheet: Path, reader: Exports) -> None:
        """
        Make sure that the sheet that lies there, if one does, is of a delivery from this ledger.

        Raises:
            UsageError: if it tells of nothing that was delivered from it.
        """
        told = known = 0
        for path, sha256 in _pairs(sheet):
            told += 1
            if self._connection.execute(
                "SELECT 1 FROM earlier WHERE (path, sha256) = (?, ?)", (path, sha256)
            ).fetchone():
                known += 1
            elif _is_of(reader, path, sha256):  # the folder was somewhere else then
                self.add(path, sha256)
                known += 1
        if told and not known:
            raise UsageError(
                f"{sheet} is of a delivery from another ledger",
                hint="deliver to another folder, or move that sheet away; nothing is overwritten",
            )

    def add(self, path: str, sha256: str) -> None:
        """A file that was delivered, or is about to be copied."""
        if path_problem(path) is None:
            self._connection.execute("INSERT OR IGNORE INTO earlier VALUES (?, ?)", (path, sha256))

    def is_delivered(self, path: str) -> None:
        """A file of this delivery."""
        self._connection.execute("INSERT OR IGNORE INTO now VALUES (?)", (path,))

    def left(self, reader: Exports, is_meant: Callable[[str], bool], *, unreviewed: bool) -> Iterator[Leftover]:
        """
        What lies there unchanged, is something that this ledger has made, and is not delivered any more.

        Args:
            is_meant: False for a task that the manifest does not hold.
            unreviewed: Pictures that nobody has looked at count as delivered.
        """
        # The sheet lies where others may write: it can say of any file that it was delivered.
        for digest in reader.digests_made():
            self._connection.execute(
                "INSERT OR IGNORE INTO ours SELECT sha256 FROM earlier WHERE sha256 = ? LIMIT 1", (digest,)
            )
        for path, sha256 in self._rows():
            why = _why(reader, path, sha256, is_meant, unreviewed=unreviewed)
            if why and self._lies_there(path, sha256):
                yield Leftover(path, sha256, why)

    def keep(self, *, before: bool = False) -> None:
        """
        Remember what lies there.

        Args:
            before: And what is about to be copied.

        Raises:
            StorageError: if the disk refuses it.
        """
        disk.make_private(self._kept.parent)
        with text_to(self._kept, mode=0o600) as file:
            writer = csv.writer(file, lineterminator="\r\n")
            writer.writerow(_COLUMNS)
            rows = self._connection.execute("SELECT path, sha256 FROM earlier ORDER BY path, sha256")
            writer.writerows(row for row in rows if before or (self._folder / row[0]).is_file())

    def _rows(self) -> sqlite3.Cursor:
        return self._connection.execute(
            "SELECT path, sha256 FROM earlier JOIN ours USING (sha256)"
            " WHERE NOT EXISTS (SELECT 1 FROM now WHERE now.path = earlier.path)"
            " ORDER BY path, sha256"
        )

    def _lies_there(self, path: str, sha256: str) -> bool:
        if path != self._read[0]:  # a table can name one file any number of times
            full = self._folder / path
            self._read = path, disk.digest(full) if full.is_file() and not full.is_symlink() else ""
        return self._read[1] == sha256


def _is_of(reader: Exports, path: str, sha256: str) -> bool:
    """True if a task of the ledger has this file."""
    owner = reader.owner_of(collision_key(path))
    return owner is not None and any((row.path, row.sha256) == (path, sha256) for row in reader.outputs_of(owner[0]))


def _why(reader: Exports, path: str, sha256: str, is_meant: Callable[[str], bool], *, unreviewed: bool) -> str:
    """Why a file is not delivered any more; empty if it is merely not selected this time."""
    owner = reader.owner_of(collision_key(path))
    task = reader.listed_task(owner[0]) if owner is not None else None
    if task is None:
        return "of no task any more: its row has another name now, or is gone"
    if not is_meant(task.slot):
        return f"of {task.slot}, which the manifest does not hold any more"
    if reader.is_former(task.slot):
        return f"of {task.slot}, which has another name now"
    if task.review == "rejected":
        return f"of {task.slot}, which is rejected"
    if all(row.sha256 != sha256 for row in reader.outputs_of(task.slot)):
        return f"of {task.slot}, which has another picture now"
    return "" if unreviewed or task.review == "approved" else f"of {task.slot}, which nobody has approved"


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(file, digest) of each file that a table tells of."""
    if path.is_symlink() or not path.is_file():
        return
    kept = header_of(path) == _COLUMNS
    if not kept and _last_columns(path) != DELIVERY:
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(lines_of(file))
            next(rows, None)
            for row in rows:
                names, digests = (row[0], row[1]) if kept and len(row) == len(_COLUMNS) else _cells(row)
                yield from zip(names.split("|"), digests.split("|"), strict=False)
    except (OSError, ValueError, csv.Error, LineTooLong) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="move it away; the files stay where they are"
        ) from None


def _cells(row: Sequence[str]) -> tuple[str, str]:
    if len(row) < len(DELIVERY):
        return "", ""
    told = dict(zip(DELIVERY, row[-len(DELIVERY) :], strict=True))
    return unguarded(told["file"]), told["sha256"]
