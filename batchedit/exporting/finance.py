"""For finance: a CSV with a row for each request that was sent, each label in a column of its own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import IO

from batchedit.ledger.exports import Exports, SpentRow
from batchedit.money import decimal_text
from batchedit.report.as_csv import guarded

COLUMNS = (
    "item", "edit", "variant", "slot", "revision", "provider", "model", "quality", "size", "samples", "state",
    "outcome", "attempts", "pictures", "cost", "basis", "at_risk", "currency", "world",
)  # fmt: skip
"""The columns behind the day and the labels."""


def write_finance(reader: Exports, target: IO[str], *, zone: tzinfo = UTC, raw: bool = False) -> int:
    """
    Write the table; returns how many rows it has.

    Args:
        zone: Whose midnight ends a day. A request's day is that on which its last attempt ended, or began if it is
            open.
        raw: Leave texts as they are that a spreadsheet would take for formulas.
    """
    names = reader.label_names()
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow(["day", *(guarded(name, raw=raw) for name in _headers(names)), *COLUMNS])
    count, world = 0, reader.world()
    for row in reader.spent_rows():
        texts = [_day(row.last_at, zone), *(row.labels.get(name, "") for name in names), *_cells(row), world]
        writer.writerow([guarded(text, raw=raw) for text in texts])
        count += 1
    return count


def _headers(names: Sequence[str]) -> list[str]:
    """Labels by their names; ``label.NAME`` where a column of ours has that name."""
    taken = {"day", *COLUMNS}
    return [f"label.{name}" if name.casefold() in taken else name for name in names]


def _cells(row: SpentRow) -> list[str]:
    return [
        row.item_id,
        row.edit,
        row.variant,
        row.slot,
        str(row.revision),
        row.provider,
        row.model,
        row.quality,
        row.size,
        str(row.samples),
        row.state,
        row.outcome,
        str(row.attempts),
        str(row.pictures),
        decimal_text(row.spent),
        row.basis,
        decimal_text(row.at_risk),
        "USD",
    ]


def _day(moment: str, zone: tzinfo) -> str:
    return moment[:10] if zone is UTC else datetime.fromisoformat(moment).astimezone(zone).date().isoformat()
