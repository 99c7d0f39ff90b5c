"""Where an export goes: a stream, or a file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from batchedit.disk import alone, replace, storage, sync_file, temporary_in

Target = Path | IO[str]
"""A file, or a stream that is open for text."""


@contextmanager
def written(target: Path) -> Iterator[Path]:
    """
    A name to write to; what is there at the end gets the target's name in one step, in place of what has it.

    If the writing fails the target stays as it was.

    Raises:
        StorageError: if the disk refuses it.
    """
    # Its ending is another one, so that whoever collects files by their ending does not take half of one.
    temporary = temporary_in(target.parent, f".{target.name[:100]}-")
    try:
        with storage("write", target):
            yield temporary
            sync_file(temporary)
            alone(replace(temporary, target))
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def text_to(target: Target, *, mark: str = "", mode: int = 0o666) -> Iterator[IO[str]]:
    """
    A stream for text in UTF-8 to the target, begun with a mark.

    Args:
        mode: Who may read a file, as far as the process lets others.

    Raises:
        StorageError: if the disk refuses a file.
    """
    if not isinstance(target, Path):
        target.write(mark)
        yield target
        return
    # Not private as a rule, unlike what a run writes: whoever collects it is often another user.
    with written(target) as temporary, os.fdopen(_make(temporary, mode), "w", encoding="utf-8", newline="") as file:
        file.write(mark)
        yield file
        file.flush()


def _make(path: Path, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
