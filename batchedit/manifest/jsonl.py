"""Records of JSON Lines files: one object a line. Values are data, never templates; numbers keep their digits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.json_size import values_in
from batchedit.manifest.fields import Given, is_unicode, key_problem, looks_like_a_key, shortened
from batchedit.manifest.findings import Collector
from batchedit.manifest.finishing import FINISHES, Finish, is_finish_word, read_finish
from batchedit.manifest.layers import Record
from batchedit.manifest.reading import Reading
from batchedit.manifest.rows import LineTooLong, lines_of, wrong_encoding
from batchedit.manifest.yaml_tree import Node

_HINT = 'Each line is one object, such as {"id": "a", "image": "in/a.png"}'


def jsonl_records(path: Path, shown: str, findings: Collector, encoding: str = "") -> Iterator[Record]:
    """
    The records of a JSON Lines file.

    Args:
        shown: The path as the user would type it, for messages.
        encoding: Empty for UTF-8.

    Raises:
        ManifestError: if it cannot be read at all.
    """
    number = 0
    try:
        with path.open(encoding=encoding or "utf-8-sig") as file:
            for number, line in enumerate(lines_of(file), start=1):
                if not line.strip():
                    continue
                record = _record(line, Place(shown, number), findings)
                if record is not None:
                    record.text = line
                    yield record
    except LineTooLong as error:
        raise _refuse(Place(shown, number + 1), "json-syntax", f"{error}: it is no JSON Lines file") from None
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise wrong_encoding(shown, encoding) from None


_DEEPEST = 10
_LISTS = ("references", "tags")
"""Fields that may be a list."""
_MOST_VALUES = 250_000
"""Of an object."""


class _Twice(Exception):
    """A key stands twice in an object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _record(line: str, place: Place, findings: Collector) -> Record | None:
    if values_in(line) > _MOST_VALUES:
        _note(findings, place, "json-syntax", f"has more than {_MOST_VALUES} values")
        return None
    try:
        data = json.loads(line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        where = Place(place.file, place.line, error.colno)
        _note(findings, where, "json-syntax", "is not a JSON object on one line", hint=_HINT)
        return None
    except RecursionError:
        _note(findings, place, "json-syntax", "is nested too deeply")
        return None
    except _Twice as twice:
        key = str(twice)
        if looks_like_a_key(key):
            findings.problem(key_problem(place, "", cell=True))
        else:
            _note(findings, place, "duplicate-key", f"the key {shortened(key)!r} is given twice", field=shortened(key))
        return None
    if not isinstance(data, dict):
        _note(findings, place, "json-syntax", "is not a JSON object on one line", hint=_HINT)
        return None
    return object_record(data, place, findings)


def object_record(data: dict[str, Any], place: Place, findings: Collector) -> Record | None:
    """
    The record of an object whose texts and numbers are text; lists and objects only where a field takes them.

    Returns:
        None, with a problem, if a value is not what it must be.
    """
    return _Object(data, place, findings).record()


class _Object:
    """One line's object on its way to a row."""

    def __init__(self, data: dict[str, Any], place: Place, findings: Collector) -> None:
        self._data, self._place, self._findings, self._bad = data, place, findings, False

    def record(self) -> Record | None:
        """The record; None if a value in it is not what it must be."""
        data, place = self._data, self._place
        labels, variables = self._texts("labels"), self._texts("vars")
        lists = {name: given for name in _LISTS if (given := self._list(name)) is not None}
        finishes = {name: finish for name in FINISHES if (finish := self._finish(name)) is not None}
        apart = ("labels", "vars", *_LISTS, *(name for name in FINISHES if isinstance(data.get(name), dict)))
        cells = {name: self._text(value, name) for name, value in data.items() if name not in apart}
        names = (*data, *labels, *variables)
        if not all(map(is_unicode, names)):
            self._wrong("", "a key holds half of a character, such as \\ud800 without its partner")
        if any(looks_like_a_key(name) for name in names):
            self._findings.problem(key_problem(place, "", cell=True))
            return None
        if self._bad:
            return None
        return Record(
            place,
            tuple(cells),
            [cell or "" for cell in cells.values()],
            {name: Given(text, False, place) for name, text in labels.items() if text},
            variables,
            lists,
            finishes,
        )

    def _finish(self, name: str) -> Finish | None:
        """
        `post` or `checks` as in YAML: an object, or one of the words for all of it. Another text is a variable, as in a
        table.
        """
        value = self._data.get(name)
        if isinstance(value, dict) or (isinstance(value, str) and is_finish_word(value.strip(), name)):
            return read_finish(self._node(value, name), name, Reading(self._findings))
        return None

    def _node(self, value: Any, name: str, depth: int = 0) -> Node:
        """A value as the reader of YAML has it; all of it stands in one line."""
        place = self._place
        if depth > _DEEPEST:
            self._wrong(name, "is nested too deeply")
            return Node(place, None)
        match value:
            case dict():
                for key in value:
                    if looks_like_a_key(key):
                        self._findings.problem(key_problem(place, name, cell=True))
                        return Node(place, None)
                return Node(place, {key: (place, self._node(each, name, depth + 1)) for key, each in value.items()})
            case list():
                return Node(place, [self._node(each, name, depth + 1) for each in value])
            case _:
                return Node(place, self._text(value, name))

    def _list(self, name: str) -> Given | None:
        value = self._data.get(name)
        if not isinstance(value, list):
            text = self._text(value, name)
            return Given(text, False, self._place) if text else None
        texts = [self._text(entry, name) for entry in value]
        return Given(tuple(text for text in texts if text), False, self._place)

    def _texts(self, name: str) -> dict[str, str]:
        value = self._data.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._wrong(name, "must be an object of names and texts")
            return {}
        return {key: self._text(entry, f"{name}.{key}") or "" for key, entry in value.items()}

    def _text(self, value: object, name: str) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str):
            kind = "a list" if isinstance(value, list) else "bytes" if isinstance(value, bytes) else "an object"
            self._wrong(name, f"must be text, not {kind}")
            return None
        if looks_like_a_key(value):
            self._bad = True
            self._findings.problem(key_problem(self._place, name, cell=True))
        elif not is_unicode(value):
            self._wrong(name, "holds half of a character, such as \\ud800 without its partner")
        return value.strip()

    def _wrong(self, name: str, message: str) -> None:
        self._bad = True
        name = "" if looks_like_a_key(name) else shortened(name)
        _note(self._findings, self._place, "wrong-type", message, field=name)


def _note(findings: Collector, place: Place, code: str, message: str, *, field: str = "", hint: str = "") -> None:
    findings.problem(Problem(place=place, code=code, message=message, field=field, hint=hint))


def _refuse(place: Place, code: str, message: str) -> ManifestError:
    return ManifestError([Problem(place=place, code=code, message=message)])
