"""
The judge of power-cut images. It knows no code of the product: it looks at files, reads the ledger with plain SQLite,
and compares both with what had been said to the provider on the sockets before the cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.proof.images import Image
from tests.proof.recording import Message

STATE = "out/.batchedit/"
LEDGER = STATE + "ledger.db"
RAW = STATE + "raw/"
FOLLOWED = "/v1/runs/"
FETCHED = "/storage/outputs/"


@dataclass(frozen=True, slots=True)
class Cut:
    """An image, the line before which it was cut, and what the provider had been asked by then."""

    image: Image
    moment: int
    said: Sequence[Message]

    def creations(self) -> list[Message]:
        """Purchases of which at least one byte had been sent."""
        return [message for message in self.said if message.is_creation and message.begun < self.moment]


def examine(cut: Cut, folder: Path, pictures: frozenset[str], *, is_over: bool = False) -> list[str]:
    """
    What is wrong with an image, before anybody has tried to recover from it.

    Args:
        folder: An empty one, for the ledger's files.
        pictures: Digests of all the pictures that were ever sold.
        is_over: True if the program had ended with exit code 0 before the cut.
    """
    problems = list(_torn_files(cut.image, pictures))
    if LEDGER not in cut.image.files:
        if cut.creations():
            problems.append(f"{len(cut.creations())} purchases were sent and there is no ledger")
        return problems + [f"{path} is there and no ledger" for path in _visible(cut.image)]
    cut.image.write(folder, beginning=LEDGER)
    try:
        with contextlib.closing(sqlite3.connect(folder / LEDGER)) as db:
            found = db.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                problems.append(f"damaged ledger: {found}")
            if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'attempts'").fetchone()[0]:
                if cut.creations():
                    problems.append(f"{len(cut.creations())} purchases were sent and the ledger is empty")
                return problems
            problems += _unknown_purchases(cut, db)
            problems += _forgotten_answers(cut, db)
            problems += _wrong_rows(cut.image, db)
            if is_over:
                problems += _unfinished(db)
    except sqlite3.Error as error:
        problems.append(f"the ledger cannot be read: {error}")
    return problems


def _visible(image: Image) -> list[str]:
    return [path for path in image.files if path.startswith("out/") and not path.startswith(STATE)]


def _torn_files(image: Image, pictures: frozenset[str]) -> Iterator[str]:
    """What has a name that somebody relies on has all of its bytes: delivered files, and what is kept by content."""
    for path in _visible(image):
        if _digest(image, path) not in pictures:
            yield f"{path} is torn ({len(image.files[path])} bytes)"
    for path in image.files:
        is_named_by_content = path.startswith((RAW, STATE + "answers/")) and not path.endswith(".part")
        if is_named_by_content and _digest(image, path) != Path(path).name.split(".")[0]:
            yield f"{path} is torn ({len(image.files[path])} bytes)"


def _unknown_purchases(cut: Cut, db: sqlite3.Connection) -> Iterator[str]:
    """Each purchase was written down before its first byte was sent."""
    attempts = set(
        db.execute(
            "SELECT client_ref, idempotency_key, body_sha256 FROM attempts JOIN requests ON key = request_key"
            " WHERE state <> 'pending'"
        )
    )
    for message in cut.creations():
        if (message.reference, message.key, message.body_sha256) not in attempts:
            yield f"{message.reference} was sent and is not in the ledger"


def _forgotten_answers(cut: Cut, db: sqlite3.Connection) -> Iterator[str]:
    """
    A run's id was written down before the run was followed or its pictures were fetched.

    That it has ended is noted without waiting, since it can be read again under its id. An answer that cannot be is a
    file before anything follows from it.
    """
    states = dict(
        db.execute(
            "SELECT provider_run_id, state FROM attempts JOIN requests ON key = request_key"
            " WHERE provider_run_id IS NOT NULL"
        ).fetchall()
    )
    for message in cut.said:
        if message.method != "GET" or message.begun >= cut.moment:
            continue
        path = message.path.partition("?")[0]
        for beginning in (FOLLOWED, FETCHED):
            if path.startswith(beginning):
                run = path.removeprefix(beginning).split("/")[0]
                if states.get(run) not in ("accepted", "fetching", "done"):
                    yield f"{path} was asked for and the ledger says {states.get(run)}"


def _wrong_rows(image: Image, db: sqlite3.Connection) -> Iterator[str]:
    """Each row that names a file names one with exactly these bytes."""
    for path, sha256 in db.execute("SELECT path, sha256 FROM outputs"):
        if _digest(image, f"out/{path}") != sha256:
            yield f"{path} is listed, and its file is not there or another one"
    for key, sha256 in db.execute("SELECT request_key, sha256 FROM raws"):
        files = [path for path in image.files if path.startswith(f"{RAW}{sha256[:2]}/{sha256}.")]
        if not any(_digest(image, path) == sha256 for path in files):
            yield f"the picture {sha256[:12]} of {key[:8]} is listed as kept and is not"
    for (sha256,) in db.execute("SELECT answer_file FROM attempts WHERE answer_file IS NOT NULL AND outcome IS NULL"):
        if _digest(image, f"{STATE}answers/{sha256}") != sha256:
            yield f"the answer {sha256[:12]} is listed as stored and is not"


def _unfinished(db: sqlite3.Connection) -> Iterator[str]:
    """What the program has reported as done when it ended is still done."""
    for key, state in db.execute("SELECT key, state FROM requests WHERE state <> 'done'"):
        yield f"request {key[:8]} was reported as done and is {state}"
    if db.execute("SELECT exit_code FROM runs ORDER BY id DESC LIMIT 1").fetchone() != (0,):
        yield "the run has ended and the ledger does not say so"


def _digest(image: Image, path: str) -> str:
    data = image.files.get(path)
    return "" if data is None else hashlib.sha256(data).hexdigest()
