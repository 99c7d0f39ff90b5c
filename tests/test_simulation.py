"""A night in virtual time: the real pool, ledger, adapter and emulator, hours in seconds, repeatable from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from batchedit import RunOptions, batch, load_manifest, make_plan, run_plan
from batchedit.effects import Effects, inline
from batchedit.emulator import Emulator, Switches
from batchedit.ending import RunSummary
from batchedit.endpoint import Endpoint, Key
from batchedit.lifecycle import State
from batchedit.model import ProviderSettings
from batchedit.providers.registry import Connected
from batchedit.providers.rehearsal import ORIGIN
from batchedit.providers.runflow import Runflow
from tests.conftest import Shop, database, draw_picture

EPOCH = 1_800_000_000.0
SCHEDULER: Any = trio._core._run  # private names, but what trio's own determinism test sets
COUNT = 16
DEFAULT = RunOptions()


@pytest.fixture
def pinned_scheduler() -> Iterator[None]:
    """trio shuffles what is runnable on purpose; a simulation needs one order."""
    before = SCHEDULER._ALLOW_DETERMINISTIC_SCHEDULING
    SCHEDULER._ALLOW_DETERMINISTIC_SCHEDULING = True
    yield
    SCHEDULER._ALLOW_DETERMINISTIC_SCHEDULING = before


def night(out: Path, seed: str, options: RunOptions = DEFAULT) -> tuple[RunSummary, float, list[tuple[str, ...]]]:
    """One run of `many/*.png` on a clock that jumps; how it ended, how long it took, and the ledger's history."""
    SCHEDULER._r.seed(seed)
    effects = Effects(wall=lambda: EPOCH + anyio.current_time(), offload=inline, commit=inline, seed=seed)
    plan = make_plan(load_manifest("night.yaml"), out=out)

    async def main() -> tuple[RunSummary, float]:
        begun = anyio.current_time()
        summary = await run_plan(plan, options, effects=effects)
        return summary, anyio.current_time() - begun

    clock = trio.testing.MockClock(autojump_threshold=0)
    summary, seconds = anyio.run(main, backend="trio", backend_options={"clock": clock})
    with database(out / ".batchedit" / "ledger.db") as db:
        history = db.execute("SELECT at, request_key, event, state_from, state_to FROM events ORDER BY id").fetchall()
    return summary, seconds, history


@pytest.fixture
def many(shop: Shop) -> Shop:
    """Small pictures, all different."""
    for number in range(COUNT):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (15 * number, 90, 200 - 12 * number), side=32)
    shop.write(
        "night.yaml",
        "version: 1\nlimits: {rpm: 6, concurrency: 50}\ndefaults: {prompt: grayscale, quality: low}\n"
        "sources:\n  - glob: many/*.png\n",
    )
    return shop


def test_a_night_keeps_to_its_rate(many: Shop, pinned_scheduler: None) -> None:
    """Sixteen edits at six a minute take the 150 seconds between the first and the last start, and little more."""
    summary, seconds, _ = night(many.root / "out", "1")
    assert summary.exit_code == 0
    assert 150 <= seconds <= 152


def test_the_same_seed_gives_the_same_night(many: Shop, pinned_scheduler: None) -> None:
    """Event for event, to the millisecond; another seed gives another one."""
    first, again, other = (night(many.root / name, seed)[2] for name, seed in (("a", "1"), ("b", "1"), ("c", "2")))
    assert first == again
    assert first != other
    assert len(first) == 4 * COUNT


def test_the_spending_does_not_depend_on_the_concurrency(many: Shop, pinned_scheduler: None) -> None:
    """One at a time or all at once: the same pictures for the same money."""
    options = [RunOptions(in_flight=number, requests_per_minute=6000) for number in (1, 5, COUNT)]
    bills = {night(many.root / str(option.in_flight), "1", option)[0].spent for option in options}
    assert bills == {COUNT * 9_000}


def test_the_limit_that_was_found_is_kept_for_the_next_run(
    many: Shop, pinned_scheduler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider lets eight calls a minute pass and says so to nobody: all is done, and the ledger knows it."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    effects = Effects(wall=lambda: EPOCH + anyio.current_time(), offload=inline, commit=inline, seed="1")
    emulator = Emulator(switches=Switches(rate_limit_per_minute=8), seed="1", clock=effects.wall, offload=inline)
    provider = Runflow(ProviderSettings(), poll_seconds=30.0)
    endpoint = Endpoint(base_url=ORIGIN, key=Key("rf_live_x"), app=emulator.app)
    connected = Connected(provider=provider, endpoint=endpoint, world="rehearsal")
    monkeypatch.setattr(batch, "connect", lambda _: connected)
    many.write(
        "auto.yaml", "version: 1\nlimits: {rpm: auto}\ndefaults: {prompt: grayscale}\nsources: [{glob: many/*.png}]\n"
    )
    plan = make_plan(load_manifest("auto.yaml"), out=many.root / "out")
    summary = anyio.run(lambda: run_plan(plan, effects=effects), backend="trio", backend_options={"clock": clock})
    assert (summary.exit_code, summary.states[State.DONE]) == (0, COUNT)
    with database(many.root / "out" / ".batchedit" / "ledger.db") as db:
        [(scope, per_minute)] = db.execute("SELECT scope, per_minute FROM paces").fetchall()
    assert scope == provider.scope
    assert 1 <= per_minute <= 8
