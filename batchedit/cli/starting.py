"""The command `init`: a first manifest from what is there."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG
from batchedit.cli.voice import say
from batchedit.errors import ExitCode

_SHOWN = 10


@cli.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "origin", metavar="PATH", type=click.Path(path_type=Path),
              help="A shop's export, a sheet, a list of URLs, a folder of pictures or an image folder.")  # fmt: skip
@click.option("--to", "target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="The manifest to write, if it shall not be in DIR and called as PATH.")  # fmt: skip
@DEBUG
def init(folder: Path, origin: Path | None, target: Path | None, debug: bool) -> int:
    """
    Write a first manifest, made from what you have.

    \b
      batchedit init --from shop-export.csv          a shop's product export
      batchedit init --from photos work              a folder of pictures, for the folder work
      batchedit init night                           a new folder with an example picture

    Tells by the columns what a table is. Never writes over a file.
    """
    from batchedit.starting import FIRST_ROWS, problems_of, start

    started = start(origin, folder, target)
    say(f"{started.manifest}: made from {started.what}")
    for path in started.written[1:]:
        say(f"{path}: written")
    for path in started.kept:
        say(f"{path}: was there, left as it is")
    problems = problems_of(started.manifest)
    if problems:
        say("These rows want a look before anything is bought:", err=True)
        for problem in problems[:_SHOWN]:
            say(f"  {problem}", err=True)
        if len(problems) > _SHOWN:
            say(f"  and {len(problems) - _SHOWN} more; `batchedit check` lists all", err=True)
    if started.limited:
        say(f"It begins with {FIRST_ROWS} rows; take out the line `limit` for all of them.")
    name = shlex.quote(str(started.manifest))
    say(f"Next:\n  batchedit plan {name} --rehearse\n  batchedit run {name} --rehearse")
    return ExitCode.DONE
