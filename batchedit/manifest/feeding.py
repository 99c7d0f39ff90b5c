"""From a source to the rows that it gives: opened, filtered, with the source's own fields over theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import CELL_FIELDS, Given, shortened, suggestion
from batchedit.manifest.findings import Findings, OncePerRow, Skip
from batchedit.manifest.finishing import laid_over
from batchedit.manifest.globs import glob_rows
from batchedit.manifest.imagefolder import imagefolder_rows
from batchedit.manifest.jsonl import jsonl_records
from batchedit.manifest.layers import Record, Row, Source
from batchedit.manifest.parquet import parquet_columns, parquet_records
from batchedit.manifest.patterns import Pattern
from batchedit.manifest.refs import stem_of
from batchedit.manifest.rows import csv_records
from batchedit.manifest.shaping import Shape
from batchedit.manifest.templates import TemplateProblem, holds
from batchedit.manifest.urls import listed_urls, url_rows

TABLE_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "urls",
}  # fmt: skip
"""What a file is, by its extension."""


def source_rows(source: Source, root: Path, shown_root: str, findings: Findings) -> Iterator[Row]:
    """
    The rows of a source.

    Args:
        root: Folder that the source's path starts from.
        shown_root: The same as the user would type it, for places; empty for the working folder.

    Raises:
        ManifestError: if the source cannot be read at all.
    """
    yield from islice(_Feed(source, root, shown_root, findings).rows(), source.limit)


def columns_of_file(path: Path, encoding: str = "") -> tuple[str, ...]:
    """
    The columns of a table: of its header, or of the first object of JSON Lines.

    Args:
        encoding: Empty to tell it from the file's mark.

    Raises:
        ManifestError: if it cannot be read.
    """
    quiet, found = Findings(), list[str]()
    match TABLE_KINDS.get(path.suffix.lower()):
        case "parquet":
            return parquet_columns(path, path.name)
        case "jsonl":
            return next((record.names for record in jsonl_records(path, path.name, quiet, encoding)), ())
        case _:
            for _ in csv_records(path, path.name, quiet, lambda names, place: found.extend(names), encoding):
                break
            return tuple(found)


class _Feed:
    """The rows of one source, for one walk."""

    def __init__(self, source: Source, root: Path, shown_root: str, findings: Findings) -> None:
        self._source, self._root, self._shown_root = source, root, shown_root
        self._findings, self._row_findings = findings, OncePerRow(findings)

    def rows(self) -> Iterator[Row]:
        """The rows that are wanted."""
        source, findings = self._source, self._row_findings
        for row in self._all():
            if (source.pattern is None or self._taken_apart(row, source.pattern)) and self._has_all(row):
                row.values.update(source.variables)
                if source.condition is None or self._holds(row, source.condition):
                    row.layer.fields.update(source.layer.fields)
                    row.layer.labels.update(source.layer.labels)
                    row.layer.post = laid_over(row.layer.post, source.layer.post)
                    row.layer.checks = laid_over(row.layer.checks, source.layer.checks)
                    yield row
            findings.next_row()

    def _all(self) -> Iterator[Row]:
        source, findings = self._source, self._findings
        path, shown = self._root / source.where, str(PurePath(self._shown_root, source.where))
        match source.kind:
            case "glob":
                self._check_requires()
                return glob_rows(source.where, self._root, self._shown_root, source.place, self._findings)
            case "urls":
                self._check_requires()
                if source.urls:
                    return url_rows(source.urls, source.urls, findings)
                first = listed_urls(path, shown, Findings(), source.encoding)
                return url_rows(first, listed_urls(path, shown, findings, source.encoding), findings)
            case "imagefolder":
                return imagefolder_rows(path, shown, source.place, findings, self._metadata)
            case _:
                return self._table(source, path, shown, source.kind)

    def _metadata(self, path: Path, shown: str) -> Iterator[Row]:
        source = self._source
        if source.preset is None:
            source = replace(source, preset=Given("imagefolder", False, source.place))
        return self._table(source, path, shown, TABLE_KINDS[path.suffix])

    def _table(self, source: Source, path: Path, shown: str, kind: str) -> Iterator[Row]:
        shape = Shape(source, shown, path.parent, self._row_findings)
        for record in self._records(shape, path, shown, kind):
            yield from shape.rows(record)
            self._row_findings.next_row()
        shape.end()

    def _records(self, shape: Shape, path: Path, shown: str, kind: str) -> Iterator[Record]:
        findings, encoding = self._findings, self._source.encoding
        match kind:
            case "jsonl":
                return jsonl_records(path, shown, findings, encoding)
            case "parquet":
                return parquet_records(path, shown, findings, shape.header)
            case _:
                return csv_records(path, shown, findings, shape.header, encoding)

    def _check_requires(self) -> None:
        """Refuse what a source without a table cannot have."""
        source = self._source
        known = () if source.pattern is None else source.pattern.names
        for name in source.requires:
            if name not in known:
                message = f"{shortened(source.where) or 'the list'} has no column {shortened(name)!r}"
                self._note(source.place, "unknown-column", "requires", name, message, suggestion(name, known))

    def _has_all(self, row: Row) -> bool:
        """True unless the source requires what a row without a table does not have."""
        if self._source.kind not in ("glob", "urls"):
            return True
        return all(row.values.get(name) for name in self._source.requires)

    def _taken_apart(self, row: Row, pattern: Pattern) -> bool:
        values = pattern.match(row.below)
        if values is None:
            self._row_findings.skip(Skip(row.place, f"does not match the pattern {pattern.text}"))
            return False
        row.values.update(values)
        for name, value in values.items():
            if name in CELL_FIELDS:
                row.layer.fields[name] = Given(value, False, row.place)
        return True

    def _holds(self, row: Row, condition: Given) -> bool:
        names: dict[str, Any] = {
            **row.values,
            "row": row.columns,
            "line": row.place.line or "",
            "source": row.place.file,
        }
        image = row.layer.fields.get("image")
        if image is not None:
            names["image"] = image.single
            if "stem" in condition.single:
                names["stem"] = stem_of(image.single)
        try:
            held = holds(condition.single, names)
        except TemplateProblem as problem:
            message = f"the condition {problem}"
            self._note(condition.place, "condition", "where", condition.single, message, problem.hint)
            return False
        if not held:
            self._row_findings.skip(Skip(row.place, f"where is false: {shortened(condition.single)}"))
        return held

    def _note(self, place: Place, code: str, field: str, value: str, message: str, hint: str) -> None:
        self._row_findings.problem(
            Problem(place=place, code=code, field=field, value=shortened(value), message=message, hint=hint)
        )


def names_pictures(path: Path) -> bool:
    """True for a table with the column ``file_name``; False also for one that is no text."""
    try:
        return path.suffix == ".parquet" or "file_name" in columns_of_file(path)
    except ManifestError:
        return False
