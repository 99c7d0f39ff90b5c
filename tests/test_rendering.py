"""Files that are made of what was bought: in a run, after a crash, and again when `post` changes. All of it is free."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import batchedit
from batchedit.effects import Effects
from batchedit.errors import BatchEditError, UsageError
from batchedit.filing import Filing
from batchedit.ledger.reader import Ledger
from batchedit.ledger.writer import LedgerWriter
from batchedit.manifest import load_manifest
from batchedit.outputs import Outputs
from tests.conftest import Result, Served, Shop, command, database, draw_picture

Cli = Callable[..., Result]
LEDGER = Path("out/.batchedit/ledger.db")
EDIT = "{prompt: pure white background, quality: low"


def manifest(shop: Shop, post: str = "", checks: str = "", *, more: str = "", name: str = "shop.yaml") -> Path:
    told = "".join(f", {key}: {value}" for key, value in (("post", post), ("checks", checks)) if value)
    return shop.write(name, f"version: 1\ndefaults: {EDIT}{told}}}\nsources: [{{glob: in/*.png}}]\n{more}")


def prints(out: str = "out") -> dict[str, tuple[int, int]]:
    """Inode and time of change of each delivered file."""
    files = [path for path in Path(out).rglob("*") if path.is_file() and ".batchedit" not in path.parts]
    return {str(path.relative_to(out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def rows(sql: str) -> list[tuple[Any, ...]]:
    with database(LEDGER) as db:
        return db.execute(sql).fetchall()


def test_a_run_delivers_what_the_recipe_makes(cli: Cli, shop: Shop) -> None:
    """The raw is kept as it came, the file has the format and size that were asked for, and the checks are told."""
    path = manifest(shop, "{format: jpeg, fit: 200x200, quality: 70}", "{min_side: {least: 500, severity: fail}}")
    result = cli("run", path, "--out", "out")
    assert result.code == 0, result.err
    assert shop.outputs() == ["lamp.jpg", "mug.jpg", "shoe.jpg"]
    for name in shop.outputs():
        with Image.open(Path("out") / name) as image:
            assert (image.format, image.size) == ("JPEG", (200, 200))
    assert {kept.suffix for kept in Path("out/.batchedit/raw").glob("??/*")} == {".png"}
    assert rows("SELECT name, verdict, measured, wanted FROM v_checks WHERE item_id = 'mug'") == [
        ("min_side", "failed", "the shortest side has 200 pixels", "at least 500")
    ]
    assert cli("verify", "out", "--read-data").code == 0
    assert "failed  min_side: the shortest side has 200 pixels; wanted: at least 500" in cli("show", "mug", "out").out
    assert [row["id"] for row in cli("ls", "out", "--select", "check:failed", "--json", "id,checks").json()] == [
        "lamp", "mug", "shoe",
    ]  # fmt: skip
    assert cli("ls", "out", "--select", "check:warned").code == 5
    assert cli("report", "out", "--json").json()["checks"] == [
        {"name": "min_side", "verdict": "failed", "tasks": 3, "example": "lamp/edit"}
    ]
    assert "3  failed min_side" in cli("report", "out").out
    line = json.loads(cli("export", "ndjson", "out").out.splitlines()[0])
    assert (line["files"][0]["width"], [each["name"] for each in line["checks"]]) == (200, ["min_side"])
    again = cli("run", path, "--out", "out", "--json").json()
    assert (again["spent"], again["exit_code"]) == ("0.00", 0)


def test_a_change_of_post_is_free_and_touches_only_what_changed(cli: Cli, shop: Shop) -> None:
    """In the plan, in a run, and by `render`: the request stays, the price is nothing, other files are left alone."""
    one = "edits:\n  {name}: {{prompt: grayscale, output: '{name}/{{{{ stem }}}}.{{{{ ext }}}}'{post}}}\n"
    head = "version: 1\nsources: [{glob: in/*.png}]\ndefaults: {quality: low}\nedits:\n"

    def write(shop_post: str) -> Path:
        edits = "".join(
            one.split("\n", 1)[1].format(name=name, post=post)
            for name, post in (("raw", ""), ("web", shop_post), ("big", ", post: {format: webp}"))
        )
        return shop.write("shop.yaml", head + edits)

    path = write(", post: {format: jpeg}")
    assert cli("run", path, "--out", "out").code == 0
    before, keys = prints(), rows("SELECT key, state FROM requests ORDER BY key")
    assert len(keys) == 3  # one purchase for each picture, however many files are made of it
    path = write(", post: {format: jpeg, quality: 40}")
    plan = cli("plan", path, "--out", "out")
    assert "3  to render, free: done, with another path, post or checks now\n" in plan.out
    assert "6  done already" in plan.out
    assert "nothing to buy" in plan.out
    assert cli("render", path, "--dry-run").out.splitlines()[1].split() == ["3", "to", "render,", "free"]
    assert prints() == before
    assert cli("render", path).code == 0
    after = prints()
    assert {name for name in after if after[name] != before[name]} == {"web/lamp.jpg", "web/mug.jpg", "web/shoe.jpg"}
    assert rows("SELECT key, state FROM requests ORDER BY key") == keys
    assert cli("render", path).out.splitlines()[1].split()[0] == "9"
    path = write("")
    assert cli("run", path, "--out", "out", "--json").json()["spent"] == "0.00"
    assert sorted(prints()) == sorted(f"{edit}/{name}" for edit, ext in (("raw", "png"), ("web", "png"), ("big", "webp"))
                                      for name in (f"lamp.{ext}", f"mug.{ext}", f"shoe.{ext}"))  # fmt: skip
    assert {name: each for name, each in prints().items() if "web" not in name} == {
        name: each for name, each in before.items() if "web" not in name
    }
    assert cli("verify", "out", "--read-data").code == 0


def test_render_never_asks_the_provider(
    cli: Cli, shop: Shop, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the run there is no call of any kind, and no key is needed; nothing that could buy is even constructed."""
    served = serve()
    path = served.manifest(shop, defaults="{prompt: grayscale, quality: low, post: {format: jpeg}}")
    assert cli("run", path, "--yes").code == 0
    before = served.audit()
    monkeypatch.delenv("RUNFLOW_API_KEY")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a client was constructed")

    monkeypatch.setattr("batchedit.providers.registry.connect", never)
    monkeypatch.setattr("batchedit.batch.connect", never)
    monkeypatch.setattr("batchedit.wire.Wire.__init__", never)
    path = served.manifest(shop, defaults="{prompt: sepia, quality: low, post: {format: webp, crop: 1:1}}")
    result = cli("render", path, "--json")
    assert result.code == 0, result.err
    assert result.json()["rendered"] == 3
    assert shop.outputs() == ["lamp.webp", "mug.webp", "shoe.webp"]
    assert served.audit() == before


def test_the_key_of_a_purchase_does_not_know_of_post(shop: Shop) -> None:
    """Whatever stands in `post` and `checks`: the same request."""
    keys = set()
    for post, checks in (("", ""), ("amazon-main", ""), ("{crop: 4:5, format: webp}", "{fill: 80}")):
        plan = batchedit.make_plan(load_manifest(manifest(shop, post, checks)))
        keys.add(plan.figures.seals["wanted"])
    assert len(keys) == 1


def test_what_cannot_be_made_is_told_and_costs_nothing(cli: Cli, shop: Shop) -> None:
    """The task is paid, its raw is safe, the message says what to change; the others go on, and the next run mends it."""
    items = "items:\n  - {id: a, image: in/mug.png, post: {format: jpeg, max_bytes: {most: 500, floor: 90}}}\n"
    items += "  - {id: b, image: in/shoe.png}\n"
    path = shop.write("shop.yaml", f"version: 1\ndefaults: {EDIT}}}\n{items}")
    result = cli("run", path)
    assert result.code == 3
    assert "a/edit is paid but not delivered: at quality 90, the floor of max_bytes, the file still has" in result.out
    assert "change post and run again, which costs nothing" in result.out
    assert shop.outputs() == ["shoe.png"]
    assert rows("SELECT slot, name, verdict FROM v_checks") == [("a/edit", "post", "failed")]
    assert rows("SELECT count(*) FROM requests WHERE state = 'done'") == [(2,)]
    assert [row["id"] for row in cli("ls", "--select", "check:post", "--json", "id").json()] == ["a"]
    assert cli("render", path).code == 3
    path = shop.write("shop.yaml", f"version: 1\ndefaults: {EDIT}}}\n{items.replace('500', '50000')}")
    assert cli("run", path, "--json").json()["spent"] == "0.00"
    assert shop.outputs() == ["mug.jpg", "shoe.png"]
    assert rows("SELECT slot, name FROM v_checks") == []


class Death(BaseException):
    """The process is gone at once."""


@pytest.mark.parametrize("post", ["{format: jpeg}", "{fit: 100x100}"], ids=["renamed", "same name"])
@pytest.mark.parametrize("first", [True, False], ids=["when bought", "when changed"])
@pytest.mark.parametrize("where", ["before", "made", "noted", "placed", "listed"])
def test_a_crash_at_any_instant_loses_nothing(
    cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch, where: str, first: bool, post: str
) -> None:
    """Nothing is bought twice, nothing is torn, and the next run knows its own half-finished files."""
    if not first:
        assert cli("run", manifest(shop)).code == 0
    path = manifest(shop, post, "{min_side: 10}")
    render, place, listed = Outputs.render, Outputs.place_made, LedgerWriter.redeliver

    async def dies_before(*_: Any) -> Any:
        raise Death

    async def dies_when_made(self: Outputs, *given: Any) -> Any:
        await render(self, *given)
        raise Death

    async def dies_when_placed(self: Outputs, *given: Any) -> Any:
        await place(self, *given)
        raise Death

    async def dies_when_noted(*_: Any) -> Any:
        raise Death

    def dies_when_listed(self: LedgerWriter, *given: Any) -> Any:
        listed(self, *given)
        raise Death

    with monkeypatch.context() as patched:
        match where:
            case "before":
                patched.setattr(Outputs, "render", dies_before)
            case "made":
                patched.setattr(Outputs, "render", dies_when_made)
            case "noted":
                patched.setattr(Outputs, "place_made", dies_when_noted)
            case "placed":
                patched.setattr(Outputs, "place_made", dies_when_placed)
            case _:
                patched.setattr(LedgerWriter, "redeliver", dies_when_listed)
        with pytest.raises((Death, BaseExceptionGroup)):
            cli("run", path)
    spent = rows("SELECT coalesce(sum(cost_microusd), 0) FROM attempts")
    for name, sha256 in rows("SELECT path, sha256 FROM outputs"):
        data = (Path("out") / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == sha256, "the ledger names what is not there"
    for name in shop.outputs():
        with Image.open(Path("out") / name) as image:
            image.load()
    result = cli("run", path)
    assert result.code == 0, result.err + result.out
    ending = "jpg" if "jpeg" in post else "png"
    wanted = [f"{name}.{ending}" for name in ("lamp", "mug", "shoe")]
    assert set(wanted) <= set(shop.outputs())
    # Rows go before files: of the one that was being listed its old file may be left over.
    assert len(shop.outputs()) - len(wanted) <= (where == "listed" and not first and ending == "jpg")
    assert rows("SELECT count(*) FROM requests") == [(3,)]
    total = rows("SELECT sum(cost_microusd), count(*) FROM attempts")
    assert total[0][1] == 3
    assert first or spent[0][0] == total[0][0]
    assert len(rows("SELECT * FROM v_checks")) == 3
    assert not [*Path("out/.batchedit/raw").glob("*.part")]
    assert cli("verify", "out", "--read-data").code == 0
    assert cli("run", path, "--json").json()["spent"] == "0.00"


@pytest.mark.parametrize("kills", [3])
def test_real_kills_while_files_are_made(shop: Shop, cli: Cli, kills: int) -> None:
    """The real command with its worker processes, killed while it renders; the last one finishes what is left."""
    for n in range(24):
        draw_picture(shop.root / "in" / f"p{n}.png", (n * 10 % 256, 90, 160), side=256)
    path = manifest(shop, "{fit: 1000x1000, snap_white: 200, format: webp, quality: 80}", "{not_blank: fail}")
    for _ in range(kills):
        process = command("run", path, cwd=shop.root)
        deadline = time.monotonic() + 60
        seen = len(shop.outputs())
        while time.monotonic() < deadline and process.poll() is None:
            if len(shop.outputs()) > seen:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for name in shop.outputs():
            with Image.open(Path("out") / name) as image:
                image.load()
    result = cli("run", path)
    assert result.code == 0, result.err + result.out
    assert len(shop.outputs()) == 27
    assert {name.rpartition(".")[2] for name in shop.outputs()} == {"webp"}
    assert rows("SELECT count(*) FROM requests WHERE state = 'done'") == [(27,)]
    billed = rows("SELECT count(*) FROM attempts WHERE cost_microusd > 0")
    assert billed == [(27,)]
    assert cli("verify", "out", "--read-data").code == 0
    assert not [*Path("out/.batchedit/raw").glob("*.part")]


def test_a_file_changed_by_hand_is_not_ours_any_more(cli: Cli, shop: Shop) -> None:
    """Nothing replaces it; what to do is said, and moving it away is enough."""
    path = manifest(shop, "{format: jpeg}")
    assert cli("run", path).code == 0
    draw_picture(Path("out/mug.jpg"), (1, 2, 3))
    retouched = Path("out/mug.jpg").read_bytes()
    result = cli("render", manifest(shop, "{format: jpeg, quality: 30}"))
    assert result.code == 3
    assert "mug.jpg exists and is not a file of this ledger; move it away" in result.out
    assert Path("out/mug.jpg").read_bytes() == retouched
    Path("out/mug.jpg").rename("mine.jpg")
    assert cli("render", manifest(shop, "{format: jpeg, quality: 30}")).code == 0
    assert cli("verify", "out", "--read-data").code == 0


def test_chained_edits_start_from_what_was_bought(cli: Cli, shop: Shop) -> None:
    """A change of the first edit's post changes nothing about the second one's purchase."""

    def chain(post: str) -> Path:
        edits = f"white: {{prompt: on white, post: {post}}}, scene: {{prompt: on oak, from: white, checks: {{not_identical: warn}}}}"
        return shop.write(
            "c.yaml", f"version: 1\ndefaults: {{quality: low}}\nedits: {{{edits}}}\nsources: [{{glob: in/m*.png}}]\n"
        )

    assert cli("run", chain("{format: jpeg}")).code == 0
    assert shop.outputs() == ["scene/mug.png", "white/mug.jpg"]
    (spec,) = rows("SELECT spec FROM requests JOIN tasks ON key = request_key WHERE edit = 'scene'")
    (raw,) = rows("SELECT sha256 FROM raws JOIN tasks USING (request_key) WHERE edit = 'white'")
    assert json.loads(spec[0])["images"][0]["id"] == f"sha256:{raw[0]}"
    plan = cli("plan", chain("{format: webp}"), "--json").json()
    assert (plan["counts"]["render"], plan["counts"]["done"], plan["requests_to_buy"]) == (1, 1, 0)
    assert rows("SELECT name, verdict FROM v_checks WHERE edit = 'scene'")[0][0] == "not_identical"


def test_names_may_be_swapped_by_render(cli: Cli, shop: Shop) -> None:
    """Two tasks that take each other's names end with the right pictures, also when one of them is made anew."""

    def items(one: str, other: str) -> Path:
        text = f"items:\n  - {{id: a, image: in/mug.png, output: {one}.png}}\n"
        text += f"  - {{id: b, image: in/shoe.png, output: {other}.png, post: {{fit: 64x64}}}}\n"
        return shop.write("s.yaml", f"version: 1\ndefaults: {EDIT}}}\n{text}")

    assert cli("run", items("x", "y")).code == 0
    assert cli("render", items("y", "x")).code == 0
    sizes = {}
    for name in shop.outputs():
        with Image.open(Path("out") / name) as image:
            sizes[name] = max(image.size)
    assert sizes["x.png"] == 64
    assert sizes["y.png"] > 64
    assert cli("verify", "out", "--read-data").code == 0
    assert cli("plan", items("y", "x"), "--json").json()["counts"]["done"] == 2


def test_render_without_a_manifest_brings_back_what_has_gone(cli: Cli, shop: Shop) -> None:
    """From the raws, with the recipe of the last run; `--all` leaves files alone that come out the same."""
    assert cli("run", manifest(shop, "{format: jpeg}")).code == 0
    before, data = prints(), Path("out/mug.jpg").read_bytes()
    Path("out/mug.jpg").unlink()
    shutil.rmtree("in")  # sources are not needed
    assert cli("render").out.splitlines()[1].split()[0] == "1"
    assert Path("out/mug.jpg").read_bytes() == data
    assert cli("render", "--all", "--json").json()["rendered"] == 3
    assert {name: each for name, each in prints().items() if name != "mug.jpg"} == {
        name: each for name, each in before.items() if name != "mug.jpg"
    }
    assert cli("render", "--quality", "low").code == 2
    assert cli("render", "--select", "id:nobody").code == 5
    assert cli("render", "--out", "nowhere").code == 8


def test_a_run_that_is_going_on_keeps_render_out(cli: Cli, shop: Shop) -> None:
    """One writer at a time: exit code 8, and nothing is touched."""
    path = manifest(shop)
    assert cli("run", path).code == 0
    writer = LedgerWriter(LEDGER, Effects(), world="rehearsal")
    try:
        result = cli("render", manifest(shop, "{format: jpeg}"))
    finally:
        writer.close()
    assert result.code == 8
    assert shop.outputs() == ["lamp.png", "mug.png", "shoe.png"]


def test_several_pictures_of_a_task(cli: Cli, shop: Shop) -> None:
    """Each gets its file and its findings; `--select` narrows a render down."""
    path = (
        manifest(shop, "{fit: 300x300}", "{not_blank: warn}", more="")
        .read_text()
        .replace("quality: low", "quality: low, n: 2")
    )
    target = shop.write("two.yaml", path)
    assert cli("run", target).code == 0
    assert len(shop.outputs()) == 6
    assert rows("SELECT slot, number FROM v_checks WHERE item_id = 'mug' ORDER BY number") == [
        ("mug/edit", 1),
        ("mug/edit", 2),
    ]
    before = prints()
    shop.write("two.yaml", path.replace("300x300", "200x200"))
    assert cli("render", target, "--select", "mug").code == 0
    assert {name for name, each in prints().items() if before[name] != each} == {"mug_1.png", "mug_2.png"}


def test_without_post_nothing_is_made(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main job does no work that nobody asked for."""

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Filing, "render", never)
    assert cli("run", manifest(shop)).code == 0
    assert rows("SELECT count(*) FROM renders") == [(0,)]
    assert rows("SELECT count(*) FROM checks") == [(0,)]


def test_the_library_renders_and_reads(cli: Cli, shop: Shop) -> None:
    """`render` beside `make_plan`; tasks by selection, and as a frame."""
    path = manifest(shop, "{format: jpeg}", "{min_side: 5000}")
    assert cli("run", path).code == 0
    done = batchedit.render(
        load_manifest(manifest(shop, "{format: webp}", "{min_side: 5000}")), out="out", select="mug"
    )
    assert (done.looked, done.rendered, done.unmet) == (1, 1, {("min_side", "warned"): 3})
    with Ledger(LEDGER) as ledger:
        assert [task.id for task in ledger.tasks(select=["mug", "lamp"])] == ["lamp", "mug"]
        assert len([*ledger.tasks(select="check:warned")]) == 3
        with pytest.raises(UsageError, match="there is no status"):
            ledger.tasks(select="status:fialed")
        with pytest.raises(BatchEditError, match="none of the 3 tasks"):
            list(ledger.tasks(select="check:failed"))
        pandas = pytest.importorskip("pandas")
        frame = ledger.tasks(select="id:mug").to_frame()
        assert isinstance(frame, pandas.DataFrame)
        assert frame["id"].tolist() == ["mug"]
        assert frame["cost_microusd"].tolist() == [9_000]
        assert frame["checks"].tolist() == [["min_side warned"]]


def test_without_pandas_a_frame_is_refused(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words that name the extra."""
    assert cli("run", manifest(shop)).code == 0
    monkeypatch.setitem(sys.modules, "pandas", None)
    with Ledger(LEDGER) as ledger, pytest.raises(UsageError) as refused:
        ledger.tasks().to_frame()
    assert "batchedit[frames]" in (refused.value.hint or "")


def test_profiles_are_listed_with_date_and_source(cli: Cli) -> None:
    """For people and for programs; never as a guarantee."""
    text = cli("profiles").out
    assert "amazon-main" in text
    assert "2026-11-23" in text
    assert "never a guarantee" in text
    found = {each["name"]: each for each in cli("profiles", "--json").json()["profiles"]}
    assert found["zalando-packshot"]["post"]["pad"] == "1801:2600"
    assert all(each["date"] and each["source"] for each in found.values())
