"""The command `review`: the morning after, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, SELECTING
from batchedit.cli.voice import say
from batchedit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from batchedit.model import ReviewSettings


@cli.command()
@click.argument("where", metavar="[MANIFEST|OUT]", default="out")
@click.option("--out", default="out", show_default=True, help="With MANIFEST: the folder of its pictures.")
@click.option("--ledger", help="The ledger's file, if it lies elsewhere.")
@SELECTING[0]
@SELECTING[1]
@click.option("--who", metavar="NAME", help="The reviewer, noted with each decision; default: your login name.")
@click.option("--read-only", is_flag=True, help="Only show; nothing can be decided.")
@click.option("--blind", is_flag=True, help="Compare variants side by side, without their names.")
@click.option("--seed", default="0", show_default=True, help="With --blind: which variant is on which side.")
@click.option("--static", "static", metavar="DIR", help="Write a folder for somebody else, instead of serving.")
@click.option("--full-size", is_flag=True, help="With --static: with the pictures in full size.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option("--ipv6", is_flag=True, help="Listen on ::1 too.")
@click.option("--idle", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, metavar="MINUTES",
              help="End when nobody has done anything for so long.")  # fmt: skip
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@DEBUG
def review(where: str, out: str, ledger: str | None, select: tuple[str, ...], exclude: tuple[str, ...],
           who: str | None, read_only: bool, blind: bool, seed: str, static: str | None, full_size: bool, port: int,
           ipv6: bool, idle: float, no_open: bool, debug: bool) -> int:  # fmt: skip
    """
    Look at what a night has made, approve and reject by keyboard. Spends nothing.

    Serves a page on this machine only, for the browser that opens the address which is printed. Decisions go to the
    ledger at once, also while a run is going on. With MANIFEST its reasons and checklist are used.

    \b
      batchedit review out
      batchedit review night.yaml --select "client:acme,verdict:none"
      batchedit review out --static for-acme --select client:acme     and then: verdicts import FILE
    """
    from contextlib import nullcontext, suppress
    from dataclasses import replace

    from batchedit.effects import Effects
    from batchedit.review.handout import report_id, secret_of, write_handout
    from batchedit.review.serving import ReviewServer, ServeOptions
    from batchedit.review.sheet import Sheet

    path, root, settings = _find(where, out, ledger)
    if blind:
        settings = replace(settings, blind=True)
    reviewer = _login() if who is None else who
    report = report_id(path)
    sheet = Sheet(
        ledger=path, root=root, settings=settings, secret=secret_of(report), seed=seed, select=select, exclude=exclude
    )
    if static is not None:
        found = write_handout(sheet, Path(static), report=report, who="" if who is None else who, full=full_size)
        say(f"{static}: {found} to look at, in index.html; `batchedit verdicts import` takes what comes back")
        return ExitCode.DONE
    if full_size:
        raise UsageError("--full-size belongs to --static")
    options = ServeOptions(who=reviewer, read_only=read_only, port=port, ipv6=ipv6, idle_minutes=idle)
    with ReviewServer(sheet, options, Effects()) as server:
        say(f"{server.cards} to look at, as {reviewer or 'nobody'}; open this address, which is good for one browser:")
        say(f"  {server.url}")
        say(f"from elsewhere: ssh -L {server.port}:127.0.0.1:{server.port} THIS-MACHINE; Ctrl-C ends it", err=True)
        with _opened(server.url, path.parent) if not no_open else nullcontext(), suppress(KeyboardInterrupt):
            server.serve()
    return ExitCode.DONE


def _find(where: str, out: str, ledger: str | None) -> tuple[Path, Path, ReviewSettings]:
    """The ledger, the folder of its pictures, and how its manifest wants them looked at."""
    from batchedit.ledger.reader import ledger_at
    from batchedit.manifest import load_manifest
    from batchedit.model import ReviewSettings

    settings, folder = ReviewSettings(), where
    if Path(where).suffix.lower() in (".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".parquet"):
        settings, folder = load_manifest(where).review, out
    if ledger is not None:
        return Path(ledger).absolute(), Path(folder).absolute(), settings
    path = ledger_at(folder).absolute()
    return path, path.parent.parent if path.parent.name == ".batchedit" else path.parent, settings


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


@contextmanager
def _opened(url: str, folder: Path) -> Iterator[None]:
    """
    Open a browser, if there is one; a terminal's browser would take the terminal away.

    It is given a private file that leads to the address: every user of a machine can read the arguments of every
    program, and the address lets in whoever comes first. The file goes with the context.
    """
    import os
    import secrets
    import sys
    import webbrowser
    from contextlib import suppress

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield
        return
    path = folder / f"review-{secrets.token_hex(16)}.html"
    page = '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Review</title>'
    page += f'<meta http-equiv="refresh" content="0;url={url}"><a href="{url}">Open the review</a>'
    try:
        with suppress(OSError):  # the address is printed in any case
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write(page)
            webbrowser.open(path.as_uri())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
