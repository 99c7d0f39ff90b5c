"""Figures of a report against the same counted another way: row by row, over drawn ledgers and ledgers made by hand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchedit import render_report
from batchedit.ledger import passing
from batchedit.ledger.books import Books
from batchedit.ledger.records import Bill, Note, OutputRow, TaskRow
from batchedit.lifecycle import Event
from batchedit.money import MicroUSD, parse_usd
from batchedit.report.text import OVERLAPPING
from batchedit.summary import summarize
from tests.conftest import Result, Served, Shop, database, draw_picture
from tests.everything import stamp, write_everything
from tests.test_ledger import QUOTE, RAW, START, request, task
from tests.test_report import Book, a_cost

Cli = Callable[..., Result]
Serve = Callable[..., Served]


def told(path: Path, **asked: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(render_report(path, form="json", **asked))
    return data


# -- one pass over everything -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_the_time_add_up_to_the_whole(tmp_path: Path, seed: int) -> None:
    """Cut anywhere, also exactly where an attempt ended: each attempt is in one part; a task may be in several."""
    path = write_everything(tmp_path / "ledger.db", seed)
    whole = told(path)["total"]
    with database(path) as db:
        ends = [row[0] for row in db.execute("SELECT coalesce(ended_at, started_at) FROM attempts ORDER BY 1")]
    cuts = [datetime.fromisoformat(ends[len(ends) * part // 4]) for part in (1, 2, 3)]
    parts = [
        told(path, since=since, until=until)["total"] for since, until in zip([None, *cuts], [*cuts, None], strict=True)
    ]
    for name in ("spent", "at_risk", "useful", "wasted", "possibly_double", "quoted_low", "quoted_high"):
        assert sum(parse_usd(part[name]) for part in parts) == parse_usd(whole[name]), name
    for name in ("attempts", "requests", "pictures", "successes"):
        assert sum(part[name] for part in parts) == whole[name], name


@pytest.mark.parametrize("seed", range(3))
def test_each_task_is_counted_once_whatever_is_looked_at(tmp_path: Path, seed: int) -> None:
    """Beside the slots that the tables have for it."""
    path = write_everything(tmp_path / "ledger.db", seed)
    middle = stamp(900)
    with database(path) as db:
        of_all = db.execute("SELECT r.state, count(*) FROM tasks t JOIN requests r ON r.key = t.request_key GROUP BY 1")
        assert told(path)["tasks"] == dict(of_all.fetchall())
        of_part = db.execute(
            "SELECT r.state, count(*) FROM tasks t JOIN requests r ON r.key = t.request_key WHERE r.key IN ("
            " SELECT request_key FROM attempts WHERE coalesce(ended_at, started_at) >= ?) GROUP BY 1",
            (middle.removesuffix("Z"),),
        )
        assert told(path, since=datetime.fromisoformat(middle))["tasks"] == dict(of_part.fetchall())
        slots = [row[0] for row in db.execute("SELECT slot FROM tasks ORDER BY rowid LIMIT 40")]
    with Books(path) as books:
        books.restrict(slots)
        assert sum(group.tasks for group in books.task_groups()) == 40


@pytest.mark.parametrize("seed", range(3))
def test_the_dearest_items_are_those_of_a_plain_count(tmp_path: Path, seed: int) -> None:
    """Also by the short way, which looks at few requests only where each item has one."""
    path = write_everything(tmp_path / "ledger.db", seed)
    with database(path) as db:
        plain = {
            row[0]: row[1:]
            for row in db.execute("SELECT item_id, sum(spent_microusd), count(*) FROM v_attempts GROUP BY item_id")
        }
    ranked = sorted(((-spent, item) for item, (spent, _) in plain.items() if spent))[:10]
    with Books(path) as books:
        assert not books._one_request_each()
        assert [(-dear.spent, dear.item) for dear in books.dearest()] == ranked
        assert {dear.item: dear.attempts for dear in books.dearest()} == {item: plain[item][1] for _, item in ranked}
    with database(path) as db:  # each item has one task and one request
        db.execute("UPDATE requests SET buyer_slot = key")
        db.execute("DELETE FROM outputs")
        db.execute("DELETE FROM decisions")
        db.execute("DELETE FROM tasks")
        db.execute(
            "INSERT INTO tasks (slot, item_id, edit, variant, request_key, labels, place, paths, wanted_by, created_at)"
            " SELECT key, key, 'white', '', key, '{}', '', '[]', 1, created_at FROM requests"
        )
        plain = {row[0]: row[1:] for row in db.execute(
            "SELECT request_key, sum(spent_microusd), count(*) FROM v_attempts GROUP BY 1")}  # fmt: skip
    ranked = sorted(((-spent, item) for item, (spent, _) in plain.items() if spent))[:10]
    with Books(path) as books:
        assert books._one_request_each()
        assert [(-dear.spent, dear.item) for dear in books.dearest()] == ranked


def test_long_ledgers_have_the_same_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read in quarters of an hour, which every clock on earth can be read from."""
    from zoneinfo import ZoneInfo

    path = write_everything(tmp_path / "ledger.db", 1)
    for zone in ("Asia/Kathmandu", "Europe/Berlin", "America/St_Johns", "Australia/Eucla"):
        found = []
        for long in (timedelta(0), timedelta(days=999)):
            monkeypatch.setattr(passing, "_LONG", long)
            found.append(told(path, by=["day", "outcome"], zone=ZoneInfo(zone)))
        for each in found:
            del each["throughput"]  # which knows whole quarters of an hour only
        assert found[0] == found[1]
    with Books(path) as books:
        assert {group.minute[14:] for group in books.cost_groups()} - {"00", "15", "30", "45"}
    monkeypatch.setattr(passing, "_LONG", timedelta(0))
    with Books(path) as books:
        assert {group.minute[14:] for group in books.cost_groups()} <= {"00", "15", "30", "45"}


# -- queue time -------------------------------------------------------------------------------------------------------


def test_queue_time_is_from_being_wanted_to_the_first_sending_in_that_run(book: Book) -> None:
    """The second run's counts from its own start; a retry within a run is none; what was not sent has none."""
    first, never = book.want("a", "white"), book.want("b", "black")
    assert never
    book.now += timedelta(seconds=30)
    for _ in range(2):  # sent after 30 s; and a further attempt of the same run
        row = book.writer.request(first)
        attempt = book.writer.begin_attempt(
            row, scope="s", key_print="k", findable=True, generation=row.generation, body_sha256="0" * 64,
            reserved=QUOTE.high,
        )  # fmt: skip
        book.now += timedelta(seconds=60)
        note = Note(message="slower", code="E")
        book.writer.retry(attempt, Event.RETRY, "throttled", note, not_before=None, counts=False)
    book.writer.end_run(3, "")
    book.now += timedelta(hours=5)
    book.writer.start_run(START)
    book.now += timedelta(seconds=7)
    book.buy(first)
    found = told_of(book)
    assert found["queue"] == {
        "high": {"count": 2, "median_seconds": 7.0, "p95_seconds": 30.0, "p99_seconds": 30.0, "longest_seconds": 30.0}
    }
    assert found["latency"]["high"]["count"] == 1
    with database(book.path) as db:
        rows = db.execute("SELECT queue_seconds, seconds FROM v_attempts ORDER BY id").fetchall()
    assert rows == [(30.0, 60.0), (None, 60.0), (7.0, 60.0)]
    text, page = render_report(book.path), render_report(book.path, form="html")
    assert [line.split()[:4] for line in text.splitlines() if " queue " in line] == [["high", "queue", "2", "7.0"]]
    assert "<td>queue</td>" in page


def test_without_anything_sent_there_is_no_queue_time(book: Book) -> None:
    """Unknown is not nought."""
    book.want("a", "white")
    data = told_of(book)
    assert (data["queue"], data["latency"], data["total"]["attempts_per_success"]) == ({}, {}, None)
    assert "median" not in render_report(book.path)


def told_of(book: Book, **asked: Any) -> dict[str, Any]:
    book.writer.close()
    return told(book.path, **asked)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A new ledger."""
    return Book(tmp_path / "ledger.db")


# -- tags -------------------------------------------------------------------------------------------------------------


def tagged(book: Book, slot: str, prompt: str, *tags: str, **labels: str) -> None:
    wanted = request(prompt)
    plain = task(slot, wanted, **labels)
    row = TaskRow(
        slot=plain.slot, item_id=plain.item_id, edit=plain.edit, variant=plain.variant, key=plain.key,
        labels=plain.labels, paths=plain.paths, place=plain.place, tags=tags,
    )  # fmt: skip
    book.writer.record_tasks([(row, wanted, QUOTE)], provider="p")
    book.buy(wanted.key)


def test_a_task_with_two_tags_counts_in_both_and_the_table_says_so(book: Book) -> None:
    """The total stays the true one, in every form; combinations have a row for each tag."""
    tagged(book, "a", "1", "hero", "sale", client="acme")
    tagged(book, "b", "2", "sale", client="globex")
    tagged(book, "c", "3", client="acme")
    data = told_of(book, by=["tag", "client"])
    assert {name: money["spent"] for name, money in data["by"]["tag"].items()} == {
        "(none)": "0.00012", "hero": "0.00012", "sale": "0.00024",
    }  # fmt: skip
    assert (data["total"]["spent"], data["overlapping"]) == ("0.00036", ["tag"])
    for form in ("text", "html", "markdown"):
        said = render_report(book.path, form=form, by=["tag"])
        assert OVERLAPPING in said.replace("\\", "")
        assert "0.00036" in said
        assert OVERLAPPING not in render_report(book.path, form=form, by=["client"]).replace("\\", "")
    rows = list(csv.DictReader(io.StringIO(render_report(book.path, form="csv", by=["tag", "client"]))))
    assert {(row["tag"], row["client"], row["requests"]) for row in rows} == {
        ("hero", "acme", "1"), ("sale", "acme", "1"), ("sale", "globex", "1"), ("(none)", "acme", "1"),
    }  # fmt: skip


def test_single_tags_add_up_and_nothing_else_is_said(book: Book) -> None:
    """One tag each is a grouping like any other."""
    tagged(book, "a", "1", "hero", "hero")
    tagged(book, "b", "2", "sale")
    data = told_of(book, by=["tag"])
    assert data["overlapping"] == []
    assert sum(Decimal(each["spent"]) for each in data["by"]["tag"].values()) == Decimal(data["total"]["spent"])


# -- prices -----------------------------------------------------------------------------------------------------------


def test_drift_is_judged_for_each_kind_of_picture() -> None:
    """Too much here and too little there is not in order on the whole; what failed or was doubled is no price."""
    plain = {"quoted_low": MicroUSD(100), "quoted_high": MicroUSD(100)}
    rows = [
        a_cost(quality="low", cost=MicroUSD(150), **plain),
        a_cost(quality="high", cost=MicroUSD(50), **plain),
        a_cost(quality="medium", cost=MicroUSD(100), surplus=MicroUSD(100), **plain),
        a_cost(quality="medium", outcome="provider failed", use="failed but billed", cost=MicroUSD(40), **plain),
        a_cost(quality="medium", basis="computed", cost=MicroUSD(999), **plain),
    ]
    drifts = summarize(rows, []).drifts
    assert [(drift.quality, drift.apart) for drift in drifts] == [("low", 50), ("high", -50)]


OWN = (
    "version: {version!r}\ncurrency: USD\nlines:\n  - {{provider: runflow, model: openai/gpt-image-2/edit, quality: low,"
    " any_size: true, low: '{price}', high: '{price}', source: me, date: 2026-09-01}}\n"
)


def test_two_runs_with_two_price_lists_add_up(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Each purchase keeps the quote of its day; the report names both lists, each with its sum."""
    served = serve()
    shop.write("own.yaml", "")
    first = None
    for version, price, item in (("2026-09-01", "0.009", "a"), ("2026-10-01", "0.02", "b")):
        text = OWN.format(version=version, price=price)
        shop.write("own.yaml", text)
        rows = f"items: [{{id: {item}, image: in/{'mug' if item == 'a' else 'lamp'}.png}}]\n"
        served.manifest(shop, rows=rows, prices="own.yaml")
        result = cli("run", "night.yaml", "--out", "out", "--no-input")
        assert result.code == 0, result.err
        first = first or cli("report", "out", "--json").json()
    data = cli("report", "out", "--json", "--by", "price_list,quality").json()
    names = ["2026-09-01 (own.yaml)", "2026-10-01 (own.yaml)"]
    assert sorted(data["price_lists"]) == sorted(data["by"]["price_list"]) == names
    for name in ("spent", "quoted_low", "quoted_high"):
        parts = [Decimal(each[name]) for each in data["price_lists"].values()]
        assert sum(parts) == Decimal(data["total"][name])
    assert data["price_lists"][names[0]] == first["price_lists"][names[0]]  # type: ignore[index]
    assert [data["price_lists"][name]["quoted_low"] for name in names] == ["0.009", "0.02"]
    text = cli("report", "out").out
    assert all(f"list {name}: $0.009 spent" in text for name in names)
    assert all(name in cli("report", "out", "--html", "-").out for name in names)
    (drift,) = data["price_drift"]
    assert (drift["purchases"], drift["difference"]) == (2, "-0.011")
    assert text.count("less was spent than listed") == 1


# -- what was not bought again ----------------------------------------------------------------------------------------


def test_what_was_not_bought_again_is_told_by_kind(book: Book) -> None:
    """Equal tasks, tasks that a later run wanted too, and files that it put back."""
    keys = {slot: book.want(slot, slot) for slot in ("a", "b", "c")}
    for key in keys.values():
        book.buy(key)
    book.want("again", "a")
    first = book.path
    book.writer.end_run(0, "")
    book.now += timedelta(hours=1)
    book.writer.start_run(START)
    for slot in ("b", "c"):
        book.want(slot, slot)
    name = "c2.png"
    output = OutputRow(slot="c", number=1, planned=name, path=name, path_key=name, key=keys["c"], sha256="f" * 64)
    book.writer.deliver([output])
    book.buy(book.want("d", "d"))
    data = told_of(book)["total"]
    assert data["avoided_by"] == {"deduplicated": "0.00012", "reused": "0.00012", "restored": "0.00012"}
    assert (data["avoided"], data["spent"]) == ("0.00036", "0.00048")
    for form in ("text", "html", "markdown"):
        said = " ".join(render_report(first, form=form).split())
        words = ("put at its place again", "wanted again and paid for already")
        for word in words if form == "text" else ("restored 0.00012", "reused 0.00012", "deduplicated 0.00012"):
            assert word in said


def test_what_a_later_run_only_finishes_is_no_saving(book: Book) -> None:
    """It was bought once, in the one run, and came home in the other."""
    key = book.want("a", "white")
    row = book.writer.request(key)
    attempt = book.writer.begin_attempt(
        row,
        scope="s",
        key_print="k",
        findable=True,
        generation=row.generation,
        body_sha256="0" * 64,
        reserved=QUOTE.high,
    )
    book.writer.accept(attempt, provider_run_id="r", answer="{}")
    book.writer.end_run(6, "stopped")
    book.now += timedelta(hours=1)
    book.writer.start_run(START)
    book.want("a", "white")
    book.now += timedelta(minutes=1)
    book.writer.reply(attempt)
    output = OutputRow(slot="a", number=1, planned="a", path="a", path_key="a", key=key, sha256="f" * 64)
    book.writer.finish(attempt, [RAW], [output], Bill(cost=MicroUSD(120), basis="reported"))
    assert told_of(book)["total"]["avoided_by"] == {}


# -- who waits --------------------------------------------------------------------------------------------------------


def test_waiting_tasks_are_those_that_are_looked_at(cli: Cli, shop: Shop) -> None:
    """By selection, and by when a run last asked for them."""
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low}\nedits:\n  white: {prompt: 'pure white background'}\n"
        "  hero: {from: white, when: approved, prompt: 'sepia'}\n  sole: {from: hero, prompt: 'crop'}\n"
        "sources: [{glob: in/*.png}]\n",
    )
    cli("run", "night.yaml", "--out", "out")
    assert sum(cli("report", "out", "--json").json()["waiting"].values()) == 6
    for flags, count in (
        (("--select", "edit:hero"), 3),
        (("--select", "edit:sole"), 3),
        (("--select", "edit:white"), 0),
        (("--exclude", "edit:white"), 6),
        (("--select", "edit:hero,id:mug"), 1),
        (("--until", "2020-01-01"), 0),
        (("--since", "2020-01-01"), 6),
    ):
        result = cli("report", "out", "--json", *flags)
        assert result.json()["waiting"] == ({"approval": count} if count else {}), flags
        text = cli("report", "out", *flags).out
        assert (f"{count} task" in text and "for approval" in text) == bool(count), flags


# -- the rehearsal's money --------------------------------------------------------------------------------------------


def test_a_table_says_whose_money_it_is(cli: Cli, shop: Shop, jobs: Path) -> None:
    """A rehearsal's is not real, in the table as in the text."""
    cli("run", jobs, "--out", "out")
    rows = list(csv.DictReader(io.StringIO(cli("report", "out", "--csv", "-").out)))
    assert {(row["currency"], row["world"]) for row in rows} == {("USD", "rehearsal")}


def test_many_values_are_told_in_part_and_their_sum_is_not_lost(book: Book) -> None:
    """A label that differs for every task does not print a million lines; the table for finance has all of them."""
    for number in range(70):
        book.buy(book.want(f"t{number}", f"prompt {number}", sku=f"s{number:02}"), 100 + number)
    book.writer.close()
    text = render_report(book.path, by=["sku"])
    assert len([line for line in text.splitlines() if line.startswith("s") and line[1:3].isdigit()]) == 60
    assert "and 10 more, $0.001045: `--by sku --csv -` lists all of them" in text
    assert len(render_report(book.path, form="csv", by=["sku"]).splitlines()) == 71


# -- against the provider ---------------------------------------------------------------------------------------------


def test_items_of_a_night_with_faults_are_those_of_the_provider_s_books(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Per item, not only on the whole: what was retried is under the item that it was for."""
    served = serve()
    served.emulator.script("answer_lost", times=1, match={"prompt_contains": "number 3"})
    served.emulator.script("failed_transient", times=1, match={"prompt_contains": "number 4"})
    rows = []
    for number in range(8):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (30 * number, 90, 200), side=48)
        rows.append(f"{{id: p{number}, image: many/p{number:02}.png, prompt: grayscale number {number}}}")
    fast = "{timeout: 2, list_lag: 0, poll: 0.05, rpm: 6000}"
    served.manifest(shop, rows=f"items: [{', '.join(rows)}]\n", limits=fast)
    cli("run", "night.yaml", "--out", "out", "--no-input")
    cli("run", "night.yaml", "--out", "out", "--no-input")
    billed = MicroUSD(served.audit()["billed_microusd_total"])
    data = cli("report", "out", "--json", "--by", "edit,outcome,day,run,price_list,tag").json()
    assert parse_usd(data["total"]["spent"]) == billed
    assert sum(parse_usd(dear["spent"]) for dear in data["dearest"]) == billed
    for name, groups in data["by"].items():
        assert sum(parse_usd(each["spent"]) for each in groups.values()) == billed, name
    assert {dear["item"] for dear in data["dearest"]} == {f"p{number}" for number in range(8)}
    assert {dear["item"]: dear["attempts"] for dear in data["dearest"]}["p4"] > 1
    assert parse_usd(data["total"]["useful"]) == billed
