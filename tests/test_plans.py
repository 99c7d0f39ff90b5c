"""Plans at full strength: what is different, what is no longer there, what it costs by label, how long, how much room."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit import load_manifest, make_plan
from batchedit.cli.planning import plan_json
from batchedit.differences import differences, word_difference
from batchedit.effects import Effects
from batchedit.forecast import Known, bytes_text, duration_text, forecast
from batchedit.model import Limits
from tests.conftest import Result, Shop, database, draw_picture

Cli = Callable[..., Result]
Usage = namedtuple("Usage", "total used free")

SPEC = {
    "model": "m", "prompt": "on white", "images": [{"id": "sha256:1", "at": "in/a.png"}], "mask": None,
    "quality": "low", "size": "auto", "format": "png", "samples": 1, "revision": 1, "inline": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"inline": True}, []),
        ({"prompt": "on grey"}, ["prompt: on [-white-] {+grey+}"]),
        ({"prompt": "on white\n"}, ["prompt: only white space"]),
        ({"quality": "high", "samples": 2}, ["quality: low -> high", "samples: 1 -> 2"]),
        ({"images": [{"id": "sha256:2", "at": "in/a.png"}]}, ["image: in/a.png has other content"]),
        ({"images": [{"id": "sha256:1", "at": "in/b.png"}]}, []),
        ({"images": [{"id": "sha256:2", "at": "in/b.png"}]}, ["image: in/a.png -> in/b.png"]),
        ({"images": [*SPEC["images"], {"id": "url:x", "at": "x"}]}, ["reference 1: none -> x"]),  # type: ignore[misc]
        ({"mask": {"id": "sha256:9", "at": "in/m.png"}}, ["mask: none -> in/m.png"]),
    ],
)
def test_what_is_different(change: dict[str, object], words: list[str]) -> None:
    """Field by field; a file of another name with the same content is no difference."""
    assert [str(found) for found in differences(SPEC, {**SPEC, **change})] == words


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("a b c", "a x c", "a [-b-] {+x+} c"),
        ("a b", "a b c d", "a b {+c d+}"),
        ("one two three four five six", "one two three four five", "... three four five [-six-]"),
        (
            "x 1 2 3 4 5 6 7 8 9 y",
            "z 1 2 3 4 5 6 7 8 9 w",
            "[-x-] {+z+} 1 2 3 ... 7 8 9 [-y-] {+w+}",
        ),
    ],
)
def test_prompts_are_compared_by_words(old: str, new: str, text: str) -> None:
    """With a few words around each change."""
    assert word_difference(old, new) == text


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.lists(st.sampled_from("abcdef"), max_size=30))
def test_a_difference_is_never_silent(old: list[str], new: list[str]) -> None:
    """Two prompts that differ give words that say so."""
    text = word_difference(" ".join(old), " ".join(new))
    assert ("[-" in text or "{+" in text) is (old != new)


KNOWN = Known(sizes={})


@pytest.mark.parametrize(
    ("requests", "limits", "known", "seconds", "is_least"),
    [
        (0, Limits(), KNOWN, 0.0, False),
        (100, Limits(), KNOWN, None, True),
        (61, Limits(requests_per_minute=60), KNOWN, 60.0, True),
        (61, Limits(requests_per_minute=60), Known(sizes={}, seconds=30.0), 90.0, False),
        (61, Limits(), Known(sizes={}, per_minute=30.0, seconds=30.0), 150.0, False),
        (61, Limits(requests_per_minute=60), Known(sizes={}, per_minute=30.0), 120.0, True),
        (640, Limits(in_flight=64), Known(sizes={}, seconds=30.0), 300.0, True),
        (640, Limits(in_flight=64, requests_per_minute=6000), Known(sizes={}, seconds=30.0), 300.0, False),
        (1, Limits(in_flight=64, requests_per_minute=60), Known(sizes={}, seconds=30.0), 30.0, False),
        (31, Limits(images_per_minute=30), Known(sizes={}, seconds=30.0), 152.0, False),
    ],
)
def test_how_long(requests: int, limits: Limits, known: Known, seconds: float | None, is_least: bool) -> None:
    """The slowest of what is known decides; what is not known makes it a lower bound, or nothing at all."""
    found = forecast(requests=requests, pictures=2 * requests, copies={}, limits=limits, known=known, bytes_free=None)
    assert found.seconds == pytest.approx(seconds)
    assert found.is_least is is_least


def test_how_much_room() -> None:
    """From pictures of the same kind, or by the number of pixels."""
    copies = {("png", "auto"): 10, ("jpeg", "1024x1024"): 4}
    sizes = {("png", "auto"): (4, 8_000_000)}
    found = forecast(
        requests=1, pictures=1, copies=copies, limits=Limits(), known=Known(sizes=sizes), bytes_free=21_000_000
    )
    assert found.bytes_needed == 20_000_000 + round(4 * 0.4 * 1024 * 1024)
    assert (found.sizes_known, found.is_short) == (False, True)
    only = forecast(
        requests=1, pictures=1, copies={("png", "auto"): 10}, limits=Limits(), known=Known(sizes=sizes), bytes_free=None
    )
    assert (only.bytes_needed, only.sizes_known, only.is_short) == (20_000_000, True, False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (7200, "2 h"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    """No more exact than they are."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(640, "640 bytes"), (1400, "1.4 kB"), (640_000, "640 kB"), (1.44e9, "1.44 GB"), (2e13, "20 TB")]
)
def test_sizes_for_people(count: float, text: str) -> None:
    """In powers of a thousand."""
    assert bytes_text(int(count)) == text


# -- the command ---------------------------------------------------------------------------------------------------

ROWS = [
    {"id": "mug", "image": "in/mug.png", "prompt": "put it on pure white ground", "label.client": "acme"},
    {"id": "shoe", "image": "in/shoe.png", "prompt": "grayscale", "label.client": "acme"},
    {"id": "lamp", "image": "in/lamp.png", "prompt": "mirror it", "label.client": ""},
]


@pytest.fixture
def night(shop: Shop, cli: Cli) -> Shop:
    """A finished night."""
    shop.table("night.csv", ROWS)
    assert cli("run", "night.csv", "--json").code == 0
    return shop


def test_every_verdict_is_told_apart(cli: Cli, night: Shop) -> None:
    """New, changed, done, renamed, restored, duplicate, orphan: each in its own line and its own count."""
    (night.root / "out/shoe.png").unlink()
    rows = [
        {**ROWS[0], "prompt": "put it on light grey ground"},
        ROWS[1],
        {"id": "new", "image": "in/mug.png", "prompt": "warmer", "label.client": "zeta"},
        {"id": "twin", "image": "in/mug.png", "prompt": "warmer", "label.client": "zeta"},
    ]
    night.table("night.csv", [{**row, "output": f"{row['id']}.png"} for row in rows])
    plan = cli("plan", "night.csv", "--json").json()
    counts = {name: count for name, count in plan["counts"].items() if count}
    assert counts == {"new": 1, "changed": 1, "deliver": 1, "duplicate": 1}
    assert plan["version"] == 2
    assert plan["orphans"] == {"count": 1, "first": ["lamp/edit"]}
    assert plan["changed"]["by_field"] == {"prompt": 1}
    (changed,) = plan["changed"]["first"]
    assert changed["task"] == "mug/edit"
    assert changed["changes"] == [
        {
            "field": "prompt",
            "old": "put it on pure white ground",
            "new": "put it on light grey ground",
            "text": "put it on [-pure white-] {+light grey+} ground",
        }
    ]
    text = cli("plan", "night.csv").out
    for line in (
        "        1  not in the manifest any more: nothing is done about them\n           lamp/edit",
        "           changed: prompt in 1\n           mug/edit: prompt: put it on [-pure white-] {+light grey+} ground",
        "        1  paid already: delivered again at no cost",
        "        1  equal to another task",
    ):
        assert line in text
    # Nothing is done about orphans, and they cost nothing.
    before = cli("report", "--json").json()["total"]["spent"]
    run = cli("run", "night.csv", "--json").json()
    assert (run["spent"], run["held_back"]) == ("0.133", 1)
    assert float(cli("report", "--json").json()["total"]["spent"]) == pytest.approx(float(before) + 0.133)
    assert "lamp.png" in night.outputs()


def test_another_path_is_no_purchase(cli: Cli, night: Shop) -> None:
    """Render only: the same picture under another name, at no cost."""
    night.table("night.csv", [{**row, "output": f"{row['id']}-new.png"} for row in ROWS])
    plan = cli("plan", "night.csv", "--json").json()
    assert plan["counts"]["render"] == 3
    assert plan["requests_to_buy"] == 0
    assert "3  to render, free: done, with another path, post or checks now" in cli("plan", "night.csv").out
    assert cli("plan", "night.csv", "--json", "--select", "state:render").json()["tasks"] == 3
    assert cli("run", "night.csv", "--json").json()["spent"] == "0.00"
    assert night.outputs() == ["lamp-new.png", "mug-new.png", "shoe-new.png"]
    assert cli("plan", "night.csv", "--json").json()["counts"]["done"] == 3


def test_other_parameters_and_pictures(cli: Cli, night: Shop) -> None:
    """What else may have changed, in its own words."""
    draw_picture(night.root / "in/shoe.png", (1, 2, 3))
    night.table("night.csv", [{**row, "quality": "low"} for row in ROWS[:2]])
    found = dict(make_plan(load_manifest("night.csv")).figures.changed)
    assert [str(change) for change in found["mug/edit"]] == ["quality: high -> low"]
    shoe = [str(change) for change in found["shoe/edit"]]
    assert shoe[0] == "quality: high -> low"
    assert shoe[1].startswith("image: ")
    assert shoe[1].endswith("in/shoe.png has other content")


def test_failures_are_told_apart(cli: Cli, night: Shop) -> None:
    """What failed for a passing reason is tried again and quoted; what was refused for good is not."""
    with database("out/.batchedit/ledger.db") as db:
        db.execute("UPDATE requests SET state = 'failed', retryable = (buyer_slot = 'mug/edit'), reason = 'no luck'")
    plan = cli("plan", "night.csv", "--json").json()
    assert (plan["counts"]["retry"], plan["counts"]["failed"], plan["requests_to_buy"]) == (1, 2, 1)
    assert {"task": "shoe/edit", "reason": "no luck"} in plan["failures"]
    text = cli("plan", "night.csv").out
    assert "1  failed for a passing reason: to try again" in text
    assert "2  refused for good" in text


def test_orphans_of_another_manifest_are_none_of_ours(cli: Cli, night: Shop) -> None:
    """Two manifests may share a ledger; and what is not selected is not gone."""
    night.table("other.csv", [{**ROWS[0], "id": "other", "prompt": "warmer", "output": "other.png"}])
    assert cli("plan", "other.csv", "--json").json()["orphans"]["count"] == 0
    assert cli("plan", "night.csv", "--json", "--select", "mug").json()["orphans"]["count"] == 0


def test_orphans_are_seen_at_a_glance_too(cli: Cli, shop: Shop) -> None:
    """Also when a finished run is recognised without reading its rows."""
    head = "id,image,prompt\n"
    rows = [f"{name},https://example.com/{name}.jpg,on white\n" for name in "abc"]
    shop.write("night.csv", head + "".join(rows))
    cli("run", "night.csv", "--json")
    shop.write("night.csv", head + rows[0])
    cli("run", "night.csv", "--json")
    plan = make_plan(load_manifest("night.csv"))
    assert plan.mark is not None
    assert (plan.figures.orphans, plan.figures.orphan_slots) == (2, ["b/edit", "c/edit"])


def test_money_by_label(cli: Cli, shop: Shop) -> None:
    """Each grouping adds up to the total; what has no label has its own line."""
    shop.table("night.csv", ROWS)
    plan = cli("plan", "night.csv", "--json").json()
    assert {name: part["quote"]["low"] for name, part in plan["by"]["client"].items()} == {"acme": "0.266"}
    plan = cli("plan", "night.csv", "--json", "--by", "client,edit").json()
    assert plan["by"].keys() == {"client", "edit"}
    assert {name: part["tasks"] for name, part in plan["by"]["client"].items()} == {"acme": 2, "(none)": 1}
    for parts in plan["by"].values():
        assert sum(float(part["quote"]["high"]) for part in parts.values()) == pytest.approx(
            float(plan["quote"]["high"])
        )
    assert "acme           2         2" in cli("plan", "night.csv", "--by", "client").out
    assert "acme" not in cli("plan", "night.csv").out
    wrong = cli("plan", "night.csv", "--by", "clinet")
    assert wrong.code == 2
    assert "--by: no task has a label 'clinet'\n  Did you mean 'client'?" in wrong.err


def test_a_label_with_too_many_values_is_cut(shop: Shop) -> None:
    """The rest is counted together, so that memory has a bound."""
    rows = "".join(f"r{n},https://example.com/a.jpg,warmer,v{n}\n" for n in range(1_010))
    shop.write("night.csv", "id,image,prompt,label.lot\n" + rows)
    shop.write("night.defaults.yaml", "defaults: {output: '{{ id }}.png'}\n")
    parts = make_plan(load_manifest("night.csv")).figures.by["lot"]
    assert (len(parts), parts["(others)"].tasks) == (1_001, 10)


def test_time_is_unknown_until_it_is_known(cli: Cli, shop: Shop) -> None:
    """Then it comes from what was measured."""
    shop.table("night.csv", ROWS)
    assert "time     unknown: no limit is named and no run has measured one yet" in cli("plan", "night.csv").out
    assert cli("plan", "night.csv", "--json").json()["forecast"]["seconds"] is None
    cli("run", "night.csv", "--json")
    shop.table("night.csv", [*ROWS, {**ROWS[0], "id": "new", "prompt": "warmer", "image": "in/mug.png"}])
    shop.write("night.defaults.yaml", "defaults: {output: '{{ id }}.png'}\nlimits: {rpm: 60}\n")
    with database("out/.batchedit/ledger.db") as db:
        db.execute("UPDATE attempts SET started_at = '2026-01-01T00:00:00.000Z', ended_at = '2026-01-01T00:00:40.000Z'")
    found = cli("plan", "night.csv", "--json").json()["forecast"]
    assert (found["seconds"], found["at_least"]) == (40.0, False)
    assert found["because"] == ["the limit of 60 edits a minute", "40 seconds an edit, 64 at a time"]
    assert re.search(
        r"time     about 40 s, until 20\d\d-\d\d-\d\d \d\d:\d\d if it starts now \(the limit of 60 edits a minute",
        cli("plan", "night.csv").out,
    )
    plan, at = make_plan(load_manifest("night.csv")), Effects(wall=lambda: 1_000_000.0)
    assert json.loads(plan_json(plan, effects=at))["forecast"]["ends_at"] == "1970-01-12T13:47:20.000Z"


def test_what_was_learnt_of_the_provider_counts(cli: Cli, night: Shop) -> None:
    """Its own limit, as far as it was found where the last edits were sent."""
    with database("out/.batchedit/ledger.db") as db:
        scope = db.execute("SELECT scope FROM attempts").fetchone()[0]
        db.execute("INSERT OR REPLACE INTO paces VALUES (?, 0.5, 1, '')", (scope,))
        db.execute("INSERT OR REPLACE INTO paces VALUES ('elsewhere', 0.1, 1, '')")
    more = [{**ROWS[0], "id": f"new{n}", "prompt": f"warmer {n}", "output": f"new{n}.png"} for n in range(3)]
    night.table("night.csv", [{**row, "output": f"{row['id']}.png"} for row in ROWS] + more)
    found = cli("plan", "night.csv", "--json").json()["forecast"]
    assert found["because"][0] == "the provider's limit as it was found, 0.5 edits a minute"
    assert found["seconds"] == pytest.approx(240, abs=5)


def test_a_disk_without_room_is_pointed_out(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is bought; measured on what is there where there is something."""
    shop.table("night.csv", ROWS)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 10**7, 10**7))
    result = cli("plan", "night.csv")
    assert "the pictures need about 16 MB, and its disk has 10 MB left" in result.err
    assert "disk     about 16 MB (by the number of pixels), 10 MB free" in result.out
    monkeypatch.undo()
    assert "warning" not in cli("plan", "night.csv").err


def test_the_room_is_measured(cli: Cli, night: Shop) -> None:
    """A picture that is kept and delivered counts twice."""
    night.table("night.csv", [{**ROWS[0], "id": "new", "prompt": "warmer", "output": "new.png"}])
    with database("out/.batchedit/ledger.db") as db:
        db.execute("UPDATE raws SET size_bytes = 5000")
    found = cli("plan", "night.csv", "--json").json()["forecast"]
    assert (found["bytes_needed"], found["sizes"]) == (10_000, "measured")


def test_skipped_rows_are_listed(cli: Cli, shop: Shop) -> None:
    """With their lines and the reason."""
    shop.table("night.csv", [*ROWS, {**ROWS[0], "id": "none", "image": ""}])
    assert cli("plan", "night.csv", "--json").json()["skipped"] == [
        {"place": "night.csv:5", "reason": "no image", "count": 1}
    ]
    assert not Path("out").exists()


def test_what_waits_can_be_an_orphan(cli: Cli, shop: Shop) -> None:
    """Tasks that have no request yet are counted when their rows have gone, and not before."""
    text = (
        "version: 1\ndefaults: {quality: low}\nsources: [{glob: in/MORE*.png}]\nedits:\n  white: {prompt: on white}\n"
        "  scene: {from: white, when: approved, prompt: on a table}\n"
    )
    shop.write("night.yaml", text.replace("MORE", ""))
    assert cli("run", "night.yaml", "--json").code == 0
    assert cli("plan", "night.yaml", "--json").json()["orphans"] == {"count": 0, "first": []}
    shop.write("night.yaml", text.replace("MORE", "mug"))
    orphans = cli("plan", "night.yaml", "--json").json()["orphans"]
    assert orphans == {"count": 4, "first": ["lamp/white", "shoe/white", "lamp/scene", "shoe/scene"]}
