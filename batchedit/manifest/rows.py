"""Records of CSV and TSV files, one at a time, each with its file and first physical line."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import key_problem, looks_like_a_key, shortened
from batchedit.manifest.findings import Collector
from batchedit.manifest.layers import Record

DELIMITERS = (",", ";", "\t", "|")
LONGEST_LINE = 8 * 1024 * 1024
"""Characters; no line of a table or list is that long."""
_ANNOUNCED = re.compile(r"sep=(.)\r?\n?")


def csv_records(
    path: Path, shown: str, findings: Collector, header: Callable[[tuple[str, ...], Place], None], encoding: str = ""
) -> Iterator[Record]:
    """
    The records of a CSV or TSV file; those without any text are left out.

    Args:
        shown: The path as the user would type it, for messages.
        header: Is told the columns before the first record comes.
        encoding: Empty to tell it from the file's mark.

    Raises:
        ManifestError: if it cannot be read at all: encoding, no header, broken quoting.
    """
    try:
        with path.open(encoding=encoding or marked_encoding(path), newline="") as file:
            yield from _Table(file, shown, findings, header).records()
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise wrong_encoding(shown, encoding, " (in a spreadsheet: CSV UTF-8)") from None


class _Table:
    """A table that is being read."""

    def __init__(
        self, file: TextIO, shown: str, findings: Collector, header: Callable[[tuple[str, ...], Place], None]
    ) -> None:
        self._file, self._shown, self._findings, self._on_header = file, shown, findings, header
        self._names: tuple[str, ...] = ()

    def records(self) -> Iterator[Record]:
        """The records below the header; those without any text are left out."""
        delimiter, line = self._begin()
        before = line - 1
        reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                place, line = Place(self._shown, line), before + reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if not self._names:
                    self._header(cells, place)
                    continue
                record = self._record(cells, place, delimiter)
                if record is not None:
                    yield record
        except csv.Error as error:
            raise _refuse(Place(self._shown, line), "csv-syntax", f"is not valid CSV: {error}") from None
        if not self._names:
            raise _refuse(Place(self._shown, 1), "no-header", "is empty; the first line must name the columns")

    def _begin(self) -> tuple[str, int]:
        """The delimiter, and the line that reading goes on with; the file stands at its beginning."""
        try:
            first = next(self._lines(), "")
        except csv.Error as error:
            raise _refuse(Place(self._shown, 1), "csv-syntax", f"is not valid CSV: {error}") from None
        announced = _ANNOUNCED.fullmatch(first)
        if announced is not None and announced[1] in DELIMITERS:
            return announced[1], 2  # a spreadsheet's own way to say it, in a line before the header
        while first and not first.strip():
            first = self._file.readline(LONGEST_LINE)
        self._file.seek(0)
        return _delimiter(first), 1

    def _lines(self) -> Iterator[str]:
        """The lines, none of which is longer than a table's can be: a file without line breaks is not read as one."""
        try:
            yield from lines_of(self._file)
        except LineTooLong as error:
            raise csv.Error(f"a line {error}") from None

    def _header(self, cells: list[str], place: Place) -> None:
        self._names = tuple(cell.strip() for cell in cells)
        known: dict[str, int] = {}
        for number, name in enumerate(self._names, start=1):
            if not name:
                message = f"the column {number} has no name"
                self._note(place, "unnamed-column", message, "Give it one, or leave it empty", warning=True)
            elif looks_like_a_key(name):
                self._findings.problem(key_problem(place, "", cell=True))
            elif name in known:
                message = f"the column {shortened(name)!r} stands at {known[name]} and {number}"
                self._note(place, "duplicate-column", message, field=shortened(name))
            known.setdefault(name, number)
        self._on_header(self._names, place)

    def _record(self, cells: list[str], place: Place, delimiter: str) -> Record | None:
        names = self._names
        if len(cells) != len(names):
            few = len(cells) < len(names)
            if few or any(cell.strip() for cell in cells[len(names) :]):
                message = f"the row has {len(cells)} cells, the header {len(names)}"
                hint = (
                    "Is a quote or a line break missing?"
                    if few
                    else f"A cell that holds {delimiter!r} must be in quotes"
                )
                self._note(place, "too-few-cells" if few else "too-many-cells", message, hint)
                return None
            cells = cells[: len(names)]
        for number, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
            if not name and cell.strip() and not looks_like_a_key(cell):
                message = f"there is text in the column {number}, which has no name"
                self._note(place, "unnamed-cell", message, "Give the column a name in the first line")
                return None
        return Record(place, names, cells)

    def _note(
        self, place: Place, code: str, message: str, hint: str = "", *, field: str = "", warning: bool = False
    ) -> None:
        self._findings.problem(
            Problem(place=place, code=code, message=message, hint=hint, field=field, warning=warning)
        )


class LineTooLong(Exception):
    """A line does not end where one must; the message says where that is."""


def lines_of(file: TextIO) -> Iterator[str]:
    """
    The lines of a text.

    Raises:
        LineTooLong: for one that would have to be read into memory without an end.
    """
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise LineTooLong(f"is longer than {LONGEST_LINE - 1} characters")
        yield line


def marked_encoding(path: Path) -> str:
    """UTF-16 if the file begins with its mark, else UTF-8 with or without one."""
    with path.open("rb") as file:
        head = file.read(2)
    return "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def wrong_encoding(shown: str, encoding: str, where: str = "") -> ManifestError:
    """
    What is said about a file that is not in its encoding.

    Args:
        encoding: The one that the manifest names, empty for none.
        where: How to save it otherwise.
    """
    if encoding:
        return _refuse(Place(shown), "encoding", f"is not {encoding}, which the manifest says it is")
    message = f"is not UTF-8; save it as UTF-8{where}"
    return _refuse(Place(shown), "encoding", message, "Or give its source an encoding, such as encoding: cp1252")


def _delimiter(header: str) -> str:
    """The one that occurs most often outside quotes; a sniffer fails on one column."""
    # A name in quotes may go on in the next line.
    outside = re.sub(r'"[^"]*(?:"|$)', "", header)
    return max(DELIMITERS, key=lambda candidate: (outside.count(candidate), candidate == ","))


def _refuse(place: Place, code: str, message: str, hint: str = "") -> ManifestError:
    return ManifestError([Problem(place=place, code=code, message=message, hint=hint)])
