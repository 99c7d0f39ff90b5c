"""What blind comparisons of variants have shown: wins, ties, how sure that is, and what each variant costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from batchedit.ledger.reader import Ledger
from batchedit.money import ZERO, MicroUSD, decimal_text, format_usd
from batchedit.pilot import Interval, wilson

METHOD = "95 %: Wilson score interval of the share of comparisons with a winner that it won; ties are left out"


@dataclass(slots=True, kw_only=True)
class Tally:
    """
    One variant of an edit; amounts in micro-dollars.

    Attributes:
        shown: Comparisons that it was a part of: those that it won, lost, or that were ties.
        sides: Variants in these, on average: with nothing between them it would win one in so many.
        cost: Of its pictures that were compared, each counted once.
        pictures: How many these are.
    """

    edit: str
    variant: str
    shown: int = 0
    wins: int = 0
    ties: int = 0
    sides: float = 0.0
    cost: MicroUSD = ZERO
    pictures: int = 0

    @property
    def share(self) -> Interval | None:
        """How often it won of the comparisons with a winner; None if there was none."""
        decided = self.shown - self.ties
        return wilson(self.wins / decided, decided) if decided else None

    @property
    def each(self) -> MicroUSD | None:
        """What a picture of it costs; None without any."""
        return MicroUSD(round(self.cost / self.pictures)) if self.pictures else None


def tally(readers: Iterable[Ledger]) -> list[Tally]:
    """
    The comparisons of ledgers, added up: variants of an edit together, the one with the most wins first.

    Each reviewer's latest word on an item and edit counts.
    """
    found: dict[tuple[str, str], Tally] = {}
    for reader in readers:
        costs: dict[str, MicroUSD] = {}
        for comparison in reader.comparisons():
            for slot, _ in comparison.shown:
                task = reader.listed_task(slot)
                if task is None:
                    continue
                each = found.setdefault((task.edit, task.variant), Tally(edit=task.edit, variant=task.variant))
                each.sides = (each.sides * each.shown + len(comparison.shown)) / (each.shown + 1)
                each.shown += 1
                each.wins += comparison.winner == slot
                each.ties += comparison.outcome == "tie"
                if slot not in costs:
                    costs[slot] = task.cost
                    each.cost = MicroUSD(each.cost + task.cost)
                    each.pictures += 1
    return sorted(found.values(), key=lambda each: (each.edit, -each.wins, each.variant))


def tally_lines(found: Iterable[Tally]) -> list[str]:
    """The result for people; no line without comparisons."""
    lines = []
    for each in found:
        name = f"{each.edit}/{each.variant}" if each.variant else each.edit
        share = each.share
        sure = ""
        if share is not None:
            sure = f"; wins {100 * share.likely:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
        price = "" if each.each is None else f"; {format_usd(each.each)} each"
        lines.append(f"  {name:<28} {each.wins} won, {each.ties} ties of {each.shown}{sure}{price}")
    return [*lines, f"  {METHOD}"] if lines else []


def tally_json(each: Tally) -> dict[str, Any]:
    """One variant for programs."""
    share = each.share
    return {
        "edit": each.edit,
        "variant": each.variant,
        "compared": each.shown,
        "won": each.wins,
        "ties": each.ties,
        "share": None
        if share is None
        else {"low": round(share.low, 4), "likely": round(share.likely, 4), "high": round(share.high, 4)},
        "method": METHOD,
        "cost": decimal_text(each.cost),
        "pictures": each.pictures,
        "per_picture": None if each.each is None else decimal_text(each.each),
    }
