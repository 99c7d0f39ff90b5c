"""
One start of a job: wait or refuse, a pilot and its gate, manifest after manifest, reports, notices.

    window --> pilot --> gate --> run, run, ... --> report, export --> notices

Whatever happens, reports are written and somebody is told; neither ever changes how the job ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio

from batchedit.allowance import ANYTHING, Allowance
from batchedit.batch import reconcile, run_plan
from batchedit.calling import in_own_loop
from batchedit.caps import PeriodCap
from batchedit.context import Observer
from batchedit.control import Control
from batchedit.effects import Effects
from batchedit.ending import RunSummary
from batchedit.errors import BatchEditError, ExitCode
from batchedit.events import Sink
from batchedit.jobs.ended import JobEnd, PartEnd
from batchedit.jobs.model import Gate, Job, Part
from batchedit.jobs.money import (
    began_at,
    caps_of,
    counted,
    run_limit,
    stamp,
    standings,
    with_warnings,
)
from batchedit.jobs.parts import adapted, for_a_person, ledgers_of, must_have_limit, objections, plan_part
from batchedit.jobs.recording import changes_of, logging_of
from batchedit.jobs.signals import hearing
from batchedit.jobs.telling import announce, tell
from batchedit.jobs.warning import Warner
from batchedit.jobs.window import night_at
from batchedit.jobs.writing import write_files
from batchedit.ledger.job_starts import add_end
from batchedit.ledger.reader import has_begun
from batchedit.money import format_usd
from batchedit.pilot import examine
from batchedit.planned import Plan
from batchedit.planner import outline
from batchedit.redaction import redact
from batchedit.run_options import RunOptions
from batchedit.selecting import Sample
from batchedit.tracing import RunTrace, Tracing

_ORDER = (
    ExitCode.STORAGE, ExitCode.LEDGER, ExitCode.ACCOUNT, ExitCode.SIGINT, ExitCode.SIGTERM, ExitCode.BUG,
    ExitCode.USAGE, ExitCode.UNKNOWN, ExitCode.LIMIT, ExitCode.SOME_FAILED, ExitCode.NOTHING_SELECTED,
)  # fmt: skip
"""Which code a job ends with if several apply."""
_HALTS = _ORDER[:6]
"""After these nothing more of the job is begun."""
_GOES_ON = (ExitCode.SIGINT, ExitCode.SIGTERM, ExitCode.LEDGER)
"""A start that ends with these goes on with the next one; with the last of them it may be another process's."""
_LONGEST_NAP_SECONDS = 60.0
_CONTROL_SECONDS = 0.1

Behaviour = Callable[[Plan], RunOptions]
"""How somebody likes runs to behave: pace, keys, patience. Limits of money and time are the job's."""


def _as_built(_: Plan) -> RunOptions:
    return RunOptions()


async def run_job(
    job: Job,
    *,
    wait: bool = False,
    effects: Effects | None = None,
    environment: Mapping[str, str] | None = None,
    observer: Observer | None = None,
    say: Callable[[str], None] = lambda _: None,
    behaviour: Behaviour = _as_built,
    control: Control | None = None,
    tracing: Tracing | None = None,
    allowance: Allowance = ANYTHING,
) -> JobEnd:
    """
    Start a job: do what it says, or go on with it.

    Its exit code is the command line's; what it has spent is in the summaries of its parts, and how its limits stand
    in `JobEnd.limits`, all in micro-dollars.

    Args:
        wait: Outside the window wait for it; else nothing is done, and the exit code is 6.
        effects: Clock, seed and threads; None for the real ones.
        environment: Where keys, and the URLs and passwords of notices, are looked up; None for the process's own.
        observer: As for `run_plan`.
        say: Told what happens, a sentence at a time.
        behaviour: Options for each of its runs; the job's own limits come on top.
        control: Stops it from another thread.
        tracing: Where spans of its runs go, None for nowhere.
        allowance: What may be bought at all.

    Raises:
        Nothing on purpose: what keeps a manifest from being run is in the end's reasons. A bug is raised when reports
        are written and people are told.
    """
    effects = effects or Effects.real()
    environment = os.environ if environment is None else environment
    if job.window is not None and job.window.current(_now(effects)) is None:
        opens = job.window.next_after(_now(effects))
        when = "it never opens" if opens is None or opens.opens is None else f"it opens at {_local(opens.opens, job)}"
        if not wait or opens is None or opens.opens is None:
            end = JobEnd(job=job, exit_code=ExitCode.LIMIT, night=night_at(_now(effects), job.window, job.zone))
            end.reasons.append(f"outside the window: {when}; nothing was sent")
            return end
        say(f"outside the window: {when}; waiting")
        nap = _LONGEST_NAP_SECONDS if control is None else _CONTROL_SECONDS
        while (left := opens.opens.timestamp() - effects.wall()) > 0:
            if control is not None and control.asked:
                end = JobEnd(job=job, exit_code=_stopped(control), night=night_at(_now(effects), job.window, job.zone))
                end.reasons.append(f"{control.why}; the window has not opened, and nothing was sent")
                return end
            await anyio.sleep(min(left, nap))
    start = _Start(job, effects, environment, observer, say, behaviour, control, tracing, allowance)
    with ExitStack() as stack:
        try:
            stack.enter_context(logging_of(job, start.end.night, environment))
            start.look_back()
        except BatchEditError as error:
            start.cannot_begin(error)
        else:
            await effects.offload(partial(start.tell_of_start))
            try:
                await start.carry_out()
            except Exception as error:  # a bug must not keep people from being told
                start.stumble(error)
        await effects.offload(partial(start.close))
    if start.bug is not None:
        raise start.bug
    return start.end


def run_job_sync(
    job: Job,
    *,
    wait: bool = False,
    environment: Mapping[str, str] | None = None,
    observer: Observer | None = None,
    say: Callable[[str], None] = lambda _: None,
    behaviour: Behaviour = _as_built,
    handle_signals: bool = False,
    control: Control | None = None,
    tracing: Tracing | None = None,
    allowance: Allowance = ANYTHING,
) -> JobEnd:
    """
    Like `run_job`, for callers without an event loop, and for those inside of a running one, which it holds up.

    Ctrl-C stops it gently: the end then says exit code 130.

    Args:
        handle_signals: True if this is the main thread, and Ctrl-C, SIGTERM and SIGHUP are to stop it gently, wherever
            it is, with its reports and notices; a second one leaves at once.
    """
    control = control or Control()
    work = partial(
        run_job, job, wait=wait, environment=environment, observer=observer, say=say, behaviour=behaviour,
        control=control, tracing=tracing, allowance=allowance,
    )  # fmt: skip
    with hearing(control) if handle_signals else nullcontext():
        return in_own_loop(work, control, handle_signals=handle_signals)


class _Start:
    """One start of a job."""

    def __init__(
        self,
        job: Job,
        effects: Effects,
        environment: Mapping[str, str],
        observer: Observer | None,
        say: Callable[[str], None],
        behaviour: Behaviour,
        control: Control | None,
        tracing: Tracing | None,
        allowance: Allowance,
    ) -> None:
        self.job, self._effects, self._environment, self._observer = job, effects, environment, observer
        self._say, self._behaviour, self._control, self._tracing = say, behaviour, control, tracing
        self._allowance = allowance
        self._started = _now(effects)
        self._began = stamp(self._started)
        self.end = JobEnd(job=job, exit_code=ExitCode.DONE, night=night_at(self._started, job.window, job.zone))
        self.end.ledgers = ledgers_of(job)
        self._codes: list[ExitCode] = []
        self.bug: Exception | None = None

    def look_back(self) -> None:
        """
        Go on with the limit of a start that was cut off.

        Raises:
            LedgerError: if a ledger cannot be read.
        """
        if self.job.does == "run":
            self._began = began_at(self.job, self.end.ledgers) or self._began

    def cannot_begin(self, error: BatchEditError) -> None:
        """It ends before anything was sent."""
        self.end.exit_code = error.exit_code
        said = "nothing was sent" in str(error)
        self.end.reasons.append(str(error) if said else f"{error}; nothing was sent")

    def stumble(self, error: Exception) -> None:
        """A bug has ended it: that is told like any other end, and raised when it is."""
        self.bug = error
        self.end.exit_code = next(code for code in _ORDER if code in (*self._codes, ExitCode.BUG))
        self.end.reasons.append(f"a bug in batchedit: {type(error).__name__}: {redact(str(error))}")

    def tell_of_start(self) -> None:
        """Ping the heartbeats."""
        self._troubled(announce(self.job, self._environment))

    async def carry_out(self) -> None:
        """All manifests, one after the other."""
        for part in self.job.parts:
            if any(code in _HALTS for code in self._codes) or self._is_stopped(part) or self._is_over():
                self._left(part)
                continue
            try:
                await self._part(part)
            except BatchEditError as error:
                self.end.parts.append(PartEnd(part=part, plan=None, summary=None, error=str(error)))
                self._codes.append(error.exit_code)
                self.end.reasons.append(f"{part.shown}: {error}")
        self.end.exit_code = next((code for code in _ORDER if code in self._codes), ExitCode.DONE)

    def close(self) -> None:
        """Write what the job wants written, and tell who wants to know."""
        end, now = self.end, _now(self._effects)
        try:
            end.limits = standings(self.job, end.night, self._started, end.ledgers, self._began)
        except BatchEditError as error:
            self._troubled([f"the limits cannot be told: {error}"])
        self._note_the_end()
        try:
            written, troubles = write_files(self.job, end.night, end.ledgers, now)
        except Exception as error:  # as above
            self.stumble(error)
            written, troubles = [], []
        end.files += written
        self._troubled(troubles)
        if self.job.does == "report" and troubles:  # to write them is all that it is for
            end.exit_code = ExitCode.STORAGE if self._has_ledger() else ExitCode.LEDGER
            end.reasons += troubles
        self._troubled(tell(end, self._environment))

    def _has_ledger(self) -> bool:
        with suppress(BatchEditError):
            return any(has_begun(path) for path in self.end.ledgers)
        return False  # it is damaged

    def _note_the_end(self) -> None:
        """The next start has a limit of its own, unless this one was cut off."""
        if self.job.does != "run" or self.end.exit_code in _GOES_ON:
            return
        for path in self.end.ledgers:
            try:
                if has_begun(path):
                    add_end(path, self.job.name, self._effects.stamp())
            except BatchEditError as error:
                self._troubled([f"that this start has ended cannot be noted: {error}"])

    # -- inside ----------------------------------------------------------------------------------------------

    async def _part(self, part: Part) -> None:
        job, offload = self.job, self._effects.offload
        if job.does == "reconcile":
            plan = outline(adapted(job, part), out=part.out, rehearse=job.rehearse)
            self._say(f"{part.shown}: what is open is brought home, nothing is bought")
            with self._changes(plan):
                summary = await reconcile(
                    plan, self._options(plan, ()), effects=self._effects, observer=self._observer,
                    environment=self._environment, control=self._control,
                )  # fmt: skip
            self._ended(part, plan, summary)
            return
        if job.gate is not None and not await self._passes(part, job.gate):
            return
        plan = await offload(partial(plan_part, job, part))
        self._refuse_spending(plan)
        if self._is_stopped(part):
            self._left(part)
        else:
            self._ended(part, plan, await self._run(plan))

    def _refuse_spending(self, plan: Plan) -> None:
        must_have_limit(self.job, plan)
        self._allowance.check(plan)

    async def _passes(self, part: Part, gate: Gate) -> bool:
        """Buy a sample, and see whether what it shows is within what the job says."""
        job, offload = self.job, self._effects.offload
        sample = Sample(size=gate.tasks, seed=gate.seed, strata=gate.strata)
        plan = await offload(partial(plan_part, job, part, sample=sample, glance=False))
        self._refuse_spending(plan)
        self._say(f"{part.shown}: pilot of {plan.figures.tasks} tasks")
        summary = await self._run(plan)
        whole = await offload(partial(plan_part, job, part, glance=False))
        chance = replace(self._effects, seed=gate.seed).draw("pilot", str(gate.tasks))
        pilot = await offload(partial(examine, whole, plan.choice.drawn or frozenset(), gate.strata, chance))
        self.end.pilot = pilot
        stopped = bool(summary.reason) or summary.exit_code in _HALTS
        why = [] if stopped else objections(pilot, gate, whole)
        if not stopped and not why:
            self._say(f"{part.shown}: the pilot is within what the job says; the rest follows")
            # The pilot's run counts for the part, and so does what it spent.
            self.end.parts.append(PartEnd(part=part, plan=plan, summary=summary))
            return True
        self._ended(part, whole, summary)
        self.end.parts[-1] = replace(self.end.parts[-1], kept_back=whole.figures.purchases if why else 0)
        if why:
            self._codes.append(ExitCode.LIMIT)
            self.end.reasons += [f"{part.shown}: stopped after the pilot: {each}" for each in why]
        return False

    async def _run(self, plan: Plan) -> RunSummary:
        others = [path for path in self.end.ledgers if path != plan.workspace.ledger]
        caps = await self._effects.offload(partial(self._caps, others))
        figures = plan.figures
        self._say(
            f"{plan.manifest.name}: {figures.purchases} to buy,"
            f" {format_usd(figures.quote.low)} to {format_usd(figures.quote.high)}"
        )
        warner = Warner(
            self.job, plan.workspace.ledger, self._began, self._effects, self._environment, self._observer,
            self._troubled,
        )  # fmt: skip
        async with warner:
            with self._traced(plan) as traced:
                with self._changes(plan, *([traced] if traced is not None else [])):
                    summary = await run_plan(
                        plan, self._options(plan, caps), effects=self._effects, observer=warner,
                        environment=self._environment, control=self._control,
                    )  # fmt: skip
                if traced is not None:
                    traced.finish(summary)
                return summary

    def _caps(self, others: Sequence[Path]) -> tuple[PeriodCap, ...]:
        """The job's limits, with what its other ledgers say; the run itself asks its own."""
        caps = caps_of(self.job, self.end.night, self._started, self._began)
        return with_warnings(counted(caps, others), self.job, self.end.ledgers, self._began)

    def _traced(self, plan: Plan) -> AbstractContextManager[RunTrace | None]:
        if self._tracing is None:
            return nullcontext()
        return self._tracing.run(plan.workspace.ledger, plan.manifest.name, rehearsal=plan.rehearsal)

    def _changes(self, plan: Plan, *others: Sink) -> AbstractContextManager[None]:
        return changes_of(
            self.job, self.end.night, plan.workspace.ledger, lambda words: self._troubled([words]), others
        )

    def _options(self, plan: Plan, caps: Sequence[PeriodCap]) -> RunOptions:
        window, night = self.job.window, self.end.night
        amounts = [amount for amount in (run_limit(self.job), plan.manifest.budget) if amount is not None]
        closes = night.closes.timestamp() if window is not None and night.closes is not None else None
        base = self._behaviour(plan)
        return replace(
            base,
            budget=min(amounts) if amounts else None,
            caps=tuple(caps),
            until=closes,
            closing="the window is over; the same command goes on when it opens again",
            grace_seconds=window.grace_seconds if window is not None else base.grace_seconds,
            job=self.job.name if self.job.does == "run" else "",
            job_began=self._began,
        )

    def _ended(self, part: Part, plan: Plan, summary: RunSummary) -> None:
        self.end.parts.append(PartEnd(part=part, plan=plan, summary=summary))
        self._codes.append(summary.exit_code)
        if summary.reason:
            self.end.reasons.append(f"{part.shown}: {summary.reason}")
        self.end.reasons += [f"{part.shown}: {words}" for words in for_a_person(self.job, plan, summary)]

    def _is_stopped(self, part: Part) -> bool:
        """Somebody wants it to stop; a run hears that by itself."""
        control = self._control
        if control is None or not control.asked:
            return False
        if _stopped(control) not in self._codes:
            self._codes.append(_stopped(control))
            self.end.reasons.append(f"{part.shown}: {control.why}")
        return True

    def _is_over(self) -> bool:
        closes = self.end.night.closes
        return self.job.window is not None and closes is not None and _now(self._effects) >= closes

    def _left(self, part: Part) -> None:
        why = "the job stopped before it" if not self._is_over() else "the window is over"
        self.end.parts.append(PartEnd(part=part, plan=None, summary=None, error=why))
        self._codes.append(ExitCode.LIMIT)
        self.end.reasons.append(f"{part.shown}: not begun, {why}")

    def _troubled(self, troubles: Sequence[str]) -> None:
        for trouble in troubles:
            self.end.troubles.append(trouble)
            self._say(trouble)


def _stopped(control: Control) -> ExitCode:
    return ExitCode.SIGTERM if control.terminated else ExitCode.SIGINT


def _now(effects: Effects) -> datetime:
    return datetime.fromtimestamp(effects.wall(), UTC)


def _local(moment: datetime, job: Job) -> str:
    return f"{moment.astimezone(job.zone):%Y-%m-%d %H:%M %Z}"
