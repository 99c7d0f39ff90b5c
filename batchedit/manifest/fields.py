"""
The fields of a row, an edit, the defaults: what they are called everywhere, and what their text must be.

A `Given` is a value before it is rendered: text from a cell is data and stays literal, text from YAML or from the
command line is a template.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from batchedit.errors import Place, Problem
from batchedit.manifest.findings import Collector
from batchedit.manifest.vocabulary import ROW_KEYS, TASK_KEYS, names
from batchedit.model import FORMATS, MAX_SAMPLES, QUALITIES, SIZE_PRESETS, Params, size_problem

TASK_FIELDS = names(TASK_KEYS)
"""What a row, an edit, a variant and the defaults may hold."""

ROW_FIELDS = names(ROW_KEYS)
"""What a row may hold."""

NESTED_FIELDS = frozenset({"labels", "vars", "post", "checks"})
"""What is a mapping, and no text."""

CELL_FIELDS = frozenset(ROW_FIELDS) - NESTED_FIELDS
"""What a single cell can give."""

_KEY_SHAPED = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:rf_(?:live|svc|test)_|whsec_)[A-Za-z0-9_\-]{8,}"
    r"|sk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_\-]{8,}"
    # A bare "sk-" also begins handles such as sk-beanie-black; a key goes on for long without a hyphen.
    r"|sk-[A-Za-z0-9_]{20,})"
)
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_SIZE_LIKE = re.compile(r"[0-9]+\s*[x×*]\s*[0-9]+")  # noqa: RUF001  as people write it
_SHOWN = 200
_DEFAULTS = Params()

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Given:
    """
    A field's value as written.

    Attributes:
        text: One text, or several for a list.
        template: True if it is to be rendered.
        place: Where it stands.
        refused: True if it has a problem, which is noted already; its text is gone.
    """

    text: str | tuple[str, ...]
    template: bool
    place: Place
    refused: bool = False

    @property
    def single(self) -> str:
        """The text, a list joined with ``|`` as in a cell."""
        return self.text if isinstance(self.text, str) else "|".join(self.text)

    @property
    def several(self) -> tuple[str, ...]:
        """The texts of a list; one text is split at ``|``, but not inside a template's marks."""
        if isinstance(self.text, tuple):
            return self.text
        parts = _split_at_bars(self.text) if self.template else self.text.split("|")
        return tuple(part.strip() for part in parts if part.strip())


def _split_at_bars(text: str) -> list[str]:
    """The text in pieces; a bar whose next brace is the end of a template's mark belongs to that mark."""
    parts, is_inside, ends = text.split("|"), False, []
    for part in reversed(parts):  # each says of the bar before it
        if (brace := _BRACE.search(part)) is not None:
            at = brace.start()
            is_inside = part[at : at + 2] == "}}" or (at > 0 and part[at - 1 : at + 1] == "%}")
        ends.append(is_inside)
    pieces = [[parts[0]]]
    for part, belongs in zip(parts[1:], ends[-2::-1], strict=True):
        if belongs:
            pieces[-1].append(part)
        else:
            pieces.append([part])
    return ["|".join(piece) for piece in pieces]


_BRACE = re.compile(r"[{}]")


def shortened(text: str) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """``Did you mean "x"?``, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f'Did you mean "{near[0]}"?' if near else ""


class Hints:
    """
    Suggestions for rows and other things of which there may be a million, each with a wrong word of its own: comparing
    them all would take hours. After so many comparisons there are none any more; a word that comes again is known.

    Args:
        comparisons: Each takes some microseconds.
    """

    def __init__(self, comparisons: int = 50_000) -> None:
        self._left = comparisons
        self._found: dict[str, str] = {}

    def of(self, word: str, known: Iterable[str]) -> str:
        """As `suggestion`; `known` are the same for all words."""
        if (found := self._found.get(word)) is not None:
            return found
        if self._left <= 0 or len(word) > _SHOWN:
            return ""
        near = [*islice(known, self._left)]
        self._left -= len(near) + 1
        return self._found.setdefault(word, suggestion(word, near))


def looks_like_a_key(text: str) -> bool:
    """True for text that has the shape of an API key."""
    return _KEY_SHAPED.search(text) is not None


def is_unicode(text: str) -> bool:
    """False for a text with a lone surrogate: JSON and names of files can hold one, and nothing that we keep can."""
    try:
        return text.isascii() or text.encode() != b""
    except UnicodeEncodeError:
        return False


def key_problem(place: Place, name: str, *, cell: bool = False) -> Problem:
    """What is said about a key in a manifest, or in a cell of a table; the key itself is never repeated."""
    return Problem(
        place=place,
        code="key-in-manifest",
        field="" if looks_like_a_key(name) else name,
        message="this looks like an API key; keys do not belong in a manifest",
        hint="Take it out and replace it at the provider"
        if cell
        else "Take it out, replace it at the provider, and set it in the environment",
    )


@dataclass(frozen=True, slots=True)
class Read:
    """
    A task's parameters as read.

    Attributes:
        params: With the default in place of each that is wrong.
        inline: True if the answer shall carry the pictures itself.
        refused: Names of the fields that are wrong; their problems are noted.
    """

    params: Params
    inline: bool
    refused: frozenset[str]


def read_params(fields: Mapping[str, Given], findings: Collector) -> Read:
    """The parameters. All of them are read, so that one mistake does not hide the next."""
    refused: set[str] = set()

    def read(name: str, reader: Callable[[Given, Collector], _T | None], default: _T) -> _T:
        if name not in fields:
            return default
        value = None if fields[name].refused else reader(fields[name], findings)
        if value is None:
            refused.add(name)
            return default
        return value

    params = Params(
        quality=read("quality", read_quality, _DEFAULTS.quality),
        size=read("size", read_size, _DEFAULTS.size),
        format=read("format", read_format, _DEFAULTS.format),
        samples=read("n", read_count, _DEFAULTS.samples),
    )
    inline = read("sync_mode", lambda given, to: read_flag("sync_mode", given, to), False)
    return Read(params, inline, frozenset(refused))


def read_choice(name: str, given: Given, allowed: tuple[str, ...], findings: Collector) -> str | None:
    """One of a few words; None, with a problem, if it is none of them."""
    text = given.single.strip()
    if text in allowed:
        return text
    message = f"{shortened(text)!r} is not one of {', '.join(allowed)}"
    _bad(name, given, message, findings, suggestion(text.lower(), allowed) or _of_another_kind(name, given))
    return None


def read_quality(given: Given, findings: Collector) -> str | None:
    """The quality."""
    return read_choice("quality", given, QUALITIES, findings)


def read_format(given: Given, findings: Collector) -> str | None:
    """The format; ``jpg`` is a known spelling of ``jpeg``."""
    if given.single.strip().lower() == "jpg":
        return "jpeg"
    return read_choice("format", given, FORMATS, findings)


def read_size(given: Given, findings: Collector) -> str | None:
    """The size, checked by the published rules."""
    text = given.single.strip().lower()
    problem = size_problem(text) if len(text) < _SHOWN else "the size is no size"
    if problem is None:
        return text
    hint = ""
    if not _SIZE_LIKE.match(text):
        hint = (suggestion(text, SIZE_PRESETS) if text.isidentifier() else "") or _of_another_kind("size", given)
    _bad("size", given, problem, findings, hint)
    return None


def _of_another_kind(name: str, given: Given) -> str:
    """What to do about a column such as the sizes of shoes, which has a field's name and means something else."""
    default = {"size": "auto", "quality": _DEFAULTS.quality, "format": _DEFAULTS.format}[name]
    return "" if given.template else f"If this column is about something else, write {name}: {default} in the source"


def read_count(given: Given, findings: Collector) -> int | None:
    """How many pictures."""
    text = given.single.strip()
    if len(text) == 1 and text in "123456789"[:MAX_SAMPLES]:
        return int(text)
    _bad("n", given, f"{shortened(text)!r} is not a whole number from 1 to {MAX_SAMPLES}", findings)
    return None


def read_flag(name: str, given: Given, findings: Collector) -> bool | None:
    """True or false."""
    text = given.single.strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    _bad(name, given, f"{shortened(given.single.strip())!r} is neither true nor false", findings)
    return None


def _bad(name: str, given: Given, message: str, findings: Collector, hint: str = "") -> None:
    value = shortened(given.single.strip())
    findings.problem(
        Problem(place=given.place, code=f"bad-{name}", field=name, value=value, message=message, hint=hint)
    )
