"""
Reading a ledger for reports: rows that agree in everything a report groups by, added up by SQLite.

A night of a million tasks becomes a few hundred rows here, so that a report takes seconds. Nothing is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from batchedit.keys import from_spec
from batchedit.ledger.passing import EVERYTHING, NOTHING_SAID, Limits, Passed, go_through, within_period
from batchedit.ledger.reader import Ledger
from batchedit.ledger.records import read_raw
from batchedit.ledger.sums import CostGroup, Dear, Durations, Pictured, TaskGroup, Trouble, Unmet
from batchedit.ledger.views import RISK, SPENT, VERDICT
from batchedit.ledger.waiting import has_table, waiting_by_reason
from batchedit.lifecycle import State
from batchedit.money import MicroUSD

_VERDICT = VERDICT.format(column="verdict")
# Multiples of the golden ratio: rows are taken evenly from every stretch, and never in step with the edits of an item.
_SCATTERED = "(t.rowid * 2654435761) % 4294967296"
_MAP_BYTES = 8 * 1024**3
_CACHE_KIB = 256 * 1024

_TROUBLES = """
SELECT r.state, r.code, r.reason, r.retryable, count(*) AS tasks, min(r.changed_at) AS first, max(r.changed_at) AS last,
  sum(CASE WHEN t.slot = r.buyer_slot
    THEN (SELECT coalesce(sum({spent}), 0) FROM attempts AS a WHERE a.request_key = r.key) ELSE 0 END) AS cost,
  sum(CASE WHEN t.slot = r.buyer_slot
    THEN (SELECT coalesce(sum({risk}), 0) FROM attempts AS a WHERE a.request_key = r.key) ELSE 0 END) AS at_risk
FROM requests AS r CROSS JOIN tasks AS t ON t.request_key = r.key
{only} AND r.state <> 'done' AND r.reason <> ''
GROUP BY r.state, r.code, r.reason, r.retryable ORDER BY tasks DESC, r.state, r.code, r.reason LIMIT ?
"""

_UNMET = """
SELECT c.name, c.verdict, count(DISTINCT c.slot) AS tasks, min(c.slot) AS example
FROM checks AS c CROSS JOIN tasks AS t ON t.slot = c.slot CROSS JOIN requests AS r ON r.key = t.request_key
{only} AND c.verdict <> 'passed' GROUP BY c.name, c.verdict
"""

# A slot or two of each, found in one reading however many reasons there are.
_SLOTS = """
SELECT state, code, reason, retryable, slot FROM (
  SELECT r.state, r.code, r.reason, r.retryable, t.slot,
    row_number() OVER (PARTITION BY r.state, r.code, r.reason, r.retryable ORDER BY t.rowid) AS place
  FROM requests AS r CROSS JOIN tasks AS t ON t.request_key = r.key
  {only} AND r.state <> 'done' AND r.reason <> ''
) WHERE place <= ? ORDER BY place
"""

_DEAR = """
SELECT t.item_id AS item, sum(a.cost_microusd + a.surplus_microusd) AS spent, sum(a.number = 1) AS requests,
  count(*) AS attempts
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot CROSS JOIN attempts AS a ON a.request_key = r.key
{only}{when} GROUP BY t.item_id HAVING spent > 0 ORDER BY spent DESC, item LIMIT ?
"""

# Where each item has one request: it can only be among the dearest with one of the dearest first attempts, or with
# further ones.
_DEAREST_REQUESTS = """
 AND r.key IN (
  SELECT request_key FROM (SELECT request_key FROM attempts WHERE number = 1
    ORDER BY cost_microusd + surplus_microusd DESC LIMIT {most})
  UNION SELECT request_key FROM attempts WHERE number > 1
)"""

_PICTURED = """
SELECT t.slot, r.state, coalesce({verdict}, '') AS verdict, r.key, r.spec, raws.*, coalesce(outputs.path, '') AS path,
  (SELECT coalesce(sum({spent}), 0) FROM attempts AS a WHERE a.request_key = r.key) AS cost
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
        self._only, self._timed, self._waits = EVERYTHING, False, ""
        self._passed: Passed | None = None
        # One moment for all questions, also while a run is writing: else the parts would not add up to the whole.
        self._connection.execute("BEGIN")
        self._verdict = _VERDICT if self._has_decisions() else NOTHING_SAID

    def restrict(self, slots: Iterable[str]) -> None:
        """Look at these tasks only; what they share counts with the task that bears the cost."""
        # Temporary tables are this connection's own; it may write nothing else.
        self._connection.execute("CREATE TEMP TABLE chosen (slot TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((slot,) for slot in slots))
        self._only += " AND t.slot IN (SELECT slot FROM chosen)"
        self._waits += " AND waiting.slot IN (SELECT slot FROM chosen)"

    def restrict_time(self, since: str, until: str) -> None:
        """
        Look at what ended from one ISO moment (UTC) to before another, and at the tasks that it was for.

        Of tasks that wait for another one's picture, which nothing has been bought for yet, those count that a run
        asked for within that time.
        """
        self._connection.execute("CREATE TEMP TABLE period (since TEXT, until TEXT)")
        self._connection.execute("INSERT INTO period VALUES (?, ?)", (since, until))
        self._timed = True
        self._connection.execute("CREATE TEMP TABLE timely (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.execute(
            f"INSERT OR IGNORE INTO timely SELECT a.request_key FROM attempts AS a WHERE 1{within_period('a')}"
        )
        self._only += " AND r.key IN (SELECT key FROM timely)"
        self._waits += (
            " AND waiting.created_at >= (SELECT since FROM period) AND waiting.created_at < (SELECT until FROM period)"
        )

    def has_label(self, name: str) -> bool:
        """Whether any task of the whole ledger, also one that waits, has this label: no restriction matters."""
        return any(
            self._connection.execute(
                f"SELECT EXISTS (SELECT 1 FROM {table}, json_each({table}.labels) AS each WHERE each.key = ?)", (name,)
            ).fetchone()[0]
            for table in ("tasks", "waiting") if has_table(self._connection, table)
        )  # fmt: skip

    def cost_groups(self) -> Iterator[CostGroup]:
        """All attempts, added up."""
        yield from self._all().costs

    def task_groups(self) -> Iterator[TaskGroup]:
        """All tasks, counted."""
        yield from self._all().tasks

    def durations(self) -> Iterator[Durations]:
        """How long purchases took, and how long requests waited before they were sent."""
        yield from self._all().durations()

    def troubles(self, *, groups: int = 50, slots: int = 3) -> Iterator[Trouble]:
        """Why tasks are not done, most frequent first."""
        rows = self._rows(_TROUBLES, (groups,)).fetchall()
        some: dict[tuple[object, ...], list[str]] = {}
        for row in self._rows(_SLOTS, (slots,)) if rows else ():
            some.setdefault(tuple(row)[:4], []).append(row["slot"])
        for row in rows:
            known = {**dict(row), "state": State(row["state"]), "retryable": bool(row["retryable"])}
            alike = (row["state"], row["code"], row["reason"], row["retryable"])
            yield Trouble(**known, slots=tuple(some[alike]))

    def unmet(self) -> list[Unmet]:
        """What checks of delivered files have to say."""
        if not has_table(self._connection, "checks"):
            return []
        return [Unmet(**dict(row)) for row in self._rows(_UNMET)]

    def dearest(self, most: int = 10) -> list[Dear]:
        """The items that have cost most."""
        only = self._only
        if only == EVERYTHING and self._one_request_each():
            only += _DEAREST_REQUESTS.format(most=int(most))
        query = _DEAR.format(only=only, when=within_period("a") if self._timed else "")
        rows = self._connection.execute(query, (most,)).fetchall()
        return [Dear(**{**dict(row), "item": f"{self._name}{row['item']}"}) for row in rows]

    def waiting(self) -> Mapping[str, int]:
        """How many of the tasks that are looked at wait for another one's picture, by what for."""
        return waiting_by_reason(self._connection, only=self._waits)

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

    def _all(self) -> Passed:
        if self._passed is None:
            limits = Limits(only=self._only, timed=self._timed, verdict=self._verdict,
                            renamed=self.has_renamed)  # fmt: skip
            self._passed = go_through(self._connection, limits, self._name)
        return self._passed

    def _one_request_each(self) -> bool:
        """True if each item has one task and each task has had one request, as far as that is known at no cost."""
        tasks = [group for group in self._all().tasks if not group.shared]
        requests = self._connection.execute("SELECT count(*) AS n FROM requests").fetchone()["n"]
        return len({(group.edit, group.variant) for group in tasks}) == 1 and requests == sum(
            group.tasks for group in tasks
        )

    def _rows(self, query: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._connection.execute(
            query.format(only=self._only, verdict=self._verdict, scattered=_SCATTERED, spent=SPENT, risk=RISK),
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
