"""Figures as CSV for finance: one row for each combination of what is grouped by, amounts as plain decimals."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence

from batchedit.grouping import OF_ATTEMPTS
from batchedit.money import decimal_text
from batchedit.summary import Money

MARK = "\ufeff"
"""Some spreadsheets take UTF-8 for another encoding without it."""

_COUNTS = ("requests", "attempts", "pictures")
_TASKS = ("delivered", "reviewed", "approved")
_AMOUNTS = ("spent", "useful", "wasted", "at_risk", "quoted_low", "quoted_high")
# The wide ones are what some spreadsheets turn into the narrow ones.
_FORMULA = re.compile(
    r"\A[\t\r\n]|(?:\A|[\r\n])(?:(?![\r\n])[\s\x00-\x1f\ufeff\u200b])*[=+\-@|%\uff1d\uff0b\uff0d\uff20]"
)
"""What a program may take for a formula, at the beginning or where a cell that is taken apart goes on."""


def figures_csv(
    groups: Mapping[tuple[str, ...], Money],
    names: Sequence[str],
    *,
    world: str,
    raw: bool = False,
    yielded: Collection[str] = (),
) -> str:
    """
    The table.

    Args:
        names: What is grouped by; a column each.
        world: Whose money it is: ``real``, or that of a ``rehearsal``, which is not.
        raw: Leave texts as they are that a spreadsheet would take for formulas.
        yielded: As in `Figures`: their columns are called ``label.NAME``, as in the table of `export csv`.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    tasks = () if OF_ATTEMPTS & {*names}.difference(yielded) else _TASKS
    heads = (f"label.{name}" if name in yielded else name for name in names)
    writer.writerow([*(guarded(head, raw=raw) for head in heads), *_COUNTS, *tasks, *_AMOUNTS, "currency", "world"])
    for values, money in groups.items():
        writer.writerow(
            [
                *(guarded(value, raw=raw) for value in values),
                *(getattr(money, name) for name in (*_COUNTS, *tasks)),
                *(decimal_text(getattr(money, name)) for name in _AMOUNTS),
                "USD",
                world,
            ]
        )
    return file.getvalue()


def guarded(text: str, *, raw: bool = False) -> str:
    """
    A text that no spreadsheet takes for a formula: an apostrophe in front makes it plain text.

    One that has apostrophes in front of a formula already gets one more, so that `unguarded` gives back every text as
    it was.
    """
    return f"'{text}" if not raw and _is_formula(text) else text


def unguarded(text: str) -> str:
    """The text that `guarded` has made this of."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return _FORMULA.search(text.lstrip("'")) is not None
