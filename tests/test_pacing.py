"""The pacer against arrivals, refusals and servers of several kinds, on a clock that is a number."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.learning import Learner
from batchedit.pacing import Pacer
from batchedit.providers.answers import exhausted

# -- limits --------------------------------------------------------------------------------------------------


def start(pacer: Pacer, now: float, images: int = 1) -> float:
    """Start the next call as soon as it may."""
    at = pacer.ready_at(now, images=images)
    pacer.take(at, images=images)
    return at


def most_in_a_minute(starts: list[tuple[float, int]]) -> int:
    """The most units in any 60 seconds, both ends included."""
    window: deque[tuple[float, int]] = deque()
    units = most = 0
    for at, weight in starts:
        window.append((at, weight))
        units += weight
        while window[0][0] < at - 60:
            units -= window.popleft()[1]
        most = max(most, units)
    return most


@given(
    requests=st.integers(1, 100),
    images=st.integers(4, 300),
    calls=st.integers(1, 200),
    arrivals=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 4)), min_size=1, max_size=120),
)
def test_no_window_holds_more_than_a_limit(
    requests: int, images: int, calls: int, arrivals: list[tuple[float, int]]
) -> None:
    """Whatever the arrivals, purchases of one to four pictures and reads between them: three limits hold at once."""
    pacer = Pacer(requests=requests, images=images, calls=calls)
    now, starts = 0.0, []
    for gap, weight in arrivals:
        now = start(pacer, now + gap, weight)
        starts.append((now, weight))
    bought = [(at, weight) for at, weight in starts if weight]
    assert most_in_a_minute([(at, 1) for at, _ in bought]) <= requests
    assert most_in_a_minute(bought) <= images
    assert most_in_a_minute([(at, 1) for at, _ in starts]) <= calls


@given(limit=st.integers(8, 600), weights=st.lists(st.integers(1, 4), min_size=30, max_size=200))
def test_the_limit_is_used_to_the_full(limit: int, weights: list[int]) -> None:
    """Whoever always has work gets what the limit allows, but for its margin and what a window cannot fill exactly."""
    pacer = Pacer(images=limit)
    starts = [start(pacer, 0.0, weight) for weight in weights]
    assert starts[-1] <= sum(weights[:-1]) * 60.1 / (limit - 3) + 60.1 * 4 / limit


def test_starts_are_spaced_evenly() -> None:
    """60 a minute is one a second, from the first on: no burst."""
    pacer = Pacer(requests=60)
    assert [round(start(pacer, 0.0), 1) for _ in range(4)] == [0, 1, 2, 3]


def test_a_quiet_time_earns_no_burst() -> None:
    """After an hour without work the spacing is the same."""
    pacer = Pacer(requests=60)
    start(pacer, 0.0)
    assert [round(start(pacer, 3600.0), 1) for _ in range(3)] == [3600, 3601, 3602]


def test_reads_are_not_purchases() -> None:
    """A limit on edits does not slow the polls; one on calls does."""
    pacer = Pacer(requests=1, images=1)
    assert [start(pacer, 0.0, 0) for _ in range(3)] == [0, 0, 0]
    assert Pacer(calls=60).ready_at(0.0, images=0) == 0
    pacer = Pacer(calls=60)
    assert [round(start(pacer, 0.0, images), 1) for images in (0, 1, 0)] == [0, 1, 2]


def test_more_pictures_than_the_limit_go_alone() -> None:
    """A request that no window can hold is not starved, and nothing shares its minute."""
    pacer = Pacer(images=2)
    first, second, third = (start(pacer, 0.0, images) for images in (1, 4, 1))
    assert (first, round(second)) == (0, 60)
    assert third >= second + 60


def test_a_limit_of_nothing_is_refused() -> None:
    """It would never end."""
    with pytest.raises(ValueError, match="above zero"):
        Pacer(requests=-1)


# -- the pause after a refusal -------------------------------------------------------------------------------


def refuse(pacer: Pacer, now: float, wish: float | None = None, *, sent: float | None = None) -> bool:
    """A purchase is refused."""
    return pacer.refuse(now if sent is None else sent, now, buys=True, wish=wish, jitter=0.0)


def test_a_pause_holds_everybody_and_is_never_shortened() -> None:
    """One 429 is one shared cool-down; a later, shorter wish changes nothing."""
    pacer = Pacer()
    refuse(pacer, 10.0, 90.0)
    refuse(pacer, 11.0, 5.0)
    assert pacer.ready_at(12.0, images=1) >= 100.0
    assert pacer.ready_at(12.0, images=0) >= 100.0
    assert pacer.cooldown.refused == 2


def test_after_a_pause_the_first_ones_come_back_singly() -> None:
    """Without any limit a pause would end in a burst of everybody who waited."""
    pacer = Pacer()
    refuse(pacer, 0.0, 60.0)
    starts = [start(pacer, 1.0)]
    for _ in range(30):
        starts.append(start(pacer, starts[-1]))
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps[0] >= 0.9
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(gaps))
    assert starts[-1] - starts[0] < 4


def test_without_a_wish_the_pause_doubles_until_something_passes() -> None:
    """A quarter of a second, a half, and so on; a call that was let through starts it anew, one from before the pause does not."""
    pacer, now, pauses = Pacer(requests=600), 0.0, []
    for _ in range(9):
        refuse(pacer, now)
        pauses.append(pacer.cooldown.until - now)
        pacer.cooldown.passed(now - 5.0)
        now = pacer.cooldown.until
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 32]
    pacer.cooldown.passed(now)
    refuse(pacer, now)
    assert pacer.cooldown.until == now + 0.25


def test_refusals_of_one_round_count_once() -> None:
    """Sixty-four calls that were under way together are refused together: one pause, not 2**64 of them."""
    pacer = Pacer()
    assert refuse(pacer, 10.0, sent=9.0)
    assert not any(refuse(pacer, 10.1, sent=9.0) for _ in range(63))
    assert pacer.cooldown.until < 12


@pytest.mark.parametrize("wish", [0.0, -5.0])
def test_a_wish_for_no_time_is_not_obeyed(wish: float) -> None:
    """Retry-After: 0, or a date that has passed, would be a storm."""
    pacer = Pacer(requests=600)
    refuse(pacer, 0.0, wish)
    assert pacer.cooldown.until >= 0.25


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "1795514430"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795514430"}, 30.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795514000"}, None),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "soon"}, None),
    ],
)
def test_what_the_rate_headers_may_say(headers: dict[str, str], seconds: float | None) -> None:
    """They are a hint: used when they can be read against the server's own clock, never required."""
    assert exhausted({"date": "Tue, 24 Nov 2026 10:00:00 GMT", **headers}) == seconds


# -- learning ------------------------------------------------------------------------------------------------


class Server(Protocol):
    """Lets a call at clock time `at` pass, or not; and says how long to wait."""

    def admits(self, at: float) -> bool: ...

    def wait(self, at: float) -> float: ...


@dataclass
class Window:
    """At most `limit` in any 60 seconds."""

    limit: int
    granted: deque[float] = field(default_factory=deque)

    def admits(self, at: float) -> bool:
        while self.granted and self.granted[0] <= at - 60:
            self.granted.popleft()
        if len(self.granted) >= self.limit:
            return False
        self.granted.append(at)
        return True

    def wait(self, at: float) -> float:
        return max(1.0, self.granted[0] + 60 - at)


@dataclass
class Bucket:
    """`limit` a minute drip into a bucket that holds a tenth of them."""

    limit: int
    tokens: float = 0.0
    last: float = 0.0

    def admits(self, at: float) -> bool:
        self.tokens = min(self.limit / 10, self.tokens + (at - self.last) * self.limit / 60)
        self.last = at
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def wait(self, at: float) -> float:
        return 1.0


@dataclass
class Night:
    """What came of a night: clock times of what passed, and how many calls were refused."""

    passed: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def per_minute(self, begin: float, end: float) -> float:
        """What passed, per minute."""
        return sum(begin <= at < end for at in self.passed) * 60 / (end - begin)

    @property
    def share(self) -> float:
        """Of the calls, how many were refused."""
        return len(self.refused) / (len(self.passed) + len(self.refused))


def simulate(pacer: Pacer, server: Server, seconds: float, *, hints: bool, trip: float = 0.05) -> Night:
    """A client that always has work, `trip` seconds away from a server."""
    draw, now, night = random.Random(7), 0.0, Night()
    answers: list[tuple[float, float, bool]] = []
    while now < seconds:
        at = pacer.ready_at(now, images=1)
        if answers and answers[0][0] <= at:
            now, sent, admitted = heapq.heappop(answers)
            if admitted:
                pacer.cooldown.passed(sent)
            else:
                wish = server.wait(now) if hints else None
                pacer.refuse(sent, now, buys=True, wish=wish, jitter=draw.random())
            continue
        now = at
        pacer.take(now, images=1)
        admitted = server.admits(now + trip / 2)
        (night.passed if admitted else night.refused).append(now)
        heapq.heappush(answers, (now + trip * draw.uniform(0.8, 1.2), now, admitted))
    return night


@pytest.mark.parametrize("hints", [False, True], ids=["no hints", "Retry-After"])
@pytest.mark.parametrize("kind", [Window, Bucket])
@pytest.mark.parametrize("limit", [200, 600, 1200, 3000])
def test_an_unknown_limit_is_found_in_two_minutes(limit: int, kind: Callable[[int], Server], hints: bool) -> None:
    """From then on within 5 % of it; under 1 % of all calls are refused."""
    night = simulate(Pacer(learner=Learner()), kind(limit), 1200, hints=hints)
    assert night.per_minute(120, 1200) >= 0.95 * limit
    assert night.share < 0.01


@pytest.mark.parametrize("hints", [False, True], ids=["no hints", "Retry-After"])
@pytest.mark.parametrize("limit", [200, 600, 1200, 3000])
def test_a_window_that_was_found_is_not_run_against(limit: int, hints: bool) -> None:
    """What filled it came ever faster, so that it empties unevenly: the first minutes are no different from the rest."""
    night = simulate(Pacer(learner=Learner()), Window(limit), 300, hints=hints)
    assert night.per_minute(120, 300) >= 0.95 * limit
    assert night.share < 0.01


def test_without_any_limit_one_refusal_is_a_brief_pause() -> None:
    """It says little about the rate; several in a row still make it long."""
    free, limited = Pacer(), Pacer(requests=600)
    for pacer in (free, limited):
        pacer.take(0.0, images=1)
        pacer.refuse(0.0, 1.0, buys=True, wish=None, jitter=0.0)
    assert free.ready_at(1.0, images=1) < 1.1 < limited.ready_at(1.0, images=1)
    now = 1.0
    for _ in range(12):
        now = free.ready_at(1.0, images=1)
        free.take(now, images=1)
        free.refuse(now, now, buys=True, wish=None, jitter=0.0)
    assert free.cooldown.until - now == 32.0


@pytest.mark.parametrize("limit", [6, 20, 60])
def test_a_low_limit_is_found_too(limit: int) -> None:
    """With few calls a minute each refusal weighs more, and the learner asks more and more seldom."""
    night = simulate(Pacer(learner=Learner()), Window(limit), 4 * 3600, hints=False)
    assert night.per_minute(600, 4 * 3600) >= 0.95 * limit - 0.5
    assert night.share < 0.02


def test_what_was_learnt_is_where_the_next_run_starts() -> None:
    """A restart does not try everything out again."""
    first = Learner()
    simulate(Pacer(learner=first), Window(600), 600, hints=False)
    assert first.found == pytest.approx(600, rel=0.05)
    second = simulate(Pacer(learner=Learner(first.found, confidence=first.confidence)), Window(600), 600, hints=False)
    assert len(second.refused) <= 10
    assert second.per_minute(0, 600) >= 0.95 * 600


def test_a_named_limit_is_never_exceeded_and_left_when_it_is_wrong() -> None:
    """The user says 600; the provider lets 300 pass."""
    pacer = Pacer(requests=600, learner=Learner(ceiling=600))
    wrong = simulate(pacer, Window(300), 1200, hints=False)
    assert wrong.per_minute(120, 1200) >= 0.95 * 300
    assert wrong.share < 0.01
    right = simulate(Pacer(requests=600, learner=Learner(ceiling=600)), Window(10_000), 600, hints=False)
    assert most_in_a_minute([(at, 1) for at in right.passed]) <= 600
    assert right.per_minute(0, 600) >= 0.99 * 600


def test_a_limit_that_changes_is_followed() -> None:
    """Down at once, up within minutes."""
    window, learner = Window(600), Learner()
    simulate(Pacer(learner=learner), window, 600, hints=False)
    found = learner.found
    for limit in (300, 900):
        window.limit, window.granted = limit, deque()
        learner = Learner(found)
        night = simulate(Pacer(learner=learner), window, 1800, hints=False)
        assert night.per_minute(900, 1800) >= 0.9 * limit, limit
        found = learner.found


def test_a_refusal_that_has_nothing_to_do_with_us_costs_little() -> None:
    """One in a thousand refused at random, and no limit at all: the rate stays far above what is asked for."""

    class Moody:
        def __init__(self) -> None:
            self._draw = random.Random(3)

        def admits(self, at: float) -> bool:
            return self._draw.random() > 0.001

        def wait(self, at: float) -> float:
            return 1.0

    night = simulate(Pacer(requests=120, learner=Learner(ceiling=120)), Moody(), 3600, hints=False)
    assert night.per_minute(0, 3600) >= 0.9 * 120


def test_a_storm_of_a_thousand_clients_ends_without_lockstep() -> None:
    """A thousand clients are refused at the same moment and told the same second: they come back spread out."""
    back = []
    for number in range(1000):
        pacer = Pacer()
        jitter = random.Random(f"client {number}").random()
        pacer.refuse(0.0, 0.0, buys=True, wish=20.0, jitter=jitter)
        back.append(start(pacer, 0.0))
    busiest = max(sum(second <= at < second + 1 for at in back) for second in range(20, 26))
    assert min(back) >= 20
    assert max(back) <= 25
    assert busiest <= 250


def test_a_storm_dies_down() -> None:
    """A hundred clients share a limit that each of them would use alone: they settle, and hardly anything is refused."""
    server, draw = Window(600), random.Random(11)
    pacers = [Pacer(learner=Learner()) for _ in range(100)]
    due = [(draw.random(), number) for number in range(100)]
    heapq.heapify(due)
    outcome: list[tuple[float, bool]] = []
    while due[0][0] < 1800:
        now, number = heapq.heappop(due)
        pacer = pacers[number]
        at = pacer.ready_at(now, images=1)
        if at > now:
            heapq.heappush(due, (at, number))
            continue
        pacer.take(now, images=1)
        admitted = server.admits(now)
        outcome.append((now, admitted))
        if admitted:
            pacer.cooldown.passed(now)
        else:
            pacer.refuse(now, now, buys=True, wish=None, jitter=draw.random())
        heapq.heappush(due, (now + 0.05, number))
    late = [admitted for at, admitted in outcome if at >= 900]
    assert sum(late) / 15 >= 0.9 * 600
    assert late.count(False) / len(late) < 0.25


@pytest.mark.parametrize("wish", [None, 5.0])
def test_a_few_refusals_at_the_beginning_are_no_limit(wish: float | None) -> None:
    """What passed within the first seconds is not what passes in a minute: the night does not go on at one a minute."""
    learner = Learner()
    for at in (0.0, 1.0, 2.0):
        learner.take(at)
    learner.refuse(1.0, 1.2, in_a_row=1, wish=wish)
    learner.refuse(2.0, 3.5, in_a_row=2, wish=wish)
    assert learner.per_minute >= 20
