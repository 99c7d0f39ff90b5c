"""
One pass over everything that was bought: requests, the tasks that bear their cost, attempts.

What costs most in a ledger of a million tasks is to find each attempt's request and task, so it is done once: the sums
of attempts and of tasks, and how long things took, come from the same rows. Tasks that share what another one has paid
for are counted in a second pass, if there are any.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from batchedit.ledger.sums import CostGroup, Durations, TaskGroup
from batchedit.ledger.views import FIRST_IN_RUN, IS_NOW, WAITED_SINCE, money_use
from batchedit.lifecycle import State
from batchedit.money import ZERO, MicroUSD

DIMENSIONS = {"edit": "t", "variant": "t", "tags": "t", "provider": "r", "model": "r", "quality": "r", "size": "r"}
"""What groups differ in besides labels, and whether it stands with the task (t) or the request (r)."""

_TENTHS = "CAST(round((julianday({end}) - julianday({begin})) * 864000) AS INTEGER)"

# CROSS JOIN keeps this order: requests and tasks lie in the order of the manifest. Finding them for each attempt, in
# the order of time, takes twice as long. LIMIT keeps the inner query apart, so that what is sorted for the groups is as
# narrow as can be: few columns, small numbers put together in one.
_EACH = """
SELECT {minute} AS minute, a.run_id AS run, t.labels AS labels{own},
  a.outcome AS outcome, a.cost_basis AS basis, r.state AS state, {use} AS use, {said} AS said,
  coalesce(a.number = 1, 0) + 2 * (r.revision > 1) + 4 * {counted} + 32 * {before}
  + 8 * CASE WHEN a.outcome = 'done' AND t.wanted_by > a.run_id AND t.request_key = r.key
      AND a.ended_at < (SELECT u.started_at FROM runs AS u WHERE u.id = t.wanted_by)
    THEN CASE WHEN EXISTS (
      SELECT 1 FROM outputs CROSS JOIN runs AS u WHERE outputs.slot = t.slot AND outputs.placed_at > a.ended_at
        AND u.id > a.run_id AND u.started_at > a.ended_at AND u.started_at <= outputs.placed_at
    ) THEN 2 ELSE 1 END ELSE 0 END AS flags,
  CASE WHEN r.state = 'done' AND {counted} THEN (SELECT count(*) FROM outputs WHERE outputs.slot = t.slot) ELSE 0 END
  + 1000 * CASE
    WHEN a.outcome = 'done' THEN r.samples
    WHEN a.outcome IN ('suspect', 'lost')
      THEN (SELECT count(*) FROM raws WHERE raws.request_key = r.key AND raws.attempt_id = a.id)
    ELSE 0
  END AS files,
  a.cost_microusd AS cost, a.reserved_microusd AS reserved, a.doubt_microusd AS doubt,
  a.surplus_microusd AS surplus, a.surplus_doubt_microusd AS surplus_doubt,
  r.quote_low_microusd AS quoted_low, r.quote_high_microusd AS quoted_high,
  {queued} AS queued, CASE WHEN a.outcome = 'done' THEN {took} END AS took
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot {join} attempts AS a ON a.request_key = r.key
{only}{when}
LIMIT -1
"""

_GROUPS = """
SELECT minute, CAST(run AS TEXT) AS run, labels, {dimensions}, outcome, basis, state, use,
  coalesce(said, '') AS verdict, flags, files, count(*) AS count, sum(cost) AS cost, sum(reserved) AS at_risk,
  sum(doubt) AS doubt,
  sum(surplus) AS surplus, sum(surplus_doubt) AS surplus_doubt, sum(quoted_low) AS quoted_low,
  sum(quoted_high) AS quoted_high, group_concat(queued) AS queued, group_concat(took) AS took
FROM ({each}) GROUP BY minute, labels, outcome, flags, files, state, use, run, basis, said{differing}
"""

_SHARED = """
SELECT t.labels, {dimensions}, r.state, coalesce({verdict}, '') AS verdict, r.revision > 1 AS again,
  {before} AS before,
  count(*) AS tasks,
  sum(CASE WHEN r.state = 'done' THEN (SELECT count(*) FROM outputs WHERE outputs.slot = t.slot) ELSE 0 END)
    AS delivered,
  sum(CASE WHEN r.state = 'done'
    THEN (SELECT coalesce(sum(cost_microusd), 0) FROM attempts WHERE attempts.request_key = r.key) ELSE 0 END)
    AS avoided
FROM tasks AS t JOIN requests AS r ON r.key = t.request_key
{only} AND t.slot <> r.buyer_slot
GROUP BY t.labels{differing}, r.state, verdict, again, before
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What is looked at, as SQL.

    Attributes:
        only: WHERE, about the task `t` and the request `r`.
        timed: Only attempts within the time that stands in the table `period`.
        verdict: What was last said about the pictures of `r` for `t`.
        renamed: Some tasks had other names before.
    """

    only: str
    timed: bool
    verdict: str
    renamed: bool

    @property
    def said(self) -> str:
        """`verdict`, once for tasks that have another name now."""
        return f"CASE WHEN {IS_NOW.format(task='t')} THEN {self.verdict} END" if self.renamed else self.verdict

    @property
    def before(self) -> str:
        """Whether the pictures that `t` had before those of `r` were rejected."""
        if self.verdict == NOTHING_SAID:
            return "0"
        once = f" AND {IS_NOW.format(task='t')}" if self.renamed else ""
        later = "SELECT 1 FROM decisions AS l WHERE l.slot = d.slot AND l.request_key = d.request_key AND l.id > d.id"
        return (
            f"CASE WHEN r.revision > 1{once} THEN EXISTS (SELECT 1 FROM decisions AS d WHERE d.slot = t.slot"
            f" AND d.request_key <> r.key AND d.verdict = 'rejected' AND NOT EXISTS ({later})) ELSE 0 END"
        )

    @property
    def when(self) -> str:
        """More conditions, about the attempt `a`; empty for all time."""
        return within_period("a") if self.timed else ""


@dataclass(slots=True)
class Passed:
    """What the pass has found."""

    costs: list[CostGroup] = field(default_factory=list)
    tasks: list[TaskGroup] = field(default_factory=list)
    took: Counter[tuple[str, int]] = field(default_factory=Counter)
    queued: Counter[tuple[str, int]] = field(default_factory=Counter)

    def count_times(self, row: sqlite3.Row) -> None:
        """Count the tenths of seconds that stand together in a group's row, with commas."""
        for counts, text in ((self.took, row["took"]), (self.queued, row["queued"])):
            for tenths, count in Counter(text.split(",")).items() if text else ():
                counts[row["quality"], _coarse(int(tenths))] += count

    def durations(self) -> Iterator[Durations]:
        """How long purchases took, and how long requests waited to be sent."""
        for counts, queued in ((self.took, False), (self.queued, True)):
            for (quality, tenths), count in counts.items():
                yield Durations(quality=quality, tenths=tenths, count=count, queued=queued)


def go_through(connection: sqlite3.Connection, limits: Limits, name: str) -> Passed:
    """
    Read everything once.

    Args:
        name: Stands before the numbers of runs.
    """
    passed = Passed()
    known = _Dimensions(connection)
    prices = {str(row["id"]): row["price_list"] for row in connection.execute("SELECT id, price_list FROM runs")}
    alike: dict[tuple[object, ...], list[int]] = {}
    for row in connection.execute(_query(known, limits)):
        count, flags = row["count"], row["flags"]
        if row["basis"] is not None:  # else the request has not been sent yet
            passed.costs.append(_cost_group(row, name, prices, 15 if known.long else 1))
            passed.count_times(row)
        counted, kept = count if flags & 4 else 0, flags >> 3 & 3
        if counted or kept:
            told_apart = (*(row[part] for part in _TASK_KEY), bool(flags & 2), bool(flags & 32))
            sums = alike.setdefault(told_apart, [0, 0, 0, 0])
            sums[0] += counted
            sums[1] += count * (row["files"] % 1000)
            if kept:
                sums[1 + kept] += row["cost"]
    for key, sums in alike.items():
        told = dict(zip((*_TASK_KEY, "again", "before"), key, strict=True))
        told |= dict(zip(("tasks", "delivered", "reused", "restored"), sums, strict=True))
        passed.tasks.append(_task_group(told, shared=False))
    if limits.only != EVERYTHING or sum(group.tasks for group in passed.tasks) < _count(connection, "tasks"):
        shared = _SHARED.format(dimensions=known.list(), differing=known.by(), verdict=limits.said,
                                before=limits.before, only=limits.only)  # fmt: skip
        passed.tasks += (_task_group(dict(row), shared=True) for row in connection.execute(shared))
    return passed


def _cost_group(row: sqlite3.Row, name: str, prices: Mapping[str, str], stretch: int) -> CostGroup:
    bought, count, opened = row["basis"] != "none", row["count"], row["outcome"] is None
    return CostGroup(
        minute=row["minute"],
        run=f"{name}{row['run']}",
        **{part: row[part] for part in ("labels", *DIMENSIONS, "use", "basis", *_AMOUNTS)},
        outcome="open" if opened else row["outcome"],
        attempts=count,
        requests=count if row["flags"] & 1 else 0,
        pictures=count * (row["files"] // 1000),
        at_risk=MicroUSD(row["at_risk"] if opened else 0),
        quoted_low=MicroUSD(row["quoted_low"] if bought else 0),
        quoted_high=MicroUSD(row["quoted_high"] if bought else 0),
        price_list=prices[row["run"]],
        stretch=stretch,
    )


def _task_group(told: dict[str, Any], *, shared: bool) -> TaskGroup:
    told |= {
        "shared": shared,
        "again": bool(told["again"]),
        "before": bool(told["before"]),
        "state": State(told["state"]),
    }
    return TaskGroup(**{"avoided": ZERO, **told})


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _query(known: _Dimensions, limits: Limits) -> str:
    counted = "t.request_key = r.key AND coalesce(a.number, 1) = 1"
    if limits.timed:
        # Each task is counted with its request's first attempt in that time.
        earlier = "SELECT 1 FROM attempts AS e WHERE e.request_key = r.key AND e.number < a.number"
        counted = f"t.request_key = r.key AND NOT EXISTS ({earlier}{within_period('e')})"
    each = _EACH.format(
        minute=QUARTER if known.long else MINUTE,
        own=known.own(),
        use=money_use(limits.verdict, renamed=limits.renamed),
        said=limits.said,
        counted=f"({counted})",
        before=limits.before,
        queued=f"CASE WHEN {FIRST_IN_RUN} THEN {_TENTHS.format(begin=WAITED_SINCE, end='a.started_at')} END",
        took=_TENTHS.format(begin="a.started_at", end="a.ended_at"),
        join="CROSS JOIN" if limits.timed else "LEFT JOIN",
        only=limits.only,
        when=limits.when,
    )
    return _GROUPS.format(each=each, dimensions=known.list(own=False), differing=known.by(own=False))


_TASK_KEY = ("labels", *DIMENSIONS, "state", "verdict")
_AMOUNTS = ("cost", "doubt", "surplus", "surplus_doubt")
NOTHING_SAID = "NULL"
"""The verdict of a ledger without any."""
EVERYTHING = "WHERE 1"
"""The condition that leaves nothing out."""


def within_period(alias: str) -> str:
    """SQL: one more condition, that the attempt of this alias ended (or began if it is open) within `period`."""
    moment = f"coalesce({alias}.ended_at, {alias}.started_at)"
    return f" AND {moment} >= (SELECT since FROM period) AND {moment} < (SELECT until FROM period)"


MINUTE = "substr(coalesce(a.ended_at, a.started_at), 1, 16)"
QUARTER = (
    "substr(coalesce(a.ended_at, a.started_at), 1, 14) || CASE"
    " WHEN substr(coalesce(a.ended_at, a.started_at), 15, 2) < '15' THEN '00'"
    " WHEN substr(coalesce(a.ended_at, a.started_at), 15, 2) < '30' THEN '15'"
    " WHEN substr(coalesce(a.ended_at, a.started_at), 15, 2) < '45' THEN '30' ELSE '45' END"
)
"""Of an hour: no clock on earth is set to less, so that days can still be told apart in every time zone."""


def _is_long(connection: sqlite3.Connection) -> bool:
    """True if minutes are too fine for a ledger: nobody could see them in a picture of its time."""
    began = connection.execute("SELECT min(started_at) AS at FROM runs").fetchone()["at"]
    last = connection.execute("SELECT started_at AS at FROM attempts ORDER BY id DESC LIMIT 1").fetchone()
    if began is None or last is None:
        return False
    return datetime.fromisoformat(last["at"]) - datetime.fromisoformat(began) > _LONG


_LONG = timedelta(hours=24)


class _Dimensions:
    """
    The dimensions for a list of columns and for a GROUP BY. What is the same everywhere, as most of them are, is
    written out: grouping a million rows by it would take half of the time.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._same: dict[str, str] = {}
        self.long = _is_long(connection)
        for alias, table in {"t": "tasks", "r": "requests"}.items():
            names = [name for name, where in DIMENSIONS.items() if where == alias]
            if "tags" in names and not _has_tags(connection):
                names.remove("tags")
                self._same["tags"] = "[]"
            first = connection.execute(f"SELECT {', '.join(names)} FROM {table} LIMIT 1").fetchone()
            if first is None:
                continue
            others = ", ".join(f"total({name} <> ?)" for name in names)
            found = connection.execute(f"SELECT {others} FROM {table}", tuple(first)).fetchone()
            self._same |= {name: first[name] for name, differ in zip(names, found, strict=True) if not differ}

    def differ(self, name: str) -> bool:
        """False if it is the same everywhere."""
        return name not in self._same

    def own(self) -> str:
        """Those that differ, as more columns of a SELECT from the tables."""
        return "".join(f", {alias}.{name} AS {name}" for name, alias in DIMENSIONS.items() if self.differ(name))

    def list(self, *, own: bool = True) -> str:
        """
        All of them as columns of a SELECT.

        Args:
            own: From the tables themselves, and not from a query over them.
        """
        return ", ".join(
            f"{self._named(name, own)} AS {name}" if self.differ(name) else f"{_quoted(self._same[name])} AS {name}"
            for name in DIMENSIONS
        )

    def by(self, *, own: bool = True) -> str:
        """Those that differ, at the end of a GROUP BY."""
        return "".join(f", {self._named(name, own)}" for name in DIMENSIONS if self.differ(name))

    def _named(self, name: str, own: bool) -> str:
        return f"{DIMENSIONS[name]}.{name}" if own else name


def _has_tags(connection: sqlite3.Connection) -> bool:
    # A ledger of an older version has none, and is only read here.
    return any(row["name"] == "tags" for row in connection.execute("PRAGMA table_info(tasks)"))


def _quoted(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))


def _coarse(tenths: int) -> int:
    """Tenths of a second up to 100 s, seconds up to 1,000 s, minutes above: few different ones in a long night."""
    return tenths if tenths <= 1000 else tenths - tenths % (10 if tenths < 10_000 else 600)
