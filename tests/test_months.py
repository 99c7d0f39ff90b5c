"""Months of the calendar in reports: made of the same days, in every form, and held apart from a label of that name."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchedit import render_report
from batchedit.ledger import passing
from batchedit.ledger.sums import CostGroup
from batchedit.money import MicroUSD, parse_usd
from batchedit.summary import Money, crossed, summarize
from tests.conftest import Result, Shop
from tests.test_report import Book, a_cost

Cli = Callable[..., Result]

ZONES = [
    UTC,
    *map(
        ZoneInfo,
        (
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kathmandu",
            "Pacific/Kiritimati",
            "Pacific/Pago_Pago",
            # Whose clock was put ahead by a whole day at the end of 2011: there was no 30 December.
            "Pacific/Apia",
        ),
    ),
]
# Around the turns of months and of years, and around the nights in which clocks are changed.
MOMENTS = st.builds(
    lambda turn, minutes: (datetime.fromisoformat(turn) + timedelta(minutes=minutes)).isoformat()[:16],
    st.sampled_from(
        ["2011-12-30", "2026-02-28", "2026-03-01", "2026-03-29", "2026-10-25", "2026-11-01", "2027-01-01", "2028-03-01"]
    ),
    st.integers(-2000, 2000),
)
COSTS = st.lists(
    st.builds(
        lambda minute, cost, risk, use, outcome, client: a_cost(
            minute=minute, cost=MicroUSD(cost), at_risk=MicroUSD(risk), surplus=MicroUSD(cost // 3), use=use,
            outcome=outcome, labels=json.dumps({"client": client}),
        ),
        MOMENTS,
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        st.sampled_from(["useful", "superseded"]),
        st.sampled_from(["done", "throttled", "failed"]),
        st.sampled_from(["acme", "globex"]),
    ),
    max_size=20,
)  # fmt: skip


def added(parts: Iterable[Money]) -> dict[str, object]:
    """The sum of each field that is one."""
    parts = list(parts)
    found: dict[str, object] = {
        each.name: sum(getattr(part, each.name) for part in parts)
        for each in fields(Money) if each.name not in ("waste", "saved")
    }  # fmt: skip
    return {**found, "waste": sum((part.waste for part in parts), Counter())}


@given(COSTS, st.sampled_from(ZONES))
@example([a_cost(minute="2026-10-31T23:30", cost=MicroUSD(7))], ZoneInfo("Europe/Berlin"))
def test_a_month_is_the_sum_of_its_days(costs: list[CostGroup], zone: tzinfo) -> None:
    """In every figure, over any turn and change of the clock, alone and crossed with a label; all months are the total."""
    figures = summarize(costs, [], by=["month", "day"], zone=zone)
    months, days = figures.by["month"], figures.by["day"]
    assert set(months) == {day[:7] for day in days}
    for month, money in months.items():
        assert added([money]) == added(each for day, each in days.items() if day.startswith(f"{month}-"))
    assert added(months.values()) == added([figures.total])
    expected: Counter[str] = Counter()
    for row in costs:
        there = datetime.fromisoformat(row.minute).replace(tzinfo=UTC).astimezone(zone)
        expected[f"{there.year:04}-{there.month:02}"] += row.cost + row.surplus
    assert {month: money.spent for month, money in months.items()} == expected
    of_days = crossed(costs, [], ["client", "day"], zone=zone)
    of_months = crossed(costs, [], ["client", "month"], zone=zone)
    parts: dict[tuple[str, ...], list[Money]] = defaultdict(list)
    for (client, day), money in of_days.items():
        parts[client, day[:7]].append(money)
    assert {key: added([money]) for key, money in of_months.items()} == {k: added(v) for k, v in parts.items()}


@pytest.mark.parametrize(
    ("minute", "zone", "month"),
    [
        ("2026-10-31T23:59", "UTC", "2026-10"),
        ("2026-11-01T00:00", "UTC", "2026-11"),
        ("2026-12-31T23:59", "UTC", "2026-12"),
        ("2027-01-01T00:00", "UTC", "2027-01"),
        ("2026-10-31T22:59", "Europe/Berlin", "2026-10"),  # winter time since the 25th
        ("2026-10-31T23:00", "Europe/Berlin", "2026-11"),
        ("2026-09-30T21:59", "Europe/Berlin", "2026-09"),
        ("2026-09-30T22:00", "Europe/Berlin", "2026-10"),
        ("2026-12-31T18:14", "Asia/Kathmandu", "2026-12"),
        ("2026-12-31T18:15", "Asia/Kathmandu", "2027-01"),
        ("2026-11-01T03:59", "America/New_York", "2026-10"),  # the clock is set back in the next night
        ("2026-11-01T04:00", "America/New_York", "2026-11"),
        ("2028-02-29T23:59", "UTC", "2028-02"),
        ("2011-12-30T09:59", "Pacific/Apia", "2011-12"),
        ("2011-12-31T10:00", "Pacific/Apia", "2012-01"),
    ],
)
def test_a_month_ends_at_the_zone_s_own_midnight(minute: str, zone: str, month: str) -> None:
    """As its last day does."""
    assert list(summarize([a_cost(minute=minute)], [], by=["month"], zone=ZoneInfo(zone)).by["month"]) == [month]


# -- in a ledger, in every form ---------------------------------------------------------------------------------------

TURNS = {
    "2026-10-24T22:30": 11, "2026-10-25T00:30": 13, "2026-10-25T01:30": 17,  # the hour that comes twice
    "2026-10-31T22:30": 190_000, "2026-10-31T23:30": 23, "2026-11-30T23:30": 29, "2026-12-31T22:30": 31,
    "2026-12-31T23:30": 370_000, "2027-01-31T12:00": 41,
}  # fmt: skip
BERLIN = {"2026-10": 190_041, "2026-11": 23, "2026-12": 60, "2027-01": 370_041}


def filled(path: Path, turns: dict[str, int] = TURNS, **labels: str) -> Path:
    """A ledger with a purchase that ends at each of these moments."""
    book = Book(path)
    for number, (moment, cost) in enumerate(turns.items()):
        book.now = datetime.fromisoformat(moment).replace(tzinfo=UTC) - timedelta(minutes=1)
        book.buy(book.want(f"s{number}", f"prompt {number}", **labels), cost)
    book.writer.close()
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Purchases around the turns of months, of the year and of the clock."""
    return filled(tmp_path / "ledger.db")


def amounts_in(form: str, text: str) -> tuple[str, dict[str, MicroUSD]]:
    """The heading of the first table by something, and its rows in their order: what was spent; the total last."""
    match form:
        case "text":
            lines = text[text.index("requests  pictures") :].splitlines()[1:]
            rows = [line.split() for line in lines[: lines.index("")]]
            head = next(line for line in text.splitlines() if "requests  pictures" in line)
            return head.split("  ")[0], {row[0]: parse_usd(row[3]) for row in rows}
        case "markdown":
            block = next(block for block in text.split("\n\n") if "| requests |" in block).splitlines()
            cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in block]
            return cells[0][0], {row[0].strip("*"): parse_usd(row[3]) for row in cells[2:]}
        case "html":
            table = re.search(r"<h3>by (.*?)</h3>.*?</table>", text, re.DOTALL)
            assert table
            rows = re.findall(r'<th scope="row">(.*?)</th>.*?<td class="number">(.*?)</td>', table[0], re.DOTALL)
            return table[1], {name: parse_usd(amount) for name, amount in rows}
        case "csv":
            read = list(csv.DictReader(io.StringIO(text, newline="")))
            found = {next(iter(row.values())): parse_usd(row["spent"]) for row in read}
            return next(iter(read[0])), {**found, "total": MicroUSD(sum(found.values()))}
        case _:
            data = json.loads(text)
            (name, groups), *_ = data["by"].items()
            found = {key: parse_usd(money["spent"]) for key, money in groups.items()}
            return name, {**found, "total": parse_usd(data["total"]["spent"])}


FORMS = ("text", "json", "csv", "markdown", "html")


def asked(cli: Cli, form: str, *flags: object) -> tuple[str, dict[str, MicroUSD]]:
    more = {"text": (), "json": ("--json",)}.get(form, (f"--{form}", "-"))
    result = cli("report", *flags, *more)
    assert result.code == 0, result.err
    return amounts_in(form, result.out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"])
def test_every_form_has_the_months_of_its_days(cli: Cli, ledger: Path, form: str, zone: str) -> None:
    """In their order, and their sum is the whole report's."""
    head, months = asked(cli, form, ledger, "--by", "month", "--tz", zone)
    _, days = asked(cli, form, ledger, "--by", "day", "--tz", zone)
    assert head == ("month" if form in ("json", "csv") else "month (calendar)")
    assert months.pop("total") == days.pop("total") == sum(TURNS.values()) == sum(months.values())
    sums: Counter[str] = Counter()
    for day, spent in days.items():
        sums[day[:7]] += spent
    assert months == sums
    assert list(months) == sorted(months), "in the order of time, though others are dearer"
    if zone == "Europe/Berlin":
        assert months == BERLIN


def test_months_beside_labels_and_within_a_time(cli: Cli, tmp_path: Path) -> None:
    """A row for each client and month; `--until` a date ends with the month's last day of that zone."""
    one, other = filled(tmp_path / "a.db", client="acme"), filled(tmp_path / "b.db", client="globex")
    result = cli("report", one, other, "--by", "client,month", "--tz", "Europe/Berlin", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(result.out, newline="")))
    assert {(row["client"], row["month"]): parse_usd(row["spent"]) for row in rows} == {
        (client, month): spent for client in ("acme", "globex") for month, spent in BERLIN.items()
    }
    assert "delivered" not in rows[0], "a task may have had attempts in several months"
    only = ("--since", "2026-11-01", "--until", "2026-12-31", "--tz", "Europe/Berlin")
    data = cli("report", one, "--by", "month", *only, "--json").json()
    assert {month: each["spent"] for month, each in data["by"]["month"].items()} == {
        "2026-11": "0.000023", "2026-12": "0.00006",
    }  # fmt: skip
    assert data["by_labels"] == []


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_of_too_many_months_the_last_are_shown(tmp_path: Path, form: str) -> None:
    """As of days; how many are left out is said, and the total is that of all."""
    turns = {f"{2020 + number // 12}-{number % 12 + 1:02}-15T12:00": 100 - number for number in range(70)}
    path = filled(tmp_path / "ledger.db", turns)
    text = str(render_report(path, by=["month"], form=form))  # type: ignore[arg-type]
    room = {"text": 60, "markdown": 25, "html": 40}[form]
    assert f"and {70 - room} earlier" in text
    table = text[text.index("month (calendar)") :]
    table = table[: table.index("total")]
    assert re.findall(r"\b20\d\d-\d\d\b(?!-)", table) == sorted(moment[:7] for moment in turns)[-room:]


def test_long_ledgers_have_the_same_months(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read in quarters of an hour, each of which lies in one month of every zone."""
    for zone in ZONES:
        found = []
        for long in (timedelta(0), timedelta(days=9999)):
            monkeypatch.setattr(passing, "_LONG", long)
            found.append(json.loads(render_report(ledger, by=["month"], form="json", zone=zone))["by"])
        assert found[0] == found[1]


# -- a label of this name ---------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A ledger of two clients, of whom one has always sorted its catalogue by a label ``month``."""
    book = Book(tmp_path / "labelled.db", begins="2026-11-30T23:30")
    book.buy(book.want("a", "white", client="acme", month="spring"), 100)
    book.buy(book.want("b", "black", client="globex"), 20)
    book.writer.close()
    return book.path


@pytest.mark.parametrize("form", FORMS)
def test_a_label_called_month_goes_before_the_calendar_s(cli: Cli, labelled: Path, form: str) -> None:
    """What was asked for yesterday is what is asked for today, and each form says which it is."""
    head, values = asked(cli, form, labelled, "--by", "month")
    assert head == {"json": "month", "csv": "label.month"}.get(form, "month (label)")
    assert values == {"spring": 100, "(none)": 20, "total": 120}


def test_a_label_called_month_has_deliveries(cli: Cli, labelled: Path) -> None:
    """As any label has, in JSON, in tables and on the page; a report by every label has it, too."""
    data = cli("report", labelled, "--json").json()
    assert (set(data["by"]), data["by_labels"]) == ({"client", "month", "day"}, ["client", "month"])
    assert {value: each["delivered"] for value, each in data["by"]["month"].items()} == {"spring": 1, "(none)": 1}
    head = cli("report", labelled, "--by", "client,month", "--csv", "-").out.splitlines()[0]
    assert head.startswith("client,label.month,requests,attempts,pictures,delivered,")
    page = cli("report", labelled, "--by", "month", "--html", "-").out
    assert '<th scope="col" class="number">delivered</th>' in page.split("by month (label)")[1].split("</table>")[0]


def test_the_name_means_the_same_whatever_is_chosen(cli: Cli, labelled: Path, ledger: Path) -> None:
    """Neither a selection without that label nor a time nor a second ledger turns a label into the calendar."""
    for flags in (("--select", "client:globex"), ("--since", "2026-11-30T23:32")):
        data = cli("report", labelled, "--by", "month", *flags, "--json").json()
        assert ({k: v["spent"] for k, v in data["by"]["month"].items()}, data["by_labels"]) == (
            {"(none)": "0.00002"},
            ["month"],
        )
    both = cli("report", ledger, labelled, "--by", "month", "--json").json()
    assert (set(both["by"]["month"]), both["by_labels"]) == ({"spring", "(none)"}, ["month"])
    nothing = cli("report", ledger, "--by", "month", "--since", "2020-01-01", "--until", "2020-01-02", "--json").json()
    assert (nothing["by"]["month"], nothing["by_labels"]) == ({}, [])


def test_a_label_of_tasks_that_wait_counts(cli: Cli, shop: Shop) -> None:
    """So that the name does not change its meaning when they are bought."""
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low}\nedits:\n  white: {prompt: 'pure white background'}\n"
        "  hero: {from: white, when: approved, prompt: 'sepia', labels: {month: spring}}\n"
        "sources: [{glob: in/*.png}]\n",
    )
    cli("run", "night.yaml", "--out", "out")
    data = cli("report", "out", "--by", "month", "--json").json()
    assert (set(data["by"]["month"]), data["by_labels"], data["waiting"]) == ({"(none)"}, ["month"], {"approval": 3})


def test_months_are_exact_dollars(cli: Cli, ledger: Path) -> None:
    """The decimal texts of all months add up to that of the total."""
    data = cli("report", ledger, "--by", "month", "--tz", "Asia/Kathmandu", "--json").json()
    spent = sum((Decimal(each["spent"]) for each in data["by"]["month"].values()), Decimal(0))
    assert spent == Decimal(data["total"]["spent"]) == Decimal(sum(TURNS.values())).scaleb(-6)
