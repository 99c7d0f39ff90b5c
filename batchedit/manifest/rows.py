"""Rows from CSV, JSON Lines and globs, one at a time, each with its file and first physical line."""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import ROW_FIELDS, Given, looks_like_a_key, suggestion
from batchedit.manifest.findings import Findings
from batchedit.manifest.head import Layer

DELIMITERS = (",", ";", "\t", "|")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_SCIENTIFIC = re.compile(r"\d(?:\.\d+)?E\+\d+", re.IGNORECASE)


@dataclass(slots=True)
class Row:
    """
    One input row.

    Attributes:
        values: Variables for templates, by name.
        columns: The row as it stood, by the original column names.
        folder: For globs, the folder below the pattern's fixed part, to be mirrored; else empty.
        inline: True for an item written in the manifest itself.
        base: Folder that paths in its cells start from; None for the manifest's own.
    """

    place: Place
    layer: Layer = field(default_factory=Layer)
    values: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    inline: bool = False
    base: Path | None = None


def csv_rows(path: Path, shown: str, findings: Findings) -> Iterator[Row]:
    """
    The rows of a CSV or TSV file.

    Raises:
        ManifestError: if it cannot be read at all: encoding, no header, broken quoting.
    """
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            for row in _csv_rows(file, shown, findings):
                row.base = path.parent
                yield row
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise _refuse(
            Place(shown), "encoding", "is not UTF-8; save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
        ) from None


def _csv_rows(file: TextIO, shown: str, findings: Findings) -> Iterator[Row]:
    header_line = file.readline()
    while header_line and not header_line.strip():
        header_line = file.readline()
    file.seek(0)
    delimiter = _delimiter(header_line)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            place, line = Place(shown, line), reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = _header(cells, place, findings)
                continue
            if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
                more = f"the row has {len(cells)} cells, the header {len(names)}"
                hint = f"A cell that holds {delimiter!r} must be in quotes"
                findings.problem(Problem(place=place, code="too-many-cells", message=more, hint=hint))
                continue
            yield _row(dict(zip(names, cells, strict=False)), place, findings)
    except csv.Error as error:
        raise _refuse(Place(shown, line), "csv-syntax", f"is not valid CSV: {error}") from None
    if names is None:
        raise _refuse(Place(shown, 1), "no-header", "is empty; the first line must name the columns")


def _row(cells: dict[str, str], place: Place, findings: Findings) -> Row:
    row = Row(place, columns=cells)
    for name, cell in cells.items():
        text = cell.strip()
        if not name:
            continue
        if looks_like_a_key(text):
            findings.problem(
                Problem(
                    place=place,
                    code="key-in-manifest",
                    field=name,
                    message="this looks like an API key; keys do not belong in a manifest",
                    hint="Take it out and replace it at the provider",
                )
            )
            continue
        _set_cell(row, name, text)
        if name == "id" and _SCIENTIFIC.fullmatch(text):
            findings.problem(
                Problem(
                    place=place,
                    code="damaged-id",
                    field="id",
                    value=text,
                    message=f"{text!r} looks like a number that a spreadsheet has shortened",
                    hint="Format the column as text and export again",
                    warning=True,
                )
            )
    return row


def _set_cell(row: Row, name: str, text: str) -> None:
    if name.startswith("label."):
        if text:
            row.layer.labels[name.removeprefix("label.")] = Given(text, False, row.place)
        return
    variable = name.removeprefix("var.")
    if variable.isidentifier():
        row.values[variable] = text
    snake = re.sub(r"\W+", "_", variable).strip("_").lower()
    if snake.isidentifier():
        row.values.setdefault(snake, text)
    if name in ROW_FIELDS and name not in ("labels", "vars") and text:
        row.layer.fields[name] = Given(text, False, row.place)


def _header(cells: list[str], place: Place, findings: Findings) -> list[str]:
    names = [cell.strip() for cell in cells]
    known: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            continue
        if name in known:
            message = f"the column {name!r} stands at {known[name]} and {number}"
            findings.problem(Problem(place=place, code="duplicate-column", field=name, message=message))
        known[name] = number
        lowered = name.lower()
        near = suggestion(lowered, (field for field in ROW_FIELDS if len(field) > 3))
        if name not in ROW_FIELDS and (lowered in ROW_FIELDS or (near and _is_typo(lowered))):
            hint = near or f'Did you mean "{lowered}"?'
            findings.problem(
                Problem(
                    place=place,
                    code="near-miss-column",
                    field=name,
                    message=f"the column {name!r} is only a variable, not a field",
                    hint=hint,
                    warning=True,
                )
            )
    return names


def _is_typo(name: str) -> bool:
    """True for a name within one slip of a field: `promt`, `qualtiy`; not for `images_total` or `colour`."""
    for field_name in ROW_FIELDS:
        if len(field_name) > 3 and abs(len(name) - len(field_name)) <= 1 and name != field_name:
            if sorted(name) == sorted(field_name):
                return True
            longer, shorter = (name, field_name) if len(name) >= len(field_name) else (field_name, name)
            if len(longer) > len(shorter):
                if any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer))):
                    return True
            elif sum(a != b for a, b in zip(longer, shorter, strict=True)) == 1:
                return True
    return False


def jsonl_rows(path: Path, shown: str, findings: Findings) -> Iterator[Row]:
    """
    The rows of a JSON Lines file: one object a line. Values are data, never templates.

    Raises:
        ManifestError: if it cannot be read at all.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = _json_row(line, Place(shown, number), findings)
                    if row is not None:
                        row.base = path.parent
                        yield row
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refuse(Place(shown), "encoding", "is not UTF-8") from None


def _json_row(line: str, place: Place, findings: Findings) -> Row | None:
    try:
        data = json.loads(line, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        column = getattr(error, "colno", None)
        where = Place(place.file, place.line, column)
        findings.problem(Problem(place=where, code="json-syntax", message="is not a JSON object on one line"))
        return None
    if not isinstance(data, dict):
        findings.problem(Problem(place=place, code="json-syntax", message="is not a JSON object on one line"))
        return None
    texts = {name: _json_text(value) for name, value in data.items() if name not in ("labels", "vars", "references")}
    row = _row({name: text for name, text in texts.items() if text is not None}, place, findings)
    for name, value in _json_mapping(data.get("labels")).items():
        row.layer.labels[name] = Given(value, False, place)
    row.values.update(_json_mapping(data.get("vars")))
    references = data.get("references")
    if isinstance(references, str):
        references = [part.strip() for part in references.split("|")]
    if isinstance(references, list):
        row.layer.fields["references"] = Given(tuple(str(entry) for entry in references), False, place)
    return row


def _json_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None


def _json_mapping(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: text for name, entry in value.items() if (text := _json_text(entry)) is not None}


def glob_rows(pattern: str, root: Path, shown: str, place: Place, findings: Findings) -> Iterator[Row]:
    """
    The pictures that match a pattern, sorted; other files are skipped. A folder means everything in it.

    The id is the file's stem; sub-folders below the pattern's fixed part are mirrored in the default output.
    """
    full = str(root / pattern)
    if Path(full).is_dir():
        full = str(Path(full) / "*")
    fixed = _fixed_part(full)
    matches = sorted(glob.glob(full, recursive=True))
    pictures = [Path(match) for match in matches if Path(match).suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        message = f"no picture matches {shown!r}" + (f" ({len(matches)} other files do)" if matches else "")
        findings.problem(
            Problem(place=place, code="no-match", value=shown, message=message, hint="Put a glob in quotes")
        )
    for picture in pictures:
        folder = picture.parent.relative_to(fixed) if picture.is_relative_to(fixed) else Path()
        row = Row(Place(str(picture)), folder="" if folder == Path() else folder.as_posix())
        row.layer.fields["image"] = Given(str(picture), False, row.place)
        yield row


def _fixed_part(pattern: str) -> Path:
    parts = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    return "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _delimiter(header: str) -> str:
    """The one that occurs most often outside quotes; a sniffer fails on one column."""
    outside = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=lambda candidate: (outside.count(candidate), candidate == ","))


def _refuse(place: Place, code: str, message: str) -> ManifestError:
    return ManifestError([Problem(place=place, code=code, message=message)])
