"""
When a job may send: nights by the clock of a time zone, also where that clock is changed.

A time that the clock skips in spring is the moment at which the clock, not yet changed, would have shown it; of a time
that it shows twice in autumn the first counts, for the beginning and for the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_DAYS_AHEAD = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """
    One night.

    Attributes:
        day: The day on which it begins; its name.
        opens, closes: When something may be sent, in UTC; None for a job without a window.
        begins, ends: From this moment to before that one what is spent belongs to it, in UTC.
    """

    day: date
    opens: datetime | None
    closes: datetime | None
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    A job's window.

    Attributes:
        start, stop: By the clock of `zone`; a `stop` that is not later than `start` is on the next day.
        days: Days on which nights begin, Monday 0.
        grace_seconds: How long what is in flight at the end may go on.
    """

    start: time
    stop: time
    zone: tzinfo = UTC
    days: frozenset[int] = frozenset(range(7))
    grace_seconds: float = 600.0

    def night_of(self, day: date) -> Night:
        """The night that begins on a day, whether or not it is one of `days`."""
        opens, closes = self._sends(day)
        ends = moment(day + timedelta(days=1), self.start, self.zone)
        return Night(day=day, opens=opens, closes=closes, begins=opens, ends=ends)

    def _sends(self, day: date) -> tuple[datetime, datetime]:
        last = day if self.stop > self.start else day + timedelta(days=1)
        return moment(day, self.start, self.zone), moment(last, self.stop, self.zone)

    def current(self, now: datetime) -> Night | None:
        """The night in whose window a moment lies, None outside."""
        local = now.astimezone(self.zone).date()
        for day in (local - timedelta(days=1), local):
            opens, closes = self._sends(day)
            if day.weekday() in self.days and opens <= now < closes:
                return self.night_of(day)
        return None

    def next_after(self, now: datetime) -> Night | None:
        """The next night that opens after a moment; None if none does within two weeks."""
        local = now.astimezone(self.zone).date()
        for days in range(-1, _DAYS_AHEAD):
            day = local + timedelta(days=days)
            opens, closes = self._sends(day)
            if day.weekday() in self.days and now < opens < closes:
                return self.night_of(day)
        return None


def moment(day: date, clock: time, zone: tzinfo) -> datetime:
    """The moment in UTC at which a zone's clock shows this."""
    return datetime.combine(day, clock, zone).astimezone(UTC)


def night_at(now: datetime, window: Window | None, zone: tzinfo) -> Night:
    """
    The night that what is spent now belongs to: from one beginning of the window to the next, or a calendar day of the
    zone for a job without a window.
    """
    local = now.astimezone(zone).date()
    if window is None:
        midnight = time()
        return Night(
            day=local,
            opens=None,
            closes=None,
            begins=moment(local, midnight, zone),
            ends=moment(local + timedelta(days=1), midnight, zone),
        )
    for days in (0, 1, 2):
        night = window.night_of(local - timedelta(days=days))
        if night.begins <= now < night.ends:
            return night
    return window.night_of(local)


def months_of(begins: datetime, ends: datetime, zone: tzinfo) -> list[tuple[str, datetime, datetime]]:
    """The calendar months of a zone that a stretch of time touches: name, beginning and end in UTC."""
    first = begins.astimezone(zone).date().replace(day=1)
    found: list[tuple[str, datetime, datetime]] = []
    while True:
        after = (first + timedelta(days=32)).replace(day=1)
        start = moment(first, time(), zone)
        if found and start >= ends:
            return found
        found.append((f"{first:%Y-%m}", start, moment(after, time(), zone)))
        first = after


def sample_days() -> tuple[date, ...]:
    """A day in each season: between them a zone's clock is changed, if it ever is."""
    return (date(2026, 1, 15), date(2026, 7, 15))
