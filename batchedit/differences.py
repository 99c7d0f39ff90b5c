"""
What is different between what was bought and what the manifest asks for now, in words. Pure.

    prompt: on [-white-] {+grey+} ground; quality: low -> high; image: in/a.png has other content
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_FIELDS = ("model", "quality", "size", "format", "samples", "revision")
_MOST_WORDS = 2_000
_AROUND = 3
_SHORT, _LONG = 60, 200


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One field of a request that is not what it was.

    Attributes:
        field: Such as ``prompt``, ``quality``, ``image``, ``reference 1``, ``mask``.
        old: As it was bought, shortened.
        new: As it is wanted now, shortened.
        text: Both in one phrase.
    """

    field: str
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """
    Everything that differs, the prompt first.

    Args:
        old, new: Requests as `keys.to_spec` writes them.
    """
    return tuple(_each(old, new))


def _each(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    if old.get("prompt") != new.get("prompt"):
        before, after = str(old.get("prompt", "")), str(new.get("prompt", ""))
        text = word_difference(before, after)
        yield Difference("prompt", _head(before, _LONG), _head(after, _LONG), _head(text, _LONG))
    for name in _FIELDS:
        if old.get(name) != new.get(name):
            before, after = str(old.get(name)), str(new.get(name))
            yield Difference(name, before, after, f"{before} -> {after}")
    befores, afters = old.get("images") or [], new.get("images") or []
    for number in range(max(len(befores), len(afters))):
        name = "image" if number == 0 else f"reference {number}"
        pair = [images[number] if number < len(images) else None for images in (befores, afters)]
        yield from _picture(name, *pair)
    yield from _picture("mask", old.get("mask"), new.get("mask"))


def _picture(name: str, old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> Iterator[Difference]:
    if (old and old["id"]) == (new and new["id"]):
        return
    before, after = (_tail(picture["at"]) if picture else "none" for picture in (old, new))
    text = f"{after} has other content" if before == after else f"{before} -> {after}"
    yield Difference(name, before, after, text)


def word_difference(old: str, new: str) -> str:
    """The words that went as ``[-old-]``, those that came as ``{+new+}``, and a few around them."""
    before, after = old.split()[:_MOST_WORDS], new.split()[:_MOST_WORDS]
    if before == after:
        return "only white space" if old.split() == new.split() else f"beyond the first {_MOST_WORDS} words"
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    steps = matcher.get_opcodes()
    parts: list[str] = []
    for number, (step, a, b, c, d) in enumerate(steps):
        if step == "equal":
            first, last = number == 0, number == len(steps) - 1
            parts += _context(before[a:b], before_change=not last, after_change=not first)
            continue
        if a < b:
            parts.append(f"[-{' '.join(before[a:b])}-]")
        if c < d:
            parts.append(f"{{+{' '.join(after[c:d])}+}}")
    return " ".join(parts)


def _context(words: list[str], *, before_change: bool, after_change: bool) -> list[str]:
    head = words[:_AROUND] if after_change else []
    tail = words[-_AROUND:] if before_change else []
    return words if len(head) + len(tail) >= len(words) else [*head, "...", *tail]


def _head(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _tail(text: str) -> str:
    return text if len(text) <= _SHORT else "..." + text[3 - _SHORT :]
