"""Reading a ledger for other programs: through its views, a row at a time, so that a million rows need no memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from batchedit.ledger.listing import pairs_in
from batchedit.ledger.reader import Ledger
from batchedit.ledger.views import ensure_views
from batchedit.money import MicroUSD


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """A delivered picture: its path below the output folder. Width, height and size are None if they are not known."""

    path: str
    sha256: str
    width: int | None
    height: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """
    A task, as `v_tasks` and `v_waiting` have it; amounts in micro-dollars. `docs/ledger.md` has what each field means.

    Attributes:
        key: Of its request, empty for one that waits for another one's picture.
        state: Of its request; ``waiting`` without one.
        unmet: (name, verdict) of the checks of its files that were not passed.
    """

    slot: str
    item_id: str
    edit: str
    variant: str
    labels: Mapping[str, str]
    place: str
    state: str
    unmet: tuple[tuple[str, str], ...] = ()
    key: str = ""
    shared: bool = False
    revision: int = 1
    files: tuple[FileRow, ...] = ()
    verdict: str = ""
    verdict_reason: str = ""
    decided_at: str | None = None
    code: str = ""
    reason: str = ""
    retryable: bool = True
    provider: str = ""
    model: str = ""
    quality: str = ""
    size: str = ""
    format: str = ""
    samples: int = 1
    attempts: int = 0
    basis: str = "none"
    spent: MicroUSD
    at_risk: MicroUSD
    run: int
    created_at: str
    changed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentRow:
    """A request that was sent at least once, as `v_requests` has it; amounts in micro-dollars."""

    slot: str
    item_id: str
    edit: str
    variant: str
    labels: Mapping[str, str]
    state: str
    provider: str
    model: str
    quality: str
    size: str
    samples: int
    revision: int
    attempts: int
    outcome: str
    last_at: str
    pictures: int
    basis: str
    spent: MicroUSD
    at_risk: MicroUSD


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """
    Attempts of one manifest and edit that ended alike, added up; amounts in micro-dollars.

    Attributes:
        use: What became of the money, as `v_attempts.money_use`.
    """

    manifest: str
    edit: str
    outcome: str
    use: str
    attempts: int
    cost: MicroUSD
    surplus: MicroUSD
    at_risk: MicroUSD


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Executions of one manifest: the last moments of each kind as ISO, and the last one's budget."""

    manifest: str
    started_at: str
    ended_at: str | None
    succeeded_at: str | None
    budget: MicroUSD | None


_TASKS = """
SELECT slot, item_id, edit, variant, labels, place, state, request_key AS key, shared, revision, verdict,
  verdict_reason, decided_at, code, reason, retryable, provider, model, quality, size, format, samples, attempts,
  basis, files, spent_microusd AS spent, at_risk_microusd AS at_risk, run, created_at, changed_at,
  (SELECT group_concat(name || ':' || checks.verdict) FROM checks
    WHERE checks.slot = v_tasks.slot AND checks.verdict <> 'passed') AS unmet
FROM v_tasks
"""
_CHOSEN = " EXISTS (SELECT 1 FROM chosen WHERE chosen.slot = {view}.slot)"
_FILES = """
SELECT outputs.path, outputs.sha256, coalesce(made.width, raws.width) AS width,
  coalesce(made.height, raws.height) AS height, coalesce(made.size_bytes, raws.size_bytes) AS size_bytes FROM outputs
  LEFT JOIN raws AS kept ON kept.request_key = outputs.request_key AND kept.number = outputs.number
  LEFT JOIN raws ON raws.request_key = outputs.request_key AND raws.number = outputs.number
    AND raws.sha256 = outputs.sha256
  LEFT JOIN renders AS made ON made.sha256 = outputs.sha256 AND made.raw_sha256 = kept.sha256
WHERE outputs.slot = ? ORDER BY outputs.number
"""
_REQUESTS = """
SELECT slot, item_id, edit, variant, labels, state, provider, model, quality, size, samples, revision, attempts,
  outcome, last_at, pictures, basis, spent_microusd AS spent, at_risk_microusd AS at_risk
FROM v_requests WHERE attempts > 0
"""
_COUNTED = """
SELECT v_runs.manifest, v_attempts.edit, v_attempts.outcome, money_use AS use, count(*) AS attempts,
  sum(cost_microusd) AS cost, sum(surplus_microusd) AS surplus, sum(v_attempts.at_risk_microusd) AS at_risk
FROM v_attempts CROSS JOIN runs AS v_runs ON v_runs.id = v_attempts.run
WHERE {chosen} GROUP BY v_runs.manifest, v_attempts.edit, v_attempts.outcome, money_use
"""
_STATES = """
SELECT runs.manifest, edit, state, count(*) FROM (
  SELECT slot, edit, state, run FROM v_tasks UNION ALL SELECT slot, edit, 'waiting', run FROM v_waiting
) AS every JOIN runs ON runs.id = run WHERE {chosen} GROUP BY runs.manifest, edit, state
"""
_SECONDS = """
SELECT runs.manifest, edit, seconds, count(*) FROM v_attempts CROSS JOIN runs ON runs.id = run
WHERE outcome = 'done' AND {chosen} GROUP BY runs.manifest, edit, seconds
"""


class Exports(Ledger):
    """
    A ledger opened for an export; a context manager. All of it is read as it was at one moment.

    Raises:
        LedgerError: if there is none at the path, or it is damaged, another program's, or newer.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        ensure_views(self._connection)
        self._limited = False
        if self._connection.execute("PRAGMA main.journal_mode").fetchone()[0] == "wal":
            # A run goes on beside a long read. With another journal it would have to wait for its end.
            self._connection.execute("BEGIN")

    def choose(self, slots: Iterable[str]) -> None:
        """From now on look at these tasks only; a request goes with the task that bears its cost."""
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (slot TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.execute("DELETE FROM chosen")
        self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((slot,) for slot in slots))
        self._limited = True

    def is_chosen(self, slot: str) -> bool:
        """False for a task that shall not be looked at."""
        if not self._limited:
            return True
        return self._connection.execute("SELECT 1 FROM chosen WHERE slot = ?", (slot,)).fetchone() is not None

    def label_names(self) -> list[str]:
        """The names of all labels that tasks have, in order."""
        sql = "SELECT DISTINCT each.key FROM (SELECT DISTINCT labels FROM tasks) AS t, json_each(t.labels) AS each"
        return sorted(str(row[0]) for row in self._connection.execute(sql))

    def task_rows(self) -> Iterator[TaskRow]:
        """The tasks in the order in which they were first recorded; then those that wait, if nothing was chosen."""
        for row in self._connection.execute(f"{_TASKS} WHERE {self._chosen('v_tasks')} ORDER BY position"):
            yield self._task(row)
        if not self._limited:
            for row in self._connection.execute("SELECT * FROM v_waiting ORDER BY position"):
                yield _waiting(row)

    def task_row(self, slot: str) -> TaskRow | None:
        """One task, None if the ledger does not know it."""
        row = self._connection.execute(f"{_TASKS} WHERE slot = ?", (slot,)).fetchone()
        if row is not None:
            return self._task(row)
        row = self._connection.execute("SELECT * FROM v_waiting WHERE slot = ?", (slot,)).fetchone()
        return None if row is None else _waiting(row)

    def spent_rows(self) -> Iterator[SpentRow]:
        """The requests that were sent, in the order in which they were first recorded."""
        for row in self._connection.execute(f"{_REQUESTS} AND {self._chosen('v_requests')} ORDER BY position"):
            yield SpentRow(**{**dict(row), "labels": json.loads(row["labels"])})

    def counted(self) -> list[Counted]:
        """All attempts, added up."""
        sql = _COUNTED.format(chosen=self._chosen("v_attempts"))
        return [Counted(**dict(row)) for row in self._connection.execute(sql)]

    def states(self) -> list[tuple[str, str, str, int]]:
        """(manifest of the run that wanted them last, edit, state, how many tasks)."""
        sql = _STATES.format(chosen=self._chosen("every"))
        return [(row[0], row[1], row[2], row[3]) for row in self._connection.execute(sql)]

    def seconds(self) -> Iterator[tuple[str, str, float, int]]:
        """(manifest, edit, seconds that purchases took, how many)."""
        sql = _SECONDS.format(chosen=self._chosen("v_attempts"))
        for row in self._connection.execute(sql):
            yield row[0], row[1], row[2], row[3]

    def ran(self) -> list[Ran]:
        """The executions, by manifest."""
        rows = self._connection.execute(
            "SELECT manifest, max(started_at) AS started_at, max(ended_at) AS ended_at,"
            " max(CASE WHEN exit_code = 0 THEN ended_at END) AS succeeded_at,"
            " (SELECT budget_microusd FROM runs AS last WHERE last.manifest = runs.manifest ORDER BY id DESC LIMIT 1)"
            " AS budget FROM runs GROUP BY manifest ORDER BY manifest"
        )
        return [Ran(**dict(row)) for row in rows]

    def digests_made(self) -> Iterator[str]:
        """SHA-256 in hex of every picture that was ever sold to this ledger or made from one; some come twice."""
        yield from (row[0] for row in self._connection.execute("SELECT sha256 FROM raws"))
        known = "SELECT 1 FROM sqlite_master WHERE name = 'renders'"  # an older ledger is read as it is
        if self._connection.execute(known).fetchone() is not None:
            yield from (row[0] for row in self._connection.execute("SELECT sha256 FROM renders"))

    def _chosen(self, view: str) -> str:
        return _CHOSEN.format(view=view) if self._limited else "1"

    def _task(self, row: sqlite3.Row) -> TaskRow:
        values = dict(row)
        files = self._connection.execute(_FILES, (row["slot"],)) if values["files"] else ()
        values |= {
            "labels": json.loads(row["labels"]),
            "shared": bool(row["shared"]),
            "retryable": bool(row["retryable"]),
            "verdict": row["verdict"] or "",
            "verdict_reason": row["verdict_reason"] or "",
            "unmet": pairs_in(row["unmet"]),
            "files": tuple(FileRow(**dict(each)) for each in files),
        }
        return TaskRow(**values)


def _waiting(row: sqlite3.Row) -> TaskRow:
    return TaskRow(
        slot=row["slot"],
        item_id=row["item_id"],
        edit=row["edit"],
        variant=row["variant"],
        labels=json.loads(row["labels"]),
        place=row["place"],
        state="waiting",
        provider=row["provider"],
        reason=f"waits for {row['upstream']} to be {row['waits_until']}",
        spent=MicroUSD(0),
        at_risk=MicroUSD(0),
        run=row["run"],
        created_at=row["created_at"],
        changed_at=row["created_at"],
    )
