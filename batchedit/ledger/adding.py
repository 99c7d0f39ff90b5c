"""Rows that are only ever added, by whoever has a connection that may write."""

from __future__ import annotations

import sqlite3

from batchedit.ledger.records import Decision


def add_decision(connection: sqlite3.Connection, said: Decision, now: str) -> int | None:
    """Add a decision within a transaction, and return its number."""
    return connection.execute(
        "INSERT INTO decisions (slot, request_key, decided_at, verdict, reason, note, who)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (said.slot, said.key, now, said.verdict, said.reason, said.note, said.who),
    ).lastrowid
