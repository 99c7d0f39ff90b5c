"""
From the records of a table to rows: what its columns are by name, by `map` and by a preset; what later rows of a
product leave to its first one; one row for each of several pictures in a cell.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.columns import Columns, columns_of, is_known, near_misses, table_row
from batchedit.manifest.fields import Given, looks_like_a_key, shortened, suggestion
from batchedit.manifest.findings import OncePerRow, Skip
from batchedit.manifest.layers import Record, Row, Source
from batchedit.manifest.presets import PRESETS, Preset, filled_columns, recognise, resolve

_LAYOUTS = 64
_LISTED = 12
_SCHEME = re.compile(r"\s*https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """
    What the columns of one header are.

    Attributes:
        columns: By what they give.
        image: Number of the column with the picture; None without one.
        group: Number of the column by which rows belong to one product.
        fill: Numbers of the columns that later rows leave to the first one.
        requires: Column or variable, and the number of the column, of what no row may leave empty.
        position: True if a column says which of a product's pictures this is.
    """

    columns: Columns
    image: int | None
    group: int | None
    fill: tuple[int, ...]
    requires: tuple[tuple[str, int], ...]
    position: bool


class Shape:
    """
    Makes rows of a table's records.

    Args:
        source: With `preset`, `mapping`, `requires` and `strict`.
        shown: The table as the user would type it, for messages.
        base: Folder that paths in its cells start from.
    """

    def __init__(self, source: Source, shown: str, base: Path, findings: OncePerRow) -> None:
        self._source, self._shown, self._base, self._findings = source, shown, base, findings
        name = "" if source.preset is None else source.preset.single
        self._preset: Preset | None = PRESETS.get(name)
        self._id = self._template_of_id()
        told = () if source.pattern is None else source.pattern.names
        self._requires = tuple(name for name in source.requires if name not in told)
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._complete = False
        self._met: dict[str, None] = {}
        self._group: str | None = None
        self._first = Record(Place(shown), (), [])
        self._pictures = 0

    def header(self, names: tuple[str, ...], place: Place) -> None:
        """
        Take the columns of a table that has the same ones in all of its records.

        Raises:
            ManifestError: if it lacks a column that the preset needs.
        """
        self._complete = True
        self._meet(names, place)
        self._check(names, place)

    def rows(self, record: Record) -> Iterator[Row]:
        """The rows of a record: none if it lacks what it needs, several if a cell names several pictures."""
        names = record.names
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layout(names)
            if not self._complete:
                self._meet(names, record.place)
            if len(self._layouts) < _LAYOUTS:
                self._layouts[names] = layout
        cells = record.cells if layout.group is None else self._filled(record, layout)
        preset = self._preset
        if preset is not None and layout.image is None and "image" not in self._source.layer.fields:
            self._findings.skip(Skip(record.place, "no image"))
            return
        pictures = [""] if layout.image is None else [cells[layout.image]]
        if preset is not None and preset.several:
            pictures = split_pictures(pictures[0], preset.several) or [""]
        for number, picture in enumerate(pictures, start=1):
            if layout.image is not None and picture != cells[layout.image]:
                cells = [*cells[: layout.image], picture, *cells[layout.image + 1 :]]
            row = self._row(record, cells, layout)
            if row is None:
                continue
            if preset is not None and preset.counts:
                # Rows that the source leaves out count too: what is wanted must not change what a picture is called.
                self._pictures = self._pictures + 1 if preset.group else number
                if not layout.position or len(pictures) > 1 or not row.values["position"]:
                    row.values["position"] = str(self._pictures)
            missing = next((name for name in self._requires if not _value(row, name)), None)
            if missing is None:
                yield row
            else:
                self._findings.skip(Skip(record.place, f"no {missing}"))

    def end(self) -> None:
        """
        All records are read.

        Raises:
            ManifestError: if none of them had a column that the preset needs.
        """
        if not self._complete and self._met:
            self._check(tuple(self._met), Place(self._shown))

    def _row(self, record: Record, cells: list[str], layout: Layout) -> Row | None:
        for name, number in layout.requires:
            if not cells[number].strip():
                self._findings.skip(Skip(record.place, f"no {name}"))
                return None
        row = table_row(layout.columns, cells, record.place, self._findings)
        row.base = row.within = self._base
        row.record = record
        if record.labels:
            row.layer.labels.update(record.labels)
        if record.variables:
            row.values.update(record.variables)
            row.columns.update(record.variables)
        if record.lists is not None:
            row.layer.fields.update(record.lists)
        if record.finishes:
            row.layer.post, row.layer.checks = record.finishes.get("post"), record.finishes.get("checks")
        if self._preset is not None:
            tags = row.layer.fields.get("tags")
            if tags is not None and self._preset.tags and "tags" not in self._source.mapping:
                row.layer.fields["tags"] = replace(tags, text=tuple(tags.single.split(self._preset.tags)))
            if "id" in row.layer.fields:
                return row  # somebody has added a column of that name
            if self._id is not None:
                row.layer.fields["id"] = self._id
            elif self._preset.digest:
                parts = [row.values.get(name, "") for name in self._preset.digest]
                row.default_id = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        return row

    def _filled(self, record: Record, layout: Layout) -> list[str]:
        """The cells, with the product's first row in place of blanks."""
        assert layout.group is not None
        cells, group = record.cells, record.cells[layout.group].strip()
        if group and group == self._group:
            cells, first = list(cells), self._first.cells
            if record.names != self._first.names:  # objects of JSON Lines need not have the same keys
                known = dict(zip(self._first.names, first, strict=True))
                first = [known.get(name, "") for name in record.names]
            for number in layout.fill:
                if not cells[number].strip():
                    cells[number] = first[number]
            return cells
        if group and layout.fill and not any(cells[number].strip() for number in layout.fill):
            message = f"the first row of {shortened(group)!r} is not right above this one, so that nothing is copied"
            name = record.names[layout.group]
            hint = f"Sort the table by {name}, each product's first row on top"
            self._note(record.place, "no-first-row", name, group, message, hint, warning=True)
        self._group, self._first, self._pictures = group, record, 0
        return cells

    def _layout(self, names: tuple[str, ...]) -> Layout:
        mapping = self._mapping(names)
        columns = columns_of(names, tuple(sorted(mapping.items())))
        fields, variables = dict(columns.fields), dict(columns.variables)
        preset, group = self._preset, None
        requires: dict[str, int] = {}
        if preset is not None:
            group = variables.get(preset.group) if preset.group else None
            for target in ("image", preset.group):
                number = fields.get(target, variables.get(target))
                if target and number is not None:
                    requires[names[number]] = number
        fill = tuple(filled_columns(preset, names)) if preset is not None else ()
        return Layout(columns, fields.get("image"), group, fill, tuple(requires.items()), "position" in mapping)

    def _mapping(self, names: tuple[str, ...]) -> dict[str, str]:
        """Field or variable -> column, as far as the header has it."""
        mapping = resolve(self._preset.columns, names) if self._preset is not None else {}
        mapping.update((target, given.single) for target, given in self._source.mapping.items())
        return {target: name for target, name in mapping.items() if name in names}

    def _template_of_id(self) -> Given | None:
        preset, source = self._preset, self._source
        if preset is None or source.preset is None or not preset.id or "id" in source.mapping:
            return None
        return Given(preset.id, True, source.preset.place)

    def _meet(self, names: tuple[str, ...], place: Place) -> None:
        """Look at columns that have not been seen yet."""
        new = [name for name in names if name and name not in self._met]
        self._met.update(dict.fromkeys(new))
        mapped = set(self._mapping(names).values())
        unknown = [name for name in new if name not in mapped]
        if not self._source.strict:
            near_misses(unknown, place, self._findings)
            return
        known = [*self._source.mapping, "id", "image", "mask", "references", "prompt", "quality", "size", "output"]
        for name in unknown:
            if not is_known(name) and name not in self._source.requires:
                message = f"columns: strict allows no column {shortened(name)!r}"
                hint = (
                    suggestion(name.lower(), known) or "Known are the fields, label.NAME, var.NAME and what map names"
                )
                self._note(place, "unknown-column", shortened(name), "", message, hint)

    def _check(self, names: tuple[str, ...], place: Place) -> None:
        """Refuse what the source says about columns that are not there."""
        source, preset, listed = self._source, self._preset, _listed(names)
        columns = columns_of(names, tuple(sorted(self._mapping(names).items())))
        known = {*(name for name, _ in columns.variables), *names}
        known |= {"position"} if preset is not None and preset.counts else set()
        for target, given in source.mapping.items():
            if given.single not in names:
                message = f"{self._shown} has no column {shortened(given.single)!r}"
                hint = suggestion(given.single, names) or f"Its columns are: {listed}"
                self._note(given.place, "unknown-column", f"map.{target}", given.single, message, hint)
        for name in self._requires:
            if name not in known:
                message = f"{self._shown} has no column {shortened(name)!r}"
                self._note(source.place, "unknown-column", "requires", name, message, suggestion(name, known))
        if preset is None or source.preset is None:
            return
        for target in preset.needs:
            given_anyway = target in source.mapping or target in source.layer.fields
            if target not in known and not given_anyway:
                raise self._unfit(target, preset, source.preset, names, place)

    def _unfit(self, target: str, preset: Preset, given: Given, names: tuple[str, ...], place: Place) -> ManifestError:
        wanted = " or ".join(repr(name) for name in preset.columns[target] if "*" not in name)
        message = f"the preset {given.single} needs a column {wanted}; the columns of {place} are: {_listed(names)}"
        other = recognise(names)
        hint = f"Write map: {{{target}: NAME OF THE COLUMN}}"
        if other is not None and other != given.single:
            hint = f"This looks like preset: {other}"
        problem = Problem(
            place=given.place, code="preset-column", field="preset", value=given.single, message=message, hint=hint
        )
        return ManifestError([problem])

    def _note(
        self, place: Place, code: str, field: str, value: str, message: str, hint: str, *, warning: bool = False
    ) -> None:
        self._findings.problem(
            Problem(
                place=place, code=code, field=field, value=shortened(value), message=message, hint=hint, warning=warning
            )
        )


def split_pictures(cell: str, separator: str) -> list[str]:
    """
    The pictures of a cell.

    A separator within a URL is part of it: if the first picture is a URL, every picture begins like one.
    """
    parts = cell.split(separator)
    if not _SCHEME.match(parts[0]):
        return [part.strip() for part in parts if part.strip()]
    found: list[str] = []
    for part in parts:
        if not found or _SCHEME.match(part):
            found.append(part)
        else:
            found[-1] += separator + part
    return [stripped for part in found if (stripped := part.strip().rstrip(separator).strip())]


def _listed(names: tuple[str, ...]) -> str:
    shown = [name for name in names if name and not looks_like_a_key(name)]
    rest = len(shown) - _LISTED
    return shortened(", ".join(shown[:_LISTED])) + (f" and {rest} more" if rest > 0 else "")


def _value(row: Row, name: str) -> str:
    return row.columns.get(name) or row.values.get(name, "")
