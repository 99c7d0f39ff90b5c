"""Globs, folders and single pictures, in sources and on the command line."""

from __future__ import annotations

import os
import time
from pathlib import PurePath

import pytest

from batchedit.manifest.globs import _found
from tests.manifest.conftest import Folder


def test_a_glob_mirrors_folders_and_counts_other_files(folder: Folder) -> None:
    """Sorted; what is below the pattern's fixed part comes back in the output; ids are stems."""
    folder.write("in/deep/x y/d.webp", b"x")
    folder.write("in/notes.txt", b"x")
    tasks, findings = folder.read("in/**/*", prompt="pp")
    assert [task.item.id for task in tasks] == ["a", "b", "c", "d"]
    assert [task.outputs[0] for task in tasks] == ["a.png", "b.png", "c.png", "deep/x y/d.png"]
    assert [str(task.place) for task in tasks][:1] == ["in/a.png"]
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [
        ("in/notes.txt", "no picture (png, jpg, jpeg, webp)")
    ]


def test_photographs_of_another_kind_are_named(folder: Folder) -> None:
    """A telephone's pictures, among files that are there by chance: somebody would miss them in the morning."""
    for name in ("IMG 1.HEIC", "Größe.tiff", "Thumbs.db", "notes"):
        folder.write(f"in/{name}", b"x")
    _, findings = folder.read("in", prompt="pp")
    foreign = "a picture of a kind that cannot be edited (save it as png, jpg, jpeg or webp)"
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [
        ("in/Größe.tiff", foreign),
        ("in/IMG 1.HEIC", foreign),
        ("in/Thumbs.db", "no picture (png, jpg, jpeg, webp)"),
        ("in/notes", "no picture (png, jpg, jpeg, webp)"),
    ]


def test_links_that_lead_back_are_not_followed(folder: Folder) -> None:
    """Three of them, and `glob.glob` has more names for one picture than there is time."""
    for name in ("x", "y", "z"):
        (folder.root / "in" / name).symlink_to(folder.root / "in")
    (folder.root / "in/deep").mkdir(exist_ok=True)
    (folder.root / "in/deep/up").symlink_to("../..")
    assert [task.item.id for task in folder.tasks("in/**/*.png", prompt="pp")] == ["a", "b"]


def test_many_links_to_one_folder_do_not_multiply(folder: Folder) -> None:
    """Thirty folders, each with two links to the next: a billion ways to the last one."""
    for number in range(30):
        (folder.root / f"in/s{number}").mkdir(parents=True)
        for name in "lr":
            (folder.root / f"in/s{number}/{name}").symlink_to(f"../s{number + 1}")
    folder.write("in/s29/p.png", b"x")
    started = time.process_time()
    tasks = folder.tasks("in/**/**/*.png", prompt="pp", output="{{ id }}")
    assert 2 < len(tasks) < 200
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "pattern",
    ["*", "**", "**/*", "**/*.png", "a/**", "a*/**/b*", "**/a/**/*.p?g", "[ab]/*", "./a/*", "a/../b/*", ".h*/*", "**/**/c.png",
     "*/*/*.png", "a//b/*", "**/.h*/*", "x.png", "a/", "**/", "[!a]*/**/*.png", "link/*", "**/link/*"],
)  # fmt: skip
def test_what_is_found_is_what_glob_finds(folder: Folder, pattern: str) -> None:
    """Names, hidden ones, links to other places; from the folder, and from the root of the disk."""
    import glob
    import random

    draw = random.Random(7)
    for _ in range(150):
        parts = [draw.choice(["a", "b", "c", "ab", ".h", "bb"]) for _ in range(draw.randrange(4))]
        folder.write("/".join(["tree", *parts, draw.choice(["x.png", "c.png", "b.jpg", ".h.png", "a1.txt"])]), b"x")
    root = folder.root / "tree"
    (root / "link").symlink_to("a")
    for place, wanted in ((root, pattern), (folder.root, f"{root}/{pattern}")):
        known = {str(PurePath(name)) for name in glob.glob(wanted, root_dir=place, recursive=True)}
        assert {str(PurePath(name)) for name in _found(wanted, place)} == {
            name for name in known if (place / name).is_file()
        }


def test_equal_stems_get_their_path_as_id(folder: Folder) -> None:
    """Only those that collide; two that differ by nothing but the extension stay an error."""
    folder.write("in/x/a.png", b"x")
    assert [task.item.id for task in folder.tasks("in/**/*.png", prompt="pp")] == ["a", "b", "x/a"]
    folder.write("in/a.jpg", b"x")
    assert folder.problems("in/*", prompt="pp") == ["in/a.png: \"id\": the id 'a' is already that of in/a.jpg"]


@pytest.mark.parametrize(("source", "ids"), [("in", ["a", "b", "c"]), ("in/a.png", ["a"]), ("in/[ab].png", ["a", "b"])])
def test_a_folder_and_a_picture(folder: Folder, source: str, ids: list[str]) -> None:
    """The folder itself, not what is below it."""
    folder.write("in/deep/d.png", b"x")
    assert [task.item.id for task in folder.tasks(source, prompt="pp")] == ids


def test_names_that_look_like_patterns(folder: Folder) -> None:
    """A file that is there is meant, also if its name could be a pattern; its folder is no pattern either."""
    folder.write("odd [1]/a[1].png", b"x")
    assert [task.item.id for task in folder.tasks("odd [1]/a[1].png", prompt="pp")] == ["a[1]"]
    assert [task.outputs for task in folder.tasks("odd [1]", prompt="pp")] == [("a[1].png",)]


def test_a_glob_in_a_manifest_starts_there(folder: Folder) -> None:
    """Places are as one would type them from the working folder; a source's fields are templates over the picture."""
    folder.write("jobs/pics/k.png", b"x")
    folder.write(
        "jobs/m.yaml", "version: 1\nsources: [{glob: pics/*, prompt: 'the {{ stem }}', id: 'id-{{ stem }}'}]\n"
    )
    task = folder.tasks("jobs/m.yaml")[0]
    assert (task.item.id, task.prompt, str(task.place)) == ("id-k", "the k", "jobs/pics/k.png")


def test_absolute_patterns(folder: Folder) -> None:
    """Named as if typed relative to the working folder."""
    tasks = folder.tasks(str(folder.root / "in" / "*.png"), prompt="pp")
    assert [(str(task.place), task.outputs) for task in tasks] == [
        ("in/a.png", ("a.png",)), ("in/b.png", ("b.png",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("in/*.gif", "in/*.gif: no picture matches 'in/*.gif'. Put a glob in quotes"),
        ("docs", "docs: no picture matches 'docs' (2 other files do)"),
        ("gone.png", "gone.png: no picture matches 'gone.png'. Put a glob in quotes"),
        ("what", "what: is neither a YAML, CSV, JSON Lines or Parquet file, nor a folder, a picture or a glob"),
        ("gone.csv", "gone.csv: there is no such file"),
        ("x" * 300, "x" * 197 + "...: cannot be read: File name too long"),
        ("rf_live_abcdefgh1234", "MANIFEST: this is no path"),
    ],
)
def test_nothing_to_be_found(folder: Folder, source: str, message: str) -> None:
    """Said with the place and what to do."""
    folder.write("docs/a.txt", b"x")
    folder.write("docs/b.txt", b"x")
    assert folder.problems(source, prompt="pp") == [message]


def test_a_table_whose_name_looks_like_a_glob(folder: Folder) -> None:
    """A file that is there is meant itself."""
    folder.write("jobs [new].csv", "id,image\na,in/a.png\n")
    assert [task.item.id for task in folder.tasks("jobs [new].csv", prompt="pp")] == ["a"]


def test_a_name_that_is_not_valid_unicode(folder: Folder) -> None:
    """Is refused in words, wherever it is met; nothing that is kept could hold it."""
    os.replace(folder.root / "in/c.jpg", os.fsencode(folder.root) + b"/in/\xff.jpg")
    folder.write("m.yaml", "version: 1\nsources: [{glob: 'in/*.jpg', id: x, output: x.png, prompt: pp}]\n")
    assert folder.problems("m.yaml") == [
        'in/\udcff.jpg: "image": ROOT/in/\udcff.jpg has a name that is not valid UTF-8; rename it'
    ]
    folder.write("in/metadata.csv", "file_name\na.png\n")
    tasks, findings = folder.read("in", prompt="pp")
    assert [task.item.id for task in tasks] == ["a"]
    assert [str(skip.place) for skip in findings.skipped] == ["in/b.png", "in/\udcff.jpg"]
