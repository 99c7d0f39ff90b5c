"""Nothing is written, replaced or removed outside the output folder, whoever else may write in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from batchedit import containment, disk
from batchedit.cli.voice import say
from batchedit.containment import InTheWay, Tree
from batchedit.errors import StorageError
from batchedit.filing import Filing, Kept
from batchedit.model import Raw
from tests.conftest import Result, Shop
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

    link = files.root / "link"

    def put_back(number: int) -> None:
        """A folder was made where there was none for a moment."""
        link.unlink(missing_ok=True)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists() and spare.exists():
            folder.rename(files.root / f"aside{number}")
        if spare.exists():
            spare.rename(folder)

    def swap() -> None:
        nonlocal swaps
        for number in itertools.count():
            if over.is_set():
                return
            try:
                link.symlink_to(outside)
                folder.rename(spare)
                link.rename(folder)
                swaps += 1
                folder.unlink()
                spare.rename(folder)
            except OSError:
                with contextlib.suppress(OSError):
                    put_back(number)

    thread = threading.Thread(target=swap)
    thread.start()
    placed = blocked = 0
    try:
        while swaps < count(500, 10_000) and thread.is_alive():
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
    assert swaps >= count(500, 10_000)
    assert placed > 0
    assert blocked > 0


# -- what holds state ----------------------------------------------------------------------------------------


def test_what_holds_state_is_private(cli: Callable[..., Result], shop: Shop, jobs: Path) -> None:
    """Whatever the umask lets others do; pictures that are delivered are for everybody."""
    before = os.umask(0o000)
    try:
        (shop.root / "in/mug.png").write_bytes(photo())
        assert cli("run", jobs, "--out", "out", "--no-input").code == 0
    finally:
        os.umask(before)
    state = shop.root / "out/.batchedit"
    assert state.stat().st_mode & 0o777 == 0o700
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    named = {str(path.relative_to(state)): oct(path.stat().st_mode & 0o777) for path in files}
    provider = ("provider/", "rehearsal/")
    assert {name: mode for name, mode in named.items() if mode != "0o600" and not name.startswith(provider)} == {}
    assert (shop.root / "out/mug.png").stat().st_mode & 0o044


def photo() -> bytes:
    """One that lies turned, so that a copy for the upload is made."""
    buffer = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (64, 32), (9, 99, 9)).save(buffer, "png", exif=tags.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["lock", "ledger.db.lock", "ledger.db"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_planted_as_a_file_of_state_is_not_followed(
    cli: Callable[..., Result], shop: Shop, jobs: Path, name: str, dangling: bool
) -> None:
    """What it leads to is neither made nor cut nor written; it is said what is wrong, and nothing is bought."""
    victim = shop.root / "victim"
    if not dangling:
        victim.write_text("mine")
    state = shop.root / "out/.batchedit"
    state.mkdir(parents=True)
    (state / name).symlink_to(victim)
    done = cli("run", jobs, "--out", "out", "--no-input")
    if dangling and name == "ledger.db":  # nothing there: the new ledger takes the link's place
        assert done.code == 0
        assert not (state / name).is_symlink()
    else:
        assert done.code in (8, 9), done.err
        assert str(state / name) in done.err
    assert victim.exists() is not dangling
    assert dangling or victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "ledger.db.lock"])
def test_another_name_of_a_file_planted_as_a_lock_is_not_emptied(
    cli: Callable[..., Result], shop: Shop, jobs: Path, name: str
) -> None:
    """Whoever holds a lock writes into its file."""
    victim = shop.root / "victim"
    victim.write_text("mine")
    state = shop.root / "out/.batchedit"
    state.mkdir(parents=True)
    (state / name).hardlink_to(victim)
    done = cli("run", jobs, "--out", "out", "--no-input")
    assert done.code == 9, done.err
    assert str(state / name) in done.err
    assert victim.read_text() == "mine"


STATE = ["raw", "answers", "provider", "thumbs", "turned", "reports", "rehearsal", "raw/ab", "thumbs/ab", "anything"]


@pytest.mark.parametrize("name", STATE)
def test_folders_of_state_are_no_links(cli: Callable[..., Result], shop: Shop, jobs: Path, name: str) -> None:
    """Else a run would clear away half-written files wherever one leads, and write there."""
    victim = shop.root / "victim"
    victim.mkdir()
    (victim / "download.part").write_text("mine")
    state = shop.root / "out/.batchedit"
    (state / name).parent.mkdir(parents=True)
    (state / name).symlink_to(victim)
    done = cli("run", jobs, "--out", "out", "--no-input")
    # What looks like pictures that were bought, without a ledger, is refused for that.
    assert done.code == (8 if name == "raw/ab" else 9), done.err
    assert str(state / ("ledger.db" if name == "raw/ab" else name)) in done.err
    assert [path.name for path in victim.iterdir()] == ["download.part"]


@pytest.mark.parametrize("name", ["thumbs", "thumbs/ab"])
def test_small_pictures_are_not_kept_where_a_link_leads(
    cli: Callable[..., Result], shop: Shop, jobs: Path, name: str
) -> None:
    """A report makes them without keeping them; a review says what is wrong."""
    assert cli("run", jobs, "--out", "out", "--no-input").code == 0
    state, victim = shop.root / "out/.batchedit", shop.root / "victim"
    victim.mkdir()
    (state / name).parent.mkdir(exist_ok=True)
    names = [name] if name == "thumbs" else [f"thumbs/{number:02x}" for number in range(256)]
    for each in names:
        (state / each).symlink_to(victim)
    assert cli("report", "out", "--html", "report.html").code == 0
    assert "data:image/webp" in (shop.root / "report.html").read_text("utf-8")
    assert [*victim.iterdir()] == []
    shown = cli("review", "out", "--no-open")
    assert shown.code == 9
    assert f"{state / 'thumbs'}" in shown.err


@pytest.mark.skipif(not LINUX or os.geteuid() != 0, reason="only root can be somebody else")
def test_a_folder_of_somebody_else_is_refused(shop: Shop, jobs: Path) -> None:
    """Its owner could put another ledger in place of ours at any time."""
    state = shop.root / "out/.batchedit"
    state.mkdir(parents=True)
    os.chown(state, 12345, 12345)
    code = (
        "import os, sys, pathlib; from batchedit import disk; from batchedit.errors import StorageError; os.seteuid(54321)\n"
        f"try: disk.claim(pathlib.Path({str(state)!r}), is_new=False)\n"
        "except StorageError as error: sys.exit('belongs to another user' not in str(error))\n"
        "sys.exit(2)"
    )
    for folder in (shop.root, *shop.root.parents[:3]):
        folder.chmod(0o755)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- what is printed -----------------------------------------------------------------------------------------

ORDERS = [
    "\x1b]0;title\x07", "\x1b[2J", "\x1b[31mred", "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07", "\x1bc", "\x1b[6n", "\x1bP+q544e\x1b\\", "\x9b2J", "\x9d0;title\x9c", "\x90q\x9c", "\b\b\b\b",
    "\rsafe", "\x07", "\x00", "\x7f", "\x0e", "\u202egnp.exe", "\u2066x\u2069", "\x85",
]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_what_a_terminal_would_obey_is_written_out(
    cli: Callable[..., Result], shop: Shop, capsys: pytest.CaptureFixture[str], order: str
) -> None:
    """From names of files, cells and messages: not one byte below a space but the new lines of ours."""
    name = f"in/{order}.png"
    with contextlib.suppress(OSError, ValueError):
        os.replace("in/mug.png", name)
    shop.table("jobs.csv", [{"id": f"a{order}b", "image": name, "prompt": f"on white{order}", "clïent": order}])
    for command in (("check",), ("plan", "--out", "out"), ("run", "--out", "out", "--no-input")):
        done = cli(command[0], "jobs.csv", *command[1:])
        assert [letter for letter in done.out + done.err if letter in FORBIDDEN] == []
    say(f"the provider says {order}")
    said = capsys.readouterr().out
    assert [letter for letter in said if letter in FORBIDDEN] == []
    assert "\\u" in said
    say(json.dumps({"text": order}, ensure_ascii=False))
    assert json.loads(capsys.readouterr().out) == {"text": order}


FORBIDDEN = {*map(chr, range(32)), *map(chr, range(127, 160)), *"\u202e\u2066\u2069"} - {"\n", "\t"}
