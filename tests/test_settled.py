"""A finished run is recognised at a glance; and whatever could make that untrue leads back to the long way."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from batchedit import planner
from batchedit.calling import run_plan_sync
from batchedit.context import Progress
from batchedit.errors import LedgerError
from batchedit.manifest import Overrides, load_manifest
from batchedit.planner import make_plan
from batchedit.run_options import RunOptions
from batchedit.settled import can_be_marked
from tests.conftest import Result, Shop, database

Cli = Callable[..., Result]
RUN = ("run", "night.yaml", "--out", "out", "--json", "--no-input")
ROWS = "id,image,prompt\na,https://example.com/a.jpg,on white\nb,https://example.com/b.jpg,on white\n"
MANIFEST = "version: 1\ndefaults: {output: '{{ id }}/{{ id }}.{{ ext }}'}\nsources: [{csv: rows.csv}]\n"


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the rows are read."""
    found: list[int] = []
    real = planner.walk

    def walk(*arguments: object) -> object:
        found.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(planner, "walk", walk)
    return found


@pytest.fixture
def night(shop: Shop, cli: Cli, walks: list[int]) -> Shop:
    """A finished night."""
    shop.write("rows.csv", ROWS)
    shop.write("night.yaml", MANIFEST)
    assert cli(*RUN).code == 0
    walks.clear()
    return shop


def test_a_finished_night_is_recognised(night: Shop, cli: Cli, walks: list[int]) -> None:
    """Neither a row is read nor a run noted; what is said is what the long way says."""
    first = cli(*RUN)
    assert first.code == 0
    assert walks == []
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        db.execute("DELETE FROM meta WHERE name = 'settled'")
    second = cli(*RUN)
    assert walks
    wanted, found = second.json(), first.json()
    assert {**found, "run": 0} == {**wanted, "run": 0}
    assert json.loads(cli("plan", "night.yaml", "--out", "out", "--json").out)["counts"]["done"] == 2


def more_rows(night: Shop) -> None:
    (night.root / "rows.csv").write_text(ROWS + "c,https://example.com/c.jpg,on white\n")


def another_prompt(night: Shop) -> None:
    (night.root / "rows.csv").write_text(ROWS.replace("white", "black"))


def a_lost_picture(night: Shop) -> None:
    (night.root / "out/a/a.png").unlink()


def a_lost_folder(night: Shop) -> None:
    shutil.rmtree(night.root / "out/b")


def a_folder_put_back_without_its_picture(night: Shop) -> None:
    folder = night.root / "out/b"
    before = folder.stat()
    shutil.rmtree(folder)
    folder.mkdir()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_default(night: Shop) -> None:
    (night.root / "night.yaml").write_text(MANIFEST.replace("output:", "quality: low, output:"))


def an_older_mark(night: Shop) -> None:
    with database(night.root / "out/.batchedit/ledger.db") as db:
        db.execute("""UPDATE meta SET value = '{"form": 0}' WHERE name = 'settled'""")


@pytest.mark.parametrize(
    "change",
    [more_rows, another_prompt, a_lost_picture, a_lost_folder, a_folder_put_back_without_its_picture, another_default,
     an_older_mark],
)  # fmt: skip
def test_whatever_has_changed_is_seen(night: Shop, cli: Cli, walks: list[int], change: Callable[[Shop], None]) -> None:
    """The rows are read again, and what is missing comes back."""
    change(night)
    assert cli(*RUN).code in (0, 6)
    assert walks
    assert {"a/a.png", "b/b.png"} <= set(night.outputs())


@pytest.mark.parametrize("flags", [("--quality", "low"), ("--prompt", "grey"), ("--changed",), ("--ledger", "x.db")])
def test_other_flags_are_another_wish(night: Shop, cli: Cli, walks: list[int], flags: tuple[str, ...]) -> None:
    """What the command line adds counts like the manifest."""
    cli(*RUN, *flags)
    if flags[0] == "--ledger":  # refused: the pictures belong to the other ledger
        assert not Path("x.db").exists()
    else:
        assert walks


def test_whoever_may_write_removes_the_mark(night: Shop, cli: Cli, walks: list[int]) -> None:
    """Even if it then changes nothing: nobody has to remember it."""
    cli("retry", "out")
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM meta WHERE name = 'settled'").fetchone() == (0,)
    assert cli(*RUN).code == 0
    assert walks


def test_local_pictures_and_folders_are_looked_at_each_time(shop: Shop, cli: Cli, walks: list[int]) -> None:
    """Their bytes can change while no manifest does; so can a mask that may be missing appear."""
    shop.write("rows.csv", "id,image,prompt,mask\na,https://example.com/a.jpg,on white,masks/a.png?\n")
    shop.write("night.yaml", MANIFEST)
    assert cli(*RUN).code == 0
    walks.clear()
    assert cli(*RUN).code == 0
    assert walks
    shop.write("night.yaml", "version: 1\ndefaults: {prompt: grey}\nsources: [{glob: 'in/*.png'}]\n")
    arguments = ("run", "night.yaml", "--out", "out2", "--json", "--no-input")
    assert cli(*arguments).code == 0
    walks.clear()
    assert cli(*arguments).code == 0
    assert walks


def test_a_picture_that_goes_while_the_run_goes_on_is_not_settled(shop: Shop, cli: Cli, walks: list[int]) -> None:
    """Its folder looks at the end as it will look the next time: without it."""
    shop.write("rows.csv", ROWS)
    shop.write("night.yaml", MANIFEST + "limits: {concurrency: 1}\n")
    removed: list[Path] = []

    def remove(progress: Progress) -> None:
        if progress.done == 1 and not removed:
            removed.extend(Path("out").glob("?/*.png"))
            for path in removed:
                path.unlink()

    summary = run_plan_sync(make_plan(load_manifest("night.yaml"), out="out"), RunOptions(), observer=remove)
    assert summary.exit_code == 0
    assert removed
    walks.clear()
    assert cli(*RUN).code == 0
    assert walks
    assert shop.outputs() == ["a/a.png", "b/b.png"]


def test_a_plan_is_not_carried_out_when_it_is_not_true_any_more(night: Shop, walks: list[int]) -> None:
    """Between planning and running a picture was lost: nobody agreed to what would follow."""
    plan = make_plan(load_manifest("night.yaml"), out="out")
    assert plan.mark is not None
    a_lost_picture(night)
    with pytest.raises(LedgerError, match="has changed since"):
        run_plan_sync(plan, RunOptions())
    with sqlite3.connect("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    db.close()


def test_one_prompt_for_all_is_heard_before_it_is_paid_for(shop: Shop) -> None:
    """And does not send a finished run of thousands of rows the long way; other warnings and skipped rows do."""
    rows = "".join(f"i{n},https://example.com/{n}.jpg\n" for n in range(1001))
    shop.write("t.csv", "id,image\n" + rows)
    plan = make_plan(load_manifest("t.csv", overrides=Overrides(prompt="on white")))
    assert [warning.code for warning in plan.findings.warnings] == ["same-prompt"]
    assert can_be_marked(plan)
    shop.write("t.csv", "id,image\n" + rows + "I1000,https://example.com/x.jpg\n")
    assert not can_be_marked(make_plan(load_manifest("t.csv", overrides=Overrides(prompt="on white"))))
    shop.write("t.csv", "id,image\n" + rows + "x,\n")
    assert not can_be_marked(make_plan(load_manifest("t.csv", overrides=Overrides(prompt="on white"))))
