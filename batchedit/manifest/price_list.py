"""
A price list of the user's own, in the form of the shipped one (`batchedit/prices.yaml`); problems have line and column.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from batchedit.errors import ManifestError
from batchedit.manifest.fields import shortened
from batchedit.manifest.findings import Collector, Findings
from batchedit.manifest.reading import Reading
from batchedit.manifest.yaml_tree import Node, read_yaml
from batchedit.model import QUALITIES, Quote
from batchedit.money import MicroUSD, parse_usd
from batchedit.pricing import PriceLine, PriceList

_TOP = ("version", "currency", "lines")
_TEXTS = ("provider", "model", "quality", "low", "high", "source", "date")
_LINE = (*_TEXTS, "any_size", "pixels_up_to")
_WHOLE = re.compile(r"[1-9][0-9]{0,8}")


def load_prices(path: Path, shown: str) -> PriceList:
    """
    Read a price list.

    Args:
        shown: The path as the user would type it, for messages.

    Raises:
        ManifestError: with everything that is wrong with it.
    """
    findings = Findings()
    found = read_prices(path, shown, findings)
    findings.raise_if_problems()
    assert found is not None, "what cannot be read is a problem"
    return found


def read_prices(path: Path, shown: str, findings: Collector) -> PriceList | None:
    """The price list, None if anything is wrong with it; that goes to the findings."""
    try:
        tree = read_yaml(path, shown)
    except ManifestError as error:
        for problem in error.problems:
            findings.problem(problem)
        return None
    return _Reader(findings).read(tree, shown)


class _Reader:
    def __init__(self, findings: Collector) -> None:
        self._reading, self._sound = Reading(findings), True
        self._seen: set[tuple[str, ...]] = set()

    def read(self, tree: Node, shown: str) -> PriceList | None:
        reading = self._reading
        if not isinstance(tree.value, dict):
            reading.wrong(tree.place, "bad-prices", "a price list is a mapping with the keys version and lines")
            return None
        top = reading.mapping(tree, "the price list", _TOP)
        self._sound = len(top) == len(tree.value)
        texts = {name: reading.text(top[name][1], name) if name in top else None for name in ("version", "currency")}
        if not texts["version"]:
            self._wrong(tree, "the key version is missing: a date, such as 2026-11-25", "version")
        if texts["currency"] not in (None, "USD"):
            self._wrong(top["currency"][1], "amounts are in US dollars: write USD, or leave it out", "currency")
        nodes = reading.list(top["lines"][1], "lines") if "lines" in top else []
        lines = [line for node in nodes if (line := self._line(node)) is not None]
        if not nodes:
            self._wrong(tree, "the price list has no lines", "lines")
        if not self._sound:
            return None
        return PriceList(version=texts["version"] or "", lines=tuple(lines), origin=shown)

    def _line(self, node: Node) -> PriceLine | None:
        if not isinstance(node.value, dict):
            self._wrong(node, "a line is a mapping: provider, model, quality, low, high, source, date, and a size", "")
            return None
        pairs = self._reading.mapping(node, "the line", _LINE)
        if len(pairs) != len(node.value):
            self._sound = False
        given = {name: self._reading.text(child, name) or "" for name, (_, child) in pairs.items()}
        missing = [name for name in _TEXTS if not given.get(name)]
        if missing:
            self._wrong(node, f"the line has no {', '.join(missing)}", "")
            return None
        low, high = self._amount(pairs["low"][1], "low"), self._amount(pairs["high"][1], "high")
        if low is not None and high is not None and low > high:
            self._wrong(pairs["high"][1], f"{given['high']!r} is less than low, {given['low']!r}", "high")
        if given["quality"] not in QUALITIES:
            message = f"{shortened(given['quality'])!r} is not one of {', '.join(QUALITIES)}"
            self._wrong(pairs["quality"][1], message, "quality")
        if not _is_date(given["date"]):
            self._wrong(pairs["date"][1], f"{shortened(given['date'])!r} is not a date such as 2026-11-25", "date")
        up_to = given.get("pixels_up_to", "")
        if (given.get("any_size") == "true") == bool(up_to) or given.get("any_size") not in (None, "true"):
            self._wrong(node, "a line is for any_size: true, or for pixels_up_to: NUMBER", "any_size")
        elif up_to and not _WHOLE.fullmatch(up_to):
            self._wrong(pairs["pixels_up_to"][1], f"{shortened(up_to)!r} is not a number of pixels", "pixels_up_to")
        same = (given["provider"], given["model"], given["quality"], up_to)
        if same in self._seen:
            self._wrong(node, "another line is for the same provider, model, quality and size", "")
        self._seen.add(same)
        if not self._sound or low is None or high is None:
            return None
        return PriceLine(
            provider=given["provider"],
            model=given["model"],
            quality=given["quality"],
            pixels_up_to=int(up_to) if up_to else None,
            quote=Quote(low=low, high=high),
            source=given["source"],
            date=given["date"],
        )

    def _amount(self, node: Node, name: str) -> MicroUSD | None:
        text = str(node.value)
        try:
            amount = parse_usd(text)
        except ValueError as error:
            self._wrong(node, str(error), name)
            return None
        if not amount:
            self._wrong(node, "a price of 0 would let a budget buy without end", name)
            return None
        return amount

    def _wrong(self, node: Node, message: str, field: str) -> None:
        self._sound = False
        self._reading.wrong(node.place, "bad-prices", message, field=field)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
