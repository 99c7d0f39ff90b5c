"""The emulator's books: runs, assets, idempotency records, in SQLite, in memory or beside a rehearsal."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, client_ref TEXT, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS runs_by_ref ON runs (client_ref);
CREATE TABLE IF NOT EXISTS assets (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, data TEXT NOT NULL, content BLOB);
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, body TEXT, status INTEGER, answer TEXT, at REAL);
CREATE TABLE IF NOT EXISTS pictures (run TEXT, number INTEGER, format TEXT, content BLOB, PRIMARY KEY (run, number));
"""


@dataclass(slots=True, kw_only=True)
class Run:
    """
    A run as it is kept. Its state is a function of these times and the clock.

    Attributes:
        form: ``runs`` or ``run`` (synchronous).
        input: As accepted, data URIs replaced by asset references.
        content: Digest of the input with every picture replaced by the digest of its bytes.
        sources: Asset ids or URLs of the pictures, the mask last if there is one.
        dispatch_at: Unix seconds; before it the run is queued.
        start_at: It is running from here on.
        finish_at: It has ended from here on; infinity is kept as None.
        stuck: State in which it stays for ever; empty if it does not.
        verdict: State in which it ends.
        cost_micro: Debited when it succeeds.
        quirks: Names of the faults that concern its pictures.
    """

    id: str
    seq: int
    form: str
    client_ref: str | None
    idempotency_key: str | None
    metadata: Any
    input: dict[str, Any]
    content: str
    sources: list[str]
    has_mask: bool
    created_at: float
    dispatch_at: float
    start_at: float
    finish_at: float
    stuck: str
    verdict: str
    failure: tuple[str, str, str] | None
    cost_micro: int
    count: int
    quirks: list[str] = field(default_factory=list)

    def state(self, now: float) -> str:
        """The run's state at a moment."""
        if self.stuck and now >= (self.start_at if self.stuck == "running" else self.created_at):
            return self.stuck
        if now < self.dispatch_at:
            return "queued"
        if now < self.start_at:
            return "dispatching"
        if now < self.finish_at:
            return "running"
        return self.verdict

    def billed(self, now: float) -> int:
        """Micro-dollars debited so far."""
        return self.cost_micro if self.state(now) == "succeeded" else 0

    def will_bill(self, now: float) -> int:
        """Micro-dollars that will be debited later."""
        pending = not self.stuck and self.verdict == "succeeded" and now < self.finish_at
        return self.cost_micro if pending else 0


class Store:
    """
    The books.

    Args:
        folder: Where to keep them, None for in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        where = ":memory:" if folder is None else str(folder / "emulator.db")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(where, isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def clear(self) -> None:
        """Forget everything."""
        for table in ("runs", "assets", "replies", "pictures"):
            self._db.execute(f"DELETE FROM {table}")

    # -- runs ------------------------------------------------------------------------------------------------

    def next_run(self) -> int:
        """Number of the next run, from 1."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) + 1 FROM runs").fetchone()[0])

    def add_run(self, run: Run) -> None:
        """Keep a new run."""
        self._db.execute(
            "INSERT INTO runs (seq, id, client_ref, data) VALUES (?, ?, ?, ?)",
            (run.seq, run.id, run.client_ref, json.dumps(asdict(run))),
        )

    def run(self, run_id: str) -> Run | None:
        """One run by its id."""
        row = self._db.execute("SELECT data FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else _run(row[0])

    def runs(self, client_ref: str | None = None) -> list[Run]:
        """All runs, oldest first, or those of one reference."""
        if client_ref is None:
            rows = self._db.execute("SELECT data FROM runs ORDER BY seq")
        else:
            rows = self._db.execute("SELECT data FROM runs WHERE client_ref = ? ORDER BY seq", (client_ref,))
        return [_run(row[0]) for row in rows]

    # -- assets ----------------------------------------------------------------------------------------------

    def next_asset(self) -> int:
        """Number of the next asset, from 1."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) + 1 FROM assets").fetchone()[0])

    def put_asset(self, asset_id: str, data: dict[str, Any], content: bytes | None = None) -> None:
        """Keep or change an asset's record; `content` None leaves its bytes."""
        self._db.execute(
            "INSERT INTO assets (id, data, content) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " data = excluded.data, content = coalesce(excluded.content, content)",
            (asset_id, json.dumps(data), content),
        )

    def asset(self, asset_id: str) -> tuple[dict[str, Any], bytes | None] | None:
        """(record, bytes) of an asset; bytes are None until they were uploaded."""
        row = self._db.execute("SELECT data, content FROM assets WHERE id = ?", (asset_id,)).fetchone()
        return None if row is None else (json.loads(row[0]), row[1])

    # -- replies and pictures --------------------------------------------------------------------------------

    def reply(self, key: str) -> tuple[str, int, dict[str, Any], float] | None:
        """(digest of the body, status, answer, time) kept under an idempotency key."""
        row = self._db.execute("SELECT body, status, answer, at FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else (row[0], row[1], json.loads(row[2]), row[3])

    def keep_reply(self, key: str, body: str, status: int, answer: dict[str, Any], at: float) -> None:
        """Keep an answer under an idempotency key."""
        self._db.execute(
            "INSERT OR REPLACE INTO replies (key, body, status, answer, at) VALUES (?, ?, ?, ?, ?)",
            (key, body, status, json.dumps(answer), at),
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
            "INSERT OR REPLACE INTO pictures (run, number, format, content) VALUES (?, ?, ?, ?)",
            (run_id, number, picture_format, content),
        )


def _run(text: str) -> Run:
    data = json.loads(text)
    if data["failure"] is not None:
        data["failure"] = tuple(data["failure"])
    return Run(**data)
