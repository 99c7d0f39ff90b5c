"""
One writing process per ledger and per output folder, by an advisory lock on a file of its own.

Never on the database file itself: closing any other descriptor of it would drop SQLite's own locks. The kernel
releases the lock when its owner dies, so a lock left by a killed process is taken over without asking.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from decimal import Decimal
from pathlib import Path

from batchedit.errors import LedgerError, StorageError


class LedgerLock:
    """
    Holds the lock of one ledger until closed.

    Raises:
        LedgerError: if another process holds it; the message says who and since when.
        StorageError: if the lock file cannot be made.

    Args:
        path: The lock file; made if there is none.
        since: What it says about when.
        what: What is locked, for the message.
    """

    def __init__(self, path: Path, *, since: str, what: str = "the ledger") -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(f"cannot open the lock file {path}: {error.strerror}") from error
        if os.fstat(self._file).st_nlink > 1:  # somebody's planted name of another file, which would be emptied
            os.close(self._file)
            raise StorageError(f"the lock file {path} is another name of some file; remove it")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(self._file)
            os.close(self._file)
            busy = LedgerError(
                f"{what} is in use by another run ({owner})",
                hint="wait for it, or stop it with Ctrl-C; nothing was sent",
            )
            busy.retryable, busy.money_spent = True, Decimal(0)
            raise busy from error
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its note
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, note.encode(), 0)

    def close(self) -> None:
        """Release the lock. The file stays: removing it would let two processes lock two files of one name."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)
        self._file = -1


def lock_owner(path: Path) -> str:
    """Who holds a lock, in words; empty if nobody does."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _owner(file)
    finally:
        os.close(file)
    return ""


def lock_path(ledger: Path) -> Path:
    """Where the lock of the ledger at this path lives."""
    return ledger.with_name(ledger.name + ".lock")


def _owner(file: int) -> str:
    try:
        note = json.loads(os.pread(file, 1000, 0))
        return f"process {note['pid']} on {note['host']}, since {note['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it left no note of itself"
