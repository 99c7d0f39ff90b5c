"""Tables for finance opened by a real spreadsheet: LibreOffice, without a screen."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import Result, database
from tests.everything import HOSTILE, write_everything
from tests.test_names import FORMULAS

Cli = Callable[..., Result]

SOFFICE = shutil.which("soffice")
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
MORE = (
    " =1+1", "\n=1+1", "'=1+1", '"=1+1"', "=HYPERLINK(\"http://x\",\"y\")", "=cmd|' /C calc'!A0", "@A1", "+A1", "-A1", "=1+1;2",
    "=WEBSERVICE(A1)", "-1", "+49 30 1234",
)  # fmt: skip

pytestmark = pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed")


def opened(table: Path, folder: Path) -> tuple[list[list[str]], list[str]]:
    """(texts of the cells, formulas) after a spreadsheet has opened a table and saved it as its own."""
    assert SOFFICE is not None
    done = subprocess.run(
        [SOFFICE, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--infilter=CSV:44,34,76,1",
         "--convert-to", "ods", "--outdir", folder, table],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    target = folder / f"{table.stem}.ods"
    assert target.exists(), done.stdout + done.stderr
    with zipfile.ZipFile(target) as file:
        content = ElementTree.fromstring(file.read("content.xml"))
    rows, formulas = [], []
    for row in content.iter(f"{TABLE}table-row"):
        cells: list[str] = []
        for cell in row.iter(f"{TABLE}table-cell"):
            if f"{TABLE}formula" in cell.attrib:
                formulas.append(cell.attrib[f"{TABLE}formula"])
            text = "\n".join("".join(part.itertext()) for part in cell.iter(f"{TEXT}p"))
            repeated = int(cell.get(f"{TABLE}number-columns-repeated", "1"))
            cells += [text] * (repeated if text or repeated < 50 else 1)
        rows.append(cells)
    return rows, formulas


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """One whose labels, ids, edits and reasons are hostile."""
    path = write_everything(tmp_path / "ledger.db")
    texts = [*FORMULAS, *HOSTILE, *MORE]
    assert len(FORMULAS) > 60
    with database(path) as db:
        for number, (slot,) in enumerate(db.execute("SELECT slot FROM tasks").fetchall()):
            # More texts than tasks: what does not stand in one column stands in another.
            text, other = texts[number % len(texts)], texts[-1 - number % len(texts)]
            labels = json.dumps({"client": text, "=SUM(A1:A9)": "name", f"@{number % 2}": other})
            db.execute("UPDATE tasks SET labels = ?, item_id = ?, edit = ? WHERE slot = ?", (labels, text, other, slot))
    return path


@pytest.mark.timeout(240)
@pytest.mark.parametrize("command", [("export", "csv"), ("report", "--by", "client,edit")])
def test_no_cell_is_a_formula(cli: Cli, ledger: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Whatever stands in ids, labels and their names; amounts arrive as they were written."""
    flag = "--out" if command[0] == "export" else "--csv"
    assert cli(*command, ledger, flag, tmp_path / "bill.csv").code == 0
    rows, formulas = opened(tmp_path / "bill.csv", tmp_path)
    assert formulas == []
    written = list(csv.reader(io.StringIO((tmp_path / "bill.csv").read_text("utf-8"), newline="")))
    assert rows[0][: len(written[0])] == written[0]
    assert len(rows) >= len(written)
    money = written[0].index("cost" if command[0] == "export" else "spent")
    assert [float(row[money]) for row in rows[1 : len(written)]] == [float(row[money]) for row in written[1:]]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("command", [("export", "results"), ("verdicts", "export")])
def test_no_cell_of_a_table_for_people_is_a_formula(
    cli: Cli, ledger: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """What goes to those who look at pictures, and comes back from them."""
    table = tmp_path / "table.csv"
    with database(ledger) as db:
        db.execute("UPDATE decisions SET reason = '=1+1', note = 'so' || char(10) || '=HYPERLINK(\"http://x\")'")
    arguments = (table, ledger) if command[0] == "verdicts" else (ledger, "--out", table)
    assert cli(*command, *arguments).code == 0
    rows, formulas = opened(table, tmp_path)
    assert formulas == []
    written = list(csv.reader(io.StringIO(table.read_text("utf-8"), newline="")))
    assert len(rows) >= len(written) > 5


@pytest.mark.timeout(240)
def test_a_raw_table_has_formulas(cli: Cli, ledger: Path, tmp_path: Path) -> None:
    """So that the other test can fail."""
    assert cli("export", "csv", ledger, "--raw", "--out", tmp_path / "raw.csv").code == 0
    assert opened(tmp_path / "raw.csv", tmp_path)[1]
