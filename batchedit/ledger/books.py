"""
Reading a ledger for reports: rows that agree in everything a report groups by, added up by SQLite.

A night of a million tasks becomes a few hundred rows here, so that a report takes seconds. Nothing is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from batchedit.keys import from_spec
from batchedit.ledger.reader import Ledger
from batchedit.ledger.records import read_raw
from batchedit.ledger.sums import CostGroup, Durations, Pictured, TaskGroup, Trouble
from batchedit.ledger.views import VERDICT, money_use
from batchedit.ledger.waiting import has_table
from batchedit.lifecycle import State
from batchedit.money import MicroUSD

_EVERYTHING = "WHERE 1"
_PERIOD = (
    " AND coalesce(a.ended_at, a.started_at) >= (SELECT since FROM period)"
    " AND coalesce(a.ended_at, a.started_at) < (SELECT until FROM period)"
)
_VERDICT = VERDICT.format(column="verdict")
# Multiples of the golden ratio: rows are taken evenly from every stretch, and never in step with the edits of an item.
_SCATTERED = "(t.rowid * 2654435761) % 4294967296"
_DIMENSIONS = {"edit": "t", "variant": "t", "provider": "r", "model": "r", "quality": "r", "size": "r"}
"""What groups differ in besides labels, and whether it stands with the task (t) or the request (r)."""

_MAP_BYTES = 8 * 1024**3
_CACHE_KIB = 256 * 1024

# CROSS JOIN keeps this order: requests and tasks lie in the order of the manifest. Finding them for each attempt, in
# the order of time, takes twice as long.
_COSTS = """
SELECT substr(coalesce(a.ended_at, a.started_at), 1, 16) AS minute, a.run_id AS run, t.labels, {dimensions},
  coalesce(a.outcome, 'open') AS outcome,
  {use} AS use,
  a.cost_basis AS basis, count(*) AS attempts, sum(a.number = 1) AS requests,
  sum(CASE
    WHEN a.outcome = 'done' THEN r.samples
    WHEN a.outcome IN ('suspect', 'lost')
      THEN (SELECT count(*) FROM raws WHERE raws.request_key = r.key AND raws.attempt_id = a.id)
    ELSE 0
  END) AS pictures,
  sum(a.cost_microusd) AS cost,
  sum(CASE WHEN a.outcome IS NULL THEN a.reserved_microusd ELSE 0 END) AS at_risk,
  sum(a.doubt_microusd) AS doubt, sum(a.surplus_microusd) AS surplus, sum(a.surplus_doubt_microusd) AS surplus_doubt,
  sum(CASE WHEN a.cost_basis <> 'none' THEN r.quote_low_microusd ELSE 0 END) AS quoted_low,
  sum(CASE WHEN a.cost_basis <> 'none' THEN r.quote_high_microusd ELSE 0 END) AS quoted_high
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot CROSS JOIN attempts AS a ON a.request_key = r.key
{only}{when}
GROUP BY minute, run, t.labels{differing}, outcome, use, basis
"""

_TASKS = """
SELECT t.labels, {dimensions}, r.state, t.slot <> r.buyer_slot AS shared,
  coalesce({verdict}, '') AS verdict, r.revision > 1 AS again, count(*) AS tasks,
  sum(CASE WHEN r.state = 'done' THEN (SELECT count(*) FROM outputs WHERE outputs.slot = t.slot)
    ELSE 0 END) AS delivered,
  sum(CASE WHEN t.slot <> r.buyer_slot AND r.state = 'done'
    THEN (SELECT coalesce(sum(cost_microusd), 0) FROM attempts WHERE attempts.request_key = r.key)
    ELSE 0 END) AS avoided
FROM tasks AS t JOIN requests AS r ON r.key = t.request_key
{only}
GROUP BY t.labels{differing}, r.state, shared, verdict, again
"""

_TROUBLES = """
SELECT r.state, r.code, r.reason, r.retryable, count(*) AS tasks, min(r.changed_at) AS first, max(r.changed_at) AS last,
  sum(CASE WHEN t.slot = r.buyer_slot
    THEN (SELECT coalesce(sum(cost_microusd), 0) FROM attempts WHERE attempts.request_key = r.key) ELSE 0 END) AS cost,
  sum(CASE WHEN t.slot = r.buyer_slot THEN (SELECT coalesce(sum(reserved_microusd), 0) FROM attempts
    WHERE attempts.request_key = r.key AND outcome IS NULL) ELSE 0 END) AS at_risk
FROM requests AS r CROSS JOIN tasks AS t ON t.request_key = r.key
{only} AND r.state <> 'done' AND r.reason <> ''
GROUP BY r.state, r.code, r.reason, r.retryable ORDER BY tasks DESC, r.state, r.code, r.reason LIMIT ?
"""

_SLOTS = """
SELECT t.slot FROM requests AS r CROSS JOIN tasks AS t ON t.request_key = r.key
{only} AND r.state = ? AND r.code = ? AND r.reason = ? AND r.retryable = ? ORDER BY t.rowid LIMIT ?
"""

_DURATIONS_OF_ONE = """
SELECT CAST(round((julianday(ended_at) - julianday(started_at)) * 864000) AS INTEGER) AS tenths, count(*) AS count
FROM attempts WHERE outcome = 'done' GROUP BY tenths
"""

_DURATIONS = """
SELECT r.quality, CAST(round((julianday(a.ended_at) - julianday(a.started_at)) * 864000) AS INTEGER) AS tenths,
  count(*) AS count
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot CROSS JOIN attempts AS a ON a.request_key = r.key
{only}{when} AND a.outcome = 'done' GROUP BY r.quality, tenths
"""

_PICTURED = """
SELECT t.slot, r.state, coalesce({verdict}, '') AS verdict, r.key, r.spec, raws.*, coalesce(outputs.path, '') AS path,
  (SELECT coalesce(sum(cost_microusd), 0) FROM attempts WHERE attempts.request_key = r.key) AS cost
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot
  LEFT JOIN raws ON raws.request_key = r.key AND raws.number = 1
  LEFT JOIN outputs ON outputs.slot = t.slot AND outputs.number = 1
{only} AND t.request_key = r.key AND r.state = ? AND t.rowid IN (
  SELECT t.rowid FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot
  {only} AND t.request_key = r.key AND r.state = ? ORDER BY {scattered} LIMIT ?
) ORDER BY t.rowid
"""


class Books(Ledger):
    """
    A ledger opened for a report; a context manager.

    Args:
        name: Stands before the numbers of runs, where there are several ledgers.
    """

    def __init__(self, path: Path | str, name: str = "") -> None:
        super().__init__(path)
        self._name = name
        # Each row is found by a key without any order: without the file in memory most of the time goes into reading.
        self._connection.execute(f"PRAGMA mmap_size={_MAP_BYTES}")
        self._connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._connection.execute("PRAGMA temp_store=MEMORY")
        self._only, self._when = _EVERYTHING, ""
        # One moment for all questions, also while a run is writing: else the parts would not add up to the whole.
        self._connection.execute("BEGIN")
        self._verdict = _VERDICT if self._has_decisions() else "NULL"
        self._dimensions, self._differing = self._find_dimensions()

    def restrict(self, slots: Iterable[str]) -> None:
        """Look at these tasks only; what they share counts with the task that bears the cost."""
        # Temporary tables are this connection's own; it may write nothing else.
        self._connection.execute("CREATE TEMP TABLE chosen (slot TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((slot,) for slot in slots))
        self._only += " AND t.slot IN (SELECT slot FROM chosen)"

    def restrict_time(self, since: str, until: str) -> None:
        """Look at what ended from one ISO moment (UTC) to before another, and at the tasks that it was for."""
        self._connection.execute("CREATE TEMP TABLE period (since TEXT, until TEXT)")
        self._connection.execute("INSERT INTO period VALUES (?, ?)", (since, until))
        self._when = _PERIOD
        self._connection.execute("CREATE TEMP TABLE timely (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.execute(
            f"INSERT OR IGNORE INTO timely SELECT a.request_key FROM attempts AS a WHERE 1{self._when}"
        )
        self._only += " AND r.key IN (SELECT key FROM timely)"

    def cost_groups(self) -> Iterator[CostGroup]:
        """All attempts, added up."""
        for row in self._rows(_COSTS):
            yield CostGroup(**{**dict(row), "run": f"{self._name}{row['run']}"})

    def task_groups(self) -> Iterator[TaskGroup]:
        """All tasks, counted."""
        for row in self._rows(_TASKS):
            flags = {name: bool(row[name]) for name in ("shared", "again")}
            yield TaskGroup(**{**dict(row), **flags, "state": State(row["state"])})

    def troubles(self, *, groups: int = 50, slots: int = 3) -> Iterator[Trouble]:
        """Why tasks are not done, most frequent first."""
        for row in self._rows(_TROUBLES, (groups,)).fetchall():
            alike = (row["state"], row["code"], row["reason"], row["retryable"], slots)
            some = tuple(each["slot"] for each in self._rows(_SLOTS, alike))
            known = {**dict(row), "state": State(row["state"]), "retryable": bool(row["retryable"])}
            yield Trouble(**known, slots=some)

    def durations(self) -> Iterator[Durations]:
        """How long purchases took."""
        qualities = [row["quality"] for row in self._connection.execute("SELECT DISTINCT quality FROM requests")]
        if len(qualities) == 1 and self._only == _EVERYTHING:  # which spares finding each attempt's request
            for row in self._connection.execute(_DURATIONS_OF_ONE):
                yield Durations(quality=qualities[0], **dict(row))
            return
        for row in self._rows(_DURATIONS):
            yield Durations(**dict(row))

    def pictures(self, most: int) -> list[Pictured]:
        """So many tasks with pictures at most: those that are odd first, then the others, evenly from all of them."""
        found: list[Pictured] = []
        for state in (State.SUSPECT, State.DONE):
            room = most - len(found)
            found += [_pictured(row) for row in self._rows(_PICTURED, (state, state, room))]
        return found

    def _has_decisions(self) -> bool:
        if not has_table(self._connection, "decisions"):
            return False
        return self._connection.execute("SELECT 1 FROM decisions LIMIT 1").fetchone() is not None

    def _find_dimensions(self) -> tuple[str, str]:
        """
        The dimensions for a list of columns and for a GROUP BY. What is the same everywhere, as most of them are, is
        written out: grouping a million rows by it would take half of the time.
        """
        columns, differing = [], ""
        for alias, table in (("t", "tasks"), ("r", "requests")):
            names = [name for name, where in _DIMENSIONS.items() if where == alias]
            ends = ", ".join(f"min({name}), max({name})" for name in names)
            values = self._connection.execute(f"SELECT {ends} FROM {table}").fetchone()
            for number, name in enumerate(names):
                least, most = values[2 * number : 2 * number + 2]
                if least is not None and least == most:
                    columns.append("'{}' AS {}".format(least.replace("'", "''"), name))
                else:
                    columns.append(f"{alias}.{name} AS {name}")
                    differing += f", {alias}.{name}"
        return ", ".join(columns), differing

    def _rows(self, query: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._connection.execute(
            query.format(
                only=self._only,
                when=self._when,
                verdict=self._verdict,
                dimensions=self._dimensions,
                differing=self._differing,
                use=money_use(self._verdict),
                scattered=_SCATTERED,
            ),
            parameters,
        )


def _pictured(row: sqlite3.Row) -> Pictured:
    return Pictured(
        slot=row["slot"],
        state=State(row["state"]),
        verdict=row["verdict"],
        request=from_spec(row["key"], row["spec"]),
        raw=None if row["sha256"] is None else read_raw(row),
        path=row["path"],
        cost=MicroUSD(row["cost"]),
    )
