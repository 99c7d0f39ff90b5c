"""
The async heart: takes what is due, hands it out, and stops when told. What to do with each is in `purchase`.

    ledger (pending) --+
                       +--> feeder --> one task per request in flight --> ledger
    agenda (due again)-+     |              prepare, buy, follow, fetch, place
                             +-- budget, breaker, stop: nothing new starts

Whatever waits (for a retry, for the provider's list) waits in the agenda, and what is prepared waits for its turn; only
what has been sent is in flight. The first stop ends the feeding and calls back whatever has not been sent; what is in
flight goes on until it is done or the grace is over.
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import replace

import anyio
import anyio.abc

from batchedit.budget import Name, described
from batchedit.context import Buy, Context, Follow, Look, Seat, Settle, StopReason, Work
from batchedit.control import Control
from batchedit.effects import unix
from batchedit.errors import LedgerError, StorageError
from batchedit.ledger.records import Attempt, RequestRow
from batchedit.lifecycle import State
from batchedit.money import format_usd
from batchedit.purchase import buy, follow, stumble
from batchedit.reconciliation import look, settle
from batchedit.sources import Sources

_PAGE = 200
_TOLD = 5
_LOOK_AT_THE_CLOCK_SECONDS = 30.0
_CONTROL_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 4500.0
_SIGNALS = {
    signal.SIGINT: StopReason.SIGINT,
    signal.SIGTERM: StopReason.SIGTERM,
    signal.SIGHUP: StopReason.SIGTERM,  # the terminal was closed
}


class Pool:
    """
    One execution over one ledger.

    Args:
        context: The tools.
        sources: For the pictures on their way in.
        grace_seconds: After a signal, how long what is in flight may go on.
        handle_signals: True installs handlers for Ctrl-C, SIGTERM and SIGHUP while the pool runs.
        until: Unix time at which nothing new is sent any more; None for no such time.
        closing: Why, in words, when `until` has come.
        control: Looked at now and then for a wish to stop; None for none.
    """

    def __init__(
        self,
        context: Context,
        sources: Sources,
        *,
        grace_seconds: float = 60.0,
        handle_signals: bool = False,
        until: float | None = None,
        closing: str = "",
        control: Control | None = None,
    ) -> None:
        self._until, self._closing = until, closing
        self._context = context
        self._sources = sources
        self._grace = grace_seconds
        self._handle_signals = handle_signals
        self._control = control
        self._ready: deque[Buy] = deque()
        self._free: deque[Follow | Look | Settle] = deque()
        self._parked: dict[Name, deque[Buy]] = {}
        self._short: dict[Name, int] = {}
        self._overflown: set[Name] = set()
        self._last_position = 0
        self._exhausted = not context.buying
        self._resumed: set[str] = set()
        self._workers: anyio.abc.TaskGroup | None = None
        self._interrupts = 0
        self._draining = anyio.Event()

    async def run(self, resume: list[tuple[RequestRow, Attempt]]) -> None:
        """
        Finish the requests in `resume` and buy what is pending, until there is nothing left or something stops it.

        Args:
            resume: Requests that an earlier run left open.
        """
        context = self._context
        async with anyio.create_task_group() as services:
            services.start_soon(self._serve_journal)
            try:
                self._take_up(resume)
                if self._handle_signals:
                    services.start_soon(self._obey_signals)
                if self._control is not None:
                    services.start_soon(self._obey, self._control)
                services.start_soon(self._drain)
                if self._until is not None:
                    services.start_soon(self._close_window, self._until)
                async with anyio.create_task_group() as workers:
                    self._workers = workers
                    await self._feed(workers)
            finally:
                context.journal.close()
                services.cancel_scope.cancel()

    def interrupt(self, reason: StopReason, message: str) -> None:
        """Stop as Ctrl-C does: the first time gently, the second time at once; whatever else has stopped it before."""
        self._interrupts += 1
        self._context.halt(reason, message)
        self._draining.set()
        if self._interrupts > 1:
            self._leave()

    # -- inside ----------------------------------------------------------------------------------------------

    async def _serve_journal(self) -> None:
        # Shielded: whatever is handed in must reach the disk, however the run ends.
        with anyio.CancelScope(shield=True):
            await self._context.journal.serve()

    async def _obey_signals(self) -> None:
        # Under nohup that one is to be ignored.
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with anyio.open_signal_receiver(*heard) as signals:
            async for number in signals:
                self.interrupt(_SIGNALS[number], "stopped by a signal; the same command goes on from here")

    async def _obey(self, control: Control) -> None:
        seen = 0
        with control.heeding():
            while True:
                while seen < control.asked:
                    seen += 1
                    self.interrupt(StopReason.SIGTERM if control.terminated else StopReason.SIGINT, control.why)
                await anyio.sleep(_CONTROL_SECONDS)

    def _take_up(self, resume: list[tuple[RequestRow, Attempt]]) -> None:
        context, now = self._context, anyio.current_time()
        for row, attempt in resume:
            self._resumed.add(row.key)
            context.progress.unknown += row.state is State.UNKNOWN
            if attempt.scope != context.provider.scope:
                # Another place would not know it, which must never be taken for "not bought".
                context.note_once(f"some requests were sent to {attempt.scope}; run with that provider to settle them")
                if row.state is State.UNKNOWN:
                    context.agenda.add(now, Settle(row.key, attempt))
            elif row.state is State.UNKNOWN:
                # Without a reference the list would not show it even if it was bought: it stays held.
                asked = attempt.findable and context.provider.can_reconcile
                context.agenda.add(
                    now, Look(row.key, attempt, 0, context.proof_time(now)) if asked else Settle(row.key, attempt)
                )
            else:
                context.agenda.add(now, Follow(row.key, attempt))

    async def _feed(self, workers: anyio.abc.TaskGroup) -> None:
        context = self._context
        progress = context.progress
        while context.stop is None:
            seen = context.version
            try:
                work = await self._choose()
            except StorageError as error:
                context.halt(StopReason.STORAGE, str(error))
                return
            if work is not None:
                workers.start_soon(self._handle, work, Seat(progress, is_ahead=isinstance(work, Buy)))
            elif progress.in_flight or progress.ahead or len(context.agenda):
                await context.change(context.agenda.next_at(), seen)
            elif self._ready or self._overflown or any(self._parked.values()):
                context.halt(StopReason.BUDGET, self._budget_message())
            else:
                return

    async def _close_window(self, until: float) -> None:
        """At the end of the window stop sending; what is in flight goes on within the grace."""
        while (left := until - self._context.effects.wall()) > 0:  # noqa: ASYNC110  no event tells the time
            # The clock may be set meanwhile, and a machine may sleep.
            await anyio.sleep(min(left, _LOOK_AT_THE_CLOCK_SECONDS))
        self._context.halt(StopReason.WINDOW, self._closing)
        self._draining.set()

    async def _drain(self) -> None:
        """After a signal, or the window's end, let what is in flight end within the grace; then leave it."""
        await self._draining.wait()
        await anyio.sleep(self._grace)
        self._leave()

    def _leave(self) -> None:
        if self._workers is not None:
            self._workers.cancel_scope.cancel()

    async def _choose(self) -> Work | None:
        """What to start now: whatever costs nothing first, then the next purchase that the budget allows."""
        context = self._context
        progress, most = context.progress, context.limits.in_flight
        while (due := context.agenda.pop_due(anyio.current_time())) is not None:
            if isinstance(due, Buy):
                self._ready.append(due)
            else:
                self._free.append(due)
        if self._free and progress.in_flight < most:
            return self._free.popleft()
        if progress.ahead >= most:
            return None
        if not self._ready and not self._exhausted:
            await self._load_page()
        if self._ready and not context.outputs.has_room(progress.in_flight + progress.ahead + 1):
            # Money is not spent on pictures for which there may be no place.
            context.halt(StopReason.STORAGE, f"the disk of {context.outputs.root} is almost full; nothing more is sent")
            return None
        return await self._affordable()

    async def _affordable(self) -> Buy | None:
        """The next purchase that the budget allows. One whose own account is empty is set aside; others go on."""
        budget = self._context.budget
        for name, parked in list(self._parked.items()):
            if parked and self._reserve(parked[0]):
                return parked.popleft()
            other = budget.lacking(parked[0].price, parked[0].of) if parked else None
            if other is not None and other != name and other not in budget.wholes:
                self._park(parked.popleft(), other)
        while self._ready:
            if self._reserve(self._ready[0]):
                return self._ready.popleft()
            account = budget.lacking(self._ready[0].price, self._ready[0].of)
            if account is None or account in budget.wholes:
                return None
            self._park(self._ready.popleft(), account)
            if not self._ready and not self._exhausted:
                await self._load_page()
        return None

    def _reserve(self, purchase: Buy) -> bool:
        context = self._context
        if not context.budget.reserve(purchase.price, purchase.key, purchase.of):
            return False
        for warning in context.budget.warnings():
            context.progress.warnings.append(warning)
            context.note_once(str(warning))
        return True

    def _park(self, purchase: Buy, account: Name) -> None:
        """
        Set a purchase aside until its account has room again, as when what is in flight turns out to be cheaper.

        More than may be in flight can hardly ever come to fit again; they stay pending, for the next run.
        """
        context = self._context
        if account not in self._parked:
            context.note_once(f"{described(account)} is used up: its other edits wait for another run")
        parked = self._parked.setdefault(account, deque())
        if len(parked) < max(_PAGE, 2 * context.limits.in_flight):
            parked.append(replace(purchase, row=None))
        else:
            self._overflown.add(account)
        self._short[account] = min(purchase.price, self._short.get(account, purchase.price))

    async def _load_page(self) -> None:
        context = self._context
        page = await context.journal.ask(context.ledger.pending_after, self._last_position, _PAGE)
        self._exhausted = len(page) < _PAGE
        wall, now = context.effects.wall(), anyio.current_time()
        for position, row in page:
            self._last_position = position
            if row.key in self._resumed or row.key in context.ledger.queued_elsewhere:
                continue  # it has just become pending, and is in the agenda
            work = context.purchase(row, is_fresh=True)
            # The cap is for a wall clock that was set back meanwhile.
            delay = min(unix(row.not_before) - wall, _LONGEST_DELAY_SECONDS) if row.not_before else 0.0
            if delay > 0:
                context.agenda.add(now + delay, work)
            else:
                self._ready.append(work)

    async def _handle(self, work: Work, seat: Seat) -> None:
        context = self._context
        try:
            row = work.row if isinstance(work, Buy) else None
            if row is None:
                row = await context.journal.ask(context.ledger.request, work.key)
            match work:
                case Buy():
                    await buy(context, self._sources, row, seat)
                case Follow():
                    await follow(context, self._sources, row, work)
                case Look():
                    await look(context, row, work)
                case Settle():
                    await settle(context, row, work.attempt)
        except StorageError as error:
            # Nothing more may be bought when nothing can be written down. What is in flight goes on: whatever the
            # disk still takes is saved, and the ledger's states tell the next run where to go on.
            context.halt(StopReason.STORAGE, str(error))
        except LedgerError as error:
            context.halt(StopReason.LEDGER, str(error))
        except Exception as error:  # a bug must not end a night: this one request is left where it is safe
            await self._survive(work, error)
        finally:
            seat.leave()
            context.wake()

    async def _survive(self, work: Work, error: Exception) -> None:
        try:
            await stumble(self._context, work, error)
        except StorageError as storage:
            self._context.halt(StopReason.STORAGE, str(storage))
        except LedgerError as ledger:
            self._context.halt(StopReason.LEDGER, str(ledger))

    def _budget_message(self) -> str:
        budget = self._context.budget
        if not self._ready:
            parts, periods = [], True
            for name, price in self._short.items():
                if self._parked[name] or name in self._overflown:
                    periods = periods and len(name) > 2
                    room = format_usd(budget.accounts[name].left or 0)
                    words = f"{room} is left, its next edit may cost up to {format_usd(price)}"
                    parts.append(f"{described(name)} is used up: {words}")
            again = "the same command goes on when there is room again"  # in another night, or month
            return "; ".join([*parts[:_TOLD], again if periods else "raise it in the budget and run again to go on"])
        price, whole = self._ready[0].price, budget.lacking(self._ready[0].price, budget.wholes)
        if whole is not None:
            left = budget.accounts[whole].left or 0
            return (
                f"{described(whole)} is used up: {format_usd(left)} is left, the next edit may cost up to"
                f" {format_usd(price)}; the same command goes on when there is room again"
            )
        left = budget.left or 0
        return (
            f"the budget is used up: {format_usd(left)} is left, the next edit may cost up to {format_usd(price)};"
            " raise it (the manifest's budget, or --budget) and run again to go on"
        )
