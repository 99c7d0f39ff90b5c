"""The command `pilot`: a sample is bought, measured, and projected onto the whole."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from batchedit.cli.carrying import agree_to, behaviour_for, limit_from, say_summary, watched
from batchedit.cli.commands import cli
from batchedit.cli.options import JSON, NO_INPUT, QUIET, Pace, name_list, pilot_options, plan_from, telling_options
from batchedit.cli.voice import say
from batchedit.money import MicroUSD, decimal_text, format_usd

if TYPE_CHECKING:
    from batchedit.pilot import Interval, Pilot
    from batchedit.planned import Plan

METHOD = (
    "95 %: stratified ratio of billed to quoted, percentile bootstrap,"
    " with the Wilson interval of the share that was not billed"
)


@cli.command()
@pilot_options
@JSON
@click.option("--budget", metavar="DOLLARS", help="Never let spent and at risk pass this amount.")
@click.option("--rate", type=Pace(), metavar="N|auto|none", help="As for `run`.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Most edits in flight.")
@click.option("-y", "--yes", is_flag=True, help="Agree to the quote without being asked.")
@NO_INPUT
@QUIET
@telling_options
def pilot(as_json: bool, budget: str | None, yes: bool,
          **flags: Any) -> int:  # fmt: skip
    """
    Buy a sample of MANIFEST, and say what the whole will cost.

    The sample is drawn by seed, and counts: `run MANIFEST` afterwards buys only the rest.

    \b
      batchedit pilot night.yaml -n 20 --stratify client,edit
    """
    from batchedit.calling import run_plan_sync
    from batchedit.cli.printing import end_json
    from batchedit.effects import Effects
    from batchedit.pilot import examine

    limit = limit_from(budget)
    made = plan_from(flags)
    behaviour = behaviour_for(made, **flags)
    agree_to(made, limit, behaviour, as_json=as_json, yes=yes)
    options = behaviour.run_options(limit)
    summary = watched(
        lambda progress: run_plan_sync(made, options, observer=progress), made, behaviour, as_json=as_json
    )
    # A pilot that had nothing to do may have recognised that without drawing.
    again = made if made.choice.drawn is not None else plan_from({**flags, "save": ""})
    whole = plan_from({**flags, "sample": None, "stratify": None, "save": ""})
    effects = Effects(seed=flags["seed"])
    found = examine(
        whole,
        again.choice.drawn or frozenset(),
        name_list(flags["stratify"]) or [],
        effects.draw("pilot", str(flags["sample"])),
    )
    now = datetime.fromtimestamp(effects.wall(), UTC)
    if as_json:
        say(json.dumps({**json.loads(end_json(made, summary)), "pilot": pilot_json(found, whole)}, indent=2))
    else:
        say_summary(made, summary, behaviour, as_json=False)
        if summary.exit_code or not behaviour["quiet"]:
            text = pilot_text(found, whole, now, flags["manifest"], bool(summary.reason))
            say("\n" + text, err=behaviour["events"] == "-")
    return summary.exit_code


def pilot_text(found: Pilot, whole: Plan, now: datetime, manifest: str, stopped: bool) -> str:
    """What a pilot has shown, for people."""
    from batchedit.forecast import duration_text

    money = " (rehearsal money)" if whole.rehearsal else ""
    risk = f", {format_usd(found.at_risk)} at risk" if found.at_risk else ""
    lines = [f"pilot of {found.tasks} tasks: {format_usd(found.spent)} spent{risk}{money}"]
    if stopped:
        lines.append("  it stopped early: what follows is judged by a part of it")
    if found.per_picture is not None:
        lines.append(
            f"  each     {format_usd(found.per_picture)} for a delivered picture, of which there are {found.pictures}"
        )
    if found.latency is not None:
        lines.append(f"  latency  median {found.latency.median:.1f} s, 95 % within {found.latency.p95:.1f} s")
    if found.failures is not None:
        failed = sum(trial.failed for trial in found.trials)
        lines.append(f"  failed   {failed} of {len(found.trials)}: {_percent(found.failures)}")
    requests = sum(rest.requests for rest in found.rest.values())
    if not requests:
        lines.append("  the rest nothing is left to buy")
    elif found.projection is None:
        quote = whole.figures.quote
        low, high = format_usd(quote.low), format_usd(quote.high)
        lines.append(f"  the rest {low} to {high} for {requests} requests, as quoted: nothing of the sample was billed")
    else:
        rest, spent = found.projection, found.spent
        low, high, likely = (format_usd(amount) for amount in (rest.low, rest.high, rest.likely))
        lines.append(f"  the rest {low} to {high} for {requests} requests, most likely {likely}")
        low, high = (format_usd(spent + amount) for amount in (rest.low, rest.high))
        lines += [f"  in all   {low} to {high}", f"           {METHOD}"]
    needs = whole.figures.forecast
    if requests and needs is not None and needs.seconds is not None:
        ends = now + timedelta(seconds=needs.seconds)
        least = "at least" if needs.is_least else "about"
        lines.append(
            f"  time     {least} {duration_text(needs.seconds)}: begun now, done at {ends:%Y-%m-%d %H:%M} UTC"
            f" ({'; '.join(needs.because)})"
        )
    out = shlex.quote(str(whole.workspace.root))
    lines.append(f"next: batchedit report {out} --html report.html")
    if requests:
        lines.append(f"then: batchedit run {shlex.quote(manifest)} with the same flags, which buys only the rest")
    return "\n".join(lines)


def pilot_json(found: Pilot, whole: Plan) -> dict[str, Any]:
    """What a pilot has shown, for programs."""
    quote, needs, rest = whole.figures.quote, whole.figures.forecast, found.projection

    def dollars(amount: MicroUSD | None) -> str | None:
        return None if amount is None else decimal_text(amount)

    return {
        "version": 1,
        "tasks": found.tasks,
        "requests": len(found.trials),
        "failed": sum(trial.failed for trial in found.trials),
        "failure_rate": None if found.failures is None else _interval(found.failures),
        "spent": decimal_text(found.spent),
        "at_risk": decimal_text(found.at_risk),
        "pictures": found.pictures,
        "per_picture": dollars(found.per_picture),
        "median_seconds": None if found.latency is None else found.latency.median,
        "p95_seconds": None if found.latency is None else found.latency.p95,
        "rest": {
            "requests": sum(left.requests for left in found.rest.values()),
            "quote": {"low": decimal_text(quote.low), "high": decimal_text(quote.high)},
            "projected": None
            if rest is None
            else {"low": dollars(rest.low), "likely": dollars(rest.likely), "high": dollars(rest.high)},
            "method": METHOD,
            "seconds": None if needs is None or needs.seconds is None else round(needs.seconds, 1),
        },
    }


def _interval(found: Interval) -> dict[str, float]:
    return {"low": round(found.low, 4), "likely": round(found.likely, 4), "high": round(found.high, 4)}


def _percent(found: Interval) -> str:
    return f"{100 * found.likely:.1f} % (95 % interval {100 * found.low:.1f} to {100 * found.high:.1f} %)"
