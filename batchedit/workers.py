"""
Processes that decode pictures and write them to the disk, so that the event loop has the interpreter to itself.

In threads each file call and each decoding would take the interpreter from the loop and give it back. Jobs that wait
are handed over together, so that a busy run pays for one message where it has a dozen of them. A decoder that crashes
takes its process with it and nothing else: the jobs of that message are tried one by one, and the guilty one is told.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from batchedit.errors import StorageError
from batchedit.filing import Ahead, Filing, InTheWay, Kept, RawDamaged
from batchedit.model import Raw
from batchedit.pictures import BadPicture
from batchedit.worker_process import HEAD, LENGTH

_TOGETHER = 16
_CRASHES = tuple(-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE))
_TRIES = 2
_PATIENCE_SECONDS = 5.0
_READ_BYTES = 65536
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from batchedit.worker_process import main; main()"
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (BadPicture, InTheWay, RawDamaged, StorageError)
}


@dataclass(slots=True, eq=False)
class _Job:
    what: dict[str, Any]
    data: bytes = b""
    tries: int = 0
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: BaseException | None = None

    def settle(self, answer: dict[str, Any]) -> None:
        kind = answer.get("error")
        if kind is not None:
            self.fail(_ERRORS.get(kind, RuntimeError)(answer["message"]))
            return
        self.result = answer["result"]
        self.done.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


class _Died(Exception):
    """A worker process has ended."""


class Workers:
    """
    A few worker processes over one output folder, started when they are needed. An async context manager.

    Args:
        files: What they work on.
        count: So many processes at most.
    """

    def __init__(self, files: Filing, count: int) -> None:
        self._arguments = [str(files.root), str(files.state), files.verify]
        self._count = count
        self._waiting: deque[_Job] = deque()
        self._suspects: deque[_Job] = deque()
        self._wake = anyio.Event()
        self._idle = 0
        self._started = 0
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Start nothing yet."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes. Nobody may wait for a job any more."""
        self._group.cancel_scope.cancel()
        # Not told of the error, the group does not wrap it: it goes on as what it is.
        await self._group.__aexit__(None, None, None)

    async def keep(self, received: bytes | Path, number: int, ahead: Ahead | None = None) -> Kept:
        """As `Filing.keep`."""
        job = {"do": "keep", "number": number, "ahead": asdict(ahead) if ahead is not None else None}
        if isinstance(received, Path):
            kept = await self._call({**job, "path": str(received)})
        else:
            kept = await self._call(job, received)
        return Kept(Raw(**kept["raw"]), kept["is_placed"])

    async def place(self, raw: Raw, path: str) -> None:
        """As `Filing.place`."""
        await self._call({"do": "place", "raw": asdict(raw), "path": path})

    # -- inside ----------------------------------------------------------------------------------------------

    async def _call(self, what: dict[str, Any], data: bytes = b"") -> Any:
        if self._failure is not None:
            raise self._failure
        job = _Job(what, data)
        self._waiting.append(job)
        self._wake.set()
        if not self._idle and self._started < self._count:
            self._started += 1
            self._group.start_soon(self._serve)
        # Once handed over it happens: a cancelled caller waits, so that nobody is left in doubt about a file.
        with anyio.CancelScope(shield=True):
            await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result

    async def _serve(self) -> None:
        """One worker process after the other; the next one when the last has died."""
        try:
            while True:
                process = await self._start()
                try:
                    while True:
                        await self._serve_once(process)
                except _Died:
                    pass
                finally:
                    await _end(process)
        except BaseException as error:
            # Whoever waits is shielded and would wait for ever.
            self._failure = self._failure or error
            for job in (*self._waiting, *self._suspects):
                job.fail(self._failure)
            if not isinstance(error, StorageError):
                raise

    async def _serve_once(self, process: anyio.abc.Process) -> None:
        jobs = await self._take()
        try:
            results = await self._ask(process, jobs)
        except _Died:
            with anyio.CancelScope(shield=True):
                await process.wait()
            for job in jobs:
                job.tries += 1
                if job.tries < _TRIES:
                    self._suspects.append(job)
                else:
                    job.fail(_crash(job, process.returncode or 0))
            self._wake.set()
            raise
        except BaseException as error:
            for job in jobs:
                job.fail(error)
            raise
        for job, result in zip(jobs, results, strict=True):
            job.settle(result)

    async def _take(self) -> list[_Job]:
        """What waits, in fair portions; what was there when a process died, alone."""
        while not self._waiting and not self._suspects:
            if self._wake.is_set():
                self._wake = anyio.Event()
            self._idle += 1
            try:
                await self._wake.wait()
            finally:
                self._idle -= 1
        if self._suspects:
            return [self._suspects.popleft()]
        portion = min(_TOGETHER, -(-len(self._waiting) // self._count))
        return [self._waiting.popleft() for _ in range(portion)]

    async def _start(self) -> anyio.abc.Process:
        arguments = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), *self._arguments]
        try:
            # A session of its own: Ctrl-C is for this process, which decides what becomes of its jobs.
            return await anyio.open_process(arguments, stderr=None, start_new_session=True, env=_environment())
        except OSError as error:
            raise StorageError(f"cannot start a process that writes files: {error.strerror}") from error

    async def _ask(self, process: anyio.abc.Process, jobs: list[_Job]) -> list[Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        header = json.dumps([{**job.what, "size": len(job.data)} for job in jobs]).encode()
        try:
            with anyio.CancelScope(shield=True):
                await process.stdin.send(b"".join((HEAD.pack(len(header)), header, *(job.data for job in jobs))))
                answer = bytearray()
                while len(answer) < LENGTH or len(answer) < LENGTH + HEAD.unpack_from(answer)[0]:
                    answer += await process.stdout.receive(_READ_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise _Died from None
        results: list[Any] = json.loads(answer[LENGTH:])
        return results


def _environment() -> dict[str, str]:
    # Without it Pillow gives the memory of each picture back, and fetches it page by page for the next one.
    return {**os.environ, "PILLOW_BLOCKS_MAX": "2"}


async def _end(process: anyio.abc.Process) -> None:
    with anyio.CancelScope(shield=True):
        assert process.stdin is not None
        with anyio.move_on_after(_PATIENCE_SECONDS):
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        assert process.stdout is not None
        # asyncio lets go of a process only when it has seen the end of its output.
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await process.stdout.receive(_READ_BYTES)
        await process.aclose()


def _crash(job: _Job, code: int) -> Exception:
    """
    What it means that a process has died twice at a job, the second time with this exit code or signal.

    A decoder that crashes says something about the picture. A process that somebody else ended does not, be it the
    system for want of memory: then nothing more may be bought, and the next run goes on from here.
    """
    if code in _CRASHES and job.what["do"] == "keep":
        return BadPicture("a picture at which the decoder crashes")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return StorageError(f"the process that writes files was ended twice ({how}); is there enough memory?")
