"""
The result manifest: the rows that people gave, unchanged, and behind them what became of each.

    with a manifest     its columns in their order, then status, file, sha256, ...; a row for each task
    without             what the ledger knows: id, edit, variant, labels, then the same columns

Written with `raw` it is a manifest again, since columns that are no fields are variables. A row with several tasks
stands there once for each; such a table becomes a manifest again by a selection, such as one edit.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any
from urllib.parse import quote

from batchedit.errors import NothingSelected, UsageError
from batchedit.ledger.exports import Exports, TaskRow
from batchedit.manifest import Findings, Manifest
from batchedit.manifest.layers import Row
from batchedit.money import decimal_text
from batchedit.report.as_csv import guarded

COLUMNS = (
    "status", "file", "sha256", "width", "height", "bytes", "cost_usd", "attempts", "error", "verdict", "reason",
    "checks", "slot",
)  # fmt: skip
"""What is added. A cell about several pictures has a text for each, separated by ``|``."""
DELIVERY = ("file", "width", "height", "bytes", "sha256", "verdict")
"""What the sheet of a delivery adds."""
PREFIX = "batchedit_"
NEW = "new"
"""Status of a task that the ledger does not know."""


def write_results(
    reader: Exports,
    target: IO[str],
    manifest: Manifest | None,
    *,
    lines: bool = False,
    raw: bool = False,
    columns: Sequence[str] = COLUMNS,
) -> int:
    """
    Write the result manifest; returns how many rows it has.

    Args:
        manifest: Whose rows are told; None for what the ledger knows.
        lines: Write JSON Lines instead of CSV; objects of JSON Lines keep their values as they were.
        raw: Leave texts as they are that a spreadsheet would take for formulas; only then is the table a manifest
            again, cell by cell. JSON Lines are always like this.
        columns: What is added.

    Raises:
        ManifestError: if the manifest has a problem; what was written by then is of no use.
        NothingSelected: if it holds no task that is meant.
    """
    rows: Iterator[tuple[Mapping[str, Any] | Sequence[str], TaskRow | None, str]]
    if manifest is None:
        names, rows = _known_columns(reader.label_names()), _known(reader)
    else:
        names, rows = _columns(manifest), _rows(reader, manifest, lines=lines)
    added = dict(zip(columns, _added(names, columns), strict=True))
    write = _lines(target, added) if lines else _table(target, names, added, raw=raw)
    count = 0
    for original, task, slot in rows:
        write(original, _result(task, slot))
        count += 1
    if not count:
        raise NothingSelected("there is no task to tell of")
    return count


def _added(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    taken = {name.casefold() for name in names}
    return [PREFIX + name if name in taken else name for name in columns]


def _table(
    target: IO[str], names: Sequence[str], added: Mapping[str, str], *, raw: bool
) -> Callable[[Mapping[str, Any] | Sequence[str], Mapping[str, Any]], None]:
    # Only what is part of the line's end is put in quotes: a lone carriage return within a cell must be.
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow([guarded(name, raw=raw) for name in (*names, *added.values())])

    def write(original: Mapping[str, Any] | Sequence[str], result: Mapping[str, Any]) -> None:
        cells = [original.get(name, "") for name in names] if isinstance(original, Mapping) else original
        told = ("" if result[name] is None else result[name] for name in added)
        writer.writerow([guarded(cell, raw=raw) if isinstance(cell, str) else cell for cell in (*cells, *told)])

    return write


def _lines(
    target: IO[str], added: Mapping[str, str]
) -> Callable[[Mapping[str, Any] | Sequence[str], Mapping[str, Any]], None]:
    def write(original: Mapping[str, Any] | Sequence[str], result: Mapping[str, Any]) -> None:
        assert isinstance(original, Mapping), "only a table is told as cells"
        told = {**original, **{name: result[column] for column, name in added.items()}}
        target.write(json.dumps(told, ensure_ascii=False) + "\n")

    return write


def _columns(manifest: Manifest) -> list[str]:
    """The columns of all rows in the order in which they are met."""
    found: dict[str, None] = {}
    for row in manifest.rows(Findings()):
        if manifest.is_one_table and row.record is not None:
            return [*row.record.names]
        found.update(dict.fromkeys(_original(row)))
    return [*found]


def _rows(
    reader: Exports, manifest: Manifest, *, lines: bool
) -> Iterator[tuple[Mapping[str, Any] | Sequence[str], TaskRow | None, str]]:
    findings = Findings()
    for row, task in manifest.pairs(findings):
        if not reader.is_chosen(task.slot):
            continue
        original: Mapping[str, Any] | Sequence[str]
        if lines:
            original = _object(row)
        elif manifest.is_one_table and row.record is not None:
            original = row.record.cells  # also those of columns without a name
        else:
            original = _original(row)
        yield original, reader.task_row(task.slot), task.slot
    findings.raise_if_problems()


def _original(row: Row) -> dict[str, str]:
    """A row as texts by the names of columns, such that a table with these columns means the same."""
    record = row.record
    if record is None:
        fields = {name: given.single for name, given in row.layer.fields.items()}
        variables = row.values if row.inline else {}
        labels = {name: given.single for name, given in row.layer.labels.items()}
    else:
        fields = {name: cell for name, cell in zip(record.names, record.cells, strict=True) if name}
        fields |= {name: given.single for name, given in (record.lists or {}).items()}
        variables = record.variables or {}
        labels = {name: given.single for name, given in (record.labels or {}).items()}
    return {
        **fields,
        **{f"label.{name}": text for name, text in labels.items()},
        **{f"var.{name}": text for name, text in variables.items()},
    }


def _object(row: Row) -> dict[str, Any]:
    record = row.record
    if record is None or not record.text:
        return dict(_original(row))
    told: dict[str, Any] = json.loads(record.text)
    return told


def _known_columns(labels: Sequence[str]) -> list[str]:
    return ["id", "edit", "variant", *(f"label.{name}" for name in labels)]


def _known(reader: Exports) -> Iterator[tuple[Mapping[str, Any], TaskRow, str]]:
    for task in reader.task_rows():
        labels = {f"label.{name}": text for name, text in task.labels.items()}
        yield {"id": task.item_id, "edit": task.edit, "variant": task.variant, **labels}, task, task.slot


def _result(task: TaskRow | None, slot: str) -> dict[str, Any]:
    if task is None:
        return {**dict.fromkeys(COLUMNS), "status": NEW, "slot": slot}
    files = task.files
    wrong = ": ".join(text for text in (task.code, task.reason) if text)
    return {
        "status": task.state,
        "file": _several([file.path for file in files]),
        "sha256": _several([file.sha256 for file in files]),
        "width": _several([file.width for file in files]),
        "height": _several([file.height for file in files]),
        "bytes": _several([file.size_bytes for file in files]),
        "cost_usd": decimal_text(task.spent),
        "attempts": task.attempts,
        "error": wrong or None,
        "verdict": task.verdict or None,
        "reason": task.verdict_reason or None,
        "checks": _several([f"{name} {verdict}" for name, verdict in task.unmet]),
        "slot": slot,
    }


def _several(values: Sequence[str | int | None]) -> str | int | None:
    if len(values) <= 1:
        return values[0] if values else None
    return "|".join("" if value is None else str(value) for value in values)


SOURCES = ("Image Src", "Product image URL")
"""What the two generations of Shopify's exports call the column with the picture's address."""


def write_shopify(reader: Exports, target: IO[str], manifest: Manifest, prefix: str) -> int:
    """
    Write the rows of a Shopify export whose pictures are told of, with new addresses in place of the old ones, and
    nothing else changed; returns how many.

    Args:
        prefix: What an address begins with; the path of the file follows.

    Raises:
        UsageError: if the manifest is no such export, or a row has several pictures now.
        ManifestError: if it has a problem.
    """
    names = _columns(manifest) if manifest.is_one_table else []
    column = next((number for name in SOURCES for number, each in enumerate(names) if each == name), None)
    if column is None:
        wanted = " or ".join(repr(name) for name in SOURCES)
        raise UsageError(
            f"--flavour shopify needs one table with a column {wanted}", hint="name the manifest of the export"
        )
    writer, count, last = csv.writer(target, lineterminator="\r\n"), 0, None
    writer.writerow(names)
    for original, task, _ in _rows(reader, manifest, lines=False):
        if task is None:
            continue
        assert not isinstance(original, Mapping), "a table is told as cells"
        if len(task.files) != 1 or last == task.place:
            more = f"{task.place} has several pictures now, and a row of a Shopify table has one"
            raise UsageError(more, hint=f"choose one, such as --select edit:{task.edit}")
        last = task.place
        cells = [*original]
        cells[column] = prefix + quote(task.files[0].path)
        writer.writerow(cells)
        count += 1
    return count
