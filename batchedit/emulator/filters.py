"""
The list's filter, in both dialects that were published or seen: provider-api, section 7.

    colon    status_code:succeeded AND created_at>2026-04-01
    dotted   client_ref.EQ:'some reference'

    filter    = term, { "OR", term }
    term      = factor, { "AND", factor }
    factor    = "NOT", factor | "(", filter, ")" | condition
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<word>AND|OR|NOT)(?=[\s(]|$)|(?P<bracket>[()])"
    r"|(?P<field>[a-z_]+)(?:\.(?P<dotted>EQ|NE|GT|GTE|LT|LTE):|(?P<colon>>=|<=|>|<|=|:))"
    r"(?:'(?P<quoted>[^']*)'|(?P<bare>[^\s()']+)))"
)
_OPERATORS = {"=": "EQ", ":": "EQ", ">": "GT", ">=": "GTE", "<": "LT", "<=": "LTE"}
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda actual, value: bool(actual == value),
    "NE": lambda actual, value: bool(actual != value),
    "GT": lambda actual, value: bool(actual > value),
    "GTE": lambda actual, value: bool(actual >= value),
    "LT": lambda actual, value: bool(actual < value),
    "LTE": lambda actual, value: bool(actual <= value),
}
_TIMES = frozenset({"created_at", "started_at", "completed_at"})
_FILTERABLE = frozenset({"id", "client_ref", "status_code", "model_id", "batch_id", *_TIMES})


class BadFilter(ValueError):
    """The filter is not understood; the message says why."""


@dataclass(frozen=True, slots=True)
class Filter:
    """
    A filter that was understood.

    Attributes:
        holds: Whether a record fulfils it; strings compare case-sensitively, times as times.
        client_ref: The reference that every match must have, None if the filter does not say.
    """

    holds: Callable[[Mapping[str, Any]], bool]
    client_ref: str | None = None


def parse_filter(text: str, dialect: str) -> Filter:
    """
    Read a filter.

    Args:
        dialect: ``both``, ``dotted`` or ``colon``.

    Raises:
        BadFilter: if it is in no dialect that is switched on, or names a field that cannot be filtered.
    """
    if not text.strip():
        return Filter(lambda record: True)
    tokens, place = [], 0
    while text[place:].strip():
        token = _TOKEN.match(text, place)
        if token is None:
            raise BadFilter(f"cannot read the filter at {text[place:]!r}")
        tokens.append(token)
        place = token.end()
    parser = _Parser(tokens, dialect)
    parsed = parser.either()
    if parser.tokens:
        raise BadFilter(f"cannot read the filter at {parser.tokens[0][0]!r}")
    return parsed


class _Parser:
    def __init__(self, tokens: list[re.Match[str]], dialect: str) -> None:
        self.tokens, self._dialect = tokens, dialect

    def either(self) -> Filter:
        terms = [self._all()]
        while self._next_is("OR"):
            terms.append(self._all())
        if len(terms) == 1:
            return terms[0]
        return Filter(lambda record: any(term.holds(record) for term in terms))

    def _all(self) -> Filter:
        factors = [self._factor()]
        while self._next_is("AND"):
            factors.append(self._factor())
        if len(factors) == 1:
            return factors[0]
        reference = next((factor.client_ref for factor in factors if factor.client_ref is not None), None)
        return Filter(lambda record: all(factor.holds(record) for factor in factors), reference)

    def _factor(self) -> Filter:
        if self._next_is("NOT"):
            inner = self._factor()
            return Filter(lambda record: not inner.holds(record))
        if self._next_is("("):
            inner = self.either()
            if not self._next_is(")"):
                raise BadFilter("a bracket is not closed")
            return inner
        if not self.tokens or self.tokens[0]["field"] is None:
            raise BadFilter("a condition is missing")
        return self._condition(self.tokens.pop(0))

    def _condition(self, token: re.Match[str]) -> Filter:
        spoken = "dotted" if token["dotted"] else "colon"
        if self._dialect not in ("both", spoken):
            raise BadFilter(f"cannot read the filter at {token[0]!r}")
        field, operator = token["field"], token["dotted"] or _OPERATORS[token["colon"]]
        if field not in _FILTERABLE:
            raise BadFilter(f"{field} cannot be filtered")
        text = token["quoted"] if token["quoted"] is not None else token["bare"]
        test = _TESTS[operator]
        if field in _TIMES:
            moment = _moment(text)
            return Filter(lambda record: bool(record[field]) and test(_moment(record[field]), moment))
        reference = text if field == "client_ref" and operator == "EQ" else None
        return Filter(lambda record: test(str(record[field] or ""), text), reference)

    def _next_is(self, what: str) -> bool:
        found = bool(self.tokens) and self.tokens[0][0].strip() == what
        if found:
            self.tokens.pop(0)
        return found


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadFilter(f"{text!r} is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
