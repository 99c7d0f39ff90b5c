"""Commands about files that are bought already: `render`, `deliver`, `profiles`. None of them buys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, file_options, manifest_or_none
from batchedit.cli.voice import say
from batchedit.errors import ExitCode

if TYPE_CHECKING:
    from batchedit.delivering import DeliverySummary
    from batchedit.rerendering import RenderSummary

_PLACE = ("out", "ledger", "rehearse", "select", "exclude")
"""Options that mean the same to the functions of the library."""


@cli.command()
@file_options
@click.option("--all", "redo", is_flag=True, help="Make all of them anew, changed or not.")
@click.option("--dry-run", is_flag=True, help="Only say what would be made anew.")
@JSON
def render(manifest: str | None, redo: bool, dry_run: bool, as_json: bool, **flags: Any) -> int:
    """
    Make the delivered files anew as MANIFEST wants them now: post, checks, output. Free: buys nothing, asks nobody.

    Touches only what has changed. Without MANIFEST, what the last run wanted: files that are missing, or --all.
    """
    from batchedit.rerendering import render as apply

    done = apply(
        manifest_or_none({"manifest": manifest, **flags}),
        **{name: flags[name] for name in _PLACE},
        redo=redo,
        dry_run=dry_run,
    )
    say(_json(done) if as_json else _text(done))
    return done.exit_code


def _text(done: RenderSummary) -> str:
    from batchedit.cli.printing import count

    lines = [f"{count(done.looked, 'task')} of {done.root}"]
    told = [
        (done.to_render if done.dry_run else done.rendered, "to render, free" if done.dry_run else "rendered, free"),
        (done.unchanged, "as they should be"),
        (done.unbought, "not bought yet"),
        (done.failed, "could not be made"),
    ]
    lines += [f"  {number:>7}  {words}" for number, words in told if number]
    lines += [f"           {why}" for why in done.failures.values()]
    lines += unmet_lines(done.unmet)
    return "\n".join(lines)


def unmet_lines(unmet: dict[tuple[str, str], int]) -> list[str]:
    """What checks have to say, the worst first."""
    return [f"  {tasks:>7}  {verdict} {name}: --select check:{name}" for (name, verdict), tasks in unmet.items()]


def _json(done: RenderSummary) -> str:
    return json.dumps(
        {
            "version": 1,
            "exit_code": int(done.exit_code),
            "dry_run": done.dry_run,
            "tasks": done.looked,
            "to_render": done.to_render,
            "rendered": done.rendered,
            "unchanged": done.unchanged,
            "not_bought": done.unbought,
            "failed": done.failed,
            "failures": [{"task": slot, "reason": why} for slot, why in done.failures.items()],
            "checks": [
                {"check": name, "verdict": verdict, "tasks": tasks} for (name, verdict), tasks in done.unmet.items()
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


@cli.command()
@click.argument("folder", metavar="DIR")
@file_options
@click.option("--unreviewed", is_flag=True, help="Take also what nobody has looked at.")
@click.option("--strict", is_flag=True, help="Refuse files that were made anew since they were approved.")
@click.option("--prune", is_flag=True, help="Remove files of an earlier delivery that are not delivered any more.")
@click.option("--raw", is_flag=True, help="Leave cells of the sheet as they are that look like formulas.")
@click.option("--flavour", type=click.Choice(["shopify"]), help="Write a table for a shop's import besides.")
@click.option("--url-prefix", default="", metavar="URL", help="For that: where the files will lie.")
@JSON
def deliver(folder: str, manifest: str | None, as_json: bool, unreviewed: bool, strict: bool, prune: bool, raw: bool,
            flavour: str | None, url_prefix: str, **flags: Any) -> int:  # fmt: skip
    """
    Copy the approved files to DIR, with delivery.csv: the rows of MANIFEST as they are, then what was delivered.

    \b
      batchedit deliver handover shop.yaml --select client:acme
      batchedit deliver handover shop.yaml --flavour shopify --url-prefix https://cdn.example.com/autumn
    """
    from batchedit.delivering import deliver as copy

    done = copy(
        folder,
        manifest_or_none({"manifest": manifest, **flags}),
        **{name: flags[name] for name in _PLACE},
        unreviewed=unreviewed,
        strict=strict,
        prune=prune,
        raw=raw,
        flavour=flavour,
        url_prefix=url_prefix,
    )
    say(_delivery_json(done) if as_json else _delivery_text(done))
    return done.exit_code


def _delivery_text(done: DeliverySummary) -> str:
    from batchedit.cli.printing import count
    from batchedit.forecast import bytes_text

    lines = [
        f"{count(done.tasks, 'task')} delivered to {done.folder}: {count(done.files, 'file')},"
        f" {done.copied} copied now ({bytes_text(done.size_bytes)})"
    ]
    told = [
        (done.taken_unreviewed, "delivered although nobody has looked at them"),
        (done.anew, "made anew since they were approved; --strict refuses them"),
        (done.rejected, "rejected: left out"),
        (done.missing, "without a picture: left out"),
        (done.outdated, "not as wanted now: left out; render first"),
        (done.failed, "could not be delivered"),
    ]
    lines += [f"  {number:>7}  {words}" for number, words in told if number]
    lines += [f"           {why}" for why in done.failures]
    if done.left:
        what = "removed" if done.pruned else "still there; --prune removes them"
        lines.append(f"  {done.left:>7}  of an earlier delivery and not delivered any more: {what}")
        lines += [f"           {left}" for left in done.left_files]
        if done.left > len(done.left_files):
            lines.append(f"           and {done.left - len(done.left_files)} more")
    if done.rehearsal and done.tasks:
        lines.append("  REHEARSAL: these pictures are for trying things out; no provider has made them")
    return "\n".join([*lines, *(f"  sheet    {sheet}" for sheet in done.sheets)])


def _delivery_json(done: DeliverySummary) -> str:
    return json.dumps(
        {
            "version": 1,
            "exit_code": int(done.exit_code),
            "folder": str(done.folder),
            "tasks": done.tasks,
            "files": done.files,
            "copied": done.copied,
            "bytes_copied": done.size_bytes,
            "rejected": done.rejected,
            "unreviewed": done.taken_unreviewed,
            "missing": done.missing,
            "outdated": done.outdated,
            "failed": done.failed,
            "failures": done.failures,
            "made_anew": done.anew,
            "left": done.left,
            "pruned": done.pruned,
            "left_files": done.left_files,
            "sheets": [str(sheet) for sheet in done.sheets],
            "rehearsal": done.rehearsal,
        },
        indent=2,
        ensure_ascii=False,
    )


@cli.command()
@JSON
@DEBUG
def profiles(as_json: bool, debug: bool) -> int:
    """
    List what marketplaces are said to want, with date and source: a help for `post: PROFILE`, and no guarantee.
    """
    from dataclasses import asdict

    from batchedit.manifest.finishing import profiles as known

    if as_json:
        say(json.dumps({"version": 1, "profiles": [asdict(each) for each in known().values()]}, indent=2))
        return ExitCode.DONE
    for each in known().values():
        say(f"{each.name}: {each.about}")
        say(f"    {each.date}  {each.source}")
        say(f"    {each.notes}")
        say(f"    post    {_told(each.post)}")
        say(f"    checks  {_told(each.checks)}")
    say("read on other people's pages and rounded to what can be measured: a help, never a guarantee")
    return ExitCode.DONE


def _told(values: Any) -> str:
    """Settings as they would stand in a manifest, in one line."""
    if isinstance(values, bool):
        return str(values).lower()
    if not hasattr(values, "items"):
        return str(values)
    return "{" + ", ".join(f"{key}: {_told(value)}" for key, value in values.items()) + "}"
