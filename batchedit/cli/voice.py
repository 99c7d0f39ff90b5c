"""Saying things on stdout and stderr, to readers that may have gone, and to terminals that obey what they show."""

from __future__ import annotations

import errno
import os
import sys

import click

from batchedit.errors import StorageError
from batchedit.redaction import harmless


def say(text: str, *, err: bool = False) -> None:
    """
    Print a line, made harmless. A reader that has gone, as with `| head`, changes nothing: the command goes on and its
    exit code still tells how it ended. What is no valid Unicode, as in names of files from elsewhere, is shown as
    ``\\udcff``.

    Raises:
        StorageError: if it goes to a file, and the disk does not take it.
    """
    try:
        click.echo(harmless(text).encode("utf-8", "backslashreplace").decode("utf-8"), err=err)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):  # of a terminal that was closed
            _be_silent(err=err)
            raise StorageError(f"what is said here cannot be written: {error.strerror}") from error
        # Later writes, and the interpreter's own flush at the end, must not meet the closed pipe again.
        _be_silent(err=err)


def _be_silent(*, err: bool) -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, (sys.stderr if err else sys.stdout).fileno())
    os.close(sink)
