"""
Group commit: many tasks, one writer, one disk sync for all that came in meanwhile.

Workers hand in a step and wait; the writer takes whatever has gathered, runs it in one transaction, and wakes them once
it is durable. Batches form by themselves: the slower the disk, the larger they are. Only the commit, which waits for
the disk, happens in a thread: each statement takes microseconds, and a thread that hands the interpreter over with each
of them takes ten times as long for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

import anyio

from batchedit.effects import Offload
from batchedit.errors import StorageError
from batchedit.ledger.core import LedgerCore

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Step(Generic[T]):
    """
    What was handed in.

    Attributes:
        work: Does it.
        changes: False if it only reads.
        done: Set once it is durable, or has failed.
    """

    work: Callable[[], T]
    changes: bool
    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: T | None = None
    error: BaseException | None = None

    async def result(self) -> T:
        """
        What the method returned, once it is durable; a cancelled caller waits for that too.

        Raises:
            StorageError: if the disk did not take it.
        """
        if not self.done.is_set():
            with anyio.CancelScope(shield=True):
                await self.done.wait()
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value]  # set whenever there is no error


class Journal:
    """
    The queue in front of a ledger.

    Args:
        ledger: Whose methods are called; nobody else may write through it while `serve` runs.
        offload: Where the disk is waited for.
    """

    def __init__(self, ledger: LedgerCore, offload: Offload) -> None:
        self._ledger = ledger
        self._offload = offload
        self._waiting: list[Step[Any]] = []
        self._wake = anyio.Event()
        self._closed = False
        self._failure: BaseException | None = None

    async def do(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call a method of the ledger and return its result once it is durable.

        Once handed in, a step happens even if the caller is cancelled meanwhile: a cancelled caller waits for the
        disk, so that nobody is left in doubt about what is written.

        Raises:
            StorageError: if the disk did not take it; every later step fails in the same way.
        """
        return await self.hand_in(method, *args, **kwargs).result()

    def hand_in(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Step[T]:
        """
        Have a method of the ledger called, in the order of handing in, and go on meanwhile.

        Its result is to be had from the step. One that nobody asks for happens all the same.

        Raises:
            StorageError: if the disk did not take an earlier step.
        """
        return self._take(Step(lambda: method(*args, **kwargs), changes=True))

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Like `do`, for a method that only reads: it sees everything that was handed in before.

        Raises:
            StorageError: as `do`.
        """
        return await self._take(Step(lambda: method(*args, **kwargs), changes=False)).result()

    def _take(self, step: Step[T]) -> Step[T]:
        if self._failure is not None:
            raise self._failure
        self._waiting.append(step)
        self._wake.set()
        return step

    async def serve(self) -> None:
        """Commit what is handed in until `close` is called. Run it in a task of its own, shielded."""
        batch: list[Step[Any]] = []
        try:
            while True:
                while self._waiting:
                    batch, self._waiting = self._waiting, []
                    await self._write(batch)
                    for step in batch:
                        step.done.set()
                if self._closed:
                    return
                self._wake = anyio.Event()
                await self._wake.wait()
        except BaseException as error:
            # Whoever waits is shielded and would wait for ever.
            self._failure = self._failure or error
            for step in (*batch, *self._waiting):
                step.error = step.error or error
                step.done.set()
            raise

    def close(self) -> None:
        """Let `serve` return once everything handed in is written."""
        self._closed = True
        self._wake.set()

    async def _write(self, batch: list[Step[Any]]) -> None:
        try:
            self._ledger.begin()
            try:
                for step in batch:
                    self._run(step)
            except BaseException:
                self._ledger.rollback()
                raise
            await self._offload(self._ledger.commit)
        except StorageError as error:
            self._failure = error
            for step in batch:
                step.error = error

    def _run(self, step: Step[Any]) -> None:
        try:
            if step.changes:
                step.outcome = self._ledger.step(step.work)
            else:
                with self._ledger.reading():
                    step.outcome = step.work()
        except StorageError:
            raise
        except Exception as error:
            # The savepoint is rolled back: only the caller whose step is wrong hears of it.
            step.error = error
