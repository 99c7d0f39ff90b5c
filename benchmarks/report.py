"""
How long `report` takes over a ledger of 1,000,000 tasks: as text, as JSON and as a page.

The ledger is written row by row and not by a run, which would take hours: 12 clients, 3 seasons, ten runs over four
days; one in 25 requests was refused for its rate first, one in 100 came out odd, failed or was lost. Keys are hashes,
so that they lie without any order, as in life. Each command is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.clients import command_line
from benchmarks.running import Result, measured, say
from benchmarks.scenarios import Settings, bar

TASKS = 1_000_000
_RUNS = 10
_SECONDS = 10.0
_PAGE_MB = 5.0
_PATIENCE_SECONDS = 600.0
_BEGIN = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
_NIGHT = timedelta(days=4)
_LOW, _HIGH = 133_000, 219_000
_ROOM = 2500
_PAGE = "page.html"
_FORMS = {"text": (), "json": ("--json",), "page": ("--html", _PAGE, "--pictures", "0")}


def report(settings: Settings) -> Result:
    """`report` over a ledger of 1,000,000 tasks: text, JSON, page."""
    count = settings.count(TASKS)
    notes = [
        f"a ledger that was written by itself, with {_RUNS} runs over {_NIGHT.days} days; the page has no thumbnails"
    ]
    if not settings.ground.has_room(count * _ROOM):
        return {"columns": [], "rows": [], "bars": [], "notes": ["too little room on the disk"], "rounds": []}
    folder = settings.ground.new("report")
    ledger = write_ledger(folder, count)
    say(f"  a ledger of {count} tasks: {ledger.stat().st_size / 1e6:.0f} MB")
    rounds = [{name: _measure(folder, name, more) for name, more in _FORMS.items()} for _ in range(settings.rounds)]
    said = json.loads((folder / "json.out").read_text())
    if sum(said["tasks"].values()) != count:
        raise SystemExit(f"report: of {count} tasks it tells {said['tasks']}")
    best = {name: min(each[name]["seconds"] for each in rounds) for name in _FORMS}
    page = (folder / _PAGE).stat().st_size
    last = rounds[-1]
    return {
        "columns": ["form", "tasks", "seconds", "cpu s", "MB", "bytes written"],
        "rows": [
            [name, count, best[name], each["processor_seconds"], each["memory_bytes"] / 1e6, each["written_bytes"]]
            for name, each in last.items()
        ],
        "bars": [
            *(bar(f"{name}: seconds for {count} tasks", best[name], _SECONDS) for name in _FORMS),
            bar("the page, MB", page / 1e6, _PAGE_MB),
        ],
        "notes": notes,
        "rounds": [rounds],
    }


def _measure(folder: Path, name: str, more: tuple[str, ...]) -> Result:
    command, environment = command_line("report", "out", *more)
    output = folder / f"{name}.out"
    usage = measured(command, folder=folder, environment=environment, output=output, patience=_PATIENCE_SECONDS)
    if usage.status:
        raise SystemExit((folder / "stderr").read_text())
    written = (folder / _PAGE if name == "page" else output).stat().st_size
    say(f"  {name}: {usage.seconds:.1f} s, {usage.memory / 1e6:.0f} MB, {written} bytes")
    return {
        "seconds": usage.seconds,
        "processor_seconds": usage.processor,
        "memory_bytes": usage.memory,
        "written_bytes": written,
    }


def write_ledger(folder: Path, count: int) -> Path:
    """A ledger of so many tasks in ``out`` below the folder; its file."""
    from batchedit.effects import Effects
    from batchedit.ledger.writer import LedgerWriter

    path = folder / "out" / ".batchedit" / "ledger.db"
    path.parent.mkdir(parents=True)
    LedgerWriter(path, Effects(seed="report"), world="real").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("BEGIN")
        for run in range(1, _RUNS + 1):
            began = _stamp((run - 1) / _RUNS)
            db.execute(
                "INSERT INTO runs (id, chain, started_at, ended_at, manifest, provider, model, program, price_list,"
                " exit_code) VALUES (?, ?, ?, ?, 'night', 'runflow', 'openai/gpt-image-2/edit', 'benchmark', ?, 0)",
                (run, run, began, _stamp(run / _RUNS), f"2026-11-{10 + run // 6}"),
            )
        for table, rows in _TABLES.items():
            marks = ", ".join("?" * len(rows[0]))
            sql = f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})"
            db.executemany(sql, (row for number in range(count) for row in rows[1](number, count)))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _stamp(part: float, seconds: float = 0.0) -> str:
    moment = _BEGIN + _NIGHT * part + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _state(number: int) -> str:
    return {7: "suspect", 37: "failed", 67: "lost"}.get(number % 300, "done")


def _slot(number: int) -> str:
    return f"BOOT-{number:07d}/white"


def _requests(number: int, count: int) -> Iterator[tuple[Any, ...]]:
    state, run = _state(number), 1 + number * _RUNS // count
    wrong = {"suspect": "the picture is smaller than asked for", "failed": "refused", "lost": "gone"}.get(state, "")
    spec = json.dumps(
        {"images": [{"at": f"https://example.com/in/{number}.jpg"}], "prompt": f"Place boot {number} on a white sweep"}
    )
    yield (_key(number), state, "runflow", "openai/gpt-image-2/edit", "high", "auto", "png", 1, spec, _slot(number),
           _key(number)[:40], _LOW, _HIGH, wrong, wrong and wrong[:7].upper(), run, _stamp((run - 1) / _RUNS, 1),
           _stamp(number / count, 150))  # fmt: skip


def _tasks(number: int, count: int) -> Iterator[tuple[Any, ...]]:
    labels = json.dumps({"client": f"client {number % 12}", "season": f"AW{24 + number % 3}"})
    run = 1 + number * _RUNS // count
    yield (_slot(number), f"BOOT-{number:07d}", "white", "", _key(number), labels, f"rows.csv:{number + 2}",
           json.dumps([f"{number}.png"]), run, _stamp((run - 1) / _RUNS, 1))  # fmt: skip


def _attempts(number: int, count: int) -> Iterator[tuple[Any, ...]]:
    state, run = _state(number), 1 + number * _RUNS // count
    outcomes = [*(["throttled"] if number % 25 == 3 else []), {"failed": "refused"}.get(state, state)]
    for place, outcome in enumerate(outcomes, start=1):
        paid = outcome in ("done", "suspect", "lost")
        yield (_key(number), place, run, "https://api.example.com", "", 1, 1, _key(number)[:48], _key(number), _HIGH,
               _stamp(number / count, 60 * (place - 1)), _stamp(number / count, 60 * (place - 1) + 40 + number % 120),
               outcome, _LOW if paid else 0, "reported" if paid else "none")  # fmt: skip


def _raws(number: int, count: int) -> Iterator[tuple[Any, ...]]:
    if _state(number) in ("done", "suspect"):
        yield _key(number), 1, number + 1, _key(-number), "png", 1024, 1024, 1_500_000


def _outputs(number: int, count: int) -> Iterator[tuple[Any, ...]]:
    if _state(number) == "done":
        name = f"{number}.png"
        yield _slot(number), 1, name, name, name, _key(number), _key(-number), _stamp(number / count, 150)


_TABLES: dict[str, tuple[tuple[str, ...], Any]] = {
    "requests": (
        ("key", "state", "provider", "model", "quality", "size", "format", "samples", "spec", "buyer_slot",
         "client_ref", "quote_low_microusd", "quote_high_microusd", "reason", "code", "wanted_by",
         "created_at", "changed_at"),
        _requests,
    ),
    "tasks": (
        ("slot", "item_id", "edit", "variant", "request_key", "labels", "place", "paths", "wanted_by", "created_at"),
        _tasks,
    ),
    "attempts": (
        ("request_key", "number", "run_id", "scope", "key_print", "findable", "generation", "idempotency_key",
         "body_sha256", "reserved_microusd", "started_at", "ended_at", "outcome", "cost_microusd", "cost_basis"),
        _attempts,
    ),
    "raws": (
        ("request_key", "number", "attempt_id", "sha256", "format", "width", "height", "size_bytes"), _raws,
    ),
    "outputs": (
        ("slot", "number", "planned", "path", "path_key", "request_key", "sha256", "placed_at"), _outputs,
    ),
}  # fmt: skip
"""Table -> its columns and the rows of a task."""
