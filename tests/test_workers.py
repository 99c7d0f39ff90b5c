"""Worker processes: pictures are kept whatever happens to the process that does it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest
from PIL import Image

from batchedit import disk, workers
from batchedit.errors import StorageError
from batchedit.filing import Ahead, Filing, InTheWay, Kept, RawDamaged
from batchedit.outputs import Outputs
from batchedit.pictures import BadPicture
from batchedit.workers import Workers
from tests.test_pictures import hollow

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts processes in /proc"),
]

_POISON = b"the decoder crashes here"
_CRASHES = (
    "import os; from batchedit import filing; whole = filing.decode;"
    f" filing.decode = lambda source: os.abort() if {_POISON!r} in source else whole(source); "
)


def png(number: int, comment: bytes = b"") -> bytes:
    """A picture of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(buffer, "png")
    return buffer.getvalue() + comment


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def files(tmp_path: Path) -> Filing:
    filing = Filing(tmp_path / "out", tmp_path / "out" / ".batchedit")
    filing.open()
    return filing


@asynccontextmanager
async def running(files: Filing, count: int = 2, **options: float) -> AsyncIterator[Workers]:
    with anyio.fail_after(60):
        async with Workers(files, count, **options) as pool:
            yield pool


def children(parent: int) -> list[int]:
    """The processes that this one has started and that run still."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


async def test_many_pictures_are_kept_and_placed(files: Filing) -> None:
    """Each comes back as what it is, and lies where it should with the bytes it came with."""
    found: dict[int, str] = {}

    async def bring(pool: Workers, number: int) -> None:
        raw = (await pool.keep(png(number), 1)).raw
        await pool.place(raw, f"{number % 7}/{number}.png")
        found[number] = raw.sha256

    async with running(files) as pool, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(bring, pool, number)
    assert len(set(found.values())) == 100
    for number in range(100):
        assert (files.root / f"{number % 7}/{number}.png").read_bytes() == png(number)
    assert not list(files.state.glob("raw/*.part"))


async def test_errors_come_back_as_what_they_are(files: Filing) -> None:
    """What a job raises in the other process is raised here."""
    (files.root / "mine.png").write_bytes(b"mine")
    big = files.temporary()
    big.write_bytes(png(1)[:-20])
    async with running(files) as pool:
        with pytest.raises(BadPicture, match="not a PNG"):
            await pool.keep(b"<html>", 1)
        with pytest.raises(BadPicture):
            await Outputs(files, workers=pool).keep(big, 1)
        raw = (await pool.keep(png(2), 1)).raw
        with pytest.raises(InTheWay, match=r"mine\.png"):
            await pool.place(raw, "mine.png")
        (files.root / "blocked").write_bytes(b"a file where a folder should be")
        with pytest.raises((InTheWay, StorageError), match="blocked"):
            await pool.place(raw, "blocked/a.png")
        await pool.place(raw, "fine.png")
    assert not big.exists()
    assert (files.root / "mine.png").read_bytes() == b"mine"


async def test_how_closely_they_look_is_a_setting(tmp_path: Path) -> None:
    """A PNG without pixels is refused by decoding it only."""
    for verify, expected in (("full", BadPicture), ("structure", None)):
        files = Filing(tmp_path / verify, tmp_path / verify / ".batchedit", verify)
        files.open()
        async with running(files, 1) as pool:
            if expected is not None:
                with pytest.raises(expected):
                    await pool.keep(hollow(), 1)
            else:
                assert (await pool.keep(hollow(), 1)).raw.width == 40


@pytest.mark.parametrize("count", [1, 2])
async def test_a_decoder_that_crashes_marks_its_own_picture_only(
    files: Filing, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Whatever was handed over with it is done all the same."""
    monkeypatch.setattr(
        workers, "_PROGRAM", workers._PROGRAM.replace("from batchedit.w", _CRASHES + "from batchedit.w")
    )
    outcomes: dict[int, str] = {}

    async def bring(pool: Workers, number: int) -> None:
        try:
            outcomes[number] = (await pool.keep(png(number, _POISON if number in (3, 9) else b""), 1)).raw.format
        except BadPicture as problem:
            outcomes[number] = str(problem)

    async with running(files, count) as pool, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(bring, pool, number)
    assert {number for number, outcome in outcomes.items() if outcome == "png"} == set(range(20)) - {3, 9}
    assert "crashes" in outcomes[3]


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "os._exit(3)"])
async def test_a_worker_that_is_always_ended_says_nothing_about_the_picture(
    files: Filing, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Somebody ends it, perhaps the system for want of memory: nothing more may be bought, and nothing is condemned."""
    crashes = _CRASHES.replace("os.abort()", ending)
    monkeypatch.setattr(workers, "_PROGRAM", workers._PROGRAM.replace("from batchedit.w", crashes + "from batchedit.w"))
    async with running(files, 1) as pool:
        with pytest.raises(StorageError, match=r"ended twice \((signal 9|exit code 3)\)"):
            await pool.keep(png(1, _POISON), 1)
        assert (await pool.keep(png(2), 1)).raw.format == "png"


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError])
async def test_an_error_beside_them_goes_on_as_what_it_is(files: Filing, error: type[BaseException]) -> None:
    """Not in a group, in which nobody would recognise it."""

    async def fail() -> None:
        async with running(files) as pool:
            await pool.keep(png(1), 1)
            raise error("stop")

    with pytest.raises(error, match="stop"):
        await fail()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_worker_is_replaced(files: Filing, number: signal.Signals) -> None:
    """Killed from outside, again and again, while it works: every picture is kept."""
    raws: list[str] = []

    async def bring(pool: Workers, picture: int) -> None:
        raws.append((await pool.keep(png(picture), 1)).raw.sha256)

    async with running(files, 1) as pool:
        for trial in range(3):
            await bring(pool, 1000 + trial)
            async with anyio.create_task_group() as group:
                for picture in range(5):
                    group.start_soon(bring, pool, 10 * trial + picture)
                for child in children(os.getpid()):
                    os.kill(child, number)
    assert len(set(raws)) == 18


async def test_a_worker_that_is_killed_before_it_answers_can_be_asked_again_about_a_download(
    files: Filing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture has its name among the raws already; whoever tries it again still finds the download."""
    once = files.state / "once"
    dies = (
        "import os, batchedit.worker_process as w\n"
        "say = w._finish\n"
        "def finish(changes, target):\n"
        "    changes.finish()\n"
        f"    if not os.path.exists({str(once)!r}):\n"
        f"        open({str(once)!r}, 'w').close(); os.kill(os.getpid(), 9)\n"
        "    say(changes, target)\n"
        "w._finish = finish\n"
    )
    program = workers._PROGRAM.replace("from batchedit.w", f"exec({dies!r}); from batchedit.w")
    monkeypatch.setattr(workers, "_PROGRAM", program)
    download = files.temporary()
    download.write_bytes(png(7))
    async with running(files, 1) as pool:
        raw = await Outputs(files, workers=pool).keep(download, 1)
    assert once.exists()
    assert files.raw_path(raw).read_bytes() == png(7)
    assert not [*files.state.glob("raw/*.part")]


async def test_a_download_that_is_gone_is_fetched_again(files: Filing) -> None:
    """Only the picture is told so; it is not the disk that has failed."""
    async with running(files, 1) as pool:
        with pytest.raises(BadPicture, match="gone before it was kept"):
            await pool.keep(files.temporary(), 1)


async def test_a_worker_that_stands_still_is_replaced(files: Filing) -> None:
    """Stopped from outside: its pictures are kept by the next one."""
    async with running(files, 1, deadline_seconds=1.0) as pool:
        await pool.keep(png(1), 1)
        (child,) = children(os.getpid())
        os.kill(child, signal.SIGSTOP)
        assert (await pool.keep(png(2), 1)).raw.format == "png"


async def test_a_picture_that_takes_for_ever_marks_itself_only(files: Filing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike a disk that does not answer it takes the processor's time; what was handed over with it is kept."""
    spins = _CRASHES.replace("os.abort()", "exec('while True: pass')")
    monkeypatch.setattr(workers, "_PROGRAM", workers._PROGRAM.replace("from batchedit.w", spins + "from batchedit.w"))
    outcomes: dict[int, str] = {}

    async def bring(pool: Workers, number: int) -> None:
        try:
            outcomes[number] = (await pool.keep(png(number, _POISON if number == 3 else b""), 1)).raw.format
        except BadPicture as problem:
            outcomes[number] = str(problem)

    async with running(files, 1, cpu_seconds=2.0) as pool, anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(bring, pool, number)
    assert outcomes.pop(3) == "a picture at which the decoder takes a minute and more"
    assert outcomes == dict.fromkeys({*range(8)} - {3}, "png")


async def test_a_disk_that_does_not_answer_stops_the_run(files: Filing) -> None:
    """A read that never returns, for the second worker too."""
    endless = files.temporary()
    os.mkfifo(endless)
    async with running(files, 1, deadline_seconds=0.5) as pool:
        with pytest.raises(StorageError, match="did not answer, twice"):
            await pool.keep(endless, 1)
        assert (await pool.keep(png(2), 1)).raw.format == "png"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio waits in a thread of its own, beyond its end
async def test_a_worker_that_cannot_be_ended_stops_the_run(files: Filing, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is that waits for a disk which is gone: nobody waits for it for ever."""
    endless = files.temporary()
    os.mkfifo(endless)
    monkeypatch.setattr(workers, "_PATIENCE_SECONDS", 0.3)
    start = Workers._start
    started: list[anyio.abc.Process] = []

    async def unkillable(self: Workers) -> anyio.abc.Process:
        process = await start(self)
        started.append(process)
        monkeypatch.setattr(type(process), "kill", lambda _: None)
        return process

    monkeypatch.setattr(Workers, "_start", unkillable)
    async with running(files, 1, deadline_seconds=0.5) as pool:
        with pytest.raises(StorageError, match="cannot be ended"):
            await pool.keep(endless, 1)
        for process in started:
            os.kill(process.pid, signal.SIGKILL)
            await process.aclose()


def test_what_is_being_placed_on_another_disk_is_not_swept(files: Filing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes place files there; only what an earlier run has left goes."""
    monkeypatch.setattr(Filing, "_other_disk", lambda *_: True)
    raw = disk.alone(files.keep(png(3), 1)).raw
    left = files.root / ".batchedit-0123456789ab-0123456789abcdef.part"
    left.write_bytes(b"half")
    placing = files.place(raw, "a.png")
    next(placing)
    assert not left.exists()
    other = Filing(files.root, files.state, token=files.token)
    disk.alone(other.place(raw, "b.png"))
    disk.alone(placing)
    assert sorted(path.name for path in files.root.glob("*.png")) == ["a.png", "b.png"]


async def test_processes_that_end_at_once_are_not_started_for_ever(
    files: Filing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Prepared for work that has not come yet, they are tried once; a job is tried twice and then told."""
    log = tmp_path / "starts"
    program = f"open({str(log)!r}, 'a').write('x'); raise SystemExit(5)"
    monkeypatch.setattr(workers, "_PROGRAM", program)
    async with running(files, 1) as pool:
        pool.prepare()
        while not log.exists() or children(os.getpid()):  # noqa: ASYNC110  it is another process that does it
            await anyio.sleep(0.02)
        await anyio.sleep(0.5)
        assert log.read_text() == "x"
        with pytest.raises(StorageError, match="exit code 5"):
            await pool.keep(png(1), 1)
        assert len(log.read_text()) <= 4


def test_a_raw_that_goes_before_it_is_placed_is_left_to_placing(files: Filing) -> None:
    """Keeping it has succeeded; placing says what is wrong, in words that a run understands."""

    def disturbed() -> disk.Stages[Kept]:
        stages = files.keep(png(1), 1, Ahead(size=None, paths=("a.png",)))
        while True:
            try:
                next(stages)
            except StopIteration as stop:
                kept: Kept = stop.value
                return kept
            for raw in files.state.glob("raw/??/*"):
                raw.unlink()
            yield

    kept = disk.alone(disturbed())
    assert not kept.is_placed
    with pytest.raises(RawDamaged, match="is gone"):
        disk.alone(files.place(kept.raw, "a.png"))


async def test_nothing_is_left_running(files: Filing) -> None:
    """The processes end with the run."""
    async with running(files) as pool:
        await pool.keep(png(1), 1)
        assert children(os.getpid())
    assert not children(os.getpid())


async def test_a_process_that_cannot_be_started_is_an_error_of_storage(
    files: Filing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody who waits is told, and nobody waits for ever."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with running(files) as pool:
        for _ in range(2):
            with pytest.raises(StorageError, match="cannot start"):
                await pool.keep(png(1), 1)


def test_a_killed_run_takes_its_workers_along(tmp_path: Path) -> None:
    """SIGKILL of the parent: no process goes on writing behind the back of the next run."""
    script = (
        "import anyio, sys; from pathlib import Path; from batchedit.filing import Filing;"
        "from batchedit.workers import Workers\n"
        f"root = Path({str(tmp_path)!r}); files = Filing(root, root / '.batchedit'); files.open()\n"
        "async def main():\n"
        "    async with Workers(files, 1) as pool:\n"
        f"        await pool.keep({png(5)!r}, 1)\n"
        "        print('kept', flush=True)\n"
        "        await anyio.sleep(60)\n"
        "anyio.run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "kept"
        (child,) = children(process.pid)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "the worker still runs"
        time.sleep(0.01)
