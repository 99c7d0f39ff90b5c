"""
Carrying out a plan: opens the ledger and the provider, records what is wanted, runs the pool, says how it ended.

Running the same plan again is how a run is resumed: what is done is skipped, what is open is followed, what is
unknown is asked about.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import TypeVar

import anyio
import anyio.abc

from batchedit import disk
from batchedit.breaker import Breaker
from batchedit.budget import Budget
from batchedit.caps import open_accounts
from batchedit.context import Context, Observer, StopReason
from batchedit.control import Control
from batchedit.effects import Effects
from batchedit.ending import RunSummary, exit_code, nothing_to_do
from batchedit.errors import ExitCode, LedgerError, StorageError
from batchedit.filing import Filing
from batchedit.hooks import ReadHooks
from batchedit.latency import Latencies
from batchedit.ledger.journal import Journal
from batchedit.ledger.lock import LedgerLock
from batchedit.ledger.reader import Ledger, has_begun
from batchedit.ledger.records import Attempt, Override, Pace, RequestRow, TaskRow, WaitingRow
from batchedit.ledger.run_records import RunStart
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import RetryPolicy, State
from batchedit.logs import LOGGER
from batchedit.manifest import Findings
from batchedit.model import Quote, Request
from batchedit.money import ZERO, MicroUSD, format_usd
from batchedit.outputs import Outputs
from batchedit.plan import BUYING, Verdict
from batchedit.planned import Entry, Plan
from batchedit.planner import walk
from batchedit.polling import Board
from batchedit.pool import Pool
from batchedit.providers.registry import Connected, Setup, connect
from batchedit.redelivery import redeliver
from batchedit.run_options import RunOptions, facts_of, key_places, limits_of, pacer_for
from batchedit.settled import can_be_marked, make_mark, still_settled
from batchedit.sources import Sources
from batchedit.turning import drop_turned
from batchedit.wire import Wire
from batchedit.workers import Workers

T = TypeVar("T")

_BATCH = 500
_MUCH = 50
"""So many purchases are worth a moment's preparation."""
_SHOWN = 5


async def run_plan(
    plan: Plan,
    options: RunOptions = RunOptions(),
    *,
    effects: Effects | None = None,
    observer: Observer | None = None,
    environment: Mapping[str, str] | None = None,
    servers: anyio.abc.TaskGroup | None = None,
    control: Control | None = None,
) -> RunSummary:
    """
    Do what a plan says, or go on with it.

    Args:
        plan: From `make_plan`.
        options: Limits and signals.
        effects: Clock, seed and threads; None for the real ones.
        observer: Called after every change with the run's counts.
        environment: Where keys are looked up; None for the process's own.
        servers: Where in-process servers run, if they shall outlive this call.
        control: Stops it from another thread.

    Raises:
        LedgerError: if the ledger is in use, damaged, newer, or of the other world. Nothing was sent.
        StorageError: if the disk refuses the ledger at the start. Nothing was sent.
        UsageError: if the provider is not known or lacks its key. Nothing was sent.
        ManifestError: if the manifest or its pictures have changed for the worse since it was planned.
    """
    if plan.mark is not None:
        if not still_settled(plan):
            raise LedgerError(f"{plan.workspace.root} has changed since the plan was made", hint="just run it again")
        return nothing_to_do(plan.mark, options.budget if options.budget is not None else plan.manifest.budget)
    return await _carry_out(_Run.record, plan, options, effects, observer, environment, servers, control)


async def reconcile(
    plan: Plan,
    options: RunOptions = RunOptions(),
    *,
    effects: Effects | None = None,
    observer: Observer | None = None,
    environment: Mapping[str, str] | None = None,
    servers: anyio.abc.TaskGroup | None = None,
    control: Control | None = None,
) -> RunSummary:
    """
    Settle what earlier runs left open, without buying anything.

    Asks the provider about unknown outcomes, follows what it has accepted, fetches what is paid, and puts back files
    that have gone. What turns out never to have been bought waits for the next run.

    Args:
        plan: From `planner.outline` or `make_plan`; its tasks are not looked at.
        options, effects, observer, environment, servers, control: As for `run_plan`; the budget does not matter.

    Raises:
        LedgerError, StorageError, UsageError: as `run_plan`; also LedgerError if there is no ledger.
        NothingSelected: if no run was ever begun in it.
    """
    if not has_begun(plan.workspace.ledger):
        raise LedgerError(f"there is no ledger at {plan.workspace.ledger}")
    return await _carry_out(_Run.rejoin, plan, options, effects, observer, environment, servers, control)


async def _carry_out(
    begin: Callable[[_Run], None],
    plan: Plan,
    options: RunOptions,
    effects: Effects | None,
    observer: Observer | None,
    environment: Mapping[str, str] | None,
    servers: anyio.abc.TaskGroup | None,
    control: Control | None,
) -> RunSummary:
    effects = effects or Effects.real()
    LOGGER.info("%s: %d to buy, %s money", plan.manifest.name, plan.figures.purchases, plan.world)
    with ExitStack() as stack:
        run = _Run(plan, options, effects, stack, os.environ if environment is None else environment)
        wire = Wire(run.connected.endpoint, servers=servers, offload=effects.offload)
        async with wire, run.workers as workers:
            if plan.figures.purchases >= _MUCH:
                workers.prepare()
            await effects.offload(partial(begin, run))
            summary = await run.execute(wire, workers, observer, control)
    LOGGER.info(
        "run %d ended with exit code %d: %s spent, %s at risk%s", summary.run_id, summary.exit_code,
        format_usd(summary.spent), format_usd(summary.at_risk), f"; {summary.reason}" if summary.reason else "",
    )  # fmt: skip
    return summary


class _Run:
    """One execution: what is opened for it, in the order in which it is needed."""

    def __init__(
        self, plan: Plan, options: RunOptions, effects: Effects, stack: ExitStack, environment: Mapping[str, str]
    ) -> None:
        self.plan, self.options, self.effects = plan, options, effects
        workspace = plan.workspace
        self._make_folders()
        # The ledger has a lock of its own; this one is for two ledgers over one folder, which would clear away each
        # other's unfinished files.
        lock = LedgerLock(workspace.state / "lock", since=effects.stamp(), what=f"the folder {workspace.root}")
        stack.callback(lock.close)
        self.connected: Connected = connect(
            Setup(
                settings=plan.settings,
                limits=plan.manifest.limits,
                effects=effects,
                state=workspace.state / "provider",
                environment=environment,
                places=key_places(plan, options),
            )
        )
        stack.callback(self.connected.close)
        self.limits = limits_of(plan, options, self.connected)
        self.ledger = LedgerWriter(workspace.ledger, effects, world=plan.world)
        stack.callback(self.ledger.close)
        self.files = Filing(workspace.root, workspace.state, self.limits.verify, workspace.ledger)
        self.files.open()
        drop_turned(workspace.state)
        self.workers = Workers(self.files, effects.workers)
        self.held_back = 0
        self.run_id = 0
        self.buying = True
        self.spent_before = ZERO
        self.budget = Budget()

    def record(self) -> None:
        """Note the run, its tasks and its requests; settle what an earlier process left. Nothing is sent."""
        plan = self.plan
        self.ledger.recover()
        self.run_id = self.ledger.start_run(
            RunStart(
                manifest=plan.manifest.name,
                provider=plan.settings.name,
                model=plan.settings.model,
                program=f"batchedit {version('batchedit')}",
                price_list=plan.prices.name,
                budget=self._limit(),
                plan=plan.agreed.digest if plan.agreed is not None else "",
                facts=facts_of(plan, self.options, self.connected, self.limits),
                since=self.options.job_began if self.options.job else "",
            )
        )
        if self.options.job:
            self.ledger.begin_job(self.options.job, self.options.job_began)
        findings, to_buy = Findings(), 0
        with Ledger(self.plan.workspace.ledger) as reader:
            known = reader if reader.has_tasks() else None  # the first run need not ask about each task
            for entries in _chunks(walk(plan, known, findings), _BATCH):
                self.held_back += sum(entry.verdict is Verdict.CHANGED for entry in entries)
                to_buy += sum(entry.quote.high for entry in entries if entry.verdict in BUYING)
                recipes = {entry.task.recipe for entry in entries if entry.task.recipe is not None}
                with self.ledger.transaction():
                    self.ledger.remember_recipes(recipes)
                    self.ledger.record_overrides(_overrides(entries))
                    self.ledger.record_tasks(_wanted(entries), provider=plan.settings.name)
                    self.ledger.record_waiting(_waiting(entries), provider=plan.settings.name)
        self.ledger.remember_digests(plan.digests.fresh())
        findings.raise_if_problems()
        self.ledger.redo_failed()
        limit = self._limit()
        if plan.agreed is not None:
            spent, held, others = self.ledger.money_of_plan(plan.agreed.digest)
            # Nobody can take back what other runs have left open; what is agreed comes on top of it.
            limit = MicroUSD((limit or ZERO) + others)
        else:
            spent, held = self.ledger.money()
        accounts = open_accounts(plan.manifest.spending, self.ledger, self.options.caps)
        if limit is None:
            # The limits of a job are for everybody's spending too: what is left of the smallest one.
            rooms = [account.left for name, account in accounts.items() if not name[0] and account.left is not None]
            limit = MicroUSD(spent + held + (min(rooms) if rooms else to_buy))
        self.spent_before = spent
        self.budget = Budget(
            limit=limit,
            spent=spent,
            held=held,
            accounts=accounts,
            warn_all_at=plan.manifest.spending.warn_at,
        )

    def _limit(self) -> MicroUSD | None:
        """What may be spent, None if nobody has said: a saved plan names the amount that was agreed to."""
        if self.plan.agreed is not None:
            return self.plan.agreed.high
        return self.options.budget if self.options.budget is not None else self.plan.manifest.budget

    def rejoin(self) -> None:
        """Go on with the last run, buying nothing."""
        self.buying = False
        self.ledger.recover()
        self.run_id = self.ledger.rejoin_run()
        spent, held = self.ledger.money()
        self.spent_before = spent
        self.budget = Budget(limit=MicroUSD(spent + held), spent=spent, held=held)

    async def execute(
        self, wire: Wire, workers: Workers, observer: Observer | None, control: Control | None
    ) -> RunSummary:
        """Deliver what is paid already, then run the pool, then say how it went."""
        context = self._context(wire, workers, observer)
        sources = Sources(
            provider=context.provider,
            wire=wire,
            ledger=self.ledger,
            journal=context.journal,
            offload=self.effects.offload,
            hooks=ReadHooks(context),
            signed_urls=self.plan.signed_urls,
            outputs=context.outputs,
        )
        states = self.ledger.states()
        progress = context.progress
        progress.run, progress.total = self.run_id, sum(states.values()) - (0 if self.buying else states[State.PENDING])
        progress.done, progress.failed = states[State.DONE], states[State.FAILED]
        progress.suspect, progress.lost = states[State.SUSPECT], states[State.LOST]
        context.progress.budget, context.progress.limit = self.budget.limit, self.limits.requests_per_minute
        resume: list[tuple[RequestRow, Attempt]] = self.ledger.open_attempts()
        for row, _ in resume:
            self.budget.adopt(row.key, self.budget.accounts_of(row.labels, row.edit))
        pool = Pool(
            context,
            sources,
            grace_seconds=self.options.grace_seconds,
            handle_signals=self.options.handle_signals,
            until=self.options.until,
            closing=self.options.closing,
            control=control,
        )
        context.wake()  # whoever watches knows that it has begun
        try:
            await redeliver(context)
        except StorageError as error:
            context.halt(StopReason.STORAGE, str(error))
        await pool.run(resume)
        if context.to_deliver:
            await self._deliver_late(context)
        learner = context.pacer.learner
        if learner is not None and learner.found is not None:
            pace = Pace(per_minute=learner.found, confidence=learner.confidence)
            with suppress(StorageError):  # it is a convenience; the run's own end is told all the same
                self.ledger.record_pace(context.provider.scope, pace)
        return self._close(context)

    async def _deliver_late(self, context: Context) -> None:
        """Tasks that came to a request which had been bought for others already."""
        try:
            await redeliver(context, context.to_deliver)
        except StorageError as error:
            context.halt(StopReason.STORAGE, str(error))

    def _context(self, wire: Wire, workers: Workers, observer: Observer | None) -> Context:
        connected, effects, limits = self.connected, self.effects, self.limits
        return Context(
            provider=connected.provider,
            wire=wire,
            board=Board(
                Latencies(limits.poll_seconds, effects.draw("polling")),
                can_list=connected.provider.can_reconcile,
            ),
            ledger=self.ledger,
            journal=Journal(self.ledger, effects.commit),
            outputs=Outputs(self.files, effects.offload, workers if effects.workers else None),
            pacer=pacer_for(limits, self.ledger.pace(connected.provider.scope)),
            budget=self.budget,
            breaker=Breaker(max_failures=limits.max_failures),
            limits=limits,
            policy=RetryPolicy(attempts=limits.attempts),
            effects=effects,
            key_print=connected.endpoint.key.fingerprint(self.ledger.id) if connected.endpoint.key else "",
            buying=self.buying,
            has_chains=self.ledger.anybody_waits(),
            on_unknown=self.options.on_unknown or self.plan.settings.on_unknown,
            observer=observer,
        )

    def _close(self, context: Context) -> RunSummary:
        reason, at_risk = context.stop_message, context.budget.held
        unknown: tuple[str, ...] = ()
        waiting: Mapping[str, int] = {}
        try:
            self.ledger.recover()
            states, at_risk = self.ledger.states(), self.ledger.at_risk()
            unknown = tuple(self.ledger.slots_in(State.UNKNOWN)[:_SHOWN])
            if self.buying:
                waiting = self.ledger.waiting()
            else:
                # Not a matter of this command, but nobody should take its end for that of the whole.
                if left := states[State.PENDING]:
                    what = "1 request is" if left == 1 else f"{left} requests are"
                    context.progress.notes.append(f"{what} not bought: the next `batchedit run` buys what is left")
                states[State.PENDING] = 0
            code = exit_code(
                context.stop, states, held_back=self.held_back, undelivered=context.undelivered, bugs=context.bugs,
                waiting=waiting,
            )  # fmt: skip
            if self.buying:
                self.ledger.end_run(code, reason)
                if code is ExitCode.DONE and not waiting and can_be_marked(self.plan):
                    self._mark(states, at_risk)
            else:
                self.ledger.end_reconciliation(code)
        except (StorageError, LedgerError) as error:
            # What the ledger cannot take it may still be able to tell.
            states = Counter(dict.fromkeys(State, 0))
            with suppress(StorageError), self.ledger.reading():
                states = self.ledger.states()
            code = ExitCode.STORAGE if context.stop is StopReason.STORAGE else error.exit_code
            reason = reason or str(error)
        return RunSummary(
            run_id=self.run_id,
            exit_code=code,
            states=states,
            spent=MicroUSD(context.budget.spent - self.spent_before),
            spent_before=self.spent_before,
            at_risk=at_risk,
            unknown=unknown,
            budget=context.budget.limit or ZERO,
            held_back=self.held_back,
            undelivered=context.undelivered,
            waiting=waiting,
            reason=reason,
            notes=tuple(context.progress.notes),
            gave_up=context.stop is StopReason.BREAKER,
        )

    def _mark(self, states: Mapping[State, int], at_risk: MicroUSD) -> None:
        ledger = self.ledger
        mark = make_mark(
            self.plan,
            ledger.wanted_paths(),
            run_id=self.run_id,
            tasks=ledger.wanted_tasks(),
            requests=sum(states.values()),
            at_risk=at_risk,
        )
        if mark is not None:
            ledger.settle(mark.text())

    def _make_folders(self) -> None:
        state = self.plan.workspace.state
        for folder in (state, self.plan.workspace.ledger.parent):
            try:
                is_new = not folder.exists()
                disk.make_folders(folder)
                if folder == state:
                    disk.claim(folder, is_new=is_new)
                    disk.refuse_links(folder)
            except OSError as error:
                raise StorageError(f"cannot make the folder {folder}: {error.strerror}") from error


def _wanted(entries: Iterable[Entry]) -> Iterator[tuple[TaskRow, Request, Quote]]:
    """What is recorded: everything but changed tasks, which keep what they were bought as, and those that wait."""
    for entry in entries:
        if entry.verdict is not Verdict.CHANGED and not entry.waits:
            yield entry.row(), entry.request, entry.quote


def _overrides(entries: Iterable[Entry]) -> Iterator[tuple[str, Override]]:
    """The prompts of a re-edit, for the tasks that are bought with them."""
    for entry in entries:
        if entry.override is not None and entry.verdict is not Verdict.CHANGED:
            yield entry.task.slot, entry.override


def _waiting(entries: Iterable[Entry]) -> Iterator[WaitingRow]:
    """Tasks without a request of their own yet."""
    for entry in entries:
        if entry.waits:
            yield entry.waiting_row()


def _chunks(values: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(values, size)):
        yield chunk
