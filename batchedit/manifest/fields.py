"""
The fields of a row, an edit, the defaults: what they are called everywhere, and what their text must be.

A `Given` is a value before it is rendered: text from a cell is data and stays literal, text from YAML or from the
command line is a template.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from batchedit.errors import Place, Problem
from batchedit.manifest.findings import Findings
from batchedit.model import FORMATS, MAX_SAMPLES, QUALITIES, size_problem

TASK_FIELDS = (
    "prompt", "image", "mask", "references", "quality", "size", "format", "n", "sync_mode", "output", "labels",
    "enabled",
)  # fmt: skip
"""What a row, an edit, a variant and the defaults may hold."""

ROW_FIELDS = ("id", *TASK_FIELDS, "edit", "note", "vars")
"""What a row may hold besides."""

TEMPLATED = frozenset({"id", "prompt", "image", "mask", "references", "output"})
_KEY_SHAPED = re.compile(r"\b(?:rf_(?:live|svc)_|sk-(?:proj-)?)[A-Za-z0-9_\-]{8,}")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Given:
    """
    A field's value as written.

    Attributes:
        text: One text, or several for a list.
        template: True if it is to be rendered.
        place: Where it stands.
    """

    text: str | tuple[str, ...]
    template: bool
    place: Place

    @property
    def single(self) -> str:
        """The text, a list joined with ``|`` as in a cell."""
        return self.text if isinstance(self.text, str) else "|".join(self.text)

    @property
    def several(self) -> tuple[str, ...]:
        """The texts of a list; one text is split at ``|``."""
        if isinstance(self.text, tuple):
            return self.text
        return tuple(part.strip() for part in self.text.split("|") if part.strip())


def suggestion(word: str, known: Iterable[str]) -> str:
    """``Did you mean "x"?``, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f'Did you mean "{near[0]}"?' if near else ""


def looks_like_a_key(text: str) -> bool:
    """True for text that has the shape of an API key."""
    return _KEY_SHAPED.search(text) is not None


def read_choice(name: str, given: Given, allowed: tuple[str, ...], findings: Findings) -> str | None:
    """One of a few words; None, with a problem, if it is none of them."""
    text = given.single.strip()
    if text in allowed:
        return text
    findings.problem(
        Problem(
            place=given.place,
            code=f"bad-{name}",
            field=name,
            value=text,
            message=f"{text!r} is not one of {', '.join(allowed)}",
            hint=suggestion(text.lower(), allowed),
        )
    )
    return None


def read_quality(given: Given, findings: Findings) -> str | None:
    """The quality."""
    return read_choice("quality", given, QUALITIES, findings)


def read_format(given: Given, findings: Findings) -> str | None:
    """The format; ``jpg`` is a known spelling of ``jpeg``."""
    if given.single.strip().lower() == "jpg":
        return "jpeg"
    return read_choice("format", given, FORMATS, findings)


def read_size(given: Given, findings: Findings) -> str | None:
    """The size, checked by the published rules."""
    text = given.single.strip().lower()
    problem = size_problem(text)
    if problem is None:
        return text
    findings.problem(Problem(place=given.place, code="bad-size", field="size", value=text, message=problem))
    return None


def read_count(given: Given, findings: Findings) -> int | None:
    """How many pictures."""
    text = given.single.strip()
    if text.isdecimal() and text.isascii() and 1 <= int(text) <= MAX_SAMPLES:
        return int(text)
    findings.problem(
        Problem(
            place=given.place,
            code="bad-n",
            field="n",
            value=text,
            message=f"{text!r} is not a whole number from 1 to {MAX_SAMPLES}",
        )
    )
    return None


def read_flag(name: str, given: Given, findings: Findings) -> bool | None:
    """True or false."""
    text = given.single.strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    findings.problem(
        Problem(
            place=given.place,
            code=f"bad-{name}",
            field=name,
            value=text,
            message=f"{text!r} is neither true nor false",
        )
    )
    return None
