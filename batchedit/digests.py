"""
What the pictures of a plan hold, without reading them again: digests by path, size, times and inode.

A plan remembers each picture that it has identified, on the disk, so that a million need no memory. What it has read
itself a run writes into the ledger, and later plans take it from there as long as the file looks the same.

A file's times tell of a change only if the clock has moved on since: one that was changed a moment before it was read
may be changed again within the same tick, and would look the same. Such a reading is used, and not kept.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from batchedit.effects import Effects
from batchedit.ledger.records import Digest
from batchedit.scratch import scratch
from batchedit.sources import FileFacts, SourceProblem, digest_file

GRANULARITY_NS = 2_000_000_000
"""The coarsest time of change that a file system in use keeps: FAT counts in two seconds."""

_CACHE_KIB = 8 * 1024
_TABLE = """
CREATE TABLE digests (path TEXT PRIMARY KEY, size_bytes INTEGER, modified_ns INTEGER, changed_ns INTEGER, inode INTEGER,
  sha256 TEXT, format TEXT, located INTEGER, keep INTEGER) WITHOUT ROWID;
"""


class Known(Protocol):
    """Whoever remembers digests of earlier runs, such as a ledger."""

    def digest_of(self, path: str) -> Digest | None:
        """What was found at this path, None if nothing was."""


class Digests:
    """
    The pictures of one plan. Each is looked at once: what it is to be is decided when the plan is made, and a run sends
    nothing else under that name.

    Args:
        wall: Unix time in seconds, to tell which readings can be trusted later; None for the real one.
    """

    def __init__(self, wall: Callable[[], float] | None = None) -> None:
        self._wall = wall or Effects().wall
        self._connection: sqlite3.Connection | None = None
        self.count = 0

    def __bool__(self) -> bool:
        """True if a local picture was looked at."""
        return self.count > 0

    def __contains__(self, path: Path) -> bool:
        """True if the picture at this path was identified."""
        return self._find(path) is not None

    def facts(self, path: Path, known: Known | None) -> FileFacts:
        """
        What the picture at this path holds; read only if neither this plan nor the ledger can tell.

        Args:
            path: Absolute, or from the working folder.
            known: The ledger, None without one.

        Raises:
            SourceProblem: if it is missing, unreadable, empty, or no PNG, JPEG or WebP file.
        """
        found = self._find(path)
        if found is None:
            digest, keep = self._identify(path, known)
            self._remember(digest, keep=keep)
            found = digest
        return FileFacts(
            sha256=found.sha256,
            size_bytes=found.size_bytes,
            format=found.format,
            has_location=bool(found.located),
        )

    def located(self) -> int:
        """How many of the pictures say where they were taken; a content that lies in two files counts once."""
        if self._connection is None:
            return 0
        row = self._connection.execute("SELECT count(DISTINCT sha256) FROM digests WHERE located").fetchone()
        return int(row[0])

    def fresh(self) -> Iterator[Digest]:
        """What this plan has read itself and can be trusted later; for the ledger."""
        if self._connection is not None:
            for row in self._connection.execute("SELECT * FROM digests WHERE keep ORDER BY path"):
                yield Digest(*row[:-1])

    # -- inside ----------------------------------------------------------------------------------------------

    def _identify(self, path: Path, known: Known | None) -> tuple[Digest, bool]:
        name = os.path.abspath(path)
        before = _look(name)
        remembered = known.digest_of(name) if known is not None else None
        if (
            remembered is not None
            and remembered.located is not None
            and before
            == (
                remembered.size_bytes,
                remembered.modified_ns,
                remembered.changed_ns,
                remembered.inode,
            )
        ):
            return remembered, False
        began_ns = int(self._wall() * 1e9)
        facts = digest_file(path)
        size, modified, changed, inode = before
        settled = max(modified, changed) + GRANULARITY_NS < began_ns and _look(name) == before
        digest = Digest(
            name, facts.size_bytes, modified, changed, inode, facts.sha256, facts.format, int(facts.has_location)
        )
        return digest, settled and facts.size_bytes == size

    def _find(self, path: Path) -> Digest | None:
        if self._connection is None:
            return None
        row = self._connection.execute("SELECT * FROM digests WHERE path = ?", (os.path.abspath(path),)).fetchone()
        return None if row is None else Digest(*row[:-1])

    def _remember(self, digest: Digest, *, keep: bool) -> None:
        if self._connection is None:
            # A plan is made in one thread and may be carried out in another, never in both at once.
            self._connection = scratch(_TABLE, cache_kib=_CACHE_KIB, moves=True)
            weakref.finalize(self, self._connection.close)
        self._connection.execute("INSERT INTO digests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*digest.row(), int(keep)))
        self.count += 1


def _look(name: str) -> tuple[int, int, int, int]:
    try:
        found = os.stat(name)
    except OSError as error:
        raise SourceProblem(error.strerror or "cannot be read") from None
    except ValueError:
        raise SourceProblem("is not a path") from None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
