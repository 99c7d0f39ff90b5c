"""Tables and trees that were made to break a reader: refused with a place, quickly, in little memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchedit.cli import run
from tests.conftest import draw_picture

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", ["quote", "line", "rows"])
def test_a_large_file_needs_little_memory(name: str, tmp_path: Path) -> None:
    """60 MB: within a quote, in one line, and in a hundred thousand rows that are wrong."""
    draw_picture(tmp_path / "a.png", (1, 2, 3))
    with (tmp_path / "t.csv").open("wb") as file:
        file.write({"quote": FIRST_LINES, "line": HEAD, "rows": HEAD}[name])
        for _ in range(60):
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
