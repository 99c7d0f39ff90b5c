"""Whether a ledger is whole, and a copy of it that is."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from batchedit import disk
from batchedit.errors import LedgerError, StorageError
from batchedit.ledger.connection import DAMAGED_HINT, open_for_reading
from batchedit.ledger.filesystem import file_system
from batchedit.ledger.lock import lock_owner, lock_path
from batchedit.ledger.schema import SCHEMA_VERSION
from batchedit.ledger.waiting import has_table

_TABLES = (
    "runs", "requests", "tasks", "waiting", "attempts", "raws", "outputs", "decisions", "wishes", "overrides",
    "comparisons", "checks", "uploads", "events",
)  # fmt: skip
_RULES = (
    (
        "a request is open without an open attempt, or the other way round",
        "SELECT key FROM requests WHERE (state IN ('sending', 'accepted', 'fetching', 'unknown'))"
        " <> EXISTS (SELECT 1 FROM attempts WHERE request_key = key AND outcome IS NULL)",
    ),
    (
        "a request is not where its last event put it",
        "SELECT key FROM requests WHERE state <> coalesce((SELECT state_to FROM events WHERE request_key = key"
        " ORDER BY id DESC LIMIT 1), 'pending')",
    ),
    (
        "a request is done and has no picture",
        "SELECT key FROM requests WHERE state = 'done' AND NOT EXISTS (SELECT 1 FROM raws WHERE request_key = key)",
    ),
    (
        "a delivered file is not a picture of its request",
        "SELECT outputs.request_key AS key FROM outputs LEFT JOIN raws ON raws.request_key = outputs.request_key"
        " AND raws.number = outputs.number WHERE raws.sha256 IS NOT outputs.sha256 AND NOT EXISTS"
        " (SELECT 1 FROM renders WHERE renders.sha256 = outputs.sha256 AND renders.raw_sha256 = raws.sha256)",
    ),
    (
        "a request is done and its attempt is not settled",
        "SELECT key FROM requests WHERE state = 'done'"
        " AND NOT EXISTS (SELECT 1 FROM attempts WHERE request_key = key AND outcome IN ('done', 'suspect'))",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerInfo:
    """What kind of file a ledger is. `owner` says who is writing to it now, empty when nobody is."""

    path: Path
    ledger_id: str
    world: str
    schema: int
    journal_mode: str
    size_bytes: int
    file_system: str
    sqlite: str
    owner: str
    rows: dict[str, int]


def info(path: Path) -> LedgerInfo:
    """
    Look at a ledger.

    Raises:
        LedgerError: if it is none, damaged, or newer.
    """
    with closing(open_for_reading(path)) as connection:
        try:
            meta = {row["name"]: row["value"] for row in connection.execute("SELECT name, value FROM meta")}
            tables = [name for name in _TABLES if has_table(connection, name)]
            return LedgerInfo(
                path=path,
                ledger_id=meta["ledger_id"],
                world=meta["world"],
                schema=connection.execute("PRAGMA user_version").fetchone()[0],
                journal_mode=connection.execute("PRAGMA journal_mode").fetchone()[0],
                size_bytes=sum(
                    file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists()
                ),
                file_system=file_system(path),
                sqlite=sqlite3.sqlite_version,
                owner=lock_owner(lock_path(path)),
                rows={
                    # Names of our own tables, not from outside.
                    table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                    for table in tables
                },
            )
        except (sqlite3.Error, KeyError) as error:
            raise _damaged(path, error) from error


def examine(path: Path) -> list[str]:
    """
    Everything that is wrong inside a ledger, as sentences; empty if it is whole. Changes nothing.

    Raises:
        LedgerError: if it cannot even be read as a ledger.
    """
    with closing(open_for_reading(path)) as connection:
        problems: list[str] = []
        try:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
            if not has_table(connection, "renders"):  # of a newer version; nothing was made there
                connection.execute("CREATE TEMP TABLE renders (sha256, raw_sha256)")
            problems += [f"damaged: {text}" for text in found if text != "ok"]
            problems += [
                f"a row of {row[0]} names a row of {row[2]} that is not there"
                for row in connection.execute("PRAGMA foreign_key_check")
            ]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if not 1 <= version <= SCHEMA_VERSION:
                problems.append(f"the schema is {version}, this program knows 1 to {SCHEMA_VERSION}")
            for rule, sql in _RULES:
                keys = [row["key"][:12] for row in connection.execute(f"{sql} LIMIT 5")]
                if keys:
                    problems.append(f"{rule}: {', '.join(keys)}")
        except sqlite3.Error as error:
            problems.append(f"cannot be read to the end: {error}")
    return problems


def backup(path: Path, target: Path) -> int:
    """
    Copy a ledger as it is at this moment, also while a run writes it; returns the copy's bytes.

    Raises:
        LedgerError: if the ledger cannot be read.
        StorageError: if the target exists or the disk does not take it.
    """
    if os.path.lexists(target):
        raise StorageError(f"{target} exists; a backup never replaces a file")
    temporary = disk.temporary_in(target.parent, f".{target.name}-")
    try:
        with closing(open_for_reading(path)) as connection:
            try:
                with closing(sqlite3.connect(temporary)) as copy:
                    connection.backup(copy)
                    copy.execute("PRAGMA journal_mode=DELETE")
            except sqlite3.Error as error:
                raise _damaged(path, error) from error
        with disk.storage("write", target):
            disk.sync_file(temporary)
            disk.alone(disk.publish(temporary, target))
            return target.stat().st_size
    except FileExistsError:
        raise StorageError(f"{target} exists; a backup never replaces a file") from None
    finally:
        temporary.unlink(missing_ok=True)


def _damaged(path: Path, error: Exception) -> LedgerError:
    return LedgerError(f"the ledger {path} is damaged: {error}", hint=DAMAGED_HINT)
