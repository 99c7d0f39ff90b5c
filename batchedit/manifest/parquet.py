"""
Records of Parquet files, read batch by batch with pyarrow, which is an extra, in a process of its own (see
`parquet_process`).

Numbers and times become the text that Arrow writes for them; lists and objects are taken where a field takes them, as
in JSON Lines.
"""

from __future__ import annotations

import json
import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import key_problem, looks_like_a_key, shortened
from batchedit.manifest.findings import Collector
from batchedit.manifest.finishing import FINISHES
from batchedit.manifest.jsonl import object_record
from batchedit.manifest.layers import Record
from batchedit.manifest.parquet_process import HEAD, MEMORY_BYTES

_OBJECTS = ("labels", "vars")
_ALSO_OBJECTS = (*FINISHES, "references", "tags")
_INSTALL = 'Install it with: pip install "batchedit[parquet]"'
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from batchedit.manifest.parquet_process import main; main()"
)


def parquet_records(
    path: Path, shown: str, findings: Collector, header: Callable[[tuple[str, ...], Place], None]
) -> Iterator[Record]:
    """
    The records of a Parquet file. The line of a record is its number, starting at 1.

    Args:
        shown: The path as the user would type it, for messages.
        header: Is told the columns before the first record comes.

    Raises:
        ManifestError: if it cannot be read, asks for too much memory, or pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise _refuse(
            shown, "no-pyarrow", "Parquet files are read with pyarrow, which is not installed", _INSTALL
        ) from None
    names: tuple[str, ...] = ()
    nested, number = False, 0
    for message in _messages(path, shown):
        match message:
            case ("columns", names, holds_nested):
                nested = holds_nested or any(name in (*_OBJECTS, *_ALSO_OBJECTS) for name in names)
                _check(names, shown, findings)
                header(tuple(name for name in names if name not in _OBJECTS), Place(shown))
            case ("rows", rows):
                for values in rows:
                    number += 1
                    place = Place(shown, number)
                    if not nested:
                        yield Record(place, names, list(values))
                        continue
                    data = {name: value or None for name, value in zip(names, values, strict=True)}
                    record = object_record(data, place, findings)
                    if record is not None:
                        yield record
            case _:
                _, code, text = message
                detail = shortened(" ".join(text.split())).rstrip(".")
                raise _refuse(shown, code, f"is not valid Parquet: {detail}" if code == "parquet-syntax" else detail)


def parquet_columns(path: Path, shown: str) -> tuple[str, ...]:
    """
    The columns of a Parquet file.

    Raises:
        ManifestError: as `parquet_records`.
    """
    found: list[str] = []
    for _ in parquet_records(path, shown, _Silent(), lambda names, place: found.extend(names)):
        break
    return tuple(found)


class _Silent:
    """A collector that keeps nothing."""

    def problem(self, problem: Problem) -> None:
        """Forget it."""


def _messages(path: Path, shown: str) -> Iterator[tuple[Any, ...]]:
    """What the process has to say before its end."""
    arguments = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path)]
    # Arrow's other allocators keep address space in reserve, which is what is limited.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"}
    try:
        with path.open("rb") as file:
            process = subprocess.Popen(
                arguments, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
    except OSError as error:
        raise _refuse(shown, "unreadable", f"cannot be read: {error.strerror}") from None
    with process:
        try:
            assert process.stdout is not None, "it was asked for"
            while (message := _next(process.stdout)) != ("end",):
                if message is None:
                    most = f"{MEMORY_BYTES // 1024**3} GB"
                    raise _refuse(shown, "parquet-size", f"breaks its reader, or asks for more than {most} at once")
                yield message
        finally:
            process.kill()


def _next(channel: IO[bytes]) -> tuple[Any, ...] | None:
    """The next message, None if the process has ended in the middle."""
    head = channel.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (length,) = HEAD.unpack(head)
    data = channel.read(length)
    message: tuple[Any, ...] | None = None if len(data) < length else marshal.loads(data)
    return message


def _check(names: tuple[str, ...], shown: str, findings: Collector) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _refuse(shown, "duplicate-column", f"has the column {shortened(twice)!r} twice")
    if any(looks_like_a_key(name) for name in names):
        findings.problem(key_problem(Place(shown), "", cell=True))


def _refuse(shown: str, code: str, message: str, hint: str = "") -> ManifestError:
    return ManifestError([Problem(place=Place(shown), code=code, message=message, hint=hint)])
