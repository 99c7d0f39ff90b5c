"""Layer T2: SIGKILL at system calls and at random moments, in the second start too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import count, workers
from tests.proof.kills import CALLS, STRACE, sweep


@pytest.mark.timeout(14_400)
def test_every_kill_is_survived(tmp_path: Path) -> None:
    """Each time the same command finishes what was begun: the same tree, one bill for each edit, nothing at risk."""
    tally = sweep(tmp_path, count(64, 1_000_000) if STRACE else 0, count(60, 500), workers=workers())
    print(tally.table())
    assert tally.failed == []
    assert tally.kills >= 60
    if STRACE is None:
        pytest.skip("random kills only: strace is not installed")
    assert sum(number > 0 for number in tally.by_call.values()) >= len(CALLS) - 4
