"""
The library for callers without an event loop, or with one of their own: notebooks, scripts, orchestrators.

A run has a thread and a loop of its own, so that it works where a loop is running already.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import anyio

from batchedit.batch import reconcile, run_plan
from batchedit.context import Observer
from batchedit.control import Control
from batchedit.ending import RunSummary
from batchedit.events import Pump
from batchedit.ledger.reader import Ledger
from batchedit.ledger.tail import Change
from batchedit.lifecycle import ENDS, State
from batchedit.money import MicroUSD
from batchedit.planned import Plan
from batchedit.run_options import RunOptions

T = TypeVar("T")

_PATIENCE_SECONDS = 0.1


def run_plan_sync(
    plan: Plan,
    options: RunOptions = RunOptions(),
    *,
    observer: Observer | None = None,
    environment: Mapping[str, str] | None = None,
    control: Control | None = None,
    check: bool = False,
) -> RunSummary:
    """
    Like `run_plan`, for callers without an event loop, and for those inside of a running one, which it holds up.

    Ctrl-C stops it gently: the summary then says exit code 130. A second one leaves at once what is in flight to the
    next run.

    Args:
        observer: As for `run_plan`; called on the run's own thread.
        environment: Where keys are looked up; None for the process's own.
        control: Stops it from another thread.
        check: Raise unless everything is done, as `RunSummary.raise_for_status`.

    Raises:
        As `run_plan`; with `check` also RunError.
    """
    control = control or Control()
    work = partial(run_plan, plan, options, observer=observer, environment=environment, control=control)
    summary = in_own_loop(work, control, handle_signals=options.handle_signals)
    if check:
        summary.raise_for_status()
    return summary


def reconcile_sync(plan: Plan, options: RunOptions = RunOptions(), *, observer: Observer | None = None) -> RunSummary:
    """
    Like `reconcile`, for the callers of `run_plan_sync`.

    Raises:
        As `reconcile`.
    """
    control = Control()
    work = partial(reconcile, plan, options, observer=observer, control=control)
    return in_own_loop(work, control, handle_signals=options.handle_signals)


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]], control: Control, *, handle_signals: bool) -> T:
    """
    Do something in an event loop of its own, on a thread of its own unless it handles signals itself.

    Args:
        control: Asked to stop by Ctrl-C.

    Raises:
        Whatever `work` raises.
    """
    if handle_signals:
        return anyio.run(work)  # signals reach the main thread only
    runner = _Runner(work)
    runner.start()
    while not runner.over.is_set():
        try:
            # Not `join`: interrupted, that takes a thread for ended which goes on (Python 3.11).
            runner.over.wait()
        except KeyboardInterrupt:
            control.stop()
    return runner.result()


class _Runner(threading.Thread, Generic[T]):
    """A thread with an event loop, and what came of it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        super().__init__(name="batchedit run", daemon=True)
        self.over = threading.Event()
        self._work = work
        self._outcome: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._outcome.append(anyio.run(self._work))
        except BaseException as error:  # handed to the caller, whatever it is
            self._error = error
        finally:
            self.over.set()

    def result(self) -> T:
        """
        What came of it, once the thread has ended.

        Raises:
            Whatever the run raised.
        """
        if self._error is not None:
            raise self._error
        return self._outcome[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """
    What became of one task, as soon as the ledger has it for good.

    Attributes:
        slot: ``item/edit/variant``.
        state: done, failed, suspect, lost or unknown.
        reason: What went wrong, empty if nothing did; `code` is its class.
        cost: Of the attempt in micro-dollars, None while it is unknown. Tasks that share a request share it.
        shared: Another task bears the cost.
        files: Delivered pictures; none yet where `post` or `checks` still have to make them.
    """

    slot: str
    state: State
    code: str
    reason: str
    cost: MicroUSD | None
    shared: bool
    files: tuple[Path, ...]


class Session:
    """
    A run that goes on beside its caller, whose results are walked over as they come. Made by `session`.

    Attributes:
        control: Stops it.
    """

    def __init__(self, plan: Plan, options: RunOptions, environment: Mapping[str, str] | None) -> None:
        self.control = Control()
        self._plan = plan
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._runner = _Runner(partial(run_plan, plan, options, environment=environment, control=self.control))
        self._pump = Pump(plan.workspace.ledger, None, [self._take], lambda words: None)

    def __iter__(self) -> Iterator[Result]:
        """
        Results in the order in which they became durable, until the run has ended.

        Raises:
            Whatever `run_plan` raises, after the last result.
        """
        while True:
            over = self._runner.over.is_set()
            if over:
                self._pump.__exit__(None, None, None)
            with suppress(queue.Empty):
                while True:
                    change = self._changes.get(timeout=0 if over else _PATIENCE_SECONDS)
                    yield from self._results(change)
            if over:
                self._runner.result()
                return

    def stop(self) -> None:
        """As Ctrl-C does; see `Control.stop`."""
        self.control.stop()

    def summary(self) -> RunSummary:
        """
        How it ended; waits for that.

        Raises:
            As `run_plan`.
        """
        self._runner.over.wait()
        return self._runner.result()

    def _begin(self) -> None:
        self._pump.__enter__()
        self._runner.start()

    def _end(self) -> None:
        if not self._runner.over.is_set():
            self.control.stop()
        self._runner.over.wait()
        self._pump.__exit__(None, None, None)

    def _take(self, ledger_id: str, changes: Any) -> None:
        for change in changes:
            if change.after in ENDS:
                self._changes.put(change)

    def _results(self, change: Change) -> Iterator[Result]:
        root = self._plan.workspace.root
        with Ledger(self._plan.workspace.ledger) as reader:
            for number, (slot, reason) in enumerate(reader.tasks_of(change.request)):
                yield Result(
                    slot=slot,
                    state=State(change.after),
                    code=change.code,
                    reason="" if change.after == State.DONE else reason,
                    cost=change.cost,
                    shared=number > 0,
                    files=tuple(root / row.path for row in reader.outputs_of(slot)),
                )


@contextmanager
def session(
    plan: Plan, options: RunOptions = RunOptions(), *, environment: Mapping[str, str] | None = None
) -> Iterator[Session]:
    """
    Carry out a plan beside the caller.

    A caller who leaves early stops the run gently and waits for what is in flight.

        with session(plan) as running:
            for result in running:
                print(result.slot, result.state, result.files)
        running.summary().raise_for_status()

    Args:
        environment: Where keys are looked up; None for the process's own.

    Raises:
        As `run_plan`, from the walk over the results or from `Session.summary`.
    """
    running = Session(plan, options, environment)
    running._begin()
    try:
        yield running
    finally:
        running._end()
