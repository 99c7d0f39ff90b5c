"""Where a run stands, in a handful of figures, read beside it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from batchedit.effects import iso, unix
from batchedit.errors import StorageError
from batchedit.ledger.connection import open_for_reading
from batchedit.ledger.job_starts import job_going_on
from batchedit.ledger.lock import lock_owner, lock_path
from batchedit.ledger.run_records import Reconciled, RunFacts
from batchedit.lifecycle import State
from batchedit.money import MicroUSD

WINDOW_SECONDS = 300.0
"""What is finished in so long decides how long the rest will take."""
_RATE_SECONDS = 60.0
_LOOKED_AT = 20_000
FOUND_PACE = "SELECT per_minute FROM paces WHERE scope = (SELECT scope FROM attempts ORDER BY id DESC LIMIT 1)"
"""The limit of the provider that was asked last, as far as it was found."""
_FINISHED = (State.DONE, State.FAILED, State.SUSPECT, State.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """
    Where things stand.

    Attributes:
        run: Number of the last run, 0 if there was none; `manifest` is its name.
        owner: Who is writing, in words; empty if nobody is.
        job: The job that goes on, also between two of its runs; empty if none does.
        exit_code: How the last run ended, None if it goes on or was killed.
        reconciled: What has settled since what that run left open; None if nothing has.
        states: Requests of the whole ledger by state.
        spent: Of the last run and those that it continues, in micro-dollars; `at_risk` likewise, in the whole ledger.
        budget: Of the last run, None if it had none.
        begun: Edits that were sent within the last minute.
        limit: The most that may be sent in a minute as named, None if no number was.
        pace: The same as it is in force: what refusals have taught, if it is less. None if nothing was named or found.
        finished_per_minute: In the last minutes.
        started: When the last run began (ISO, UTC), empty if there was none.
    """

    run: int
    manifest: str
    owner: str
    job: str
    exit_code: int | None
    states: Counter[State]
    spent: MicroUSD
    at_risk: MicroUSD
    budget: MicroUSD | None
    begun: int
    limit: int | None
    pace: int | None
    finished_per_minute: float
    started: str = ""
    reconciled: Reconciled | None = None

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.states.values())

    @property
    def finished(self) -> int:
        """Those that nothing more is done about."""
        return sum(self.states[state] for state in _FINISHED)

    @property
    def in_flight(self) -> int:
        """Sent, and not home yet."""
        return sum(self.states[state] for state in (State.SENDING, State.ACCEPTED, State.FETCHING))

    @property
    def seconds_left(self) -> float | None:
        """Until all is finished at the present pace; None if that is not known."""
        left = self.states[State.PENDING] + self.in_flight
        return 60 * left / self.finished_per_minute if left and self.finished_per_minute else None


def glance(path: Path, now: float) -> Glance:
    """
    Look at a ledger, also while a run writes it.

    Args:
        now: Unix time in seconds.

    Raises:
        LedgerError: if there is none, or it is damaged or newer.
        StorageError: if it cannot be read.
    """
    with closing(open_for_reading(path)) as connection:
        try:
            return _look(connection, path, now)
        except sqlite3.Error as error:
            raise StorageError(f"the ledger {path} cannot be read: {error}") from error


def _look(db: sqlite3.Connection, path: Path, now: float) -> Glance:
    db.execute("BEGIN")  # one moment for all the figures
    run = db.execute("SELECT * FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    states = Counter(
        {State(name): count for name, count in db.execute("SELECT state, count(*) FROM requests GROUP BY state")}
    )
    risk = db.execute(
        "SELECT coalesce(sum(doubt_microusd + surplus_doubt_microusd + (outcome IS NULL) * reserved_microusd), 0)"
        " FROM attempts"
    ).fetchone()[0]
    spent = db.execute(
        "SELECT coalesce(sum(cost_microusd + surplus_microusd), 0) FROM attempts JOIN runs ON runs.id = run_id"
        " WHERE chain = ?",
        (run["chain"] if run else 0,),
    ).fetchone()[0]
    recent = f"FROM (SELECT at, event, state_to FROM events ORDER BY id DESC LIMIT {_LOOKED_AT})"
    begun = db.execute(
        f"SELECT count(*) {recent} WHERE event = 'begin' AND at > ?", (iso(now - _RATE_SECONDS),)
    ).fetchone()[0]
    finished, first = db.execute(
        f"SELECT count(*), min(at) {recent} WHERE state_to IN ('done', 'failed', 'suspect', 'lost') AND at > ?",
        (iso(now - WINDOW_SECONDS),),
    ).fetchone()
    # A run that is younger than the window is measured from its beginning.
    since = max(now - WINDOW_SECONDS, unix(run["started_at"])) if run and finished else now
    # Older ledgers have no such column; a row's own `in` looks at its values.
    facts = RunFacts.read(run["facts"]) if run is not None and "facts" in run.keys() else None  # noqa: SIM118
    limit, pace = _limits(db, facts)
    return Glance(
        run=run["id"] if run else 0,
        manifest=run["manifest"] if run else "",
        owner=lock_owner(lock_path(path)),
        job=job_going_on(db),
        exit_code=run["exit_code"] if run else None,
        states=states,
        spent=MicroUSD(spent),
        at_risk=MicroUSD(risk),
        budget=None if run is None or run["budget_microusd"] is None else MicroUSD(run["budget_microusd"]),
        begun=begun,
        limit=limit,
        pace=pace,
        finished_per_minute=60 * finished / max(1.0, now - since) if first else 0.0,
        started=run["started_at"] if run else "",
        reconciled=None if facts is None else facts.reconciled,
    )


def _limits(db: sqlite3.Connection, facts: RunFacts | None) -> tuple[int | None, int | None]:
    """As the run's own settings say, and as it is in force."""
    if facts is None:
        return None, None
    settings = {name: value for name, value, _ in facts.settings}
    text = settings.get("requests per minute", "none")
    limit = int(text) if text.isdecimal() else None
    if settings.get("learn rate") != "True":
        return limit, limit
    row = db.execute(FOUND_PACE).fetchone()
    found = [] if row is None else [max(1, int(row[0]))]
    return limit, min([*found, *([] if limit is None else [limit])], default=None)
