"""Layer T4: every line of the fault matrix, in a real run over real sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, Served, Shop
from tests.middle import Middle
from tests.proof.faults import CASES, readme
from tests.proof.scene import Case, Scene, play, signed

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_is_survived(
    case: Case, cli: Callable[..., Result], shop: Shop, tampered: Callable[..., tuple[Served, Middle]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What must hold holds during the fault, and the same command finishes when it is over."""
    served, proxy = tampered(latency=(0.01, 0.03), idempotency="off")
    signed(monkeypatch)
    play(case, Scene(shop, served, proxy, cli, monkeypatch))


def test_there_are_enough_cases() -> None:
    """With names of their own."""
    assert len({case.name for case in CASES}) == len(CASES) >= 110


def test_the_readme_lists_what_is_survived() -> None:
    """`python -m tests.proof.faults` prints what stands there."""
    text = README.read_text("utf-8")
    assert text.partition("<!-- faults -->")[2].partition("<!-- /faults -->")[0].strip() == readme()
