"""Patterns take the names of files apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.manifest.patterns import Pattern, PatternProblem, read_pattern


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{sku}_{pos}", "BOOT_1", {"sku": "BOOT", "pos": "1"}),
        ("{sku}_{pos}", "BOOT_01_2", {"sku": "BOOT_01", "pos": "2"}),
        ("{sku}_{pos}", "a/b/BOOT_2", {"sku": "BOOT", "pos": "2"}),
        ("{sku}_{pos}", "BOOT_", None),
        ("{sku}_{pos}", "_1", None),
        ("{sku}_{pos}", "__1", {"sku": "_", "pos": "1"}),
        ("{sku}_{pos}", "BOOT", None),
        ("IMG-{n}", "IMG-7", {"n": "7"}),
        ("IMG-{n}", "img-7", None),
        ("IMG-{n}-final", "IMG-7-final", {"n": "7"}),
        ("aXa{n}aXa", "aXa", None),
        ("{client}/{sku}", "2027/acme/BOOT", {"client": "acme", "sku": "BOOT"}),
        ("{client}/{sku}", "BOOT", None),
        ("shots/{sku}", "shots/BOOT", {"sku": "BOOT"}),
        ("shots/{sku}", "other/BOOT", None),
        ("{a}.{b}+{c}", "x.y+z", {"a": "x", "b": "y", "c": "z"}),
        ("{größe}", "x", "letters"),
    ],
)
def test_patterns(pattern: str, path: str, found: dict[str, str] | str | None) -> None:
    """An earlier name takes as much as it can."""
    if isinstance(found, str):
        with pytest.raises(PatternProblem, match=found):
            read_pattern(pattern)
    else:
        assert read_pattern(pattern).match(path) == found


def as_regex(pattern: Pattern) -> re.Pattern[str]:
    """The same, slowly: greedy groups that match no slash."""
    folders = []
    for texts, names in pattern.folders:
        groups = [f"(?P<{name}>[^/]+)" for name in names]
        folders.append("".join(re.escape(text) + group for text, group in zip(texts, [*groups, ""], strict=True)))
    return re.compile("(?:.*/)?" + "/".join(folders), re.DOTALL)


PIECES = st.lists(st.sampled_from(["_", "-", "a", "ab", "aa", "__"]), min_size=1, max_size=3).map("".join)


@given(
    st.lists(PIECES, min_size=2, max_size=5), st.booleans(), st.booleans(), st.text("ab_-", max_size=14), st.booleans()
)
def test_matching_is_what_a_greedy_regex_does(
    parts: list[str], first: bool, last: bool, path: str, folder: bool
) -> None:
    """The one pass from the right finds the same as trying everything."""
    text = "".join(f"{{n{number}}}{part}" for number, part in enumerate(parts))
    pattern = read_pattern((parts[0] if first else "") + text + ("{end}" if last else ""))
    path = f"x/{path}" if folder else path
    found = as_regex(pattern).fullmatch(path)
    assert pattern.match(path) == (None if found is None else found.groupdict())


def test_a_name_full_of_separators_takes_no_time() -> None:
    """Twenty names in a name of thousands of separators: no trying back and forth."""
    pattern = read_pattern("_".join(f"{{n{n}}}" for n in range(20)) + "!")
    assert pattern.match("_" * 100_000) is None
    with pytest.raises(PatternProblem, match="more than 20"):
        read_pattern("_".join(f"{{n{n}}}" for n in range(21)))
