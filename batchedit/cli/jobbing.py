"""The commands `job run`, `job check`, `job list` and `job install`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchedit.cli.carrying import Behaviour, behaviour_for, tracing_for
from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, NO_INPUT, QUIET, telling_options
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from batchedit.jobs.checking import Checked
    from batchedit.jobs.ended import JobEnd
    from batchedit.jobs.model import Job
    from batchedit.planned import Plan
    from batchedit.run_options import RunOptions

_JOB = click.argument("job", metavar="JOB")
_SCHEDULERS = ("systemd", "cron", "k8s", "github")


@cli.group()
def job() -> None:
    """
    Nights without anybody: job files that say what, when, for how much, and who is told.

    \b
      batchedit job check jobs/night.yaml              everything that is wrong, and when it would start
      batchedit job run jobs/night.yaml                do it, or go on with it
      batchedit job install jobs/night.yaml --systemd  print a unit and a timer
    """


@job.command("run")
@_JOB
@click.option("--wait", is_flag=True, help="Outside its window, wait until it opens; else the exit code is 6.")
@NO_INPUT
@QUIET
@telling_options
@JSON
@DEBUG
def run_command(job: str, wait: bool, as_json: bool, debug: bool, **flags: Any) -> int:
    """
    Do what JOB says, or go on with it.

    The same command starts, resumes and finishes. Without --wait a start outside the window sends nothing and ends with
    exit code 6, as does a job that stops at its window's end or at a limit with work left.

    \b
      batchedit job run jobs/nightly-catalog.yaml --no-input
      batchedit job run jobs/nightly-catalog.yaml --wait     # until its window opens
    """
    from dataclasses import replace
    from pathlib import Path

    from batchedit.allowance import Allowance
    from batchedit.cli.printing import ProgressLine
    from batchedit.jobs.reading import load_job
    from batchedit.jobs.running import run_job_sync
    from batchedit.jobs.telling import clean
    from batchedit.logs import logging_to
    from batchedit.trust import refuse_others

    refuse_others(Path(job))
    likes = {**flags, "no_input": True}  # a job never asks
    behaviour = behaviour_for(None, **likes)
    made = with_files(load_job(job), behaviour)
    to_stdout = made.events == "-"
    if to_stdout and as_json:
        raise UsageError("--events - and --json both want stdout", hint="name a file for the events")
    talks = not (behaviour["quiet"] or as_json)

    def told(text: str) -> None:
        if talks:
            say(clean(text), err=True)

    def liked(plan: Plan) -> RunOptions:
        # Signals are the whole job's, not only its runs'.
        return replace(behaviour_for(plan, **likes).run_options(), handle_signals=False)

    progress = ProgressLine(quiet=not talks)
    with (
        logging_to(None, form=behaviour["log_format"], verbose=behaviour["verbose"], environment=os.environ),
        tracing_for(behaviour) as tracing,
    ):
        try:
            end = run_job_sync(
                made, wait=wait, environment=os.environ, observer=progress, say=told, handle_signals=True,
                tracing=tracing, behaviour=liked,
                allowance=Allowance.of(behaviour.values),
            )  # fmt: skip
        finally:
            progress.close()
    _say_end(end, talks=talks, as_json=as_json, err=to_stdout)
    return end.exit_code


def _say_end(end: JobEnd, *, talks: bool, as_json: bool, err: bool) -> None:
    from batchedit.jobs.telling import clean, end_facts, end_lines

    if not talks:
        for trouble in end.troubles:  # else it was said when it happened
            say(clean(trouble), err=True)
    if as_json:
        say(json.dumps(end_facts(end), indent=2, ensure_ascii=False))
    elif talks or end.exit_code is not ExitCode.DONE:
        say("\n".join(end_lines(end)), err=err)


def with_files(job: Job, behaviour: Behaviour) -> Job:
    """The job with the log and the events that flags and settings name: those of a flag or the environment first."""
    from dataclasses import replace

    from batchedit.jobs.model import JobLog

    file, events = behaviour.values["log_file"], behaviour.values["events"]
    first = ("flag", "environment")
    if file.value is not None and (file.origin in first or job.log is None):
        path = str(Path(file.value).absolute())
        job = replace(job, log=JobLog(file=path, form=behaviour["log_format"], every_change=behaviour["verbose"] > 0))
    if events.value is not None and (events.origin in first or not job.events):
        job = replace(job, events="-" if events.value == "-" else str(Path(events.value).absolute()))
    return job


@job.command("check")
@_JOB
@JSON
@DEBUG
def check_command(job: str, as_json: bool, debug: bool) -> int:
    """
    List everything that is wrong with JOB and its manifests, for free, and say what it would do.

    Exit code 2 if there are problems. A variable of the environment that is not set is a warning: the scheduler may
    have it.

    \b
      batchedit job check jobs/nightly-catalog.yaml
    """
    from batchedit.cli.printing import findings_json
    from batchedit.errors import ManifestError
    from batchedit.jobs.checking import check_job
    from batchedit.jobs.reading import load_job

    try:
        options = behaviour_for(None, no_input=True).run_options()
        checked = check_job(load_job(job), environment=os.environ, now=_now(), options=options)
    except ManifestError as error:
        if as_json:
            say(findings_json(error.problems))
            return ExitCode.USAGE
        raise
    if as_json:
        say(findings_json(checked.warnings))
        return ExitCode.DONE
    for warning in checked.warnings:
        say(f"warning: {warning}", err=True)
    say("\n".join(_checked_lines(checked)))
    return ExitCode.DONE


@job.command("list")
@click.argument("folder", default="jobs", type=click.Path(path_type=Path))
@JSON
@DEBUG
def list_command(folder: Path, as_json: bool, debug: bool) -> int:
    """
    List the jobs in FOLDER: what each does and when it starts next.

    Exit code 2 if one of them is wrong.

    \b
      batchedit job list jobs
    """
    from batchedit.jobs.checking import list_jobs

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    found = list_jobs(folder, now=_now())
    if as_json:
        say(json.dumps([entry.facts() for entry in found], indent=2, ensure_ascii=False))
    else:
        width = max((len(entry.file) for entry in found), default=0)
        for entry in found:
            say(f"{entry.file:<{width}}  {entry.words}")
        if not found:
            say(f"there is no job in {folder}", err=True)
    return ExitCode.USAGE if any(entry.problems for entry in found) else ExitCode.DONE


def _now() -> datetime:
    from batchedit.effects import Effects

    return datetime.fromtimestamp(Effects().wall(), UTC)


def _checked_lines(checked: Checked) -> list[str]:
    job = checked.job
    lines = [f"{job.shown}: {job.does} {job.name}", *(f"  {line}" for line in checked.lines)]
    return [*lines, "  no problem found, nothing was sent"]


def _one_of(schedulers: dict[str, Any]) -> str:
    chosen = [name for name in _SCHEDULERS if schedulers[name]]
    if len(chosen) != 1:
        raise UsageError("name one scheduler", hint="--systemd, --cron, --k8s or --github")
    return chosen[0]


@job.command("install")
@_JOB
@click.option("--systemd", is_flag=True, help="A service and its timer.")
@click.option("--cron", is_flag=True, help="A line for crontab.")
@click.option("--k8s", is_flag=True, help="A CronJob for Kubernetes.")
@click.option("--github", is_flag=True, help="A workflow for GitHub Actions.")
@DEBUG
def install_command(job: str, debug: bool, **schedulers: bool) -> int:
    """
    Print what a scheduler needs to start JOB; nothing is installed.

    How to install it stands in its comments.

    \b
      batchedit job install jobs/nightly-catalog.yaml --systemd
      batchedit job install jobs/nightly-catalog.yaml --cron
    """
    from batchedit.jobs.installing import printed
    from batchedit.jobs.reading import load_job

    say(printed(load_job(job), _one_of(schedulers)).rstrip("\n"))
    return ExitCode.DONE
