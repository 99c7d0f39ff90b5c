"""A ledger that holds every state, outcome, basis, verdict and kind of waste, written row by row from a seed."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from batchedit.effects import Effects
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import State
from tests.conftest import database

OUTCOMES = (
    "done", "suspect", "lost", "not sent", "throttled", "unavailable", "refused", "form refused",
    "account refused", "provider failed", "absent", "resent", "written off", "unseen",
)  # fmt: skip
BASES = ("reported", "computed", "assumed", "none")
HOSTILE = ("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1+1", "\r=1+1", '"a", b', "<b>x</b>", "Ünïcode ✓")
LABELS: tuple[dict[str, str], ...] = (
    {"client": "acme", "season": "AW26"},
    {"client": "acme"},
    {"client": "Nordwind", 'odd "name"': "=HYPERLINK(1)"},
    {},
)
START = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)


def stamp(minutes: float) -> str:
    """An ISO moment of that night, as the ledger writes it."""
    return (START + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_everything(path: Path, seed: int = 1, tasks: int = 100) -> Path:
    """A new ledger at the path, which is returned."""
    draw = random.Random(seed)
    LedgerWriter(path, Effects(seed=str(seed)), world="real").close()
    with database(path) as db:
        for run in (1, 2):
            ended = (stamp(run * 60), 0) if run == 1 else (None, None)
            db.execute(
                "INSERT INTO runs (id, chain, started_at, ended_at, manifest, provider, model, program, price_list,"
                " budget_microusd, exit_code) VALUES (?, 1, ?, ?, 'night \"1\"', 'runflow', 'm', '0', 'p', ?, ?)",
                (run, stamp(run), ended[0], None if run == 1 else 25_000_000, ended[1]),
            )
        for number in range(tasks):
            _task(db, draw, number)
    return path


def _task(db: sqlite3.Connection, draw: random.Random, number: int) -> None:
    state = [*State][number % len(State)]
    key, slot, title = f"{number:064x}", f"i{number}/white", HOSTILE[number % len(HOSTILE)]
    spec = {
        "model": "m", "prompt": f"on oak: {title}", "images": [{"id": "sha256:00", "at": f"in/{number}.png"}], "mask": None,
        "quality": "high", "size": "auto", "format": "png", "samples": 1, "revision": 1, "inline": False,
    }  # fmt: skip
    wrong = state in (State.FAILED, State.SUSPECT, State.LOST, State.UNKNOWN)
    db.execute(
        "INSERT INTO requests (key, state, provider, model, quality, size, format, samples, spec, buyer_slot, client_ref,"
        " quote_low_microusd, quote_high_microusd, code, reason, wanted_by, created_at, changed_at)"
        " VALUES (?, ?, 'runflow', 'm', ?, 'auto', 'png', 1, ?, ?, ?, 133000, 150000, ?, ?, 1, ?, ?)",
        (key, state, draw.choice(("low", "high")), json.dumps(spec), slot, key, "moderated" if wrong else "",
         f"{title} was refused" if wrong else "", stamp(number), stamp(number + 1)),
    )  # fmt: skip
    labels = {**draw.choice(LABELS), **({"title": title} if number % 5 == 0 else {})}
    for name in [slot, *([f"i{number}/again"] if number % 7 == 0 else [])]:
        db.execute(
            "INSERT INTO tasks (slot, item_id, edit, variant, request_key, labels, place, paths, wanted_by, created_at)"
            " VALUES (?, ?, ?, '', ?, ?, ?, ?, 1, ?)",
            (name, f"i{number}", name.split("/")[1], key, json.dumps(labels), f"jobs.csv:{number + 2}",
             json.dumps([f"{name}.png"]), stamp(number)),
        )  # fmt: skip
    _attempts(db, draw, number, key, state)
    if state is State.DONE:
        db.execute(
            "INSERT INTO raws VALUES (?, 1, (SELECT max(id) FROM attempts), ?, 'png', 64, 48, 1234, 0)", (key, "a" * 64)
        )
        db.execute(
            "INSERT INTO outputs (slot, number, planned, path, path_key, request_key, sha256, placed_at)"
            " VALUES (?, 1, ?, ?, ?, ?, ?, ?)",
            (slot, f"{slot}.png", f"{slot}.png", f"{slot}.png", key, "a" * 64, stamp(number)),
        )
        for name, told in (("fill", "warned"), ("not_blank", "passed"), ("white_border", "failed"))[: number % 4]:
            db.execute("INSERT INTO checks VALUES (?, 1, ?, ?, ?, ?, 'at least 85 %', ?)",
                       (slot, name, "a" * 64, told, title, stamp(number)))  # fmt: skip
        verdict = ("approved", "rejected", None)[number // len(State) % 3]
        if verdict:
            db.execute("INSERT INTO decisions (slot, request_key, decided_at, verdict, reason) VALUES (?, ?, ?, ?, ?)",
                       (slot, key, stamp(900), verdict, title))  # fmt: skip
    if number % 9 == 5 and number % 2 == 0 and state is State.DONE:  # a later revision, so that this one is superseded
        db.execute("INSERT INTO requests SELECT ?, 'pending', provider, model, quality, size, format, samples, 2, spec,"
                   " buyer_slot, ?, generation, 0, quote_low_microusd, quote_high_microusd, NULL, 1, '', '', 2,"
                   " created_at, changed_at FROM requests WHERE key = ?", (f"f{key[1:]}", f"f{key[1:]}", key))  # fmt: skip
        db.execute("UPDATE tasks SET request_key = ?, revision = 2 WHERE slot = ?", (f"f{key[1:]}", slot))


def _attempts(db: sqlite3.Connection, draw: random.Random, number: int, key: str, state: State) -> None:
    further = OUTCOMES[3:]  # those that do not end a request
    outcomes: list[str | None] = [further[(number + each) % len(further)] for each in range(number % 4)]
    if state in (State.DONE, State.SUSPECT, State.LOST):
        outcomes.append({State.DONE: "done", State.SUSPECT: "suspect", State.LOST: "lost"}[state])
    elif state not in (State.PENDING, State.FAILED):
        outcomes.append(None)
    for position, outcome in enumerate(outcomes, start=1):
        basis = draw.choice(BASES)
        cost = 0 if basis == "none" else draw.randrange(1, 400_000)
        surplus = draw.choice((0, 0, 0, 41_001))
        begun = number * 20.0 + position
        db.execute(
            "INSERT INTO attempts (request_key, number, run_id, scope, key_print, findable, generation, idempotency_key,"
            " body_sha256, reserved_microusd, started_at, ended_at, outcome, message, cost_microusd, cost_basis,"
            " doubt_microusd, surplus_runs, surplus_microusd, surplus_doubt_microusd)"
            " VALUES (?, ?, ?, 'SECRET scope', 'SECRET print', 1, 1, 'SECRET key', 'SECRET body', 150000, ?, ?, ?, '', ?, ?, ?, ?, ?, ?)",
            (key, position, draw.choice((1, 2)), stamp(begun), None if outcome is None else stamp(begun + 0.7), outcome,
             cost, basis, draw.choice((0, 0, 17_003)), int(bool(surplus)), surplus, draw.choice((0, 0, 5))),
        )  # fmt: skip


def everything(path: Path) -> dict[str, int]:
    """How often each outcome is in a ledger, so that a test can say that none is missing."""
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT coalesce(outcome, 'open'), count(*) FROM attempts GROUP BY 1"))
