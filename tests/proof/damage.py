"""Ledgers that are damaged, of others, or held: found before anything is sent, left as they are, explained."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.proof.scene import Case, Scene

_GROUP, _LOCKS = "damaged ledgers", "locks"


def _damaged(spoil: Callable[[Path], None]) -> Callable[[Scene], None]:
    """Finish first, then spoil the ledger; lifted by putting the good one back."""

    def cause(scene: Scene) -> None:
        scene.finished()
        with closing(sqlite3.connect(scene.ledger)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        good = scene.ledger.read_bytes()
        for beside in scene.ledger.parent.glob("ledger.db-*"):
            beside.unlink()
        spoil(scene.ledger)

        def restore() -> None:
            if scene.ledger.is_dir():
                scene.ledger.rmdir()
            scene.ledger.write_bytes(good)
            for beside in scene.ledger.parent.glob("ledger.db-*"):
                beside.unlink()

        scene.lifters.append(restore)

    return cause


def _noise(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = random.Random("noise").randbytes(len(content) - 4096)
    path.write_bytes(content)


def _page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def _head(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[:16] = b"not sqlite at al"
    path.write_bytes(content)


def _stranger(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE photos (name)")
        db.commit()


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _other_world(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = 'rehearsal' WHERE name = 'world'")
        db.commit()


_EIGHT = frozenset({8})
DAMAGES = tuple(
    Case(f"ledger-{name}", _GROUP, words, _damaged(spoil), codes)
    for name, words, spoil, codes in (
        ("noise", "noise from the second page on", _noise, _EIGHT),
        ("zeroed-page", "a page of zeros", _page, _EIGHT),
        ("half", "half of the file", _half, _EIGHT),
        ("head", "a broken header", _head, _EIGHT),
        ("text", "a text file in its place", lambda path: path.write_text("hello " * 2000) and None, _EIGHT),
        (
            "empty",
            "an empty file in its place, beside pictures that were paid",
            lambda path: path.write_bytes(b"") and None,
            _EIGHT,
        ),
        ("gone", "no file at all, beside pictures that were paid", Path.unlink, _EIGHT),
        ("stranger", "the database of another program", _stranger, _EIGHT),
        ("newer", "a ledger of a newer version", _newer, _EIGHT),
        ("folder", "a folder in its place", _folder, frozenset({8, 9})),
        ("other-world", "a ledger of a rehearsal", _other_world, _EIGHT),
    )
)


def _held(name: str) -> Callable[[Scene], None]:
    def cause(scene: Scene) -> None:
        folder = scene.shop.root / "out/.batchedit"
        folder.mkdir(parents=True)
        lock = os.open(folder / name, os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        scene.lifters.append(lambda: os.close(lock))

    return cause


def _stale(content: bytes) -> Callable[[Scene], None]:
    def cause(scene: Scene) -> None:
        folder = scene.shop.root / "out/.batchedit"
        folder.mkdir(parents=True)
        for name in ("lock", "ledger.db.lock"):
            (folder / name).write_bytes(content)

    return cause


LOCKS = (
    Case("lock-folder", _LOCKS, "the folder is held by another process", _held("lock"), _EIGHT),
    Case("lock-ledger", _LOCKS, "the ledger is held by another process", _held("ledger.db.lock"), _EIGHT),
    Case(
        "lock-stale",
        _LOCKS,
        "a lock of a process that is dead",
        _stale(b'{"pid": 1, "host": "x", "since": "y"}'),
        frozenset({0}),
    ),
    Case("lock-garbage", _LOCKS, "garbage in the lock file", _stale(b"\xff\x00garbage"), frozenset({0})),
)
