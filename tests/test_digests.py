"""Digests of pictures are kept in the ledger, so that a second plan reads none; and never where that could deceive."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchedit import digests as module
from batchedit.digests import Digests
from batchedit.effects import Effects
from batchedit.ledger.reader import Ledger
from batchedit.ledger.writer import LedgerWriter
from batchedit.manifest import load_manifest
from batchedit.planner import make_plan
from tests.conftest import Result, Shop, database, draw_picture, drop_views

Cli = Callable[..., Result]


class Reads:
    """Which pictures this process has opened, as the interpreter's own audit events tell."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.listening = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and self.listening and str(arguments[0]).endswith((".png", ".jpg")):
            self.names.append(Path(str(arguments[0])).name)

    def taken(self) -> list[str]:
        """Those since the last call."""
        names, self.names = sorted(self.names), []
        return names


_READS = Reads()  # an audit hook stays for the life of the process


@pytest.fixture
def reads() -> Iterator[Reads]:
    """Counts the pictures that are opened; proves first that it does."""
    _READS.listening = True
    _READS.taken()
    yield _READS
    _READS.listening = False


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose clock ticks so often that the pictures of a test are old when they are read."""
    monkeypatch.setattr(module, "GRANULARITY_NS", 0)
    time.sleep(0.02)


ALL = ["lamp.png", "mug.png", "shoe.png"]


def test_a_second_plan_reads_no_picture(cli: Cli, shop: Shop, jobs: Path, reads: Reads, fast_disk: None) -> None:
    """What a run has read nobody reads again; a plan alone leaves nothing behind, and reads each time."""
    for _ in range(2):
        assert cli("plan", jobs, "--json").json()["counts"]["new"] == 3
        assert reads.taken() == ALL
    assert not Path("out").exists()
    cli("run", jobs, "--json")
    reads.taken()
    assert cli("plan", jobs, "--json").json()["counts"]["done"] == 3
    assert reads.taken() == []


def test_an_altered_picture_is_read_again(cli: Cli, shop: Shop, jobs: Path, reads: Reads, fast_disk: None) -> None:
    """Only that one; and it is the new content that counts, though size and time of change are as before."""
    cli("run", jobs, "--json")
    reads.taken()
    mug = shop.root / "in/mug.png"
    old = mug.stat()
    content = bytearray(mug.read_bytes())
    content[-20] ^= 1
    mug.write_bytes(content)
    os.utime(mug, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (mug.stat().st_size, mug.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    reads.taken()
    assert cli("plan", jobs, "--json").json()["counts"]["changed"] == 1
    assert reads.taken() == ["mug.png"]


def test_a_picture_under_another_name_is_read(cli: Cli, shop: Shop, jobs: Path, reads: Reads, fast_disk: None) -> None:
    """Another file in its place, with the same times, is another inode."""
    cli("run", jobs, "--json")
    other = draw_picture(shop.root / "other.png", (40, 90, 161))
    (shop.root / "in/mug.png").write_bytes((shop.root / "in/mug.png").read_bytes())
    os.replace(other, shop.root / "in/mug.png")
    reads.taken()
    assert cli("plan", jobs, "--json").json()["counts"]["changed"] == 1
    assert reads.taken() == ["mug.png"]


def test_a_picture_that_was_just_written_is_not_trusted(cli: Cli, shop: Shop, jobs: Path, reads: Reads) -> None:
    """It may be written again within the same tick of the file system's clock, and look the same."""
    for path in (shop.root / "in").iterdir():
        path.touch()
    cli("run", jobs, "--json")
    reads.taken()
    cli("plan", jobs, "--json")
    assert reads.taken() == ALL
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM digests").fetchone() == (0,)


def test_age_is_told_by_both_times(tmp_path: Path) -> None:
    """A time of change that lies in the past may have been set; the other one cannot be."""
    path = draw_picture(tmp_path / "a.png", (1, 2, 3), side=32)
    os.utime(path, (1_000_000, 1_000_000))
    now = time.time()
    for wall, kept in ((now + 1, 0), (now + 3, 1), (1_000_003, 0)):
        found = Digests(lambda wall=wall: wall)  # type: ignore[misc]
        found.facts(path, None)
        assert len(list(found.fresh())) == kept, wall


def test_a_plan_looks_once(tmp_path: Path) -> None:
    """What a plan has seen it stays with: what is sent is compared with that, and refused if it is not the same."""
    path = draw_picture(tmp_path / "a.png", (1, 2, 3), side=32)
    found = Digests()
    before = found.facts(path, None)
    draw_picture(path, (9, 9, 9), side=48)
    assert found.facts(path, None) == before
    assert path in found
    assert tmp_path / "b.png" not in found


def test_what_comes_from_the_ledger_is_not_written_again(tmp_path: Path) -> None:
    """Only what was read is fresh."""
    path = draw_picture(tmp_path / "a.png", (1, 2, 3), side=32)
    first = Digests(lambda: time.time() + 60)
    facts = first.facts(path, None)
    with closing(LedgerWriter(tmp_path / "ledger.db", Effects(), world="real")) as writer:
        assert writer.remember_digests(first.fresh()) == 1
    with Ledger(tmp_path / "ledger.db") as reader:
        second = Digests(lambda: time.time() + 60)
        assert second.facts(path, reader) == facts
    assert list(second.fresh()) == []


def test_an_older_ledger_is_read_without_digests(cli: Cli, shop: Shop, jobs: Path, reads: Reads) -> None:
    """A plan opens it for reading only, so that it stays as old as it is; the next run brings it up to date."""
    cli("run", jobs, "--json")
    with database("out/.batchedit/ledger.db") as db:
        drop_views(db)
        db.execute("ALTER TABLE tasks DROP COLUMN tags")
        db.execute("DROP TABLE waiting")
        db.execute("DROP TABLE decisions")
        db.execute("DROP TABLE digests")
        db.execute("ALTER TABLE runs DROP COLUMN plan")
        db.execute("DELETE FROM _sqlite_migrations WHERE name IN ('digests', 'chains')")
        db.execute("PRAGMA user_version = 2")
    assert cli("plan", jobs, "--json").json()["counts"]["done"] == 3
    assert cli("run", jobs, "--json").code == 0
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'digests'").fetchone() == (1,)


def test_a_library_plan_finds_them_too(cli: Cli, shop: Shop, jobs: Path, reads: Reads, fast_disk: None) -> None:
    """Whoever makes the plan, and from wherever the path is written."""
    cli("run", jobs, "--json")
    reads.taken()
    table = [{"id": "0123_1", "image": str(shop.root / "in/mug.png"), "prompt": "pure white background"}]
    plan = make_plan(load_manifest(shop.table("jobs2.csv", table)), out="out")
    assert reads.taken() == []
    assert plan.digests
