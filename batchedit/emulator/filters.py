"""The list's filter, in both dialects that were published or seen: provider-api, section 7."""

from __future__ import annotations

import re
from typing import Any

_DOTTED = re.compile(r"([a-z_]+)\.(EQ|NE|GT|GTE|LT|LTE):(?:'([^']*)'|(\S+))")
_COLON = re.compile(r"([a-z_]+)(>=|<=|>|<|=|:)(?:'([^']*)'|(\S+))")
_OPERATORS = {"=": "EQ", ":": "EQ", ">": "GT", ">=": "GTE", "<": "LT", "<=": "LTE"}
_FILTERABLE = frozenset({"id", "client_ref", "status_code", "created_at", "model_id", "batch_id"})


class BadFilter(ValueError):
    """The filter is not understood; the message says why."""


def parse_filter(text: str, dialect: str) -> list[tuple[str, str, str]]:
    """
    Conditions (field, operator, value), all of which must hold.

    Args:
        dialect: ``both``, ``dotted`` or ``colon``.

    Raises:
        BadFilter: if a part is in no dialect that is switched on, or names a field that cannot be filtered.
    """
    conditions = []
    for part in re.split(r"\s+AND\s+", text.strip()):
        dotted = _DOTTED.fullmatch(part) if dialect != "colon" else None
        colon = _COLON.fullmatch(part) if dialect != "dotted" and dotted is None else None
        match = dotted or colon
        if match is None:
            raise BadFilter(f"cannot read the filter {part!r}")
        operator = match[2] if dotted else _OPERATORS[match[2]]
        if match[1] not in _FILTERABLE:
            raise BadFilter(f"{match[1]} cannot be filtered")
        conditions.append((match[1], operator, match[3] if match[3] is not None else match[4]))
    return conditions


def matches(record: dict[str, Any], conditions: list[tuple[str, str, str]]) -> bool:
    """True if a record fulfils every condition; values are compared as text."""
    return all(_holds(str(record.get(name) or ""), operator, value) for name, operator, value in conditions)


def _holds(actual: str, operator: str, value: str) -> bool:
    match operator:
        case "EQ":
            return actual == value
        case "NE":
            return actual != value
        case "GT":
            return actual > value
        case "GTE":
            return actual >= value
        case "LT":
            return actual < value
        case _:
            return actual <= value
