"""
Opening the ledger's file: settings that decide durability, read back, and refusals before any money moves.

WAL with `synchronous=FULL`: each commit is on the disk before it is acknowledged. One connection writes and
checkpoints; readers open the file read-only. On a network file system, where WAL cannot work, DELETE with EXTRA.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchedit.disk import sync_folder
from batchedit.errors import LedgerError, StorageError
from batchedit.ledger.filesystem import network_type
from batchedit.ledger.schema import APPLICATION_ID, SCHEMA_VERSION, apply_migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

DAMAGED_HINT = "nothing was sent; keep the file and what lies beside it, and restore a backup if there is one"

_LOCAL: tuple[tuple[str, str, object], ...] = (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2))
# Measured on power-cut images: with DELETE only EXTRA keeps the last commit (the journal's removal must be durable).
_NETWORK: tuple[tuple[str, str, object], ...] = (("journal_mode", "DELETE", "delete"), ("synchronous", "EXTRA", 3))
_SETTINGS: tuple[tuple[str, str, object], ...] = (
    ("foreign_keys", "ON", 1),
    ("busy_timeout", "30000", 30000),
    ("trusted_schema", "OFF", 0),
)


def open_for_writing(path: Path, *, identity: Mapping[str, str]) -> Database:
    """
    Open the ledger at `path`, made if there is none, and bring it to the current schema.

    Args:
        identity: What a new ledger says about itself, written in the same transaction as its tables.

    Raises:
        LedgerError: if it is damaged, another program's, or written by a newer version.
        StorageError: if the disk refuses it.
    """
    from sqlite_utils import Database

    is_new = not path.exists()
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StorageError(f"cannot open the ledger {path}: {error}") from error
    try:
        _refuse_foreign(connection, path)
        _apply_settings(connection, path)
        if not is_new:
            _refuse_damaged(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        database = Database(connection, execute_plugins=False)
        apply_migrations(database)
        if not connection.execute("SELECT count(*) FROM meta").fetchone()[0]:
            connection.executemany("INSERT INTO meta VALUES (?, ?)", identity.items())
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise _ledger_error(error, path) from error
    except LedgerError:
        connection.close()
        raise
    # Without this a power cut may take the whole new file, purchases included. Each time, since the process that made
    # it may have died before it came here.
    sync_folder(path.parent)
    return database


def open_for_reading(path: Path) -> sqlite3.Connection:
    """
    Open the ledger at `path` without any right to change it; works while a run is writing.

    Raises:
        LedgerError: if there is none, it is damaged, another program's, or newer.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}", hint="a ledger is made by the first `batchedit run`")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _ledger_error(error, path) from error
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA trusted_schema=OFF")
        _refuse_foreign(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _ledger_error(error, path) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and tables:
        raise LedgerError(f"{path} is a database, but not a ledger of batchedit", hint="name another file")
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} has schema {version}; this program knows up to {SCHEMA_VERSION}",
            hint="use the newer version of batchedit that wrote it",
        )


def _refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise LedgerError(f"the ledger {path} is damaged: {found}", hint=DAMAGED_HINT)


def _apply_settings(connection: sqlite3.Connection, path: Path) -> None:
    for name, value, expected in (*(_NETWORK if network_type(path) else _LOCAL), *_SETTINGS):
        connection.execute(f"PRAGMA {name}={value}")
        actual = connection.execute(f"PRAGMA {name}").fetchone()[0]
        if actual != expected:
            raise LedgerError(
                f"the ledger {path} cannot be kept safely: {name} is {actual}, not {expected}",
                hint="put the ledger on a local disk with --ledger",
            )


def _ledger_error(error: sqlite3.Error, path: Path) -> LedgerError | StorageError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return LedgerError(f"the ledger {path} is damaged: {error}", hint=DAMAGED_HINT)
    if name.startswith("SQLITE_BUSY"):
        return LedgerError(f"the ledger {path} is held by another program: {error}")
    return StorageError(f"the ledger {path} cannot be used: {error}")
