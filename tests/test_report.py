"""Reports: figures that always add up, each form of them, and what people may ask of `report`."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from unicodedata import east_asian_width
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit import render_report
from batchedit.effects import Effects
from batchedit.errors import LedgerError, UsageError
from batchedit.grouping import GROUPINGS, OF_ATTEMPTS
from batchedit.ledger.books import Books
from batchedit.ledger.records import Bill, Decision, Note, OutputRow
from batchedit.ledger.sums import USES, CostGroup, Durations, TaskGroup, Trouble
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import Event, State
from batchedit.money import MicroUSD, parse_usd
from batchedit.report.as_csv import figures_csv, guarded
from batchedit.report.as_json import figures_json
from batchedit.report.invoice import check_invoice
from batchedit.report.markdown import report_markdown
from batchedit.report.page import Page, make_page
from batchedit.report.text import report_text
from batchedit.summary import Figures, Money, crossed, summarize
from tests.conftest import Result, Served, Shop, database, draw_picture, drop_views
from tests.test_ledger import QUOTE, RAW, START, request, task

Cli = Callable[..., Result]
Serve = Callable[..., Served]

# -- made-up rows -----------------------------------------------------------------------------------------------------

AMOUNTS = st.integers(0, 5_000_000).map(MicroUSD)
LABELS = st.dictionaries(st.sampled_from(["client", "season"]), st.sampled_from(["acme", "Acme ", "globex", ""])).map(
    json.dumps
)
MINUTES = st.datetimes(datetime(2026, 10, 24), datetime(2026, 11, 2)).map(lambda moment: moment.isoformat()[:16])  # noqa: DTZ001
COMMON = {
    "labels": LABELS,
    "edit": st.sampled_from(["white", "scene"]),
    "variant": st.sampled_from(["", "b"]),
    "provider": st.sampled_from(["runflow", "rehearsal"]),
    "model": st.sampled_from(["m", "n"]),
    "quality": st.sampled_from(["low", "high"]),
    "size": st.sampled_from(["auto", "1024x1024"]),
}
AMOUNT_FIELDS = ("cost", "at_risk", "doubt", "surplus", "surplus_doubt", "quoted_low", "quoted_high")
COSTS = st.lists(
    st.builds(
        CostGroup,
        minute=MINUTES,
        run=st.sampled_from(["1", "2"]),
        outcome=st.sampled_from(["done", "throttled", "resent", "open", "suspect"]),
        use=st.sampled_from(USES),
        basis=st.sampled_from(["reported", "computed", "none"]),
        attempts=st.integers(1, 9),
        requests=st.integers(0, 9),
        pictures=st.integers(0, 9),
        **COMMON,
        **dict.fromkeys(AMOUNT_FIELDS, AMOUNTS),
    ),
    max_size=25,
)
TASKS = st.lists(
    st.builds(
        TaskGroup,
        state=st.sampled_from(State),
        shared=st.booleans(),
        verdict=st.sampled_from(["", "approved", "rejected"]),
        again=st.booleans(),
        tasks=st.integers(1, 9),
        delivered=st.integers(0, 9),
        avoided=AMOUNTS,
        **COMMON,
    ),
    max_size=25,
)
ZONES = st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/New_York")])
NAMES = (*GROUPINGS, "client", "season")
OF_TASKS = ("delivered", "avoided", "reviewed", "approved", "at_once")
OF_COSTS = (
    "spent", "useful", "at_risk", "unpriced", "doubled", "quoted_low", "quoted_high", "attempts", "requests", "pictures",
)  # fmt: skip


def adds_up(parts: Iterable[Money], total: Money, *, tasks: bool) -> None:
    parts = list(parts)
    for name in (*OF_COSTS, *(OF_TASKS if tasks else ())):
        assert sum(getattr(part, name) for part in parts) == getattr(total, name), name
    assert sum((part.waste for part in parts), Counter()) == +total.waste


@given(COSTS, TASKS, ZONES)
def test_every_grouping_adds_up_to_the_total(costs: list[CostGroup], tasks: list[TaskGroup], zone: ZoneInfo) -> None:
    """Also by days of a zone with a clock that is set back in that time, and by those 5:45 ahead."""
    figures = summarize(costs, tasks, by=NAMES, zone=zone)
    assert set(figures.by) == set(NAMES)
    for name, groups in figures.by.items():
        adds_up(groups.values(), figures.total, tasks=name not in OF_ATTEMPTS)
    assert sum(figures.tasks.values()) == sum(row.tasks for row in tasks)
    assert sum(minute.spent for minute in figures.minutes.values()) == figures.total.spent


@given(COSTS, TASKS, st.lists(st.sampled_from(NAMES), unique=True, max_size=4), ZONES)
def test_every_crossing_adds_up_to_the_total(
    costs: list[CostGroup], tasks: list[TaskGroup], names: list[str], zone: ZoneInfo
) -> None:
    """Any labels and any others, together; the CSV says the same to the micro-dollar."""
    total = summarize(costs, tasks).total
    cells = crossed(costs, tasks, names, zone=zone)
    adds_up(cells.values(), total, tasks=not OF_ATTEMPTS & {*names})
    rows = list(csv.DictReader(io.StringIO(figures_csv(cells, names, world="real"))))
    for column in ("spent", "useful", "wasted", "at_risk"):
        assert parse_usd(sum((Decimal(row[column]) for row in rows), Decimal(0))) == getattr(total, column)


@given(COSTS, TASKS)
def test_spent_is_useful_and_waste(costs: list[CostGroup], tasks: list[TaskGroup]) -> None:
    """For the total and for each part; at risk is what is open and what is in doubt."""
    figures = summarize(costs, tasks, by=NAMES)
    for money in (figures.total, *(each for groups in figures.by.values() for each in groups.values())):
        assert money.spent == money.useful + money.wasted
        assert money.unpriced <= money.at_risk
    assert figures.total.spent == sum(row.cost + row.surplus for row in costs)
    assert figures.total.at_risk == sum(row.at_risk + row.doubt + row.surplus_doubt for row in costs)


@given(COSTS, TASKS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    costs: list[CostGroup], tasks: list[TaskGroup], chance: random.Random
) -> None:
    """A ledger may be read in any order, and several in any order of theirs."""
    mixed_costs, mixed_tasks = [*costs], [*tasks]
    chance.shuffle(mixed_costs)
    chance.shuffle(mixed_tasks)
    one, other = summarize(costs, tasks, by=NAMES), summarize(mixed_costs, mixed_tasks, by=NAMES)
    assert one == other
    assert list(one.minutes) == list(other.minutes) == sorted(one.minutes)
    assert crossed(costs, tasks, ["client", "day"]) == crossed(mixed_costs, mixed_tasks, ["client", "day"])


@given(st.lists(st.tuples(st.sampled_from(["low", "high"]), st.integers(-2, 400), st.integers(1, 60)), max_size=30))
def test_percentiles_are_those_of_the_single_durations(rows: list[tuple[str, int, int]]) -> None:
    """The smallest duration that so many per cent are not longer than; a clock that went back counts as nothing."""
    figures = summarize([], [], durations=[Durations(quality=q, tenths=t, count=n) for q, t, n in rows])
    for quality in {quality for quality, _, _ in rows}:
        single = sorted(max(0, t) for q, t, n in rows if q == quality for _ in range(n))
        found = figures.latency[quality]
        assert found.count == len(single)
        for percent, seconds in ((50, found.median), (95, found.p95), (99, found.p99), (100, found.longest)):
            assert seconds == single[math.ceil(Decimal(percent) * len(single) / 100) - 1] / 10


def a_cost(**other: object) -> CostGroup:
    plain = CostGroup(
        minute="2026-10-25T00:30", run="1", labels="{}", edit="edit", variant="", provider="p", model="m", quality="low",
        size="auto", outcome="done", use="useful", basis="reported", attempts=1, requests=1, pictures=1,
        **dict.fromkeys(AMOUNT_FIELDS, MicroUSD(0)),  # type: ignore[arg-type]
    )  # fmt: skip
    return replace(plain, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("minute", "zone", "day"),
    [
        ("2026-10-24T21:59", "Europe/Berlin", "2026-10-24"),
        ("2026-10-24T22:00", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T22:59", "Europe/Berlin", "2026-10-25"),  # the day of 25 hours
        ("2026-10-25T23:00", "Europe/Berlin", "2026-10-26"),
        ("2026-11-24T18:14", "Asia/Kathmandu", "2026-11-24"),
        ("2026-11-24T18:15", "Asia/Kathmandu", "2026-11-25"),
        ("2026-03-08T04:59", "America/New_York", "2026-03-07"),
        ("2026-03-09T03:59", "America/New_York", "2026-03-08"),  # the day of 23 hours
        ("2026-03-09T04:00", "America/New_York", "2026-03-09"),
    ],
)
def test_a_day_ends_at_the_zone_s_own_midnight(minute: str, zone: str, day: str) -> None:
    """Whatever the clock does in that night."""
    assert list(summarize([a_cost(minute=minute)], [], by=["day"], zone=ZoneInfo(zone)).by["day"]) == [day]


def test_the_hour_that_comes_twice_is_shown_twice() -> None:
    """Charts count in UTC: what happened in both hours between two and three is neither lost nor put together."""
    costs = [
        a_cost(minute=f"2026-10-25T{hour:02}:{minute:02}", cost=MicroUSD(10)) for hour in (0, 1) for minute in (30, 31)
    ]
    figures = summarize(costs, [], zone=ZoneInfo("Europe/Berlin"))
    page = page_of(figures, zone=ZoneInfo("Europe/Berlin"))
    assert page.throughput is not None
    columns = re.findall(r'class="column".*?<title>(.*?)</title>', page.throughput)
    assert [column for column in columns if not column.endswith(": 0")] == [
        "02:30: 1",
        "02:31: 1",
        "02:30: 1",
        "02:31: 1",
    ]
    assert len(columns) == 62


# -- the forms, over figures that nobody wishes for -------------------------------------------------------------------

HOSTILE = (
    "=cmd|'/c calc'!A1", "+1", "-1", "@sum", "\t=1", "\r=1", "\n=1", "\uff1d1", "a|b", "a\nb", "|---|", "`x`", "<b>",
    "[x](http://e)", "\x1b[31mred", "\u202eback", "\x00", "a" * 300, "漢字" * 60, "**", "\\|", "# x", "",
)  # fmt: skip


def hostile_figures() -> Figures:
    costs = [
        a_cost(labels=json.dumps({"client": name, name: "x"}), edit=name, cost=MicroUSD(n + 1), use=USES[n % len(USES)])
        for n, name in enumerate(HOSTILE)
    ]
    troubles = [
        Trouble(
            state=State.FAILED, code="CONTENT_POLICY|`x`", reason=name, retryable=False, tasks=123_456, cost=MicroUSD(n % 2),
            at_risk=MicroUSD(0), first="2026-10-25T00:30:00.000Z", last="2026-10-25T00:30:00.000Z", slots=(name, name),
        )
        for n, name in enumerate(HOSTILE)
    ]  # fmt: skip
    return summarize(costs, [], troubles=troubles)


def page_of(figures: Figures, zone: tzinfo = UTC) -> Page:
    return make_page(figures, [], world="real", where="out", steps=[], zone=zone, foot="")


def test_a_table_for_finance_holds_no_formula() -> None:
    """Whatever a spreadsheet takes for one is text; `raw` leaves it; lines and quotes come back as they were."""
    figures = hostile_figures()
    names = ["client", "edit"]
    costs = crossed([a_cost(labels=json.dumps({"client": name}), edit=name) for name in HOSTILE], [], names)
    rows = list(csv.reader(io.StringIO(figures_csv(costs, names, world="real"), newline="")))
    assert len(rows) == len(HOSTILE) + 1
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not [
        cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"))
    ]
    assert {row[0].removeprefix("'") for row in rows[1:]} == {*HOSTILE, "(none)"} - {""}
    plain = list(csv.reader(io.StringIO(figures_csv(costs, names, world="real", raw=True), newline="")))
    assert {row[0] for row in plain[1:]} == {*HOSTILE, "(none)"} - {""}
    assert guarded("=1") == "'=1"
    head = next(csv.reader(io.StringIO(figures_csv({}, list(figures.by), world="real"), newline="")))
    assert "'=cmd|'/c calc'!A1" in head


def test_hostile_names_stay_within_their_cells_in_markdown() -> None:
    """Each table has as many cells in each row as in its head, and nothing in them is a mark."""
    figures = hostile_figures()
    text = report_markdown(figures, page_of(figures), "out", "night.yaml --out out")
    for block in text.split("\n\n"):
        if not block.startswith("|"):
            continue
        rows = block.split("\n")
        assert all(row.startswith("| ") and row.endswith(" |") for row in rows)
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) == 1
    assert not re.search(r"(?<!\\)[<`\[]", text.replace("\\\\", ""))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "CONTENT\\_POLICY" in text


def columns_of(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def test_text_fits_100_columns_whatever_the_names() -> None:
    """Long names are cut, wide letters count twice, and nothing reaches the terminal that it would obey."""
    text = report_text(hostile_figures(), [], "rehearsal", {"approval": 3, "failed": 2}, "out")
    lines = text.split("\n")
    assert max(map(columns_of, lines)) <= 100, max(lines, key=columns_of)
    assert all(letter.isprintable() for line in lines for letter in line)
    assert len([line for line in lines if line.endswith("%") and "total" not in line]) >= len(HOSTILE)


def test_every_form_agrees_on_hostile_figures() -> None:
    """JSON can be read back and says what the figures say."""
    figures = hostile_figures()
    data = json.loads(figures_json(figures, [], "real", {}))
    assert data["total"]["spent"] == f"{Decimal(figures.total.spent) / 1_000_000:.6f}"
    assert set(data["by"]["client"]) == {*HOSTILE, "(none)"} - {""}
    assert sum(Decimal(each["spent"]) for each in data["by"]["client"].values()) == Decimal(data["total"]["spent"])


@pytest.mark.parametrize(
    ("asked", "agrees", "words"),
    [
        ("10.00", True, "agrees to the micro-dollar"),
        ("10.000001", True, "$0.000001 more than spent, which what is at risk explains"),
        ("12.00", True, "$2.00 more than spent, which what is at risk explains"),
        ("12.000001", False, "$2.000001 more than spent: differs"),
        ("9.99", False, "$0.01 less than spent: differs"),
        ("0", False, "$10.00 less than spent: differs"),
    ],
)
def test_an_invoice_agrees_differs_or_is_explained_by_what_is_at_risk(asked: str, agrees: bool, words: str) -> None:
    """$10 spent, $2 at risk."""
    figures = summarize([a_cost(cost=parse_usd("10"), at_risk=parse_usd("1.5"), doubt=parse_usd("0.5"))], [])
    check = check_invoice(figures, parse_usd(asked))
    assert (check.agrees, words in check.text()) == (agrees, True), check.text()
    assert bool(check.remarks) == (asked != "10.00")


def test_what_was_billed_although_it_failed_is_not_called_free() -> None:
    """The advice does not contradict the money beside it."""
    figures = hostile_figures()
    page = page_of(figures)
    for trouble in page.troubles:
        assert ("Nothing was bought" in str(trouble["advice"])) == (trouble["money"] == "nothing spent")


# -- ledgers that were written by hand --------------------------------------------------------------------------------


class Book:
    """A ledger in which things happen one after the other, a minute each."""

    def __init__(self, path: Path, world: str = "real", begins: str = "2026-11-24T22:00") -> None:
        self.now = datetime.fromisoformat(begins).replace(tzinfo=UTC)
        self.writer = LedgerWriter(path, Effects(seed="0", wall=lambda: self.now.timestamp()), world=world)
        self.writer.start_run(START)
        self.path = path

    def want(self, slot: str, prompt: str, **labels: str) -> str:
        wanted = request(prompt)
        self.writer.record_tasks([(task(slot, wanted, **labels), wanted, QUOTE)], provider="p")
        return wanted.key

    def buy(self, key: str, cost: int = 120, *, ends: str = "done", slot: str | None = None) -> None:
        row = self.writer.request(key)
        attempt = self.writer.begin_attempt(
            row, scope="s", key_print="k", findable=True, generation=row.generation, body_sha256="0" * 64,
            reserved=QUOTE.high,
        )  # fmt: skip
        if ends == "open":
            return
        self.writer.accept(attempt, provider_run_id=f"r{attempt.id}", answer="{}")
        self.now += timedelta(minutes=1)
        bill = Bill(cost=MicroUSD(cost), basis="reported")
        if ends == "failed":
            self.writer.fail(attempt, "provider failed", Note(message="broke", code="E"), retryable=True, bill=bill)
            return
        self.writer.reply(attempt)
        if ends == "suspect":
            self.writer.set_aside(attempt, Event.ODD, [RAW], bill, Note(message="odd", code="ODD"))
            return
        buyer = slot or row.buyer_slot
        name = f"{buyer}-{key[:4]}.png"
        output = OutputRow(slot=buyer, number=1, planned=name, path=name, path_key=name, key=key, sha256="f" * 64)
        self.writer.finish(attempt, [RAW], [output], bill)

    def money(self, **asked: object) -> dict[str, object]:
        self.writer.close()
        data: dict[str, object] = json.loads(render_report(self.path, form="json", **asked))["total"]  # type: ignore[arg-type]
        return data


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A new ledger."""
    return Book(tmp_path / "ledger.db")


def test_what_was_bought_again_with_other_content_is_superseded(book: Book) -> None:
    """Both were paid; only the one that is wanted is useful."""
    book.buy(book.want("a", "white"))
    book.buy(book.want("a", "black"), 130)
    money = book.money()
    assert (money["spent"], money["useful"], money["waste"]) == ("0.00025", "0.00013", {"superseded": "0.00012"})


def test_what_an_equal_task_still_wants_is_not_superseded(book: Book) -> None:
    """The task that paid wants something else by now; the other one still has its picture from there."""
    key = book.want("a", "white")
    book.want("b", "white")
    book.buy(key)
    book.buy(book.want("a", "black"))
    money = book.money()
    assert (money["useful"], money["waste"]) == ("0.00024", {})


def test_suspect_pictures_are_useful_only_if_they_were_kept(book: Book) -> None:
    """Paid and not what was asked for is waste, until somebody takes it."""
    for slot in ("a", "b"):
        book.buy(book.want(slot, slot), ends="suspect")
    book.writer.keep(["a"])
    money = book.money()
    assert (money["useful"], money["waste"]) == ("0.00012", {"suspect": "0.00012"})


def test_failed_but_billed_and_open_are_neither_useful_nor_nothing(book: Book) -> None:
    """A bill for a failure is waste; what is open is at risk at its worst price."""
    book.buy(book.want("a", "white"), 7, ends="failed")
    book.buy(book.want("b", "black"), ends="open")
    money = book.money()
    assert (money["spent"], money["waste"], money["at_risk"]) == (
        "0.000007",
        {"failed but billed": "0.000007"},
        "0.00015",
    )


def test_only_what_ended_in_the_time_counts(book: Book) -> None:
    """From the one moment to before the other, to the millisecond; the parts add up to the whole."""
    for number in range(4):  # they end at 22:01, 22:02, 22:03, 22:04
        book.buy(book.want(f"t{number}", f"prompt {number}"))
    book.writer.close()

    def spent(since: str | None, until: str | None) -> int:
        moments = [
            None if text is None else datetime.fromisoformat(f"2026-11-24T{text}+00:00") for text in (since, until)
        ]
        data = json.loads(render_report(book.path, form="json", since=moments[0], until=moments[1]))
        assert data["total"]["delivered"] == data["total"]["requests"] == data["tasks"].get("done", 0)
        return int(data["total"]["requests"])

    assert spent("22:02", None) == 3
    assert spent(None, "22:02") == 1
    assert spent("22:02", "22:03") == 1
    assert spent("22:02:00.001", "22:04:00.001") == 2
    assert spent("23:00", None) == 0


def test_verdicts_decide_about_useful_and_first_time_approval(book: Book) -> None:
    """Approved, rejected, and rejected first and approved later: the last word counts."""
    keys = {slot: book.want(slot, slot) for slot in ("a", "b", "c", "d")}
    for key in keys.values():
        book.buy(key)
    said = [("a", "approved"), ("b", "rejected"), ("c", "rejected"), ("c", "approved")]
    book.writer.decide(Decision(slot=slot, key=keys[slot], verdict=verdict) for slot, verdict in said)
    money = book.money()
    assert (money["useful"], money["waste"]) == ("0.00036", {"rejected": "0.00012"})
    assert (money["reviewed"], money["approved"], money["approved_at_once"]) == (3, 2, 2)
    assert money["per_approved"] == "0.00024"


def test_a_ledger_from_before_there_were_verdicts_can_be_reported(book: Book) -> None:
    """No table of decisions, none of waiting tasks: nothing is said about them, everything else is."""
    book.buy(book.want("a", "white"))
    book.writer.close()
    with database(book.path) as db:
        drop_views(db)
        db.execute("DROP TABLE decisions")
        db.execute("DROP TABLE waiting")
        db.execute("ALTER TABLE tasks DROP COLUMN tags")
        db.execute("PRAGMA user_version = 3")
    for form in ("text", "json", "csv", "markdown", "html"):
        assert "0.00012" in render_report(book.path, form=form)


def test_an_empty_ledger_has_a_report_in_every_form(tmp_path: Path) -> None:
    """A run that was killed before it wrote anything down."""
    book = Book(tmp_path / "ledger.db")
    book.writer.close()
    assert "Nothing was recorded yet" in render_report(book.path, form="html")
    assert "Nothing was recorded yet" in render_report(book.path, form="markdown")
    assert json.loads(render_report(book.path, form="json", by=["client"]))["total"]["spent"] == "0.00"
    assert len(render_report(book.path, form="csv", by=["client"]).splitlines()) == 1
    assert "tasks      0: none" in render_report(book.path)


def test_several_ledgers_are_added_up(tmp_path: Path) -> None:
    """Their runs stay apart, their labels come together."""
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        book = Book(tmp_path / name / "ledger.db")
        book.buy(book.want("a", "white", client="acme"))
        book.writer.close()
        paths.append(book.path)
    data = json.loads(render_report(paths, form="json", by=["client", "run"]))
    assert data["by"]["client"] == {"acme": data["total"]}
    assert data["total"]["spent"] == "0.00024"
    assert sorted(data["by"]["run"]) == [f"{path}:1" for path in paths]
    html = render_report(paths, form="html")
    assert all(str(path) in html for path in paths)


def test_money_and_rehearsal_money_do_not_add_up(tmp_path: Path) -> None:
    """The one is real, the other is not."""
    for world in ("real", "rehearsal"):
        (tmp_path / world).mkdir()
        Book(tmp_path / world / "ledger.db", world).writer.close()
    with pytest.raises(UsageError, match="money does not add up"):
        render_report([tmp_path / "real" / "ledger.db", tmp_path / "rehearsal" / "ledger.db"])


def test_pictures_are_of_what_is_wanted_and_of_every_edit(book: Book) -> None:
    """A superseded picture is not shown with its successor's file; a few of many never come from one edit alone."""
    for number in range(60):
        for edit in ("white", "scene", "shadow"):
            wanted = request(f"{edit} {number}")
            row = replace(task(f"{number}/{edit}", wanted), edit=edit)
            book.writer.record_tasks([(row, wanted, QUOTE)], provider="p")
            book.buy(wanted.key)
    book.buy(book.want("0/white", "another"))
    book.writer.close()
    with Books(book.path) as books:
        shown = books.pictures(20)
        assert len(shown) == 20
        edits = Counter(picture.slot.split("/")[1] for picture in shown)
        assert min(edits[edit] for edit in ("white", "scene", "shadow")) >= 3
        everything = books.pictures(1000)
        assert len(everything) == len({picture.slot for picture in everything}) == 180
        assert {picture.request.prompt for picture in everything if picture.slot == "0/white"} == {"another"}
        books.restrict(f"{number}/white" for number in range(60))
        assert len(books.pictures(25)) == 25


def test_a_report_while_a_run_is_writing_is_of_one_moment(book: Book) -> None:
    """Every part was read at the same time, so that it still adds up to the whole."""
    keys = [book.want(f"t{number}", f"prompt {number}", client="acme") for number in range(40)]
    with Books(book.path) as books:
        before = sum(group.tasks for group in books.task_groups())
        for key in keys[:20]:
            book.buy(key)
        assert before == 40
        assert not list(books.cost_groups())
        assert not list(books.durations())
    stop = threading.Event()
    failures: list[object] = []

    def look() -> None:
        while not stop.is_set():
            data = json.loads(render_report(book.path, form="json"))
            total = data["total"]
            if not total["delivered"] == total["pictures"] == data["tasks"].get("done", 0):
                failures.append(total)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for key in keys[20:]:
            book.buy(key)
    finally:
        stop.set()
        reader.join()
    assert not failures
    assert book.money()["requests"] == 40


# -- by the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def night(cli: Cli, shop: Shop) -> Shop:
    """A rehearsal of six pictures for two clients, two of them equal."""
    rows = []
    for number in range(6):
        draw_picture(shop.root / "many" / f"p{number % 5}.png", (40 * (number % 5), 90, 200), side=48)
        client = ["acme", "=globex"][number % 2]
        rows.append({"id": f"p{number}", "image": f"many/p{number % 5}.png", "client": client, "season": "AW"})
    shop.table("rows.csv", rows)
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low, prompt: grayscale, output: '{{ id }}.{{ ext }}',"
        " labels: {client: '{{ client }}', season: '{{ season }}'}}\nsources: [{csv: rows.csv}]\n",
    )
    result = cli("run", "night.yaml", "--out", "out")
    assert result.code == 0, result.err
    return shop


def test_each_form_of_a_rehearsal_says_the_same(cli: Cli, night: Shop) -> None:
    """Text, JSON, CSV, Markdown and the page, from one command."""
    result = cli(
        "report", "out", "--by", "client,edit", "--csv", "a.csv", "--markdown", "a.md", "--html", "a.html", "--json"
    )
    assert result.code == 0, result.err
    data = result.json()
    assert (data["total"]["spent"], data["total"]["avoided"], data["total"]["delivered"]) == ("0.045", "0.009", 6)
    rows = list(csv.DictReader(io.StringIO((night.root / "a.csv").read_bytes().decode(), newline="")))
    assert {(row["client"], row["edit"], row["spent"]) for row in rows} == {
        ("acme", "edit", "0.027"),
        ("'=globex", "edit", "0.018"),
    }
    assert {row["currency"] for row in rows} == {"USD"}
    for text in (cli("report", "out").out, (night.root / "a.md").read_text(), (night.root / "a.html").read_text()):
        assert "0.045" in text
        assert "=globex" in text
    assert max(map(len, cli("report", "out").out.splitlines())) <= 100
    html = (night.root / "a.html").read_text()
    assert html.count('alt="after: ') == 5
    links = re.findall(r'<a href="([^"]+)">', html)
    assert len(links) == 5
    assert all((night.root / link).is_file() for link in links)


def test_a_picture_that_has_changed_since_is_not_shown_as_what_it_was(cli: Cli, night: Shop) -> None:
    """What stands under a digest has that digest, also in later reports."""
    (night.root / "many" / "p0.png").unlink()
    draw_picture(night.root / "many" / "p1.png", (1, 2, 3), side=48)
    for _ in range(2):
        assert cli("report", "out", "--html", "a.html").code == 0
        html = (night.root / "a.html").read_text()
        assert html.count("gone, or another one by now") == 2
        assert html.count('alt="before: ') == 3


def test_thumbnails_are_kept(cli: Cli, night: Shop) -> None:
    """A second report shows what the first has made, the picture before may be gone by then."""
    cli("report", "out", "--html", "a.html")
    first = (night.root / "a.html").read_text()
    (night.root / "many" / "p0.png").unlink()
    cli("report", "out", "--html", "a.html")
    assert (night.root / "a.html").read_text() == first


def test_a_selection_and_a_time_of_a_rehearsal(cli: Cli, night: Shop) -> None:
    """Only these tasks; only that day, by the clock that is asked for."""
    only = cli("report", "out", "--select", "client:acme", "--json").json()
    assert (only["total"]["spent"], list(only["by"]["client"])) == ("0.027", ["acme"])
    without = cli("report", "out", "--exclude", "client:acme", "--json").json()
    assert Decimal(without["total"]["spent"]) == Decimal("0.018")
    day = next(iter(cli("report", "out", "--by", "day", "--tz", "Asia/Kathmandu", "--json").json()["by"]["day"]))
    for flags, spent in (
        ((day, day), "0.045"),
        ((day, day.replace("-", "")), "0.045"),
        (("2020-01-01", "2020-01-02"), "0.00"),
    ):
        result = cli("report", "out", "--since", flags[0], "--until", flags[1], "--tz", "Asia/Kathmandu", "--json")
        assert result.json()["total"]["spent"] == spent
    assert cli("report", "out", "--select", "client:nobody").code == 5


def test_invoice_and_balance(cli: Cli, night: Shop) -> None:
    """Both say how much the provider asks for."""
    assert "agrees to the micro-dollar" in cli("report", "out", "--invoice", "0.045").out
    assert "$0.001 more than spent: differs" in cli("report", "out", "--balance", "10", "9.954").out
    data = cli("report", "out", "--balance", "10", "9.955", "--json").json()
    assert (data["invoice"]["agrees"], data["invoice"]["difference"]) == (True, "0.00")


def test_the_mark_for_spreadsheets_and_raw_texts(cli: Cli, night: Shop) -> None:
    """Both only on demand."""
    cli("report", "out", "--by", "client", "--csv", "a.csv")
    assert b"'=globex" in (plain := (night.root / "a.csv").read_bytes())
    assert not plain.startswith(b"\xef\xbb\xbf")
    cli("report", "out", "--by", "client", "--csv", "a.csv", "--bom", "--raw")
    assert (night.root / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfclient,")
    assert b"\r\n=globex," in (night.root / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--by", "clinet"), "Did you mean 'client'?"),
        (("--by", "zzz"), "labels are: client, season; besides: day, month, run,"),
        (("--tz", "Europe/Berlim"), "'Europe/Berlim' is no time zone"),
        (("--tz", "../../etc/passwd"), "is no time zone"),
        (("--since", "yesterday"), "--since: 'yesterday' is neither a date nor a date and time"),
        (("--until", "2026-02-30"), "--until: '2026-02-30' is neither"),
        (("--until", "9999-12-31"), "beyond what a calendar holds"),
        (("--since", "0001-01-01", "--tz", "Asia/Kathmandu"), "beyond what a calendar holds"),
        (("--invoice", "267,33"), "--invoice: '267,33' is not an amount in dollars"),
        (("--invoice", "nan"), "--invoice: 'nan' is not an amount"),
        (("--invoice", "1e99"), "more than a billion"),
        (("--balance", "9", "10"), "more afterwards than before"),
        (("--balance", "ten", "9"), "--balance: 'ten' is not an amount"),
        (("--invoice", "1", "--balance", "2", "1"), "give one of them"),
        (("--pictures", "-1"), "--pictures"),
        (("--select", "client:"), "client:"),
    ],
)
def test_bad_flags(cli: Cli, shop: Shop, flags: Sequence[str], words: str) -> None:
    """Exit code 2 and a sentence."""
    (shop.root / "out" / ".batchedit").mkdir(parents=True)
    book = Book(shop.root / "out" / ".batchedit" / "ledger.db")
    book.want("a", "white", client="acme", season="AW")
    book.writer.close()
    result = cli("report", "out", *flags)
    assert (result.code, words in result.err) == (2, True), result.err


def test_a_ledger_that_is_none(cli: Cli, shop: Shop) -> None:
    """A sentence, not a traceback."""
    assert cli("report", "nowhere").code == 8
    shop.write("text.db", "no database, but long enough to look at" * 100)
    assert cli("report", "text.db").code == 8
    with pytest.raises(LedgerError):
        render_report("nowhere")


def test_changed_and_bought_again(cli: Cli, night: Shop) -> None:
    """After `--changed` the first price is waste, and its picture is not on the page any more."""
    text = (night.root / "night.yaml").read_text().replace("grayscale", "sepia")
    night.write("night.yaml", text)
    assert cli("run", "night.yaml", "--out", "out", "--changed").code == 0
    data = cli("report", "out", "--json", "--html", "a.html").json()
    assert (data["total"]["spent"], data["total"]["waste"]) == ("0.09", {"superseded": "0.045"})
    assert (night.root / "a.html").read_text().count('alt="after: ') == 5


def test_a_chain_shows_the_picture_it_started_from(cli: Cli, shop: Shop) -> None:
    """It is among the raws; the verdict says what still waits."""
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low}\nedits:\n  white: {prompt: 'pure white background'}\n"
        "  scene: {from: white, prompt: 'warmer light'}\n  hero: {from: white, when: approved, prompt: 'sepia'}\n"
        "sources: [{glob: in/*.png}]\n",
    )
    cli("run", "night.yaml", "--out", "out")
    assert cli("report", "out", "--html", "a.html").code == 0
    html = (shop.root / "a.html").read_text()
    assert html.count('alt="before: ') == 6
    assert "6 of 9 tasks done; 3 wait for another edit." in html
    assert html.count("batchedit verdicts import") == 1


FAST = "{timeout: 2, list_lag: 0, poll: 0.05, rpm: 6000}"


@pytest.mark.parametrize("reported", ["yes", "no"])
def test_the_report_is_the_provider_s_bill(cli: Cli, shop: Shop, serve: Serve, reported: str) -> None:
    """
    With faults, the sum over every grouping is what the provider's own books say; where it names no price, they lie
    within spent and at risk.
    """
    served = serve(cost_reported=reported)
    for fault, times in {"failed_transient": 3, "error_before": 2, "duplicate_runs": 1, "answer_lost": 2}.items():
        served.emulator.script(fault, times=times)
    for number in range(8):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (30 * number, 90, 200), side=48)
    served.manifest(shop, rows="sources: [{glob: many/*.png}]\n", limits=FAST)
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    billed = MicroUSD(served.audit()["billed_microusd_total"])
    data = cli("report", "out", "--by", ",".join(GROUPINGS), "--json").json()
    spent, at_risk = (parse_usd(data["total"][name]) for name in ("spent", "at_risk"))
    assert billed == spent if reported == "yes" else spent <= billed <= spent + at_risk
    assert (at_risk == 0) == (reported == "yes")
    for name, groups in data["by"].items():
        assert parse_usd(sum((Decimal(each["spent"]) for each in groups.values()), Decimal(0))) == spent, name
    check = cli("report", "out", "--invoice", str(Decimal(billed) / 1_000_000), "--json").json()["invoice"]
    assert check["agrees"]
