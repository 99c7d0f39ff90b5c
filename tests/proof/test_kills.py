"""Layer T2: SIGKILL at system calls and at random moments, in the second start too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import count, workers
from tests.proof.kills import CALLS, STRACE, sweep

SHARES = 8
"""Each test is a share of all kills, so that several can be done at a time."""


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("share", range(SHARES))
def test_every_kill_is_survived(tmp_path: Path, share: int) -> None:
    """Each time the same command finishes what was begun: the same tree, one bill for each edit, nothing at risk."""
    points, at_random = count(36, 1_000_000) if STRACE else 0, count(24, 500)
    tally = sweep(tmp_path, points, at_random, workers=workers(), share=(share, SHARES))
    print(tally.table())
    assert tally.failed == []
    assert tally.kills >= 6
    if STRACE is None:
        pytest.skip("random kills only: strace is not installed")
    # The points of a share are drawn from all calls; that each is hit in its time depends on the machine.
    assert sum(number > 0 for number in tally.by_call.values()) >= count(4, len(CALLS) - 4)
