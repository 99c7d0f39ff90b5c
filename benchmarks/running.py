"""
Starting a client against a stand-in provider, and measuring it from its start to its end.

Folders stay until the whole benchmark ends, and `os.sync` comes before each start. On ext4 making a file takes about
20 microseconds, but 130 to 900 while inodes were freed within the last five minutes: the allocator passes over those
one by one. A client that starts after another one's folder was removed would pay for that removal. Big pictures are
cut to nothing instead of removed, which gives their space back and keeps the inodes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count as numbers
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.request import urlopen

from benchmarks.provider import Behaviour, switches

ROOT = Path(__file__).resolve().parent.parent
Result = dict[str, Any]


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


class Ground:
    """Where folders are made; nothing in it is removed before the end."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = numbers()

    def new(self, name: str) -> Path:
        """A folder that nobody has used."""
        folder = self._root / f"{next(self._numbers):03d}-{name}"
        folder.mkdir()
        return folder

    def has_room(self, size: int) -> bool:
        """True if the disk takes so many bytes and as many again."""
        return shutil.disk_usage(self._root).free > 2 * size


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children took: seconds from start to end, seconds of processor, most memory in bytes."""

    seconds: float
    processor: float
    memory: int
    status: int


def measured(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    watch: bool = False,
    patience: float | None = None,
) -> Usage:
    """
    Run a command in a folder; what it writes goes into files there.

    Args:
        output: For its standard output, if it is another file than `stdout`.
        watch: Its standard error is to be seen.
        patience: End it after so many seconds; the status then is that of the signal.
    """
    os.sync()
    output = output or folder / "stdout"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    with output.open("wb") as out, (folder / "stderr").open("wb") as err:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=None if watch else err, env=variables)
        impatience = Timer(patience or 0.0, process.kill)
        if patience is not None:
            impatience.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        impatience.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, process.returncode)


@contextmanager
def provider(behaviour: Behaviour) -> Iterator[str]:
    """A stand-in provider in a process of its own; its origin."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.provider", str(port), switches(behaviour)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def books(origin: str) -> Result:
    """What the provider was asked for."""
    with urlopen(f"{origin}/books") as answer:
        counted: Result = json.load(answer)
    return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What every client of a scenario does.

    Attributes:
        per_minute: A limit on creations that the client knows; 0 for none.
        limits: Further limits for batchedit's manifest, such as `rpm: auto`.
        empty: Cut the pictures to nothing once they are counted.
        strict: Every picture has to be there in the end.
    """

    behaviour: Behaviour
    count: int
    in_flight: int = 64
    per_minute: int = 0
    limits: str = ""
    empty: bool = False
    strict: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one client did one job."""

    client: str
    count: int
    usage: Usage
    files: int
    books: Result = field(repr=False)
    end: Result = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """Calls of any kind that the provider answered."""
        return sum(int(self.books[kind]) for kind in ("creations", "reads", "lists", "pictures"))

    def raw(self) -> Result:
        """The figures of this one run, for the JSON file."""
        usage = self.usage
        kept = {name: value for name, value in self.books.items() if name not in ("granted", "refused_at")}
        return {
            "client": self.client,
            "edits": self.count,
            "seconds": usage.seconds,
            "processor_seconds": usage.processor,
            "memory_bytes": usage.memory,
            "exit": usage.status,
            "files": self.files,
            **{f"provider_{name}": value for name, value in kept.items()},
            **({"states": self.end["states"]} if "states" in self.end else {}),
        }


def pictures(folder: Path) -> list[Path]:
    """The delivered pictures below a folder."""
    hidden = ".batchedit"
    return [path for path in folder.rglob("*.png") if hidden not in path.parts and path.stat().st_size]


def empty(folder: Path) -> None:
    """Give the space of all pictures back, and keep the inodes."""
    for path in folder.rglob("*.png"):
        os.truncate(path, 0)
