"""
Layer T3: a power cut at any moment. Real runs are recorded by their system calls, images are built of what a cut may
leave, each image is examined, and from a sample of them the same command goes on.

Recovery runs in process on a clock that jumps. The provider of each recovery is an emulator of its own with the books
of the recording, less the purchases that it cannot have got by the moment of the cut (see `studio`): a recovery from an
early image must buy what was never sent, and a recovery that does not know of a purchase that was sent shows up as a
second bill, also where the image has lost its whole ledger.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.proof import count
from tests.proof.autopsy import Cut, examine
from tests.proof.images import SECTOR, Disk, path_of
from tests.proof.recording import STRACE, Call, read_log
from tests.proof.recovery import recover
from tests.proof.studio import Scene, Studio, studio

SEED = 1

DEATHS: dict[str, Callable[[Call], bool]] = {
    "the output folder": lambda call: call.name == "mkdir" and call.texts[0].endswith(b"/out"),
    "the state's folder": lambda call: call.name == "mkdir" and call.texts[0].endswith(b"/.batchedit"),
    "the ledger": lambda call: call.name == "openat" and call.texts[0].endswith(b"/ledger.db-wal"),
    "a folder of raws": lambda call: call.name == "mkdir" and b"/raw/" in call.texts[0],
    "a folder of the tree": lambda call: call.name == "mkdir" and call.texts[0].endswith((b"/pairs", b"/down")),
    "a kept picture": lambda call: call.name == "rename" and b"/raw/" in call.texts[1],
    "a delivered file": lambda call: call.name == "link" and call.texts[1].endswith((b"/d.png", b"/g.png")),
    "a commit": lambda call: call.name == "fdatasync" and b"-wal".hex(" ").replace(" ", "\\x") in call.arguments,
}
"""What a process has just made, and not synced yet, when it is killed."""

LIES: dict[str, tuple[Callable[[str, bool], bool], str]] = {
    "no folder is synced": (lambda path, is_folder: not is_folder, "there is no ledger"),
    "the output folder is not": (lambda path, is_folder: not path.endswith("/out"), "there is no ledger"),
    "folders of raws are not": (lambda path, is_folder: not (is_folder and "/raw" in path), "listed as kept"),
    "folders of the tree are not": (lambda path, is_folder: not path.endswith("/pairs"), "not there or another one"),
    "the ledger's log is not": (lambda path, is_folder: not path.endswith("-wal"), "is not in the ledger"),
    "the ledger itself is not": (lambda path, is_folder: "ledger.db" not in path or path.endswith("-wal"), "ledger"),
    "pictures are not": (lambda path, is_folder: is_folder or "/raw/" not in path, "is torn"),
}
"""Syncs that do nothing, and what must be said about the images then."""

needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed: no run can be recorded")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Where runs are recorded."""
    with studio(tmp_path_factory.mktemp("studio")) as made:
        yield made


@pytest.fixture(scope="module")
def night(place: Studio) -> Scene:
    """A run that nothing disturbs."""
    return place.night("night")


def inspect(scene: Scene, disk: Disk, *, images: int, recoveries: int) -> tuple[int, list[str]]:
    """
    Build images from all moments of a scene, examine each, and go on from some.

    In the first image of each moment nothing unsynced survives, in the others what the draw says.

    Returns:
        How many images there were, and what is wrong.
    """
    draw = random.Random(SEED)
    moments, pictures = scene.moments(disk), scene.pictures()
    rounds = max(2, -(-images // len(moments)))
    chosen = [(moment, number) for moment in moments for number in range(rounds)]
    if len(moments) * 2 > images:
        chosen = draw.sample(chosen, images)
    sampled = set(draw.sample(chosen, recoveries))
    problems = []
    room = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    for moment, number in chosen:
        name = f"{SEED}/{moment}/{number}"
        cut = Cut(disk.image(moment, random.Random(name) if number else None), moment, scene.said)
        folder = Path(tempfile.mkdtemp(prefix="image", dir=room))
        try:
            found = examine(cut, folder / "look", pictures, is_over=moment >= scene.over_at)
            if (moment, number) in sampled:
                found += [f"after recovery: {line}" for line in recover(scene, cut, folder / "go", name)]
        finally:
            shutil.rmtree(folder)
        problems += [f"cut before line {moment}, image {number}: {line}" for line in found]
    return len(chosen), problems


@needs_strace
@pytest.mark.timeout(1800)
def test_a_power_cut_at_any_moment_loses_nothing(night: Scene) -> None:
    """Every purchase that was sent is in the ledger, no name shows a torn file, and the same command ends the night."""
    wanted = count(1000, 10_000)
    images, problems = inspect(night, night.disk(), images=wanted, recoveries=count(40, 1000))
    assert images >= wanted
    assert not problems, "\n".join(problems[:40])


@needs_strace
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("death", DEATHS)
def test_a_power_cut_after_a_kill_loses_nothing(place: Studio, night: Scene, death: str) -> None:
    """
    Killed before it could sync what it had just made, started again, then the power fails.

    The second process finds what the first one made, and must not believe that it is on the disk.
    """
    draw = random.Random(f"{SEED}/{death}")
    calls = [call for call in night.calls[0][1] if DEATHS[death](call)]
    for number, call in enumerate(draw.sample(calls, min(len(calls), count(1, 5)))):
        line = call.begun if call.name == "fdatasync" else call.begun + 1
        scene = place.again(night, f"{death} {number}", line)
        _, problems = inspect(scene, scene.disk(), images=count(100, 1000), recoveries=count(4, 40))
        assert not problems, "\n".join(problems[:40])


@needs_strace
@pytest.mark.timeout(1800)
def test_a_power_cut_while_files_change_their_names(place: Studio, night: Scene) -> None:
    """Another manifest swaps and moves what was delivered: it costs nothing, and the names end as they were asked for."""
    scene = place.renamed(night, "renamed")
    _, problems = inspect(scene, scene.disk(), images=count(200, 2000), recoveries=count(20, 200))
    assert not problems, "\n".join(problems[:40])


@needs_strace
@pytest.mark.timeout(1800)
def test_a_power_cut_while_answers_are_kept(place: Studio) -> None:
    """
    Pictures inside of answers that are shown once: what the ledger calls stored is stored.

    Nothing goes on from these images: what the provider has shown and the cut has taken is lost, and said to be.
    """
    scene = place.night("inline", defaults=", sync_mode: true")
    _, problems = inspect(scene, scene.disk(), images=count(300, 3000), recoveries=0)
    assert not problems, "\n".join(problems[:40])


@needs_strace
@pytest.mark.parametrize("lie", LIES)
def test_a_sync_that_does_nothing_is_noticed(night: Scene, lie: str) -> None:
    """The layer can fail: for each kind of sync there is an image that needs it."""
    obeys, words = LIES[lie]
    _, problems = inspect(night, night.disk(obeys=obeys), images=300, recoveries=0)
    assert any(words in line for line in problems), problems[:5]


@needs_strace
def test_a_purchase_sent_before_its_commit_is_noticed(night: Scene) -> None:
    """The same files, but each purchase goes out while its attempt is being written."""
    syncs = [call.begun for call in night.calls[0][1] if DEATHS["a commit"](call)]
    said = tuple(
        replace(message, begun=max(line for line in syncs if line < message.begun) - 1)
        if message.is_creation
        else message
        for message in night.said
    )
    early = replace(night, said=said)
    _, problems = inspect(early, early.disk(), images=1000, recoveries=0)
    assert any("was sent and is not in the ledger" in line for line in problems)


@needs_strace
def test_the_model_ends_where_the_real_files_do(night: Scene) -> None:
    """Every byte that the run left behind came from the calls that the model knows."""
    files = (path for path in (night.folder / "out").rglob("*") if path.is_file())
    real = {str(path.relative_to(night.folder)): path.read_bytes() for path in files}
    assert night.disk().all_of().files == real
    assert sum(message.is_creation for message in night.said) == len({m.key for m in night.said if m.is_creation})


@needs_strace
def test_pictures_are_written_by_processes_that_talk_to_nobody(night: Scene) -> None:
    """
    As the real command does it: else this layer would prove something about another program.

    A large download is the exception: the process that fetches it writes it, and a worker makes it durable.
    """
    calls = night.calls[0][1]
    keepers = {call.process for call in calls if DEATHS["a kept picture"](call)}
    placers = {call.process for call in calls if call.name == "link" and b"/out/" in call.texts[1]}
    talkers = {call.process for call in calls if call.name in ("connect", "sendto")}
    downloaders = {call.process for call in calls if call.name == "write" and "/raw/" in path_of(call)} - keepers
    accountants = {call.process for call in calls if DEATHS["a commit"](call)}
    assert keepers
    assert placers
    assert len(talkers) == 1
    assert talkers == accountants == downloaders
    assert talkers.isdisjoint(keepers | placers)


def written(text: bytes) -> str:
    """A buffer as strace writes it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text) + '"'


def log_of(*lines: str) -> Disk:
    """The disk after some lines of a log; `@` stands for the folder."""
    disk = Disk()
    disk.play(read_log(lines), Path("/r"))
    return disk


def possible(disk: Disk, moment: int) -> set[tuple[tuple[str, bytes], ...]]:
    """All images of one moment, as far as many draws find them."""
    draws = [None, *(random.Random(number) for number in range(400))]
    return {tuple(sorted(disk.image(moment, draw).files.items())) for draw in draws}


def test_what_is_not_synced_may_or_may_not_survive() -> None:
    """Bytes need a sync of their file, names one of their folder; a sync that has not returned promises nothing."""
    data = b"a" * SECTOR + b"b" * SECTOR
    disk = log_of(
        f"7 openat(AT_FDCWD</r>, {written(b'/r/f')}, O_WRONLY|O_CREAT, 0600) = 3</r/f>",
        f"7 write(3</r/f>, {written(data)}, 1024) = 1024",
        "7 fsync(3</r/f> <unfinished ...>",
        f"8 openat(AT_FDCWD</r>, {written(b'/r')}, O_RDONLY|O_DIRECTORY) = 4</r>",
        "7 <... fsync resumed>) = 0",
        f"7 rename({written(b'/r/f')}, {written(b'/r/g')}) = 0",
        "8 fsync(4</r>) = 0",
    )
    torn = {b"", data, data[:SECTOR], bytes(SECTOR) + data[SECTOR:], bytes(2 * SECTOR)}
    assert possible(disk, 1) == {(), (("f", b""),)}
    assert possible(disk, 3) == possible(disk, 4) == {(), *((("f", content),) for content in torn)}
    assert possible(disk, 5) == {(), (("f", data),)}
    assert possible(disk, 6) == {(), (("f", data),), (("g", data),)}
    assert possible(disk, 7) == {(("g", data),)}


def test_a_name_moved_between_folders_may_be_in_both_or_in_none() -> None:
    """Each folder has to be synced for itself."""
    disk = log_of(
        f"7 mkdir({written(b'/r/d')}, 0777) = 0",
        f"7 openat(AT_FDCWD</r>, {written(b'/r/f')}, O_WRONLY|O_CREAT, 0600) = 3</r/f>",
        f"7 openat(AT_FDCWD</r>, {written(b'/r')}, O_RDONLY|O_DIRECTORY) = 4</r>",
        "7 fsync(4</r>) = 0",
        f"7 rename({written(b'/r/f')}, {written(b'/r/d/f')}) = 0",
    )
    assert possible(disk, 5) == {(), (("f", b""),), (("d/f", b""),), (("d/f", b""), ("f", b""))}


def test_each_process_has_descriptors_of_its_own() -> None:
    """Threads share those of their creator; another process has the same number for another file."""
    disk = log_of(
        "7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD, exit_signal=0}, 88) = 8",
        "8 vfork( <unfinished ...>",
        "9 dup2(5<pipe:[1]>, 0) = 0",
        "8 <... vfork resumed>) = 9",
        "9 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD, exit_signal=0} <unfinished ...>",
        f"10 openat(AT_FDCWD</r>, {written(b'/r/w')}, O_WRONLY|O_CREAT, 0600) = 3</r/w>",
        "9 <... clone3 resumed>, 88) = 10",
        f"8 openat(AT_FDCWD</r>, {written(b'/r/m')}, O_WRONLY|O_CREAT, 0600) = 3</r/m>",
        f"9 write(3</r/w>, {written(b'worker')}, 6) = 6",
        f"7 write(3</r/m>, {written(b'main')}, 4) = 4",
        "7 fsync(3</r/m>) = 0",
        "7 close(3</r/m>) = 0",
        f"10 write(3</r/w>, {written(b' still')}, 6) = 6",
        f"7 openat(AT_FDCWD</r>, {written(b'/r')}, O_RDONLY|O_DIRECTORY) = 3</r>",
        "7 fsync(3</r>) = 0",
    )
    assert disk.all_of().files == {"m": b"main", "w": b"worker still"}
    assert disk.image(15, None).files == {"m": b"main", "w": b""}
