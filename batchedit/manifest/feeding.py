"""From a source to the rows that it gives: opened, filtered, with the source's own fields over theirs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath

from batchedit.errors import Problem
from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.findings import Findings, OncePerRow, Skip
from batchedit.manifest.globs import glob_rows
from batchedit.manifest.jsonl import jsonl_rows
from batchedit.manifest.layers import Row, Source
from batchedit.manifest.rows import csv_rows


def source_rows(source: Source, root: Path, shown_root: str, findings: Findings) -> Iterator[Row]:
    """
    The rows of a source.

    Args:
        root: Folder that the source's path starts from.
        shown_root: The same as the user would type it, for places; empty for the working folder.

    Raises:
        ManifestError: if the source cannot be read at all.
    """
    yield from islice(_wanted(source, root, shown_root, findings), source.limit)


def _wanted(source: Source, root: Path, shown_root: str, findings: Findings) -> Iterator[Row]:
    requires: tuple[str, ...] | None = None
    for row in _raw_rows(source, root, shown_root, findings):
        if requires is None:
            requires = _known_columns(source, row, findings)
        missing = [name for name in requires if not _column(row, name)]
        if missing:
            findings.skip(Skip(row.place, f"no {missing[0]}"))
            continue
        row.values.update(source.variables)
        row.layer.fields.update(source.layer.fields)
        row.layer.labels.update(source.layer.labels)
        yield row


def _raw_rows(source: Source, root: Path, shown_root: str, findings: Findings) -> Iterator[Row]:
    path = root / source.where
    shown = str(PurePath(shown_root, source.where))
    collector = OncePerRow(findings)
    match source.kind:
        case "glob":
            return glob_rows(source.where, root, shown_root, source.place, findings)
        case "jsonl":
            return _fresh(jsonl_rows(path, shown, collector), collector)
        case _:
            return _fresh(csv_rows(path, shown, collector), collector)


def _fresh(rows: Iterator[Row], collector: OncePerRow) -> Iterator[Row]:
    for row in rows:
        yield row
        collector.next_row()


def _known_columns(source: Source, row: Row, findings: Findings) -> tuple[str, ...]:
    """What the source requires, without the columns that its table does not have; those are problems."""
    known = [name for name in source.requires if name in row.columns or name in row.values]
    for name in source.requires:
        if name not in known:
            names = [*row.columns, *row.values]
            message = f"{source.where} has no column {shortened(name)!r}"
            findings.problem(
                Problem(
                    place=source.place,
                    code="unknown-column",
                    field="requires",
                    value=shortened(name),
                    message=message,
                    hint=suggestion(name, names),
                )
            )
    return tuple(known)


def _column(row: Row, name: str) -> str:
    return row.columns.get(name) or row.values.get(name, "")
