"""
Opening the ledger's file: settings that decide durability, read back, and refusals before any money moves.

WAL with `synchronous=FULL`: each commit is on the disk before it is acknowledged. One connection writes and
checkpoints; readers open the file read-only. On a network file system, where WAL cannot work, DELETE with EXTRA.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from batchedit.disk import alone, append, replace, storage, sync_file, sync_folder, temporary_in
from batchedit.errors import LedgerError, StorageError
from batchedit.ledger.filesystem import network_type
from batchedit.ledger.schema import APPLICATION_ID, SCHEMA_VERSION, apply_migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

DAMAGED_HINT = "nothing was sent; keep the file and what lies beside it, and restore a backup if there is one"

_TABLES = ("meta", "runs", "requests", "tasks", "attempts", "raws", "outputs", "uploads", "waiting", "decisions")
"""A view of such a name could be without an end."""

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
        identity: What a new ledger says about itself.

    Raises:
        LedgerError: if it is damaged, another program's, or written by a newer version.
        StorageError: if the disk refuses it.
    """
    if not path.exists():
        _make(path, identity)
    database = _open(path, path, identity, check=True)
    # Without this a power cut may take the whole new file, purchases included. Each time, since the process that made
    # it may have died before it came here.
    sync_folder(path.parent)
    return database


def _make(path: Path, identity: Mapping[str, str]) -> None:
    """Under another name first, so that a ledger is either not there or whole, and never needs its first repair."""
    folder, stem = path.parent, f".{path.name}-"
    with storage("make", path):
        for stale in folder.glob(f"{stem}*.part*"):
            stale.unlink(missing_ok=True)
        temporary = temporary_in(folder, stem)
        append(temporary)  # private, as SQLite's own files beside it then are
        try:
            with closing(_open(temporary, path, identity, check=False).conn) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise _ledger_error(error, path) from error
        sync_file(temporary)
        alone(replace(temporary, path))


def _open(path: Path, shown: Path, identity: Mapping[str, str], *, check: bool) -> Database:
    from sqlite_utils import Database

    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StorageError(f"cannot open the ledger {shown}: {error}") from error
    try:
        _refuse_foreign(connection, shown)
        _apply_settings(connection, shown)
        if check:
            _refuse_damaged(connection, shown)
        connection.execute("BEGIN IMMEDIATE")
        database = Database(connection, execute_plugins=False)
        apply_migrations(database)
        if not connection.execute("SELECT count(*) FROM meta").fetchone()[0]:
            connection.executemany("INSERT INTO meta VALUES (?, ?)", identity.items())
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise _ledger_error(error, shown) from error
    except LedgerError:
        connection.close()
        raise
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
        return _read_only(path)
    except sqlite3.Error as error:
        if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
            raise _ledger_error(error, path) from error
    try:
        # A writer was killed in the middle of a commit. SQLite undoes that, but only for somebody who may write.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as writable:
            writable.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return _read_only(path)
    except sqlite3.Error as error:
        raise _ledger_error(error, path) from error


def open_for_adding(path: Path) -> sqlite3.Connection:
    """
    Open the ledger at `path` beside whoever holds its lock, for short transactions that only add rows.

    Raises:
        LedgerError: if there is none, it is damaged, another program's, or newer.
        StorageError: if the disk refuses it.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}", hint="a ledger is made by the first `batchedit run`")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            _refuse_foreign(connection, path)
            _apply_settings(connection, path)
            connection.execute("PRAGMA wal_autocheckpoint=0")
        except (sqlite3.Error, LedgerError):
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _ledger_error(error, path) from error
    return connection


def _read_only(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA trusted_schema=OFF")
        _refuse_foreign(connection, path)
    except (sqlite3.Error, LedgerError):
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
    # Code that would run with each thing that is noted: it could make what was spent nothing, and what is done undone.
    found = connection.execute(
        "SELECT type || ' ' || substr(name, 1, 100) FROM sqlite_master WHERE type = 'trigger'"
        f" OR (type = 'view' AND lower(name) IN ({', '.join('?' for _ in _TABLES)}))",
        _TABLES,
    ).fetchone()
    if found is not None:
        raise LedgerError(
            f"the ledger {path} has a {found[0]}, which no ledger of batchedit has",
            hint="if it is from somebody else, do not use it; else take that out of it",
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
