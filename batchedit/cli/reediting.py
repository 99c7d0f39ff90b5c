"""The command `reedit`: pictures that were rejected are bought once more, with another prompt."""

from __future__ import annotations

from typing import Any

import click

from batchedit.cli.carrying import agree_to, behaviour_for, destination_of, limit_from, say_summary, watched
from batchedit.cli.commands import cli
from batchedit.cli.options import JSON, NO_INPUT, QUIET, Pace, reedit_from, reedit_options, telling_options
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, UsageError


@cli.command()
@reedit_options
@JSON
@click.option("--prompt", metavar="TEXT",
              help="The new one; {{ prompt }} is the old one, {{ reason }} and {{ note }} the reviewer's.")  # fmt: skip
@click.option("--from-notes", is_flag=True, help="Those for which a review has noted how, with its prompts.")
@click.option("--drop", is_flag=True, help="Take re-edits back: the manifest's prompts count again. Buys nothing.")
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--budget", metavar="DOLLARS", help="Never let spent and at risk pass this amount.")
@click.option("--rate", type=Pace(), metavar="N|auto|none", help="As for `run`.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Most edits in flight.")
@click.option("-y", "--yes", is_flag=True, help="Agree to the quote without being asked.")
@NO_INPUT
@QUIET
@telling_options
def reedit(as_json: bool, prompt: str | None, from_notes: bool, drop: bool, dry_run: bool, budget: str | None,
           yes: bool, **flags: Any) -> int:  # fmt: skip
    """
    Buy tasks of MANIFEST once more with another prompt: those that are rejected, or --select.

    The new picture takes the name of the old one, which is kept among the raws and counts as superseded. Every later
    run of MANIFEST uses the new prompt for them. Interrupted, the same command goes on.

    \b
      batchedit reedit night.yaml --prompt "{{ prompt }} Keep the label exactly as it is."
      batchedit reedit night.yaml --select reason:halo --prompt "Cut it out cleanly, on pure white"
      batchedit reedit night.yaml --from-notes
    """
    from batchedit.calling import run_plan_sync
    from batchedit.cli.planning import plan_json, plan_text
    from batchedit.cli.printing import say_warnings

    if drop:
        return _drop(prompt, from_notes, flags)
    limit = limit_from(budget)
    made = reedit_from(flags, prompt=prompt, from_notes=from_notes)
    if dry_run:
        goes_to = destination_of(made, behaviour_for(made))
        if not as_json:
            say_warnings(made)
        say(plan_json(made, goes_to=goes_to) if as_json else plan_text(made, limit, goes_to=goes_to))
        return ExitCode.DONE
    behaviour = behaviour_for(made, **flags)
    agree_to(made, limit, behaviour, as_json=as_json, yes=yes)
    options = behaviour.run_options(limit)
    summary = watched(
        lambda progress: run_plan_sync(made, options, observer=progress), made, behaviour, as_json=as_json
    )
    say_summary(made, summary, behaviour, as_json=as_json)
    return summary.exit_code


def _drop(prompt: str | None, from_notes: bool, flags: dict[str, Any]) -> int:
    from batchedit.cli.options import outline_from
    from batchedit.reediting import drop_reedits

    if prompt is not None or from_notes or flags["ids_from"] is not None:
        raise UsageError("--drop goes together with --select and --exclude only")
    place = outline_from(flags).workspace
    count = drop_reedits(place.ledger, select=flags["select"], exclude=flags["exclude"])
    tasks = "task has" if count == 1 else "tasks have"
    say(f"{count} {tasks} the manifest's own prompt again; the next run puts back what was there, at no cost")
    return ExitCode.DONE
