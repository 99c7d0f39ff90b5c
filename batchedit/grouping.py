"""
What rows of a ledger are grouped by: labels, tags, days, months and what every request has. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from operator import attrgetter

from batchedit.ledger.sums import CostGroup, TaskGroup

NO_LABEL = "(none)"
TAG = "tag"
PRICES = "price_list"
MONTH = "month"
GROUPINGS = ("day", MONTH, "run", "edit", "variant", "quality", "size", "model", "provider", "outcome", TAG, PRICES)
"""What every ledger can be grouped by, besides its labels; `TAG` counts a task under each of its tags."""
OF_ATTEMPTS = frozenset({"day", MONTH, "run", "outcome", PRICES})
"""Groupings that a task has no part in, since it may have had several attempts: they tell money, and no deliveries."""
IN_TIME = frozenset({"day", MONTH})
"""Groupings whose values follow each other, whatever they cost."""
YIELDING = frozenset({MONTH})
"""Groupings that give way to a label of the same name, which ledgers had before there was the grouping."""


def label_names(texts: Iterable[str]) -> list[str]:
    """The names of all labels in these JSON objects, sorted."""
    return sorted({name for text in texts for name in labels_of(text)})


def in_zone(minute: str, zone: tzinfo) -> datetime:
    """A minute of the ledger, which is in UTC, by another clock."""
    return datetime.fromisoformat(minute).replace(tzinfo=UTC).astimezone(zone)


def _day(minute: str, zone: tzinfo) -> str:
    return minute[:10] if zone is UTC else in_zone(minute, zone).date().isoformat()


@lru_cache(maxsize=100_000)
def labels_of(text: str) -> Mapping[str, str]:
    found: dict[str, str] = json.loads(text)
    return found


@lru_cache(maxsize=100_000)
def tags_of(text: str) -> tuple[str, ...]:
    """The tags of a task, each once; `NO_LABEL` for a task without."""
    return tuple(dict.fromkeys(json.loads(text))) or (NO_LABEL,)


def heading(name: str, *, is_label: bool) -> str:
    """What stands above its values; a name that may be a label's or ours says which it is."""
    return f"{name} ({'label' if is_label else 'calendar'})" if name in YIELDING else name


def cost_keys(name: str, zone: tzinfo, *, is_label: bool = False) -> Callable[[CostGroup], Iterable[str]]:
    """
    The values of a name that attempts count under; more than one for tags only.

    Args:
        is_label: It is a label's, though there is a grouping of this name.
    """
    if is_label:
        return _label_keys(name)
    match name:
        case "day":
            return lambda row: (_day(row.minute, zone),)
        case "month":  # made of whole days, so that its sums are those of its days
            return lambda row: (_day(row.minute, zone)[:7],)
        case "run" | "outcome" | "price_list":
            return lambda row: (getattr(row, name) or NO_LABEL,)
        case _:
            return _keys(name)


def task_keys(name: str, *, is_label: bool = False) -> Callable[[TaskGroup], Iterable[str]] | None:
    """None for `OF_ATTEMPTS`; `is_label` as for `cost_keys`."""
    if is_label:
        return _label_keys(name)
    return None if name in OF_ATTEMPTS else _keys(name)


def _keys(name: str) -> Callable[[CostGroup | TaskGroup], Iterable[str]]:
    match name:
        case "edit" | "variant" | "quality" | "size" | "model" | "provider":
            return lambda row: (getattr(row, name) or NO_LABEL,)
        case "tag":
            return lambda row: tags_of(row.tags)
        case _:
            return _label_keys(name)


def _label_keys(name: str) -> Callable[[CostGroup | TaskGroup], Iterable[str]]:
    return lambda row: (labels_of(row.labels).get(name) or NO_LABEL,)


def together(rows: Iterable[CostGroup], zone: tzinfo) -> list[CostGroup]:
    """Rows that differ in nothing but the minute of a day, as one: a night has many minutes."""
    found: dict[tuple[str, ...], tuple[CostGroup, list[int]]] = {}
    days: dict[str, str] = {}
    for row in rows:
        day = days.get(row.minute) or days.setdefault(row.minute, _day(row.minute, zone))
        key, values = (day, *_words(row)), _sums(row)
        known = found.get(key)
        if known is None:
            found[key] = (row, [*values])
        else:
            sums = known[1]
            for number, value in enumerate(values):
                sums[number] += value
    changed: Callable[..., CostGroup] = replace
    return [changed(row, **dict(zip(_SUMS, sums, strict=True))) for row, sums in found.values()]


_SUMS = (
    "attempts", "requests", "pictures", "cost", "at_risk", "doubt", "surplus", "surplus_doubt", "quoted_low",
    "quoted_high",
)  # fmt: skip
_WORDS = tuple(each.name for each in fields(CostGroup) if each.name not in ("minute", *_SUMS))
_words, _sums = attrgetter(*_WORDS), attrgetter(*_SUMS)
