"""Globs, folders and single pictures, in sources and on the command line."""

from __future__ import annotations

import os

import pytest

from tests.manifest.conftest import Folder


def test_a_glob_mirrors_folders_and_counts_other_files(folder: Folder) -> None:
    """Sorted; what is below the pattern's fixed part comes back in the output; ids are stems."""
    folder.write("in/deep/x y/d.webp", b"x")
    folder.write("in/notes.txt", b"x")
    tasks, findings = folder.read("in/**/*", prompt="pp")
    assert [task.item.id for task in tasks] == ["a", "b", "c", "d"]
    assert [task.outputs[0] for task in tasks] == ["a.png", "b.png", "c.png", "deep/x y/d.png"]
    assert [str(task.place) for task in tasks][:1] == ["in/a.png"]
    assert [skip.reason for skip in findings.skipped] == ["1 file is no picture (png, jpg, jpeg, webp)"]


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
