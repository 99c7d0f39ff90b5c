"""Commands for what people say about delivered pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG
from batchedit.cli.upkeep import LEDGER
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from batchedit.returned import Returned


RAW = click.option("--raw", is_flag=True, help="No apostrophe in front of what looks like a formula.")


@cli.group()
def verdicts() -> None:
    """Say which pictures are approved and which rejected, in a table that any spreadsheet can edit."""


@verdicts.command("export")
@click.argument("file")
@LEDGER
@RAW
@DEBUG
def verdicts_export(file: str, ledger: str, raw: bool, debug: bool) -> int:
    """
    Write FILE, a CSV with a row for each picture of LEDGER and what was last said about it; - is standard output.
    """
    import sys

    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.verdicts import export_verdicts

    with Ledger(ledger_at(ledger)) as reader:
        if file == "-":
            export_verdicts(reader, sys.stdout, raw=raw)
            return ExitCode.DONE
        try:
            with Path(file).open("x", encoding="utf-8", newline="") as target:
                count = export_verdicts(reader, target, raw=raw)
        except FileExistsError:
            raise UsageError(
                f"{file} exists already", hint="somebody may have written into it; use another name"
            ) from None
        except OSError as error:
            raise UsageError(f"cannot write {file}: {error.strerror}") from None
    say(f"{file}: {count} {'picture' if count == 1 else 'pictures'}; write approved or rejected, then import it")
    return ExitCode.DONE


@verdicts.command("import")
@click.argument("file")
@LEDGER
@click.option("--conflicts", type=click.Choice(["refuse", "ours", "theirs"]), default="refuse", show_default=True,
              help="Where somebody else has decided otherwise since a review was sent: take nothing, keep what the"
              " ledger has, or take what FILE says.")  # fmt: skip
@click.option(
    "--outdated",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="Where FILE is about pictures that are others by now, or gone: take nothing, or take the rest.",
)
@RAW
@DEBUG
def verdicts_import(file: str, ledger: str, conflicts: str, outdated: str, raw: bool, debug: bool) -> int:
    """
    Take the verdicts of FILE into LEDGER, also while a run is going on.

    FILE is a CSV with the columns slot (or id), verdict, reason and note, or what the page of `review --static` has
    saved. All of it is taken, or nothing. What is approved lets the next run buy the edits that wait for it.
    """
    from batchedit.ledger.decisions import DecisionBook
    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.returned import Returned, is_returned, read_returned
    from batchedit.verdicts import read_verdicts

    path = ledger_at(ledger)
    with Ledger(path) as reader:
        if is_returned(Path(file)):
            found = read_returned(Path(file), file, reader)
        else:
            left: list[str] | None = [] if outdated == "skip" else None
            said = read_verdicts(Path(file), file, reader, raw=raw, outdated=left)
            found = Returned(decisions=said, outdated=left or [])
    for line in found.outdated:
        say(line, err=True)
    if found.outdated and outdated == "refuse":
        count = len(found.outdated)
        message = (
            f"{count} {'decision is' if count == 1 else 'decisions are'} about pictures that are not there any more"
        )
        raise UsageError(f"{message}; nothing was taken", hint="--outdated skip takes the rest")
    if found.conflicts:
        for line in found.conflict_lines():
            say(line, err=True)
        if conflicts == "refuse":
            count = len(found.conflicts)
            message = f"{count} {'verdict contradicts' if count == 1 else 'verdicts contradict'} what others have said"
            raise UsageError(
                f"{message} since; nothing was taken", hint="--conflicts ours keeps theirs out, theirs takes all"
            )
        if conflicts == "theirs":
            found.decisions += [said for said, _ in found.conflicts]
    if found.decisions or found.wishes or found.comparisons:
        with DecisionBook(path) as book:
            book.take(found.decisions, found.wishes, found.comparisons)
    say(_told(found))
    return ExitCode.DONE


def _told(found: Returned) -> str:
    counts = {
        verdict: sum(decision.verdict == verdict for decision in found.decisions)
        for verdict in ("approved", "rejected", "undecided")
    }
    parts = [
        f"{count} {verdict}"
        for verdict, count in counts.items()
        if count or (found.decisions and verdict != "undecided")
    ]
    parts += [f"{len(found.wishes)} to be edited again"] if found.wishes else []
    parts += [f"{len(found.comparisons)} compared"] if found.comparisons else []
    who = f", said by {found.who}" if found.who and parts else ""
    return (", ".join(parts) or "nothing new in it") + who
