"""
What the name of a picture says: the pattern ``{sku}_{pos}`` takes a file name apart into variables.

A name in braces stands for one character or more, never for a slash. An earlier name takes as much as it can, so that
``BOOT_01_2`` is `sku` BOOT_01 and `pos` 2. A pattern with slashes is held against as many folders above the file as it
names. Matching takes one pass from the right and never tries twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_NAMES = 20
OWN_NAMES = frozenset({"variant", "sample", "ext", "line", "source", "row", "stem", "image", "labels", "vars", "edit"})
"""Names that have a meaning of their own, so that nothing else can be called by them."""
_BRACES = re.compile(r"\{([^{}]*)\}")


class PatternProblem(Exception):
    """This is no pattern; the message says why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A pattern, taken apart.

    Attributes:
        text: As written.
        folders: For each part between slashes the fixed texts and, between each two of them, a name.
    """

    text: str
    folders: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it gives values to."""
        return tuple(name for _, names in self.folders for name in names)

    def match(self, path: str) -> dict[str, str] | None:
        """
        The values by name; None if the path does not match.

        Args:
            path: With ``/`` between folders and without the file's extension.
        """
        parts = path.split("/")[-len(self.folders) :]
        if len(parts) < len(self.folders):
            return None
        found: dict[str, str] = {}
        for part, (texts, names) in zip(parts, self.folders, strict=True):
            values = _values(part, texts)
            if values is None:
                return None
            found.update(zip(names, values, strict=True))
        return found


def read_pattern(text: str) -> Pattern:
    """
    A pattern from its text.

    Raises:
        PatternProblem: if a name is none or stands twice, or nothing stands between two names.
    """
    folders = []
    for part in text.split("/"):
        pieces = _BRACES.split(part)
        texts, names = tuple(pieces[::2]), tuple(pieces[1::2])
        if any("{" in piece or "}" in piece for piece in texts):
            raise PatternProblem("has a brace without its partner")
        if not part:
            raise PatternProblem("has an empty part before or after a slash")
        if any(not between for between in texts[1:-1]):
            raise PatternProblem("has two names with nothing between them, so that nobody knows where one ends")
        folders.append((texts, names))
    pattern = Pattern(text, tuple(folders))
    for name in pattern.names:
        if not (name.isidentifier() and name.isascii()):
            raise PatternProblem(f"has {{{name}}}, which is no name: letters, digits and underscores")
        if name in OWN_NAMES:
            raise PatternProblem(f"has {{{name}}}, a name that already has a meaning")
        if pattern.names.count(name) > 1:
            raise PatternProblem(f"has {{{name}}} twice")
    if not pattern.names:
        raise PatternProblem("names nothing; write for example {sku}_{pos}")
    if len(pattern.names) > MAX_NAMES:
        raise PatternProblem(f"has more than {MAX_NAMES} names")
    return pattern


def _values(part: str, texts: tuple[str, ...]) -> list[str] | None:
    """What stands between the fixed texts, each of them as far to the right as it can be."""
    if len(texts) == 1:
        return [] if part == texts[0] else None
    if not (part.startswith(texts[0]) and part.endswith(texts[-1])):
        return None
    first, end = len(texts[0]), len(part) - len(texts[-1])
    values = []
    for text in reversed(texts[1:-1]):
        at = part.rfind(text, first, end - 1)
        if at < 0:
            return None
        values.append(part[at + len(text) : end])
        end = at
    if end <= first:
        return None
    values.append(part[first:end])
    values.reverse()
    return values if all(values) else None
