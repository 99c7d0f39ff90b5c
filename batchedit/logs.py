"""
The logger `batchedit`, and where it goes when the command line is in charge.

The library only logs; it adds no handlers but one that does nothing, and never touches the root logger. Keys, prompts
and queries of URLs are in no record.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from batchedit.errors import StorageError
from batchedit.redaction import harmless, redact

LOGGER = logging.getLogger("batchedit")
LOGGER.addHandler(logging.NullHandler())
_LARGEST, _KEPT = 10_000_000, 5


class Lines(logging.Formatter):
    """
    One record, one line: redacted, and without anything that drives a terminal.

    Args:
        stamped: Begin with the time.
    """

    def __init__(self, *, stamped: bool) -> None:
        super().__init__()
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = redact(record.getMessage())
        if record.exc_info:
            text += f" ({redact(self.formatException(record.exc_info))})"
        start = f"{_stamp(record)} " if self._stamped else ""
        return harmless(f"{start}{record.levelname.lower()} {text}").replace("\n", "\\n")


class JsonLines(logging.Formatter):
    """One record, one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        data: dict[str, Any] = {
            "ts": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        event = getattr(record, "event", None)
        if event is not None:
            data["event"] = event
        if record.exc_info:
            data["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(data)


class _Private(logging.handlers.RotatingFileHandler):
    """A file that nobody else may read, which is moved aside before it grows too large."""

    def _open(self) -> TextIOWrapper:
        # What is handed to it is opened in the mode "a".
        return open(self.baseFilename, "a", encoding="utf-8", opener=_private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the library's name
        """A full disk is the run's own business to notice; a log never ends it."""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _stamp(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_journal(stream: IO[Any], environment: Mapping[str, str]) -> bool:
    """True if a stream goes to systemd's journal, which stamps lines itself."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


@contextmanager
def logging_to(
    file: str | None,
    *,
    form: str,
    verbose: int,
    environment: Mapping[str, str],
    every: bool = False,
    largest: int | None = None,
    kept: int | None = None,
) -> Iterator[None]:
    """
    Let the logger `batchedit` write to a file and to stderr while the context lasts.

    Args:
        file: Its path, None for none. Of mode 0600.
        form: ``text`` or ``json``.
        verbose: 0 nothing on stderr, 1 what happens, 2 every change; the file has one step more.
        every: The file has every change, however little stderr has.
        largest: So many bytes at most before the file is moved aside, 10 MB if not said; `kept` of those are kept, or 5

    Raises:
        StorageError: if the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if verbose:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
        stamped = not is_journal(sys.stderr, environment)
        handler.setFormatter(JsonLines() if form == "json" else Lines(stamped=stamped))
        handlers.append(handler)
    if file is not None:
        try:
            handler = _Private(Path(file), maxBytes=largest or _LARGEST, backupCount=kept or _KEPT)
        except OSError as error:
            raise StorageError(f"the log {file} cannot be written: {error.strerror}") from error
        handler.setLevel(logging.DEBUG if verbose or every else logging.INFO)
        handler.setFormatter(JsonLines() if form == "json" else Lines(stamped=True))
        handlers.append(handler)
    before, passes = LOGGER.level, LOGGER.propagate
    for handler in handlers:
        LOGGER.addHandler(handler)
    if handlers:
        levels = [handler.level for handler in handlers]
        LOGGER.setLevel(min([*levels, before] if before else levels))  # one may be within another
        LOGGER.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()
        LOGGER.setLevel(before)
        LOGGER.propagate = passes
