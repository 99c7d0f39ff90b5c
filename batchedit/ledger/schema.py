"""
How an older ledger becomes a current one; the statements are in `tables`.

Each migration runs in one transaction together with the note that it was applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from batchedit.ledger import tables
from batchedit.ledger.views import VIEWS, create_views

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x62617465
"""Written into the file's header ("bate"), so that another program's database is recognised as such."""

SCHEMA_VERSION = 8
"""Kept in `PRAGMA user_version`; a ledger with a higher one is refused."""


def _reviews() -> list[str]:
    # Views look at a table that is made anew.
    return [*(f"DROP VIEW IF EXISTS {name}" for name in reversed([*VIEWS])), *_statements(tables.REVIEWS)]


STEPS: dict[str, str | Callable[[], Iterable[str]]] = {
    "initial": tables.INITIAL,
    "pace": tables.PACE,
    "digests": tables.DIGESTS,
    "chains": tables.CHAINS,
    "views": create_views,
    "facts": tables.FACTS,
    "checks": tables.CHECKS,
    "rendering": tables.RENDERING,
    "reviews": _reviews,
    "locations": tables.LOCATIONS,
    "lineage": tables.LINEAGE,
    "views_7": create_views,
    "jobs": tables.JOBS,
    "trailing": tables.TRAILING,
}
"""Each migration by its name, which ledgers remember, in order."""


def apply_migrations(db: Database) -> None:
    """Bring an empty or older ledger to the current schema."""
    from sqlite_utils import Migrations

    migrations = Migrations("batchedit")
    for name, step in STEPS.items():
        migrations(name=name)(_carried_out(step))
    migrations.apply(db)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _carried_out(step: str | Callable[[], Iterable[str]]) -> Callable[[Database], None]:
    def carry_out(db: Database) -> None:
        for statement in _statements(step) if isinstance(step, str) else step():
            db.execute(statement)

    return carry_out


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
