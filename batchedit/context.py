"""What the parts of a running pool share: the tools, the counts, and the one way to stop."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

import anyio

from batchedit.agenda import Agenda
from batchedit.breaker import Breaker
from batchedit.budget import Budget, Name, NearLimit
from batchedit.effects import Effects
from batchedit.errors import StorageError
from batchedit.ledger.journal import Journal
from batchedit.ledger.records import Attempt, Pace, RequestRow
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import RetryPolicy
from batchedit.logs import LOGGER
from batchedit.model import Limits
from batchedit.money import MicroUSD
from batchedit.outputs import Outputs
from batchedit.pacing import Pacer
from batchedit.polling import Board
from batchedit.providers.base import Provider
from batchedit.wire import Wire

_TOLD = 10
"""Of so many tasks without their files it is said why."""


class StopReason(enum.StrEnum):
    """Why a run stopped sending before everything was done."""

    BUDGET = "budget"
    BREAKER = "breaker"
    WINDOW = "window"
    ACCOUNT = "account"
    STORAGE = "storage"
    LEDGER = "ledger"
    SIGINT = "interrupted"
    SIGTERM = "terminated"


@dataclass(frozen=True, slots=True)
class Buy:
    """
    Send a pending request. `row` spares a look if it is fresh.

    Attributes:
        price: The worst one, to be reserved first.
        of: The accounts of the budget that it is charged to.
    """

    key: str
    price: MicroUSD
    of: tuple[Name, ...] = ()
    row: RequestRow | None = None


@dataclass(frozen=True, slots=True)
class Follow:
    """Take up an accepted request: poll it, or fetch its pictures. `trips` counts failed downloads so far."""

    key: str
    attempt: Attempt
    trips: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the provider about an unknown outcome. Before the clock time `until` not being listed proves nothing."""

    key: str
    attempt: Attempt
    looks: int
    until: float


@dataclass(frozen=True, slots=True)
class Settle:
    """An unknown outcome that nobody can be asked about: for the user's policy."""

    key: str
    attempt: Attempt


Work = Buy | Follow | Look | Settle


@dataclass(slots=True, kw_only=True)
class Progress:
    """
    Counts of one run, for whoever watches it. Requests, not pictures; money in micro-dollars.

    Attributes:
        run: The run's number in its ledger.
        total: Requests that this run set out to finish.
        in_flight: Being sent, followed or fetched now.
        ahead: Being prepared, or waiting for their turn to be sent.
        spent: By this run and those that it continues.
        held: Reserved or at risk.
        budget: The most that may be spent and held, None without a limit.
        limit: Most edits started per minute as named, None if no number was.
        pace: The same as it is in force: less than `limit` after refusals, and known without one once it was found.
        notes: Things said once per run, such as a price that differs from the list.
        warnings: Limits that are nearly reached, as they came to be; the notes have them, too.
    """

    run: int = 0
    total: int = 0
    done: int = 0
    failed: int = 0
    unknown: int = 0
    suspect: int = 0
    lost: int = 0
    in_flight: int = 0
    ahead: int = 0
    spent: int = 0
    held: int = 0
    budget: int | None = None
    limit: int | None = None
    pace: int | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[NearLimit] = field(default_factory=list)


Observer = Callable[[Progress], None]


class Seat:
    """
    Where one piece of work counts: among what is being prepared, then among what is in flight, then nowhere.

    Args:
        is_ahead: True for work that begins with preparations.
    """

    def __init__(self, progress: Progress, *, is_ahead: bool) -> None:
        self._progress, self._is_ahead = progress, is_ahead
        self._move(+1)

    def take_off(self) -> None:
        """From now on it is in flight."""
        self._move(-1)
        self._is_ahead = False
        self._move(+1)

    def leave(self) -> None:
        """It is over."""
        self._move(-1)

    def _move(self, by: int) -> None:
        if self._is_ahead:
            self._progress.ahead += by
        else:
            self._progress.in_flight += by


class Unsent:
    """Context manager around work that a stop may call back; ends silently when it does."""

    def __init__(self, scopes: set[anyio.CancelScope], *, already: bool) -> None:
        self._scopes, self._already = scopes, already
        self._scope = anyio.CancelScope()

    def __enter__(self) -> None:
        """Enter; ends at the first await if the stop has come already."""
        self._scope.__enter__()
        self._scopes.add(self._scope)
        if self._already:
            self._scope.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Leave; True if it was called back."""
        self._scopes.discard(self._scope)
        return bool(self._scope.__exit__(kind, error, trace))


@dataclass(slots=True, kw_only=True)
class Context:
    """
    The tools of one run, and its state.

    Attributes:
        key_print: A fingerprint of the key in use; what another key does not see may be there all the same.
        buying: False settles and brings home what was bought before, and buys nothing.
        on_unknown: What becomes of outcomes that asking does not settle.
        sent: By attempt in flight, the clock time at which it was sent.
        stop: Why nothing new is sent any more; None while the run goes on.
        stop_message: The same as a sentence with what to do.
        bugs: Requests that met an error which nobody expected.
        has_chains: Tasks may wait for the pictures of others.
        to_deliver: Slots of tasks whose request may have been done before they were recorded.
        undelivered: How many tasks are paid for and have no file where it should be.
        noted_pace: The limit that was found, as far as the ledger has it.
        version: Counts the changes that `change` waits for.
    """

    provider: Provider
    wire: Wire
    board: Board
    ledger: LedgerWriter
    journal: Journal
    outputs: Outputs
    pacer: Pacer
    budget: Budget
    breaker: Breaker
    limits: Limits
    policy: RetryPolicy
    effects: Effects
    key_print: str = ""
    buying: bool = True
    on_unknown: str = "hold"
    observer: Observer | None = None
    progress: Progress = field(default_factory=Progress)
    agenda: Agenda[Work] = field(default_factory=Agenda)
    sent: dict[int, float] = field(default_factory=dict)
    stop: StopReason | None = None
    stop_message: str = ""
    bugs: int = 0
    has_chains: bool = False
    to_deliver: list[str] = field(default_factory=list)
    undelivered: int = 0
    noted_pace: Pace | None = None
    version: int = 0
    _unsent: set[anyio.CancelScope] = field(default_factory=set)
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _next_purchase: anyio.Lock = field(default_factory=anyio.Lock)
    _next_read: anyio.Lock = field(default_factory=anyio.Lock)

    def halt(self, reason: StopReason, message: str) -> None:
        """Let nothing new be sent, and call back what has not been sent yet. The first reason stands."""
        if self.stop is None:
            self.stop, self.stop_message = reason, message
            LOGGER.warning("nothing more is sent (%s): %s", reason, message)
        for scope in self._unsent:
            scope.cancel()
        self.wake()

    def purchase(self, row: RequestRow, *, is_fresh: bool = False) -> Buy:
        """What is to be queued so that a pending request is bought; `is_fresh` spares a look at it."""
        of = self.budget.accounts_of(row.labels, row.edit)
        return Buy(row.key, row.quote.high, of, row if is_fresh else None)

    def check_breaker(self) -> None:
        """Stop if failures have piled up."""
        if self.breaker.reason is not None:
            self.halt(StopReason.BREAKER, self.breaker.reason)

    def stopped(self) -> bool:
        """True once nothing new may be sent."""
        return self.stop is not None

    def unsent(self) -> Unsent:
        """A stretch in which nothing has been sent for a request, so that a stop may end it at once."""
        return Unsent(self._unsent, already=self.stopped())

    async def turn(self, seat: Seat, images: int) -> None:
        """Wait, first come first served, until a purchase of so many pictures may start, and take a place in flight."""
        async with self._next_purchase:
            while True:
                if self.progress.in_flight >= self.limits.in_flight:
                    await self.change(None, self.version)
                elif not await self._wait_for_pace(images):
                    break
            self.pacer.take(anyio.current_time(), images=images)
            seat.take_off()

    async def read_turn(self) -> None:
        """Wait until a call that buys nothing may start."""
        async with self._next_read:
            while await self._wait_for_pace(0):
                pass
            self.pacer.take(anyio.current_time(), images=0)

    async def _wait_for_pace(self, images: int) -> bool:
        """Wait until the pacer may allow it; False at once if it does so now."""
        now = anyio.current_time()
        at = self.pacer.ready_at(now, images=images)
        if at <= now:
            return False
        # What has changed meanwhile is looked at anew: somebody else may have been refused.
        await anyio.sleep_until(at)
        return True

    def proof_time(self, sent: float) -> float:
        """
        The clock time from which on a request that is not listed was surely never accepted.

        The provider may still act on it for as long as a client may wait, after the client has given up; then its
        list may lag.

        Args:
            sent: When it was sent, or a later time if that is not known.
        """
        limits, now = self.limits, anyio.current_time()
        patience = limits.request_timeout_seconds
        return max(now + patience, sent + 2 * patience) + limits.list_lag_seconds

    def note_pace(self) -> None:
        """Note a limit that was just found, for those who watch, and for the next run should this one be killed."""
        learner = self.pacer.learner
        if learner is None or learner.found is None:
            return
        pace = Pace(per_minute=learner.found, confidence=learner.confidence)
        if pace != self.noted_pace:
            self.noted_pace = pace
            with suppress(StorageError):  # whoever needs the disk hears of it
                self.journal.hand_in(self.ledger.record_pace, self.provider.scope, pace)

    def note_once(self, note: str) -> None:
        """Say something once per run."""
        if note not in self.progress.notes:
            self.progress.notes.append(note)
            LOGGER.warning("%s", note)

    def note_undelivered(self, note: str) -> None:
        """Count a task that is paid for and has no file where it should be, and say it of the first few."""
        self.undelivered += 1
        if self.undelivered <= _TOLD:
            self.note_once(note)
        elif self.undelivered == _TOLD + 1:
            self.note_once(
                "more are paid but not delivered: `batchedit ls --select check:post` lists what post failed at"
            )

    def wake(self) -> None:
        """Something has changed that somebody may be waiting for."""
        self.version += 1
        self._changed.set()
        self._changed = anyio.Event()
        if self.observer is not None:
            self.progress.spent, self.progress.held = self.budget.spent, self.budget.held
            self.progress.pace = None if self.pacer.per_minute is None else max(1, int(self.pacer.per_minute))
            try:
                self.observer(self.progress)
            except Exception as error:
                # Whoever only watches must not be able to end a run that has money out.
                self.observer = None
                self.note_once(f"the progress display failed and was switched off ({type(error).__name__}: {error})")

    async def change(self, until: float | None, seen: int) -> None:
        """Wait for a change after version `seen`, or for the clock time `until`."""
        timeout = None if until is None else max(0.0, until - anyio.current_time())
        if self.version == seen:
            with anyio.move_on_after(timeout):
                await self._changed.wait()
