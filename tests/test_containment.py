"""Nothing is written, replaced or removed outside the output folder, whoever else may write in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from batchedit import containment, disk
from batchedit.containment import InTheWay, Tree
from batchedit.errors import StorageError
from batchedit.filing import Filing, Kept
from batchedit.model import Raw
from tests.proof import count

pytestmark = pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links")
LINUX = sys.platform.startswith("linux")


def picture(number: int) -> bytes:
    """A picture of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256 % 256, 9)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(params=["held open", "looked at"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filing:
    """An output folder, in the way of Linux and in that of other systems."""
    if request.param == "held open" and not LINUX:
        pytest.skip("no /proc")
    monkeypatch.setattr(containment, "is_guarded", lambda: request.param == "held open")
    filing = Filing(tmp_path / "out", tmp_path / "out" / ".batchedit")
    filing.open()
    return filing


def kept(files: Filing, number: int) -> Raw:
    found: Kept = disk.alone(files.keep(picture(number), 1))
    return found.raw


def state_of(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((str(path), path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("kind", ["outside", "dangling", "loop", "inside"])
def test_a_link_at_any_level_is_in_the_way(files: Filing, tmp_path: Path, level: int, kind: str) -> None:
    """It says which; nothing is made behind it."""
    raw = kept(files, 1)
    outside = tmp_path / "outside"
    (outside / "b/c").mkdir(parents=True)
    (files.root / "inside").mkdir()
    before = state_of(outside)
    link = files.root.joinpath(*["a", "b", "c"][: level + 1])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(
        {"outside": outside, "dangling": outside / "nowhere", "loop": link, "inside": files.root / "inside"}[kind]
    )
    with pytest.raises(InTheWay, match="is a symbolic link"):
        disk.alone(files.place(raw, "a/b/c/x.png"))
    assert state_of(outside) == before
    assert state_of(files.root / "inside") == []


def test_a_link_with_the_picture_s_own_name_is_in_the_way(files: Filing, tmp_path: Path) -> None:
    """What it leads to stays as it is, also if it has the picture's bytes."""
    raw = kept(files, 1)
    for number, content in enumerate((b"a private letter", b"", picture(1))):
        target = tmp_path / f"letter{number}"
        target.write_bytes(content)
        (files.root / f"x{number}.png").symlink_to(target)
        with pytest.raises(InTheWay):
            disk.alone(files.place(raw, f"x{number}.png"))
        files.remove(f"x{number}.png", hashlib.sha256(content).hexdigest())
        assert target.read_bytes() == content
        assert (files.root / f"x{number}.png").is_symlink()


def test_removal_does_not_go_through_links(files: Filing, tmp_path: Path) -> None:
    """Not even where the file behind it is the same."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.png").write_bytes(picture(1))
    (files.root / "a").symlink_to(tmp_path / "outside")
    files.remove("a/x.png", hashlib.sha256(picture(1)).hexdigest())
    files.remove("gone/x.png", "")
    assert (tmp_path / "outside/x.png").exists()


def test_a_file_where_a_folder_should_be_is_left_alone(files: Filing) -> None:
    """It belongs to somebody."""
    (files.root / "a").write_text("mine")
    with pytest.raises((InTheWay, StorageError)):
        disk.alone(files.place(kept(files, 1), "a/x.png"))
    assert (files.root / "a").read_text() == "mine"


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Somebody has put the output folder on another disk: that is a choice."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    files = Filing(tmp_path / "out", tmp_path / "out" / ".batchedit")
    files.open()
    disk.alone(files.place(kept(files, 1), "a/x.png"))
    assert (tmp_path / "disk/a/x.png").read_bytes() == picture(1)


def test_no_descriptor_is_left_open(files: Filing) -> None:
    """However it ends."""
    raw = kept(files, 1)
    (files.root / "link").symlink_to(files.root)
    before = len(os.listdir("/proc/self/fd")) if LINUX else 0
    for number in range(50):
        disk.alone(files.place(raw, f"a/b{number}/x.png"))
        with pytest.raises(InTheWay):
            disk.alone(files.place(raw, "a/../link/x.png" if number % 2 else "link/x.png"))
        with contextlib.suppress(FileNotFoundError), Tree(files.root).folder_of("nowhere/at/all.png"):
            pass
    assert (len(os.listdir("/proc/self/fd")) if LINUX else 0) == before


@pytest.mark.skipif(not LINUX, reason="folders are held open on Linux")
@pytest.mark.timeout(1800)
def test_a_folder_that_becomes_a_link_at_any_moment_leads_nobody_out(tmp_path: Path) -> None:
    """
    A thread swaps a folder and a link to another folder all the time, and pictures are placed, removed and placed again:
    what is there outside stays as it is. All 10,000: `PROOF=full python -m pytest tests/test_containment.py`.
    """
    files = Filing(tmp_path / "out", tmp_path / "out" / ".batchedit")
    files.open()
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    raws = [kept(files, number) for number in range(3)]
    # Files that would be replaced or removed if somebody were led to them: they have bytes that are ours.
    (outside / "b" / "0.png").write_bytes(picture(1))
    (outside / "b" / "1.png").write_bytes(b"")
    before = state_of(outside)
    folder, spare = files.root / "a", files.root / "spare"
    (folder / "b").mkdir(parents=True)
    over = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        link = files.root / "link"
        while not over.is_set():
            link.symlink_to(outside)
            folder.rename(spare)
            link.rename(folder)
            folder.unlink()
            spare.rename(folder)
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    placed = blocked = 0
    try:
        while swaps < count(500, 10_000):
            for number, raw in enumerate(raws):
                path = f"a/b/{number}.png"
                try:
                    disk.alone(files.place(raw, path))
                    placed += 1
                except (InTheWay, StorageError):
                    blocked += 1
                files.remove(path, raw.sha256)
    finally:
        over.set()
        thread.join()
    assert state_of(outside) == before
    assert placed > 0
    assert blocked > 0
