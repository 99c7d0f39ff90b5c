"""
Reading a ledger without any right to change it, also while a run is writing it.

Standard library only, so that `status` and `report` start at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from batchedit.errors import LedgerError, UsageError
from batchedit.ledger.connection import DAMAGED_HINT, open_for_reading
from batchedit.ledger.glance import FOUND_PACE
from batchedit.ledger.job_starts import LedgerJobs
from batchedit.ledger.listing import LedgerListing
from batchedit.ledger.periods import LedgerPeriods
from batchedit.ledger.records import Decision, Digest, OutputRow, Reviewed, Standing, read_raw
from batchedit.ledger.reviewing import LedgerReviews
from batchedit.ledger.run_records import RunFacts, RunRow
from batchedit.ledger.tasks import Tasks
from batchedit.ledger.waiting import has_table, waiting_by_reason
from batchedit.lifecycle import State
from batchedit.model import Raw, escaped
from batchedit.money import MicroUSD

_REVIEWED = (
    "SELECT tasks.slot, item_id, edit, variant, tasks.request_key, path FROM tasks"
    " JOIN requests ON key = tasks.request_key"
    " JOIN outputs ON outputs.slot = tasks.slot AND outputs.request_key = key AND outputs.number ="
    " (SELECT min(number) FROM outputs AS all_outputs WHERE all_outputs.slot = tasks.slot) WHERE state = 'done'"
)


_MANIFESTS = frozenset({".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt"})


def ledger_at(where: Path | str) -> Path:
    """
    The ledger's file, from itself or from the output folder that holds it.

    Raises:
        UsageError: for a manifest, which only looks like a damaged ledger if it is taken for one.
    """
    path = Path(where)
    if path.suffix.lower() in _MANIFESTS and path.is_file() and not _is_database(path):
        raise UsageError(
            f"{path} is no ledger; it looks like a manifest, or another input",
            hint="name the output folder that its run has written, such as `out`",
        )
    return path / ".batchedit" / "ledger.db" if path.is_dir() else path


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return True  # what is wrong with it is told when it is opened


def has_begun(path: Path) -> bool:
    """
    True if there is a ledger at the path. A file that a crash left before its first commit is none yet.

    Raises:
        LedgerError: if the file is something else, damaged or newer.
    """
    if not path.exists():
        return False
    with closing(open_for_reading(path)) as connection:
        try:
            return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {path} cannot be read: {error}", hint=DAMAGED_HINT) from error


def require_begun(path: Path) -> None:
    """
    For commands about what is bought already.

    Raises:
        LedgerError: if there is no ledger at the path, or as `has_begun`.
    """
    if not has_begun(path):
        raise LedgerError(f"there is no ledger at {path}", hint="nothing is bought yet: `batchedit run` it")


class Ledger(LedgerListing, LedgerReviews, LedgerPeriods, LedgerJobs):
    """
    A ledger opened for reading; a context manager.

    Raises:
        LedgerError: if there is none at the path, or it is damaged, another program's, or newer.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._connection = open_for_reading(self.path)
        self._knows_digests: bool | None = None

    def __enter__(self) -> Self:
        """The ledger itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Close it.

        Raises:
            LedgerError: in place of what SQLite says about a damaged file.
        """
        self.close()
        if isinstance(error, sqlite3.Error):
            raise LedgerError(f"the ledger {self.path} cannot be read: {error}", hint=DAMAGED_HINT) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # -- for the planner -------------------------------------------------------------------------------------

    def world(self) -> str:
        """``real`` or ``rehearsal``."""
        return str(self._one("SELECT value FROM meta WHERE name = 'world'")["value"])

    def identity(self) -> str:
        """The ledger's own id, made with it."""
        return str(self._one("SELECT value FROM meta WHERE name = 'ledger_id'")["value"])

    def plans_since(self, run: int) -> list[str]:
        """For each run after this one, the digest of the saved plan that it carries out; empty for one without."""
        rows = self._connection.execute("SELECT * FROM runs WHERE id > ? ORDER BY id", (run,))
        return [row["plan"] if "plan" in row.keys() else "" for row in rows]  # noqa: SIM118  a row is no mapping

    def has_tasks(self) -> bool:
        """True once a run has recorded what it wants."""
        return self._connection.execute("SELECT 1 FROM tasks LIMIT 1").fetchone() is not None

    def mark(self) -> str | None:
        """What the last run left about everything being done, None if it left nothing or somebody has written since."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'settled'").fetchone()
        return None if row is None else str(row["value"])

    def key_of(self, slot: str) -> str | None:
        """The request that the task had when it was last recorded, None for a new task."""
        row = self._connection.execute("SELECT request_key FROM tasks WHERE slot = ?", (slot,)).fetchone()
        return None if row is None else str(row["request_key"])

    def revision_of(self, slot: str) -> int:
        """The revision that is wanted of a task; 1 for a new task."""
        row = self._connection.execute("SELECT revision FROM tasks WHERE slot = ?", (slot,)).fetchone()
        return 1 if row is None else int(row["revision"])

    def standing(self, key: str) -> Standing | None:
        """Where a request stands, None if the ledger does not know it."""
        row = self._connection.execute("SELECT state, retryable, reason FROM requests WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        return Standing(state=State(row["state"]), retryable=bool(row["retryable"]), reason=row["reason"])

    def first_raw(self, key: str) -> Raw | None:
        """The first picture of a request that is done, None if it is not."""
        row = self._connection.execute(
            "SELECT raws.* FROM raws JOIN requests ON key = request_key WHERE request_key = ? AND state = 'done'"
            " ORDER BY number LIMIT 1",
            (key,),
        ).fetchone()
        return None if row is None else read_raw(row)

    def decision(self, slot: str, key: str) -> Decision | None:
        """What was last said about the pictures that this request brought for this task, None if nothing was."""
        if not has_table(self._connection, "decisions"):
            return None
        row = self._connection.execute(
            "SELECT * FROM decisions WHERE slot = ? AND request_key = ? ORDER BY id DESC LIMIT 1", (slot, key)
        ).fetchone()
        return None if row is None else Decision.read(row)

    def reviewed(self, item_id: str | None = None) -> Iterator[Reviewed]:
        """Tasks with pictures, in the order in which they were first recorded; those of one item by their names."""
        if item_id is None:
            rows = self._connection.execute(f"{_REVIEWED} ORDER BY tasks.rowid")
        else:
            begin = escaped(item_id)
            # "0" is what follows "/": the slots of an item lie together in the index.
            rows = self._connection.execute(
                f"{_REVIEWED} AND tasks.slot >= ? AND tasks.slot < ? ORDER BY tasks.slot", (f"{begin}/", f"{begin}0")
            )
        for row in rows:
            yield self._with_decision(row)

    def reviewed_slot(self, slot: str) -> Reviewed | None:
        """A task with pictures, None if there is none of this name."""
        row = self._connection.execute(f"{_REVIEWED} AND tasks.slot = ?", (slot,)).fetchone()
        return None if row is None else self._with_decision(row)

    def _with_decision(self, row: sqlite3.Row) -> Reviewed:
        return Reviewed(
            slot=row["slot"],
            item_id=row["item_id"],
            edit=row["edit"],
            variant=row["variant"],
            key=row["request_key"],
            path=row["path"],
            decision=self.decision(row["slot"], row["request_key"]),
        )

    def waiting(self) -> Mapping[str, int]:
        """How many tasks wait for another one's picture, by what for; see `ledger.waiting`."""
        return waiting_by_reason(self._connection)

    def spec(self, key: str) -> Mapping[str, object]:
        """What a request buys, as stored, for showing what has changed."""
        row = self._one("SELECT spec FROM requests WHERE key = ?", key)
        spec: dict[str, object] = json.loads(row["spec"])
        return spec

    def pictures_of(self, key: str) -> int:
        """How many pictures are kept of a request."""
        return int(self._one("SELECT count(*) AS n FROM raws WHERE request_key = ?", key)["n"])

    def raws_of(self, key: str) -> list[Raw]:
        """The kept pictures of a request, in order."""
        rows = self._connection.execute("SELECT * FROM raws WHERE request_key = ? ORDER BY number", (key,))
        return [read_raw(row) for row in rows]

    def outputs_of(self, slot: str) -> list[OutputRow]:
        """The delivered files of a task, in order."""
        rows = self._connection.execute("SELECT * FROM outputs WHERE slot = ? ORDER BY number", (slot,))
        return [OutputRow.read(row) for row in rows]

    def owner_of(self, path_key: str) -> tuple[str, str] | None:
        """(slot, request key) of the task that a delivered file belongs to, None if there is no such file."""
        row = self._connection.execute(
            "SELECT slot, request_key FROM outputs WHERE path_key = ?", (path_key,)
        ).fetchone()
        return None if row is None else (row["slot"], row["request_key"])

    def digest_of(self, path: str) -> Digest | None:
        """A picture on this machine as an earlier run has read it, by its absolute path; None if none has."""
        if self._knows_digests is None:
            self._knows_digests = self._has_location()
        if not self._knows_digests:
            return None
        row = self._connection.execute(
            "SELECT path, size_bytes, modified_ns, changed_ns, inode, sha256, format, located FROM digests"
            " WHERE path = ?",
            (path,),
        ).fetchone()
        return None if row is None else Digest(*row)

    def slots_of_manifest(self, name: str, *, but_run: int = 0) -> Iterator[str]:
        """The tasks that a run of the manifest of this name was the last to want, but for one run's."""
        # A task that waits again, since it is to start from another picture, is in both.
        last = " AND slot NOT IN (SELECT slot FROM tasks)"
        for table, more in (("tasks", ""), ("waiting", last)) if self._reviews else (("tasks", ""),):
            rows = self._connection.execute(
                f"SELECT slot FROM {table} JOIN runs ON runs.id = {table}.wanted_by WHERE runs.manifest = ?"
                f" AND {table}.wanted_by <> ?{more} ORDER BY {table}.rowid",
                (name, but_run),
            )
            for row in rows:
                yield row["slot"]

    def found_pace(self) -> float | None:
        """The rate limit of the provider that was asked last, in edits per minute; None if it was never found."""
        if not self._has("paces"):
            return None
        row = self._connection.execute(FOUND_PACE).fetchone()
        return None if row is None else float(row["per_minute"])

    def mean_seconds(self) -> float | None:
        """How long the last edits took from sending to the finished file, on average; None before the first."""
        row = self._one(
            "SELECT avg((julianday(ended_at) - julianday(started_at)) * 86400) AS seconds FROM (SELECT started_at,"
            " ended_at FROM attempts WHERE outcome = 'done' ORDER BY id DESC LIMIT 200)"
        )
        return None if row["seconds"] is None else round(float(row["seconds"]), 3)

    def mean_sizes(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(pictures, bytes) of all that is kept, by the format and size that were asked for."""
        rows = self._connection.execute(
            "SELECT requests.format, requests.size, count(*) AS pictures, sum(size_bytes) AS bytes FROM raws"
            " JOIN requests ON requests.key = raws.request_key GROUP BY requests.format, requests.size"
        )
        return {(row["format"], row["size"]): (row["pictures"], row["bytes"]) for row in rows}

    def _has(self, table: str) -> bool:
        """False in a ledger that no newer run has opened, and so brought up to date."""
        sql = "SELECT 1 FROM sqlite_master WHERE name = ?"
        return self._connection.execute(sql, (table,)).fetchone() is not None

    def _has_location(self) -> bool:
        """False likewise: what was read before then does not say whether pictures tell where they were taken."""
        sql = "SELECT 1 FROM pragma_table_info('digests') WHERE name = 'located'"
        return self._connection.execute(sql).fetchone() is not None

    # -- for verification --------------------------------------------------------------------------------------

    def raws(self) -> Iterator[tuple[str, str, Raw]]:
        """(request key, slot of the task that paid, picture) for everything that is kept."""
        rows = self._connection.execute(
            "SELECT raws.*, buyer_slot FROM raws JOIN requests ON key = request_key ORDER BY requests.rowid, number"
        )
        for row in rows:
            yield row["request_key"], row["buyer_slot"], read_raw(row)

    def outputs(self) -> Iterator[tuple[str, OutputRow]]:
        """(slot, file) for everything that is delivered."""
        for row in self._connection.execute("SELECT * FROM outputs ORDER BY rowid"):
            yield row["slot"], OutputRow.read(row)

    def undelivered(self) -> Iterator[str]:
        """Slots of tasks that are done and have no file."""
        rows = self._connection.execute(
            "SELECT slot FROM tasks JOIN requests ON key = request_key WHERE state = 'done'"
            " AND NOT EXISTS (SELECT 1 FROM outputs WHERE outputs.slot = tasks.slot) ORDER BY tasks.rowid"
        )
        for row in rows:
            yield row["slot"]

    def stored_answers(self) -> Iterator[tuple[str, str]]:
        """(slot, name of the stored answer) for what is paid and not yet brought home."""
        rows = self._connection.execute(
            "SELECT buyer_slot, answer_file FROM attempts JOIN requests ON key = request_key"
            " WHERE outcome IS NULL AND answer_file IS NOT NULL ORDER BY id"
        )
        for row in rows:
            yield row["buyer_slot"], row["answer_file"]

    # -- for reports -----------------------------------------------------------------------------------------

    def tasks_of(self, key: str) -> list[tuple[str, str]]:
        """The tasks that want a request, the one that bears its cost first, each with what is said of the request."""
        sql = (
            "SELECT slot, reason FROM tasks JOIN requests ON key = tasks.request_key WHERE request_key = ?"
            " ORDER BY tasks.rowid"
        )
        with closing(self._connection.execute(sql, (key,))) as cursor:
            return [(row["slot"], row["reason"]) for row in cursor]

    def tasks(self, select: Iterable[str] = (), exclude: Iterable[str] = ()) -> Tasks:
        """
        The tasks with their states, in the order in which they were first recorded; ``.to_frame()`` for pandas.

        Args:
            select, exclude: Which ones, as ``--select`` and ``--exclude``; everything if nothing is said.

        Raises:
            UsageError: for a selector that cannot be read.
        """
        return Tasks(self, select, exclude)

    def runs(self) -> list[RunRow]:
        """All executions, oldest first."""
        return [
            RunRow(
                id=row["id"],
                started_at=row["started_at"],
                ended_at=row["ended_at"],
                manifest=row["manifest"],
                provider=row["provider"],
                budget=None if row["budget_microusd"] is None else MicroUSD(row["budget_microusd"]),
                exit_code=row["exit_code"],
                stop_reason=row["stop_reason"],
                price_list=row["price_list"],
                program=row["program"],
                facts=RunFacts.read(dict(row).get("facts", "{}")),
            )
            for row in self._connection.execute("SELECT * FROM runs ORDER BY id")
        ]

    def _one(self, sql: str, *parameters: object) -> sqlite3.Row:
        row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
        if row is None:
            raise LedgerError(f"the ledger {self.path} lacks a row that it should have", hint=DAMAGED_HINT)
        return row
