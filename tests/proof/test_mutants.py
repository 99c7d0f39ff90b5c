"""Bugs made by hand: the proof must be able to fail."""

from __future__ import annotations

import pytest

from tests.proof import FULL
from tests.proof.mutants import MUTANTS, Mutant, apply, copy_to, noticed_by


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if FULL or mutant.quick], ids=lambda mutant: mutant.name.replace(" ", "-")
)
def test_every_mutant_is_noticed(mutant: Mutant) -> None:
    """With the reduced counts the quick ones; with the full ones all."""
    assert noticed_by(mutant) is not None


def test_every_mutant_fits_the_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A mutant that cannot be applied proves nothing."""
    assert len(MUTANTS) >= 12
    for mutant in MUTANTS:
        scratch = tmp_path_factory.mktemp("mutant")
        copy_to(scratch)
        apply(mutant, scratch)
