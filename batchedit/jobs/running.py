"""
One start of a job: wait or refuse, a pilot and its gate, manifest after manifest, reports, notices.

    window --> pilot --> gate --> run, run, ... --> report, export --> notices

Whatever happens, reports are written and somebody is told; neither ever changes how the job ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio

from batchedit.allowance import ANYTHING, Allowance
from batchedit.batch import reconcile, run_plan
from batchedit.caps import PeriodCap
from batchedit.context import Observer
from batchedit.effects import Effects
from batchedit.ending import RunSummary
from batchedit.errors import BatchEditError, ConsentMissing, ExitCode
from batchedit.jobs.model import Gate, Job, Part
from batchedit.jobs.money import Standing, caps_of, counted, has_limit, run_limit, standings
from batchedit.jobs.telling import announce, tell
from batchedit.jobs.window import Night, night_at
from batchedit.jobs.writing import write_files
from batchedit.ledger.reader import ledger_at
from batchedit.manifest import Manifest, load_manifest
from batchedit.money import ZERO, format_usd
from batchedit.pilot import Pilot, examine
from batchedit.planned import Plan
from batchedit.planner import make_plan, outline
from batchedit.run_options import RunOptions
from batchedit.selecting import Sample

_ORDER = (
    ExitCode.STORAGE, ExitCode.LEDGER, ExitCode.ACCOUNT, ExitCode.SIGINT, ExitCode.SIGTERM, ExitCode.BUG,
    ExitCode.USAGE, ExitCode.UNKNOWN, ExitCode.LIMIT, ExitCode.SOME_FAILED, ExitCode.NOTHING_SELECTED,
)  # fmt: skip
"""Which code a job ends with if several apply."""
_HALTS = _ORDER[:6]
"""After these nothing more of the job is begun."""
_LONGEST_NAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEnd:
    """
    How one manifest ended.

    Attributes:
        plan: None if it could not be planned.
        summary: None if it was not run.
        error: What kept it from being run; empty if nothing did.
    """

    part: Part
    plan: Plan | None
    summary: RunSummary | None
    error: str = ""


@dataclass(slots=True, kw_only=True)
class JobEnd:
    """
    How one start of a job ended.

    Attributes:
        exit_code: As the command line returns it.
        night: The night that it belongs to.
        reasons: Why it stopped early or did not begin, a sentence each.
        ledgers: Those that it is about, begun or not, each once.
        pilot: What the sample has shown, None without one.
        limits: How the job's own limits stand.
        files: Reports and exports that were written.
        troubles: What went wrong with files and notices; changes no exit code.
    """

    job: Job
    exit_code: ExitCode
    night: Night
    ledgers: Sequence[Path] = ()
    parts: list[PartEnd] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    pilot: Pilot | None = None
    limits: list[Standing] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def summaries(self) -> list[RunSummary]:
        """Those of the manifests that were run."""
        return [part.summary for part in self.parts if part.summary is not None]

    @property
    def rehearsal(self) -> bool:
        """True if all of its money is a rehearsal's."""
        plans = [part.plan for part in self.parts if part.plan is not None]
        return bool(plans) and all(plan.rehearsal for plan in plans)


async def run_job(
    job: Job,
    *,
    wait: bool = False,
    effects: Effects | None = None,
    environment: Mapping[str, str],
    observer: Observer | None = None,
    say: Callable[[str], None] = lambda _: None,
    handle_signals: bool = False,
    allowance: Allowance = ANYTHING,
) -> JobEnd:
    """
    Start a job: do what it says, or go on with it.

    Args:
        wait: Outside the window wait for it; else nothing is done, and the exit code is 6.
        effects: Clock, seed and threads; None for the real ones.
        environment: Where keys, and the URLs and passwords of notices, are looked up.
        observer: As for `run_plan`.
        say: Told what happens, a sentence at a time.
        handle_signals: As in `RunOptions`.
        allowance: What may be bought at all.

    Raises:
        Nothing on purpose: what keeps a manifest from being run is in the end's reasons.
    """
    effects = effects or Effects.real()
    if job.window is not None and job.window.current(_now(effects)) is None:
        opens = job.window.next_after(_now(effects))
        when = "it never opens" if opens is None or opens.opens is None else f"it opens at {_local(opens.opens, job)}"
        if not wait or opens is None or opens.opens is None:
            end = JobEnd(job=job, exit_code=ExitCode.LIMIT, night=night_at(_now(effects), job.window, job.zone))
            end.reasons.append(f"outside the window: {when}; nothing was sent")
            return end
        say(f"outside the window: {when}; waiting")
        while (left := opens.opens.timestamp() - effects.wall()) > 0:  # noqa: ASYNC110  no event tells the time
            await anyio.sleep(min(left, _LONGEST_NAP_SECONDS))
    start = _Start(job, effects, environment, observer, say, handle_signals, allowance)
    await effects.offload(partial(start.tell_of_start))
    await start.carry_out()
    await effects.offload(partial(start.close))
    return start.end


def run_job_sync(
    job: Job,
    *,
    wait: bool = False,
    environment: Mapping[str, str],
    observer: Observer | None = None,
    say: Callable[[str], None] = lambda _: None,
    handle_signals: bool = False,
    allowance: Allowance = ANYTHING,
) -> JobEnd:
    """Like `run_job`, for callers without an event loop."""
    return anyio.run(
        lambda: run_job(
            job,
            wait=wait,
            environment=environment,
            observer=observer,
            say=say,
            handle_signals=handle_signals,
            allowance=allowance,
        )
    )


def plan_part(job: Job, part: Part, *, sample: Sample | None = None, glance: bool = True) -> Plan:
    """
    The plan of one of a job's manifests, as the job has it done.

    Raises:
        BatchEditError: as `load_manifest` and `make_plan`.
    """
    return make_plan(
        adapted(job, part), out=part.out, rehearse=job.rehearse, select=part.select, exclude=part.exclude,
        sample=sample, glance=glance,
    )  # fmt: skip


def adapted(job: Job, part: Part) -> Manifest:
    """
    A manifest with what the job says of provider and limits.

    Raises:
        ManifestError: as `load_manifest`.
    """
    manifest = load_manifest(part.manifest)
    manifest.adapt(provider=job.provider, limits=job.limits)
    return manifest


def ledgers_of(job: Job) -> tuple[Path, ...]:
    """The ledgers of a job, whether they are begun or not; a manifest that cannot be read has none."""
    found = [ledger_at(path) for path in job.ledgers]
    for part in job.parts:
        with suppress(BatchEditError):
            found.append(outline(adapted(job, part), out=part.out, rehearse=job.rehearse).workspace.ledger)
    return tuple(dict.fromkeys(found))


def must_have_limit(job: Job, plan: Plan) -> None:
    """
    Make sure that somebody has said how much may be spent.

    Raises:
        ConsentMissing: if real money is involved and neither job nor manifest limits it.
    """
    if not plan.rehearsal and plan.figures.purchases and not has_limit(job) and plan.manifest.budget is None:
        high = format_usd(plan.figures.quote.high)
        raise ConsentMissing(
            f"this would spend up to {high} and nobody has agreed to it",
            hint=f"write into {job.shown}: budget: {{night: {high.lstrip('$')}}}",
        )


class _Start:
    """One start of a job."""

    def __init__(
        self,
        job: Job,
        effects: Effects,
        environment: Mapping[str, str],
        observer: Observer | None,
        say: Callable[[str], None],
        handle_signals: bool,
        allowance: Allowance,
    ) -> None:
        self.job, self._effects, self._environment, self._observer = job, effects, environment, observer
        self._say, self._handle_signals, self._allowance = say, handle_signals, allowance
        self._started = _now(effects)
        self.end = JobEnd(job=job, exit_code=ExitCode.DONE, night=night_at(self._started, job.window, job.zone))
        self.end.ledgers = ledgers_of(job)
        self._codes: list[ExitCode] = []

    def tell_of_start(self) -> None:
        """Ping the heartbeats."""
        self._troubled(announce(self.job, self._environment))

    async def carry_out(self) -> None:
        """All manifests, one after the other."""
        for part in self.job.parts:
            if any(code in _HALTS for code in self._codes) or self._is_over():
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
            end.limits = standings(self.job, end.night, self._started, end.ledgers)
        except BatchEditError as error:
            self._troubled([f"the limits cannot be told: {error}"])
        written, troubles = write_files(self.job, end.night, end.ledgers, now)
        end.files += written
        self._troubled(troubles)
        if self.job.does == "report" and troubles:
            end.exit_code = ExitCode.STORAGE  # to write them is all that it is for
        self._troubled(tell(end, self._environment))

    # -- inside ----------------------------------------------------------------------------------------------

    async def _part(self, part: Part) -> None:
        job, offload = self.job, self._effects.offload
        if job.does == "reconcile":
            plan = outline(adapted(job, part), out=part.out, rehearse=job.rehearse)
            self._say(f"{part.shown}: what is open is brought home, nothing is bought")
            summary = await reconcile(
                plan, self._options(plan, ()), effects=self._effects, observer=self._observer,
                environment=self._environment,
            )  # fmt: skip
            self._ended(part, plan, summary)
            return
        if job.gate is not None and not await self._passes(part, job.gate):
            return
        plan = await offload(partial(plan_part, job, part))
        must_have_limit(job, plan)
        self._allowance.check(plan)
        self._ended(part, plan, await self._run(plan))

    async def _passes(self, part: Part, gate: Gate) -> bool:
        """Buy a sample, and see whether what it shows is within what the job says."""
        job, offload = self.job, self._effects.offload
        sample = Sample(size=gate.tasks, seed=gate.seed, strata=gate.strata)
        plan = await offload(partial(plan_part, job, part, sample=sample, glance=False))
        must_have_limit(job, plan)
        self._allowance.check(plan)
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
        if why:
            self._codes.append(ExitCode.LIMIT)
            self.end.reasons += [f"{part.shown}: stopped after the pilot: {each}" for each in why]
        return False

    async def _run(self, plan: Plan) -> RunSummary:
        others = [path for path in self.end.ledgers if path != plan.workspace.ledger]
        caps = await self._effects.offload(partial(counted, caps_of(self.job, self.end.night, self._started), others))
        figures = plan.figures
        self._say(
            f"{plan.manifest.name}: {figures.purchases} to buy,"
            f" {format_usd(figures.quote.low)} to {format_usd(figures.quote.high)}"
        )
        return await run_plan(
            plan, self._options(plan, caps), effects=self._effects, observer=self._observer,
            environment=self._environment,
        )  # fmt: skip

    def _options(self, plan: Plan, caps: Sequence[PeriodCap]) -> RunOptions:
        window, night = self.job.window, self.end.night
        amounts = [amount for amount in (run_limit(self.job), plan.manifest.budget) if amount is not None]
        closes = night.closes.timestamp() if window is not None and night.closes is not None else None
        return RunOptions(
            budget=min(amounts) if amounts else None,
            caps=tuple(caps),
            until=closes,
            grace_seconds=window.grace_seconds if window is not None else 60.0,
            handle_signals=self._handle_signals,
        )

    def _ended(self, part: Part, plan: Plan, summary: RunSummary) -> None:
        self.end.parts.append(PartEnd(part=part, plan=plan, summary=summary))
        self._codes.append(summary.exit_code)
        if summary.reason:
            self.end.reasons.append(f"{part.shown}: {summary.reason}")

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


def objections(pilot: Pilot, gate: Gate, whole: Plan) -> list[str]:
    """Why a pilot does not let the rest follow; nothing if it does."""
    found = []
    left = sum(rest.requests for rest in pilot.rest.values())
    if not pilot.trials:
        if left:
            found.append("nothing of the sample has come to an end")
        return found
    failed = sum(trial.failed for trial in pilot.trials)
    if gate.max_failed is not None and 100 * failed > gate.max_failed * len(pilot.trials):
        share = 100 * failed / len(pilot.trials)
        found.append(f"{failed} of {len(pilot.trials)} failed ({share:.1f} %), {gate.max_failed} % may")
    rest = pilot.projection.high if pilot.projection is not None else whole.figures.quote.high if left else ZERO
    total = pilot.spent + pilot.at_risk + rest
    if gate.max_cost is not None and total > gate.max_cost:
        found.append(f"all of it may cost {format_usd(total)}, {format_usd(gate.max_cost)} may be spent")
    return found


def _now(effects: Effects) -> datetime:
    return datetime.fromtimestamp(effects.wall(), UTC)


def _local(moment: datetime, job: Job) -> str:
    return f"{moment.astimezone(job.zone):%Y-%m-%d %H:%M %Z}"
