"""Edits that start from another edit's output: one run from end to end, approval in between, and what goes wrong."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from batchedit.emulator import Faults
from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture, drop_views
from tests.test_crash import wait_for

Cli = Callable[..., Result]
Serve = Callable[..., Served]

EDITS = """\
edits:
  scene:
    from: white
    prompt: "warmer light"
  white: {prompt: "pure white background"}
"""
RUN = ("run", "night.yaml", "--out", "out", "--json", "--no-input")


def manifest(shop: Shop, edits: str = EDITS, rows: str = "sources: [{glob: in/*.png}]\n", more: str = "") -> Path:
    return shop.write("night.yaml", f"version: 1\ndefaults: {{quality: low}}\n{more}{edits}{rows}")


def specs(edit: str) -> dict[str, dict[str, Any]]:
    """What was bought for each item by this edit."""
    with database("out/.batchedit/ledger.db") as db:
        rows = db.execute(
            "SELECT item_id, spec FROM tasks JOIN requests ON key = request_key WHERE edit = ?", (edit,)
        ).fetchall()
    return {item: json.loads(spec) for item, spec in rows}


def bytes_of(path: str) -> str:
    return "sha256:" + sha256(Path(path).read_bytes()).hexdigest()


def decide(shop: Shop, cli: Cli, **verdicts: str) -> Result:
    """Say something about the white pictures of these items."""
    rows = [
        {"slot": f"{item}/white", "verdict": verdict, "reason": "", "note": ""} for item, verdict in verdicts.items()
    ]
    shop.table("verdicts.csv", rows)
    return cli("verdicts", "import", "verdicts.csv", "out")


def test_one_run_buys_both_and_the_second_starts_from_the_first(shop: Shop, cli: Cli) -> None:
    """The order in the file does not matter; what is sent is what was delivered; a second run has nothing to do."""
    manifest(shop)
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["new"], plan["counts"]["waiting"], plan["requests_to_buy"]) == (3, 3, 6)
    assert plan["quote"] == {"low": "0.054", "high": "0.06"}
    result = cli(*RUN)
    assert result.code == 0, result.err + result.out
    assert result.json()["states"]["done"] == 6
    assert result.json()["spent"] == "0.054"
    assert result.json()["waiting"] == {}
    for item, spec in specs("scene").items():
        assert spec["images"][0]["id"] == bytes_of(f"out/white/{item}.png")
    again = cli(*RUN)
    assert (again.code, again.json()["spent"]) == (0, "0.00")
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["done"] == 6
    assert cli("ledger", "check", "out").code == 0


def test_a_plan_says_in_words_what_waits(shop: Shop, cli: Cli) -> None:
    """For people."""
    manifest(shop)
    text = cli("plan", "night.yaml", "--out", "out").out
    assert "      3  wait for the edit they start from: bought as soon as it is done" in text
    assert "quote    $0.054 to $0.06 for 6 pictures" in text


def test_longer_chains_and_variants(shop: Shop, cli: Cli) -> None:
    """Three steps, a variant named, a downstream with variants and samples of its own, an upstream with samples."""
    edits = """\
edits:
  base:
    prompt: "pure white background"
    n: 2
    output: "base/{{ id }}_{{ sample }}.{{ ext }}"
  tone:
    from: base
    variants: {warm: {prompt: "warmer light"}, grey: {prompt: "grayscale"}}
  last: {from: tone/grey, prompt: "mirror it", n: 2}
"""
    manifest(shop, edits, "items:\n  - {id: m, image: in/mug.png}\n")
    result = cli(*RUN)
    assert result.code == 0, result.err + result.out
    assert result.json()["states"]["done"] == 4
    assert specs("tone")["m"]["images"][0]["id"] == bytes_of("out/base/m_1.png")
    assert specs("last")["m"]["images"][0]["id"] == bytes_of("out/tone/mug_grey.png")
    assert shop.outputs() == [
        "base/m_1.png", "base/m_2.png", "last/mug_1.png", "last/mug_2.png", "tone/mug_grey.png", "tone/mug_warm.png",
    ]  # fmt: skip


def test_a_mask_and_references_stay_the_rows_own(shop: Shop, cli: Cli) -> None:
    """Only the picture to edit comes from the other edit."""
    edits = (
        "edits:\n  white: {prompt: white background}\n  scene: {from: white, prompt: warmer, references: in/lamp.png}\n"
    )
    manifest(shop, edits, "items:\n  - {id: m, image: in/mug.png}\n")
    assert cli(*RUN).code == 0
    assert [image["id"] for image in specs("scene")["m"]["images"]] == [
        bytes_of("out/white/mug.png"),
        bytes_of("in/lamp.png"),
    ]


def test_equal_pictures_are_bought_once_along_the_whole_chain(shop: Shop, cli: Cli) -> None:
    """Two rows with one picture: two requests, four files."""
    manifest(shop, rows="items:\n  - {id: a, image: in/mug.png}\n  - {id: b, image: in/mug.png}\n",
             more="")  # fmt: skip
    text = Path("night.yaml").read_text().replace("quality: low", "quality: low, output: '{{ edit }}/{{ id }}.png'")
    Path("night.yaml").write_text(text)
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["duplicate"], plan["requests_to_buy"]) == (2, 2)
    result = cli(*RUN)
    assert (result.code, result.json()["states"]["done"], result.json()["spent"]) == (0, 2, "0.018")
    assert shop.outputs() == ["scene/a.png", "scene/b.png", "white/a.png", "white/b.png"]


@pytest.mark.parametrize("at_once", [True, False])
def test_different_edits_that_bring_the_same_picture(shop: Shop, cli: Cli, at_once: bool) -> None:
    """What starts from them is one request; a task that comes to it when it is done is delivered in the same run."""
    first = "  one: {prompt: 'mirror it'}\n  onward: {from: one, prompt: 'warmer light'}\n"
    later = (
        "  two: {prompt: 'mirror it  please'}\n  and: {from: two, prompt: 'warmer light'}\n"
        "  last: {from: and, prompt: 'grayscale'}\n"
    )
    rows = "items:\n  - {id: m, image: in/mug.png}\n"
    if not at_once:
        manifest(shop, "edits:\n" + first, rows)
        assert cli(*RUN).code == 0
    manifest(shop, "edits:\n" + first + later, rows)
    result = cli(*RUN)
    assert result.code == 0, result.err + result.out
    assert bytes_of("out/one/mug.png") == bytes_of("out/two/mug.png"), "the test is about this"
    assert shop.outputs() == [f"{name}/mug.png" for name in ("and", "last", "one", "onward", "two")]
    assert result.json()["states"]["done"] == 4
    assert cli("report", "out", "--json").json()["total"]["spent"] == "0.036"
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["done"] == 5


@pytest.mark.parametrize("limit", ["0.027", "0.036"])
def test_the_budget_holds_and_the_next_run_goes_on(shop: Shop, cli: Cli, limit: str) -> None:
    """Whatever was bought, the rest is pending or waits, and nothing is bought twice."""
    manifest(shop)
    first = cli(*RUN, "--budget", limit)
    assert first.code == 6
    assert float(first.json()["spent"]) <= float(limit)
    second = cli(*RUN)
    assert second.code == 0, second.out
    assert float(first.json()["spent"]) + float(second.json()["spent"]) == pytest.approx(0.054)
    assert len(shop.outputs()) == 6


# -- approval --------------------------------------------------------------------------------------------------------

GATED = EDITS.replace("from: white", "from: white\n    when: approved")


def test_approval_lets_the_next_run_buy(shop: Shop, cli: Cli) -> None:
    """Exit code 0 although tasks wait; the way to approve is shown; one approved, one rejected, one not looked at."""
    manifest(shop, GATED)
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert plan["counts"]["waiting for approval"] == 3
    assert plan["requests_to_buy"] == 3
    assert plan["quote"]["high"] == plan["quote_after_approval"]["high"] == "0.03"
    run = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert run.code == 0, run.err + run.out
    assert "3 tasks wait for approval: `batchedit verdicts export verdicts.csv" in run.out
    assert "3 tasks wait for approval" in cli("report", "out").out
    assert cli("report", "out", "--json").json()["waiting"] == {"approval": 3}

    sheet = cli("verdicts", "export", "-", "out").out
    assert [line.split(",")[0] for line in sheet.splitlines()] == ["slot", "lamp/white", "mug/white", "shoe/white"]
    lines = sheet.splitlines()
    lines[1] = lines[1].replace(",,,", ",approved,,fine")
    lines[2] = lines[2].replace(",,,", ',rejected,halo,"left, below"')
    shop.write("sheet.csv", "\n".join(lines) + "\n")
    assert cli("verdicts", "import", "sheet.csv", "out").out == "1 approved, 1 rejected\n"
    assert cli("verdicts", "import", "sheet.csv", "out").out == "nothing new in it\n"
    assert "mug,white,," in sheet
    assert ',rejected,halo,"left, below"' in cli("verdicts", "export", "-", "out").out

    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["requests_to_buy"] == 1
    result = cli(*RUN)
    assert (result.code, result.json()["spent"], result.json()["waiting"]) == (0, "0.009", {"approval": 2})
    assert "scene/lamp.png" in shop.outputs()
    assert "scene/mug.png" not in shop.outputs()
    assert decide(shop, cli, mug="approved", shoe="approved").code == 0
    assert cli(*RUN).json()["spent"] == "0.018"
    assert cli(*RUN).json()["spent"] == "0.00"
    assert cli("report", "out", "--json").json()["waiting"] == {}


def test_a_night_that_waits_is_not_settled(shop: Shop, cli: Cli) -> None:
    """A manifest that could be recognised at a glance must be read again as long as tasks wait."""
    shop.write("rows.csv", "id,image\na,https://example.com/a.jpg\n")
    manifest(shop, GATED, "sources: [{csv: rows.csv}]\n")
    assert cli(*RUN).code == 0
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["waiting for approval"] == 1
    assert decide(shop, cli, a="approved").code == 0
    assert cli(*RUN).json()["spent"] == "0.009"
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM meta WHERE name = 'settled'").fetchone() == (1,)


def test_an_approval_is_of_the_picture_that_was_looked_at(shop: Shop, cli: Cli) -> None:
    """Bought again with another prompt, it must be looked at again; the old sheet is refused."""
    manifest(shop, GATED, "items:\n  - {id: mug, image: in/mug.png}\n")
    assert cli(*RUN).code == 0
    sheet = cli("verdicts", "export", "-", "out").out.replace(",,,", ",approved,,")
    shop.write("old.csv", sheet)
    Path("night.yaml").write_text(Path("night.yaml").read_text().replace("pure white", "pure grey"))
    assert cli(*RUN, "--changed").code == 0
    refused = cli("verdicts", "import", "old.csv", "out")
    assert refused.code == 2
    assert 'old.csv:2: "request": mug/white has another picture now than the one that this row is about' in refused.err
    assert "--outdated skip takes the rest" in refused.err
    skipped = cli("verdicts", "import", "old.csv", "out", "--outdated", "skip")
    assert (skipped.code, skipped.out.strip()) == (0, "nothing new in it")
    assert "old.csv:2: mug/white has another picture now" in skipped.err
    assert cli(*RUN).json()["waiting"] == {"approval": 1}


def test_a_rejection_after_an_approval_counts(shop: Shop, cli: Cli) -> None:
    """The latest word is the one that holds, and all of them are kept."""
    manifest(shop, GATED, "items:\n  - {id: mug, image: in/mug.png}\n")
    assert cli(*RUN).code == 0
    assert decide(shop, cli, mug="approved").code == 0
    assert decide(shop, cli, mug="rejected").code == 0
    assert cli(*RUN).json()["waiting"] == {"approval": 1}
    with database("out/.batchedit/ledger.db") as db:
        rows = db.execute("SELECT slot, verdict FROM decisions ORDER BY id").fetchall()
    assert rows == [("mug/white", "approved"), ("mug/white", "rejected")]


WRONG_SHEETS = {
    "no verdict column": ("slot\nmug/white\n", ["s.csv:1: \"verdict\": there is no column 'verdict'."]),
    "no slot column": (
        "verdict\napproved\n",
        ["s.csv:1: \"slot\": there is neither a column 'slot' nor a column 'id'."],
    ),
    "another word": (
        "slot,verdict\nmug/white,aproved\n",
        ['s.csv:2: "verdict": \'aproved\' is not one of approved, rejected, undecided. Did you mean "approved"?'],
    ),
    "no such task": (
        "slot,verdict\nmug/white,approved\nmugg/white,approved\n",
        ['s.csv:3: "slot": there is no task \'mugg/white\' with pictures. Did you mean "mug/white"?'],
    ),
    "no such item": (
        "id,verdict\nmugg,approved\n",
        ["s.csv:2: \"id\": the item 'mugg' has no such task with pictures"],
    ),
    "several": (
        "id,verdict\nmug,approved\n",
        [
            "s.csv:2: \"id\": the item 'mug' has 2 tasks with pictures."
            " Name one in the column slot: mug/other, mug/white"
        ],
    ),
    "twice": (
        "slot,verdict\nmug/white,approved\n\nmug/white,rejected\n",
        ['s.csv:4: "slot": the task mug/white has a verdict already, in s.csv:2'],
    ),
    "nameless": ("id,verdict\n,approved\n", ['s.csv:2: "id": the row names no task']),
    "too few cells": ("id,verdict,note\nmug,approved\n", ["s.csv:2: the row has 2 cells, the header 3."]),
    "absent": (None, ["s.csv: cannot be read: No such file or directory"]),
}


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one item and two edits, done."""
    from batchedit.cli import run

    root = tmp_path_factory.mktemp("reviewed")
    draw_picture(root / "in/mug.png", (40, 90, 160))
    (root / "n.yaml").write_text(
        "version: 1\nedits: {white: {prompt: grayscale}, other: {prompt: mirror}}\n"
        f"items: [{{id: mug, image: {root}/in/mug.png}}]\n"
    )
    assert run(["run", str(root / "n.yaml"), "--out", str(root / "out"), "-q"]) == 0
    return root / "out"


@pytest.mark.parametrize("case", WRONG_SHEETS)
def test_wrong_sheets(shop: Shop, cli: Cli, reviewed: Path, case: str) -> None:
    """The line and what to do; nothing of the sheet is taken."""
    text, expected = WRONG_SHEETS[case]
    if text is not None:
        shop.write("s.csv", text)
    result = cli("verdicts", "import", "s.csv", reviewed)
    assert result.code == 2
    assert all(line in result.err for line in expected), result.err
    assert "rejected" not in cli("verdicts", "export", "-", reviewed).out


def test_an_export_replaces_no_file(shop: Shop, cli: Cli, reviewed: Path) -> None:
    """Somebody may have spent a morning on it."""
    assert cli("verdicts", "export", "sheet.csv", reviewed).code == 0
    again = cli("verdicts", "export", "sheet.csv", reviewed)
    assert again.code == 2
    assert "sheet.csv exists already" in again.err


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_failed_upstream_leaves_the_rest_waiting(shop: Shop, serve: Serve, cli: Cli) -> None:
    """Exit code 3 and a line; nothing is bought for it; once it succeeds, the same command goes on."""
    served = serve(Faults(failed_validation=1.0))
    served.manifest(shop, name="night.yaml", edits="{white: {prompt: gray}, scene: {from: white, prompt: warm}}")
    result = cli(*RUN)
    assert result.code == 3, result.out
    assert result.json()["waiting"] == {"failed": 3}
    assert len(served.audit()["starts"]) == 3
    assert "3 tasks wait for an edit that has not succeeded" in cli("report", "out").out
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["blocked"], plan["requests_to_buy"]) == (3, 0)
    served.emulator._service.faults = served.emulator._service.chance._faults = Faults()
    assert cli("retry", "out").code == 0
    result = cli(*RUN)
    assert result.code == 0, result.out
    assert len(shop.outputs()) == 6


def test_an_upstream_that_is_not_in_the_row(shop: Shop, cli: Cli) -> None:
    """A row that wants the second edit only: work is left, and the line says why; done before, it is enough."""
    rows = "items:\n  - {id: mug, image: in/mug.png, edit: scene}\n"
    manifest(shop, rows=rows)
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["blocked"], plan["requests_to_buy"]) == (1, 0)
    result = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert result.code == 6
    assert "1 task waits for an edit that this run did not have" in result.out
    manifest(shop, rows=rows.replace(", edit: scene", ", edit: white"))
    assert cli(*RUN).code == 0
    manifest(shop, rows=rows)
    assert cli(*RUN).code == 0
    assert shop.outputs() == ["scene/mug.png", "white/mug.png"]


def test_another_upstream_picture_shows_as_changed(shop: Shop, cli: Cli) -> None:
    """Not bought without consent; with it, in the same run as the upstream, which replaces both files."""
    manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png}\n")
    assert cli(*RUN).code == 0
    before = bytes_of("out/scene/mug.png")
    Path("night.yaml").write_text(Path("night.yaml").read_text().replace("pure white", "pure grey"))
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["changed"], plan["counts"]["done"]) == (1, 1), "the old output is still delivered"
    plan = cli("plan", "night.yaml", "--out", "out", "--json", "--changed").json()
    assert (plan["counts"]["new"], plan["counts"]["waiting"]) == (1, 1)
    result = cli(*RUN, "--changed")
    assert (result.code, result.json()["spent"]) == (0, "0.018"), result.out
    assert bytes_of("out/scene/mug.png") != before
    assert specs("scene")["mug"]["images"][0]["id"] == bytes_of("out/white/mug.png")
    assert cli(*RUN).json()["spent"] == "0.00"


def test_an_upstream_bought_anew_without_consent_for_the_rest(shop: Shop, cli: Cli) -> None:
    """A new revision of the first edit alone: the second one is held back, and the exit code says that work is left."""
    manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png}\n")
    assert cli(*RUN).code == 0
    with database("out/.batchedit/ledger.db") as db:
        db.execute(
            "UPDATE requests SET state = 'lost' WHERE key = (SELECT request_key FROM tasks WHERE edit = 'white')"
        )
    assert cli("retry", "out", "--state", "lost").code == 0
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["new"], plan["counts"]["changed"]) == (1, 1)
    result = cli(*RUN)
    assert (result.json()["spent"], result.json()["held_back"]) == ("0.009", 1)


def test_a_raw_that_has_gone_is_taken_from_where_it_was_delivered(shop: Shop, cli: Cli) -> None:
    """The same bytes lie in the tree; if they do not, nothing is bought for them."""
    manifest(shop, GATED, "items:\n  - {id: mug, image: in/mug.png}\n  - {id: shoe, image: in/shoe.png}\n")
    assert cli(*RUN).code == 0
    assert decide(shop, cli, mug="approved", shoe="approved").code == 0
    for raw in Path("out/.batchedit/raw").glob("??/*"):
        raw.unlink()
    Path("out/white/shoe.png").write_bytes(Path("in/lamp.png").read_bytes())
    result = cli(*RUN)
    assert (result.code, result.json()["spent"]) == (3, "0.009"), result.out
    assert specs("scene")["mug"]["images"][0]["id"] == bytes_of("out/white/mug.png")
    assert "scene/shoe.png" not in shop.outputs()


# -- crashes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def night(shop: Shop, serve: Serve) -> Served:
    """Eight pictures, two edits each, slow enough to be interrupted."""
    for number in range(8):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (20 * number, 90, 200 - 10 * number), side=64)
    served = serve(latency=(0.2, 0.5), create_delay=(0.02, 0.1))
    served.manifest(
        shop,
        rows="sources:\n  - glob: many/*.png\n",
        edits="{white: {prompt: 'white background'}, scene: {from: white, prompt: warmer}}",
        limits="{timeout: 1, list_lag: 0, deadline: 20, poll: 0.1, concurrency: 4}",
    )
    return served


def test_kill_9_between_the_first_edit_and_the_second(shop: Shop, night: Served, cli: Cli) -> None:
    """Killed as soon as first edits are done, twice: everything finishes, one bill for each request."""

    def is_between() -> bool:
        try:
            with database("out/.batchedit/ledger.db") as db:
                rows = db.execute("SELECT edit, state FROM tasks JOIN requests ON key = request_key").fetchall()
        except sqlite3.Error:
            return False
        return ("white", "done") in rows and ("scene", "done") not in rows

    for condition in (is_between, lambda: len(night.audit()["starts"]) >= 9):
        process = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
        wait_for(lambda wanted=condition, end=process: wanted() or end.poll() is not None)  # type: ignore[misc]
        process.kill()
        process.communicate()
    result = cli(*RUN)
    assert result.code == 0, result.err + result.out
    audit = night.audit()
    assert [entry["billed_runs"] for entry in audit["by_client_ref"].values()] == [1] * 16
    assert len(shop.outputs()) == 16
    for item, spec in specs("scene").items():
        assert spec["images"][0]["id"] == bytes_of(f"out/white/{item}.png")
    report = cli("report", "out", "--json").json()
    assert round(float(report["total"]["spent"]) * 1_000_000) == audit["billed_microusd_total"]


def test_tags_are_kept_with_the_task(shop: Shop, cli: Cli) -> None:
    """Also while it waits, and when it waits no longer."""
    manifest(shop, GATED.replace("when: approved", "when: approved\n    tags: [late]"),
             "items:\n  - {id: m, image: in/mug.png, tags: [hero, new]}\n")  # fmt: skip
    assert cli(*RUN).code == 0
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT tags FROM waiting").fetchone() == ('["late", "hero", "new"]',)
        assert db.execute("SELECT tags FROM tasks").fetchone() == ('["hero", "new"]',)
    assert decide(shop, cli, m="approved").code == 0
    assert cli(*RUN).code == 0
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT tags FROM tasks WHERE edit = 'scene'").fetchone() == ('["late", "hero", "new"]',)


def test_an_older_ledger_can_be_read_before_it_is_brought_up_to_date(shop: Shop, cli: Cli) -> None:
    """Reading changes nothing in it; the tables of chains may not be there yet."""
    manifest(shop, "edits: {white: {prompt: grayscale}}\n")
    assert cli(*RUN).code == 0
    with database("out/.batchedit/ledger.db") as db:
        drop_views(db)
        db.executescript("ALTER TABLE tasks DROP COLUMN tags; DROP TABLE waiting; DROP TABLE decisions;"
                         " PRAGMA user_version = 3;"
                         " DELETE FROM _sqlite_migrations WHERE name = 'chains';")  # fmt: skip
    manifest(shop, GATED)
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["waiting for approval"] == 3
    assert cli("report", "out", "--json").json()["waiting"] == {}
    assert cli("ls", "out", "--json", "verdict,tags").json() == 3 * [{"verdict": "none", "tags": []}]
    assert cli("ls", "out", "--select", "verdict:approved").code == 5
    assert cli(*RUN).json()["waiting"] == {"approval": 3}
