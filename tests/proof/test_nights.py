"""Layer T1: a thousand nights, each with its own weather and its own deaths, and none with a broken promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchedit.emulator.settings import FAULT_NAMES
from batchedit.lifecycle import TRANSITIONS
from tests.proof import count, workers
from tests.proof.nights import Night, play_in, simulate


@pytest.mark.timeout(7200)
def test_no_night_breaks_a_promise() -> None:
    """Nothing paid twice, lost, torn or over budget; every fault fired, every way between two states was taken."""
    tally = play_in(workers(), 0, count(450, 10_000))
    print(tally.table())
    assert not tally.failed, tally.table()
    assert {name for name in FAULT_NAMES if not tally.faults[name]} == set()
    ways = {f"{state} --{event}--> {target}" for (state, event), target in TRANSITIONS.items()}
    assert ways == set(tally.edges)
    assert tally.happenings["killed"] > tally.nights / 2


@pytest.mark.parametrize("seed", [3, 8])
def test_the_same_seed_is_the_same_night(tmp_path: Path, seed: int) -> None:
    """Event for event; another seed is another one."""

    def play(name: str, number: int) -> Night:
        folder = tmp_path / name
        folder.mkdir()
        return simulate(number, folder)

    first, again, other = play("a", seed), play("b", seed), play("c", seed + 1)
    assert first.digest == again.digest != other.digest
    assert first.happenings == again.happenings
