"""
How an older ledger becomes a current one; the statements are in `tables`.

Each migration runs in one transaction together with the note that it was applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from batchedit.ledger import tables
from batchedit.ledger.views import VIEWS, create_views

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x62617465
"""Written into the file's header ("bate"), so that another program's database is recognised as such."""

SCHEMA_VERSION = 7
"""Kept in `PRAGMA user_version`; a ledger with a higher one is refused."""


def apply_migrations(db: Database) -> None:
    """Bring an empty or older ledger to the current schema."""
    from sqlite_utils import Migrations

    migrations = Migrations("batchedit")

    @migrations()
    def initial(db: Database) -> None:
        _carry_out(db, _statements(tables.INITIAL))

    @migrations()
    def pace(db: Database) -> None:
        _carry_out(db, _statements(tables.PACE))

    @migrations()
    def digests(db: Database) -> None:
        _carry_out(db, _statements(tables.DIGESTS))

    @migrations()
    def chains(db: Database) -> None:
        _carry_out(db, _statements(tables.CHAINS))

    @migrations()
    def views(db: Database) -> None:
        _carry_out(db, create_views())

    @migrations()
    def facts(db: Database) -> None:
        # JSON: the settings in force with their origin, and the rows that made no task
        db.execute("ALTER TABLE runs ADD COLUMN facts TEXT NOT NULL DEFAULT '{}'")

    @migrations()
    def checks(db: Database) -> None:
        _carry_out(db, _statements(tables.CHECKS))

    @migrations()
    def rendering(db: Database) -> None:
        _carry_out(db, _statements(tables.RENDERING))

    @migrations()
    def reviews(db: Database) -> None:
        for name in reversed([*VIEWS]):  # they look at a table that is made anew
            db.execute(f"DROP VIEW IF EXISTS {name}")
        _carry_out(db, _statements(tables.REVIEWS))

    @migrations()
    def locations(db: Database) -> None:
        # 1 if the picture says where it was taken, NULL if nobody has looked
        db.execute("ALTER TABLE digests ADD COLUMN located INTEGER")

    @migrations()
    def lineage(db: Database) -> None:
        _carry_out(db, _statements(tables.LINEAGE))

    @migrations()
    def views_7(db: Database) -> None:
        _carry_out(db, create_views())

    @migrations()
    def jobs(db: Database) -> None:
        _carry_out(db, _statements(tables.JOBS))

    migrations.apply(db)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _carry_out(db: Database, statements: Iterable[str]) -> None:
    for statement in statements:
        db.execute(statement)


def _statements(script: str) -> list[str]:
    # executescript would commit the surrounding transaction first.
    import sqlite3

    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
