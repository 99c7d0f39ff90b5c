"""The list of what was found: grouped, capped, sorted, counted."""

from __future__ import annotations

import pytest

from batchedit.errors import ExitCode, ManifestError, Place, Problem
from batchedit.manifest import Findings, Skip
from tests.manifest.conftest import Folder


def problem(line: int, message: str = "wrong", code: str = "c", *, file: str = "f", warning: bool = False) -> Problem:
    return Problem(place=Place(file, line), code=code, message=message, warning=warning)


def test_equal_problems_are_one_with_a_count() -> None:
    """The first place counts; another message, field or kind is another problem."""
    findings = Findings()
    for line in (5, 3, 9):
        findings.problem(problem(line))
    findings.problem(problem(7, "otherwise"))
    assert [str(found) for found in findings.problems] == ["f:5: wrong (3 rows, first shown)", "f:7: otherwise"]
    assert findings.counts == {"c": 4}


def test_twenty_of_a_kind_and_then_a_count() -> None:
    """A thousand different mistakes do not drown the others; an equal one is still counted where it belongs."""
    findings = Findings()
    for line in range(1, 101):
        findings.problem(problem(line, f"mistake {line}"))
    findings.problem(problem(101, "mistake 1"))
    findings.problem(problem(102, "rare", "other"))
    shown = [str(found) for found in findings.problems]
    assert len(shown) == 22
    assert shown[0] == "f:1: mistake 1 (2 rows, first shown)"
    assert shown[20] == "f:21: more problems of the kind c (80 rows, first shown)"
    assert shown[21] == "f:102: rare"
    assert findings.counts == {"c": 101, "other": 1}


def test_warnings_are_no_problems() -> None:
    """They are listed apart and stop nothing, however many there are."""
    findings = Findings()
    for line in range(30):
        findings.problem(problem(line, f"odd {line}", warning=True))
    findings.raise_if_problems()
    assert (findings.problems, len(findings.warnings)) == ([], 21)


def test_all_problems_in_one_error() -> None:
    """In the order of files and lines, with the reassurance at the end."""
    findings = Findings()
    findings.problem(problem(2, "b", file="z"))
    findings.problem(problem(9, "c", file="a"))
    findings.problem(problem(1, "d", file="a"))
    with pytest.raises(ManifestError) as caught:
        findings.raise_if_problems()
    assert str(caught.value) == "a:1: d\na:9: c\nz:2: b\n3 problems, nothing was sent, nothing was spent."
    assert caught.value.exit_code == ExitCode.USAGE


def test_skips_are_kept_in_order() -> None:
    """Each with its place and its reason."""
    findings = Findings()
    findings.skip(Skip(Place("f", 2), "no image"))
    assert findings.skipped == [Skip(Place("f", 2), "no image")]


def test_counts_are_rows_and_not_tasks(folder: Folder) -> None:
    """A row with six tasks has a mistake once."""
    folder.write("t.csv", "id,image\na,in/gone.png\nb,in/gone.png\n")
    folder.write("t.defaults.yaml", "defaults: {prompt: pp}\nedits: {e: {variants: {u: {}, v: {}, w: {}}}, f: {}}\n")
    assert [found.count for found in folder.read("t.csv")[1].problems] == [2]
