"""The main job on the embedded default, through the command line: run, run again, change things, run again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.conftest import Result, Shop, database, draw_picture

Cli = Callable[..., Result]


def billed(out: str = "out") -> int:
    """Runs in the rehearsal's own books."""
    with database(f"{out}/.batchedit/provider/emulator.db") as db:
        return int(db.execute("SELECT count(*) FROM runs").fetchone()[0])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_table_becomes_pictures_a_ledger_and_a_report(cli: Cli, shop: Shop, jobs: Path) -> None:
    """One command, no key, no network: real pictures out, and the money is accounted for."""
    result = cli("run", jobs, "--out", "out")
    assert result.code == 0, result.err
    assert shop.outputs() == ["lamp.png", "mug.png", "shoe.png"]
    report = cli("report", "out", "--json").json()
    assert report["world"] == "rehearsal"
    assert report["total"]["spent"] == "0.399"
    assert report["total"]["at_risk"] == "0.00"
    assert report["tasks"] == {"done": 3}


def test_the_pictures_show_what_the_prompts_asked_for(cli: Cli, shop: Shop, jobs: Path) -> None:
    """White becomes white, grayscale is gray, mirrored is mirrored."""
    cli("run", jobs, "--out", "out")
    with Image.open("out/mug.png") as white:
        assert white.getpixel((3, 3)) == (255, 255, 255)
        assert white.getpixel((white.width // 2, white.height // 2)) != (255, 255, 255)
    with Image.open("out/shoe.png") as gray:
        corner = gray.crop((0, 0, gray.width, gray.height // 2))
        red, green, _ = corner.convert("RGB").split()
        assert ImageChops.difference(red, green).getbbox() is None


def test_the_same_command_again_sends_nothing(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Everything is done: no run is made, no cent is spent, no file is touched."""
    cli("run", jobs, "--out", "out")
    before = {name: (digest(Path("out") / name), (Path("out") / name).stat().st_mtime_ns) for name in shop.outputs()}
    result = cli("run", jobs, "--out", "out", "--json")
    assert result.code == 0
    assert result.json()["spent"] == "0.00"
    assert billed() == 3
    assert before == {
        name: (digest(Path("out") / name), (Path("out") / name).stat().st_mtime_ns) for name in shop.outputs()
    }


def test_equal_tasks_are_bought_once_and_delivered_to_each(cli: Cli, shop: Shop) -> None:
    """Two rows with the same content: one bill, two files, one figure of what was avoided."""
    rows = [
        {"id": "a", "image": "in/mug.png", "prompt": "grayscale", "output": "a.png"},
        {"id": "b", "image": "in/mug.png", "prompt": "grayscale", "output": "deep/b.png"},
    ]
    (shop.root / "in" / "copy.png").write_bytes((shop.root / "in" / "mug.png").read_bytes())
    rows.append({"id": "c", "image": "in/copy.png", "prompt": " grayscale ", "output": "c.png"})
    jobs = shop.table("equal.csv", rows)
    plan = cli("plan", jobs, "--out", "out", "--json").json()
    assert (plan["requests_to_buy"], plan["counts"]["duplicate"]) == (1, 2)
    assert cli("run", jobs, "--out", "out").code == 0
    assert billed() == 1
    assert shop.outputs() == ["a.png", "c.png", "deep/b.png"]
    assert digest(Path("out/a.png")) == digest(Path("out/deep/b.png"))
    report = cli("report", "out", "--json").json()
    assert (report["total"]["spent"], report["avoided"]) == ("0.133", "0.266")


def test_renamed_reordered_and_moved_rows_cost_nothing(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Content decides what is paid; ids, order and file names do not."""
    cli("run", jobs, "--out", "out")
    (shop.root / "in" / "mug.png").rename(shop.root / "in" / "cup.png")
    again = shop.table(
        "jobs.csv",
        [
            {"id": "new-lamp", "image": "in/lamp.png", "prompt": "mirror it"},
            {"id": "cup", "image": "in/cup.png", "prompt": "pure white background"},
        ],
    )
    result = cli("run", again, "--out", "out", "--json")
    assert result.code == 0
    assert result.json()["spent"] == "0.00"
    assert billed() == 3
    assert "cup.png" in shop.outputs()


def test_a_new_output_template_moves_the_files_at_no_cost(cli: Cli, shop: Shop, jobs: Path) -> None:
    """The delivered name follows the manifest; the old name goes."""
    cli("run", jobs, "--out", "out")
    result = cli("run", jobs, "--out", "out", "--output", "white/{{ id }}.{{ ext }}")
    assert result.code == 0, result.err
    assert shop.outputs() == ["white/0123_1.png", "white/0123_2.png", "white/0124_1.png"]
    assert billed() == 3


def test_a_deleted_file_comes_back_at_no_cost(cli: Cli, shop: Shop, jobs: Path) -> None:
    """The bytes are kept by content, so a lost file is placed again."""
    cli("run", jobs, "--out", "out")
    before = digest(Path("out/mug.png"))
    Path("out/mug.png").unlink()
    assert cli("plan", jobs, "--out", "out", "--json").json()["counts"]["deliver"] == 1
    assert cli("run", jobs, "--out", "out").code == 0
    assert digest(Path("out/mug.png")) == before
    assert billed() == 3


def test_a_changed_task_is_shown_and_not_bought_silently(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Another prompt for a slot that was paid: held back until `--changed` agrees."""
    cli("run", jobs, "--out", "out")
    old = digest(Path("out/mug.png"))
    jobs.write_text(jobs.read_text().replace("pure white background", "sepia"))
    plan = cli("plan", jobs, "--out", "out")
    assert "1  changed" in plan.out
    assert "0123_1/edit: prompt" in plan.out
    held = cli("run", jobs, "--out", "out")
    assert held.code == 6
    assert (billed(), digest(Path("out/mug.png"))) == (3, old)
    assert cli("run", jobs, "--out", "out", "--changed").code == 0
    assert billed() == 4
    assert digest(Path("out/mug.png")) != old
    assert cli("report", "out", "--json").json()["total"]["spent"] == "0.532"


def test_a_task_bought_again_leaves_no_stale_file(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Another format means another name; the old file goes, its bytes stay among the raws."""
    cli("run", jobs, "--out", "out")
    assert cli("run", jobs, "--out", "out", "--format", "webp", "--changed").code == 0
    assert shop.outputs() == ["lamp.webp", "mug.webp", "shoe.webp"]
    assert len(list(Path("out/.batchedit/raw").glob("*/*.png"))) == 3


def test_a_file_that_a_crash_left_unlisted_is_ours(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Killed between placing and noting: the bytes are kept, so the file is recognised and the run goes on."""
    cli("run", jobs, "--out", "out")
    with database("out/.batchedit/ledger.db") as db:
        db.execute("DELETE FROM outputs")
        db.execute("DELETE FROM raws")
        db.execute("UPDATE attempts SET outcome = NULL, ended_at = NULL, cost_microusd = 0, cost_basis = 'none'")
        db.execute("UPDATE requests SET state = 'fetching'")
    result = cli("run", jobs, "--out", "out")
    assert result.code == 0, result.err
    assert billed() == 3
    assert cli("report", "out", "--json").json()["total"]["spent"] == "0.399"


def test_another_manifest_cannot_take_over_a_delivered_name(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Two manifests over one folder: the second one's other picture does not replace the first one's."""
    cli("run", jobs, "--out", "out")
    before = digest(Path("out/mug.png"))
    other = shop.table("other.csv", [{"id": "x", "image": "in/mug.png", "prompt": "sepia"}])
    result = cli("run", other, "--out", "out")
    assert result.code == 2
    assert "is that of the task 0123_1/edit" in result.err
    assert digest(Path("out/mug.png")) == before
    assert billed() == 3


def test_two_rows_may_swap_their_names(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Both are in the manifest, so each gets its new name, at no cost."""
    rows = [
        {"id": "a", "image": "in/mug.png", "prompt": "sepia", "output": "one.png"},
        {"id": "b", "image": "in/shoe.png", "prompt": "sepia", "output": "two.png"},
    ]
    table = shop.table("swap.csv", rows)
    cli("run", table, "--out", "out")
    one, two = digest(Path("out/one.png")), digest(Path("out/two.png"))
    rows[0]["output"], rows[1]["output"] = "two.png", "one.png"
    shop.table("swap.csv", rows)
    assert cli("run", table, "--out", "out").code == 0
    assert (digest(Path("out/one.png")), digest(Path("out/two.png"))) == (two, one)
    assert billed() == 2


def test_the_ledger_may_lie_elsewhere(cli: Cli, shop: Shop, jobs: Path) -> None:
    """With a lock of its own beside it."""
    assert cli("run", jobs, "--out", "out", "--ledger", "books/july.db").code == 0
    assert not Path("out/.batchedit/ledger.db").exists()
    assert cli("report", "books/july.db", "--json").json()["total"]["spent"] == "0.399"
    assert cli("run", jobs, "--out", "out", "--ledger", "books/july.db", "--json").json()["spent"] == "0.00"


def test_a_foreign_file_is_never_overwritten(cli: Cli, shop: Shop, jobs: Path) -> None:
    """A file that the ledger does not own is a problem before anything is sent."""
    shop.write("out/mug.png", "mine")
    result = cli("run", jobs, "--out", "out")
    assert result.code == 2
    assert "exists and is not a file of this ledger" in result.err
    assert "jobs.csv:2" in result.err
    assert Path("out/mug.png").read_text() == "mine"
    assert not Path("out/.batchedit").exists()


def test_outputs_that_would_be_one_file_are_refused(cli: Cli, shop: Shop) -> None:
    """Also where only case or width differ: some disks cannot tell them apart."""
    jobs = shop.table(
        "clash.csv",
        [
            {"id": "a", "image": "in/mug.png", "prompt": "sepia", "output": "X/Straße.png"},
            {"id": "b", "image": "in/shoe.png", "prompt": "sepia", "output": "x/STRASSE.png"},
        ],
    )
    result = cli("plan", jobs)
    assert result.code == 2
    assert "clash.csv:3" in result.err
    assert "is also that of clash.csv:2" in result.err


def test_the_budget_stops_the_run_before_it_is_passed(cli: Cli, shop: Shop, jobs: Path) -> None:
    """The worst price is reserved: with 0.40 left for edits of up to 0.219, the third one does not start."""
    result = cli("run", jobs, "--out", "out", "--budget", "0.40", "--concurrency", "1", "--json")
    assert result.code == 6
    data = result.json()
    assert data["states"]["done"] == 2
    assert data["states"]["pending"] == 1
    assert "the budget is used up" in data["reason"]
    assert cli("run", jobs, "--out", "out", "--budget", "0.40").code == 0
    assert billed() == 3


def test_a_glob_needs_no_manifest(cli: Cli, shop: Shop) -> None:
    """`batchedit run "in/*.png" --prompt ...` works, and so does a folder."""
    assert cli("run", "in/*.png", "--prompt", "grayscale, {{ stem }}", "--out", "out").code == 0
    assert shop.outputs() == ["lamp.png", "mug.png", "shoe.png"]
    assert cli("run", "in", "--prompt", "grayscale, {{ stem }}", "--out", "out", "--json").json()["spent"] == "0.00"


def test_samples_masks_references_and_sizes_arrive(cli: Cli, shop: Shop) -> None:
    """All fields of an edit reach the picture: two samples that differ, webp, an exact size, a mask."""
    mask = Image.new("RGBA", (320, 320), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 160, 320))
    mask.save("mask.png")
    shop.write(
        "m.yaml",
        "version: 1\n"
        "defaults: {prompt: recolour it to oxblood, n: 2, format: webp, quality: medium}\n"
        "edits:\n"
        "  big: {size: 1024x768, output: 'big/{{ id }}_{{ sample }}.webp'}\n"
        "  half: {mask: mask.png, references: [in/lamp.png], output: 'half/{{ id }}_{{ sample }}.{{ ext }}'}\n"
        "items:\n"
        "  - {id: mug, image: in/mug.png, labels: {client: acme}}\n",
    )
    result = cli("run", "m.yaml", "--out", "out")
    assert result.code == 0, result.err
    assert shop.outputs() == ["big/mug_1.webp", "big/mug_2.webp", "half/mug_1.webp", "half/mug_2.webp"]
    with Image.open("out/big/mug_1.webp") as one, Image.open("out/big/mug_2.webp") as two:
        assert one.size == two.size == (1024, 768)
        assert ImageChops.difference(one.convert("RGB"), two.convert("RGB")).getbbox() is not None
    report = cli("report", "out", "--json", "--by", "client,edit").json()
    assert report["by"]["client"]["acme"]["spent"] == "0.136"
    assert report["by"]["edit"]["big"]["spent"] == "0.068"


def test_rehearse_uses_a_tree_and_a_ledger_of_its_own(cli: Cli, shop: Shop, jobs: Path) -> None:
    """A night can be tried before it is paid for, without a key and without touching the real tree."""
    shop.write("jobs.defaults.yaml", "version: 1\nprovider: runflow\n")
    result = cli("run", jobs, "--out", "out", "--rehearse")
    assert result.code == 0, result.err
    assert shop.outputs() == []
    assert shop.outputs("out/.batchedit/rehearsal") == ["lamp.png", "mug.png", "shoe.png"]
    assert cli("plan", jobs, "--out", "out", "--json").json()["counts"]["new"] == 3


def test_rehearsal_and_real_money_never_share_a_ledger(cli: Cli, shop: Shop, jobs: Path) -> None:
    """What was rehearsed must not count as bought."""
    cli("run", jobs, "--out", "out")
    result = cli("run", jobs, "--out", "out", "--provider", "runflow", "--yes")
    assert result.code == 8
    assert "does not mix" in result.err


def test_status_says_where_things_stand(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Counts and money, without the tables."""
    cli("run", jobs, "--out", "out", "--budget", "0.25", "--concurrency", "1")
    result = cli("status", "out")
    assert result.code == 0
    assert "done 1" in result.out
    assert "pending 2" in result.out
    assert cli("status", "nowhere").code == 8


def test_a_picture_that_cannot_be_decoded_is_found_for_free(cli: Cli, shop: Shop) -> None:
    """`check` decodes everything and lists all that is wrong, with lines."""
    whole = (shop.root / "in" / "mug.png").read_bytes()
    (shop.root / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    shop.write("in/text.png", "not a picture")
    draw_picture(shop.root / "small.png", (1, 2, 3), side=64)
    jobs = shop.table(
        "bad.csv",
        [
            {"id": "a", "image": "in/cut.png", "prompt": "sepia", "mask": ""},
            {"id": "b", "image": "in/text.png", "prompt": "sepia", "mask": ""},
            {"id": "c", "image": "in/mug.png", "prompt": "sepia", "mask": "small.png"},
            {"id": "d", "image": "in/gone.png", "prompt": "sepia", "mask": ""},
        ],
    )
    result = cli("check", jobs)
    assert result.code == 2
    for part in ("bad.csv:2", "damaged", "bad.csv:3", "not a PNG, JPEG or WebP", "bad.csv:4", "64x64", "bad.csv:5"):
        assert part in result.err
    problems = cli("check", jobs, "--json").json()
    assert [problem["line"] for problem in problems] == [2, 3, 4, 4, 5]  # that mask is too small, and has no alpha


@pytest.mark.parametrize("arguments", [("check",), ("plan",), ("plan", "--json")])
def test_looking_writes_nothing(cli: Cli, shop: Shop, jobs: Path, arguments: tuple[str, ...]) -> None:
    """Check and plan leave no trace."""
    name, *flags = arguments
    assert cli(name, jobs, "--out", "out", *flags).code == 0
    assert not Path("out").exists()
