"""`batchedit export`: each form against the ledger it comes from, with hostile texts, streams and failing disks."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from batchedit import disk
from batchedit.effects import Effects
from batchedit.emulator import Faults
from batchedit.errors import NothingSelected
from batchedit.exporting import export_ledger
from batchedit.ledger.books import Books
from batchedit.ledger.exports import Exports
from batchedit.ledger.writer import LedgerWriter
from batchedit.manifest import Overrides, load_manifest
from batchedit.money import MicroUSD, parse_usd
from batchedit.summary import Figures, summarize
from tests.conftest import Result, Served, Shop, database, drop_views
from tests.everything import HOSTILE, write_everything

Cli = Callable[..., Result]
Serve = Callable[..., Served]

FORMS = ("results", "csv", "ndjson", "imagefolder", "prometheus")
ADDED = [
    "status",
    "file",
    "sha256",
    "width",
    "height",
    "bytes",
    "cost_usd",
    "attempts",
    "error",
    "verdict",
    "reason",
    "checks",
    "slot",
]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """One with everything in it."""
    return write_everything(tmp_path / "ledger.db")


def figures_of(path: Path) -> Figures:
    with Books(path) as books:
        return summarize(books.cost_groups(), books.task_groups(), by=["edit"])


def text_of(form: Any, path: Path, **more: Any) -> str:
    stream = io.StringIO()
    export_ledger(form, path, stream, **more)
    return stream.getvalue()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# -- the result manifest --------------------------------------------------------------------------------------------


def test_a_manifest_comes_back_with_what_became_of_it(cli: Cli, shop: Shop) -> None:
    """Its columns unchanged and in order, blanks and odd cells included; behind them what the ledger knows."""
    shop.write(
        "jobs.csv",
        "Title ,id,image,prompt,,label.client,price\n"
        '=SUM(A1) ,0123_1,in/mug.png,"grayscale, please",,acme,01.50\n'
        ' "x",0123_2, in/shoe.png ,mirror it,,,\n'
        "\n"
        "no picture,0123_3,,mirror it,,,7\n",
    )
    assert cli("run", "jobs.csv").code == 0
    result = cli("export", "results", "out", "--manifest", "jobs.csv", "--out", "done.csv", "--raw")
    assert (result.code, result.out) == (0, "")
    assert result.err == "wrote done.csv: 2 rows\n"
    before = list(csv.reader(Path("jobs.csv").read_text().splitlines()))
    after = list(csv.reader(Path("done.csv").read_text().splitlines()))
    assert after[0] == [name.strip() for name in before[0]] + ADDED
    assert [row[:7] for row in after[1:]] == before[1:3]
    done = table(Path("done.csv").read_text())[0]
    listed = cli("show", "0123_1", "out", "--json").json()
    assert (done["status"], done["file"], done["slot"]) == ("done", "mug.png", "0123_1/edit")
    assert (done["sha256"], done["cost_usd"], done["attempts"]) == (listed["files"][0]["sha256"], "0.133", "1")
    assert int(done["bytes"]) == Path("out/mug.png").stat().st_size
    assert (int(done["width"]), int(done["height"])) == (listed["raws"][0]["width"], listed["raws"][0]["height"])


def test_it_is_a_manifest_again(cli: Cli, shop: Shop, jobs: Path) -> None:
    """With the same tasks: everything is done, and nothing is said about its columns."""
    cli("run", jobs)
    cli("export", "results", "out", "--manifest", jobs, "--out", "again.csv")
    plan = cli("plan", "again.csv", "--json").json()
    assert plan["counts"]["done"] == 3
    assert plan["requests_to_buy"] == 0
    assert cli("check", "again.csv").code == 0
    cli("export", "results", "out", "--manifest", "again.csv", "--out", "twice.csv")
    header = Path("twice.csv").read_text().splitlines()[0]
    assert header == ",".join(["id", "image", "prompt", *ADDED, *(f"batchedit_{name}" for name in ADDED)])


def test_names_that_collide_get_a_prefix(cli: Cli, shop: Shop) -> None:
    """Without regard to case, as a shop's export has `Status`."""
    shop.write("jobs.csv", "image,prompt,Status,file\nin/mug.png,mirror it,active,x.png\n")
    cli("run", "jobs.csv")
    row = table(cli("export", "results", "out", "--manifest", "jobs.csv").out)[0]
    assert (row["Status"], row["batchedit_status"]) == ("active", "done")
    assert (row["file"], row["batchedit_file"]) == ("x.png", "mug.png")


def test_json_lines_stay_as_they_were(cli: Cli, shop: Shop) -> None:
    """Numbers, lists and objects keep their kind; the result is JSON Lines if the file's name says so, else a table."""
    rows: list[dict[str, Any]] = [
        {"id": "a", "image": "in/mug.png", "prompt": "mirror it", "n": 2, "price": 1.5, "labels": {"client": "acme"}},
        {
            "id": "b",
            "image": "in/shoe.png",
            "references": ["in/lamp.png", "in/mug.png"],
            "prompt": "warmer",
            "vars": {"x": "y"},
        },
    ]
    shop.write("jobs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert cli("run", "jobs.jsonl").code == 0
    cli("export", "results", "out", "--manifest", "jobs.jsonl", "--out", "done.jsonl")
    told = [json.loads(line) for line in Path("done.jsonl").read_text().splitlines()]
    assert [{name: each[name] for name in rows[n]} for n, each in enumerate(told)] == rows
    assert told[0]["file"] == "mug_1.png|mug_2.png"
    assert told[0]["sha256"].count("|") == told[0]["bytes"].count("|") == 1
    assert isinstance(told[1]["bytes"], int)
    assert cli("plan", "done.jsonl", "--json").json()["counts"]["done"] == 2
    cli("export", "results", "out", "--manifest", "jobs.jsonl", "--out", "done.csv")
    first, second = table(Path("done.csv").read_text())
    assert (first["label.client"], first["price"], second["references"], second["var.x"]) == (
        "acme",
        "1.5",
        "in/lamp.png|in/mug.png",
        "y",
    )
    assert cli("plan", "done.csv", "--json").json()["counts"]["done"] == 2


def test_items_and_globs_and_several_edits(cli: Cli, shop: Shop) -> None:
    """All kinds of rows in one table, a row for each task; one edit of it is a manifest again."""
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low, labels: {season: AW26}}\n"
        "edits: {white: {prompt: white background}, grey: {prompt: grayscale}}\n"
        "items:\n  - {id: m, image: in/mug.png, labels: {client: acme}, vars: {colour: red}}\n"
        "sources: [{glob: in/l*.png}]\n",
    )
    assert cli("run", "night.yaml").code == 0
    rows = table(cli("export", "results", "out", "--manifest", "night.yaml").out)
    assert [row["slot"] for row in rows] == ["lamp/white", "lamp/grey", "m/white", "m/grey"]
    assert [row["image"] for row in rows] == ["in/lamp.png", "in/lamp.png", "in/mug.png", "in/mug.png"]
    assert (rows[2]["label.client"], rows[2]["var.colour"], rows[0]["id"]) == ("acme", "red", "")
    shop.write("one.csv", cli("export", "results", "out", "--manifest", "night.yaml", "--select", "edit:white").out)
    assert [row["slot"] for row in table(Path("one.csv").read_text())] == ["lamp/white", "m/white"]
    assert cli("check", "one.csv", "--prompt", "white background").code == 0


def test_a_shop_export_keeps_its_cells(cli: Cli, shop: Shop) -> None:
    """What a preset fills in for the plan is not written into the rows."""
    shop.write(
        "shop.csv",
        "Handle,Title,Image Src,Image Position\nmug,The mug,in/mug.png,1\nmug,,in/shoe.png,2\nmug,,,\n",
    )
    shop.write("night.yaml", "version: 1\ndefaults: {prompt: mirror it}\nsources: [{csv: shop.csv, preset: shopify}]\n")
    assert cli("run", "night.yaml").code == 0
    rows = table(cli("export", "results", "out", "--manifest", "night.yaml").out)
    assert [(row["Title"], row["slot"]) for row in rows] == [("The mug", "mug_1/edit"), ("", "mug_2/edit")]


def test_new_failed_and_reviewed_tasks(cli: Cli, shop: Shop, serve: Serve) -> None:
    """A task that the ledger does not know is new; errors and verdicts stand in their columns; texts are guarded."""
    served = serve(Faults(failed_moderation=1.0))
    served.manifest(shop)
    assert cli("run", "night.yaml", "--yes", "--no-input", "--select", "lamp").code == 3
    rows = {row["slot"]: row for row in table(cli("export", "results", "out", "--manifest", "night.yaml").out)}
    assert {slot: row["status"] for slot, row in rows.items()} == {
        "lamp/edit": "failed",
        "mug/edit": "new",
        "shoe/edit": "new",
    }
    assert rows["lamp/edit"]["error"]
    assert rows["mug/edit"]["cost_usd"] == rows["mug/edit"]["attempts"] == ""
    assert cli("export", "results", "out", "--manifest", "night.yaml", "--select", "client:x").code == 2


def test_without_a_manifest(ledger: Path) -> None:
    """Id, edit, variant, labels; every task there is; our own texts are guarded, with --raw they are not."""
    rows = table(text_of("results", ledger))
    with Exports(ledger) as reader:
        assert [row["slot"] for row in rows] == [task.slot for task in reader.task_rows()]
    assert sum(parse_usd(row["cost_usd"]) for row in rows) < figures_of(ledger).total.spent  # superseded revisions
    reasons = {row["reason"] for row in rows} - {""}
    assert reasons
    assert not [reason for reason in reasons if reason.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {row["reason"] for row in table(text_of("results", ledger, raw=True))} & set(HOSTILE[:6])


def test_a_prompt_from_the_command_line(cli: Cli, shop: Shop) -> None:
    """A manifest that was run with `--prompt` needs none here; a glob is a manifest too."""
    assert cli("run", "in/*.png", "--prompt", "mirror it").code == 0
    rows = table(cli("export", "results", "out", "--manifest", "in/*.png").out)
    assert [(row["image"], row["status"]) for row in rows] == [(f"in/{n}.png", "done") for n in ("lamp", "mug", "shoe")]


def test_a_manifest_with_a_problem_writes_nothing(cli: Cli, shop: Shop, jobs: Path) -> None:
    """The file that was there stays."""
    cli("run", jobs)
    shop.write("done.csv", "kept")
    shop.write("bad.csv", "id,image,prompt\na,in/mug.png,mirror it\nb,in/nothing.png,mirror it\n")
    result = cli("export", "results", "out", "--manifest", "bad.csv", "--out", "done.csv")
    assert result.code == 2
    assert "bad.csv:3" in result.err
    assert Path("done.csv").read_text() == "kept"
    assert not list(Path.cwd().glob(".done*"))


@pytest.mark.parametrize("target", ["jobs.csv", "link.csv", "out/.batchedit/ledger.db"])
def test_what_is_read_is_never_replaced(cli: Cli, shop: Shop, jobs: Path, target: str) -> None:
    """Neither the manifest, by whatever name, nor the ledger."""
    cli("run", jobs)
    os.link("jobs.csv", "link.csv")
    before = Path(target).read_bytes()
    result = cli("export", "results", "out", "--manifest", "jobs.csv", "--out", target)
    assert (result.code, "it would be replaced" in result.err) == (2, True)
    assert Path(target).read_bytes() == before


# -- finance --------------------------------------------------------------------------------------------------------


def test_the_finance_table_adds_up(ledger: Path) -> None:
    """To the report's totals; a row for each request that was sent, each label in a column."""
    rows = table(text_of("csv", ledger))
    total = figures_of(ledger).total
    assert sum(parse_usd(row["cost"]) for row in rows) == total.spent
    assert sum(parse_usd(row["at_risk"]) for row in rows) == total.at_risk
    assert sum(int(row["attempts"]) for row in rows) == total.attempts
    assert len(rows) == total.requests
    assert {(row["currency"], row["world"]) for row in rows} == {("USD", "real")}
    assert {'odd "name"', "client", "season", "title"} < set(rows[0])
    assert {row["day"] for row in rows} == {"2026-11-24", "2026-11-25", "2026-11-26"}
    assert {row["outcome"] for row in rows} >= {"done", "open", "lost", "suspect"}


def test_no_cell_is_a_formula(ledger: Path) -> None:
    """Unless raw; the marks are kept behind an apostrophe."""
    cells = {cell for row in csv.reader(io.StringIO(text_of("csv", ledger), newline="")) for cell in row}
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {f"'{text}" for text in HOSTILE[:6]} <= cells
    raw = {cell for row in csv.reader(io.StringIO(text_of("csv", ledger, raw=True), newline="")) for cell in row}
    assert set(HOSTILE) <= raw


def test_a_day_ends_at_somebodys_midnight(ledger: Path, cli: Cli) -> None:
    """And a mark begins the file where it is asked for; a label that is called like a column of ours is told apart."""
    with database(ledger) as db:
        db.execute("""UPDATE tasks SET labels = '{"cost": "7", "Day": "x"}' WHERE slot = 'i5/white'""")
    utc = [row["day"] for row in table(cli("export", "csv", ledger).out)]
    there = [row["day"] for row in table(cli("export", "csv", ledger, "--tz", "Asia/Tokyo").out)]
    assert Counter(utc) != Counter(there)
    assert cli("export", "csv", ledger, "--out", "bill.csv", "--bom").code == 0
    data = Path("bill.csv").read_bytes()
    assert data.startswith("\ufeffday,label.Day,client,label.cost,".encode())
    assert cli("export", "csv", ledger, "--tz", "Mars/Base").code == 2
    os.remove("bill.csv")


# -- lines, Parquet, image folder -----------------------------------------------------------------------------------


def test_an_object_for_each_task(ledger: Path) -> None:
    """All tasks, in order, each with a version; money as text and as whole micro-dollars."""
    rows = [json.loads(line) for line in text_of("ndjson", ledger).splitlines()]
    assert Counter(row["status"] for row in rows) == Counter({str(k): n for k, n in figures_of(ledger).tasks.items()})
    assert {row["version"] for row in rows} == {1}
    assert all(parse_usd(row["cost_usd"]) == row["cost_microusd"] for row in rows)
    assert "SECRET" not in str(rows)


def test_parquet_has_types(ledger: Path, tmp_path: Path) -> None:
    """Dollars are decimals, times are times, labels a map; batches do not lose rows."""
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "tasks.parquet"
    count = export_ledger("parquet", ledger, target)
    read = parquet.read_table(target)
    lines = [json.loads(line) for line in text_of("ndjson", ledger).splitlines()]
    assert count == read.num_rows == len(lines)
    types = {field.name: str(field.type) for field in read.schema}
    assert types["spent_usd"] == types["at_risk_usd"] == "decimal128(18, 6)"
    assert types["created_at"] == "timestamp[ms, tz=UTC]"
    assert types["labels"].startswith("map<string, string")
    rows = read.to_pylist()
    assert [(row["slot"], dict(row["labels"]), row["spent_microusd"], [f["path"] for f in row["files"]]) for row in rows] == [
        (line["slot"], line["labels"], line["cost_microusd"], [f["path"] for f in line["files"]]) for line in lines
    ]  # fmt: skip
    assert sum(row["spent_usd"] for row in rows) == Decimal(sum(line["cost_microusd"] for line in lines)).scaleb(-6)


def test_parquet_in_batches(ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches do not lose rows at their ends."""
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("batchedit.exporting.parquet._BATCH", 7)
    count = export_ledger("parquet", ledger, tmp_path / "t.parquet")
    file = parquet.ParquetFile(tmp_path / "t.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (count, -(-count // 7))


def test_parquet_without_pyarrow(cli: Cli, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which extra it needs is said; a stream is refused."""
    assert cli("export", "parquet", ledger, "--out", "-").code == 2
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = cli("export", "parquet", ledger, "--out", ledger.parent / "t.parquet")
    assert (result.code, 'pip install "batchedit[parquet]"' in result.err) == (2, True)


def test_an_image_folder_names_pictures_from_where_it_lies(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Beside the pictures or elsewhere; instruction, source and cost are those of the task; approval can be asked for."""
    cli("run", jobs)
    assert cli("export", "imagefolder", "out", "--out", "out/metadata.jsonl").code == 0
    rows = [json.loads(line) for line in Path("out/metadata.jsonl").read_text().splitlines()]
    assert [row["file_name"] for row in rows] == ["mug.png", "shoe.png", "lamp.png"]
    assert all((Path("out") / row["file_name"]).is_file() for row in rows)
    assert (rows[1]["instruction"], Path(rows[1]["source_file"]).name) == ("grayscale", "shoe.png")
    assert {row["cost_usd"] for row in rows} == {"0.133"}
    Path("sets").mkdir()
    cli("export", "imagefolder", "out", "--out", "sets/metadata.jsonl")
    first = json.loads(Path("sets/metadata.jsonl").read_text().splitlines()[0])
    assert (Path("sets") / first["file_name"]).resolve() == Path("out/mug.png").resolve()
    shop.table("v.csv", [{"slot": "0123_2/edit", "verdict": "approved"}])
    cli("verdicts", "import", "v.csv", "out")
    approved = cli("export", "imagefolder", "out", "--approved").out.splitlines()
    assert [json.loads(line)["verdict"] for line in approved] == ["approved"]
    # And it is a source: what was made yesterday can be edited today.
    Path("out/metadata.jsonl").write_text("\n".join(approved) + "\n")
    plan = cli("plan", "out", "--prompt", "mirror it", "--out", "next", "--json")
    assert plan.json()["requests_to_buy"] == 1


# -- Prometheus -----------------------------------------------------------------------------------------------------


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families(text):
        assert family.documentation
        assert family.type in ("gauge", "counter", "histogram")
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def test_prometheus_reads_the_figures(ledger: Path) -> None:
    """The real parser takes it; sums are the report's; labels are the manifest and the edit and no more."""
    found = samples(text_of("prometheus", ledger))
    total = figures_of(ledger).total

    def dollars(name: str) -> MicroUSD:
        return MicroUSD(sum(round(value * 1_000_000) for _, value in found[name]))

    assert dollars("batchedit_spent_dollars_total") == total.spent
    assert dollars("batchedit_at_risk_dollars") == total.at_risk
    waste = Counter[str]()
    for labels, value in found["batchedit_waste_dollars"]:
        waste[labels["kind"]] += round(value * 1_000_000)
    assert waste == total.waste
    assert sum(value for _, value in found["batchedit_attempts_total"]) == total.attempts
    assert [labels for labels, value in found["batchedit_attempts_total"] if labels["outcome"] == "throttled" and value]
    assert sum(value for _, value in found["batchedit_tasks"]) == figures_of(ledger).tasks.total()
    assert found["batchedit_budget_dollars"] == [({"manifest": 'night "1"'}, 25.0)]
    names = {name for each in found.values() for labels, _ in each for name in labels}
    assert names == {"manifest", "edit", "state", "kind", "outcome", "le"}
    with database(ledger) as db:
        done = db.execute("SELECT count(*) FROM v_attempts WHERE outcome = 'done'").fetchone()[0]
    assert sum(value for _, value in found["batchedit_purchase_duration_seconds_count"]) == done
    buckets = [
        value for labels, value in found["batchedit_purchase_duration_seconds_bucket"] if labels["edit"] == "white"
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == done


def test_rehearsed_money_says_so(cli: Cli, shop: Shop, jobs: Path) -> None:
    """In each form that has money and goes to somebody else."""
    cli("run", jobs)
    assert {row["world"] for row in table(cli("export", "csv", "out").out)} == {"rehearsal"}
    assert {json.loads(line)["world"] for line in cli("export", "ndjson", "out").out.splitlines()} == {"rehearsal"}
    assert samples(cli("export", "prometheus", "out").out)["batchedit_is_rehearsal"] == [({}, 1.0)]


def test_a_new_ledger_has_nothing_to_tell(tmp_path: Path) -> None:
    """Each form is what it is without any task: a header, no lines, a few figures."""
    LedgerWriter(tmp_path / "ledger.db", Effects(), world="real").close()
    assert len(text_of("csv", tmp_path / "ledger.db").splitlines()) == 1
    assert text_of("ndjson", tmp_path / "ledger.db") == text_of("imagefolder", tmp_path / "ledger.db") == ""
    assert list(samples(text_of("prometheus", tmp_path / "ledger.db"))) == ["batchedit_is_rehearsal"]
    with pytest.raises(NothingSelected):
        text_of("results", tmp_path / "ledger.db")


def test_prometheus_moments(cli: Cli, shop: Shop, jobs: Path) -> None:
    """A run that ended well moves the moment to alert on; an odd name of a manifest is escaped."""
    odd = Path('a"b\\c.csv')
    jobs.rename(odd)
    assert cli("run", odd).code == 0
    assert cli("export", "prometheus", "out", "--out", "batchedit.prom").code == 0
    found = samples(Path("batchedit.prom").read_text())
    ((labels, success),) = found["batchedit_last_success_timestamp_seconds"]
    assert labels == {"manifest": 'a"b\\c'}
    assert found["batchedit_last_end_timestamp_seconds"] == [(labels, success)]
    assert found["batchedit_last_start_timestamp_seconds"][0][1] <= success
    assert os.stat("batchedit.prom").st_mode & 0o044, "another user collects it"
    with database("out/.batchedit/ledger.db") as db:
        db.execute("UPDATE runs SET exit_code = 3")
    assert "batchedit_last_success" not in cli("export", "prometheus", "out").out


# -- what all of them have in common --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_selection_limits_each_form(ledger: Path, form: Any) -> None:
    """To the tasks that are meant; two halves make the whole."""
    halves = [text_of(form, ledger, **{flag: ["client:acme"]}).splitlines() for flag in ("select", "exclude")]
    assert all(len(lines) > 1 for lines in halves)
    if form != "prometheus":
        whole = text_of(form, ledger).splitlines()
        head = 1 if form in ("results", "csv") else 0
        assert Counter(whole[head:]) == Counter(halves[0][head:]) + Counter(halves[1][head:])
        assert halves[0][:head] == halves[1][:head] == whole[:head]
    else:
        spent = [
            sum(value for _, value in samples("\n".join(lines) + "\n")["batchedit_spent_dollars_total"])
            for lines in halves
        ]
        assert round(sum(spent) * 1_000_000) == figures_of(ledger).total.spent


@pytest.mark.parametrize("form", FORMS)
def test_an_older_ledger_says_the_same(ledger: Path, form: Any) -> None:
    """It has no views and stays as it is."""
    with database(ledger) as db:
        db.execute("DELETE FROM checks")  # an older ledger has none
    before = text_of(form, ledger)
    with database(ledger) as db:
        drop_views(db)
        db.execute("PRAGMA user_version = 4")
    assert text_of(form, ledger) == before


@pytest.mark.parametrize("form", [*FORMS, "parquet"])
def test_a_file_is_whole_or_not_there(ledger: Path, form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at the end leaves what was there, and nothing of its own."""
    target = ledger.parent / "exported.prom"
    target.write_text("before")

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("batchedit.exporting.files.sync_file", fail)
    with pytest.raises(Exception, match=r"cannot write .*No space left"):
        export_ledger(form, ledger, target)
    assert target.read_text() == "before"
    assert sorted(path.name for path in ledger.parent.iterdir() if "exported" in path.name) == ["exported.prom"]
    monkeypatch.setattr("batchedit.exporting.files.sync_file", disk.sync_file)
    assert export_ledger(form, ledger, target) > 0
    assert target.read_bytes() != b"before"


def test_a_reader_that_has_gone_is_no_bug(ledger: Path) -> None:
    """As with `| head`."""
    with database(ledger) as db:
        db.execute("UPDATE tasks SET place = ?", ("x" * 5000,))
    shell = f"{sys.executable} -m batchedit export ndjson {ledger} | head -c 10; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_while_a_run_is_writing(ledger: Path) -> None:
    """An export tells one moment, and the writer does not wait for it."""
    with Exports(ledger) as reader:
        rows = reader.task_rows()
        first = next(rows)
        with database(ledger) as db:
            db.execute("UPDATE tasks SET place = 'changed'")
        assert {row.place for row in rows} & {"changed"} == set()
        assert first.place != "changed"


def test_memory_does_not_grow_with_the_tasks(tmp_path: Path) -> None:
    """Ten times the tasks take no more memory, within a few megabytes."""
    peaks = []
    for count in (2_000, 20_000):
        path = write_everything(tmp_path / f"{count}.db", tasks=count)
        code = (
            "import resource, sys; from pathlib import Path; from batchedit.exporting import export_ledger;"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
            "[export_ledger(form, Path(sys.argv[1]), Path(sys.argv[2])) for form in ('results', 'csv', 'ndjson', 'prometheus')];"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, path, tmp_path / "x"], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 8_000, peaks


def test_a_large_manifest_is_streamed(cli: Cli, shop: Shop) -> None:
    """Rows come out as they are read: the first is there before the last is looked at."""
    shop.table("jobs.csv", [{"id": str(n), "image": "in/mug.png", "prompt": "mirror it"} for n in range(50)])
    assert cli("run", "jobs.csv", "--output", "{{ id }}.{{ ext }}").code == 0
    manifest = load_manifest("jobs.csv", overrides=Overrides(output="{{ id }}.{{ ext }}"))
    seen: list[tuple[int, int]] = []
    pairs = type(manifest).pairs

    def watched(self: Any, findings: Any) -> Any:
        for number, pair in enumerate(pairs(self, findings)):
            seen.append((number, stream.tell()))
            yield pair

    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(manifest), "pairs", watched)
        assert export_ledger("results", "out", stream, manifest=manifest) == 50
    assert all(written > 0 for _, written in seen)
    assert len({written for _, written in seen}) == 50
