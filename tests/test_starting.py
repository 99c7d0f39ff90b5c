"""`init`: whatever people have becomes a manifest that can be planned as it stands."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from batchedit.errors import UsageError
from batchedit.manifest import Findings, load_manifest
from batchedit.manifest.schema import manifest_schema
from batchedit.starting import problems_of, start
from tests.conftest import Result, Shop
from tests.manifest.test_presets import AKENEO, MATRIXIFY, NEW, OLD, WOO

Cli = Callable[..., Result]

SHEET = "Artikel;Bezeichnung;Foto;Kunde\nA-1;Becher;in/mug.png;Acme\nA-2;Becher groß;in/mug.png;Acme\n"
TABLES: dict[str, tuple[str, bytes, int, str]] = {
    "shopify": ("export.csv", OLD.encode(), 4, "a Shopify product export"),
    "shopify new": ("export.csv", NEW.encode("utf-8-sig"), 2, "a Shopify product export"),
    "matrixify": ("Products.csv", MATRIXIFY.encode(), 3, "a Matrixify product export"),
    "woocommerce": ("wc-export.csv", WOO.encode(), 3, "a WooCommerce product export"),
    "akeneo": ("pim.csv", AKENEO.replace("files/0017/image/sandal.png", "in/mug.png").encode(), 1, "an Akeneo product export"),
    "akeneo with an attribute of its own": ("pim.csv", AKENEO.replace("files/0017/image/sandal.png", "in/mug.png").replace(";image;", ";haupt_bild-de_DE;").encode(), 1,
                                            "an Akeneo product export"),
    "img2dataset": ("laion.csv", b"URL,TEXT\nhttps://x.test/1/a.jpg,boot\nhttps://x.test/2/a.jpg,lamp\n", 2,
                    "a list of pictures with captions, as img2dataset takes it"),
    "sheet": ("sheet.csv", SHEET.encode(), 2, "a sheet"),
    "old sheet": ("sheet.csv", SHEET.encode("cp1252"), 2, "a sheet"),
    "utf-16 sheet": ("sheet.csv", SHEET.encode("utf-16"), 2, "a sheet"),
    "own columns": ("jobs.csv", b"id,image,prompt\n1,in/mug.png,pp\n2,in/mug.png,\n", 2, "a sheet"),
    "tsv": ("t.tsv", b"image\tname\nin/mug.png\tmug\n", 1, "a sheet"),
    "json lines": ("r.jsonl", b'{"pic": "https://x.test/a.jpg", "name": "x"}\n{"pic": "https://x.test/b.jpg"}\n', 2, "a sheet"),
    "urls": ("list.txt", b"# mine\nhttps://x.test/a.jpg\n\nhttps://x.test/b.jpg\n", 2, "a list of URLs"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables(shop: Shop, cli: Cli, case: str) -> None:
    """The kind is told by the columns; what is written can be planned at once, and says where it is from."""
    name, data, tasks, what = TABLES[case]
    (shop.root / name).write_bytes(data)
    result = cli("init", "--from", name)
    assert result.code == 0, result.err
    assert result.err == ""
    manifest = f"{Path(name).stem}.yaml"
    assert result.out.splitlines()[0] == f"{manifest}: made from {what}"
    planned = cli("plan", manifest, "--rehearse", "--json")
    assert planned.code == 0, planned.err
    assert planned.json()["tasks"] == tasks
    text = Path(manifest).read_text()
    assert f"# Made from {name}, {what}." in text
    assert f"batchedit plan {manifest} --rehearse" in text
    assert f"batchedit plan {manifest} --rehearse" in result.out


def test_parquet(shop: Shop, cli: Cli) -> None:
    """A data set's table."""
    parquet.write_table(pa.table({"url": ["https://x.test/a.jpg"], "caption": ["boot"]}), "d.parquet")
    assert cli("init", "--from", "d.parquet").code == 0
    assert cli("plan", "d.yaml", "--rehearse", "--json").json()["tasks"] == 1


@pytest.mark.parametrize("place", ["in", "photos [new]/2027"])
def test_a_folder(shop: Shop, cli: Cli, place: str) -> None:
    """With pictures in it or below; signs that mean something in globs are no trouble. Run, not only planned."""
    target = shop.root / place
    target.mkdir(parents=True, exist_ok=True)
    for name in ("mug.png", "boot.png"):
        (target / name).write_bytes((shop.root / "in" / "mug.png").read_bytes())
    top = place.split("/")[0]
    assert cli("init", "--from", top, "work").code == 0
    (manifest,) = Path("work").glob("*.yaml")
    result = cli("run", str(manifest), "--rehearse", "--out", "out", "--json")
    assert result.code == 0, result.err


def test_an_image_folder(shop: Shop, cli: Cli) -> None:
    """Pictures with metadata."""
    shop.write("in/metadata.csv", "file_name,text\nmug.png,a mug\n")
    result = cli("init", "--from", "in")
    assert result.out.startswith("in.yaml: made from an image folder with metadata\n")
    planned = cli("plan", "in.yaml", "--rehearse", "--json").json()
    assert planned["tasks"] == 1
    assert {skip["reason"] for skip in planned["skipped"]} <= {"no row of the metadata names it"}


def test_a_new_folder(shop: Shop, cli: Cli) -> None:
    """With an example picture, the environment file without a key, and what git shall not see; runs to its end."""
    result = cli("init", "night")
    assert result.code == 0
    assert sorted(str(path.relative_to("night")) for path in Path("night").rglob("*") if path.is_file()) == [
        ".env.example", ".gitignore", "in/example.png", "manifest.yaml", "schema.json",
    ]  # fmt: skip
    assert "RUNFLOW_API_KEY=\n" in Path("night/.env.example").read_text()
    assert Path("night/.gitignore").read_text().splitlines()[0] == ".env"
    assert cli("run", "night/manifest.yaml", "--rehearse", "--json").json()["spent"] != "0.00"


def test_nothing_is_written_over(shop: Shop, cli: Cli) -> None:
    """A manifest that is there is left alone, and nothing else is written; other files are kept."""
    shop.write("list.txt", "https://x.test/a.jpg\n")
    shop.write("list.yaml", "mine")
    result = cli("init", "--from", "list.txt")
    assert result.code == 2
    assert "list.yaml is there already; nothing was written" in result.err
    assert sorted(os.listdir()) == ["in", "list.txt", "list.yaml"]
    shop.write(".gitignore", "mine\n")
    result = cli("init", "--from", "list.txt", "--to", "jobs/other.yaml")
    assert result.code == 0
    assert cli("plan", "jobs/other.yaml", "--rehearse", "--json").json()["tasks"] == 1
    shop.write("jobs/.gitignore", "mine\n")
    result = cli("init", "--from", "list.txt", "--to", "jobs/third.yaml")
    assert "jobs/.gitignore: was there, left as it is" in result.out
    assert Path("jobs/.gitignore").read_text() == Path(".gitignore").read_text() == "mine\n"
    assert Path("list.yaml").read_text() == "mine"


def test_a_long_table_begins_small(shop: Shop, cli: Cli) -> None:
    """Twenty rows to begin with, said on the screen and in the file."""
    shop.write("list.txt", "".join(f"https://x.test/{n}.jpg\n" for n in range(21)))
    assert "take out the line `limit`" in cli("init", "--from", "list.txt").out
    assert cli("plan", "list.yaml", "--rehearse", "--json").json()["tasks"] == 20
    text = Path("list.yaml").read_text()
    Path("list.yaml").write_text("".join(line for line in text.splitlines(keepends=True) if "limit:" not in line))
    assert cli("plan", "list.yaml", "--rehearse", "--json").json()["tasks"] == 21


def test_ids_of_a_sheet(shop: Shop) -> None:
    """The picture's name if it tells rows apart, else a column that does, else both together."""
    for table, ids in (
        ("Foto,Nr\nin/mug.png,7\nin/boot.png,7\n", {"mug", "boot"}),
        ("Foto,Nr\nin/mug.png,7\nin/mug.png,8\n", {"7", "8"}),
        ("Foto,Farbe,x\nin/mug.png,red,1\nin/mug.png,blue,1\nin/boot.png,red,1\n", {"mug_red", "mug_blue", "boot_red"}),
    ):
        shop.write("s.csv", table)
        (shop.root / "in" / "boot.png").write_bytes(b"x")
        started = start(Path("s.csv"), Path("."))
        assert {task.item.id for task in load_manifest(started.manifest).tasks(Findings())} == ids
        started.manifest.unlink()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.csv", "a,b\n1,2\n", "no column of s.csv names pictures; its columns are: a, b"),
        ("s.csv", "Foto,Nr\nin/mug.png,1\nin/mug.png,1\n", "no column of s.csv tells its rows apart"),
        ("s.csv", OLD.splitlines()[0] + "\n", "no row of s.csv has a picture"),
        ("s.csv", "", "s.csv:1: is empty; the first line must name the columns"),
        ("s.csv", 'a,b\n"1,2\n', "s.csv:2: is not valid CSV"),
        ("s.xlsx", "x", "s.xlsx is no table (.csv, .jsonl, .ndjson, .parquet, .tsv, .txt), no folder and no picture"),
        ("s.yml", "version: 1", "s.yml is no table"),
        ("docs/a.txt", "", "there is no picture in docs"),
        ("list.txt", "# nothing\n", "no row of list.txt has a picture"),
    ],
)
def test_what_nothing_can_be_made_from(shop: Shop, cli: Cli, name: str, text: str, words: str) -> None:
    """Is said in a sentence, and no file is left behind."""
    shop.write(name, text)
    before = sorted(str(path) for path in Path(".").rglob("*"))
    result = cli("init", "--from", name.split("/")[0])
    assert result.code == 2
    assert words in result.err
    assert sorted(str(path) for path in Path(".").rglob("*")) == before


def test_an_origin_that_is_not_there(shop: Shop, cli: Cli) -> None:
    """As any wrong path."""
    result = cli("init", "--from", "gone.csv")
    assert (result.code, "gone.csv is neither a file nor a folder" in result.err) == (2, True)


def test_rows_that_want_a_look(shop: Shop, cli: Cli) -> None:
    """Pictures that are missing are said at once; the manifest is there all the same."""
    shop.write("s.csv", "image\nin/mug.png\nin/gone.png\n")
    result = cli("init", "--from", "s.csv")
    assert result.code == 0
    assert "s.csv:3" in result.err
    assert "does not exist" in result.err
    assert Path("s.yaml").is_file()


CELLS = st.text(st.characters(codec="utf-8"), max_size=10) | st.sampled_from(
    ["image", "id", "prompt", "Image Src", "Handle", "title", "name", "in/a.png", "https://x.test/a.jpg", "{{ x }}", '"', "\n", ";",
     "rf_live_abcdefgh12345678", "label.", "var.", "class", "\x7f", "\u2028"]
)  # fmt: skip


@settings(deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=5), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    st.sampled_from(["t.csv", "t.jsonl", "t.txt", "ä ö'\u202e.csv"]),
)
def test_whatever_a_table_holds(rows: list[list[str]], delimiter: str, encoding: str, name: str) -> None:
    """There is a manifest that is valid, or a sentence; and no key of anybody in either."""
    with tempfile.TemporaryDirectory() as folder:
        origin = Path(folder, name)
        if name.endswith(".jsonl"):
            lines = [json.dumps(dict(zip(rows[0], row, strict=False))) for row in rows]
        else:
            lines = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
        origin.write_bytes("\n".join(lines).encode(encoding, "replace"))
        try:
            started = start(origin, Path(folder))
        except UsageError as error:
            told = [str(error)]
        else:
            found = problems_of(started.manifest)
            told = [started.manifest.read_text(), *map(str, found)]
            # What is wrong is in the table's own cells; the manifest itself is sound.
            wrong = {problem.code for problem in found if problem.place.file == str(started.manifest)}
            assert wrong <= {"missing-image", "bad-url", "no-id", "bad-id"}, found
        assert "rf_live" not in "".join(told)


def test_editors_find_the_schema(shop: Shop, cli: Cli) -> None:
    """It lies beside the manifest, whose first line names it; a schema of something else is left alone and not named."""
    first = "# yaml-language-server: $schema=schema.json"
    shop.write("t.csv", "id,image\na,in/mug.png\n")
    said = cli("init", "--from", "t.csv", "--to", "new/one.yaml")
    assert (said.code, "new/schema.json: written" in said.out) == (0, True)
    assert Path("new/one.yaml").read_text().splitlines()[0] == first
    assert json.loads(Path("new/schema.json").read_text()) == json.loads(cli("schema").out) == manifest_schema()
    assert cli("check", "new/one.yaml").code == 0
    said = cli("init", "--from", "t.csv", "--to", "new/two.yaml")
    assert "new/schema.json: was there, left as it is" in said.out
    assert Path("new/two.yaml").read_text().splitlines()[0] == first
    for content in ('{"title": "an order"}', "[]", "no JSON"):
        shop.write("new/schema.json", content)
        Path("new/two.yaml").unlink()
        assert cli("init", "--from", "t.csv", "--to", "new/two.yaml").code == 0
        assert "yaml-language-server" not in Path("new/two.yaml").read_text()
        assert Path("new/schema.json").read_text() == content
