"""Commands for the morning after: settle what is unknown, verify, decide, look after the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchedit.cli.carrying import behaviour_for, say_summary, watched
from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, QUIET, manifest_options, telling_options
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, NothingSelected
from batchedit.model import ON_UNKNOWN

LEDGER = click.argument("ledger", default="out")
_SELECT = click.option(
    "--task", "patterns", multiple=True, metavar="SLOT", help="Only these tasks; * stands for any text."
)


@cli.command()
@manifest_options
@JSON
@click.option("--on-unknown", type=click.Choice([name for name in ON_UNKNOWN if name != "resend"]),
              help="Outcomes that the provider cannot tell: stay held, or count as spent and lost.")  # fmt: skip
@QUIET
@telling_options
def reconcile(
    as_json: bool,
    on_unknown: str | None,
    **flags: Any,
) -> int:
    """
    Settle what earlier runs of MANIFEST left open. Never buys.

    Asks the provider about unknown outcomes, follows what it has accepted, fetches what is paid.
    """
    from batchedit.calling import reconcile_sync
    from batchedit.cli.options import outline_from

    plan = outline_from(flags)
    behaviour = behaviour_for(plan, **flags)
    options = behaviour.run_options(on_unknown=on_unknown)
    summary = watched(
        lambda progress: reconcile_sync(plan, options, observer=progress), plan, behaviour, as_json=as_json
    )
    say_summary(plan, summary, behaviour, as_json=as_json)
    return summary.exit_code


@cli.command()
@LEDGER
@click.option("--read-data", is_flag=True, help="Read every byte, and decode every picture.")
@JSON
@DEBUG
def verify(ledger: str, read_data: bool, as_json: bool, debug: bool) -> int:
    """Compare LEDGER (a file or an output folder) with the files. Exit code 3 if something is not as it should be."""
    from batchedit.cli.printing import verification_json, verification_text
    from batchedit.ledger.reader import ledger_at
    from batchedit.verifying import verify as compare

    path = ledger_at(ledger)
    root = path.parent.parent if path.parent.name == ".batchedit" else path.parent
    done = compare(root, path, read_data=read_data)
    say(verification_json(done) if as_json else verification_text(done))
    return ExitCode.SOME_FAILED if done.flaws else ExitCode.DONE


@cli.command()
@LEDGER
@click.option("--state", type=click.Choice(["failed", "suspect", "lost"]), default="failed", show_default=True)
@_SELECT
@DEBUG
def retry(ledger: str, state: str, patterns: tuple[str, ...], debug: bool) -> int:
    """
    Let the next run buy tasks of LEDGER once more. Buys nothing itself.

    What failed is tried again as it is. What is suspect or lost was paid: it becomes a new revision with a new price.
    """
    with choices(ledger) as writer:
        slots = _selected(writer, state, patterns)
        count = writer.want_again(slots)
    say(
        f"{count} {'task' if count == 1 else 'tasks'} will be bought again by the next run;"
        " `batchedit plan` shows the price"
    )
    return ExitCode.DONE


@cli.command()
@LEDGER
@_SELECT
@DEBUG
def keep(ledger: str, patterns: tuple[str, ...], debug: bool) -> int:
    """Take suspect pictures of LEDGER as they are: paid, and good enough. The next run delivers them."""
    with choices(ledger) as writer:
        count = writer.keep(_selected(writer, "suspect", patterns))
    say(f"{count} kept; run the manifest again to deliver {'it' if count == 1 else 'them'}, which costs nothing")
    return ExitCode.DONE


@cli.group()
def ledger() -> None:
    """Look after a ledger."""


@ledger.command("info")
@LEDGER
@JSON
@DEBUG
def ledger_info(ledger: str, as_json: bool, debug: bool) -> int:
    """What kind of file LEDGER is, who is writing to it, and how much is in it."""
    from batchedit.cli.printing import ledger_json, ledger_text
    from batchedit.ledger.health import info
    from batchedit.ledger.reader import ledger_at

    found = info(ledger_at(ledger))
    say(ledger_json(found) if as_json else ledger_text(found))
    return ExitCode.DONE


@ledger.command("check")
@LEDGER
@DEBUG
def ledger_check(ledger: str, debug: bool) -> int:
    """Read LEDGER to the end and test its rules. Exit code 8 if something is wrong."""
    from batchedit.ledger.health import examine
    from batchedit.ledger.reader import ledger_at

    problems = examine(ledger_at(ledger))
    for problem in problems:
        say(problem)
    say(f"{len(problems)} problems" if problems else "the ledger is whole")
    return ExitCode.LEDGER if problems else ExitCode.DONE


@ledger.command("backup")
@click.argument("ledger")
@click.argument("target", type=click.Path(path_type=Path))
@DEBUG
def ledger_backup(ledger: str, target: Path, debug: bool) -> int:
    """Copy LEDGER to TARGET, also while a run is writing it."""
    from batchedit.ledger.health import backup
    from batchedit.ledger.reader import ledger_at

    size = backup(ledger_at(ledger), target)
    say(f"{target}: {size} bytes")
    return ExitCode.DONE


def choices(ledger: str) -> Any:
    """The ledger held open for a decision; a context manager."""
    from contextlib import closing

    from batchedit.effects import Effects
    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.ledger.writer import LedgerWriter

    path = ledger_at(ledger)
    with Ledger(path) as reader:
        world = reader.world()
    return closing(LedgerWriter(path, Effects(), world=world))


def _selected(writer: Any, state: str, patterns: tuple[str, ...]) -> list[str]:
    from fnmatch import fnmatchcase

    found: list[str] = writer.slots_in(state)
    slots = [slot for slot in found if not patterns or any(fnmatchcase(slot, pattern) for pattern in patterns)]
    if not slots:
        raise NothingSelected(
            f"no task that is {state}" + (f" has a name like {', '.join(patterns)}" if patterns else "")
        )
    return slots
