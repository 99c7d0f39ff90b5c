"""
What a worker process does: read a message of jobs, do them, answer; until its input ends.

A message is a length of four bytes, a JSON list of jobs, then their bytes in that order; the answer is a length and a
JSON list of results. The other side is `workers`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from batchedit import disk
from batchedit.errors import StorageError
from batchedit.filing import Ahead, Filing, InTheWay, Kept, Made, NotMade, RawDamaged, Source
from batchedit.model import Raw
from batchedit.pictures import BadPicture
from batchedit.recipe import Finding, Recipe
from batchedit.turning import turn_upright

HEAD = struct.Struct(">I")
LENGTH = HEAD.size
_PARENT_DEATH = 1
_MEMORY_BYTES = 4 * 1024**3
"""Address space of a worker: what sixteen of the largest pictures need with room to spare, and no more than that."""


def main() -> None:
    """Serve the process that started this one, over standard input and output."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a service manager sends it to all processes of a run
    # Whatever prints must not get into the answers.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _die_with_parent()
    limit_memory(_MEMORY_BYTES)
    cpu_seconds = float(sys.argv[7])
    ledger = Path(sys.argv[5]) if sys.argv[5] else None
    files = Filing(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], ledger, token=sys.argv[6])
    serve(files, sys.stdin.buffer, channel, cpu_seconds)


def serve(files: Filing, source: BinaryIO, target: BinaryIO, cpu_seconds: float) -> None:
    """
    Do jobs until the input ends: while the files of one message wait for the disk, those of the next are decoded.

    Args:
        files: What they work on.
        source: Where messages come from.
        target: Where answers go.
        cpu_seconds: A message that takes more of the processor's time ends the process by SIGPROF. Waiting for a disk,
            or for other processes, takes none.
    """
    with ThreadPoolExecutor(1) as finisher:
        while head := source.read(LENGTH):
            jobs = json.loads(source.read(HEAD.unpack(head)[0]))
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            changes = disk.Together([_change(files, job, source.read(job["size"])) for job in jobs])
            changes.advance()
            finisher.submit(_finish, changes, target).add_done_callback(_end_if_failed)


def _finish(changes: disk.Together[Kept | Made | Path | None], target: BinaryIO) -> None:
    answer = json.dumps([_result(outcome) for outcome in changes.finish()]).encode()
    target.write(HEAD.pack(len(answer)) + answer)
    target.flush()


def _end_if_failed(done: Future[None]) -> None:
    """The other side would wait for ever for an answer that could not be given; the end of the process it sees."""
    error = done.exception()
    if error is not None:
        traceback.print_exception(error)
        os._exit(1)


def _change(files: Filing, job: dict[str, Any], data: bytes) -> disk.Stages[Any]:
    match job["do"]:
        case "keep":
            received = Path(job["path"]) if "path" in job else data
            return files.keep(received, job["number"], _ahead(job["ahead"]))
        case "render":
            return files.render(Raw(**job["raw"]), Recipe.parse(job["recipe"]), Source(**job["source"]))
        case "place made":
            return files.place_made(made_out_of(job["made"]), job["path"])
        case "upright":
            return turn_upright(files.state, Path(job["path"]), job["sha256"])
        case _:
            return files.place(Raw(**job["raw"]), job["path"])


def made_out_of(value: dict[str, Any]) -> Made:
    """What a recipe has made, as it was before it was a message."""
    return Made(**{**value, "findings": tuple(Finding(**finding) for finding in value["findings"])})


def _ahead(value: dict[str, Any] | None) -> Ahead | None:
    if value is None:
        return None
    return Ahead(size=None if value["size"] is None else tuple(value["size"]), paths=tuple(value["paths"]))


def _result(outcome: Kept | Made | Path | Exception | None) -> dict[str, Any]:
    match outcome:
        case Kept() | Made():
            return {"result": asdict(outcome)}
        case BadPicture() | InTheWay() | RawDamaged() | NotMade() | StorageError():
            return {"error": type(outcome).__name__, "message": str(outcome)}
        case Exception():  # the other side makes a bug of it, which ends one request
            return {"error": "bug", "message": f"{type(outcome).__name__}: {outcome}"}
        case Path():
            return {"result": str(outcome)}
        case None:
            return {"result": None}


def limit_memory(limit_bytes: int) -> None:
    """From now on this process is refused more memory than that, so that a picture cannot take the machine's."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _die_with_parent() -> None:
    """Linux: when the run is killed, this ends too, and does not write behind the back of the next one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
