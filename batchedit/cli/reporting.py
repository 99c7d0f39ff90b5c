"""The command `report`: one set of figures in five forms."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, cast

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, SELECTING
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, StorageError, UsageError
from batchedit.money import MicroUSD, parse_usd

_FORMS = ("csv", "markdown", "html")
_TO = click.Path(dir_okay=False, path_type=Path, allow_dash=True)


@cli.command()
@click.argument("ledgers", nargs=-1, metavar="[LEDGER]...")
@click.option(
    "--by",
    help="Labels, or day, month, run, edit, variant, quality, size, model, provider, outcome, tag, price_list."
    " Several with commas. If tasks have a label month, that is meant, and the table says so.",
)
@SELECTING[0]
@SELECTING[1]
@click.option("--since", metavar="MOMENT", help="Only what ended then or later: a date, or a date and time.")
@click.option("--until", metavar="MOMENT", help="Only what ended before; a date means the end of that day.")
@click.option(
    "--tz", "zone", metavar="ZONE", help="Whose midnight ends days and months, such as Europe/Berlin. UTC if not given."
)
@click.option("--invoice", metavar="DOLLARS", help="Compare with what the provider asks for.")
@click.option(
    "--balance", nargs=2, metavar="BEFORE AFTER", help="The same from the balance before and after, in dollars."
)
@click.option("--csv", type=_TO, metavar="FILE", help="A table for finance; - prints it.")
@click.option("--bom", is_flag=True, help="Begin the table with a mark that some spreadsheets need.")
@click.option("--raw", is_flag=True, help="Leave texts in the table as they are that a spreadsheet takes for formulas.")
@click.option("--markdown", type=_TO, metavar="FILE", help="Markdown; - prints it.")
@click.option("--html", type=_TO, metavar="FILE", help="A page that stands by itself, with pictures.")
@click.option("--pictures", type=click.IntRange(0, 5000), default=120, show_default=True, metavar="N",
              help="Show so many tasks with their pictures on the page.")  # fmt: skip
@JSON
@DEBUG
def report(ledgers: tuple[str, ...], as_json: bool, debug: bool, bom: bool, **flags: Any) -> int:
    """
    Say where the money went in LEDGER (a file or an output folder; several are added up).

    \b
      batchedit report out                                   by every label and by day
      batchedit report out --by client,edit --csv bill.csv   a row for each client and edit
      batchedit report out --by month --tz Europe/Berlin     a row for each month of the calendar
      batchedit report out --html report.html                a page with charts and pictures
      batchedit report out --since 2026-11-01 --invoice 267.33
    """
    from batchedit.report import render_report
    from batchedit.report.as_csv import MARK

    zone = read_zone(flags["zone"])
    asked: dict[str, Any] = {
        "by": None if flags["by"] is None else [name.strip() for name in flags["by"].split(",") if name.strip()],
        "select": flags["select"],
        "exclude": flags["exclude"],
        "since": _moment("--since", flags["since"], zone, ends=False),
        "until": _moment("--until", flags["until"], zone, ends=True),
        "zone": zone,
        "invoice": _invoice(flags["invoice"], flags["balance"]),
    }
    where = list(ledgers) or ["out"]
    written = False
    for form in _FORMS:
        target = cast("Path | None", flags[form])
        if target is None:
            continue
        more = {"pictures": flags["pictures"], "beside": target.absolute().parent, "raw": flags["raw"]}
        text = render_report(where, form=form, **asked, **more)  # type: ignore[arg-type]  # the forms are its words
        _write(target, MARK + text if form == "csv" and bom else text)
        if form == "csv" and "tag" in (asked["by"] or ()):
            say("note: a task with several tags has a row for each of them; do not add these rows up", err=True)
        written = True
    if as_json or not written:
        say(render_report(where, form="json" if as_json else "text", **asked))
    return ExitCode.DONE


def _write(target: Path, text: str) -> None:
    if str(target) == "-":
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        with target.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}") from error
    say(f"wrote {target}", err=True)


def read_zone(name: str | None) -> tzinfo:
    """
    The time zone of a flag; UTC without one.

    Raises:
        UsageError: if there is no zone of this name.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name is None or name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--tz: {name!r} is no time zone", hint="write it as Europe/Berlin") from None


def _moment(flag: str, text: str | None, zone: tzinfo, *, ends: bool) -> datetime | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        if ends and day is not None:
            moment += timedelta(days=1)
        moment.astimezone(UTC)
    except ValueError:
        hint = "write 2026-11-25 or 2026-11-25T22:30"
        raise UsageError(f"{flag}: {text!r} is neither a date nor a date and time", hint=hint) from None
    except OverflowError:
        raise UsageError(f"{flag}: {text!r} is beyond what a calendar holds") from None
    return moment


def _invoice(invoice: str | None, balance: tuple[str, str] | None) -> MicroUSD | None:
    if invoice is not None and balance:
        raise UsageError("--invoice and --balance say the same; give one of them")
    try:
        if invoice is not None:
            return parse_usd(invoice)
        if balance:
            before, after = (parse_usd(text) for text in balance)
            if after > before:
                raise UsageError("--balance: there is more afterwards than before", hint="give BEFORE, then AFTER")
            return MicroUSD(before - after)
    except ValueError as error:
        raise UsageError(f"{'--invoice' if invoice is not None else '--balance'}: {error}") from None
    return None
