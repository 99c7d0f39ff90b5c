"""Looking at jobs before they run: everything that is wrong, when they start, what they may spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from batchedit.budget import account_names
from batchedit.errors import BatchEditError, ConsentMissing, ManifestError, Place, Problem, UsageError
from batchedit.jobs.model import Job, Limit, Part
from batchedit.jobs.money import Standing, began_at, standings
from batchedit.jobs.parts import adapted, ledgers_of, must_have_limit
from batchedit.jobs.reading import is_job, load_job
from batchedit.jobs.vocabulary import DAYS
from batchedit.jobs.window import Night, night_at
from batchedit.manifest import Findings
from batchedit.manifest.fields import shortened, suggestion
from batchedit.money import format_usd
from batchedit.planned import Plan
from batchedit.planner import survey
from batchedit.providers.registry import destination
from batchedit.run_options import RunOptions, key_places
from batchedit.selecting import Choice
from batchedit.selection import parse_selection

_REMEMBERED = 1_000
"""So many values of a label are kept for suggestions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """
    A job in which nothing is wrong.

    Attributes:
        lines: What it would do, for people.
        warnings: What may be a mistake, in the job and its manifests.
    """

    job: Job
    lines: tuple[str, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job in a list. `job` is None if it cannot be read."""

    file: str
    job: Job | None
    words: str
    problems: int = 0

    def facts(self) -> dict[str, Any]:
        """For programs."""
        return {"file": self.file, "name": self.job and self.job.name, "says": self.words, "problems": self.problems}


def check_job(
    job: Job, *, environment: Mapping[str, str], now: datetime, options: RunOptions = RunOptions()
) -> Checked:
    """
    Look at a job and all of its manifests. Nothing is sent or written.

    Args:
        options: For where keys may be; no key is looked at.

    Raises:
        ManifestError: with every problem of the manifests.
        UsageError: for a provider that is not known, or money that nobody has agreed to.
    """
    findings, lines = Findings(), [_when(job, now)]
    for part in job.parts:
        try:
            plan = _survey(job, part)
        except ConsentMissing:
            raise
        except ManifestError as error:
            for problem in error.problems:
                findings.problem(problem)
            continue
        except BatchEditError as error:
            findings.problem(Problem(place=part.place, code="bad-job", field="manifests", message=error.message))
            continue
        for problem in (*plan.findings.problems, *plan.findings.warnings):
            findings.problem(problem)
        if not plan.findings.problems:
            must_have_limit(job, plan)
        if not plan.rehearsal:
            _look_for_key(job, part, plan, environment, options, findings)
        quote = plan.figures.quote
        money = " (rehearsal money)" if plan.rehearsal else ""
        price = f"{format_usd(quote.low)} to {format_usd(quote.high)}{money}"
        lines.append(f"{part.shown}: {plan.figures.purchases} to buy for {price}")
    for notice in job.notices:
        missing = [name for name in notice.variables if not environment.get(name)]
        why = f"{', '.join(missing)} is not set" if missing else ""
        if notice.via == "apprise" and find_spec("apprise") is None:
            why = "needs the extra: pip install 'batchedit[apprise]'"
        if why:
            findings.problem(
                Problem(place=Place(job.shown), code="silent-notice", field="notify", message=f"{notice}: {why}",
                        warning=True)
            )  # fmt: skip
    findings.raise_if_problems()
    for problem in _for_nobody(job):
        findings.problem(problem)
    night = night_at(now, job.window, job.zone)
    lines += [f"limit: {standing}" for standing in _standings(job, night, now)]
    return Checked(job=job, lines=tuple(lines), warnings=tuple(findings.warnings))


def _look_for_key(
    job: Job, part: Part, plan: Plan, environment: Mapping[str, str], options: RunOptions, findings: Findings
) -> None:
    try:
        goes_to = destination(plan.settings, environment, key_places(plan, options))
    except UsageError as error:
        findings.problem(
            Problem(place=part.place, code="bad-job", field="provider", message=error.message, hint=error.hint)
        )
        return
    if goes_to is not None and not goes_to.key_place:
        findings.problem(
            Problem(place=Place(job.shown), code="no-key", field="provider",
                    message=f"no place gives a key for {goes_to.origin}: the scheduler must", warning=True)
        )  # fmt: skip


def _standings(job: Job, night: Night, now: datetime) -> list[Standing]:
    ledgers = ledgers_of(job)
    return standings(job, night, now, ledgers, began_at(job, ledgers) or "")


def list_jobs(folder: Path, *, now: datetime) -> list[Entry]:
    """The jobs in a folder, by name; those that cannot be read too."""
    found = []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        if not is_job(path):
            continue
        try:
            job = load_job(path)
        except ManifestError as error:
            words = f"{len(error.problems)} problems: {error.problems[0]}"
            found.append(Entry(file=path.name, job=None, words=words, problems=len(error.problems)))
            continue
        limits = ", ".join(_limit(limit) for limit in job.budget if not limit.label) or "no limit of its own"
        money = "" if job.does != "run" else f"; {limits}"
        found.append(Entry(file=path.name, job=job, words=f"{job.name}: {job.does}, {_when(job, now)}{money}"))
    return found


def _for_nobody(job: Job) -> list[Problem]:
    """Warnings about limits that no task is charged to: a client may have nothing tonight, or its name is misspelt."""
    missing = {(limit.label, limit.value): limit for limit in job.budget if limit.label}
    known: dict[str, dict[str, None]] = {}
    for part in job.parts if missing else ():
        for task in adapted(job, part).tasks(Findings()):
            for label, value in account_names(task.labels, task.edit):
                missing.pop((label, value), None)
                values = known.setdefault(label, {})
                if len(values) < _REMEMBERED:
                    values[value] = None
    found = []
    for (label, value), limit in missing.items():
        message, hint = f"no task has a label {shortened(label)!r}", suggestion(label, known)
        if label in known:
            message, hint = f"no task has the {label} {shortened(value)!r}", suggestion(value, known[label])
        found.append(
            Problem(place=limit.place, code="budget-for-nobody", field=f"budget.per.{shortened(label)}",
                    message=message, hint=hint, warning=True)
        )  # fmt: skip
    return found


def _survey(job: Job, part: Part) -> Plan:
    manifest = adapted(job, part)
    selection = parse_selection(part.select, part.exclude, named=manifest.selectors)
    return survey(manifest, out=part.out, ledger=None, rehearse=job.rehearse, choice=Choice(selection=selection))


def _when(job: Job, now: datetime) -> str:
    window = job.window
    if window is None:
        return "at any time"
    days = "" if len(window.days) == 7 else f" on {', '.join(DAYS[day] for day in sorted(window.days))}"
    words = f"from {window.start:%H:%M} until {window.stop:%H:%M} {window.zone}{days}"
    current, after = window.current(now), window.next_after(now)
    if current is not None and current.closes is not None:
        return f"{words}, open now until {current.closes.astimezone(window.zone):%Y-%m-%d %H:%M}"
    if after is not None and after.opens is not None:
        return f"{words}, next on {after.opens.astimezone(window.zone):%Y-%m-%d %H:%M}"
    return words


def _limit(limit: Limit) -> str:
    return f"{format_usd(limit.amount)} a {limit.period}"
