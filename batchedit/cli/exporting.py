"""`export`: a ledger in other programs' forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, SELECTING
from batchedit.cli.voice import say
from batchedit.errors import ExitCode

if TYPE_CHECKING:
    from batchedit.exporting import Form

F = TypeVar("F", bound=Callable[..., Any])

_LEDGER = click.argument("ledger", default="out")
_RAW = click.option("--raw", is_flag=True, help="Leave texts as they are that a spreadsheet takes for formulas.")
_BOM = click.option("--bom", is_flag=True, help="Begin with a mark that some spreadsheets need.")


def _to(what: str = "The file; - prints it.", **more: Any) -> Callable[[F], F]:
    kind = click.Path(dir_okay=False, path_type=Path, allow_dash=True)
    return click.option("--out", "target", type=kind, metavar="FILE", help=what, **({"default": "-"} | more))


@cli.group()
def export() -> None:
    """Write a ledger in other programs' forms (docs/ledger.md). Reads only, also while a run is going on."""


@export.command()
@_LEDGER
@click.option("--manifest", metavar="FILE", help="Its rows are told, their columns unchanged and in order.")
@SELECTING[0]
@SELECTING[1]
@_to("The file: CSV, or JSON Lines if it ends in .jsonl; - prints CSV.")
@_RAW
@_BOM
@DEBUG
def results(ledger: str, manifest: str | None, target: Path, debug: bool, **flags: Any) -> int:
    """
    A row for each task of LEDGER (a file or an output folder): what was given, then what became of it.

    \b
      batchedit export results out --manifest jobs.csv --out done.csv
    """
    from batchedit.manifest import Overrides, load_manifest

    # Which tasks there are does not hang on the prompt, which the run may have had from its command line.
    rows = load_manifest(manifest, overrides=Overrides(prompt="any prompt")) if manifest else None
    return _export("results", ledger, target, manifest=rows, **flags)


@export.command("csv")
@_LEDGER
@SELECTING[0]
@SELECTING[1]
@_to()
@_RAW
@_BOM
@click.option(
    "--tz", "zone", metavar="ZONE", help="Whose midnight ends a day, such as Europe/Berlin. UTC if not given."
)
@DEBUG
def finance(ledger: str, target: Path, zone: str | None, debug: bool, **flags: Any) -> int:
    """For finance: a row for each request of LEDGER, each label in a column of its own, amounts as plain decimals."""
    from batchedit.cli.reporting import read_zone

    return _export("csv", ledger, target, zone=read_zone(zone), **flags)


@export.command()
@_LEDGER
@SELECTING[0]
@SELECTING[1]
@_to()
@DEBUG
def ndjson(ledger: str, target: Path, debug: bool, **flags: Any) -> int:
    """An object for each task of LEDGER, one a line; `batchedit schema --of results` has their schema."""
    return _export("ndjson", ledger, target, **flags)


@export.command()
@_LEDGER
@SELECTING[0]
@SELECTING[1]
@_to("The file.", default=None, required=True)
@DEBUG
def parquet(ledger: str, target: Path, debug: bool, **flags: Any) -> int:
    """A row for each task of LEDGER with typed columns, dollars as decimals. Needs the extra `parquet`."""
    return _export("parquet", ledger, target, **flags)


@export.command()
@_LEDGER
@SELECTING[0]
@SELECTING[1]
@_to("The file, such as out/metadata.jsonl; names of pictures start from its folder. - prints it.")
@click.option("--approved", is_flag=True, help="Only pictures that somebody has approved.")
@DEBUG
def imagefolder(ledger: str, target: Path, debug: bool, **flags: Any) -> int:
    """The pictures of LEDGER as a data set of edits: file, source, instruction, cost, verdict. Copies nothing."""
    return _export("imagefolder", ledger, target, **flags)


@export.command()
@_LEDGER
@SELECTING[0]
@SELECTING[1]
@_to("The file, such as /var/lib/node_exporter/batchedit.prom; - prints it.")
@DEBUG
def prometheus(ledger: str, target: Path, debug: bool, **flags: Any) -> int:
    """Figures of LEDGER for Prometheus: last success, tasks by state, spent, at risk, waste, attempts, durations."""
    return _export("prometheus", ledger, target, **flags)


@export.command()
@click.option("--database", default="ledger", show_default=True, metavar="NAME",
              help="Name of the served file without its extension.")  # fmt: skip
@_to()
@DEBUG
def datasette(database: str, target: Path, debug: bool) -> int:
    """
    The metadata with which Datasette shows a ledger well.

    \b
      batchedit ledger backup out ledger.db && batchedit export datasette --out metadata.yaml
      datasette ledger.db --metadata metadata.yaml
    """
    from batchedit.exporting.datasette import metadata_yaml
    from batchedit.exporting.files import text_to

    text = metadata_yaml(database)
    if str(target) == "-":
        say(text.rstrip("\n"))
        return ExitCode.DONE
    with text_to(target) as file:
        file.write(text)
    say(f"wrote {target}", err=True)
    return ExitCode.DONE


def _export(form: Form, ledger: str, target: Path, **asked: Any) -> int:
    import os
    import sys

    from batchedit.exporting import export_ledger

    if str(target) != "-":
        count = export_ledger(form, ledger, target, **asked)
        what = "sample" if form == "prometheus" else "line" if form in ("ndjson", "imagefolder") else "row"
        say(f"wrote {target}: {count} {what}{'' if count == 1 else 's'}", err=True)
        return ExitCode.DONE
    try:
        export_ledger(form, ledger, sys.stdout, **asked)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has gone, as with `| head`
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
    return ExitCode.DONE
