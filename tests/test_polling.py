"""Looks at runs: how many, how soon after the end, and many with one call; on a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import anyio
import pytest
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from batchedit.errors import NotSent, Rejected
from batchedit.latency import Latencies
from batchedit.polling import Board, Watcher
from batchedit.providers.base import Listing


def looks(latencies: Latencies, seconds: float) -> list[float]:
    """When a run that takes so long is looked at; the last look finds it over."""
    times = [latencies.next_look(0.0)]
    while times[-1] < seconds:
        times.append(latencies.next_look(times[-1]))
    return times


@given(st.lists(st.floats(0, 300), max_size=40), st.floats(0, 400), st.floats(0.01, 5))
def test_looks_always_go_on(seen: list[float], seconds: float, first: float) -> None:
    """Whatever was seen: each look is later than the one before, and the steps never outgrow what was learnt."""
    latencies = Latencies(first, random.Random(1))
    for value in seen:
        latencies.observe(value, value)
    times = [0.0, *looks(latencies, seconds)]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[-1] <= max(seconds, max(seen, default=0.0)) * 1.3 + 5 * first + 10


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("constant", lambda _: 150.0),
        ("as measured", lambda rng: rng.uniform(44, 280)),
        ("fast", lambda rng: rng.uniform(0.2, 0.6)),
        ("two kinds", lambda rng: rng.choice((10.0, 150.0)) * rng.uniform(0.9, 1.1)),
    ],
)
@pytest.mark.parametrize("exact", [True, False], ids=["provider says", "seen from here"])
def test_few_looks_and_a_short_delay(kind: str, draw: Callable[[random.Random], float], exact: bool) -> None:
    """After some hundred runs: at most four looks at the median run, found soon after its end."""
    rng = random.Random(kind)
    latencies = Latencies(2.0, random.Random(2))
    counts, late = [], []
    for _ in range(600):
        seconds = draw(rng)
        times = looks(latencies, seconds)
        before = times[-2] if len(times) > 1 else 0.8 * times[-1]
        latencies.observe(seconds if exact else before, seconds if exact else times[-1])
        counts.append(len(times))
        late.append((times[-1] - seconds) / seconds)
    assert sorted(counts[300:])[150] <= 4
    assert sum(counts[300:]) / 300 <= 4.5
    assert sum(late[300:]) / 300 <= (0.5 if kind == "two kinds" else 0.3)


@dataclass
class Provider:
    """Runs that end at known times, a list of them, and a count of what was asked."""

    ends: dict[str, float]
    singly: int = 0
    pages: list[int] = field(default_factory=list)
    shows: Callable[[str], bool] = lambda _: True
    problem: Exception | None = None

    async def newest(self, count: int) -> Mapping[str, Listing]:
        self.pages.append(count)
        await anyio.sleep(0.1)
        if self.problem is not None:
            raise self.problem
        now = anyio.current_time()
        return {
            run: Listing(ended=now >= end, answer=run.encode() if now >= end else None)
            for run, end in self.ends.items()
            if self.shows(run)
        }


async def follow(board: Board, provider: Provider, watcher: Watcher) -> float:
    """Wait for a run; returns how late its end was seen."""
    while True:
        answer = await board.wait(watcher, provider.newest)
        if answer is None:
            provider.singly += 1
            await anyio.sleep(0.1)
            if anyio.current_time() < provider.ends[watcher.run_id]:
                continue
        else:
            assert answer == watcher.run_id.encode()
        board.ended(watcher, None)
        return anyio.current_time() - provider.ends[watcher.run_id]


def night(provider: Provider, starts: dict[str, float], **options: bool) -> list[float]:
    """Follow all runs; how late each was seen."""
    board = Board(Latencies(2.0, random.Random(5)), can_list=options.get("can_list", True))
    late: list[float] = []

    async def one(run: str) -> None:
        await anyio.sleep_until(starts[run])
        watcher = Watcher(run, since=starts[run], inline=options.get("inline", False))
        late.append(await follow(board, provider, watcher))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for run in starts:
                group.start_soon(one, run)

    run(main)
    return late


def run(main: Callable[[], Awaitable[None]]) -> None:
    """On a clock that jumps to the next thing to do, starting at zero."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def crowd(count: int, gap: float) -> tuple[dict[str, float], Provider]:
    rng = random.Random(9)
    starts = {f"r{number}": number * gap for number in range(count)}
    return starts, Provider({run: start + rng.uniform(44, 280) for run, start in starts.items()})


def test_many_runs_are_looked_up_together() -> None:
    """Twenty a minute, fifty in flight: fewer calls than with single looks, and the end is seen sooner."""
    starts, provider = crowd(400, 3.0)
    late = night(provider, starts)
    _, other = crowd(400, 3.0)
    alone = night(other, starts, can_list=False)
    assert len(late) == len(alone) == 400
    assert provider.singly + len(provider.pages) < 0.9 * other.singly
    assert sum(late) < 0.5 * sum(alone)


def test_without_a_list_each_is_looked_at_singly() -> None:
    """And still only a few times."""
    starts, provider = crowd(400, 3.0)
    night(provider, starts, can_list=False)
    assert provider.pages == []
    assert provider.singly <= 5.5 * len(starts)  # the first hundred were looked at before anything was known


@pytest.mark.parametrize("problem", [Rejected("no such fields"), NotSent("no network")])
def test_a_list_that_fails_is_given_up(problem: Exception) -> None:
    """At once if it is refused, after a few times if it cannot be reached; every run is found all the same."""
    starts, provider = crowd(100, 3.0)
    provider.problem = problem
    late = night(provider, starts)
    assert len(late) == 100
    assert len(provider.pages) <= (1 if isinstance(problem, Rejected) else 3)


def test_what_the_list_does_not_show_is_looked_at_singly() -> None:
    """A list that lags for ever, or shows other people's runs."""
    starts, provider = crowd(100, 3.0)
    provider.shows = lambda run: int(run[1:]) % 2 == 0
    assert len(night(provider, starts)) == 100


def test_a_page_that_is_too_short_is_not_read_again_by_everybody_whom_it_does_not_show() -> None:
    """Five hundred in flight, and a page holds the two hundred newest, which are not those that are over."""
    starts, provider = crowd(1500, 0.3)
    newest = provider.newest

    async def page(count: int) -> Mapping[str, Listing]:
        begun = [run for run in starts if starts[run] <= anyio.current_time()]
        shown = {*begun[-count:]}
        return {run: listing for run, listing in (await newest(count)).items() if run in shown}

    provider.newest = page  # type: ignore[method-assign]
    assert len(night(provider, starts)) == 1500
    assert len(provider.pages) < 0.25 * provider.singly


def test_the_list_never_answers_for_pictures_that_are_shown_once() -> None:
    """It only says that the run is over."""
    starts, provider = crowd(60, 1.0)
    night(provider, starts, inline=True)
    assert provider.singly >= 60


def test_a_stale_list_is_not_believed_for_ever() -> None:
    """It shows everything as running: single looks find the end."""
    starts, provider = crowd(60, 1.0)
    newest = provider.newest

    async def stale(count: int) -> Mapping[str, Listing]:
        return {run: Listing(ended=False, answer=None) for run in await newest(count)}

    provider.newest = stale  # type: ignore[method-assign]
    late = night(provider, starts)
    assert max(late) < 120


def test_a_reader_that_is_cancelled_leaves_the_others_alone() -> None:
    """Whoever reads the list for all may be stopped in the middle."""
    provider = Provider({f"r{number}": 30.0 for number in range(5)})
    board = Board(Latencies(2.0, random.Random(5)), can_list=True)
    found: list[str] = []

    async def one(name: str, patience: float) -> None:
        with anyio.move_on_after(patience):
            await follow(board, provider, Watcher(name, since=0.0))
            found.append(name)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number, name in enumerate(provider.ends):
                group.start_soon(partial(one, name, 2.05 if number < 2 else 1000.0))

    run(main)
    assert len(found) == 3
