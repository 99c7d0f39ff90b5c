"""
The emulator's books in SQLite, in memory or in a file: runs, assets, replies, pictures, counters.

Every method is one transaction. A file survives the death of the process, which is what a rehearsal needs; it is
not synced, so it need not survive a power cut.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchedit.emulator.run import Run, run_from_json

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, client_ref TEXT, batch_id TEXT, content TEXT NOT NULL,
  created_at REAL NOT NULL, finish_at REAL NOT NULL, bill_microusd INTEGER NOT NULL, data TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS runs_by_ref ON runs (client_ref);
CREATE INDEX IF NOT EXISTS runs_by_batch ON runs (batch_id);
CREATE INDEX IF NOT EXISTS runs_by_content ON runs (content);
CREATE INDEX IF NOT EXISTS runs_by_end ON runs (finish_at, bill_microusd);
CREATE TABLE IF NOT EXISTS assets (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data TEXT NOT NULL, content BLOB) STRICT;
CREATE TABLE IF NOT EXISTS replies (
  key TEXT PRIMARY KEY, body TEXT NOT NULL, status INTEGER NOT NULL, answer TEXT NOT NULL,
  begun_at REAL NOT NULL, ready_at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS pictures (
  run TEXT, number INTEGER, format TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (run, number)) STRICT;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS starts (seq INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT;
"""
_TABLES = ("runs", "assets", "replies", "pictures", "counters", "starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """
    An answer kept under an idempotency key: provider-api, section 9.

    Attributes:
        body: Digest of the request's body.
        begun_at: Unix seconds of the first request.
        ready_at: When that one is answered; until then it is in flight.
    """

    body: str
    status: int
    answer: dict[str, Any]
    begun_at: float
    ready_at: float


class Store:
    """
    The books.

    Args:
        folder: Where to keep them as ``emulator.db``, None for in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        where = ":memory:" if folder is None else str(folder / "emulator.db")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(where, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)
        self._billed = (float("-inf"), 0)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def clear(self) -> None:
        """Forget everything."""
        self._db.executescript("BEGIN;" + "".join(f"DELETE FROM {table};" for table in _TABLES) + "COMMIT;")
        self._billed = (float("-inf"), 0)

    # -- runs ------------------------------------------------------------------------------------------------

    def next_run(self) -> int:
        """Number of the next run, from 1."""
        return self._next("runs")

    def add_runs(self, runs: Sequence[Run]) -> None:
        """Keep new runs, all or none."""
        columns = ("seq", "id", "client_ref", "batch_id", "content", "created_at", "finish_at", "bill_microusd")
        rows = [(*(getattr(run, name) for name in columns), run.to_json()) for run in runs]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        upto, total = self._billed
        self._billed = (upto, total + sum(run.bill_microusd for run in runs if run.finish_at <= upto))

    def run(self, run_id: str, now: float) -> Run | None:
        """One run by its id, if it was created by now."""
        row = self._db.execute("SELECT data FROM runs WHERE id = ? AND created_at <= ?", (run_id, now)).fetchone()
        return None if row is None else run_from_json(row[0])

    def runs(
        self, *, created_until: float | None = None, client_ref: str | None = None, batch_id: str | None = None
    ) -> list[Run]:
        """Runs in the order of their numbers: all, or those created until a moment, of a reference, of a batch."""
        bounds = {"created_at <= ?": created_until, "client_ref = ?": client_ref, "batch_id = ?": batch_id}
        given = {text: value for text, value in bounds.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        rows = self._db.execute(f"SELECT data FROM runs{where} ORDER BY seq", tuple(given.values()))
        return [run_from_json(row[0]) for row in rows]

    def newest_runs(self, count: int, *, created_until: float) -> list[Run]:
        """The last runs that were created until a moment, the newest first."""
        rows = self._db.execute(
            "SELECT data FROM runs WHERE created_at <= ? ORDER BY seq DESC LIMIT ?", (created_until, count)
        )
        return [run_from_json(row[0]) for row in rows]

    def count_runs(self) -> int:
        """How many runs there are."""
        return self._next("runs") - 1

    def has_run(self, *, client_ref: str | None, content: str) -> bool:
        """True if there is a run of this reference, or, without one, of this content."""
        column, value = ("content", content) if client_ref is None else ("client_ref", client_ref)
        return self._db.execute(f"SELECT 1 FROM runs WHERE {column} = ? LIMIT 1", (value,)).fetchone() is not None

    def nth_last_end(self, number: int, now: float) -> float | None:
        """Of all runs that end after now, when the `number`-th from the last ends; None if there are fewer."""
        row = self._db.execute(
            "SELECT finish_at FROM runs WHERE finish_at > ? ORDER BY finish_at DESC LIMIT 1 OFFSET ?", (now, number - 1)
        ).fetchone()
        return None if row is None else float(row[0])

    def billed_microusd(self, now: float) -> int:
        """Micro-dollars debited until now. Adds up only what ended since the last look, so it stays cheap."""
        upto, total = self._billed
        if now < upto:
            upto, total = float("-inf"), 0
        row = self._db.execute(
            "SELECT coalesce(sum(bill_microusd), 0) FROM runs WHERE finish_at > ? AND finish_at <= ?", (upto, now)
        ).fetchone()
        self._billed = (now, total + int(row[0]))
        return self._billed[1]

    # -- assets ----------------------------------------------------------------------------------------------

    def next_asset(self) -> int:
        """Number of the next asset, from 1."""
        return self._next("assets")

    def put_asset(self, asset_id: str, data: Mapping[str, Any], content: bytes | None = None) -> None:
        """Keep or change an asset's record; `content` None leaves its bytes."""
        self._db.execute(
            "INSERT INTO assets (id, data, content) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " data = excluded.data, content = coalesce(excluded.content, content)",
            (asset_id, json.dumps(data), content),
        )

    def asset(self, asset_id: str) -> dict[str, Any] | None:
        """An asset's record."""
        row = self._db.execute("SELECT data FROM assets WHERE id = ?", (asset_id,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def asset_bytes(self, asset_id: str) -> bytes | None:
        """An asset's bytes, None until they were uploaded."""
        row = self._db.execute("SELECT content FROM assets WHERE id = ?", (asset_id,)).fetchone()
        return None if row is None else row[0]

    # -- replies and pictures --------------------------------------------------------------------------------

    def reply(self, key: str) -> StoredReply | None:
        """What is kept under an idempotency key."""
        row = self._db.execute(
            "SELECT body, status, answer, begun_at, ready_at FROM replies WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        return StoredReply(body=row[0], status=row[1], answer=json.loads(row[2]), begun_at=row[3], ready_at=row[4])

    def keep_reply(self, key: str, reply: StoredReply) -> None:
        """Keep an answer under an idempotency key."""
        self._db.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
            (key, reply.body, reply.status, json.dumps(reply.answer), reply.begun_at, reply.ready_at),
        )

    def picture(self, run_id: str, number: int) -> tuple[str, bytes] | None:
        """(format, bytes) of a rendered picture."""
        row = self._db.execute(
            "SELECT format, content FROM pictures WHERE run = ? AND number = ?", (run_id, number)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def keep_picture(self, run_id: str, number: int, picture_format: str, content: bytes) -> None:
        """Keep a rendered picture, so that every fetch gives the same bytes."""
        self._db.execute(
            "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", (run_id, number, picture_format, content)
        )

    # -- counters --------------------------------------------------------------------------------------------

    def bump(self, name: str) -> int:
        """Add one to a counter; gives its new value."""
        rows = self._db.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET number = number + 1 RETURNING number",
            (name,),
        ).fetchall()
        return int(rows[0][0])

    def counter(self, name: str) -> int:
        """A counter's value, 0 if it was never bumped."""
        row = self._db.execute("SELECT number FROM counters WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def counters(self, prefix: str) -> dict[str, int]:
        """All counters whose names begin so, by the rest of their names."""
        rows = self._db.execute(
            "SELECT substr(name, ?), number FROM counters WHERE substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix) + 1, len(prefix), prefix),
        )
        return {str(name): int(number) for name, number in rows}

    def add_start(self, at: float) -> None:
        """Note the time of a creation that came in."""
        self._db.execute("INSERT INTO starts (at) VALUES (?)", (at,))

    def starts(self) -> list[float]:
        """Unix seconds of all creations that came in, in order."""
        return [float(row[0]) for row in self._db.execute("SELECT at FROM starts ORDER BY seq")]

    def _next(self, table: str) -> int:
        return int(self._db.execute(f"SELECT coalesce(max(seq), 0) + 1 FROM {table}").fetchone()[0])
