"""The library as orchestrators and notebooks use it."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import batchedit
from batchedit import Control, RunError, RunOptions, load_manifest, make_plan, run_plan_sync, session
from batchedit.errors import AccountRefused, Interrupted, LedgerError, LimitReached, PartialFailure, UsageError
from batchedit.money import MicroUSD
from tests.conftest import EMULATORS, Served, Shop, draw_picture
from tests.middle import Middle
from tests.proof.scene import CREATE, answer

LIBRARY = Path(__file__).parents[1] / "docs" / "library.md"


def test_what_the_page_shows_works(shop: Shop, jobs: Path) -> None:
    """Each example, one after the other, as it stands."""
    examples = re.findall(r"```python\n(.*?)```", LIBRARY.read_text("utf-8"), re.S)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, str(LIBRARY), "exec"), {})
    assert shop.outputs("out") == shop.outputs("other") == ["lamp.png", "mug.png", "shoe.png"]


def test_it_works_inside_a_running_loop(shop: Shop, jobs: Path) -> None:
    """As in a notebook."""

    async def cell() -> batchedit.RunSummary:
        return run_plan_sync(make_plan(load_manifest("jobs.csv"), out="out"))

    summary = asyncio.run(cell())
    assert summary.exit_code == 0
    assert summary.as_dict()["states"]["done"] == 3
    assert "<td>3</td>" in summary._repr_html_()


def many(shop: Shop, served: Served, count: int = 12) -> Path:
    for number in range(count):
        draw_picture(shop.root / "in" / f"p{number}.png", (number * 20, 50, 50), side=64)
    return served.manifest(shop, limits="{timeout: 5, list_lag: 0, deadline: 20, poll: 0.1, concurrency: 2}")


def test_results_come_while_it_goes_on(shop: Shop, serve: Callable[..., Served]) -> None:
    """Each task once, with its money and its files, before the end."""
    plan = make_plan(load_manifest(many(shop, serve(latency=(0.2, 0.3)))), out="out")
    found: list[batchedit.Result] = []
    with session(plan) as running:
        for result in running:
            if not found:
                assert not running._runner.over.is_set(), "the first comes before the last is done"
            found.append(result)
    summary = running.summary()
    assert len({result.slot for result in found}) == len(found) == 15
    assert all(result.state == "done" and result.files[0].is_file() for result in found)
    assert sum(result.cost or 0 for result in found) == summary.spent


def test_leaving_early_stops_it_gently(shop: Shop, serve: Callable[..., Served]) -> None:
    """What was sent is brought home, and the same plan goes on."""
    served = serve(latency=(0.2, 0.3))
    manifest = many(shop, served)
    with session(make_plan(load_manifest(manifest), out="out")) as running:
        next(iter(running))
    summary = running.summary()
    assert summary.exit_code == 130
    assert 0 < summary.states["done"] < 15  # type: ignore[index]  # states are words
    with pytest.raises(Interrupted) as caught:
        summary.raise_for_status()
    assert caught.value.retryable
    assert caught.value.money_spent == Decimal(summary.spent) / 1_000_000
    assert run_plan_sync(make_plan(load_manifest(manifest), out="out")).exit_code == 0
    assert served.audit()["billed_runs_total"] == 15


def test_an_interrupt_reaches_it_in_its_thread(shop: Shop, serve: Callable[..., Served]) -> None:
    """A real Ctrl-C for a real script that has no handlers of ours."""
    served = serve(latency=(0.3, 0.5))
    manifest = many(shop, served)
    script = shop.write(
        "script.py",
        "from batchedit import load_manifest, make_plan, run_plan_sync\n"
        f"plan = make_plan(load_manifest({str(manifest)!r}), out='out')\n"
        "print(int(run_plan_sync(plan, observer=lambda p: print(p.done, flush=True)).exit_code))\n",
    )
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env=EMULATORS,
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() not in ("1", "2"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.split()[-1] == "130"
    assert run_plan_sync(make_plan(load_manifest(manifest), out="out")).exit_code == 0
    assert served.audit()["billed_runs_total"] == 15


def test_another_thread_stops_it(shop: Shop, serve: Callable[..., Served]) -> None:
    """An orchestrator's time-out."""
    plan = make_plan(load_manifest(many(shop, serve(latency=(0.3, 0.5)))), out="out")
    control = Control()
    timer = threading.Timer(1.0, control.stop)
    timer.start()
    begun = time.monotonic()
    assert run_plan_sync(plan, control=control).exit_code == 130
    assert time.monotonic() - begun < 60
    timer.join()


@pytest.mark.parametrize(
    ("status", "kind", "budget"),
    [(401, AccountRefused, None), (422, PartialFailure, None), (0, LimitReached, 1)],
)
def test_errors_say_what_an_orchestrator_needs(
    shop: Shop, tampered: Callable[..., tuple[Served, Middle]], status: int, kind: type[RunError], budget: int | None
) -> None:
    """Their kind, the money, whether to try again, what to do."""
    served, proxy = tampered()
    if status:
        proxy.alter("POST", CREATE, answer(status, "NO"), times=99, forward=False)
    plan = make_plan(load_manifest(served.manifest(shop)), out="out")
    with pytest.raises(kind) as caught:
        run_plan_sync(plan, RunOptions(budget=None if budget is None else MicroUSD(budget)), check=True)
    assert caught.value.money_spent == 0
    assert not caught.value.retryable
    assert caught.value.hint


def test_errors_before_anything_was_sent(shop: Shop, jobs: Path) -> None:
    """A second run may wait; a wrong manifest may not."""
    plan = make_plan(load_manifest("jobs.csv"), out="out")
    refused: list[BaseException] = []

    def again(progress: object) -> None:
        if not refused:
            try:
                run_plan_sync(plan)
            except LedgerError as error:
                refused.append(error)

    assert run_plan_sync(make_plan(load_manifest("jobs.csv"), out="out"), observer=again).exit_code == 0
    busy = refused[0]
    assert isinstance(busy, LedgerError)
    assert busy.retryable
    assert busy.money_spent == Decimal(0)
    with pytest.raises(UsageError) as caught:
        load_manifest("nothing.csv")
    assert not caught.value.retryable
    assert caught.value.money_spent == Decimal(0)
