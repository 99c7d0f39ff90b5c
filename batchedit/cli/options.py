"""Flags that several commands share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from batchedit.model import FORMATS, MAX_SAMPLES, QUALITIES

if TYPE_CHECKING:
    from batchedit.manifest import Manifest
    from batchedit.planned import Plan
    from batchedit.pricing import PriceList
    from batchedit.selecting import Choice

F = TypeVar("F", bound=Callable[..., Any])

MANIFEST = click.argument("manifest", metavar="MANIFEST")

_SAMPLES = click.option("-n", "--samples", type=click.IntRange(1, MAX_SAMPLES), help="Pictures per task.")
_PROMPT = click.option("--prompt", help="Prompt template for every task.")
_OVERRIDES = (
    _PROMPT,
    click.option("--output", help='Output template, such as "{{ client }}/{{ stem }}.{{ ext }}".'),
    click.option("--quality", type=click.Choice(QUALITIES), help="Quality of every task."),
    click.option("--size", help="auto, a preset, or WIDTHxHEIGHT."),
    click.option("--format", "format_", type=click.Choice(FORMATS), help="Format of the pictures."),
    _SAMPLES,
    click.option("--mask", help="Mask template; end it with ? where a mask may be missing."),
    click.option("--provider", help="runflow or rehearsal."),
    click.option("--no-sibling", is_flag=True, help="Do not read STEM.defaults.yaml beside a table."),
)

_PLACE = (
    click.option("--out", default="out", show_default=True, help="Folder for the pictures and the ledger."),
    click.option("--ledger", help="The ledger's file, if it shall lie elsewhere."),
)

PRICES = click.option("--prices", metavar="FILE", help="A price list of your own, instead of the manifest's.")

_PLANNING = (
    PRICES,
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


SELECTING = (
    click.option("--select", multiple=True, metavar="SELECTOR",
                 help="Only these tasks, such as client:acme,edit:white or BOOT-*; repeatable."),
    click.option("--exclude", multiple=True, metavar="SELECTOR", help="Not these tasks; repeatable."),
)  # fmt: skip

_SAMPLE = click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only N of the selected tasks.")
_SAMPLING = (
    _SAMPLE,
    click.option("--seed", default="0", show_default=True, help="Which ones; the same seed draws the same."),
    click.option("--stratify", metavar="LABELS", help="Each combination of these labels takes its turn."),
)
_CHOOSING = (
    *SELECTING,
    click.option("--ids-from", metavar="FILE", help="Only items whose ids are the lines of FILE; - reads them here."),
    *_SAMPLING,
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Buy no more than the first N."),
)

DEBUG = click.option("--debug", is_flag=True, help="Show where an error comes from.")
JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


NO_INPUT = click.option("--no-input", is_flag=True, default=None, help="Never ask.")
QUIET = click.option(
    "-q", "--quiet", is_flag=True, default=None, help="Say only what somebody must do something about."
)


_TELLING = (
    click.option("-v", "--verbose", count=True, help="Say more on stderr; -vv every change of state."),
    click.option("--log-file", metavar="FILE", help="Keep a log; moved aside at 10 MB, private."),
    click.option("--log-format", type=click.Choice(["text", "json"]), help="Of the log; text if nothing else is set."),
    click.option("--events", metavar="FILE|-", help="A line of JSON for each change of state; - is stdout."),
    click.option("--otel", is_flag=True, default=None, help="OpenTelemetry, to where OTEL_* says (extra otel)."),
)


def telling_options(command: F) -> F:
    """What is told besides the answer, and where."""
    for option in reversed(_TELLING):
        command = option(command)
    return command


def manifest_options(command: F) -> F:
    """The manifest, where it goes, and what overrides it."""
    for option in reversed((MANIFEST, *_PLACE, *_OVERRIDES, *_PLANNING, DEBUG)):
        command = option(command)
    return command


def choosing_options(command: F) -> F:
    """Which of the manifest's tasks are meant."""
    for option in reversed(_CHOOSING):
        command = option(command)
    return command


def pilot_options(command: F) -> F:
    """As `manifest_options` and `choosing_options`, with a sample that is always drawn; ``-n`` is its size."""
    others = [each for each in _OVERRIDES if each is not _SAMPLES]
    ours = (
        click.option("--samples", type=click.IntRange(1, MAX_SAMPLES), help="Pictures per task."),
        click.option("-n", "--tasks", "sample", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
                     help="How many tasks the sample has."),
    )  # fmt: skip
    choosing = [each for each in _CHOOSING if each is not _SAMPLE]
    for option in reversed((MANIFEST, *ours, *choosing, *_PLACE, *others, *_PLANNING, DEBUG)):
        command = option(command)
    return command


def reedit_options(command: F) -> F:
    """As `manifest_options` and `choosing_options`, without a prompt for every task and without a sample."""
    overrides = [each for each in _OVERRIDES if each is not _PROMPT]
    choosing = [each for each in _CHOOSING if each not in _SAMPLING]
    for option in reversed((MANIFEST, *choosing, *_PLACE, *overrides, *_PLANNING, DEBUG)):
        command = option(command)
    return command


def file_options(command: F) -> F:
    """A manifest that may be missing, where its files are, which of its tasks are meant, and what overrides it."""
    where = click.argument("manifest", required=False)
    rehearse = click.option("--rehearse", is_flag=True, help="The tree of a rehearsal.")
    for option in reversed((where, *_PLACE, *SELECTING, *_OVERRIDES, rehearse, DEBUG)):
        command = option(command)
    return command


def manifest_or_none(flags: dict[str, Any]) -> Manifest | None:
    """
    The manifest of a command that buys nothing, with what the command line gives; None if none is named.

    Which tasks there are does not hang on the prompt, which a run may have had from its command line.

    Raises:
        UsageError: if something is given that only a manifest could take.
        ManifestError: as `load_manifest`.
    """
    from batchedit.errors import UsageError

    if flags["manifest"] is not None:
        _refuse_output_folder(flags["manifest"])
        return _manifest({**flags, "prompt": flags["prompt"] or "any prompt"})
    given = [name for name in ("prompt", "output", "quality", "size", "format_", "samples", "mask") if flags[name]]
    if given:
        raise UsageError(f"--{given[0].strip('_')} belongs to a manifest", hint="name the manifest first")
    return None


def _refuse_output_folder(manifest: str) -> None:
    """
    As a manifest it would be a folder of pictures: those that lie in it are taken, those in its sub-folders are not.

    With --out of another folder it is meant: what one run has made may be what another one started from.
    """
    from batchedit.errors import UsageError
    from batchedit.ledger.reader import ledger_at

    context = click.get_current_context()
    given = context.get_parameter_source("out") is not ParameterSource.DEFAULT
    is_other = given and Path(context.params["out"]).resolve() != Path(manifest).resolve()
    if Path(manifest).is_dir() and ledger_at(manifest).is_file() and not is_other:
        raise UsageError(
            f"{manifest} is an output folder, and no manifest",
            hint=f"name it with --out {shlex.quote(manifest)}; the manifest may be left out",
        )


def name_list(text: str | None) -> list[str] | None:
    """Names separated by commas; None if none were asked for."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def read_ids(source: str) -> list[str]:
    """
    The ids in a file, one for each line; blank lines do not count.

    Args:
        source: Its path, or ``-`` for standard input.

    Raises:
        UsageError: if it cannot be read.
    """
    from batchedit.errors import UsageError

    if source == "-" and sys.stdin is None:  # closed
        raise UsageError("--ids-from -: there is no standard input")
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--ids-from: {source}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--ids-from: {source} is not UTF-8 text") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _choice(flags: dict[str, Any], manifest: Manifest) -> Choice:
    from batchedit.errors import UsageError
    from batchedit.selecting import Choice, Sample
    from batchedit.selection import parse_selection

    source = flags.get("ids_from")
    selection = parse_selection(
        flags.get("select", ()),
        flags.get("exclude", ()),
        ids=None if source is None else read_ids(source),
        named=manifest.selectors,
    )
    size, strata = flags.get("sample"), flags.get("stratify")
    if strata is not None and size is None:
        raise UsageError("--stratify belongs to --sample", hint="add --sample N")
    names = tuple(name_list(strata) or ())
    kept = None if source in (None, "-") else str(Path(source).absolute())
    sample = None if size is None else Sample(size=size, seed=flags["seed"], strata=names)
    return Choice(selection=selection, sample=sample, ids_from=kept, limit=flags.get("limit"))


def survey_from(flags: dict[str, Any]) -> Plan:
    """
    The plan for a command's flags, its problems collected and not yet raised.

    Raises:
        BatchEditError: as `load_manifest` and `survey`.
    """
    from batchedit.planner import survey

    manifest = _manifest(flags)
    return survey(
        manifest,
        **_place(flags),
        accept_changed=flags["changed"],
        choice=_choice(flags, manifest),
        by=name_list(flags.get("by")),
        glance=flags.get("save") is None,
    )


def outline_from(flags: dict[str, Any]) -> Plan:
    """
    The plan for a command's flags before any task is looked at.

    Raises:
        BatchEditError: as `load_manifest` and `outline`.
    """
    from batchedit.planner import outline

    return outline(_manifest({"prompt": None, **flags}), **_place(flags))


def _place(flags: dict[str, Any]) -> dict[str, Any]:
    return {
        "out": flags["out"],
        "ledger": flags["ledger"],
        "rehearse": flags["rehearse"],
        "prices": prices_from(flags.get("prices")),
    }


def prices_from(name: str | None) -> PriceList | None:
    """
    The price list in a file; None if none is named.

    Raises:
        ManifestError: if it is none.
    """
    from batchedit.manifest.price_list import load_prices

    return None if name is None else load_prices(Path(name), name)


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
        sibling=not flags["no_sibling"],
    )
    return load_manifest(flags["manifest"], overrides=overrides)


def plan_from(flags: dict[str, Any]) -> Plan:
    """
    The plan for a command's flags.

    Raises:
        BatchEditError: as `load_manifest` and `make_plan`.
    """
    from batchedit.cli.printing import say_warnings
    from batchedit.planner import settle

    plan = survey_from(flags)
    if plan.findings.problems:
        say_warnings(plan)
    settle(plan)
    return plan


def reedit_from(flags: dict[str, Any], *, prompt: str | None, from_notes: bool) -> Plan:
    """
    The plan of a re-edit for a command's flags.

    Raises:
        BatchEditError: as `load_manifest` and `make_reedit`.
    """
    from batchedit.reediting import make_reedit

    source = flags["ids_from"]
    return make_reedit(
        _manifest({**flags, "prompt": None}),
        **_place(flags),
        prompt=prompt,
        from_notes=from_notes,
        accept_changed=flags["changed"],
        select=flags["select"],
        exclude=flags["exclude"],
        ids=None if source is None else read_ids(source),
        limit=flags["limit"],
    )


_HARMLESS = frozenset(
    {
        "manifest",
        "as_json",
        "rate",
        "concurrency",
        "grace",
        "max_fail",
        "yes",
        "no_input",
        "quiet",
        "debug",
        "verbose",
        "log_file",
        "log_format",
        "events",
        "otel",
        "until",
    }
)
"""Parameters of `run` that change nothing about what is bought."""


def plan_to_run(flags: dict[str, Any]) -> Plan:
    """
    The plan that `run` shall carry out: that of a manifest, or a saved one.

    Raises:
        UsageError: for a flag that contradicts a saved plan, or if that does not hold any more.
        BatchEditError: as `plan_from`.
    """
    from batchedit.saved_plans import is_saved_plan, load_plan, refuse_flags, reopen
    from batchedit.trust import PLAN, refuse_others

    if not is_saved_plan(flags["manifest"]):
        return plan_from(flags)
    context = click.get_current_context()
    refuse_flags(
        name
        for name in context.params
        if name not in _HARMLESS and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    )
    refuse_others(Path(flags["manifest"]), PLAN)
    return reopen(load_plan(flags["manifest"]))
