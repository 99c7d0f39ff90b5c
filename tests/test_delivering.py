"""`deliver`: approved files leave with a sheet, nothing else does, and nothing of anybody's is overwritten."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import batchedit
from batchedit.errors import ConsentMissing, UsageError
from batchedit.manifest import load_manifest
from tests.conftest import Result, Shop, database, draw_picture

Cli = Callable[..., Result]
LEDGER = Path("out/.batchedit/ledger.db")


@pytest.fixture
def bought(shop: Shop, cli: Cli) -> Path:
    """Three edits of a table with columns of its own, rendered to JPEG, none looked at yet."""
    shop.write(
        "jobs.csv",
        'sku,image,Title,note,sha256\n0123_1,in/mug.png,=The mug,x,a\n0123_2,in/shoe.png,"The ""shoe""",,\n,in/lamp.png,Lämp,,\n',
    )
    shop.write(
        "jobs.defaults.yaml",
        "defaults: {prompt: grayscale, quality: low, output: 'a/{{ stem }}.{{ ext }}', post: {format: jpeg, fit: 99x99}}\n",
    )
    result = cli("run", "jobs.csv")
    assert result.code == 0, result.err
    return shop.root / "jobs.csv"


def judge(cli: Cli, shop: Shop, **verdicts: str) -> None:
    shop.table("v.csv", [{"id": name, "verdict": verdict} for name, verdict in verdicts.items()])
    assert cli("verdicts", "import", "v.csv").code == 0


def sheet(folder: str = "hand", name: str = "delivery.csv") -> list[list[str]]:
    return [*csv.reader(io.StringIO((Path(folder) / name).read_text("utf-8"), newline=""))]


def files(folder: str = "hand") -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("words", [("deliver", "hand", "out", "--unreviewed"), ("render", "out", "--dry-run")])
def test_an_output_folder_is_no_manifest(cli: Cli, shop: Shop, bought: Path, words: tuple[str, ...]) -> None:
    """As a folder of pictures it would be a manifest of some of its own files, without those in sub-folders."""
    for more in ((), ("--out", "out"), ("--out", str(shop.root / "out"))):
        result = cli(*words, *more)
        assert result.code == 2
        assert "out is an output folder, and no manifest\n  name it with --out out; the manifest may be" in result.err
    assert not Path("hand").exists()
    assert cli(*[word for word in words if word != "out"], "--out", "out").code == 0


def test_what_one_run_has_made_may_be_the_manifest_of_another(cli: Cli, shop: Shop, bought: Path) -> None:
    """With --out it is plain which of the two is meant."""
    assert cli("run", "out/a", "--prompt", "mirror it", "--out", "second").code == 0
    shutil.copytree("out/.batchedit", "out/a/.batchedit")
    result = cli("deliver", "hand", "out/a", "--out", "second", "--unreviewed")
    assert result.code == 0, result.err
    assert len(files()) == 4


def test_nothing_leaves_that_nobody_has_looked_at(cli: Cli, shop: Shop, bought: Path) -> None:
    """Exit code 2 with the counts and what to do; `--unreviewed` takes it as it is, and says so."""
    judge(cli, shop, mug="approved")
    result = cli("deliver", "hand", bought)
    assert result.code == 2
    assert (
        "2 of 3 tasks with pictures have not been looked at (1 approved, 0 rejected); nothing was copied" in result.err
    )
    assert "--unreviewed" in result.err
    assert not Path("hand").exists()
    assert cli("deliver", "hand", bought, "--select", "verdict:approved").code == 0
    assert files() == ["a/mug.jpg", "delivery.csv"]
    result = cli("deliver", "hand", bought, "--unreviewed")
    assert result.code == 0
    assert "2  delivered although nobody has looked at them" in result.out
    assert "REHEARSAL: these pictures are for trying things out" in result.out
    assert cli("deliver", "hand", bought, "--unreviewed", "--json").json()["rehearsal"] is True
    assert [row[-1] for row in sheet()] == ["verdict", "approved", "", ""]


def test_the_sheet_has_the_rows_as_they_were(cli: Cli, shop: Shop, bought: Path) -> None:
    """Original columns unchanged and in order, then file, size and digest of exactly what was copied."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="rejected")
    result = cli("deliver", "hand", bought, "--raw")
    assert result.code == 0, result.err
    assert "1  rejected: left out" in result.out
    head, *rows = sheet()
    assert head == [
        "sku",
        "image",
        "Title",
        "note",
        "sha256",
        "file",
        "width",
        "height",
        "bytes",
        "batchedit_sha256",
        "verdict",
    ]
    assert [row[:5] for row in rows] == [
        ["0123_1", "in/mug.png", "=The mug", "x", "a"],
        ["0123_2", "in/shoe.png", 'The "shoe"', "", ""],
    ]
    for row in rows:
        data = (Path("hand") / row[5]).read_bytes()
        assert row[6:11] == ["99", "99", str(len(data)), hashlib.sha256(data).hexdigest(), "approved"]
        assert data == (Path("out") / row[5]).read_bytes()
        assert os.stat(Path("hand") / row[5]).st_ino != os.stat(Path("out") / row[5]).st_ino
    assert files() == ["a/mug.jpg", "a/shoe.jpg", "delivery.csv"]


def test_a_delivery_is_gone_on_with(cli: Cli, shop: Shop, bought: Path) -> None:
    """What is there with the right bytes is left alone; half of a copy is not there; a render is delivered over the old."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="approved")
    assert cli("deliver", "hand").code == 0
    kept = (Path("hand/a/mug.jpg").stat().st_ino, Path("hand/a/mug.jpg").stat().st_mtime_ns)
    Path("hand/a/shoe.jpg").unlink()
    Path("hand/a/.batchedit-0123.part").write_bytes(b"half")
    found = cli("deliver", "hand", "--json").json()
    assert (found["tasks"], found["copied"], found["failed"]) == (3, 1, 0)
    assert kept == (Path("hand/a/mug.jpg").stat().st_ino, Path("hand/a/mug.jpg").stat().st_mtime_ns)
    assert files() == ["a/lamp.jpg", "a/mug.jpg", "a/shoe.jpg", "delivery.csv"]
    text = (shop.root / "jobs.defaults.yaml").read_text().replace("99x99", "80x80")
    shop.write("jobs.defaults.yaml", text)
    assert cli("render", "jobs.csv").code == 0
    assert cli("deliver", "hand", "--json").json()["copied"] == 3  # an approval outlasts a render


def test_nothing_of_somebody_elses_is_overwritten(cli: Cli, shop: Shop, bought: Path) -> None:
    """A foreign file, a link, a folder in the way, a foreign sheet: told, left as they are, and the rest goes on."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="approved")
    Path("hand/a").mkdir(parents=True)
    Path("hand/a/mug.jpg").write_text("mine")
    Path("hand/a/shoe.jpg").symlink_to(shop.root / "elsewhere.jpg")
    result = cli("deliver", "hand", bought)
    assert result.code == 3
    assert "mug/edit: " in result.out
    assert "exists and is not a file of this ledger; move it away and deliver again" in result.out
    assert Path("hand/a/mug.jpg").read_text() == "mine"
    assert not (shop.root / "elsewhere.jpg").exists()
    assert [row[5] for row in sheet()[1:]] == ["a/lamp.jpg"]
    for name in ("delivery.csv",):
        Path("other").mkdir()
        Path("other", name).write_text("date,by\n")
        result = cli("deliver", "other", bought)
        assert result.code == 2
        assert "is no sheet of a delivery" in result.err
        assert files("other") == [name]
    Path("linked").mkdir()
    (shop.root / "away").mkdir()
    Path("linked/a").symlink_to(shop.root / "away")
    assert cli("deliver", "linked", bought).code == 3
    assert not list((shop.root / "away").iterdir())


def test_folders_that_cannot_be(cli: Cli, shop: Shop, bought: Path) -> None:
    """Not within the output folder, also not by a link; no file; no ledger."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="approved")
    Path("link").symlink_to(shop.root / "out" / "a")
    for folder in ("out", "out/hand", "link"):
        result = cli("deliver", folder, bought)
        assert result.code == 2, folder
        assert "is within the output folder" in result.err
    assert cli("deliver", "jobs.csv").code == 2
    assert cli("deliver", "hand", "--out", "nowhere").code == 8
    assert cli("deliver", "hand", "--select", "id:nobody").code == 5
    judge(cli, shop, mug="rejected", shoe="rejected", lamp="rejected")
    assert cli("deliver", "hand").code == 5


def test_a_file_that_was_changed_since_is_not_delivered(cli: Cli, shop: Shop, bought: Path) -> None:
    """The digest is compared after copying; a file that has gone is told."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="approved")
    draw_picture(Path("out/a/mug.jpg"), (9, 9, 9))
    Path("out/a/shoe.jpg").unlink()
    result = cli("deliver", "hand", bought)
    assert result.code == 3
    assert "mug.jpg is not the file that was delivered there: somebody has changed it" in result.out
    assert "shoe.jpg is gone" in result.out
    assert files() == ["a/lamp.jpg", "delivery.csv"]


def test_a_hostile_ledger_cannot_write_outside(cli: Cli, shop: Shop, bought: Path) -> None:
    """A path that climbs, wherever it comes from, is refused before anything is written there."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="approved")
    shutil.copy("out/a/mug.jpg", "evil.jpg")
    with database(LEDGER) as db:
        db.execute("UPDATE outputs SET path = '../evil.jpg' WHERE slot = 'mug/edit'")
    before = Path("evil.jpg").stat().st_mtime_ns
    result = cli("deliver", "deep/hand", bought)
    assert result.code == 2
    assert "'../evil.jpg'" in result.err
    assert not Path("deep/evil.jpg").exists()
    assert Path("evil.jpg").stat().st_mtime_ns == before


SHOPIFY = "Handle,Title,Image Src,Image Position,Variant SKU\nmug,The mug,https://old.example.com/mug.png?v=1,1,\nmug,,https://old.example.com/mug2.png,2,\nshoe,Shoe,https://old.example.com/shoe.png,1,S1\n"


def bought_from_a_shop(cli: Cli, shop: Shop, edits: str) -> Path:
    """A manifest of the export, with pictures for its rows, whose edits are done."""
    shop.write("export.csv", SHOPIFY)
    for name in ("mug_1", "mug_2", "shoe_1"):
        draw_picture(shop.root / "in" / f"{name}.png", (len(name) * 20, 100, 40))
    source = "{csv: export.csv, preset: shopify, image: 'in/{{ handle }}_{{ position }}.png'}"
    manifest = shop.write("shop.yaml", f"version: 1\nsources: [{source}]\nedits: {edits}\n")
    assert cli("run", manifest).code == 0
    return manifest


def test_the_sheet_for_a_shop(cli: Cli, shop: Shop) -> None:
    """Addresses are new, everything else is what it was, positions included; only delivered rows are there."""
    manifest = bought_from_a_shop(
        cli, shop, "{white: {prompt: on white, quality: low, output: 'w x/{{ id }}.{{ ext }}'}}"
    )
    judge(cli, shop, mug_1="approved", mug_2="rejected", shoe_1="approved")
    flavour = ("--flavour", "shopify", "--url-prefix", "https://cdn.example.com/autumn")
    result = cli("deliver", "hand", manifest, *flavour)
    assert result.code == 0, result.err
    assert sheet(name="delivery-shopify.csv") == [
        ["Handle", "Title", "Image Src", "Image Position", "Variant SKU"],
        ["mug", "The mug", "https://cdn.example.com/autumn/w%20x/mug_1.png", "1", ""],
        ["shoe", "Shoe", "https://cdn.example.com/autumn/w%20x/shoe_1.png", "1", "S1"],
    ]
    assert cli("deliver", "hand", manifest, *flavour).code == 0
    for flags, words in (
        (("--flavour", "shopify"), "needs --url-prefix"),
        (("--flavour", "shopify", "--url-prefix", "https://x.example.com/?token=secret"), "without a query"),
        (("--url-prefix", "https://x.example.com"), "belongs to --flavour"),
    ):
        result = cli("deliver", "hand", manifest, *flags)
        assert result.code == 2
        assert words in result.err
        assert "secret" not in result.err
    assert cli("deliver", "hand", *flavour).code == 2
    shop.write("plain.yaml", "version: 1\nitems: [{id: mug_1, image: in/mug_1.png, prompt: on white, edit: white}]\n"
               "edits: {white: {quality: low, output: 'w x/{{ id }}.{{ ext }}'}}\n")  # fmt: skip
    assert (
        "needs one table with a column 'Image Src'"
        in cli("deliver", "hand", "plain.yaml", *flavour, "--unreviewed").err
    )


def test_a_row_with_two_pictures_is_no_row_of_a_shop(cli: Cli, shop: Shop) -> None:
    """Refused before anything is copied, with the selection that helps."""
    edits = "{white: {prompt: on white, quality: low}, grey: {prompt: grayscale, quality: low}}"
    manifest = bought_from_a_shop(cli, shop, edits)
    flags = ("--unreviewed", "--flavour", "shopify", "--url-prefix", "https://cdn.example.com")
    result = cli("deliver", "hand", manifest, *flags)
    assert result.code == 2
    assert "has several pictures now" in result.err
    assert not Path("hand").exists()
    assert cli("deliver", "hand", manifest, *flags, "--select", "edit:grey").code == 0


def test_only_tasks_of_the_manifest_are_delivered_with_it(cli: Cli, shop: Shop, bought: Path) -> None:
    """A sheet and a folder that agree; named selectors of the manifest count."""
    text = "version: 1\nselectors: {best: 'id:mug'}\ndefaults: {quality: low, output: 'a/{{ stem }}.{{ ext }}', post: {format: jpeg, fit: 99x99}}\nitems: [{id: mug, image: in/mug.png, prompt: x x}, {id: lamp, image: in/lamp.png, prompt: x x}]\n"
    part = shop.write("part.yaml", text)
    assert cli("deliver", "hand", part, "--unreviewed").code == 0
    assert files() == ["a/lamp.jpg", "a/mug.jpg", "delivery.csv"]
    assert len(sheet()) == 3
    assert cli("deliver", "best", part, "--unreviewed", "--select", "@best").code == 0
    assert files("best") == ["a/mug.jpg", "delivery.csv"]


def test_files_that_are_not_as_wanted_now_do_not_leave(cli: Cli, shop: Shop, bought: Path) -> None:
    """Another recipe or name in the manifest, or a file that could not be made: listed, exit code 3, render first."""
    judge(cli, shop, mug="approved", shoe="approved", lamp="rejected")
    defaults = (shop.root / "jobs.defaults.yaml").read_text()
    for old, new in (("99x99", "80x80"), ("'a/", "'b/")):
        shop.write("jobs.defaults.yaml", defaults.replace(old, new))
        result = cli("deliver", "hand", bought)
        assert result.code == 3
        assert "2  not as wanted now: left out; render first" in result.out
        assert "mug/edit: its file is not as it is wanted now; render first" in result.out
        assert not Path("hand").exists()
    assert cli("render", bought).code == 0
    assert cli("deliver", "hand", bought).code == 0
    assert files() == ["b/mug.jpg", "b/shoe.jpg", "delivery.csv"]
    with database(LEDGER) as db:
        db.execute("DELETE FROM checks WHERE slot = 'mug/edit'")
        db.execute(
            "INSERT INTO checks SELECT slot, number, 'post', sha256, 'failed', 'x', '', placed_at FROM outputs"
            " WHERE slot = 'mug/edit'"
        )
    found = cli("deliver", "other", "--json").json()
    assert (found["exit_code"], found["outdated"], found["tasks"]) == (3, 1, 1)
    assert files("other") == ["b/shoe.jpg", "delivery.csv"]


def test_the_library_delivers(cli: Cli, shop: Shop, bought: Path) -> None:
    """The same as a function, with the same errors."""
    with pytest.raises(ConsentMissing):
        batchedit.deliver("hand", load_manifest(bought))
    with pytest.raises(UsageError):
        batchedit.deliver("hand", load_manifest(bought), flavour="etsy", unreviewed=True)
    done = batchedit.deliver("hand", load_manifest(bought), unreviewed=True, select="id:mug")
    assert (done.tasks, done.copied, done.taken_unreviewed, done.exit_code) == (1, 1, 1, 0)
    assert done.sheets == [Path("hand/delivery.csv").absolute()]
