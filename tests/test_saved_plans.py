"""A saved plan is consent to exactly what it says: it is carried out as it was, or refused with what has changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchedit import load_manifest, make_plan, run_plan_sync
from batchedit.errors import UsageError
from batchedit.saved_plans import load_plan, reopen, save_plan
from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture, insist

Cli = Callable[..., Result]
Serve = Callable[..., Served]

ROWS = [
    {"id": name, "image": f"in/{name}.png", "prompt": "grayscale", "quality": "low", "label.client": client}
    for name, client in (("mug", "acme"), ("shoe", "acme"), ("lamp", "zeta"))
]


@pytest.fixture
def night(shop: Shop) -> Shop:
    """Three edits, and defaults beside them."""
    shop.table("night.csv", ROWS)
    shop.write("night.defaults.yaml", "defaults: {output: '{{ id }}.png'}\n")
    return shop


def test_a_saved_plan_is_carried_out(cli: Cli, night: Shop) -> None:
    """Without asking, from wherever it is called; afterwards it has nothing left to do."""
    said = cli("plan", "night.csv", "--select", "client:acme", "--out", "pictures", "--save", "night.json")
    assert said.code == 0
    assert "`batchedit run night.json` does exactly this" in said.out
    assert not (night.root / "pictures").exists()
    run = cli("run", "night.json", "--json", "--no-input")
    assert (run.code, run.json()["states"]["done"], run.json()["budget"]) == (0, 2, "0.02")
    assert night.outputs("pictures") == ["mug.png", "shoe.png"]
    again = cli("run", "night.json", "--json").json()
    assert (again["exit_code"], again["spent"]) == (0, "0.00")


def test_it_is_small_and_names_everything(cli: Cli, night: Shop) -> None:
    """What it says is there to be read; the tasks themselves are not."""
    rows = "".join(f"r{n},https://example.com/a.jpg,warmer {n}\n" for n in range(3_000))
    night.write("big.csv", "id,image,prompt\n" + rows)
    night.write("big.defaults.yaml", "defaults: {output: '{{ id }}.png'}\n")
    cli("plan", "big.csv", "--save", "big.json")
    path = night.root / "big.json"
    assert path.stat().st_size < 4_000
    said = json.loads(path.read_text())
    assert (said["tasks"], said["requests_to_buy"], said["quote"]["low"]) == (3_000, 3_000, "399.00")
    assert [Path(name).name for name in said["files"]] == ["big.csv", "big.defaults.yaml"]
    assert said["price_list"]


def test_real_money_needs_no_other_consent(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The amount was agreed to, and it holds: also where the manifest would allow more."""
    served = serve()
    path = served.manifest(shop, budget="{run: 50}")
    assert cli("plan", path, "--save", "night.json").code == 0
    result = cli("run", "night.json", "--json", "--no-input")
    assert (result.code, result.json()["budget"]) == (0, "0.03")
    assert served.audit()["billed_runs_total"] == 3


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--budget", "5"), "--budget"),
        (("--select", "mug"), "--select"),
        (("--quality", "high", "--changed"), "--quality, --changed"),
        (("--format", "png"), "--format"),
        (("--out", "out"), "--out"),
        (("--rehearse",), "--rehearse"),
        (("--sample", "1"), "--sample"),
        (("--ids-from", "ids.txt"), "--ids-from"),
        (("--on-unknown", "resend"), "--on-unknown"),
    ],
)
def test_flags_that_change_what_is_bought_are_refused(
    cli: Cli, night: Shop, flags: tuple[str, ...], names: str
) -> None:
    """Also where they would say the same."""
    cli("plan", "night.csv", "--save", "night.json")
    result = cli("run", "night.json", *flags)
    assert result.code == 2
    for name in names.split(", "):
        assert name in result.err
    assert "cannot be given with a saved plan" in result.err
    assert not (night.root / "out").exists()
    assert cli("run", "night.json", "--rate", "600", "--concurrency", "3", "-q", "--yes", "--max-fail", "2").code == 0


def another_row(night: Shop) -> None:
    night.table("night.csv", [*ROWS, {**ROWS[0], "id": "more"}])


def another_default(night: Shop) -> None:
    night.write("night.defaults.yaml", "defaults: {output: '{{ id }}x.png'}\n")


def no_defaults(night: Shop) -> None:
    (night.root / "night.defaults.yaml").unlink()


def another_picture(night: Shop) -> None:
    draw_picture(night.root / "in/mug.png", (9, 9, 9))


def a_bought_task(night: Shop) -> None:
    plan = make_plan(load_manifest(night.root / "night.csv"), select=["mug"])
    run_plan_sync(plan)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_row, "night.csv has changed"),
        (another_default, "night.defaults.yaml has changed"),
        (no_defaults, "night.defaults.yaml is gone"),
        (another_picture, "what is wanted: pictures, or which tasks are selected"),
        (a_bought_task, "where the tasks stand in the ledger (done 0 -> 1, new 3 -> 2)"),
    ],
)
def test_a_changed_world_is_refused_with_what_has_changed(
    cli: Cli, night: Shop, change: Callable[[Shop], None], words: str
) -> None:
    """Exit code 2, before anything is sent; and the way to a new one."""
    cli("plan", "night.csv", "--save", "night.json")
    assert reopen(load_plan("night.json")).agreed is not None
    change(night)
    before = cli("status", "out").out
    result = cli("run", "night.json", "--json")
    assert result.code == 2
    assert "does not hold any more; nothing was sent" in result.err
    assert words in result.err
    assert "--save night.json" in result.err
    assert cli("status", "out").out == before


def test_a_new_table_beside_it_is_a_change(cli: Cli, night: Shop) -> None:
    """Defaults that were not there when it was saved."""
    (night.root / "night.defaults.yaml").unlink()
    cli("plan", "night.csv", "--save", "night.json")
    night.write("night.defaults.yaml", "defaults: {}\n")
    assert "night.defaults.yaml is new" in cli("run", "night.json").err


def test_other_prices_are_a_change(night: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was agreed to was another amount."""
    from dataclasses import replace

    from batchedit import planner
    from batchedit.model import Quote
    from batchedit.money import MicroUSD
    from batchedit.pricing import shipped_prices

    saved = save_plan(make_plan(load_manifest("night.csv")), "night.json")
    prices = shipped_prices()
    dearer = tuple(
        replace(line, quote=Quote(low=line.quote.low, high=MicroUSD(line.quote.high * 2))) for line in prices.lines
    )
    monkeypatch.setattr(planner, "shipped_prices", lambda: replace(prices, version="2030-01", lines=dearer))
    with pytest.raises(UsageError) as caught:
        reopen(saved)
    assert f"prices are those of 2030-01, and were those of {prices.version}" in str(caught.value)
    assert "the prices of what is wanted" in str(caught.value)


def test_another_picture_in_the_folder_is_a_change(cli: Cli, shop: Shop) -> None:
    """A glob finds it: that is another set of tasks."""
    assert cli("plan", "in/*.png", "--prompt", "grayscale", "--save", "night.json").code == 0
    assert reopen(load_plan("night.json")).figures.tasks == 3
    draw_picture(shop.root / "in/new.png", (1, 2, 3))
    assert "which tasks are selected (4 tasks, there were 3)" in cli("run", "night.json").err


def test_an_interrupted_saved_plan_is_gone_on_with(cli: Cli, shop: Shop, serve: Serve) -> None:
    """What its own runs have done is no change; and all of them together keep to what was agreed."""
    served = serve(latency=(0.3, 0.3))
    path = served.manifest(shop)
    assert cli("plan", path, "--save", "night.json").code == 0
    process = command("run", "night.json", "--concurrency", "1", "-q", cwd=shop.root, key=KEY)
    deadline = time.monotonic() + 30
    while served.audit()["billed_runs_total"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    insist(process)
    bought = served.audit()["billed_runs_total"]
    assert bought < 3
    rest = cli("run", "night.json", "--json").json()
    assert (rest["exit_code"], rest["states"]["done"], rest["budget"]) == (0, 3, "0.03")
    assert float(rest["spent_before"]) + float(rest["spent"]) == pytest.approx(0.027)
    assert served.audit()["billed_runs_total"] == 3
    with database("out/.batchedit/ledger.db") as db:
        assert {row[0] for row in db.execute("SELECT plan FROM runs")} == {load_plan("night.json").digest}


def test_a_run_of_something_else_in_between(cli: Cli, night: Shop) -> None:
    """It is no change as long as it leaves these tasks alone."""
    cli("plan", "night.csv", "--save", "night.json")
    night.table("more.csv", [{**ROWS[0], "id": "more", "prompt": "warmer", "output": "more.png"}])
    assert cli("run", "more.csv", "--json").code == 0
    assert cli("run", "night.json", "--json").code == 0


def test_what_others_have_left_open_is_not_taken_from_it(cli: Cli, night: Shop) -> None:
    """Held money of another run cannot be taken back; the agreed amount comes on top."""
    assert cli("run", "night.csv", "--json", "--select", "lamp").code == 0
    with database("out/.batchedit/ledger.db") as db:
        db.execute("UPDATE requests SET state = 'unknown'")
        db.execute("UPDATE attempts SET outcome = NULL, ended_at = NULL, cost_microusd = 0, reserved_microusd = 90000")
        db.execute("DELETE FROM outputs")
        db.execute("DELETE FROM raws")
    (night.root / "out/lamp.png").unlink()
    assert cli("plan", "night.csv", "--exclude", "lamp", "--save", "night.json").code == 0
    run = cli("run", "night.json", "--json").json()
    assert run["states"]["done"] >= 2
    assert run["budget"] == "0.11"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "is no saved plan"),
        ("[1]", "is no saved plan"),
        ("not json", "is no saved plan"),
        ("[" * 100_000, "is no saved plan"),
        ('{"x": [' + "[]," * 6_000_000 + "0]}", "has more than 5000000 values"),
        ('{"kind": "batchedit saved plan", "version": 9}', "has version 9; this program reads 1"),
        ('{"kind": "batchedit saved plan", "version": 1, "digest": "x"}', "was altered after it was saved"),
    ],
)
def test_what_is_no_saved_plan_is_told(cli: Cli, night: Shop, text: str, words: str) -> None:
    """And is never written over."""
    path = night.write("night.json", text)
    result = cli("run", "night.json")
    assert result.code == 2
    assert words in result.err
    saving = cli("plan", "night.csv", "--save", "night.json")
    assert saving.code == 2
    assert "exists and is no saved plan" in saving.err
    assert path.read_text() == text


def test_an_altered_amount_is_refused(cli: Cli, night: Shop) -> None:
    """Nobody agrees to another one by editing the file."""
    cli("plan", "night.csv", "--save", "night.json")
    path = night.root / "night.json"
    path.write_text(
        path.read_text().replace('"high": "0.02', '"high": "9.02').replace('"high": "0.03', '"high": "9.03')
    )
    assert "was altered" in cli("run", "night.json").err


def _forged(path: Path, change: Callable[[Any], Any]) -> None:
    """A saved plan that somebody else has written, with a digest that fits: that needs no secret."""
    content = json.loads(path.read_text())
    content.pop("digest")
    change(content)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    path.write_text(json.dumps({**content, "digest": digest}))


@pytest.mark.parametrize("value", [7, None, {"x": []}, "\ud800"])
def test_a_forged_plan_is_refused(cli: Cli, night: Shop, value: object) -> None:
    """Whatever stands at any place of it: a word about it, and nothing bought that it does not say."""
    assert cli("plan", "night.csv", "--save", "night.json").code == 0
    path, said = night.root / "night.json", json.loads((night.root / "night.json").read_text())
    plain = path.read_text()
    places: list[tuple[str, ...]] = [(name,) for name in said if name != "digest"]
    places += [("flags", name) for name in said["flags"]] + [("seals", name) for name in said["seals"]]
    for place in places:

        def change(content: Any, place: tuple[str, ...] = place) -> None:
            for name in place[:-1]:
                content = content[name]
            content[place[-1]] = value

        path.write_text(plain)
        _forged(path, change)
        result = cli("run", "night.json", "--no-input")
        assert (result.code in (0, 2), "bug" in result.err) == (True, False), (place, result.err)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["files"].update({"/dev/zero": "0" * 64}),
        lambda said: said["files"].update({"pipe": "0" * 64}),
        lambda said: said["flags"].update(ids_from="/dev/zero"),
        lambda said: said["flags"].update(ids_from="pipe"),
        lambda said: said["quote"].update(high="much"),
    ],
)
def test_a_forged_plan_waits_for_nothing(cli: Cli, night: Shop, change: Callable[[Any], Any]) -> None:
    """Files without an end are not read, and amounts are looked at before anything else."""
    assert cli("plan", "night.csv", "--save", "night.json").code == 0
    os.mkfifo(night.root / "pipe")
    _forged(night.root / "night.json", change)
    result = cli("run", "night.json", "--no-input")
    assert (result.code, "bug" in result.err) == (2, False)
    assert not (night.root / "out").exists()


def test_a_plan_that_others_can_change_is_not_run(cli: Cli, night: Shop) -> None:
    """It is consent to buy: whoever can write it must be whoever starts it."""
    assert cli("plan", "night.csv", "--save", "night.json").code == 0
    (night.root / "night.json").chmod(0o666)
    refused = cli("run", "night.json", "--no-input")
    assert refused.code == 2
    assert "the saved plan night.json can be changed by everybody (mode 0666)" in refused.err
    assert not (night.root / "out").exists()
    (night.root / "night.json").chmod(0o600)
    assert cli("run", "night.json", "--no-input").code == 0


def test_ids_and_samples_are_part_of_it(cli: Cli, night: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of ids by its digest, ids from standard input by themselves, a sample by its seed."""
    import io

    night.write("ids.txt", "mug\nshoe\n")
    cli("plan", "night.csv", "--ids-from", "ids.txt", "--save", "a.json")
    assert reopen(load_plan("a.json")).figures.tasks == 2
    night.write("ids.txt", "mug\n")
    assert "ids.txt has changed" in cli("run", "a.json").err
    monkeypatch.setattr("sys.stdin", io.StringIO("lamp\n"))
    cli("plan", "night.csv", "--ids-from", "-", "--save", "b.json")
    assert reopen(load_plan("b.json")).figures.tasks == 1
    cli("plan", "night.csv", "--sample", "2", "--stratify", "client", "--save", "c.json")
    assert cli("run", "c.json", "--json").json()["states"]["done"] == 2


def test_a_rehearsal_can_be_saved(cli: Cli, night: Shop) -> None:
    """It keeps to its own tree, and to the flags that it was planned with."""
    night.write("night.defaults.yaml", "provider: runflow\ndefaults: {output: '{{ id }}.png'}\n")
    assert cli("plan", "night.csv", "--rehearse", "--quality", "high", "--save", "night.json").code == 0
    run = cli("run", "night.json", "--json").json()
    assert (run["states"]["done"], run["rehearsal"], run["spent"]) == (3, True, "0.399")
    assert night.outputs("out/.batchedit/rehearsal") == ["lamp.png", "mug.png", "shoe.png"]


def test_a_finished_plan_can_be_saved_too(cli: Cli, shop: Shop) -> None:
    """Though it would be recognised at a glance: saving looks at every task."""
    shop.write("night.csv", "id,image,prompt\na,https://example.com/a.jpg,on white\n")
    cli("run", "night.csv", "--json")
    plan = make_plan(load_manifest("night.csv"))
    assert plan.mark is not None
    with pytest.raises(UsageError, match="glance=False"):
        save_plan(plan, "night.json")
    assert cli("plan", "night.csv", "--save", "night.json").code == 0
    assert cli("run", "night.json", "--json").json()["spent"] == "0.00"
    wrong = cli("plan", "night.csv", "--save", "night.txt")
    assert wrong.code == 2
    assert "does not end in .json" in wrong.err


def test_defaults_beside_a_table_are_named_and_can_be_left_alone(cli: Cli, night: Shop) -> None:
    """The plan says that it takes them; without them it is another plan, also when it was saved."""
    night.write("night.defaults.yaml", "defaults: {output: 'new/{{ id }}.png'}\nbudget: {run: 1}\n")
    taken = cli("plan", "night.csv")
    assert "  defaults from night.defaults.yaml\n" in taken.out
    assert cli("plan", "night.csv", "--json").json()["defaults_file"] == "night.defaults.yaml"
    left = cli("plan", "night.csv", "--no-sibling", "--save", "night.json")
    assert "defaults from" not in left.out
    assert "budget" not in left.out
    assert cli("plan", "night.csv", "--no-sibling", "--json").json()["defaults_file"] is None
    assert cli("run", "night.json", "--no-sibling").code == 2
    assert cli("run", "night.json", "--json").code == 0
    assert night.outputs() == ["lamp.png", "mug.png", "shoe.png"]
    # That all is done without the defaults says nothing about the plan with them.
    assert cli("plan", "night.csv", "--json").json()["counts"]["render"] == 3
    assert cli("plan", "night.csv", "--no-sibling", "--json").json()["counts"]["done"] == 3


def test_verdicts_that_came_later_are_no_part_of_the_consent(cli: Cli, shop: Shop) -> None:
    """Also after a run of the plan: what it waits for was not approved when somebody agreed to it."""
    shop.write(
        "chain.yaml",
        "version: 1\ndefaults: {quality: low}\nsources: [{glob: in/*.png}]\nedits:\n  white: {prompt: on white}\n"
        "  scene: {from: white, when: approved, prompt: on a table}\n",
    )
    assert cli("plan", "chain.yaml", "--save", "p.json").code == 0
    assert cli("run", "p.json", "--json").json()["spent"] == "0.027"
    assert cli("run", "p.json", "--json").json()["spent"] == "0.00"
    shop.table("said.csv", [{"slot": "mug/white", "verdict": "approved"}])
    assert cli("verdicts", "import", "said.csv", "out").code == 0
    refused = cli("run", "p.json")
    assert refused.code == 2
    assert "what people have said about pictures that others start from" in refused.err
    assert "scene/mug.png" not in shop.outputs()
    assert cli("plan", "chain.yaml", "--save", "p.json").code == 0
    assert cli("run", "p.json", "--json").json()["spent"] == "0.009"


@pytest.mark.parametrize("chosen", [(), ("--select", "edit:grey|crop")])
def test_a_chain_is_gone_on_with(cli: Cli, shop: Shop, chosen: tuple[str, ...]) -> None:
    """A task means the same before and after the picture that it starts from has come; another picture is a change."""
    text = (
        "version: 1\ndefaults: {quality: low}\nsources: [{glob: in/*.png}]\nedits:\n  white: {prompt: on white}\n"
        "  grey: {from: white, prompt: grayscale}\n  crop: {from: grey, prompt: crop it}\n"
    )
    shop.write("chain.yaml", text)
    if chosen:
        assert cli("run", "chain.yaml", "--json", "--select", "edit:white").code == 0
    assert cli("plan", "chain.yaml", *chosen, "--save", "p.json").code == 0
    first = cli("run", "p.json", "--json", "--max-fail", "1").json()
    again = cli("run", "p.json", "--json")
    assert (first["exit_code"], again.code) == (0, 0), again.err
    assert (again.json()["spent"], again.json()["spent_before"]) == ("0.00", first["spent"])
    assert len(shop.outputs()) == 9
    shop.write("chain.yaml", text.replace("on white", "pure white background"))
    assert cli("run", "chain.yaml", "--json", "--changed", "--select", "edit:white").code == 0
    shop.write("chain.yaml", text)
    refused = cli("run", "p.json")
    assert refused.code == 2
    assert "Changed since it was saved:\n  " in refused.err
