"""
Remembering on the disk what would fill the memory: a database in SQLite's own temporary file, gone when it is closed.
"""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import ClassVar, Self


def scratch(tables: str, *, cache_kib: int, moves: bool = False) -> sqlite3.Connection:
    """
    A new database that nobody else sees.

    Args:
        tables: SQL that makes them.
        cache_kib: So much of it is kept in memory.
        moves: It may be used in another thread than it was made in, never in two at once.
    """
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=not moves)
    connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {tables}")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute("BEGIN")
    return connection


class Scratch:
    """What one walk remembers. A context manager."""

    TABLES: ClassVar[str] = ""
    CACHE_KIB: ClassVar[int] = 8 * 1024
    MOVES: ClassVar[bool] = False

    def __init__(self) -> None:
        self._connection = scratch(self.TABLES, cache_kib=self.CACHE_KIB, moves=self.MOVES)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget everything."""
        self._connection.close()
