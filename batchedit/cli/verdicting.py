"""Commands for what people say about delivered pictures."""

from __future__ import annotations

from pathlib import Path

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG
from batchedit.cli.upkeep import LEDGER
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, UsageError


@cli.group()
def verdicts() -> None:
    """Say which pictures are approved and which rejected, in a table that any spreadsheet can edit."""


@verdicts.command("export")
@click.argument("file")
@LEDGER
@DEBUG
def verdicts_export(file: str, ledger: str, debug: bool) -> int:
    """
    Write FILE, a CSV with a row for each picture of LEDGER and what was last said about it; - is standard output.
    """
    import sys

    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.verdicts import export_verdicts

    with Ledger(ledger_at(ledger)) as reader:
        if file == "-":
            export_verdicts(reader, sys.stdout)
            return ExitCode.DONE
        try:
            with Path(file).open("x", encoding="utf-8", newline="") as target:
                count = export_verdicts(reader, target)
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
@DEBUG
def verdicts_import(file: str, ledger: str, debug: bool) -> int:
    """
    Take the verdicts of FILE, a CSV with the columns slot (or id), verdict, reason and note, into LEDGER.

    All of it is taken, or nothing. What is approved lets the next run buy the edits that wait for it.
    """
    from batchedit.ledger.decisions import DecisionBook, Ruling
    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.verdicts import read_verdicts

    with Ledger(ledger_at(ledger)) as reader:
        decisions = read_verdicts(Path(file), file, reader)
    if decisions:
        with DecisionBook(ledger_at(ledger)) as book:
            book.decide(Ruling(decision=decision) for decision in decisions)
    approved = sum(decision.verdict == "approved" for decision in decisions)
    say(f"{approved} approved, {len(decisions) - approved} rejected" if decisions else "nothing new in it")
    return ExitCode.DONE
