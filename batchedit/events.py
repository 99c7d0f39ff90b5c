"""
Changes of state for other programs: a line of JSON for each, in a file or on stdout, and in the log.

They are read from the ledger, so that only what is durable is told. A file that is named again is gone on with where it
ends: after a kill the next run adds what is missing, and nothing stands there twice.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from batchedit.errors import BatchEditError, StorageError, UsageError
from batchedit.ledger.reader import has_begun
from batchedit.ledger.tail import Change, Tail
from batchedit.logs import LOGGER
from batchedit.money import decimal_text

EVENTS_VERSION = 1
"""Of the lines; `exporting/events.schema.json` has their schema."""
_PAUSE_SECONDS = 0.25
_LONGEST_LINE = 64 * 1024
_BAD = frozenset({"failed", "unknown", "suspect", "lost"})

Sink = Callable[[str, Iterable[Change]], None]
"""Takes the ledger's id and changes in their order."""


def event_line(ledger_id: str, change: Change) -> str:
    """A change as a line of JSON, without its end."""
    data: dict[str, Any] = {
        "v": EVENTS_VERSION,
        "id": change.id,
        "ts": change.at,
        "ledger": ledger_id,
        "run": change.run,
        "request": change.request,
        "job": change.slot or None,
        "jobs": change.tasks,
        "event": change.event,
        "from": change.before,
        "to": change.after,
        "attempt": change.attempt,
        "cost": None if change.cost is None else decimal_text(change.cost),
        "basis": change.basis,
        "class": change.code or None,
    }
    return json.dumps(data, separators=(",", ":"))


class EventFile:
    """
    Writes lines to a file of its own, or to stdout.

    Args:
        target: The file's path; ``-`` is stdout.

    Raises:
        UsageError: if the file is something else.
        StorageError: if it cannot be written.
    """

    def __init__(self, target: str) -> None:
        self.last: int | None = None
        self._ledger_id = ""
        self._target = target
        if target == "-":
            self._file: IO[bytes] = sys.stdout.buffer
            return
        try:
            # Not replaced and not followed: it may lie where others can put a link.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._file = os.fdopen(os.open(target, flags, 0o600), "r+b", buffering=0)
            try:
                self._resume()
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise StorageError(f"the events' file {target} cannot be written: {error.strerror}") from error

    def __call__(self, ledger_id: str, changes: Iterable[Change]) -> None:
        """Append them in one write, so that a kill cuts at most the last line."""
        if self._ledger_id not in ("", ledger_id):
            raise UsageError(f"{self._target} holds the events of another ledger", hint="name another file")
        self._file.write("".join(event_line(ledger_id, change) + "\n" for change in changes).encode())
        self._file.flush()

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._target != "-":
            self._file.close()

    def check(self, ledger_id: str) -> None:
        """Raises UsageError if the file belongs to another ledger."""
        self(ledger_id, ())

    def _resume(self) -> None:
        """Find out where it ends, and cut off a line that was begun when something died."""
        size = self._file.seek(0, os.SEEK_END)
        if not size:
            return
        start = max(0, size - _LONGEST_LINE)
        self._file.seek(start)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        line = whole[whole.rfind(b"\n", 0, -1) + 1 :]
        try:
            # Without a whole line it may be the beginning of the first one.
            found = json.loads(line or b"{}")
            if line and found["v"] == EVENTS_VERSION:
                self.last, self._ledger_id = int(found["id"]), str(found["ledger"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.last = None
        if self.last is None and (line or not data.startswith(b'{"v":')):
            raise UsageError(f"{self._target} holds something else than events", hint="name another file")
        self._file.truncate(start + len(whole))


def log_changes(ledger_id: str, changes: Iterable[Change]) -> None:
    """Put changes into the log: what somebody should look at as warnings, the rest for debugging."""
    for change in changes:
        code = f" ({change.code})" if change.code else ""
        LOGGER.log(
            30 if change.after in _BAD else 10,
            "%s: %s -> %s by %s%s",
            change.slot or change.request[:12],
            change.before,
            change.after,
            change.event,
            code,
            extra={"event": json.loads(event_line(ledger_id, change))},
        )


class Pump:
    """
    Tells sinks of a ledger's changes while a run goes on, from a thread of its own. A context manager.

    Trouble with it never ends a run: it is told to `on_trouble`, once, and the sink is left alone from then on.

    Args:
        ledger: The file, which may not be there yet.
        file: Where lines go; what it lacks is added first.
        sinks: Others, which are told what happens from now on.

    Raises:
        UsageError: if the file belongs to another ledger.
    """

    def __init__(
        self, ledger: Path, file: EventFile | None, sinks: Iterable[Sink], on_trouble: Callable[[str], None]
    ) -> None:
        self._ledger, self._on_trouble = ledger, on_trouble
        now = 0
        if has_begun(ledger):
            with Tail(ledger) as tail:
                now = tail.newest()
                if file is not None:
                    file.check(tail.ledger_id)
        elif file is not None and file.last is not None:
            raise UsageError("the events' file belongs to a ledger that is not there", hint="name another file")
        self._sinks: list[tuple[Sink, int]] = [(sink, now) for sink in sinks]
        if file is not None:
            self._sinks.append((file, now if file.last is None else file.last))
        self._tail: Tail | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batchedit events", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        if self._sinks:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell what is left, and end."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.wait(_PAUSE_SECONDS):
                self._tell()
            self._tell()
        finally:
            if self._tail is not None:
                self._tail.__exit__()

    def _tell(self) -> None:
        try:
            if self._tail is None:
                if not has_begun(self._ledger):
                    return
                self._tail = Tail(self._ledger)
        except BatchEditError as error:
            # A ledger that is being made, or cannot be read: the run says so itself.
            LOGGER.debug("the ledger cannot be read yet: %s", error)
            return
        kept = []
        for sink, last in self._sinks:
            try:
                while changes := self._tail.after(last):
                    sink(self._tail.ledger_id, changes)
                    last = changes[-1].id
            except StorageError as error:
                LOGGER.debug("%s", error)  # busy or damaged: the next look, or the run itself, will show
            except (OSError, UsageError) as error:
                self._on_trouble(f"events are not written any more: {getattr(error, 'strerror', None) or error}")
                continue
            kept.append((sink, last))
        self._sinks = kept
