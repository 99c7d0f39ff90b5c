"""
What the columns of a table mean: a field, a label, a variable. Worked out once per header, not once per row.

    prompt, image, ...  field       label.NAME  label       var.NAME  variable       anything else  variable
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import CELL_FIELDS, ROW_FIELDS, Given, key_problem, looks_like_a_key, suggestion
from batchedit.manifest.findings import Collector
from batchedit.manifest.layers import Layer, Row

_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,]\d+)?E[+-]?\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column.

    Attributes:
        name: As in the header; empty for a column without a name.
        variable: Its name in templates, None where it is no identifier.
        snake: Its name in lower case with underscores, None where that is no identifier either.
        label: The label that it gives, None if it gives none.
        field: True if it gives the field of its name.
    """

    name: str
    variable: str | None
    snake: str | None
    label: str | None
    field: bool


@lru_cache(maxsize=64)
def columns_of(names: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns of a header."""
    return tuple(_column(name) for name in names)


def _column(name: str) -> Column:
    if name.startswith("label.") and len(name) > len("label."):
        return Column(name, None, None, name.removeprefix("label."), False)
    variable = name.removeprefix("var.")
    snake = re.sub(r"\W+", "_", variable).strip("_").lower()
    return Column(
        name,
        variable if variable.isidentifier() else None,
        snake if snake.isidentifier() else None,
        None,
        name in CELL_FIELDS,
    )


def table_row(columns: Sequence[Column], cells: Sequence[str], place: Place, findings: Collector) -> Row:
    """A row of texts. Cells are data: nothing in them is ever a template."""
    row = Row(place, Layer())
    for column, cell in zip(columns, cells, strict=True):
        if not column.name:
            continue
        text = cell.strip()
        refused = looks_like_a_key(text)
        if refused:
            findings.problem(key_problem(place, column.name, cell=True))
            text = ""
        row.columns[column.name] = text
        if column.variable is not None:
            row.values[column.variable] = text
        if not text and not refused:
            continue
        if column.label is not None:
            row.layer.labels[column.label] = Given(text, False, place, refused)
        elif column.field:
            row.layer.fields[column.name] = Given(text, False, place, refused)
    for column in columns:
        if column.snake is not None:
            # The first of several that come to one name; a column that has the name itself wins over all.
            row.values.setdefault(column.snake, row.columns[column.name])
    _check_id(row, findings)
    return row


def near_misses(names: Sequence[str], place: Place, findings: Collector) -> None:
    """Warn of columns that are only variables but look like a field's name with a slip."""
    for name in names:
        lowered = name.lower()
        if name in ROW_FIELDS or name.startswith(("label.", "var.")):
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


def _check_id(row: Row, findings: Collector) -> None:
    given = row.layer.fields.get("id")
    if given is None or not _SCIENTIFIC.fullmatch(given.single):
        return
    findings.problem(
        Problem(
            place=row.place,
            code="damaged-id",
            field="id",
            value=given.single,
            message=f"{given.single!r} looks like a number that a spreadsheet has shortened",
            hint="Format the column as text and export again",
            warning=True,
        )
    )
