"""A job's manifests as the job has them done: what is planned, which ledgers count, what a pilot must show."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from batchedit.ending import RunSummary
from batchedit.errors import BatchEditError, ConsentMissing
from batchedit.jobs.model import Gate, Job, Part
from batchedit.jobs.money import has_limit
from batchedit.ledger.reader import ledger_at
from batchedit.lifecycle import State
from batchedit.manifest import Manifest, load_manifest
from batchedit.money import ZERO, format_usd
from batchedit.pilot import Pilot
from batchedit.planned import Plan, Workspace
from batchedit.planner import make_plan, outline
from batchedit.report.advice import waiting_lines
from batchedit.selecting import Sample


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
    """
    The ledgers of a job, whether they are begun or not. What a manifest has spent counts also when it cannot be read
    any more: its ledger is the one that it had as long as it could.
    """
    found = [ledger_at(path) for path in job.ledgers]
    for part in job.parts:
        workspace = Workspace.at(part.out, rehearse=job.rehearse)
        with suppress(BatchEditError):
            workspace = outline(adapted(job, part), out=part.out, rehearse=job.rehearse).workspace
        found.append(workspace.ledger)
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


def for_a_person(job: Job, plan: Plan, summary: RunSummary) -> list[str]:
    """What no later start of the job does by itself, a sentence each, with the commands that do it."""
    found = []
    out = shlex.quote(str(plan.asked_out))
    if summary.held_back:
        words = f"{shlex.quote(str(plan.manifest.source))} --out {out}{' --rehearse' if plan.asked_rehearsal else ''}"
        words += f" --provider {job.provider['name']}" if "name" in job.provider and not job.rehearse else ""
        them = "1 task has" if summary.held_back == 1 else f"{summary.held_back} tasks have"
        found.append(f"{them} changed since bought, and no job buys that again\n  batchedit run {words} --changed")
    unknown = summary.states[State.UNKNOWN]
    if unknown and plan.settings.api == "run":
        found.append(
            f"{unknown} unknown outcomes stay so, since api: run cannot be asked: look at the provider's bill\n"
            "  then write into the job's or the manifest's provider: on_unknown: write-off (they count as spent), or"
            " resend (sends them once more, and may buy twice)"
        )
    if summary.undelivered:
        found.append(
            f"{summary.undelivered} paid pictures could not be put in place: batchedit verify {out} says which"
        )
    return [*found, *waiting_lines(summary.waiting, plan.workspace.root, wrapped=False)]
