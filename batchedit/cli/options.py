"""Flags that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from batchedit.model import FORMATS, MAX_SAMPLES, QUALITIES

if TYPE_CHECKING:
    from batchedit.manifest import Manifest
    from batchedit.planner import Plan

F = TypeVar("F", bound=Callable[..., Any])

MANIFEST = click.argument("manifest", metavar="MANIFEST")

_OVERRIDES = (
    click.option("--prompt", help="Prompt template for every task."),
    click.option("--output", help='Output template, such as "{{ client }}/{{ stem }}.{{ ext }}".'),
    click.option("--quality", type=click.Choice(QUALITIES), help="Quality of every task."),
    click.option("--size", help="auto, a preset, or WIDTHxHEIGHT."),
    click.option("--format", "format_", type=click.Choice(FORMATS), help="Format of the pictures."),
    click.option("-n", "--samples", type=click.IntRange(1, MAX_SAMPLES), help="Pictures per task."),
    click.option("--mask", help="Mask template; end it with ? where a mask may be missing."),
    click.option("--provider", help="runflow or rehearsal."),
)

_PLACE = (
    click.option("--out", default="out", show_default=True, help="Folder for the pictures and the ledger."),
    click.option("--ledger", help="The ledger's file, if it shall lie elsewhere."),
)

_PLANNING = (
    click.option("--rehearse", is_flag=True, help="Use the built-in provider: no key, no network, no real money."),
    click.option("--changed", is_flag=True, help="Buy tasks again whose content has changed since."),
)


class Pace(click.ParamType[Any]):
    """Edits per minute as a whole number, or one of the words `auto` and `none`."""

    name = "pace"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word."""
        if value in ("auto", "none") or isinstance(value, int):
            return cast("int | str", value)
        if value.isascii() and value.isdigit() and int(value) > 0:
            return int(value)
        return self.fail(f"{value!r} is not a number above 0, auto or none", param, ctx)


DEBUG = click.option("--debug", is_flag=True, help="Show where an error comes from.")
JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


def manifest_options(command: F) -> F:
    """The manifest, where it goes, and what overrides it."""
    for option in reversed((MANIFEST, *_PLACE, *_OVERRIDES, *_PLANNING, DEBUG)):
        command = option(command)
    return command


def survey_from(flags: dict[str, Any]) -> Plan:
    """
    The plan for a command's flags, its problems collected and not yet raised.

    Raises:
        BatchEditError: as `load_manifest` and `survey`.
    """
    from batchedit.planner import survey

    return survey(_manifest(flags), **_place(flags), accept_changed=flags["changed"])


def outline_from(flags: dict[str, Any]) -> Plan:
    """
    The plan for a command's flags before any task is looked at.

    Raises:
        BatchEditError: as `load_manifest` and `outline`.
    """
    from batchedit.planner import outline

    return outline(_manifest(flags), **_place(flags))


def _place(flags: dict[str, Any]) -> dict[str, Any]:
    return {"out": flags["out"], "ledger": flags["ledger"], "rehearse": flags["rehearse"]}


def _manifest(flags: dict[str, Any]) -> Manifest:
    from batchedit.manifest import Overrides, load_manifest

    overrides = Overrides(
        prompt=flags["prompt"],
        output=flags["output"],
        quality=flags["quality"],
        size=flags["size"],
        format=flags["format_"],
        n=flags["samples"],
        mask=flags["mask"],
        provider=flags["provider"],
    )
    return load_manifest(flags["manifest"], overrides=overrides)


def plan_from(flags: dict[str, Any]) -> Plan:
    """
    The plan for a command's flags.

    Raises:
        BatchEditError: as `load_manifest` and `make_plan`.
    """
    from batchedit.planner import settle

    plan = survey_from(flags)
    settle(plan)
    return plan
