"""What people have said follows what was bought: under a new name, to what was made from it, to a file made anew."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchedit import deliver
from batchedit.errors import ConsentMissing
from batchedit.ledger.reader import Ledger
from batchedit.report.as_csv import guarded, unguarded
from tests.conftest import Result, Served, Shop, database
from tests.test_reedit import LEDGER, micro, rejected_with_its_start, say, shown, slots
from tests.test_review import reviewed

Cli = Callable[..., Result]


def items(*ids: str, image: str = "in/mug.png") -> str:
    return "items:\n" + "".join(f"  - {{id: {name}, image: {image}}}\n" for name in ids)


DEFAULTS = "{prompt: grayscale, quality: low, output: '{{ id }}.{{ ext }}'}"


def test_a_renamed_row_keeps_its_re_edit_and_what_was_said(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """The rejected picture does not come back; verdicts, reasons and history are there; nothing is bought."""
    served = serve()
    served.manifest(shop, rows=items("mug"), defaults=DEFAULTS)
    assert cli("run", "night.yaml").code == 0
    say({"mug/edit": "rejected"}, reason="halo")
    assert cli("reedit", "night.yaml", "--prompt", "sepia").code == 0
    say({"mug/edit": "approved"})
    new = (shop.root / "out/mug.png").read_bytes()
    billed = served.audit()["billed_microusd_total"]
    for name in ("cup", "beaker", "cup", "mug"):
        served.manifest(shop, rows=items(name), defaults=DEFAULTS)
        assert "with the prompt of a re-edit" in cli("plan", "night.yaml").out
        assert cli("run", "night.yaml").code == 0
        assert (shop.root / f"out/{name}.png").read_bytes() == new
        task = shown(cli, name)
        assert (task["revision"], task["prompt"]) == (2, "sepia")
        assert [(each["revision"], each["verdict"]) for each in task["revisions"]] == [(1, "rejected"), (2, "approved")]
        assert f"{name}/edit" in slots(cli, "verdict:approved")
    assert served.audit()["billed_microusd_total"] == billed
    with database(LEDGER) as db:
        said = db.execute("SELECT slot, verdict FROM decisions ORDER BY id").fetchall()
    assert sorted(said) == sorted(
        (f"{name}/edit", verdict) for name in ("mug", "cup", "beaker") for verdict in ("rejected", "approved")
    )


def test_the_money_of_a_renamed_row_is_told_once(shop: Shop, cli: Cli) -> None:
    """Rejected under the new name it is waste, approved it is one approved picture, edited again it is superseded."""
    text = "version: 1\nprovider: rehearsal\ndefaults: " + DEFAULTS + "\n"

    def money(name: str, verdict: str = "", *, prompt: str = "") -> tuple[str, dict[str, str], int]:
        shop.write("night.yaml", text + items(name))
        assert cli("run", "night.yaml", "-q").code == 0
        if verdict:
            say({f"{name}/edit": verdict})
        if prompt:
            assert cli("reedit", "night.yaml", "--prompt", prompt, "-q").code == 0
        total = cli("report", "out", "--json").json()["total"]
        with database(LEDGER) as db:
            views = db.execute(
                "SELECT money_use, sum(cost_microusd) FROM v_attempts WHERE cost_microusd > 0 GROUP BY money_use"
            ).fetchall()
        uses = {"useful": total["useful"], **total["waste"]}
        told = {use: f"{amount / 1e6:.3f}" for use, amount in views}
        assert {use: f"{float(amount):.3f}" for use, amount in uses.items() if float(amount)} == told
        return total["spent"], told, total["approved"]

    assert money("mug", "approved") == ("0.009", {"useful": "0.009"}, 1)
    assert money("cup") == ("0.009", {"useful": "0.009"}, 1)
    assert money("cup", "rejected") == ("0.009", {"rejected": "0.009"}, 0)
    assert money("cup", prompt="sepia") == ("0.018", {"useful": "0.009", "superseded": "0.009"}, 0)
    assert money("cup", "approved") == ("0.018", {"useful": "0.009", "superseded": "0.009"}, 1)
    assert money("mug") == ("0.018", {"useful": "0.009", "superseded": "0.009"}, 1)
    assert money("mug", "rejected") == ("0.018", {"rejected": "0.009", "superseded": "0.009"}, 0)


def test_a_former_name_is_neither_shown_nor_delivered(shop: Shop, cli: Cli) -> None:
    """Also without a manifest; what was delivered under it is named, and goes with --prune."""
    text = "version: 1\nprovider: rehearsal\ndefaults: " + DEFAULTS + "\n"
    shop.write("night.yaml", text + items("mug"))
    assert cli("run", "night.yaml", "-q").code == 0
    say({"mug/edit": "approved"})
    assert cli("deliver", "hand").code == 0
    shop.write("night.yaml", text + items("cup"))
    assert cli("run", "night.yaml", "-q").code == 0
    with Ledger(LEDGER) as reader:
        assert [task.slot for task in reader.shown()] == ["cup/edit"]
    told = cli("deliver", "hand")
    assert "mug.png: of mug/edit, which has another name now" in told.out
    assert cli("deliver", "hand", "--prune").code == 0
    assert sorted(path.name for path in (shop.root / "hand").iterdir()) == ["cup.png", "delivery.csv"]
    shop.write("night.yaml", text + items("mug"))
    assert cli("run", "night.yaml", "-q").code == 0
    with Ledger(LEDGER) as reader:
        assert [task.slot for task in reader.shown()] == ["mug/edit"]


def test_what_was_said_under_the_later_name_counts_after_renaming_back(shop: Shop, cli: Cli) -> None:
    """A row that gets its old name again has what happened to it meanwhile."""
    text = "version: 1\nprovider: rehearsal\ndefaults: " + DEFAULTS + "\n"
    for name, verdict in (("mug", "approved"), ("cup", "rejected")):
        shop.write("night.yaml", text + items(name))
        assert cli("run", "night.yaml", "-q").code == 0
        say({f"{name}/edit": verdict})
    shop.write("night.yaml", text + items("mug"))
    assert cli("run", "night.yaml", "-q").code == 0
    assert "mug/edit" in slots(cli, "verdict:rejected")


def test_equal_rows_that_are_renamed_together_do_not_mix(shop: Shop, cli: Cli) -> None:
    """Each takes over one, and a copy beside the row that stays takes over none."""
    text = "version: 1\nprovider: rehearsal\ndefaults: " + DEFAULTS + "\n"
    shop.write("night.yaml", text + items("a", "b"))
    assert cli("run", "night.yaml", "-q").code == 0
    say({"a/edit": "rejected", "b/edit": "approved"})
    shop.write("night.yaml", text + items("a", "b", "c"))
    assert cli("run", "night.yaml", "-q").code == 0
    assert slots(cli, "verdict:none") == ["c/edit"]
    shop.write("night.yaml", text + items("x", "y", "c"))
    assert cli("run", "night.yaml", "-q").code == 0
    assert slots(cli, "verdict:rejected") == ["a/edit", "x/edit"]
    assert slots(cli, "verdict:approved") == ["b/edit", "y/edit"]
    assert slots(cli, "verdict:none") == ["c/edit"]


GATED = (
    "version: 1\nprovider: rehearsal\ndefaults: {{quality: low}}\nedits:\n  white: {{prompt: pure white background}}\n"
    "  scene: {{from: white, when: approved, prompt: on an oak table}}\nitems: [{{id: {}, image: in/mug.png}}]\n"
)


@pytest.fixture
def chain(shop: Shop, cli: Cli) -> Path:
    """A white picture that is approved, and a scene that was made of it, approved too."""
    path = shop.write("chain.yaml", GATED.format("mug"))
    assert cli("run", "chain.yaml", "-q").code == 0
    say({"mug/white": "approved"})
    assert cli("run", "chain.yaml", "-q").code == 0
    say({"mug/scene": "approved"})
    return path


def test_a_renamed_row_of_a_chain_is_approved_as_it_was(shop: Shop, cli: Cli, chain: Path) -> None:
    """The start's approval counts, and the scene that was made of it is not bought again."""
    shop.write("chain.yaml", GATED.format("cup"))
    spent = cli("report", "out", "--json").json()["total"]["spent"]
    assert cli("run", "chain.yaml", "-q").code == 0
    assert cli("report", "out", "--json").json()["total"]["spent"] == spent
    assert slots(cli, "id:cup,verdict:approved") == ["cup/scene", "cup/white"]


def test_what_was_made_from_a_rejected_picture_does_not_leave(shop: Shop, cli: Cli, chain: Path) -> None:
    """It is selected, shown, refused with words of its own, and taken once somebody has approved it knowing that."""
    assert cli("deliver", "hand", "chain.yaml").code == 0
    say({"mug/white": "rejected"})
    assert slots(cli, "made-from:rejected") == ["mug/scene"]
    refused = cli("deliver", "other", "chain.yaml")
    assert refused.code == 2
    assert (
        "1 approved task is made from a picture that does not count any more"
        " (mug/scene from mug/white, which was rejected since); nothing was copied" in refused.err
    )
    assert not Path("other").exists()
    assert cli("deliver", "other", "chain.yaml", "--exclude", "made-from:*").code == 5
    assert cli("deliver", "all", "chain.yaml", "--unreviewed").code == 0
    say({"mug/scene": "approved"})
    assert slots(cli, "made-from:*") == []
    assert cli("deliver", "other", "chain.yaml").code == 0


def test_the_review_shows_what_a_picture_was_made_from(shop: Shop, cli: Cli, chain: Path) -> None:
    """Until somebody approves it there, knowing that."""
    say({"mug/white": "rejected"})
    with reviewed() as browser:
        card = browser.cards()["mug/scene"]
        assert card["start"] == ["mug/white", "rejected"]
        assert browser.cards()["mug/white"]["start"] is None
        assert browser.decide(card, "approved", files=card["files"])["seen"]
        assert browser.cards()["mug/scene"]["start"] is None
    assert cli("deliver", "hand", "chain.yaml").code == 0
    say({"mug/white": "approved"})
    say({"mug/white": "rejected"})
    assert cli("deliver", "again", "chain.yaml").code == 2


def test_a_chained_edit_is_made_anew_after_its_start_was_edited_again(shop: Shop, cli: Cli, chain: Path) -> None:
    """Once the new start is approved: planned with its cost; until then it waits; the old one counts as superseded."""
    say({"mug/white": "rejected"})
    assert cli("reedit", "chain.yaml", "--prompt", "brighter", "-q").code == 0
    assert slots(cli, "made-from:rejected") == ["mug/scene"]
    waiting = cli("plan", "chain.yaml")
    assert "1  wait for approval of the edit they start from" in waiting.out
    assert "nothing to buy" in waiting.out
    say({"mug/white": "approved"})
    plan = cli("plan", "chain.yaml", "--json").json()
    assert plan["requests_to_buy"] == 1
    before = (shop.root / "out/scene/mug.png").read_bytes()
    assert cli("run", "chain.yaml", "-q").code == 0
    assert (shop.root / "out/scene/mug.png").read_bytes() != before
    assert slots(cli, "made-from:*") == []
    total = cli("report", "out", "--json").json()["total"]
    assert micro(total["spent"]) == 2 * micro(total["waste"]["superseded"])
    assert "2  done already" in cli("plan", "chain.yaml").out
    assert slots(cli, "verdict:none") == ["mug/scene"]


def test_a_chain_of_three_tells_who_is_to_blame(shop: Shop, cli: Cli) -> None:
    """What was made from what was made from a rejected picture is not delivered either."""
    shop.write(
        "chain.yaml",
        "version: 1\nprovider: rehearsal\ndefaults: {quality: low}\nedits:\n  white: {prompt: pure white background}\n"
        "  mono: {from: white, prompt: grayscale}\n  dark: {from: mono, prompt: darker}\nsources: [{glob: in/mug.png}]\n",
    )
    assert cli("run", "chain.yaml", "-q").code == 0
    say({"mug/white": "approved", "mug/mono": "approved", "mug/dark": "approved"})
    say({"mug/white": "rejected"})
    assert slots(cli, "made-from:rejected") == ["mug/dark", "mug/mono"]
    refused = cli("deliver", "hand", "chain.yaml")
    assert "2 approved tasks are made from a picture" in refused.err
    assert "from mug/white, which was rejected since" in refused.err


def test_a_plain_run_finishes_an_interrupted_chained_re_edit(
    shop: Shop, serve: Callable[..., Served], cli: Cli
) -> None:
    """With the requests that the re-edit has asked for, each bought once; and the run says so."""
    served = rejected_with_its_start(shop, serve, cli)
    billed = served.audit()["billed_microusd_total"]
    stopped = cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, brighter", "--budget", "0.00")
    assert stopped.code == 6
    assert served.audit()["billed_microusd_total"] == billed
    run = cli("run", "night.yaml")
    assert run.code == 0, run.err
    assert "2  of these were begun and not finished: gone on with, bought once" in run.err
    assert [shown(cli, slot)["revision"] for slot in ("mug/white", "mug/mono")] == [2, 2]
    assert shown(cli, "mug/mono")["prompt"] == "grayscale, brighter"
    assert served.audit()["billed_microusd_total"] == 2 * billed
    again = cli("reedit", "night.yaml", "--select", "mug", "--prompt", "{{ prompt }}, brighter")
    assert "nothing to buy" in again.err
    assert "nothing to buy" in cli("plan", "night.yaml").out
    assert served.audit()["billed_microusd_total"] == 2 * billed


@pytest.mark.parametrize("budget", ["0.00", "9.00"])
def test_a_re_edit_after_one_that_was_dropped_finds_the_rejected(
    shop: Shop, serve: Callable[..., Served], cli: Cli, budget: str
) -> None:
    """Whether the dropped one was ever run or not, and without a run in between."""
    served = serve()
    served.manifest(shop, rows=items("mug"), defaults=DEFAULTS)
    assert cli("run", "night.yaml").code == 0
    say({"mug/edit": "rejected"}, reason="halo")
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "--budget", budget).code in (0, 6)
    assert cli("reedit", "night.yaml", "--drop").out.startswith("1 task has")
    again = cli("reedit", "night.yaml", "--prompt", "brighter ({{ reason }})")
    assert again.code == 0, again.err
    assert shown(cli, "mug")["prompt"] == "brighter (halo)"


def test_an_item_whose_first_picture_was_rejected_is_undecided_again(
    shop: Shop, serve: Callable[..., Served], cli: Cli
) -> None:
    """Not absent, which would make the first-time approval better than it was, and not approved."""
    serve().manifest(shop)
    assert cli("run", "night.yaml", "-q").code == 0
    say({"mug/edit": "rejected", "shoe/edit": "approved"})

    def told() -> Any:
        total = cli("report", "out", "--json").json()["total"]
        names = ("reviewed", "undecided_again", "approved", "approved_at_once", "first_time_approval")
        return tuple(total[name] for name in names)

    assert told() == (2, 0, 1, 1, 0.5)
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "-q").code == 0
    assert told() == (1, 1, 1, 1, 0.5)
    text = " ".join(cli("report", "out").out.split())
    assert "reviewed 2: 1 approved (1 of 2 at once, 50" in text
    assert ", 1 undecided after a rejection" in text
    say({"mug/edit": "approved"})
    assert told() == (2, 0, 2, 1, 0.5)


POST = "version: 1\nprovider: rehearsal\ndefaults: {{prompt: grayscale, quality: low, post: {}}}\nsources: [{{glob: in/mug.png}}]\n"


def test_a_file_made_anew_since_its_approval_is_told(shop: Shop, cli: Cli) -> None:
    """The verdict holds, since it is of what was bought; `--strict` wants it said again of what leaves."""
    shop.write("night.yaml", POST.format("{format: jpeg, fit: 99x99}"))
    assert cli("run", "night.yaml", "-q").code == 0
    say({"mug/edit": "approved"})
    assert cli("deliver", "hand", "night.yaml", "--strict").code == 0
    shop.write("night.yaml", POST.format("{format: jpeg, fit: 60x60}"))
    assert cli("render", "night.yaml").code == 0
    assert slots(cli, "verdict:approved") == ["mug/edit"]
    refused = cli("deliver", "hand", "night.yaml", "--strict")
    assert refused.code == 2
    assert "--strict: 1 approved task has other files now, made anew since somebody approved them" in refused.err
    taken = cli("deliver", "hand", "night.yaml")
    assert taken.code == 0
    assert "1  made anew since they were approved; --strict refuses them" in taken.out
    assert cli("deliver", "hand", "night.yaml", "--json").json()["made_anew"] == 1
    say({"mug/edit": "approved"})
    assert cli("deliver", "hand", "night.yaml", "--strict", "--json").json()["made_anew"] == 0


def test_the_library_is_as_strict(shop: Shop, cli: Cli) -> None:
    """`deliver(strict=True)` raises what the command tells."""
    shop.write("night.yaml", POST.format("{fit: 99x99}"))
    assert cli("run", "night.yaml", "-q").code == 0
    say({"mug/edit": "approved"})
    shop.write("night.yaml", POST.format("{fit: 60x60}"))
    assert cli("render", "night.yaml").code == 0
    with pytest.raises(ConsentMissing, match="--strict"):
        deliver("hand", strict=True)
    assert deliver("hand").anew == 1


# -- earlier deliveries ------------------------------------------------------------------------------------------------


@pytest.fixture
def delivered(shop: Shop, cli: Cli) -> Path:
    """Three approved pictures, delivered."""
    path = shop.write(
        "night.yaml",
        "version: 1\nprovider: rehearsal\ndefaults: {prompt: grayscale, quality: low, output: '{{ id }}.{{ ext }}'}\n"
        "items:\n  - {id: mug, image: in/mug.png}\n  - {id: shoe, image: in/shoe.png}\n  - {id: lamp, image: in/lamp.png}\n",
    )
    assert cli("run", "night.yaml", "-q").code == 0
    say({"mug/edit": "approved", "shoe/edit": "approved", "lamp/edit": "approved"})
    assert cli("deliver", "hand", "night.yaml").code == 0
    return path


def lying() -> list[str]:
    return sorted(str(path.relative_to("hand")) for path in Path("hand").rglob("*") if path.is_file())


def test_what_an_earlier_delivery_has_left_is_named_and_pruned(shop: Shop, cli: Cli, delivered: Path) -> None:
    """Rejected and renamed ones, also after several deliveries; what somebody has changed stays."""
    say({"mug/edit": "rejected", "lamp/edit": "rejected"})
    shop.write("night.yaml", delivered.read_text().replace("id: shoe", "id: boot"))
    assert cli("run", "night.yaml", "-q").code == 0
    for _ in range(2):
        told = cli("deliver", "hand", "night.yaml")
        assert told.code == 0, told.err
        assert "3  of an earlier delivery and not delivered any more: still there; --prune removes them" in told.out
        assert "mug.png: of mug/edit, which is rejected" in told.out
        assert "shoe.png: of shoe/edit, which the manifest does not hold any more" in told.out
        assert lying() == ["boot.png", "delivery.csv", "lamp.png", "mug.png", "shoe.png"]
    (Path("hand") / "lamp.png").write_bytes(b"touched up by hand")
    (Path("hand") / "notes.txt").write_text("not ours")
    pruned = cli("deliver", "hand", "night.yaml", "--prune", "--json").json()
    assert (pruned["left"], pruned["pruned"]) == (2, 2)
    assert lying() == ["boot.png", "delivery.csv", "lamp.png", "notes.txt"]
    assert cli("deliver", "hand", "night.yaml", "--json").json()["left"] == 0


def test_what_is_merely_not_selected_is_not_left_over(shop: Shop, cli: Cli, delivered: Path) -> None:
    """A delivery of one part after the other into one folder; and what was not told by the last sheet is remembered."""
    told = cli("deliver", "hand", "night.yaml", "--select", "mug", "--prune", "--json").json()
    assert (told["left"], told["pruned"]) == (0, 0)
    assert lying() == ["delivery.csv", "lamp.png", "mug.png", "shoe.png"]
    (kept,) = Path("out/.batchedit/delivered").iterdir()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    say({"lamp/edit": "rejected"})
    pruned = cli("deliver", "hand", "night.yaml", "--select", "mug", "--prune", "--json").json()
    assert pruned["left_files"] == ["lamp.png: of lamp/edit, which is rejected"]
    assert lying() == ["delivery.csv", "mug.png", "shoe.png"]


def test_nothing_at_all_is_left_to_deliver(shop: Shop, cli: Cli, delivered: Path) -> None:
    """Then `--prune` takes the files away, and the sheet that told of them."""
    say({"mug/edit": "rejected", "shoe/edit": "rejected", "lamp/edit": "rejected"})
    refused = cli("deliver", "hand", "night.yaml")
    assert refused.code == 5
    assert "3 files of an earlier delivery lie there: --prune takes them away" in refused.err
    assert cli("deliver", "hand", "night.yaml", "--prune").code == 0
    assert lying() == []


def test_what_another_ledger_has_delivered_is_not_touched(shop: Shop, cli: Cli, delivered: Path) -> None:
    """Neither its files nor its sheet, with names that both have; and what a sheet tells of others' files is not believed."""
    before = {name: (Path("hand") / name).read_bytes() for name in lying()}
    other = delivered.read_text().replace("grayscale", "sepia").replace("id: lamp", "id: bowl")
    shop.write("other.yaml", other)
    assert cli("run", "other.yaml", "--out", "out2", "-q").code == 0
    say({"mug/edit": "approved", "bowl/edit": "approved"}, ledger=Path("out2/.batchedit/ledger.db"))
    arguments = ("deliver", "hand", "other.yaml", "--out", "out2", "--select", "verdict:approved", "--prune")
    refused = cli(*arguments)
    assert refused.code == 2
    assert "hand/delivery.csv is of a delivery from another ledger" in refused.err
    assert {name: (Path("hand") / name).read_bytes() for name in lying()} == before
    (Path("hand") / "delivery.csv").rename("monday.csv")
    told = cli(*arguments)
    assert told.code == 3  # mug.png is in the way
    assert {name: (Path("hand") / name).read_bytes() for name in before if name != "delivery.csv"} == {
        name: data for name, data in before.items() if name != "delivery.csv"
    }
    # A row about a file of somebody else's, in a sheet of ours.
    from hashlib import sha256

    (Path("hand") / "notes.txt").write_text("not ours")
    sheet = Path("hand/delivery.csv")
    row = sheet.read_text().splitlines()[-1].split(",")
    row[-6], row[-2] = "notes.txt", sha256(b"not ours").hexdigest()
    sheet.write_text(sheet.read_text() + ",".join(row) + "\r\n")
    cli(*arguments)
    assert "notes.txt" in lying()


def test_a_folder_that_was_moved_is_delivered_to_again(shop: Shop, cli: Cli, delivered: Path) -> None:
    """Its sheet tells of files that are still this ledger's; another way to the same folder is the same folder."""
    say({"mug/edit": "rejected"})
    Path("hand").rename("monday")
    Path("hand").symlink_to("monday")
    told = cli("deliver", "out/../hand", "night.yaml", "--prune", "--json").json()
    assert told["left_files"] == ["mug.png: of mug/edit, which is rejected"]
    say({"lamp/edit": "rejected"})
    told = cli("deliver", "monday", "night.yaml", "--select", "shoe", "--prune", "--json").json()
    assert told["left_files"] == ["lamp.png: of lamp/edit, which is rejected"]


@pytest.mark.parametrize("name", ["../night.yaml", "/etc/passwd", "a/../../night.yaml", "link/night.yaml"])
def test_a_sheet_that_lies_removes_nothing_elsewhere(shop: Shop, cli: Cli, delivered: Path, name: str) -> None:
    """Paths that lead out of the folder, or through a link, are not followed."""
    from hashlib import sha256

    kept = delivered.read_bytes()
    (Path("hand") / "link").symlink_to(shop.root)
    sheet = Path("hand/delivery.csv")
    row = f"mug,in/mug.png,,{name},1,1,1,{sha256(kept).hexdigest()},approved\r\n"
    head = sheet.read_text().splitlines()[0].count(",") - row.count(",")
    sheet.write_text(sheet.read_text() + "," * max(head, 0) + row)
    assert cli("deliver", "hand", "night.yaml", "--prune").code == 0
    assert delivered.read_bytes() == kept


def test_a_run_that_replaces_a_file_meanwhile_is_told(
    shop: Shop, cli: Cli, delivered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has happened, and that it is enough to deliver again."""
    from batchedit.filing import Filing

    bring, again = Filing.bring, shop.write("again.yaml", delivered.read_text().replace("in/mug", "in/shoe"))
    assert again.exists()

    def slow(self: Filing, source: Path, sha256: str, path: str) -> Any:
        if path == "mug.png":
            monkeypatch.setattr(Filing, "bring", bring)
            text = delivered.read_text().replace("quality: low", "quality: low, post: {fit: 40x40}")
            shop.write("night.yaml", text)
            assert cli("render", "night.yaml", "--select", "mug").code == 0
        return bring(self, source, sha256, path)

    monkeypatch.setattr(Filing, "bring", slow)
    told = cli("deliver", "new", "--select", "mug")
    assert told.code == 3
    assert "has put another file in its place while this delivery was going on" in told.out
    assert "deliver again" in told.out
    assert cli("deliver", "new", "--select", "mug").code == 0


# -- where files are ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["provider: rehearsal\n", ""])
def test_all_commands_agree_about_the_folder_of_a_rehearsal(shop: Shop, cli: Cli, provider: str) -> None:
    """Of a manifest that is a rehearsal anyway, and of one that is not; with the manifest named, and without."""
    shop.write(
        "night.yaml",
        f"version: 1\n{provider}defaults: {{prompt: grayscale, quality: low}}\nsources: [{{glob: in/mug.png}}]\n",
    )
    assert cli("run", "night.yaml", "--rehearse", "-q").code == 0
    for manifest in (("night.yaml",), ()):
        rendered = cli("render", *manifest, "--rehearse", "--json")
        assert rendered.code == 0, rendered.err
        assert rendered.json()["unchanged"] == 1
        done = cli("deliver", f"hand{len(manifest)}", *manifest, "--rehearse", "--unreviewed", "--json")
        assert done.code == 0, done.err
        assert done.json()["files"] == 1


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_no_table_holds_a_formula(shop: Shop, cli: Cli) -> None:
    """Verdicts, sheets of deliveries and exports; `--raw` leaves cells as they are."""
    shop.write("jobs.csv", "id,image,prompt,Title\n=mug,in/mug.png,grayscale,@SUM(A1)\n")
    assert cli("run", "jobs.csv", "--provider", "rehearsal", "--output", "mug.{{ ext }}", "-q").code == 0
    say({"=mug/edit": "approved"}, reason="+halo", note="=1+1")

    def cells(text: str) -> set[str]:
        return {cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row}

    assert cli("deliver", "hand", "jobs.csv").code == 0
    sheet = cells(Path("hand/delivery.csv").read_text())
    assert {"'=mug", "'@SUM(A1)"} <= sheet
    assert not any(cell.startswith(("=", "+", "@", "-")) for cell in sheet)
    assert cli("deliver", "hand", "jobs.csv", "--raw").code == 0
    assert {"=mug", "@SUM(A1)"} <= cells(Path("hand/delivery.csv").read_text())
    verdicts = cells(cli("verdicts", "export", "-", "out").out)
    assert {"'=mug/edit", "'=mug", "'+halo", "'=1+1"} <= verdicts
    assert {"=mug/edit", "=mug", "+halo", "=1+1"} <= cells(cli("verdicts", "export", "-", "out", "--raw").out)
    results = cells(cli("export", "results", "out", "--manifest", "jobs.csv").out)
    assert {"'=mug", "'@SUM(A1)", "'+halo"} <= results
    assert {"=mug", "@SUM(A1)", "+halo"} <= cells(
        cli("export", "results", "out", "--manifest", "jobs.csv", "--raw").out
    )
    assert cli("export", "results", "out", "--out", "rows.jsonl").code == 0
    assert json.loads(Path("rows.jsonl").read_text().splitlines()[0])["id"] == "=mug"


TEXTS = st.text(st.sampled_from("'=+-@|%\t\r\n ax,\"\uff1d\u200b\ufeffé"), max_size=12)


@given(TEXTS)
def test_a_guard_is_undone_exactly(text: str) -> None:
    """Whatever the text is, also one that has apostrophes of its own; and what is guarded is no formula."""
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.tuples(TEXTS, TEXTS), min_size=3, max_size=3))
@pytest.mark.parametrize("raw", [(), ("--raw",)])
def test_verdicts_go_out_and_come_back(shop: Shop, cli: Cli, said: list[tuple[str, str]], raw: tuple[str, ...]) -> None:
    """Exported and imported they say nothing new: each reason and note is what it was, to the letter."""
    if not LEDGER.exists():
        shop.write(
            "night.yaml",
            "version: 1\nprovider: rehearsal\ndefaults: {prompt: grayscale, quality: low}\nsources: [{glob: in/*.png}]\n",
        )
        assert cli("run", "night.yaml", "-q").code == 0
    for slot, (reason, note) in zip(("lamp/edit", "mug/edit", "shoe/edit"), said, strict=True):
        # What is nothing but blanks is nothing; else it is kept as it is.
        say({slot: "rejected"}, reason=reason if reason.strip() else "", note=note if note.strip() else "")
    Path("v.csv").unlink(missing_ok=True)
    assert cli("verdicts", "export", "v.csv", *raw).code == 0
    before = cells_of("v.csv")
    with database(LEDGER) as db:
        db.execute("DELETE FROM decisions")
    assert cli("verdicts", "import", "v.csv", *raw).code == 0
    with database(LEDGER) as db:
        found = db.execute("SELECT slot, reason, note FROM decisions ORDER BY slot").fetchall()
    wanted = [(reason if reason.strip() else "", note if note.strip() else "") for reason, note in said]
    assert [(reason, note) for _, reason, note in found] == wanted
    Path("v.csv").unlink()
    assert cli("verdicts", "export", "v.csv", *raw).code == 0
    assert cells_of("v.csv") == before


def cells_of(name: str) -> list[list[str]]:
    return [*csv.reader(io.StringIO(Path(name).read_text("utf-8"), newline=""))]


def test_a_sheet_that_lies_removes_nothing_of_others(shop: Shop, cli: Cli, delivered: Path) -> None:
    """The folder is where others may write: what this ledger has never made stays, whatever a sheet says of it."""
    from hashlib import sha256

    thesis = Path("hand/thesis.docx")
    thesis.write_bytes(b"years of work")
    sheet = Path("hand/delivery.csv")
    lines = sheet.read_text().splitlines(keepends=True)
    row = [""] * (lines[0].count(",") + 1)
    names = lines[0].strip().split(",")
    row[names.index("file")], row[names.index("sha256")] = thesis.name, sha256(thesis.read_bytes()).hexdigest()
    sheet.write_text("".join(lines) + ",".join(row) + "\r\n")
    for _ in range(2):
        told = cli("deliver", "hand", "night.yaml", "--prune", "--json").json()
        assert (told["left"], told["pruned"], thesis.exists()) == (0, 0, True)


def test_a_sheet_without_an_end_is_not_read(cli: Cli, delivered: Path) -> None:
    """It is no sheet of a delivery, and takes no memory: a line of a gigabyte."""
    import resource

    sheet = Path("hand/delivery.csv")
    with sheet.open("wb") as file:
        file.truncate(1024**3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = cli("deliver", "hand", "night.yaml")
    assert told.code == 2
    assert "exists and is no sheet of a delivery" in told.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
