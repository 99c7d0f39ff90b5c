"""Tables and trees that were made to break a reader: refused with a place, quickly, in little memory."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchedit.cli import run
from batchedit.errors import ManifestError, Place
from batchedit.manifest.findings import Findings
from batchedit.manifest.layers import Edit, Layer
from batchedit.manifest.matrix import MatrixReader
from batchedit.manifest.reading import Reading
from batchedit.manifest.yaml_tree import Node, parse_yaml
from tests.conftest import draw_picture
from tests.proof import count

HEAD = b"id,image,prompt\n"
GOOD = HEAD + b"a,a.png,on white\n"
FIRST_LINES = GOOD + b'b,a.png,"on '

# Bytes of a table -> exit code of `check` and words that it says (none: nothing is asked of the words).
TABLES: dict[str, tuple[bytes, int, str]] = {
    "fine": (GOOD, 0, ""),
    "empty": (b"", 2, "is empty"),
    "only a mark": (b"\xef\xbb\xbf", 2, "is empty"),
    "only blank lines": (b"\n\n\n\n", 2, "is empty"),
    "a mark and rows": (b"\xef\xbb\xbf" + GOOD, 0, ""),
    "UTF-16 with a mark": (b"\xff\xfe" + GOOD.decode().encode("utf-16-le"), 0, ""),
    "UTF-16 without": (GOOD.decode().encode("utf-16-le"), 2, ""),
    "half UTF-16": (b"\xff\xfe" + GOOD.decode().encode("utf-16-le")[:-1], 2, "UTF-8"),
    "Latin-1": (HEAD + "a,a.png,größer\n".encode("latin-1"), 2, "is not UTF-8"),
    "UTF-8 and Latin-1": (HEAD + "a,a.png,größer\n".encode() + b"b,a.png,gr\xf6\xdfer\n", 2, "is not UTF-8"),
    "NUL in a cell": (GOOD + b"b,a.png,on\0white\n", 2, ""),
    "NULs only": (bytes(100_000), 5, ""),
    "a cell of 131,073": (HEAD + b"a,a.png," + b"x" * 131_073 + b"\n", 2, "field larger than field limit"),
    "a cell of 30 MB": (HEAD + b"a,a.png," + b"x" * 30_000_000 + b"\n", 2, "is longer than"),
    "a quote that is never closed": (FIRST_LINES + b"white\n" + b"c,a.png,x\n" * 50_000, 2, ""),
    "a quote in the middle": (HEAD + b'a,a.png,on "white" and\n', 0, ""),
    "something behind a quote": (GOOD + b'b,a.png,"on" white\n', 2, "is not valid CSV"),
    "a column twice": (b"id,image,prompt,id\na,a.png,on white,b\n", 2, "stands at 1 and 4"),
    "a column without a name": (b"id,image,prompt,\na,a.png,on white,secret\n", 2, "which has no name"),
    "too few cells": (GOOD + b"b,a.png\n", 2, "2 cells, the header 3"),
    "too many cells": (GOOD + b"b,a.png,on white,1,2,3\n", 2, "6 cells, the header 3"),
    "100,000 columns": (b",".join(b"c%d" % number for number in range(100_000)) + b"\n" + b"," * 99_999 + b"\n", 5, ""),
    "only carriage returns": (GOOD.replace(b"\n", b"\r"), 0, ""),
    "a header in quotes over two lines": (b'id,image,"prompt\n"\na,a.png,on white\n', 0, ""),
    "an escape for the terminal": (HEAD + b"a,\x1b[2J.png,on white\n", 2, "\\u001b"),
    "a web page": (b"<!doctype html><html><body>not here</body></html>", 5, ""),
    "a zip": (b"PK\x03\x04" + bytes(range(256)) * 10, 2, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_or_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words of ours, with its name; never with a traceback, and nothing that a terminal obeys."""
    assert len(TABLES) >= 25
    data, code, words = TABLES[name]
    monkeypatch.chdir(tmp_path)
    draw_picture(tmp_path / "a.png", (1, 2, 3))
    (tmp_path / "t.csv").write_bytes(data)
    assert run(["check", "t.csv"]) == code
    said = capsys.readouterr()
    text = said.out + said.err
    assert words in text
    assert code == 0 or "t.csv" in text
    assert "Traceback" not in text
    assert not {"\x1b", "\0"} & set(text)
    assert len(text) < 100_000


TREES = {
    "a bomb of 306 bytes": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "100,000 brackets": "a: " + "[" * 100_000,
    "100,000 braces": "a: " + "{a: " * 100_000,
    "deep by indentation": "".join(f"{' ' * depth}a:\n" for depth in range(1_000)),
    "an alias of itself": "a: &a [*a]",
    "a merge": "a: &a {b: c}\nd: {<<: *a}",
    "a tag": "a: !!python/object/apply:os.system ['touch hacked']",
    "a key twice": "version: 1\nversion: 1\n",
    "a scalar of 10 MB": "version: " + "x" * 10_000_000,
    "a mapping as a key": "? {a: b}\n: c\n",
    "many documents": "---\na: b\n" * 10_000,
    "10,001 anchors": "items:\n" + "".join(f"  - &a{number} x\n" for number in range(10_001)),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_refused_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it would unfold to: exit code 2, a place, and nothing is carried out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(TREES[name])
    began = time.monotonic()
    assert run(["check", "m.yaml"]) == 2
    assert time.monotonic() - began < 30
    said = capsys.readouterr()
    assert "m.yaml" in said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert not (tmp_path / "hacked").exists()


ENDLESS_TREES = {
    "a scalar": (b"version: ", b"x" * 1_000_000),
    "a text in a row": (b"version: 1\nitems:\n- prompt: ", b"x" * 1_000_000),
    "a quoted text in a row": (b"version: 1\nitems:\n- prompt: '", b"x\n" * 500_000),
    "a row": (b"version: 1\nitems:\n- vars: {", b"a: b, " * 160_000),
    "texts in the head": (b"version: 1\nprompts:\n", b"".join(b"  p%07d: " % 1 + b"x" * 9_980 + b"\n" for _ in range(100))),
    "comments": (b"version: 1\nitems:\n", b"# x\n" * 250_000),
}  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", ENDLESS_TREES)
def test_a_tree_without_an_end_is_not_read_to_its_end(name: str, tmp_path: Path) -> None:
    """300 MB of what is kept until it is complete: refused at the limit of a head or a row."""
    head, part = ENDLESS_TREES[name]
    with (tmp_path / "m.yaml").open("wb") as file:
        file.write(head)
        for _ in range(300):
            file.write(part)
    code, own, _, said = _checked(tmp_path, "m.yaml")
    assert code == 2
    assert "m.yaml" in said
    assert "Traceback" not in said
    assert own < 600


def test_the_bomb_of_306_bytes_costs_nothing(tmp_path: Path) -> None:
    """Before anything is unfolded: counted in values, not in time."""
    tree = TREES["a bomb of 306 bytes"]
    assert len(tree) < 400
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError, match="aliases stand for more than 250000 values"):
            parse_yaml(tree, "m.yaml")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", ["quote", "line", "rows"])
def test_a_large_file_needs_little_memory(name: str, tmp_path: Path) -> None:
    """60 MB, or 2 GB: within a quote, in one line, and in a hundred thousand rows that are wrong."""
    draw_picture(tmp_path / "a.png", (1, 2, 3))
    with (tmp_path / "t.csv").open("wb") as file:
        file.write({"quote": FIRST_LINES, "line": HEAD, "rows": HEAD}[name])
        for _ in range(count(60, 2_000)):
            file.write({"quote": b"x,y\n" * 250_000, "line": b"x" * 1_000_000, "rows": b"a\n" * 2_000}[name])
    code = (
        "from batchedit.cli import run; code = run(['check', 't.csv'])\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(code, int(peak.split()[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    exit_code, megabytes = map(int, done.stdout.split("\n")[-2].split())
    assert exit_code == 2
    assert megabytes < 150


# Formats that unfold. Each is small on the disk, and none of them may take the memory of whoever reads it.


def _dictionary(path: Path) -> None:
    """8 MB that stand once, named by each of a thousand rows: 8 GB."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * 8_000_000])
    table = pa.table({"image": ["a.png"] * 1000, "prompt": column})
    parquet.write_table(table, path, compression="zstd", dictionary_pagesize_limit=2**30)


def _prefixes(path: Path) -> None:
    """Each text begins like the one before it, and is written as the difference."""
    texts = ["x" * 7_000_000 + str(number) for number in range(400)]
    parquet.write_table(
        pa.table({"image": ["a.png"] * 400, "prompt": texts}), path, compression="zstd", use_dictionary=False,
        column_encoding={"image": "PLAIN", "prompt": "DELTA_BYTE_ARRAY"},
    )  # fmt: skip


def _page(path: Path) -> None:
    """A page of two gigabytes of the same letter."""
    texts = ["x" * 7_000_000] * 300
    parquet.write_table(
        pa.table({"image": ["a.png"] * 300, "prompt": texts}), path, compression="zstd", use_dictionary=False,
        data_page_size=2**31 - 1, write_batch_size=300,
    )  # fmt: skip


def _rows(path: Path) -> None:
    """Sixty million rows of nothing."""
    schema = pa.schema([("image", pa.string())])
    with parquet.ParquetWriter(path, schema) as writer:
        nothing = pa.table({"image": pa.nulls(10_000_000, pa.string())}, schema)
        for _ in range(6):
            writer.write_table(nothing)


def _long(path: Path) -> None:
    parquet.write_table(pa.table({"image": ["a.png", "a.png"], "prompt": ["fine", "x" * 9_000_000]}), path)


def _lists(path: Path) -> None:
    """A row of ten million empty texts."""
    kind = pa.list_(pa.string())
    parquet.write_table(pa.table({"image": ["a.png"], "tags": pa.array([[""] * 10_000_000], kind)}), path)


def _nested(path: Path) -> None:
    value: object = "x"
    for _ in range(300):
        value = [value]
    parquet.write_table(pa.table({"image": ["a.png"], "tags": [value]}), path)


def _empty(path: Path) -> None:
    """Five million rows of nothing in a few kilobytes: each would be looked at."""
    nothing = pa.nulls(5_000_000, pa.string())
    parquet.write_table(pa.table({"id": nothing, "image": nothing}), path)


def _wide(path: Path) -> None:
    """Few bytes, and sixty million values."""
    columns = {"image": pa.array(["a.png"] * 30_000), **{f"c{number}": pa.nulls(30_000) for number in range(2_000)}}
    parquet.write_table(pa.table(columns), path, compression="zstd")


def _repeated(path: Path) -> None:
    """A hundred kilobytes of text, fifteen thousand times."""
    texts = pa.array(["x" * 100_000]).dictionary_encode()
    prompts = pa.DictionaryArray.from_arrays(pa.array([0] * 15_000, pa.int32()), texts.dictionary)
    parquet.write_table(pa.table({"image": ["a.png"] * 15_000, "prompt": prompts}), path, compression="zstd")


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "dictionary": (_dictionary, "asks for more than 1 GB"),
    "prefixes": (_prefixes, "asks for more than 1 GB"),
    "page": (_page, "asks for more than 1 GB"),
    "rows": (_rows, "has 60000000 rows; at most 50000000 are read"),
    "long row": (_long, "row 2 has more than 8388608 characters"),
    "list": (_lists, "row 1 has more than 8388608 characters"),
    "nested": (_nested, "too deeply nested"),
    "empty": (_empty, "has 5000000 rows of 2 columns in"),
    "wide": (_wide, "has 30000 rows of 2001 columns in"),
    "repeated": (_repeated, "unfolds to much more text than a file of"),
}

FULL = ("prefixes", "page", "repeated")


def _checked(folder: Path, name: str) -> tuple[int, int, int, str]:
    """What `check` returns, the peaks of it and of what it started in MB, and what it said."""
    code = (
        f"from batchedit.cli import run; import resource; code = run(['check', {name!r}, '--prompt', 'on white'])\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(code, int(peak.split()[1]) // 1024, children // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    exit_code, own, children = map(int, done.stdout.split("\n")[-2].split())
    return exit_code, own, children, done.stdout + done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", BOMBS)
def test_a_parquet_file_cannot_take_the_memory(name: str, tmp_path: Path) -> None:
    """Refused with its name, by a process that may have a gigabyte more than its libraries."""
    draw_picture(tmp_path / "a.png", (1, 2, 3))
    if name in FULL and os.environ.get("PROOF") != "full":
        pytest.skip("needs gigabytes to be made; PROOF=full")
    make, words = BOMBS[name]
    make(tmp_path / "t.parquet")
    code, own, children, said = _checked(tmp_path, "t.parquet")
    assert code == 2
    assert "t.parquet: " in said
    assert words in said
    assert "Traceback" not in said
    assert own < 200
    assert children < 1_500


def test_metadata_that_lies_is_caught_by_the_limit_of_memory(tmp_path: Path) -> None:
    """The sizes of the bomb's parts, as its metadata gives them, are those of an ordinary table."""
    _dictionary(tmp_path / "t.parquet")
    part = parquet.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    assert sum(part.column(at).total_uncompressed_size for at in range(2)) < 40_000_000
    assert (tmp_path / "t.parquet").stat().st_size < 10_000


ENDLESS: dict[str, tuple[str, bytes, bytes, str]] = {
    "JSON Lines": ("t.jsonl", b'{"image": "a.png", "prompt": "', b"x" * 1_000_000, "t.jsonl:1: is longer than 8388607"),
    "URLs": ("t.txt", b"https://a.example/", b"x" * 1_000_000, "t.txt:1: is longer than 8388607"),
    "brackets": ("t.jsonl", b'{"image": "a.png", "tags": [', b"[],[]," * 160_000, "t.jsonl:1: "),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", ENDLESS)
def test_a_line_without_an_end_is_not_read(name: str, tmp_path: Path) -> None:
    """200 MB in one line, in the memory of a few."""
    file_name, head, part, words = ENDLESS[name]
    with (tmp_path / file_name).open("wb") as file:
        file.write(head)
        for _ in range(200):
            file.write(part)
    code, own, _, said = _checked(tmp_path, file_name)
    assert code == 2
    assert words in said
    assert own < 200


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
@pytest.mark.parametrize("value", ["[],", "{},", "[[[],[]]],"])
def test_an_object_of_a_million_values_is_not_made(value: str, tmp_path: Path) -> None:
    """7 MB that would become hundreds; and one within the limit that is no object."""
    text = '{"image": "a.png", "tags": [' + value * (7_000_000 // len(value)) + "1]}"
    (tmp_path / "t.jsonl").write_text(text)
    code, own, _, said = _checked(tmp_path, "t.jsonl")
    assert code == 2
    assert "t.jsonl:1: has more than 250000 values" in said
    assert own < 200
    (tmp_path / "t.jsonl").write_text('{"image": ' + "[" * 200_000)
    code, _, _, said = _checked(tmp_path, "t.jsonl")
    assert code == 2
    assert "t.jsonl:1" in said


@pytest.mark.parametrize("what", ["prompts", "edits", "exclude"])
def test_a_million_wrong_words_are_not_compared_with_a_thousand_right_ones(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first get their suggestion; each comparison takes microseconds, and all of them would take hours."""
    compared = 0
    close = difflib.get_close_matches

    def counted(word: str, known: list[str], **options: Any) -> list[str]:
        nonlocal compared
        compared += len(known)
        return close(word, known, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    monkeypatch.chdir(tmp_path)
    draw_picture(tmp_path / "a.png", (1, 2, 3))
    words = [f"abcdefgh{number:04d}" for number in range(1_000)]
    column = what.removesuffix("s")
    head = [f"  {word}: {'put it on white' if what == 'prompts' else '{prompt: put it on white}'}" for word in words]
    if what == "exclude":
        column = "colour"
        head = ["  e:", "    prompt: on white", f"    matrix: {{colour: [{', '.join(words)}]}}", "    exclude:"]
        head += [f"    - colour: abcdefgx{number:04d}" for number in range(1_000)]
    lines = ["version: 1", f"{'prompts' if what == 'prompts' else 'edits'}:", *head, "sources: [{csv: t.csv}]"]
    rows = [f"i{number},a.png,abcdefgx{number:04d},{number}.png" for number in range(1_000)]
    (tmp_path / "m.yaml").write_text("\n".join(lines) + "\n")
    (tmp_path / "t.csv").write_text("\n".join([f"id,image,{column},output", *rows]) + "\n")
    assert run(["check", "m.yaml"]) == (0 if what == "prompts" else 2)
    said = "".join(capsys.readouterr())
    assert "Did you mean" in said
    assert compared <= 2 * 50_000  # it is gone through twice


def test_a_matrix_of_many_values_is_gone_through_once(tmp_path: Path) -> None:
    """Values that stand twice are found without comparing each with all."""
    comparisons = 0

    class Word(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return str.__eq__(self, str(other))

        __hash__ = str.__hash__

    findings = Findings()
    place = Place("m.yaml", 1)
    values = Node(place, [Node(place, Word(f"v{number}")) for number in [*range(3_000), 7]])
    edit = Edit("e", Layer())
    MatrixReader(edit, Reading(findings)).read({"matrix": (place, Node(place, {"a": (place, values)}))})
    assert ["given twice" in problem.message for problem in findings.problems] == [True]
    assert comparisons < 30_000
