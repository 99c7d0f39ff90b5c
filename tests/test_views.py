"""The ledger's views: what is documented is there, and they add up to what a report says."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from batchedit.effects import Effects
from batchedit.exporting.dictionary import VIEWS, as_markdown
from batchedit.ledger import views
from batchedit.ledger.books import Books
from batchedit.ledger.connection import open_for_reading
from batchedit.ledger.writer import LedgerWriter
from batchedit.summary import Figures, summarize
from tests.conftest import Result, Shop, database, drop_views
from tests.everything import OUTCOMES, everything, write_everything
from tests.proof.nights import simulate

DOCS = Path(__file__).parent.parent / "docs" / "ledger.md"


def figures_of(path: Path) -> Figures:
    with Books(path) as books:
        names = {name for group in books.cost_groups() for name in json.loads(group.labels)}
        by = [*sorted(names), "day"]
        return summarize(books.cost_groups(), books.task_groups(), troubles=books.troubles(), by=by)


def agree(path: Path, connection: sqlite3.Connection) -> None:
    """Every sum over every view is that of the report, to the micro-dollar."""
    figures = figures_of(path)
    total = figures.total

    def one(sql: str) -> tuple[int, ...]:
        return tuple(connection.execute(sql).fetchone())

    spent_risk = (total.spent, total.at_risk)
    for view in ("v_attempts", "v_requests", "v_cost_day", "v_runs"):
        sums = f"SELECT coalesce(sum(spent_microusd), 0), coalesce(sum(at_risk_microusd), 0) FROM {view}"
        assert one(sums) == spent_risk, view
    days = {row[0]: tuple(row)[1:] for row in connection.execute(
        "SELECT day, spent_microusd, at_risk_microusd, useful_microusd, wasted_microusd, requests, attempts, pictures"
        " FROM v_cost_day")}  # fmt: skip
    assert days == {
        day: (each.spent, each.at_risk, each.useful, each.wasted, each.requests, each.attempts, each.pictures)
        for day, each in figures.by["day"].items()
    }
    labels: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for row in connection.execute(
        "SELECT label, value, spent_microusd, at_risk_microusd, wasted_microusd, attempts FROM v_cost_label"
    ):
        labels[row[0]][row[1]] = tuple(row)[2:]
    assert dict(labels) == {
        name: {
            value: (money.spent, money.at_risk, money.wasted, money.attempts)
            for value, money in groups.items() if money.attempts
        }
        for name, groups in figures.by.items() if name != "day"
    }  # fmt: skip
    for groups in labels.values():
        assert sum(each[0] for each in groups.values()) == total.spent
    waste = Counter(dict(connection.execute("SELECT kind, sum(amount_microusd) FROM v_waste GROUP BY kind").fetchall()))
    assert waste == total.waste
    states = Counter(dict(connection.execute("SELECT state, count(*) FROM v_tasks GROUP BY state").fetchall()))
    assert states == figures.tasks
    assert one("SELECT count(*) FROM v_failures") == (len(figures.troubles),)
    assert one("SELECT coalesce(sum(tasks), 0) FROM v_failures") == (sum(each.tasks for each in figures.troubles),)
    for micro, text in connection.execute("SELECT spent_microusd, spent_usd FROM v_attempts"):
        assert text == f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


@pytest.mark.parametrize("seed", range(5))
def test_they_add_up_to_the_report_with_every_outcome(tmp_path: Path, seed: int) -> None:
    """Drawn ledgers with every outcome, basis, verdict and kind of waste."""
    path = write_everything(tmp_path / "ledger.db", seed)
    assert everything(path).keys() == {*OUTCOMES, "open"}
    with database(path) as db:
        agree(path, db)
    assert set(figures_of(path).total.waste) == {
        "rejected", "superseded", "suspect", "lost", "written off", "failed but billed", "open", "double"
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 4, 17, 23, 42])
def test_they_add_up_to_the_report_of_simulated_nights(tmp_path: Path, seed: int) -> None:
    """Ledgers that the real pool has written under faults and deaths."""
    simulate(seed, tmp_path)
    path = tmp_path / "out/.batchedit/ledger.db"
    with database(path) as db:
        assert db.execute("SELECT count(*) FROM v_attempts").fetchone()[0] > 0
        agree(path, db)


def test_an_empty_ledger_has_empty_views(tmp_path: Path) -> None:
    """Sums of nothing are no rows, and no error."""
    LedgerWriter(tmp_path / "ledger.db", Effects(), world="real").close()
    with database(tmp_path / "ledger.db") as db:
        assert all(db.execute(f"SELECT * FROM {name}").fetchall() == [] for name in views.VIEWS)


def test_the_documents_and_the_views_have_the_same_columns(tmp_path: Path) -> None:
    """Name by name, in order; the document is the dictionary that Datasette shows."""
    LedgerWriter(tmp_path / "ledger.db", Effects(), world="real").close()
    with database(tmp_path / "ledger.db") as db:
        there = {name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for name in views.VIEWS}
        made = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    assert {name: list(view.columns) for name, view in VIEWS.items()} == there
    assert made == set(VIEWS)
    assert as_markdown() in DOCS.read_text("utf-8")


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Prints of keys, idempotency keys, digests of bodies and scopes stay in the tables."""
    path = write_everything(tmp_path / "ledger.db")
    with database(path) as db:
        assert "SECRET" in str(db.execute("SELECT * FROM attempts").fetchall())
        for name in views.VIEWS:
            assert "SECRET" not in str(db.execute(f"SELECT * FROM {name}").fetchall())


def test_times_are_iso_and_units_are_what_the_names_say(tmp_path: Path) -> None:
    """A column that ends in _at holds a moment in UTC, _microusd a whole number, _usd a decimal text."""
    path = write_everything(tmp_path / "ledger.db")
    rules: Iterable[tuple[str, Callable[[object], bool]]] = (
        ("_at", lambda value: isinstance(value, str) and (value == "" or value.endswith("Z"))),
        ("_microusd", lambda value: isinstance(value, int) and value >= 0),
        ("_usd", lambda value: isinstance(value, str) and value[-7] == "."),
    )
    with database(path) as db:
        for name, view in VIEWS.items():
            for column in view.columns:
                for ending, holds in rules:
                    if column.endswith(ending):
                        found = {row[0] for row in db.execute(f'SELECT "{column}" FROM {name}')} - {None}
                        assert all(map(holds, found)), (name, column, found)


def test_a_reader_has_them_over_an_older_ledger(tmp_path: Path) -> None:
    """A ledger that no newer program has opened for writing stays as it is, and tells the same."""
    path = write_everything(tmp_path / "ledger.db")
    with database(path) as db:
        db.execute("DELETE FROM decisions")
        db.execute("DELETE FROM checks")
        expected = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in views.VIEWS}
    with database(path) as db:
        drop_views(db)
        db.execute("DROP TABLE waiting")
        db.execute("DROP TABLE decisions")
        db.execute("ALTER TABLE tasks DROP COLUMN tags")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'chains'")
        db.execute("PRAGMA user_version = 3")
    before = path.read_bytes()
    connection = open_for_reading(path)
    views.ensure_views(connection)
    for name, rows in expected.items():
        assert [tuple(row) for row in connection.execute(f"SELECT * FROM {name}")] == rows, name
    connection.close()
    assert path.read_bytes() == before
    LedgerWriter(path, Effects(), world="real").close()
    with database(path) as db:
        assert {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in views.VIEWS} == expected


def test_an_older_ledger_is_still_reported_on(cli: Callable[..., Result], shop: Shop, jobs: Path) -> None:
    """What reads without views goes on without them; the next run adds them."""
    cli("run", jobs, "--json")
    with database("out/.batchedit/ledger.db") as db:
        drop_views(db)
        db.execute("PRAGMA user_version = 4")
    assert cli("report", "out", "--json").json()["total"]["spent"] == "0.399"
    assert cli("ls", "out").code == cli("plan", jobs).code == 0
    assert cli("run", jobs, "--json").code == 0
    cli("verdicts", "export", "v.csv", "out")


@pytest.mark.parametrize("name", ["v_tasks", "v_requests", "v_attempts"])
def test_each_row_is_found_by_an_index(tmp_path: Path, name: str) -> None:
    """One table is read from end to end; what belongs to a row is looked up."""
    LedgerWriter(tmp_path / "ledger.db", Effects(), world="real").close()
    with database(tmp_path / "ledger.db") as db:
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {name}")]
    assert len([step for step in steps if step.startswith("SCAN")]) == 1, steps
