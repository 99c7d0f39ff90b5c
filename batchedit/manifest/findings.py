"""Collecting everything that is wrong, so that a person hears of it in one list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from batchedit.errors import ManifestError, Place, Problem

PER_CODE = 20
"""So many different problems of one kind are listed; the rest is counted."""
PER_REASON = 1000
"""So many skipped rows are listed for each reason; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Skip:
    """
    A row that makes no task, on purpose.

    Attributes:
        place: Where it stands.
        reason: Why.
        count: More than 1 for what is not listed one by one any more; `place` is the first of them.
    """

    place: Place
    reason: str
    count: int = 1


class Collector(Protocol):
    """Whoever takes problems."""

    def problem(self, problem: Problem) -> None:
        """Note a problem or a warning."""


class Findings:
    """
    Problems, warnings and skipped rows of one pass.

    Equal problems (same kind, field and message) are one entry with a count and the first place.

    Attributes:
        skipped: In the order in which they were met; of a reason's rows beyond `PER_REASON` only the number.
        absences: How many pictures that may be missing were missing; another time they may be there.
    """

    def __init__(self) -> None:
        self.absences = 0
        self.skipped: list[Skip] = []
        self._reasons: Counter[str] = Counter()
        self._uncounted: dict[str, int] = {}
        self._found: dict[tuple[str, str, str, bool], Problem] = {}
        self._kinds: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._omitted: dict[tuple[str, bool], Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """What must be mended, in the order of files and lines."""
        return self._sorted(warning=False)

    @property
    def warnings(self) -> list[Problem]:
        """What may be a mistake, in the order of files and lines."""
        return self._sorted(warning=True)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each kind was met, by code, listed or not; warnings included."""
        return dict(self._counts)

    def problem(self, problem: Problem) -> None:
        """Note a problem or a warning."""
        self._counts[problem.code] += problem.count
        key = (problem.code, problem.field, problem.message, problem.warning)
        known = self._found.get(key)
        if known is not None:
            self._found[key] = replace(known, count=known.count + problem.count)
        elif self._kinds[problem.code] < PER_CODE:
            self._kinds[problem.code] += 1
            self._found[key] = problem
        else:
            self._omit(problem)

    def skip(self, skip: Skip) -> None:
        """Note a row that makes no task."""
        self._reasons[skip.reason] += skip.count
        if skip.reason in self._uncounted:
            number = self._uncounted[skip.reason]
            self.skipped[number] = replace(self.skipped[number], count=self.skipped[number].count + skip.count)
            return
        if self._reasons[skip.reason] > PER_REASON:
            self._uncounted[skip.reason] = len(self.skipped)
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

    def _omit(self, problem: Problem) -> None:
        rest = self._omitted.get((problem.code, problem.warning))
        message = f"more problems of the kind {problem.code}"
        self._omitted[problem.code, problem.warning] = (
            replace(problem, message=message, field="", value="", hint="")
            if rest is None
            else replace(rest, count=rest.count + problem.count)
        )

    def _sorted(self, *, warning: bool) -> list[Problem]:
        found = [problem for problem in (*self._found.values(), *self._omitted.values()) if problem.warning is warning]
        return sorted(found, key=lambda p: (p.place.file, p.place.line or 0, p.place.column or 0))


class OncePerRow:
    """
    Passes problems on, each once per row.

    A row has as many tasks as there are edits and variants, and all of them run into the same mistake; the count of a
    problem is a number of rows.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._seen: set[tuple[Place, str, str, str]] = set()

    def next_row(self) -> None:
        """A new row begins."""
        self._seen.clear()

    def problem(self, problem: Problem) -> None:
        """Note a problem, unless this row has it already."""
        key = (problem.place, problem.code, problem.field, problem.message)
        if key not in self._seen:
            self._seen.add(key)
            self._findings.problem(problem)

    def absent(self) -> None:
        """Note that a picture which may be missing is not there."""
        self._findings.absences += 1

    def skip(self, skip: Skip) -> None:
        """Note a row, or a task of it, that is left out on purpose."""
        key = (skip.place, "skip", "", skip.reason)
        if key not in self._seen:
            self._seen.add(key)
            self._findings.skip(skip)
