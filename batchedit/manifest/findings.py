"""Collecting everything that is wrong, so that a person hears of it in one list."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from batchedit.errors import ManifestError, Place, Problem

PER_CODE = 20
"""So many different problems of one kind are listed; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that makes no task, on purpose: where it stands and why."""

    place: Place
    reason: str


class Findings:
    """
    Problems, warnings and skipped rows of one pass.

    Equal problems (same kind, field, message and template) are one entry with a count and the first place.
    """

    def __init__(self) -> None:
        self.skipped: list[Skip] = []
        self._found: dict[tuple[str, str, str, bool], Problem] = {}
        self._kinds: Counter[str] = Counter()
        self._omitted: dict[str, Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """What must be mended, in the order of files and lines."""
        return self._sorted(warning=False)

    @property
    def warnings(self) -> list[Problem]:
        """What may be a mistake."""
        return self._sorted(warning=True)

    def problem(self, problem: Problem) -> None:
        """Note a problem or a warning."""
        key = (problem.code, problem.field, problem.message, problem.warning)
        known = self._found.get(key)
        if known is not None:
            self._found[key] = replace(known, count=known.count + 1)
        elif self._kinds[problem.code] < PER_CODE:
            self._kinds[problem.code] += 1
            self._found[key] = problem
        else:
            rest = self._omitted.get(problem.code)
            self._omitted[problem.code] = (
                replace(problem, message=f"more problems of the kind {problem.code}", field="", value="", hint="")
                if rest is None
                else replace(rest, count=rest.count + 1)
            )

    def skip(self, skip: Skip) -> None:
        """Note a row that makes no task."""
        self.skipped.append(skip)

    def raise_if_problems(self) -> None:
        """
        Refuse what was found.

        Raises:
            ManifestError: with all problems, if there is one.
        """
        problems = self.problems
        if problems:
            raise ManifestError(problems)

    def _sorted(self, *, warning: bool) -> list[Problem]:
        found = [problem for problem in (*self._found.values(), *self._omitted.values()) if problem.warning is warning]
        return sorted(found, key=lambda p: (p.place.file, p.place.line or 0, p.place.column or 0))
