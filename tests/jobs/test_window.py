"""Nights by the clock, also where the clock is changed."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.jobs.window import Window, months_of, night_at

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
)
MOMENTS = st.integers(1_704_067_200, 1_830_297_600).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TIMES = st.times().map(lambda each: each.replace(microsecond=0, fold=0))  # as they are read from a job


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, stop = draw(st.lists(TIMES, min_size=2, max_size=2, unique=True))
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    return Window(start=start, stop=stop, zone=ZoneInfo(draw(ZONES)), days=days)


OVERNIGHT = Window(start=time(19), stop=time(6), zone=BERLIN)


@pytest.mark.parametrize(
    ("day", "opens", "closes", "hours"),
    [
        (date(2026, 11, 25), "2026-11-25T18:00", "2026-11-26T05:00", 11),
        (date(2026, 3, 28), "2026-03-28T18:00", "2026-03-29T04:00", 10),  # an hour is skipped
        (date(2026, 10, 24), "2026-10-24T17:00", "2026-10-25T05:00", 12),  # an hour comes twice
    ],
)
def test_a_night_ends_when_the_clock_says_so(day: date, opens: str, closes: str, hours: int) -> None:
    """However long it is."""
    night = OVERNIGHT.night_of(day)
    assert (night.opens, night.closes) == (utc(opens), utc(closes))
    assert utc(closes) - utc(opens) == timedelta(hours=hours)
    assert OVERNIGHT.current(utc(closes) - timedelta(seconds=1)) == night
    assert OVERNIGHT.current(utc(closes)) is None
    assert OVERNIGHT.current(utc(opens)) == night
    assert OVERNIGHT.current(utc(opens) - timedelta(seconds=1)) is None


def test_a_time_that_is_skipped_or_comes_twice() -> None:
    """Skipped: as if the clock had not been changed. Twice: the first one."""
    early = Window(start=time(2, 30), stop=time(4), zone=BERLIN)
    assert early.night_of(date(2026, 3, 29)).opens == utc("2026-03-29T01:30")
    assert early.night_of(date(2026, 10, 25)).opens == utc("2026-10-25T00:30")
    # 02:45 does not exist and would come after 03:00: there is no window that night.
    none = Window(start=time(2, 45), stop=time(3), zone=BERLIN)
    assert none.current(utc("2026-03-29T01:45")) is None
    after = none.next_after(utc("2026-03-28T12:00"))
    assert after is not None
    assert after.day == date(2026, 3, 30)


def test_days_are_those_on_which_nights_begin() -> None:
    """Friday's night goes on on Saturday morning; Saturday has none."""
    window = Window(start=time(19), stop=time(6), zone=BERLIN, days=frozenset(range(5)))
    assert window.current(utc("2026-11-28T04:00")) == window.night_of(date(2026, 11, 27))  # Saturday, five o'clock
    assert window.current(utc("2026-11-28T20:00")) is None
    after = window.next_after(utc("2026-11-28T20:00"))
    assert after is not None
    assert after.day == date(2026, 11, 30)


@given(windows(), MOMENTS)
def test_a_moment_is_inside_or_there_is_a_next_opening(window: Window, now: datetime) -> None:
    """And what is inside lies between opening and closing, in a night that begins on one of the days."""
    current, after = window.current(now), window.next_after(now)
    if current is not None:
        assert current.opens is not None
        assert current.closes is not None
        assert current.opens <= now < current.closes
        assert current.day.weekday() in window.days
        assert night_at(now, window, window.zone).day == current.day
    assert after is not None
    assert after.opens is not None
    assert after.opens > now
    assert window.current(after.opens) == after
    local = after.opens.astimezone(window.zone)
    if after.opens == local.replace(fold=0).astimezone(UTC):
        assert local.time() == window.start or local.utcoffset() != (local - timedelta(hours=3)).utcoffset()


@given(windows(), MOMENTS)
def test_each_moment_belongs_to_one_night(window: Window, now: datetime) -> None:
    """The next one begins where it ends."""
    night = night_at(now, window, window.zone)
    assert night.begins <= now < night.ends
    assert window.night_of(night.day + timedelta(days=1)).begins == night.ends


@given(ZONES, MOMENTS)
def test_without_a_window_a_night_is_a_day(name: str, now: datetime) -> None:
    """Of the calendar of its zone."""
    zone = ZoneInfo(name)
    night = night_at(now, None, zone)
    assert night.begins <= now < night.ends
    assert night.day == now.astimezone(zone).date()
    assert night.opens is night.closes is None


@given(ZONES, MOMENTS, st.timedeltas(timedelta(0), timedelta(days=70)))
def test_months_follow_each_other(name: str, begins: datetime, length: timedelta) -> None:
    """All that a stretch touches, and no other."""
    found = months_of(begins, begins + length, ZoneInfo(name))
    assert found[0][1] <= begins < found[0][2]
    assert all(one[2] == other[1] for one, other in itertools.pairwise(found))
    assert found[-1][1] < begins + length or len(found) == 1
    assert begins + length <= found[-1][2]


def test_a_night_over_the_end_of_a_month_is_in_both() -> None:
    """So that neither month's limit is passed."""
    night = OVERNIGHT.night_of(date(2026, 11, 30))
    assert night.opens is not None
    assert night.closes is not None
    assert [name for name, _, _ in months_of(night.opens, night.closes, BERLIN)] == ["2026-11", "2026-12"]
