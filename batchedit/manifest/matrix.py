"""
`matrix`, a short way to write variants: every combination of the values of some names, less those in `exclude`.

    matrix: {colour: [red, blue], angle: [front, back]}        red-front, red-back, blue-front, blue-back
    exclude: [{colour: blue, angle: back}]                     less blue-back

A variant's name is made from its values alone, so that it stays the same whatever else is added.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict

from batchedit.errors import Place
from batchedit.manifest.fields import Hints, shortened
from batchedit.manifest.layers import Edit, Layer
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.yaml_tree import Node

MAX_COMBINATIONS = 10_000
RESERVED = ("id", "stem", "image", "edit", "variant", "sample", "ext", "line", "source", "row")
"""Names that templates know already."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")

_COMPARISONS = 20_000
"""For suggestions, of each matrix and name."""

Axes = dict[str, list[str]]


class MatrixReader:
    """
    Makes the variants of one edit from its matrix.

    Args:
        edit: Gets the variants and their values.
        reading: Where problems go.
    """

    def __init__(self, edit: Edit, reading: Reading) -> None:
        self._edit, self._reading = edit, reading
        self._field = f"edits.{edit.name}"
        self._hints: defaultdict[str, Hints] = defaultdict(lambda: Hints(_COMPARISONS))

    def read(self, pairs: Pairs) -> None:
        """Take `matrix` and `exclude` among the pairs of the edit."""
        if "matrix" not in pairs:
            if "exclude" in pairs:
                self._wrong(pairs["exclude"][0], "exclude", "exclude goes with matrix")
            return
        place, node = pairs["matrix"]
        if "variants" in pairs:
            self._wrong(place, "matrix", "an edit has variants or a matrix, not both", hint="Take one of them out")
            return
        axes = self._axes(node)
        if axes is None:
            return
        count = math.prod(len(values) for values in axes.values())
        if count > MAX_COMBINATIONS:
            self._wrong(place, "matrix", f"has {count} combinations; at most {MAX_COMBINATIONS} are allowed")
            return
        left = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        if "exclude" in pairs:
            left = self._without(left, axes, pairs["exclude"][1])
            if not left:
                self._wrong(pairs["exclude"][0], "exclude", "leaves no combination")
        for values in left:
            self._add(values, place)

    def _axes(self, node: Node) -> Axes | None:
        """The names and their values; None if something is wrong with them."""
        axes: Axes = {}
        pairs = self._reading.mapping(node, f"{self._field}.matrix", None)
        if not pairs:
            if node.value is None or isinstance(node.value, dict):
                self._wrong(node.place, "matrix", "is empty", hint="Write: matrix: {colour: [red, blue]}")
            return None
        good = True
        for name, (place, child) in pairs.items():
            if not name.isidentifier() or name in RESERVED:
                good = False
                what = "is a name of batchedit's own" if name in RESERVED else "is no name for a template"
                self._wrong(place, "matrix", f"{shortened(name)!r} {what}", hint="Use letters and underscores")
            values = self._values(name, child)
            good = good and values is not None
            axes[name] = values or []
        return axes if good else None

    def _values(self, name: str, node: Node) -> list[str] | None:
        field = f"matrix.{name}"
        if not isinstance(node.value, list) or not node.value:
            self._wrong(node.place, field, "must be a list of values", hint=f"Write: {name}: [one, other]")
            return None
        values: list[str] = []
        seen: set[str] = set()
        good = True
        for child in node.value:
            text = self._reading.text(child, f"{self._field}.{field}")
            if text is None:
                if child.value is None:
                    self._wrong(child.place, field, "a value is empty")
                good = False
            elif not _slug(text):
                self._wrong(child.place, field, f"{shortened(text)!r} has no letter or digit to make a name of")
                good = False
            elif text in seen:
                self._wrong(child.place, field, f"the value {shortened(text)!r} is given twice")
                good = False
            else:
                values.append(text)
                seen.add(text)
        return values if good else None

    def _without(self, left: list[dict[str, str]], axes: Axes, node: Node) -> list[dict[str, str]]:
        for entry in self._reading.list(node, "exclude"):
            pairs = self._reading.mapping(entry, "exclude", None)
            wanted: dict[str, str] = {}
            good = bool(pairs)
            if not pairs and (entry.value is None or isinstance(entry.value, dict)):
                self._wrong(entry.place, "exclude", "an entry is empty", hint=f"Name a value of: {', '.join(axes)}")
            for name, (place, child) in pairs.items():
                text = self._reading.text(child, f"{self._field}.exclude.{shortened(name)}")
                if name not in axes:
                    hint = self._hints[""].of(name, axes) or f"Known are: {', '.join(axes)}"
                    self._wrong(place, "exclude", f"the matrix has no {shortened(name)!r}", hint=hint)
                    good = False
                elif text is None or text not in axes[name]:
                    if text is not None or child.value is None:
                        hint = self._hints[name].of(text or "", axes[name]) or f"Known are: {', '.join(axes[name])}"
                        message = f"the matrix has no {name} {shortened(text or '')!r}"
                        self._wrong(child.place, "exclude", message, hint=hint)
                    good = False
                else:
                    wanted[name] = text
            if good:
                rest = [values for values in left if any(values[name] != text for name, text in wanted.items())]
                if len(rest) == len(left):
                    self._wrong(entry.place, "exclude", "takes nothing away that an earlier entry has not")
                left = rest
        return left

    def _add(self, values: dict[str, str], place: Place) -> None:
        name = "-".join(_slug(text) for text in values.values())
        if not self._reading.is_name(name, place, "a variant"):
            return
        other = self._edit.values.get(name)
        if other is not None:
            shown = " and ".join(str(tuple(combination.values())) for combination in (other, values))
            self._wrong(
                place, "matrix", f"{shown} would both be called {name}", hint="Use variants, with names of yours"
            )
            return
        self._edit.variants[name] = Layer()
        self._edit.values[name] = values

    def _wrong(self, place: Place, field: str, message: str, *, hint: str = "") -> None:
        self._reading.wrong(place, "bad-matrix", message, field=f"{self._field}.{field}", hint=hint)


def _slug(text: str) -> str:
    return _UNSAFE.sub("-", text).strip("-.")
