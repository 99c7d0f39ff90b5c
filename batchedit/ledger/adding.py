"""Rows that are only ever added, by whoever has a connection that may write."""

from __future__ import annotations

import hashlib
import sqlite3

from batchedit.ledger.records import Decision

FILES_OF = (
    "SELECT coalesce(group_concat(sha256, ' '), '') FROM"
    " (SELECT sha256 FROM outputs WHERE outputs.slot = {slot} ORDER BY number)"
)
"""SQL: what a task's delivered files hold, in a text: the digests of all of them, in order."""

MADE_ANEW = f"verdict <> 'undecided' AND files <> '' AND files <> ({FILES_OF.format(slot='tasks.slot')})"
"""SQL: since a decision about the pictures of a row of `tasks` its files were made anew, and are others."""

_LOOK_LETTERS = 12


def look_of(files: str) -> str:
    """What a page calls the files of a task as they are, from `FILES_OF`: another text once they are others."""
    return hashlib.sha256(files.encode()).hexdigest()[:_LOOK_LETTERS]


def add_decision(connection: sqlite3.Connection, said: Decision, now: str) -> int | None:
    """
    Add a decision within a transaction, and return its number.

    It is about the pictures of a request as they lie there now, unless it says otherwise: both are noted.
    """
    return connection.execute(
        "INSERT INTO decisions (slot, request_key, decided_at, verdict, reason, note, who, files)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, coalesce(nullif(?, ''), ({FILES_OF.format(slot='?')})))",
        (said.slot, said.key, now, said.verdict, said.reason, said.note, said.who, said.files, said.slot),
    ).lastrowid
