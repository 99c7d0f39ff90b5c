"""
What the columns of a table mean: a field, a label, a variable. Worked out once per header, not once per row.

    prompt, image, ...  field       label.NAME  label       var.NAME  variable       anything else  variable
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import CELL_FIELDS, ROW_FIELDS, Given, key_problem, looks_like_a_key, suggestion
from batchedit.manifest.findings import Collector
from batchedit.manifest.layers import Layer, Row

_KEY_NAMES = frozenset({"id", "sku", "variant_sku", "product_id", "item_id", "article_number", "code", "key", "handle"})
_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,]\d+)?E[+-]?\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Columns:
    """
    The columns of a header, sorted by what they give; each by its number from 0.

    Attributes:
        names: As in the header; empty for a column without a name.
        named: Name and number of each column that has a name.
        variables: Names in templates: as in the header, and in lower case with underscores where that is free.
        fields: Fields.
        labels: Labels.
        keys: Columns that ids are made of: what a spreadsheet has damaged in them is lost for good.
    """

    names: tuple[str, ...]
    named: tuple[tuple[str, int], ...]
    variables: tuple[tuple[str, int], ...]
    fields: tuple[tuple[str, int], ...]
    labels: tuple[tuple[str, int], ...]
    keys: tuple[tuple[str, int], ...]


@lru_cache(maxsize=64)
def columns_of(names: tuple[str, ...], mapping: tuple[tuple[str, str], ...] = ()) -> Columns:
    """
    The columns of a header.

    Args:
        mapping: Pairs of a field, a variable or ``label.NAME`` and the column that gives it. It takes the name away
            from a column that is called so, which stays reachable by ``row``.
    """
    named = {name: number for number, name in enumerate(names) if name}
    mapped = {target: named[name] for target, name in mapping if name in named}
    variables: dict[str, int] = {}
    snakes: dict[str, int] = {}
    fields: dict[str, int] = {}
    labels: dict[str, int] = {}
    for name, number in named.items():
        if name.startswith("label.") and len(name) > len("label."):
            labels[name.removeprefix("label.")] = number
            continue
        variable = name.removeprefix("var.")
        snake = re.sub(r"\W+", "_", variable).strip("_").lower()
        if variable.isidentifier():
            variables[variable] = number
        if snake.isidentifier():
            snakes.setdefault(snake, number)
        if name in CELL_FIELDS:
            fields[name] = number
    # The first of several that come to one name; a column that has the name itself wins, and `mapping` over all.
    variables = {**snakes, **variables}
    for target, number in mapped.items():
        if target.startswith("label."):
            labels[target.removeprefix("label.")] = number
            continue
        variables[target] = number
        if target in CELL_FIELDS:
            fields[target] = number
    numbers = {number: name for name, number in variables.items() if name in _KEY_NAMES}
    keys = {("id" if number == fields.get("id") else names[number]): number for number in numbers}
    return Columns(names, *(tuple(found.items()) for found in (named, variables, fields, labels, keys)))


def table_row(columns: Columns, cells: Sequence[str], place: Place, findings: Collector) -> Row:
    """A row of texts. Cells are data: nothing in them is ever a template."""
    texts = [cell.strip() for cell in cells]
    refused: set[int] = set()
    if looks_like_a_key("\0".join(texts)):
        for name, number in columns.named:
            if looks_like_a_key(texts[number]):
                findings.problem(key_problem(place, name, cell=True))
                texts[number] = ""
                refused.add(number)
    fields = {
        name: Given(texts[number], False, place, number in refused)
        for name, number in columns.fields
        if texts[number] or number in refused
    }
    labels = {
        name: Given(texts[number], False, place, number in refused)
        for name, number in columns.labels
        if texts[number] or number in refused
    }
    row = Row(
        place,
        Layer(fields, labels),
        {name: texts[number] for name, number in columns.variables},
        {name: texts[number] for name, number in columns.named},
    )
    for name, number in columns.keys:
        if "e" in texts[number].lower() and _SCIENTIFIC.fullmatch(texts[number]):
            findings.problem(_damaged(name, texts[number], place))
    return row


def is_known(name: str) -> bool:
    """True for a column whose name alone says that it is a field, a label or a variable."""
    return name in CELL_FIELDS or (name.startswith(("label.", "var.")) and not name.endswith("."))


def near_misses(names: Iterable[str], place: Place, findings: Collector) -> None:
    """Warn of columns that are only variables but look like a field's name with a slip."""
    for name in names:
        lowered = name.lower()
        # Every shop's export has a column Tags, or one that is called nearly so.
        if name in ROW_FIELDS or name.startswith(("label.", "var.")) or lowered in ("tag", "tags"):
            continue
        if lowered in CELL_FIELDS:
            hint = f'Did you mean "{lowered}"?'
        elif any(_is_slip(lowered, field) for field in CELL_FIELDS):
            hint = suggestion(lowered, (field for field in CELL_FIELDS if _is_slip(lowered, field)))
        else:
            continue
        message = f"the column {name!r} is only a variable, not a field"
        findings.problem(
            Problem(place=place, code="near-miss-column", field=name, message=message, hint=hint, warning=True)
        )


def _is_slip(name: str, field: str) -> bool:
    """True for a name one slip away from a field: `promt`, `qualtiy`; not for `images_total` or `colour`."""
    if len(field) <= 3 or abs(len(name) - len(field)) > 1:
        return False
    if sorted(name) == sorted(field):
        return True
    longer, shorter = (name, field) if len(name) >= len(field) else (field, name)
    if len(longer) > len(shorter):
        return any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))
    return sum(a != b for a, b in zip(longer, shorter, strict=True)) == 1


def _damaged(name: str, text: str, place: Place) -> Problem:
    return Problem(
        place=place,
        code="damaged-id",
        field=name,
        value=text,
        message=f"{text!r} looks like a number that a spreadsheet has shortened",
        hint="Format the column as text and export again",
        warning=True,
    )
