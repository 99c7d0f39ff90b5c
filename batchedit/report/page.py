"""What stands on the page of a report: figures turned into words, cells and charts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta, tzinfo

from markupsafe import Markup

from batchedit.grouping import in_zone
from batchedit.ledger.run_records import RunRow, Setting, SkippedRows
from batchedit.ledger.sums import Trouble
from batchedit.lifecycle import State
from batchedit.money import MicroUSD, decimal_text, format_usd
from batchedit.report.advice import manifest_words, next_step, waste_means
from batchedit.report.charts import Part, bar, columns, line
from batchedit.report.text import (
    ORDER,
    OVERLAPPING,
    basis_text,
    drift_text,
    percent,
    price_lines,
    reconciled_text,
    risk_text,
    spelling_lines,
)
from batchedit.summary import Figures, Minute, Money

_ROWS = 40
_COLUMNS = 120
_KINDS = {
    State.DONE: "useful", State.PENDING: "idle", State.SENDING: "calm", State.ACCEPTED: "calm", State.FETCHING: "calm",
    State.UNKNOWN: "risk", State.SUSPECT: "waste", State.LOST: "waste", State.FAILED: "waste",
}  # fmt: skip
_STRETCHES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440, 2880, 10080, 43200)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure that is seen first."""

    name: str
    value: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture before and after; the pictures are data URIs."""

    slot: str
    state: str
    mood: str
    cost: str
    prompt: str
    before: str | None
    before_note: str
    after: str | None
    after_note: str
    link: str


@dataclass(slots=True, kw_only=True)
class Page:
    """Everything on it, in the order in which it is shown."""

    title: str
    verdict: str
    mood: str
    rehearsal: bool
    tiles: list[Tile]
    states_bar: Markup
    states: list[dict[str, object]]
    steps: list[str]
    tables: list[dict[str, object]]
    spellings: list[str]
    drifts: list[str]
    prices: list[str]
    dearest: list[list[str]]
    waste: list[dict[str, str]]
    basis: str
    spending: Markup | None
    throughput: Markup | None
    stretch: str
    pace: str
    latency: list[list[str]]
    troubles: list[dict[str, object]]
    unmet: list[list[str]]
    run_columns: list[str]
    runs: list[list[str]]
    skipped: list[SkippedRows]
    settings: list[Setting]
    foot: str
    compared: list[list[str]] = field(default_factory=list)
    compared_by: str = ""
    pairs: list[Pair] = field(default_factory=list)
    pairs_note: str = ""
    pairs_page: int = 60


def make_page(
    figures: Figures,
    runs: Sequence[RunRow],
    *,
    world: str,
    where: str,
    steps: Iterable[str],
    zone: tzinfo,
    foot: str,
    waiting: int = 0,
    compared: Sequence[list[str]] = (),
    compared_by: str = "",
) -> Page:
    """
    The page without its pictures.

    Args:
        where: The output folder or ledger, as the user would type it.
        steps: What can be done next.
        zone: Whose clock is shown.
        waiting: Tasks that have no request yet, since they start from another one's picture.
        compared: Variants that were compared without their names: edit, variant, won, ties, share, price of a picture.
        compared_by: Where the interval of the share comes from.
    """
    last, words = runs[-1] if runs else None, manifest_words(runs, where)
    verdict, mood = _verdict(figures, last, waiting)
    stretch, spans = _spans(figures.minutes, zone)
    budget = last.budget if last is not None else None
    total = figures.total
    return Page(
        title=f"{last.manifest if last else 'ledger'}: cost report",
        verdict=verdict,
        mood=mood,
        rehearsal=world == "rehearsal",
        tiles=_tiles(figures),
        states_bar=bar(
            [Part(_KINDS[state], figures.tasks[state], f"{state}: {figures.tasks[state]}") for state in ORDER],
            figures.tasks.total(),
        ),
        states=[
            {"name": str(state), "kind": _KINDS[state], "count": f"{figures.tasks[state]:,}"}
            for state in ORDER
            if figures.tasks[state]
        ],
        steps=list(steps),
        tables=[_table(figures, name) for name in figures.by],
        spellings=spelling_lines(figures),
        drifts=[f"Prices: {drift_text(drift)}" for drift in figures.drifts],
        prices=[f"Price {line}" for line in price_lines(figures, runs)] if total.spent or total.at_risk else [],
        dearest=_dearest(figures),
        waste=[
            {"name": kind, "amount": decimal_text(amount), "means": waste_means(kind)}
            for kind, amount in total.waste.most_common()
        ],
        basis=f"Spent is {basis_text(figures) or 'what the provider has reported'}. {risk_text(total)}",
        spending=_spending(spans, budget) if total.spent and len(spans) > 1 else None,
        throughput=_throughput(spans) if spans else None,
        stretch=stretch,
        pace=_pace(figures),
        latency=_latency(figures),
        troubles=[_trouble(trouble, next_step(trouble, where, words), zone) for trouble in figures.troubles],
        unmet=[[each.name, each.verdict, f"{each.tasks:,}", each.example] for each in figures.unmet],
        run_columns=["run", "began", "ended", "provider", "prices of", "budget $", "exit code", "why it stopped"],
        runs=[_run(run, zone) for run in runs],
        skipped=list(last.facts.skipped) if last is not None else [],
        settings=list(last.facts.settings) if last is not None else [],
        foot=foot,
        compared=[*compared],
        compared_by=compared_by,
    )


def _dearest(figures: Figures) -> list[list[str]]:
    spent = amounts([dear.spent for dear in figures.dearest])
    return [
        [dear.item, amount, f"{dear.requests:,}", f"{dear.attempts:,}"]
        for dear, amount in zip(figures.dearest, spent, strict=True)
    ]


def _pace(figures: Figures) -> str:
    if figures.per_minute is None:
        return ""
    busy = figures.busy_minutes
    return (
        f"{figures.per_minute} purchases a minute, over {busy:,} minute{'s' if busy != 1 else ''} in which any ended."
    )


def _verdict(figures: Figures, last: RunRow | None, waiting: int) -> tuple[str, str]:
    """What one reads first, and whether it is good, bad or open."""
    tasks, done = figures.tasks.total() + waiting, figures.tasks[State.DONE]
    if not tasks or last is None:
        return "Nothing was recorded yet.", "open"
    short = ", ".join(
        f"{figures.tasks[state]:,} {state}" for state in ORDER if figures.tasks[state] and state is not State.DONE
    )
    if waiting:
        short += f"{', ' if short else ''}{waiting:,} {'wait' if waiting > 1 else 'waits'} for another edit"
    said = f"{done:,} of {tasks:,} tasks done" + (f"; {short}." if short else ".")
    since = "" if last.facts.reconciled is None else f" Since then: {reconciled_text(last.facts.reconciled)}."
    if last.exit_code is None:
        return f"The last run has not ended, or was killed.{since} {said}", "open"
    if done == tasks:
        return f"All done: {tasks:,} task{'s' if tasks != 1 else ''}, {format_usd(figures.total.spent)} spent.", "good"
    reason = f" {last.stop_reason[:1].upper()}{last.stop_reason[1:]}." if last.stop_reason else ""
    bad = any(figures.tasks[state] for state in (State.UNKNOWN, State.FAILED, State.SUSPECT, State.LOST))
    return f"{said}{reason}{since}", "bad" if bad else "open"


def _tiles(figures: Figures) -> list[Tile]:
    total = figures.total
    quoted = (
        f"quoted {decimal_text(total.quoted_low)} to {decimal_text(total.quoted_high)}" if total.quoted_high else ""
    )
    tiles = [
        Tile("Spent", format_usd(total.spent), quoted),
        Tile("At risk", format_usd(total.at_risk), "may still be billed"),
        Tile("Useful", format_usd(total.useful), _share(total.useful, total.spent)),
        Tile("Waste", format_usd(total.wasted), _share(total.wasted, total.spent)),
        Tile("Delivered", f"{total.delivered:,}", f"pictures; {total.pictures:,} bought"),
    ]
    if total.per_delivered is not None:
        tiles.append(Tile("Each delivered", format_usd(total.per_delivered), "waste included"))
    if total.per_approved is not None:
        tiles.append(Tile("Each approved", format_usd(total.per_approved), "all others included"))
    if total.judged:
        more = f"{total.at_once:,} of {total.judged:,} reviewed; {total.approved:,} approved in all"
        more += f", {total.undecided:,} undecided after a rejection" if total.undecided else ""
        tiles.append(Tile("Approved at once", percent(total.at_once, total.judged), more))
    if total.per_success is not None:
        more = f"each success; {total.retries:,} retries, {total.throttled:,} refused for their rate (429)"
        tiles.append(Tile("Attempts", f"{total.per_success:.2f}", more))
    if total.avoided:
        tiles.append(Tile("Avoided", format_usd(total.avoided), f"{_saved(total)}; an estimate"))
    return tiles


def _saved(total: Money) -> str:
    if len(total.saved) == 1:
        return next(iter(total.saved))
    return ", ".join(f"{kind} {decimal_text(amount)}" for kind, amount in total.saved.most_common())


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % of spent" if whole else ""


def _table(figures: Figures, name: str) -> dict[str, object]:
    entries, rest, which = figures.ranked(name, _ROWS)
    shown = [money for _, money in entries]
    most = max([money.spent + money.at_risk for money in shown], default=0)
    columns = _columns([*shown, figures.total], tasks=figures.of_tasks(name))
    cells = list(zip(*columns.values(), strict=True))
    return {
        "name": figures.heading(name),
        "columns": list(columns),
        "rows": [
            {"name": value, "bar": _money_bar(money, most), "cells": row}
            for (value, money), row in zip(entries, cells[:-1], strict=True)
        ],
        "total": cells[-1],
        "note": OVERLAPPING if name in figures.overlapping else "",
        "more": f"and {len(rest):,} {which}; --by {name} --csv lists all of them" if rest else "",
    }


def _money_bar(money: Money, most: int) -> Markup:
    return bar(
        [
            Part("useful", money.useful, f"useful {format_usd(money.useful)}"),
            Part("waste", money.wasted, f"waste {format_usd(money.wasted)}"),
            Part("risk", money.at_risk, f"at risk {format_usd(money.at_risk)}"),
        ],
        most,
    )


def _columns(rows: Sequence[Money], *, tasks: bool) -> dict[str, list[str]]:
    """The cells of each column; a column in which there is nothing is left out."""
    columns = {
        "spent $": amounts([money.spent for money in rows]),
        "waste $": amounts([money.wasted for money in rows]),
        "at risk $": amounts([money.at_risk for money in rows]),
        "each $": amounts([money.per_delivered for money in rows]),
        "requests": [f"{money.requests:,}" for money in rows],
        "delivered": [f"{money.delivered:,}" for money in rows],
        "approved": [f"{money.approved:,} of {money.judged:,}" for money in rows],
    }
    total = rows[-1]
    left_out = {
        "waste $": not total.wasted,
        "at risk $": not total.at_risk,
        "delivered": not tasks,
        "each $": not tasks or total.per_delivered is None,
        "approved": not tasks or not total.judged,
    }
    return {name: cells for name, cells in columns.items() if not left_out.get(name)}


def amounts(found: Sequence[int | None]) -> list[str]:
    """Amounts with as many decimals as the one that has most, so that they stand below each other."""
    texts = ["" if amount is None else decimal_text(amount) for amount in found]
    decimals = max([len(text.partition(".")[2]) for text in texts], default=0)
    return [text and text + "0" * (decimals - len(text.partition(".")[2])) for text in texts]


def _spans(minutes: Mapping[str, Minute], zone: tzinfo) -> tuple[str, list[tuple[str, Minute]]]:
    """The time between first and last minute in stretches of equal length, also those in which nothing happened."""
    if not minutes:
        return "per minute", []
    # Counted in UTC: by a clock that is set back an hour would come twice.
    times = {in_zone(minute, UTC): found for minute, found in minutes.items()}
    first, end = min(times), max(times)
    needed = (end - first).total_seconds() / 60 / _COLUMNS
    length = next((each for each in _STRETCHES if each >= needed), _STRETCHES[-1])
    spans = [Minute() for _ in range(int((end - first).total_seconds() // 60 // length) + 1)]
    for time, found in times.items():
        span = spans[int((time - first).total_seconds() // 60 // length)]
        span.done += found.done
        span.throttled += found.throttled
        span.spent = MicroUSD(span.spent + found.spent)
    days = first.astimezone(zone).date() != end.astimezone(zone).date()
    labels = [
        (first + timedelta(minutes=number * length)).astimezone(zone).strftime("%m-%d %H:%M" if days else "%H:%M")
        for number in range(len(spans))
    ]
    words = "per minute" if length == 1 else f"in {length} minutes" if length < 120 else f"in {length // 60} hours"
    return words, list(zip(labels, spans, strict=True))


def _spending(spans: Sequence[tuple[str, Minute]], budget: MicroUSD | None) -> Markup:
    points, so_far = [], 0
    for label, span in spans:
        so_far += span.spent
        points.append((label, so_far / 1_000_000))
    return line(
        points,
        limit=None if budget is None else budget / 1_000_000,
        unit="$",
        title="what had been spent, over time",
        limit_title="" if budget is None else f"budget {format_usd(budget)}",
    )


def _throughput(spans: Sequence[tuple[str, Minute]]) -> Markup:
    return columns(
        [(label, float(span.done)) for label, span in spans],
        [float(span.throttled) for _, span in spans],
        title="purchases that ended well, over time",
        mark_title="refused for their rate",
    )


def _latency(figures: Figures) -> list[list[str]]:
    kinds = (("queue", figures.queue), ("purchase", figures.latency))
    return [
        [
            quality,
            name,
            f"{each.count:,}",
            *(f"{seconds:,.1f}" for seconds in (each.median, each.p95, each.p99, each.longest)),
        ]
        for quality in sorted({*figures.queue, *figures.latency})
        for name, found in kinds
        if (each := found.get(quality)) is not None
    ]


def _trouble(trouble: Trouble, step: str, zone: tzinfo) -> dict[str, object]:
    slots = ", ".join(trouble.slots) + (f" and {trouble.tasks - len(trouble.slots):,} more"
                                        if trouble.tasks > len(trouble.slots) else "")  # fmt: skip
    first, last = (in_zone(moment[:16], zone).strftime("%Y-%m-%d %H:%M") for moment in (trouble.first, trouble.last))
    money = f"{format_usd(trouble.cost)} spent" if trouble.cost else "nothing spent"
    return {
        "count": f"{trouble.tasks:,}",
        "state": str(trouble.state),
        "code": trouble.code,
        "reason": trouble.reason,
        "money": money + (f", {format_usd(trouble.at_risk)} at risk" if trouble.at_risk else ""),
        "when": first if first == last else f"{first} to {last}",
        "slots": slots,
        "advice": step,
    }


def _run(run: RunRow, zone: tzinfo) -> list[str]:
    def shown(moment: str | None) -> str:
        return "" if moment is None else in_zone(moment[:16], zone).strftime("%Y-%m-%d %H:%M")

    since = "" if run.facts.reconciled is None else reconciled_text(run.facts.reconciled)
    return [
        str(run.id),
        run.manifest,
        shown(run.started_at),
        shown(run.ended_at) or "has not ended, or was killed",
        run.provider,
        run.price_list,
        "" if run.budget is None else decimal_text(run.budget),
        "" if run.exit_code is None else str(run.exit_code),
        "; ".join(text for text in (run.stop_reason, since) if text),
    ]
