"""Bugs made by hand: the proof must be able to fail."""

from __future__ import annotations

import pytest

from tests.proof import FULL, workers
from tests.proof.mutants import MUTANTS, apply, copy_to, hunt


@pytest.mark.timeout(7200)
def test_every_mutant_is_noticed() -> None:
    """With the reduced counts the quick ones; with the full ones all."""
    found = hunt(tuple(mutant for mutant in MUTANTS if FULL or mutant.quick), workers=workers())
    assert [name for name, hunter in found.items() if hunter is None] == []


def test_every_mutant_fits_the_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A mutant that cannot be applied proves nothing."""
    assert len(MUTANTS) >= 12
    for mutant in MUTANTS:
        scratch = tmp_path_factory.mktemp("mutant")
        copy_to(scratch)
        apply(mutant, scratch)
