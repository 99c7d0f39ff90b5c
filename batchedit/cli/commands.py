"""The commands: each one parses, makes one call, and prints."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from batchedit.cli.carrying import (
    agree_to,
    behaviour_for,
    destination_of,
    limit_from,
    say_summary,
    until_from,
    watched,
)
from batchedit.cli.helping import Group
from batchedit.cli.options import (
    DEBUG,
    JSON,
    NO_INPUT,
    QUIET,
    Pace,
    choosing_options,
    manifest_options,
    plan_from,
    plan_to_run,
    survey_from,
    telling_options,
)
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, ManifestError, UsageError
from batchedit.model import ON_UNKNOWN


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="batchedit")
def cli() -> None:
    """
    Bulk image edits through a paid API: paid once, kept, within budget, resumable.

    \b
      batchedit run jobs.csv --out out                     a spreadsheet
      batchedit run "in/*.jpg" --prompt "white background" --out out
      batchedit plan night.yaml                            what would it cost?
      batchedit run night.yaml --budget 25                 do it, or go on with it
      batchedit report out                                 where did the money go?
    """
    from batchedit.configuration import check_variables

    check_variables(os.environ)


@cli.command()
@manifest_options
@JSON
def check(as_json: bool, **flags: Any) -> int:
    """
    List everything that is wrong with MANIFEST, for free.

    Reads every row and decodes every local picture. Exit code 2 if there are problems. --json is one list of problems,
    warnings and skipped rows.
    """
    from batchedit.checking import check_pictures
    from batchedit.cli.planning import plan_text
    from batchedit.cli.printing import findings_json, say_warnings, skipped_lines
    from batchedit.planner import settle

    try:
        plan = survey_from(flags)
        check_pictures(plan)
    except ManifestError as error:
        if as_json:
            say(findings_json(error.problems))
            return ExitCode.USAGE
        raise
    found = plan.findings
    if as_json:
        say(findings_json([*found.problems, *found.warnings], found.skipped))
        if found.problems:
            return ExitCode.USAGE
    elif found.problems:
        say_warnings(plan)
        for line in skipped_lines(plan):
            say(line.strip(), err=True)
    settle(plan)
    if not as_json:
        say_warnings(plan)
        say(plan_text(plan))
        say("  no problem found, nothing was sent")
    return ExitCode.DONE


@cli.command()
@manifest_options
@choosing_options
@JSON
@click.option("--by", help="Show the quote by labels, or edit, variant, quality, size, format; separated by commas.")
@click.option("--save", metavar="FILE", help="Write the plan down, for `batchedit run FILE`.")
@click.option("--exit-code", "use_exit_code", is_flag=True, help="Return 10 if there is something to buy.")
def plan(as_json: bool, use_exit_code: bool, by: str | None, save: str | None, **flags: Any) -> int:
    """Show what `run` would do with MANIFEST, and what it would cost. Sends nothing, and writes only with --save."""
    from batchedit.cli.planning import plan_json, plan_text
    from batchedit.cli.printing import say_warnings
    from batchedit.saved_plans import save_plan

    if save is not None and flags["prices"] is not None:
        hint = "write `prices:` into the manifest, which a saved plan remembers"
        raise UsageError("--save does not go together with --prices", hint=hint)
    made = plan_from({**flags, "by": by, "save": save})
    goes_to = destination_of(made, behaviour_for(made))
    saved = None if save is None else save_plan(made, save)
    if as_json:
        say(plan_json(made, goes_to=goes_to))
    else:
        say_warnings(made)
        say(plan_text(made, goes_to=goes_to, by=by is not None))
        if saved is not None:
            say(f"  saved    {saved.path}: `batchedit run {shlex.quote(str(save))}` does exactly this")
    return ExitCode.WORK_TO_BUY if use_exit_code and made.figures.purchases else ExitCode.DONE


@cli.command()
@manifest_options
@choosing_options
@JSON
@click.option("--budget", metavar="DOLLARS", help="Never let spent and at risk pass this amount.")
@click.option("--rate", type=Pace(), metavar="N|auto|none",
              help="Most edits started per minute; auto finds the provider's limit, none has no limit.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Most edits in flight.")
@click.option("--grace", type=click.FloatRange(min=0), metavar="SECONDS",
              help="How long what is in flight may go on after Ctrl-C or --until; 60 if nothing is set.")  # fmt: skip
@click.option(
    "--until",
    metavar="TIME",
    help="Send nothing new after this time of day (06:00) or moment"
    " (2026-11-27T06:00); what is in flight then has the grace, and exit code 6 says that work is left.",
)
@click.option("--max-fail", type=click.IntRange(min=1), metavar="N", help="Stop after so many failed edits.")
@click.option("--on-unknown", type=click.Choice(ON_UNKNOWN),
              help="What becomes of outcomes that the provider cannot tell: stay held (the default), be sent again once"
              " (may be bought twice), or count as spent and lost.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Agree to the quote without being asked.")
@NO_INPUT
@QUIET
@telling_options
def run(as_json: bool, budget: str | None, on_unknown: str | None, yes: bool, until: str | None,
        **flags: Any) -> int:  # fmt: skip
    """
    Do what MANIFEST asks for, or go on with it.

    The same command starts, resumes and finishes. Run again when all is done, it sends nothing.
    MANIFEST is a YAML, CSV or JSON Lines file, a folder, a picture, a glob in quotes, or a plan that was saved.
    """
    from batchedit.calling import run_plan_sync

    limit, closes = limit_from(budget), until_from(until)
    made = plan_to_run(flags)
    behaviour = behaviour_for(made, **flags)
    agree_to(made, limit, behaviour, as_json=as_json, yes=yes)
    options = behaviour.run_options(limit, on_unknown, closes)
    summary = watched(
        lambda progress: run_plan_sync(made, options, observer=progress), made, behaviour, as_json=as_json
    )
    say_summary(made, summary, behaviour, as_json=as_json)
    return summary.exit_code


@cli.command()
@click.argument("ledger", default="out")
@click.option("--watch", is_flag=True, help="Go on saying it until the run has ended.")
@click.option("--every", type=click.FloatRange(min=0.2), default=2.0, show_default=True, metavar="SECONDS",
              help="How often to look.")  # fmt: skip
@JSON
@DEBUG
def status(ledger: str, watch: bool, every: float, as_json: bool, debug: bool) -> int:
    """
    Say where things stand in LEDGER (a file, an output folder, or a job's file), also while a run is going on.

    Only reads. --watch ends with the run; with --json it prints a line whenever something has changed.

    \b
      batchedit status out
      batchedit status out --watch
      batchedit status jobs/night.yaml --watch           until the whole job has ended
    """
    from batchedit.cli.watching import ledgers_at
    from batchedit.cli.watching import watch as keep_watching
    from batchedit.report import render_report

    if watch:
        return keep_watching(ledgers_at(ledger), every, as_json=as_json)
    paths = ledgers_at(ledger)
    say(render_report([path for path in paths if path.exists()] or paths, by=(), form="json" if as_json else "text"))
    return ExitCode.DONE


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--seed", default="0", show_default=True, help="Decides every random draw.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder to keep its books in; else in memory.")
@click.option("--switch", "switches", multiple=True, metavar="NAME=VALUE",
              help="How the API behaves, such as list_lag=5 or latency=1,3. Repeatable.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, metavar="NAME=PROBABILITY",
              help="What goes wrong, such as answer_lost=0.1. Repeatable.")  # fmt: skip
@DEBUG
def emulate(host: str, port: int, seed: str, state: Path | None, switches: tuple[str, ...],
            faults: tuple[str, ...], debug: bool) -> int:  # fmt: skip
    """
    Serve the provider's API on this machine, with real pictures and its own bill.

    What it billed is at /emulator/audit.
    """
    from batchedit.cli.emulating import make_emulator
    from batchedit.emulator.serve import serve

    emulator = make_emulator(seed=seed, state=state, switches=switches, faults=faults)
    try:
        serve(emulator, host=host, port=port, on_ready=lambda url: say(f"serving on {url}"))
    finally:
        emulator.close()
    return ExitCode.DONE


@cli.command()
@click.option("--of", "form", type=click.Choice(["manifest", "job", "report", "results", "events"]),
              default="manifest", show_default=True,
              help="Of manifests, jobs, `report --json`, a line of `export ndjson` or of `run --events`.")  # fmt: skip
@DEBUG
def schema(form: str, debug: bool) -> int:
    """
    Print the JSON Schema of manifests or jobs, for editors that complete and check while one types, or of our output.

    \b
      batchedit schema > schema.json
      # yaml-language-server: $schema=schema.json        as a manifest's first line
      batchedit schema --of report                       for programs that read reports
    """
    from importlib.resources import files

    from batchedit.manifest.schema import schema_text

    if form == "job":
        from batchedit.jobs.schema import job_schema_text

        say(job_schema_text().rstrip())
        return ExitCode.DONE
    if form != "manifest":
        part = "report" if form == "report" else "exporting"
        say((files("batchedit") / part / f"{form}.schema.json").read_text("utf-8").rstrip())
        return ExitCode.DONE
    say(schema_text().rstrip())
    return ExitCode.DONE
