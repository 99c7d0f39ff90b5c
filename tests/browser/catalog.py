"""Ledgers of any size with real pictures, for pages: written row by row, not bought."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageDraw

from batchedit.effects import Effects
from batchedit.keys import make_request, to_spec
from batchedit.ledger.writer import LedgerWriter
from batchedit.model import LocalImage, Params, SourceImage, escaped

AT = "2026-11-25T22:00:00.000Z"
COST = 34_000
DISTINCT = 24
"""So many different pictures there are; tasks share them."""


@dataclass(frozen=True)
class Row:
    """A task as it stands in the ledger."""

    item: str
    edit: str = "edit"
    variant: str = ""
    prompt: str = "pure white background"
    client: str = "acme"
    check: str = ""


def picture(number: int, *, side: int, after: bool) -> bytes:
    """Stripes that are the number's bits; the ground says if it is before or after."""
    image = Image.new("RGB", (side, side), (252, 252, 252) if after else (170, 178, 190))
    draw = ImageDraw.Draw(image)
    draw.ellipse((side // 5, side // 5, 4 * side // 5, 4 * side // 5), fill=(90 + 5 * number, 60, 200 - 6 * number))
    for bit in range(8):
        if number >> bit & 1:
            draw.rectangle((bit * side // 8, 0, (bit + 1) * side // 8 - 1, side // 9), fill=(20, 30, 40))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def make_ledger(out: Path, count: int, row: Callable[[int], Row], *, side: int = 640) -> Path:
    """
    A ledger of so many tasks that are done and delivered.

    Args:
        out: The output folder.
        row: What each of them is.
        side: Of the pictures, in pixels.
    """
    state = out / ".batchedit"
    state.mkdir(parents=True)
    ledger = state / "ledger.db"
    LedgerWriter(ledger, Effects(seed="0"), world="rehearsal").close()
    inputs: list[tuple[Path, str, int]] = []
    outputs: list[tuple[Path, str, int]] = []
    for number in range(DISTINCT):
        for after, known in ((False, inputs), (True, outputs)):
            data = picture(number, side=side, after=after)
            digest = sha256(data).hexdigest()
            path = state / "raw" / digest[:2] / f"{digest}.png" if after else out.parent / "in" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            known.append((path, digest, len(data)))
    with closing(sqlite3.connect(ledger)) as database, database:
        database.execute(
            "INSERT INTO runs (id, chain, started_at, ended_at, manifest, provider, model, program, price_list, exit_code)"
            " VALUES (1, 1, ?, ?, 'autumn', 'rehearsal', 'm', 'test', '1', 0)", (AT, AT)
        )  # fmt: skip
        for number in range(count):
            _add(database, out, number, row(number), inputs[number % DISTINCT], outputs[number % DISTINCT], side)
    return ledger


def _add(
    database: sqlite3.Connection,
    out: Path,
    number: int,
    row: Row,
    before: tuple[Path, str, int],
    after: tuple[Path, str, int],
    side: int,
) -> None:
    source = SourceImage(identity=f"sha256:{before[1]}", ref=LocalImage(before[0]))
    prompt = f"{row.prompt} ({number})"
    wanted = make_request(model="m", prompt=prompt, images=(source,), mask=None, params=Params(quality="medium"))
    slot = "/".join(escaped(part) for part in (row.item, row.edit, row.variant) if part)
    name = f"{number:06}.png"
    (out / name).hardlink_to(after[0])
    database.execute(
        "INSERT INTO requests (key, state, provider, model, quality, size, format, samples, spec, buyer_slot, client_ref,"
        " quote_low_microusd, quote_high_microusd, wanted_by, created_at, changed_at)"
        " VALUES (?, 'done', 'rehearsal', 'm', 'medium', 'auto', 'png', 1, ?, ?, ?, ?, ?, 1, ?, ?)",
        (wanted.key, to_spec(wanted), slot, str(number), COST, COST, AT, AT),
    )
    database.execute(
        "INSERT INTO tasks (slot, item_id, edit, variant, request_key, labels, place, paths, wanted_by, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'jobs.csv:2', ?, 1, ?)",
        (slot, row.item, row.edit, row.variant, wanted.key, json.dumps({"client": row.client}), json.dumps([name]), AT),
    )
    database.execute(
        "INSERT INTO attempts (id, request_key, number, run_id, scope, key_print, findable, generation, idempotency_key,"
        " body_sha256, reserved_microusd, started_at, ended_at, outcome, cost_microusd, cost_basis)"
        " VALUES (?, ?, 1, 1, 's', 'k', 1, 1, 'i', 'b', ?, ?, ?, 'done', ?, 'reported')",
        (number + 1, wanted.key, COST, AT, AT, COST),
    )
    database.execute(
        "INSERT INTO raws VALUES (?, 1, ?, ?, 'png', ?, ?, ?, 0)",
        (wanted.key, number + 1, after[1], side, side, after[2]),
    )
    database.execute(
        "INSERT INTO outputs (slot, number, planned, path, path_key, request_key, sha256, placed_at)"
        " VALUES (?, 1, ?, ?, ?, ?, ?, ?)",
        (slot, name, name, name, wanted.key, after[1], AT),
    )
    if row.check:
        database.execute(
            "INSERT INTO checks VALUES (?, 1, ?, ?, 'warned', ?, '', ?)", (slot, row.check, after[1], row.check, AT)
        )
