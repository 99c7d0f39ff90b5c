"""
What a ledger remembers of jobs: which start was cut off, so that the next one goes on with its limit, and which
warnings were given.

Rows are only ever added, and by a connection beside the run's own, so that the job's end needs no lock.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

from batchedit.errors import StorageError
from batchedit.ledger.connection import open_for_adding
from batchedit.ledger.waiting import has_table

_BEGAN, _ENDED = "began", "ended"


class LedgerJobs:
    """The questions, for whoever has a connection."""

    _connection: sqlite3.Connection

    def open_start(self, job: str) -> str | None:
        """When the job's last start began, if it has not ended: it goes on, or was cut off. None otherwise."""
        if not has_table(self._connection, "job_starts"):
            return None
        row = self._connection.execute(
            "SELECT at, event FROM job_starts WHERE job = ? ORDER BY id DESC LIMIT 1", (job,)
        ).fetchone()
        return str(row["at"]) if row is not None and row["event"] == _BEGAN else None

    def warned(self, job: str) -> dict[tuple[str, str, str], int]:
        """The highest threshold that was told, in percent, by (label, value, period)."""
        if not has_table(self._connection, "job_warnings"):
            return {}
        rows = self._connection.execute(
            "SELECT label, value, period, max(percent) AS percent FROM job_warnings WHERE job = ?"
            " GROUP BY label, value, period",
            (job,),
        )
        return {(row["label"], row["value"], row["period"]): int(row["percent"]) for row in rows}


def job_going_on(connection: sqlite3.Connection) -> str:
    """The name of a job that goes on in a process of this machine, be it between two runs; empty if none does."""
    if not has_table(connection, "job_starts"):
        return ""
    rows = connection.execute(
        "SELECT job, owner FROM job_starts WHERE event = 'began'"
        " AND id IN (SELECT max(id) FROM job_starts GROUP BY job) ORDER BY id DESC"
    )
    return next((str(row["job"]) for row in rows if _is_alive(row["owner"])), "")


def owner_of_this() -> str:
    """This process, as rows name it."""
    return f"{os.getpid()} {socket.gethostname()}"


def _is_alive(owner: str) -> bool:
    process, _, host = owner.partition(" ")
    if host != socket.gethostname() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def add_end(ledger: Path, job: str, at: str) -> None:
    """
    Note that a job's start has ended; nothing if none goes on.

    Raises:
        LedgerError: as `open_for_adding`.
        StorageError: if the disk does not take it.
    """
    _add(
        ledger,
        "INSERT INTO job_starts (job, at, event) SELECT :job, :at, 'ended' WHERE 'began' ="
        " (SELECT event FROM job_starts WHERE job = :job ORDER BY id DESC LIMIT 1)",
        {"job": job, "at": at},
    )


def add_warning(ledger: Path, job: str, name: tuple[str, str, str], percent: int, at: str) -> bool:
    """
    Note that a threshold is told; False if it was noted before.

    Raises:
        LedgerError, StorageError: as `add_end`.
    """
    label, value, period = name
    return _add(
        ledger,
        "INSERT OR IGNORE INTO job_warnings (job, label, value, period, percent, at)"
        " VALUES (:job, :label, :value, :period, :percent, :at)",
        {"job": job, "label": label, "value": value, "period": period, "percent": percent, "at": at},
    )


def _add(ledger: Path, sql: str, values: dict[str, object]) -> bool:
    with closing(open_for_adding(ledger)) as connection:
        try:
            if not has_table(connection, "job_starts"):
                return False  # an older ledger: no job was begun in it since it knows of them
            return connection.execute(sql, values).rowcount == 1
        except sqlite3.Error as error:
            raise StorageError(f"the ledger {ledger} cannot be written: {error}") from error
