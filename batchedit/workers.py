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
from batchedit.filing import Ahead, Filing, InTheWay, Kept, Made, NotMade, RawDamaged, Source
from batchedit.model import Raw
from batchedit.pictures import BadPicture
from batchedit.recipe import Recipe
from batchedit.worker_process import HEAD, LENGTH, made_out_of

_TOGETHER = 16
_CRASHES = tuple(-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE))
_TRIES = 2
_MESSAGES = 2
"""So many messages a process has at a time: one whose files wait for the disk, one that is being decoded."""
_KEEP_MEMORY = {
    "PILLOW_BLOCKS_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}
"""Without this Pillow and the C library give the memory of each picture back, and fetch it again page by page."""
_ENDED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
_PATIENCE_SECONDS = 5.0
_DEADLINE_SECONDS = 300.0
"""Sixteen of the largest pictures that are taken need a minute on a slow machine."""
_CPU_SECONDS = 60.0
"""So much of the processor's time a message may take; what takes more is tried alone, where this is plenty."""
_READ_BYTES = 65536
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from batchedit.worker_process import main; main()"
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (BadPicture, InTheWay, RawDamaged, NotMade, StorageError)
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


class Workers:
    """
    A few worker processes over one output folder, started when they are needed. An async context manager.

    Args:
        files: What they work on.
        count: So many processes at most.
        deadline_seconds: A process that has something to do and has answered nothing for so long is ended.
        cpu_seconds: A picture that takes more of the processor's time, by itself, is refused.
    """

    def __init__(
        self,
        files: Filing,
        count: int,
        *,
        deadline_seconds: float = _DEADLINE_SECONDS,
        cpu_seconds: float = _CPU_SECONDS,
    ) -> None:
        self._root = files.root
        ledger = str(files.ledger or "")
        self._arguments = [str(files.root), str(files.state), files.verify, ledger, files.token, str(cpu_seconds)]
        self._count = count
        self._deadline = deadline_seconds
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

    def prepare(self) -> None:
        """Start all of them before the first job comes: for a run that has much to do."""
        while self._started < self._count:
            self._start_one()

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

    async def render(self, raw: Raw, recipe: Recipe, source: Source) -> Made:
        """As `Filing.render`."""
        job = {"do": "render", "raw": asdict(raw), "recipe": recipe.text, "source": asdict(source)}
        return made_out_of(await self._call(job))

    async def place_made(self, made: Made, path: str) -> None:
        """As `Filing.place_made`."""
        await self._call({"do": "place made", "made": asdict(made), "path": path})

    async def upright(self, path: Path, sha256: str) -> Path:
        """As `Outputs.upright`."""
        return Path(await self._call({"do": "upright", "path": str(path), "sha256": sha256}))

    # -- inside ----------------------------------------------------------------------------------------------

    async def _call(self, what: dict[str, Any], data: bytes = b"") -> Any:
        if self._failure is not None:
            raise self._failure
        job = _Job(what, data)
        self._waiting.append(job)
        self._wake.set()
        if not self._idle and self._started < self._count:
            self._start_one()
        # Once handed over it happens: a cancelled caller waits, so that nobody is left in doubt about a file.
        with anyio.CancelScope(shield=True):
            await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result

    def _start_one(self) -> None:
        self._started += 1
        self._group.start_soon(self._serve)

    async def _serve(self) -> None:
        """One worker process after the other; the next one when the last has died."""
        try:
            while True:
                line = _Line(await self._start())
                try:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._feed, line)
                        group.start_soon(line.watch, self._deadline, group.cancel_scope)
                        await line.settle()
                        group.cancel_scope.cancel()
                    with anyio.move_on_after(_PATIENCE_SECONDS, shield=True):
                        await line.process.wait()
                    self._suspect(line)
                except BaseException as error:
                    for job in line.jobs():
                        job.fail(error)
                    raise
                finally:
                    await _end(line.process)
                await self._work()  # a process that dies at once is not started again for nothing
        except BaseException as error:
            # Whoever waits is shielded and would wait for ever.
            self._failure = self._failure or error
            for job in (*self._waiting, *self._suspects):
                job.fail(self._failure)
            if not isinstance(error, StorageError):
                raise

    async def _feed(self, line: _Line) -> None:
        """Hand jobs over, until cancelled."""
        while True:
            await line.room.acquire()
            jobs = await self._take()
            if not jobs[0].tries:
                await line.hand_over(jobs)
                continue
            try:
                await line.emptied()
            except BaseException:
                self._suspects.extendleft(jobs)
                raise
            await line.hand_over(jobs)
            await line.emptied()

    def _suspect(self, line: _Line) -> None:
        """The process has died: what it had is tried once more, each job alone."""
        if line.process.returncode is None:
            raise StorageError(f"a process that writes files cannot be ended; does the disk of {self._root} answer?")
        for job in line.jobs():
            job.tries += 1
            if job.tries < _TRIES:
                self._suspects.append(job)
            else:
                job.fail(_crash(job, line))
        self._wake.set()

    async def _take(self) -> list[_Job]:
        """What waits, in fair portions; what was there when a process died, alone."""
        await self._work()
        if self._suspects:
            return [self._suspects.popleft()]
        portion = min(_TOGETHER, -(-len(self._waiting) // self._count))
        return [self._waiting.popleft() for _ in range(portion)]

    async def _work(self) -> None:
        """Wait until there is something to do."""
        while not self._waiting and not self._suspects:
            if self._wake.is_set():
                self._wake = anyio.Event()
            self._idle += 1
            try:
                await self._wake.wait()
            finally:
                self._idle -= 1

    async def _start(self) -> anyio.abc.Process:
        arguments = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), *self._arguments]
        try:
            # A session of its own: Ctrl-C is for this process, which decides what becomes of its jobs.
            return await anyio.open_process(arguments, stderr=None, start_new_session=True, env=_environment())
        except OSError as error:
            raise StorageError(f"cannot start a process that writes files: {error.strerror}") from error


class _Line:
    """
    One process, and what it has been handed and has not answered yet.

    Attributes:
        room: Held for each message that is on its way.
        is_late: It was ended for not answering.
    """

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        self.room = anyio.Semaphore(_MESSAGES)
        self.is_late = False
        self._handed: deque[list[_Job]] = deque()
        self._settled = anyio.Event()

    def jobs(self) -> list[_Job]:
        """All that is not answered."""
        return [job for jobs in self._handed for job in jobs]

    async def hand_over(self, jobs: list[_Job]) -> None:
        """Send a message. That the process has died is for `settle` to see."""
        self._handed.append(jobs)
        header = json.dumps([{**job.what, "size": len(job.data)} for job in jobs]).encode()
        assert self.process.stdin is not None
        with suppress(*_ENDED):
            await self.process.stdin.send(b"".join((HEAD.pack(len(header)), header, *(job.data for job in jobs))))

    async def emptied(self) -> None:
        """Wait until everything is answered."""
        while self._handed:
            self._settled = anyio.Event()
            await self._settled.wait()

    async def watch(self, deadline_seconds: float, scope: anyio.CancelScope) -> None:
        """If the process does not answer, end it, and then whatever waits for it in `scope`."""
        while True:
            first = self._handed[0] if self._handed else None
            await anyio.sleep(deadline_seconds)
            if first is not None and self._handed and self._handed[0] is first:
                self.is_late = True
                self.process.kill()
                with anyio.move_on_after(_PATIENCE_SECONDS):
                    await self.process.wait()
                scope.cancel()

    async def settle(self) -> None:
        """Take the answers, in the order of the messages, until the process has ended."""
        assert self.process.stdout is not None
        answer = bytearray()
        with suppress(*_ENDED):
            while True:
                while len(answer) < LENGTH or len(answer) < LENGTH + HEAD.unpack_from(answer)[0]:
                    answer += await self.process.stdout.receive(_READ_BYTES)
                end = LENGTH + HEAD.unpack_from(answer)[0]
                for job, result in zip(self._handed[0], json.loads(answer[LENGTH:end]), strict=True):
                    job.settle(result)
                del answer[:end]
                self._handed.popleft()
                self.room.release()
                self._settled.set()


def _environment() -> dict[str, str]:
    return {**_KEEP_MEMORY, **os.environ}


async def _end(process: anyio.abc.Process) -> None:
    with anyio.CancelScope(shield=True):
        assert process.stdin is not None
        with anyio.move_on_after(_PATIENCE_SECONDS):
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            process.kill()
    # One that hangs in a disk that is gone ends when the disk comes back, killed or not.
    with anyio.move_on_after(_PATIENCE_SECONDS, shield=True):
        await process.wait()
        assert process.stdout is not None
        # asyncio lets go of a process only when it has seen the end of its output.
        with suppress(*_ENDED):
            while True:
                await process.stdout.receive(_READ_BYTES)
        await process.aclose()


def _crash(job: _Job, line: _Line) -> Exception:
    """
    What it means that two processes have died at a job, this one last.

    A decoder that crashes says something about the picture. A process that somebody else ended does not, be it the
    system for want of memory: then nothing more may be bought, and the next run goes on from here.
    """
    code = line.process.returncode
    assert code is not None
    if line.is_late:
        return StorageError("the process that writes files did not answer, twice; does the disk?")
    crashed, took_too_long = code in _CRASHES, code == -signal.SIGPROF
    if (crashed or took_too_long) and job.what["do"] in ("keep", "upright"):
        return BadPicture(f"a picture at which the decoder {'crashes' if crashed else 'takes a minute and more'}")
    if (crashed or took_too_long) and job.what["do"] == "render":
        how = "crashes at it" if crashed else "takes a minute and more for it"
        return NotMade(f"the library that works on pictures {how}; try it without post")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return StorageError(f"the process that writes files was ended twice ({how}); is there enough memory?")
