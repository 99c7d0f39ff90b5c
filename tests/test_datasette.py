"""The real Datasette over a backup of a real ledger, with the metadata that `export datasette` writes."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchedit.emulator import Faults
from batchedit.exporting.datasette import TABLES, metadata
from batchedit.exporting.dictionary import VIEWS
from batchedit.ledger import views
from tests.conftest import Result, Served, Shop, database
from tests.everything import write_everything

Cli = Callable[..., Result]
Serve = Callable[..., Served]

QUERIES = metadata()["databases"]["ledger"]["queries"]


def ask(ledger: Path, told: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Path -> answer of a Datasette that serves the ledger; JSON is read."""
    app = pytest.importorskip("datasette.app", reason="Datasette is not installed (extra `datasette`)")

    async def all_of_them() -> dict[str, Any]:
        served = app.Datasette([str(ledger)], metadata=told)
        await served.invoke_startup()
        answers = {}
        for path in paths:
            answer = await served.client.get(path)
            assert answer.status_code == 200, (path, answer.text[:500])
            answers[path] = answer.json() if ".json" in path else answer.text
        for each in served.databases.values():
            each.close()
        return answers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        return asyncio.run(all_of_them())


def test_every_view_of_a_real_night_is_a_page(cli: Cli, shop: Shop, serve: Serve) -> None:
    """As JSON and as HTML, with titles, meanings and facets; rows are those of the ledger; tables are out of sight."""
    served = serve(Faults(failed_moderation=0.5))
    served.manifest(
        shop,
        rows="edits: {white: {prompt: white}, grey: {prompt: grayscale}}\nsources: [{glob: in/*.png, labels: {client: acme}}]\n",
    )
    assert cli("run", "night.yaml", "--yes", "--no-input").code in (0, 3)
    assert cli("ledger", "backup", "out", "copy.db").code == 0
    assert cli("export", "datasette", "--database", "copy", "--out", "metadata.yaml").code == 0
    told = yaml.safe_load(Path("metadata.yaml").read_text())
    pages = [f"/copy/{name}" for name in VIEWS]
    data = [f"/copy/{name}.json?_shape=array&_size=max" for name in VIEWS]
    answers = ask(Path("copy.db"), told, ["/copy", "/copy.json", *pages, *data])
    with database("out/.batchedit/ledger.db") as db:
        for name, path in zip(VIEWS, data, strict=True):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
            rows = [dict(zip(columns, row, strict=True)) for row in db.execute(f"SELECT * FROM {name}")]
            assert sorted(map(str, answers[path])) == sorted(map(str, rows)), name
    for name, page in zip(VIEWS, pages, strict=True):
        assert VIEWS[name].title in answers[page]
        assert VIEWS[name].about in answers[page]
    assert "the task&#39;s stable name" in answers["/copy/v_tasks"]
    assert {table["name"] for table in answers["/copy.json"]["tables"] if not table["hidden"]} == set()
    assert {view["name"] for view in answers["/copy.json"]["views"]} == set(VIEWS)


@pytest.mark.parametrize("ending", ["", ".json"])
def test_every_ready_question_has_an_answer(tmp_path: Path, ending: str) -> None:
    """Over a ledger with everything in it; what comes is what a report says."""
    path = write_everything(tmp_path / "ledger.db")
    values = {"cost_by_label": "label=client", "tasks_of_a_failure": "code=moderated"}
    paths = {name: f"/ledger/{name}{ending}?{values.get(name, '')}" for name in QUERIES}
    answers = ask(path, metadata(), paths.values())
    for name, (_, about) in {name: (each["title"], each["description"]) for name, each in QUERIES.items()}.items():
        if not ending:
            assert about in answers[paths[name]]
        else:
            assert answers[paths[name]]["rows"], name
            assert not answers[paths[name]].get("error")
    if ending:
        with database(path) as db:
            waste = dict(db.execute("SELECT kind, sum(amount_microusd) FROM v_waste GROUP BY kind").fetchall())
        rows = [row if isinstance(row, list) else list(row.values()) for row in answers[paths["waste_by_kind"]]["rows"]]
        assert {row[0]: row[2] for row in rows} == waste


def test_hostile_texts_are_text(tmp_path: Path) -> None:
    """A label with markup does not become any."""
    path = write_everything(tmp_path / "ledger.db")
    with database(path) as db:
        db.execute("UPDATE tasks SET item_id = '<script>alert(1)</script>'")
    page = ask(path, metadata(), ["/ledger/v_tasks"])["/ledger/v_tasks"]
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_metadata_names_what_there_is(tmp_path: Path) -> None:
    """Every view and every table, every facet and sort a column; a question runs as it stands."""
    path = write_everything(tmp_path / "ledger.db")
    told = metadata()["databases"]["ledger"]["tables"]
    with database(path) as db:
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert set(TABLES) == {name for name in there if not name.startswith("sqlite_")}
        assert set(told) == set(TABLES) | set(views.VIEWS)
        for query in QUERIES.values():
            assert db.execute(query["sql"], {"label": "client", "code": ""}).fetchall()
    for name in views.VIEWS:
        columns = set(told[name]["columns"])
        assert {*told[name]["facets"], told[name].get("sort") or told[name]["sort_desc"]} <= columns
