"""Figures as a text table that fits 100 columns."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from batchedit.ledger.run_records import Reconciled, RunRow
from batchedit.lifecycle import State
from batchedit.money import decimal_text, format_usd
from batchedit.report.advice import advice, manifest_words, next_step, waiting_lines
from batchedit.summary import Drift, Figures, Money

COLUMNS = 100
"""Of a terminal or a printed page."""

OVERLAPPING = "A task with several tags counts under each of them: the rows add up to more than the total."

_ROWS = 60

ORDER = (
    State.DONE,
    State.PENDING,
    State.SENDING,
    State.ACCEPTED,
    State.FETCHING,
    State.UNKNOWN,
    State.SUSPECT,
    State.LOST,
    State.FAILED,
)


def report_text(
    figures: Figures, runs: Sequence[RunRow], world: str, waiting: Mapping[str, int], where: Path | str
) -> str:
    """The report for people; `waiting` and `where` as for `waiting_lines`."""
    lines, words = [], manifest_words(runs, where)
    if world == "rehearsal":
        lines += ["REHEARSAL: no real money was spent; the prices are what the provider would have charged.", ""]
    lines += _totals(figures, runs)
    for name in figures.by:
        lines += ["", *_table(figures, name)]
        if name in figures.overlapping:
            lines.append(OVERLAPPING)
    lines += [_fit(plain(line), COLUMNS) for line in spelling_lines(figures)]
    lines += _durations(figures)
    if figures.troubles:
        lines += ["", "not done, by reason"]
        for trouble in figures.troubles[:12]:
            slots = plain(", ".join(trouble.slots)) + (", ..." if trouble.tasks > len(trouble.slots) else "")
            lines += [
                _fit(f"  {trouble.tasks:>6}  {trouble.state}: {plain(trouble.reason)}", COLUMNS),
                f"          {_fit(slots, 88)}",
                *textwrap.wrap(
                    plain(next_step(trouble, where, words)),
                    COLUMNS,
                    initial_indent=" " * 10,
                    subsequent_indent=" " * 12,
                    break_long_words=False,
                    break_on_hyphens=False,
                ),
            ]
        if len(figures.troubles) > 12:
            lines.append(f"  and {len(figures.troubles) - 12} more reasons: `--json` has all of them")
    if figures.unmet:
        lines += ["", "checks of delivered files"]
        for each in figures.unmet:
            lines.append(f"  {each.tasks:>6}  {each.verdict} {each.name}: --select check:{each.name}")
    # What stands with a reason is not said again, but for what is unknown: there is more to be said about that.
    told = {trouble.state for trouble in figures.troubles} - {State.UNKNOWN}
    rest = {state: count for state, count in figures.tasks.items() if state not in told}
    steps = [*advice(rest, where, words), *waiting_lines(waiting, where)]
    if steps:
        lines += ["", "what can be done", *(f"  {step}" for step in steps)]
    if runs:
        last = runs[-1]
        ended = f"ended {last.ended_at}" if last.ended_at else "has not ended, or was killed"
        code = "" if last.exit_code is None else f", exit code {last.exit_code}"
        lines += [
            "",
            f"{len(runs)} run{'s' if len(runs) != 1 else ''}; the last began {last.started_at}, {ended}{code}",
        ]
        if last.stop_reason:
            lines += textwrap.wrap(plain(last.stop_reason), COLUMNS, initial_indent="  ", subsequent_indent="  ")
        if last.facts.reconciled is not None:
            lines.append(f"since then: {reconciled_text(last.facts.reconciled)}")
    return "\n".join(lines)


def reconciled_text(reconciled: Reconciled) -> str:
    """What has become of a reconciliation after a run."""
    if reconciled.ended is None:
        return f"a reconciliation began {reconciled.began} and has not ended, or was killed"
    return f"reconciled {reconciled.ended}, exit code {reconciled.exit_code}"


def state_counts(counts: Iterable[tuple[State, int]]) -> str:
    """``done 12  failed 1``: the states that occur, in the order of interest."""
    known = dict(counts)
    return "  ".join(f"{state} {known[state]}" for state in ORDER if known.get(state))


def _totals(figures: Figures, runs: Sequence[RunRow]) -> list[str]:
    total = figures.total
    basis = f"  ({basis_text(figures)})" if basis_text(figures) else ""
    each = f" ({total.per_success:.2f} for each success)" if total.per_success is not None else ""
    lines = [
        f"tasks      {figures.tasks.total()}: {state_counts(figures.tasks.items()) or 'none'}",
        f"pictures   {total.pictures} kept, from {total.attempts} attempts{each} at {total.requests} requests",
        *_pace(figures),
        f"spent      {format_usd(total.spent)}{basis}",
        f"at risk    {format_usd(total.at_risk)}{f'  ({risk_text(total)})' if total.at_risk else ''}",
    ]
    if total.quoted_high:
        quoted = f"{format_usd(total.quoted_low)} to {format_usd(total.quoted_high)}"
        lines.append(f"quoted     {quoted} for what was bought")
    lines += [f"drift      {plain(drift_text(drift))}" for drift in figures.drifts]
    lines += [f"prices     {plain(line)}" for line in price_lines(figures, runs) if total.spent or total.at_risk]
    if total.wasted:
        kinds = ", ".join(f"{kind} {format_usd(amount)}" for kind, amount in total.waste.most_common())
        lines.append(f"wasted     {format_usd(total.wasted)}  (part of spent: {kinds})")
    if total.doubled:
        lines.append(f"twice?     {format_usd(total.doubled)}  (possible double purchases; part of the two above)")
    if total.avoided:
        lines.append(f"avoided    {format_usd(total.avoided)}  ({saved_text(total)}; an estimate)")
    if total.per_delivered is not None:
        price = format_usd(total.per_delivered)
        lines.append(f"each       {price} for a delivered picture, of which there are {total.delivered}")
    if total.judged:
        each = "" if total.per_approved is None else f"; {format_usd(total.per_approved)} for each approved one"
        first = f"{total.at_once} of {total.judged} at once, {percent(total.at_once, total.judged)}"
        again = f", {total.undecided} undecided after a rejection" if total.undecided else ""
        lines.append(f"reviewed   {total.judged}: {total.approved} approved ({first}){again}{each}")
    return [part for line in lines for part in textwrap.wrap(line, COLUMNS, subsequent_indent=" " * 11)]


def basis_text(figures: Figures) -> str:
    """Where what was spent is not the provider's own figure; empty if all of it is."""
    computed, assumed = figures.basis["computed"], figures.basis["assumed"]
    parts = [f"{format_usd(computed)} of it computed from the price list"] if computed else []
    parts += [f"{format_usd(assumed)} of it written off at the worst price"] if assumed else []
    return ", ".join(parts)


def drift_text(drift: Drift) -> str:
    """How far what was billed for pictures of one kind lies outside of what the price list says."""
    many = f"{drift.purchases} purchase{'s' if drift.purchases != 1 else ''}"
    listed = format_usd(drift.low)
    if drift.high != drift.low:
        listed += f" to {format_usd(drift.high)}"
    return (
        f"{drift.model}, {drift.quality}, {drift.size}: {format_usd(abs(drift.apart))}"
        f" {'more' if drift.apart > 0 else 'less'} was spent than listed: {format_usd(drift.paid)} for {many},"
        f" listed at {listed}; see `batchedit prices`"
    )


def spelling_lines(figures: Figures) -> list[str]:
    """Values of labels that are probably one and the same."""
    return [
        f"Probably one and the same {name}: {', '.join(values)}"
        for name, groups in figures.spellings.items()
        for values in groups
    ]


def price_lines(figures: Figures, runs: Sequence[RunRow]) -> list[str]:
    """The price lists that were in force, in the order in which they came, with the days of their runs and sums."""
    days: dict[str, list[str]] = {}
    for run in runs:
        days.setdefault(run.price_list, []).append(run.started_at[:10])
    lines = []
    for name in sorted(figures.prices, key=lambda name: (days.get(name, [""])[0], name)):
        money = figures.prices[name]
        seen = sorted(days.get(name, ()))
        used = f"  (runs of {seen[0]}{f' to {seen[-1]}' if seen[-1] != seen[0] else ''})" if seen else ""
        risk = f", {format_usd(money.at_risk)} at risk" if money.at_risk else ""
        lines.append(f"list {name or 'unknown'}: {format_usd(money.spent)} spent{risk}{used}")
    return lines


def saved_text(total: Money) -> str:
    """What was not bought again, by kind."""
    means = {
        "deduplicated": "equal tasks bought once",
        "reused": "wanted again and paid for already",
        "restored": "paid for, and put at its place again",
    }
    if len(total.saved) == 1:
        return means[next(iter(total.saved))]
    return ", ".join(f"{means[kind]} {format_usd(amount)}" for kind, amount in total.saved.most_common())


def percent(part: int, whole: int) -> str:
    """A share for people; nothing of nothing is no share."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _pace(figures: Figures) -> list[str]:
    total = figures.total
    if not total.attempts:
        return []
    busy = figures.busy_minutes
    pace = (
        ""
        if figures.per_minute is None
        else f"{figures.per_minute} purchases a minute in {busy} busy minute{'s' if busy != 1 else ''}; "
    )
    return [f"pace       {pace}{total.throttled} refused for their rate (429), {total.retries} retries"]


def _durations(figures: Figures) -> list[str]:
    if not figures.latency and not figures.queue:
        return []
    kinds = (("queue", figures.queue), ("purchase", figures.latency))
    width = max(len(plain(quality)) for _, found in kinds for quality in found)
    width = min(30, max(width, 7))
    head = "  ".join(f"{name:>9}" for name in ("count", "median s", "95 % s", "99 % s", "longest s"))
    lines = ["", f"{_padded('quality', width)}  {'time':8}  {head}"]
    for quality in sorted({*figures.queue, *figures.latency}):
        for name, found in kinds:
            if quality in found:
                each = found[quality]
                cells = (each.median, each.p95, each.p99, each.longest)
                shown = "  ".join(f"{seconds:>9.1f}" for seconds in cells)
                lines.append(f"{_padded(quality, width)}  {name:8}  {each.count:>9}  {shown}")
    return [*lines, "queue: from being wanted in a run to the first sending; purchase: from there to the picture"]


def risk_text(total: Money) -> str:
    """What is at risk, and why; empty if nothing is."""
    if not total.at_risk:
        return ""
    if total.unpriced == total.at_risk:
        return "the provider named no price; this is the rest of the price range"
    if total.unpriced:
        return f"open or unknown requests; {format_usd(total.unpriced)} of it because no price was named"
    return "open or unknown requests, at their worst price"


def _table(figures: Figures, name: str) -> list[str]:
    title, total = figures.heading(name), figures.total
    width = min(40, max([_width(plain(title)), 5, *(_width(plain(value)) for value in figures.by[name])]))
    head = f"{'requests':>8}  {'pictures':>8}  {'spent $':>12}  {'at risk $':>10}  {'share':>6}"
    lines = [f"{_padded(title, width)}  {head}"]
    shown, rest, which = figures.ranked(name, _ROWS)
    lines += [_row(value, money, total, width) for value, money in shown]
    if rest:
        spent = sum(money.spent for _, money in rest)
        lines.append(f"and {len(rest)} {which}, {format_usd(spent)}: `--by {name} --csv -` lists all of them"[:COLUMNS])
    lines.append(_row("total", total, total, width))
    return lines


def _row(value: str, money: Money, total: Money, width: int) -> str:
    share = f"{100 * money.spent / total.spent:.1f}%" if total.spent else "-"
    return (
        f"{_padded(value, width)}  {money.requests:>8}  {money.pictures:>8}  {decimal_text(money.spent):>12}"
        f"  {decimal_text(money.at_risk):>10}  {share:>6}"
    )


def plain(text: str) -> str:
    """A text from outside in one line, without anything that a terminal would obey."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _width(text: str) -> int:
    """How many columns of a terminal it takes: letters of East Asia take two, marks above others none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _fit(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _padded(text: str, width: int) -> str:
    shown = _fit(plain(text), width)
    return shown + " " * (width - _width(shown))
