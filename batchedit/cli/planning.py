"""What `plan` says, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from batchedit.cli.printing import count, problem_json, skipped_lines
from batchedit.effects import Effects, iso
from batchedit.forecast import Forecast, bytes_text, duration_text
from batchedit.manifest.fields import shortened
from batchedit.money import MicroUSD, decimal_text, format_usd
from batchedit.plan import VERDICT_WORDS, Part, PlanFigures, Verdict
from batchedit.pricing import OLD_DAYS, PriceList

if TYPE_CHECKING:
    from batchedit.model import Quote
    from batchedit.planned import Plan
    from batchedit.providers.registry import Destination

PLAN_VERSION = 2
"""Of the JSON form; a field that is there keeps its meaning within a version."""

_SHOWN, _CAPS_SHOWN = 5, 10


def plan_text(
    plan: Plan,
    budget: MicroUSD | None = None,
    *,
    goes_to: Destination | None = None,
    by: bool = False,
    effects: Effects | None = None,
) -> str:
    """
    A plan for people.

    Args:
        budget: A flag's; wins over the manifest's.
        goes_to: Where requests and the key would go, None for a rehearsal.
        by: Show what the quote is broken down by.
        effects: For the time of the day; None for the real ones.
    """
    figures = plan.figures
    lines = [f"{plan.manifest.name}: {count(figures.tasks, 'task')} for {plan.workspace.root}"]
    if plan.manifest.defaults_file:
        lines.append(f"  defaults from {plan.manifest.defaults_file}")
    for verdict, words in VERDICT_WORDS.items():
        if figures.counts[verdict]:
            lines.append(f"  {figures.counts[verdict]:>7}  {words}")
    lines += _examples(figures)
    lines += _besides(plan)
    if figures.purchases:
        own = f"; prices of {plan.prices.name}" if plan.prices.origin else ""
        money = f"rehearsal money{own}" if plan.rehearsal else f"{plan.settings.name}, prices of {plan.prices.name}"
        lines.append(f"  quote    {quote_range(figures.quote)} for {count(figures.pictures, 'picture')} ({money})")
        lines += old_prices(plan.prices, today())
        lines += _sent_to(goes_to)
    else:
        lines.append("  nothing to buy")
    if figures.counts[Verdict.UNAPPROVED]:
        lines.append(f"  later    {quote_range(figures.later)} once all of it is approved")
    if figures.forecast is not None:
        lines += _needs(figures, figures.forecast, effects or Effects())
    if figures.located:
        what = "and that is sent too" if plan.settings.keep_metadata else "which is not sent"
        lines.append(f"  private  {count(figures.located, 'local picture')} with the place where taken, {what}")
    lines += skipped_lines(plan)
    lines += _limits(plan, plan.manifest.budget if budget is None else budget)
    if by:
        for name, parts in figures.by.items():
            lines += ["", *_table(name, parts)]
    return "\n".join(lines)


def _besides(plan: Plan) -> list[str]:
    """What is in the ledger or the manifest and is left alone, or done otherwise than the manifest says."""
    figures, lines = plan.figures, []
    if figures.orphans:
        lines.append(f"  {figures.orphans:>7}  not in the manifest any more: nothing is done about them")
        lines += [f"           {slot}" for slot in figures.orphan_slots[:_SHOWN]]
    if figures.reedits:
        drop = "" if plan.reedit is not None else ", until `batchedit reedit --drop`"
        lines.append(f"  {figures.reedits:>7}  with the prompt of a re-edit instead of the manifest's{drop}")
        lines += [f"           {slot} ({revision}): {shortened(prompt)!r}"
                  for slot, revision, prompt in figures.reedit_prompts[:_SHOWN]]  # fmt: skip
    if figures.resumed:
        lines.append(f"  {figures.resumed:>7}  of these were begun and not finished: gone on with, bought once")
    if plan.reedit is not None:
        lines += [f"  {number:>7}  not re-edited: {why}" for why, number in plan.reedit.skipped.most_common()]
    unselected = plan.choice.left_out - plan.choice.beyond
    if unselected:
        lines.append(f"  {unselected:>7}  not selected: left as they are")
    if plan.choice.beyond:
        lines.append(f"  {plan.choice.beyond:>7}  beyond --limit: left for another run")
    return lines


def _limits(plan: Plan, limit: MicroUSD | None) -> list[str]:
    lines = []
    if limit is not None:
        short = " (may stop before the end: more is quoted)" if limit < plan.figures.quote.high else ""
        lines.append(f"  budget   {format_usd(limit)}{short}")
    quoted = {cap: MicroUSD(plan.figures.capped[cap.label, cap.value]) for cap in plan.manifest.spending.caps}
    caps = sorted(quoted, key=lambda cap: quoted[cap] <= cap.amount)  # first what somebody should look at
    for cap in caps[:_CAPS_SHOWN]:
        short = f" (may not be enough: up to {format_usd(quoted[cap])} is quoted)" if cap.amount < quoted[cap] else ""
        lines.append(f"           at most {format_usd(cap.amount)} for {cap.label} {cap.value}{short}")
    if len(caps) > _CAPS_SHOWN:
        lines.append(f"           and {len(caps) - _CAPS_SHOWN} more")
    return lines


def today() -> date:
    """By the clock of the outside world."""
    return datetime.fromtimestamp(Effects().wall(), UTC).date()


def old_prices(prices: PriceList, now: date) -> list[str]:
    """That a price list has not been looked at for long; nothing if it has."""
    age = prices.age(now)
    if age <= OLD_DAYS:
        return []
    return [f"           the price list is {age} days old: compare it with the provider's (batchedit prices)"]


def _sent_to(goes_to: Destination | None) -> list[str]:
    if goes_to is None:
        return []
    key = f"with the key from {goes_to.key_place}" if goes_to.key_place else "for which there is no key yet"
    return [f"  sent to  {goes_to.origin}, {key}"]


def _examples(figures: PlanFigures) -> list[str]:
    lines = []
    if figures.changed_fields:
        fields = ", ".join(f"{field} in {number}" for field, number in figures.changed_fields.most_common())
        lines.append(f"           changed: {fields}")
    for slot, found in figures.changed[:_SHOWN]:
        lines.append(f"           {slot}: {'; '.join(str(difference) for difference in found)}")
    return lines + [f"           {slot}: {why}" for slot, why in figures.failed[:_SHOWN]]


def _needs(figures: PlanFigures, needs: Forecast, effects: Effects) -> list[str]:
    lines = []
    if figures.purchases:
        if needs.seconds is None:
            lines.append("  time     unknown: no limit is named and no run has measured one yet")
        else:
            least = "at least" if needs.is_least else "about"
            end = datetime.fromtimestamp(effects.wall() + needs.seconds).astimezone()
            lines.append(
                f"  time     {least} {duration_text(needs.seconds)}, until {end:%Y-%m-%d %H:%M} if it starts now"
                f" ({'; '.join(needs.because)})"
            )
    if needs.bytes_needed:
        free = "" if needs.bytes_free is None else f", {bytes_text(needs.bytes_free)} free"
        basis = "as large as earlier ones" if needs.sizes_known else "by the number of pixels"
        lines.append(f"  disk     about {bytes_text(needs.bytes_needed)} ({basis}){free}")
    return lines


def _table(name: str, parts: dict[str, Part]) -> list[str]:
    width = min(40, max([len(name), 5, *(len(value) for value in parts)]))
    lines = [f"{name:<{width}}  {'tasks':>8}  {'to buy':>8}  {'low $':>12}  {'high $':>12}"]
    for value, part in sorted(parts.items(), key=lambda entry: (-entry[1].quote.high, entry[0])):
        shown = value if len(value) <= width else value[: width - 1] + "…"
        lines.append(
            f"{shown:<{width}}  {part.tasks:>8}  {part.purchases:>8}  {decimal_text(part.quote.low):>12}"
            f"  {decimal_text(part.quote.high):>12}"
        )
    return lines


def quote_range(quote: Quote) -> str:
    """A quote for people."""
    low, high = format_usd(quote.low), format_usd(quote.high)
    return low if quote.low == quote.high else f"{low} to {high}"


def plan_json(plan: Plan, *, goes_to: Destination | None = None, effects: Effects | None = None) -> str:
    """A plan for programs; `goes_to` and `effects` as for `plan_text`."""
    figures = plan.figures
    return json.dumps(
        {
            "version": PLAN_VERSION,
            "name": plan.manifest.name,
            "defaults_file": plan.manifest.defaults_file or None,
            "out": str(plan.workspace.root),
            "rehearsal": plan.rehearsal,
            "destination": goes_to and {"origin": goes_to.origin, "key_from": goes_to.key_place or None},
            "tasks": figures.tasks,
            "counts": {str(verdict): figures.counts[verdict] for verdict in Verdict},
            "not_selected": plan.choice.left_out,
            "orphans": {"count": figures.orphans, "first": figures.orphan_slots},
            "reedits": {
                "count": figures.reedits,
                "resumed": figures.resumed,
                "first": [
                    dict(zip(("task", "revision", "prompt"), one, strict=True)) for one in figures.reedit_prompts
                ],
            },
            "changed": _changed_json(figures),
            "failures": [{"task": slot, "reason": reason} for slot, reason in figures.failed],
            "requests_to_buy": figures.purchases,
            "pictures_to_buy": figures.pictures,
            "quote": _quote_json(figures.quote),
            "quote_after_approval": _quote_json(figures.later),
            "by": {
                name: {value: _part_json(part) for value, part in sorted(parts.items())}
                for name, parts in figures.by.items()
            },
            "pictures_with_location": figures.located,
            "metadata_sent": plan.settings.keep_metadata,
            "currency": "USD",
            "price_list": plan.prices.version,
            "price_list_file": plan.prices.origin,
            "price_list_days": plan.prices.age(today()),
            "forecast": _forecast_json(figures.forecast, effects or Effects()),
            "skipped": [
                {"place": str(skip.place), "reason": skip.reason, "count": skip.count} for skip in plan.findings.skipped
            ],
            "warnings": [problem_json(problem) for problem in plan.findings.warnings],
        },
        indent=2,
        ensure_ascii=False,
    )


def _changed_json(figures: PlanFigures) -> dict[str, Any]:
    first = [
        {
            "task": slot,
            "changes": [
                {"field": found.field, "old": found.old, "new": found.new, "text": found.text} for found in changes
            ],
        }
        for slot, changes in figures.changed
    ]
    return {"by_field": dict(figures.changed_fields.most_common()), "first": first}


def _quote_json(quote: Quote) -> dict[str, str]:
    return {"low": decimal_text(quote.low), "high": decimal_text(quote.high)}


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "tasks": part.tasks,
        "requests_to_buy": part.purchases,
        "pictures_to_buy": part.pictures,
        "quote": _quote_json(part.quote),
    }


def _forecast_json(needs: Forecast | None, effects: Effects) -> dict[str, Any] | None:
    if needs is None:
        return None
    return {
        "seconds": None if needs.seconds is None else round(needs.seconds, 1),
        "ends_at": None if needs.seconds is None else iso(effects.wall() + needs.seconds),
        "at_least": needs.is_least,
        "because": list(needs.because),
        "bytes_needed": needs.bytes_needed,
        "bytes_free": needs.bytes_free,
        "sizes": "measured" if needs.sizes_known else "estimated",
    }
