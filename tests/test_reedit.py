"""Re-edits: rejected pictures are bought once more with another prompt, and nothing is bought twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchedit import Ledger, load_manifest
from batchedit.errors import NothingSelected, UsageError
from batchedit.ledger.decisions import DecisionBook, Ruling
from batchedit.ledger.records import Decision, Wish
from batchedit.reediting import drop_reedits, make_reedit
from tests.conftest import Result, Served, Shop, draw_picture

Cli = Callable[..., Result]
LEDGER = Path("out/.batchedit/ledger.db")


def say(verdicts: dict[str, str], *, reason: str = "", note: str = "", ledger: Path = LEDGER) -> None:
    """Somebody says something about the pictures that tasks have."""
    with Ledger(ledger) as reader:
        known = {task.slot: task.key for task in reader.reviewed()}
    with DecisionBook(ledger) as book:
        said = [
            Ruling(decision=Decision(slot=slot, key=known[slot], verdict=verdict, reason=reason, note=note, who="ada"))
            for slot, verdict in verdicts.items()
        ]
        assert all(book.decide(said))


def wish(slot: str, prompt: str, note: str = "") -> None:
    with Ledger(LEDGER) as reader:
        known = {task.slot: task.key for task in reader.reviewed()}
    with DecisionBook(LEDGER) as book:
        assert book.wish(Wish(slot=slot, key=known[slot], prompt=prompt, note=note, who="ada"))


def shown(cli: Cli, slot: str) -> Any:
    return cli("show", slot, "out", "--json").json()


@pytest.fixture
def night(shop: Shop, serve: Callable[..., Served], cli: Cli) -> Served:
    """Four edits, bought; two of them are rejected."""
    draw_picture(shop.root / "in" / "bowl.png", (20, 120, 60))
    served = serve()
    served.manifest(shop)
    assert cli("run", "night.yaml").code == 0
    say({"bowl/edit": "rejected", "mug/edit": "rejected"}, reason="halo", note="left side")
    say({"shoe/edit": "approved"})
    return served


def slots(cli: Cli, *select: str) -> list[str]:
    found = cli("ls", "out", "--json", "slot", *(part for each in select for part in ("--select", each)))
    return sorted(entry["slot"] for entry in found.json()) if found.code == 0 else []


def test_rejects_are_bought_once_more_under_their_names(night: Served, cli: Cli, shop: Shop) -> None:
    """A new revision takes the place of the old file; the old picture is kept, listed, and counts as superseded."""
    before = {name: (shop.root / "out" / name).read_bytes() for name in shop.outputs()}
    billed = night.audit()["billed_microusd_total"]
    done = cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, sepia ({{ reason }}: {{ note }})")
    assert done.code == 0, done.err
    assert "2  to buy" in done.err
    assert "with the prompt of a re-edit" in done.err
    after = {name: (shop.root / "out" / name).read_bytes() for name in shop.outputs()}
    assert after.keys() == before.keys()
    assert sorted(name for name in after if after[name] != before[name]) == ["bowl.png", "mug.png"]
    task = shown(cli, "mug")
    assert task["prompt"] == "grayscale, sepia (halo: left side)"
    old, new = task["revisions"]
    listed = f"before    revision 1, rejected (halo), ${old['cost_usd']}: {old['raws'][0]}"
    assert listed in cli("show", "mug", "out").out
    assert (old["revision"], old["verdict"], old["reason"], old["current"]) == (1, "rejected", "halo", False)
    assert (new["revision"], new["verdict"], new["current"]) == (2, "none", True)
    assert (shop.root / "out" / ".batchedit" / "raw" / old["raws"][0]).read_bytes() == before["mug.png"]
    total = cli("report", "out", "--json").json()["total"]
    assert set(total["waste"]) == {"superseded"}
    spent = night.audit()["billed_microusd_total"]
    assert micro(total["spent"]) == spent
    assert micro(total["useful"]) + micro(total["wasted"]) == spent
    assert micro(total["waste"]["superseded"]) == billed // 2


def micro(dollars: str) -> int:
    return round(float(dollars) * 1_000_000)


def test_a_later_run_neither_buys_the_old_prompt_nor_forgets_the_new_one(night: Served, cli: Cli, shop: Shop) -> None:
    """`run` and `plan` of the same manifest have nothing to do, and the plan says that there is a re-edit."""
    cli("reedit", "night.yaml", "--prompt", "sepia")
    files = {name: (shop.root / "out" / name).read_bytes() for name in shop.outputs()}
    billed = night.audit()["billed_microusd_total"]
    plan = cli("plan", "night.yaml")
    assert "nothing to buy" in plan.out
    assert "2  with the prompt of a re-edit instead of the manifest's, until `batchedit reedit --drop`" in plan.out
    told = cli("plan", "night.yaml", "--json").json()["reedits"]
    assert told["count"] == 2
    assert told["first"][0] == {"task": "bowl/edit", "revision": 2, "prompt": "sepia"}
    assert cli("run", "night.yaml").code == 0
    assert night.audit()["billed_microusd_total"] == billed
    assert {name: (shop.root / "out" / name).read_bytes() for name in shop.outputs()} == files


def test_the_same_re_edit_given_twice_buys_once(night: Served, cli: Cli) -> None:
    """By verdict nothing is selected any more, by name it is done; a picture that is rejected again may be had again."""
    cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, sepia")
    billed = night.audit()["billed_microusd_total"]
    assert cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, sepia").code == 5
    again = cli("reedit", "night.yaml", "--select", "mug", "--prompt", "{{ prompt }}, sepia")
    assert again.code == 0
    assert "nothing to buy" in again.err
    assert night.audit()["billed_microusd_total"] == billed
    say({"mug/edit": "rejected"})
    assert cli("reedit", "night.yaml", "--prompt", "grayscale, sepia").code == 0
    assert night.audit()["billed_microusd_total"] == billed * 7 // 6
    assert shown(cli, "mug")["revision"] == 3
    assert shown(cli, "bowl")["revision"] == 2


def test_without_a_rejected_picture_there_is_nothing_to_do(night: Served, cli: Cli) -> None:
    """Told as that, and not as a selector that nobody has given."""
    say({"bowl/edit": "approved", "mug/edit": "approved"})
    told = cli("reedit", "night.yaml", "--prompt", "sepia")
    assert told.code == 5
    assert "no picture of night.yaml is rejected, so none is to be edited again" in told.err
    assert "batchedit review" in told.err
    assert "selected" in cli("reedit", "night.yaml", "--prompt", "sepia", "--select", "verdict:rejected").err


def test_an_interrupted_re_edit_is_gone_on_with(night: Served, cli: Cli) -> None:
    """By the same command, although the verdicts are about older pictures by then; each is bought once."""
    billed = night.audit()["billed_microusd_total"]
    stopped = cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, sepia", "--budget", "0.00")
    assert stopped.code == 6
    assert night.audit()["billed_microusd_total"] == billed
    assert slots(cli, "verdict:rejected") == []
    resumed = cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, sepia")
    assert resumed.code == 0, resumed.err
    assert "2  to buy" in resumed.err
    assert night.audit()["billed_microusd_total"] == billed * 3 // 2
    assert shown(cli, "mug")["prompt"] == "grayscale, sepia"
    assert shown(cli, "mug")["revision"] == 2


def test_a_plain_run_finishes_an_interrupted_re_edit(night: Served, cli: Cli) -> None:
    """With the new prompt."""
    cli("reedit", "night.yaml", "--prompt", "sepia", "--budget", "0.00")
    assert cli("run", "night.yaml").code == 0
    assert shown(cli, "mug")["prompt"] == "sepia"


def test_another_prompt_in_the_manifest_is_meant(night: Served, cli: Cli, shop: Shop) -> None:
    """Whoever rewrites the manifest after a re-edit is asked: it shows as changed, and nothing is bought silently."""
    cli("reedit", "night.yaml", "--prompt", "sepia")
    billed = night.audit()["billed_microusd_total"]
    night.manifest(shop, defaults="{prompt: 'mirror it', quality: low}")
    run = cli("run", "night.yaml")
    assert run.code == 6
    assert "4  changed since they were bought" in run.err
    assert night.audit()["billed_microusd_total"] == billed


def test_taken_back_a_re_edit_gives_the_old_picture_back(night: Served, cli: Cli, shop: Shop) -> None:
    """For nothing, by the next run; and a re-edit after that is a revision of its own."""
    before = (shop.root / "out" / "mug.png").read_bytes()
    cli("reedit", "night.yaml", "--prompt", "sepia")
    cli("reedit", "night.yaml", "--select", "mug", "--prompt", "mirror it")
    billed = night.audit()["billed_microusd_total"]
    assert shown(cli, "mug")["revision"] == 3
    dropped = cli("reedit", "night.yaml", "--drop", "--select", "mug")
    assert dropped.out.startswith("1 task has the manifest's own prompt again")
    assert drop_reedits("out", select=["mug"]) == 0
    run = cli("run", "night.yaml")
    assert run.code == 0, run.err
    assert "1  with the prompt of a re-edit" in run.err
    assert night.audit()["billed_microusd_total"] == billed
    assert (shop.root / "out" / "mug.png").read_bytes() == before
    say({"mug/edit": "rejected"})
    assert cli("reedit", "night.yaml", "--prompt", "brighter").code == 0
    assert shown(cli, "mug")["revision"] == 4


def test_a_re_edit_that_was_taken_back_is_had_again_for_nothing(night: Served, cli: Cli, shop: Shop) -> None:
    """No run lies between; and taken back once more, the manifest's own picture returns, for nothing too."""
    before = (shop.root / "out" / "mug.png").read_bytes()
    again = ("reedit", "night.yaml", "--select", "mug", "--prompt", "{{ prompt }}, sepia")
    assert cli(*again).code == 0
    sepia = (shop.root / "out" / "mug.png").read_bytes()
    billed = night.audit()["billed_microusd_total"]
    cli("reedit", "night.yaml", "--drop")
    assert cli(*again).code == 0
    assert shown(cli, "mug")["revision"] == 2
    assert shown(cli, "mug")["prompt"] == "grayscale, sepia"
    assert (shop.root / "out" / "mug.png").read_bytes() == sepia
    cli("reedit", "night.yaml", "--drop")
    assert cli("run", "night.yaml", "--changed").code == 0
    assert (shop.root / "out" / "mug.png").read_bytes() == before
    assert cli(*again).code == 0
    assert (shop.root / "out" / "mug.png").read_bytes() == sepia
    assert night.audit()["billed_microusd_total"] == billed


def test_notes_of_a_review_are_carried_out(night: Served, cli: Cli) -> None:
    """Each with its own prompt; a note without one takes that of the command, or stays."""
    wish("lamp/edit", "on an oak table")
    wish("mug/edit", "", "more light")
    first = cli("reedit", "night.yaml", "--from-notes")
    assert first.code == 0, first.err
    assert "1  not re-edited: its note names no prompt: give one for all with --prompt" in first.err
    assert "2  not re-edited: nobody has noted how to edit it again" in first.err
    assert shown(cli, "lamp")["prompt"] == "on an oak table"
    second = cli("reedit", "night.yaml", "--from-notes", "--prompt", "{{ prompt }}; {{ note }}")
    assert second.code == 0, second.err
    assert shown(cli, "mug")["prompt"] == "grayscale; left side more light"
    third = cli("reedit", "night.yaml", "--from-notes")
    assert third.code == 0
    assert "nothing to buy" in third.err


def test_equal_tasks_are_re_edited_apart_and_together(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """Two tasks share a purchase: one is edited again alone, later the other in the same way, for nothing more."""
    served = serve()
    rows = "items:\n  - {id: a, image: in/mug.png}\n  - {id: b, image: in/mug.png}\n"
    served.manifest(shop, rows=rows, defaults="{prompt: grayscale, quality: low, output: '{{ id }}.{{ ext }}'}")
    cli("run", "night.yaml")
    once = served.audit()["billed_microusd_total"]
    say({"b/edit": "rejected"})
    assert cli("reedit", "night.yaml", "--prompt", "sepia").code == 0
    assert served.audit()["billed_microusd_total"] == 2 * once
    assert (shop.root / "out/a.png").read_bytes() != (shop.root / "out/b.png").read_bytes()
    say({"a/edit": "rejected"})
    assert cli("reedit", "night.yaml", "--prompt", "sepia").code == 0
    assert served.audit()["billed_microusd_total"] == 2 * once
    assert (shop.root / "out/a.png").read_bytes() == (shop.root / "out/b.png").read_bytes()


def test_consent_is_asked_for_as_by_run(night: Served, cli: Cli, shop: Shop) -> None:
    """Without a budget and a terminal nothing is sent, and nothing is recorded."""
    night.manifest(shop, budget="{}")
    refused = cli("reedit", "night.yaml", "--prompt", "sepia")
    assert refused.code == 2
    assert "nobody has agreed" in refused.err
    assert shown(cli, "mug")["revision"] == 1
    assert slots(cli, "verdict:rejected") == ["bowl/edit", "mug/edit"]
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "--yes").code == 0


def test_a_dry_run_writes_nothing(night: Served, cli: Cli) -> None:
    """Twice the same plan."""
    first = cli("reedit", "night.yaml", "--prompt", "sepia", "--dry-run")
    assert "2  to buy" in first.out
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "--dry-run", "--json").json()["requests_to_buy"] == 2
    assert shown(cli, "mug")["revision"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prompt", "{{ promt }}"), "--prompt uses {{ promt }}, which is no column or variable here (for bowl/edit)"),
        (("--prompt", "x"), "the new prompt of bowl/edit has 1 characters"),
        (("--prompt", "{{ prompt"), "--prompt is not a valid template"),
        (("--prompt", "use rf_live_abcdefghijklmnop0123456789"), "has in it what looks like an API key"),
        ((), "a re-edit needs a prompt"),
        (("--drop", "--prompt", "sepia"), "--drop goes together with --select and --exclude only"),
        (("--select", "verdict:rejcted", "--prompt", "sepia"), "there is no verdict 'rejcted'"),
    ],
)
def test_what_is_refused(night: Served, cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    """With exit code 2, and in words."""
    refused = cli("reedit", "night.yaml", *arguments)
    assert refused.code == 2
    assert words in refused.err
    assert "rf_live_abcdefghijklmnop0123456789" not in refused.err


def test_tasks_that_were_never_bought_are_left_alone(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """A re-edit of everything buys nothing that `run` has not bought."""
    served = serve()
    served.manifest(shop)
    cli("run", "night.yaml", "--select", "mug")
    billed = served.audit()["billed_microusd_total"]
    done = cli("reedit", "night.yaml", "--select", "id:*", "--prompt", "sepia")
    assert "2  not re-edited: never bought: that is what `run` is for" in done.err
    assert served.audit()["billed_microusd_total"] == 2 * billed


def test_the_library_does_the_same(night: Served, cli: Cli) -> None:
    """`make_reedit` makes a plan that `run_plan_sync` carries out."""
    from batchedit import record_verdicts, run_plan_sync

    manifest = load_manifest("night.yaml")
    plan = make_reedit(manifest, prompt="sepia")
    assert plan.figures.purchases == 2
    assert run_plan_sync(plan).exit_code == 0
    with pytest.raises(NothingSelected):
        make_reedit(manifest, prompt="sepia")
    with pytest.raises(UsageError):
        make_reedit(manifest)
    assert record_verdicts("out", {"mug/edit": "rejected", "bowl/edit": "undecided"}, reason="halo", who="bob") == 2
    assert slots(cli, "verdict:rejected") == ["mug/edit"]
    for verdicts in ({"nobody/edit": "approved"}, {"mug/edit": "perfect"}):
        with pytest.raises(UsageError):
            record_verdicts("out", verdicts)
    old = Decision(slot="mug/edit", key="0" * 64, verdict="approved")
    with pytest.raises(UsageError, match="another picture now"):
        record_verdicts("out", {"mug/edit": old})
    assert drop_reedits("out") == 2


CHAIN = (
    "version: 1\ndefaults: {quality: low}\nedits:\n  white: {prompt: pure white background}\n"
    "  scene: {from: white, when: approved, prompt: on an oak table}\nsources: [{glob: in/mug.png}]\n"
)


def test_what_starts_from_a_re_edited_picture_waits_for_its_approval(shop: Shop, cli: Cli) -> None:
    """It was made from the old picture: nothing is bought again for it before somebody approves the new one."""
    shop.write("chain.yaml", CHAIN)
    cli("run", "chain.yaml")
    say({"mug/white": "approved"})
    assert cli("run", "chain.yaml").code == 0
    assert shown(cli, "mug/scene")["status"] == "done"
    say({"mug/white": "rejected"})
    assert cli("reedit", "chain.yaml", "--prompt", "brighter").code == 0
    assert shown(cli, "mug/white")["revision"] == 2
    plan = cli("plan", "chain.yaml")
    assert "1  wait for approval of the edit they start from" in plan.out
    assert "nothing to buy" in plan.out
    assert cli("reedit", "chain.yaml", "--select", "edit:scene", "--prompt", "sepia", "--dry-run").code == 0
    cli("reedit", "chain.yaml", "--drop")
    assert cli("run", "chain.yaml").code == 0
    assert "2  done already" in cli("plan", "chain.yaml").out


def rejected_with_its_start(shop: Shop, serve: Callable[..., Served], cli: Cli) -> Served:
    """A night with an edit that starts from another one, both bought and both rejected."""
    served = serve()
    edits = "{white: {prompt: pure white background}, mono: {from: white, prompt: grayscale}}"
    served.manifest(shop, rows=f"edits: {edits}\nsources: [{{glob: in/mug.png}}]\n", defaults="{quality: low}")
    assert cli("run", "night.yaml").code == 0
    say({"mug/white": "rejected", "mug/mono": "rejected"})
    return served


def test_a_rejected_task_is_edited_again_from_the_new_picture(
    shop: Shop, serve: Callable[..., Served], cli: Cli
) -> None:
    """Together with the one that it starts from: the re-edit has asked for both, and each is bought once."""
    served = rejected_with_its_start(shop, serve, cli)
    billed = served.audit()["billed_microusd_total"]
    assert cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, brighter").code == 0
    assert [shown(cli, slot)["revision"] for slot in ("mug/white", "mug/mono")] == [2, 2]
    assert served.audit()["billed_microusd_total"] == 2 * billed
    assert cli("run", "night.yaml").code == 0
    assert served.audit()["billed_microusd_total"] == 2 * billed


def test_money_is_useful_as_long_as_one_equal_task_keeps_the_picture(
    shop: Shop, serve: Callable[..., Served], cli: Cli
) -> None:
    """And rejected only if all of them have rejected it."""
    rows = "items:\n  - {id: a, image: in/mug.png}\n  - {id: b, image: in/mug.png}\n"
    serve().manifest(shop, rows=rows, defaults="{prompt: grayscale, quality: low, output: '{{ id }}.{{ ext }}'}")
    cli("run", "night.yaml", "-q")
    say({"a/edit": "rejected", "b/edit": "approved"})
    assert cli("report", "out", "--json").json()["total"]["waste"] == {}
    say({"b/edit": "rejected"})
    assert set(cli("report", "out", "--json").json()["total"]["waste"]) == {"rejected"}
