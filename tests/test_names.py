"""Names of files out of hostile texts: they stay in their folder, are the same a second time, and never meet silently."""

from __future__ import annotations

import os
import random
import unicodedata
import zlib
from pathlib import Path

import pytest

from batchedit import disk
from batchedit.filing import Filing
from batchedit.manifest.templates import render
from batchedit.paths import MAX_COMPONENT_BYTES, collision_key, is_device, path_problem, safe_component, with_extension
from batchedit.report.as_csv import guarded
from tests.hostile_names import PAYLOADS, hostile
from tests.proof import count
from tests.test_bombs import png


def check(value: str, root: str) -> None:
    cleaned = safe_component(value)
    assert safe_component(cleaned) == cleaned, ascii(value)
    assert cleaned not in ("", ".", ".."), ascii(value)
    assert not is_device(cleaned), ascii(value)
    assert len(cleaned.encode()) <= MAX_COMPONENT_BYTES, ascii(value)
    assert not [letter for letter in cleaned if unicodedata.category(letter)[0] == "C"], ascii(value)
    path = render("base/{{ value }}/x{{ value }}.png", {"value": value}, path=True)
    assert path_problem(path) is None, ascii(value)
    assert os.path.realpath(os.path.join(root, path)).startswith(root + "/base/"), ascii(value)
    assert path.count("/") == 2, ascii(value)
    assert collision_key(collision_key(path)) == collision_key(path), ascii(value)


def test_hostile_names_stay_where_they_belong(tmp_path: Path) -> None:
    """5,000 of them; all 50,000: `PROOF=full python -m pytest tests/test_names.py`."""
    root, draw = str(tmp_path.resolve()), random.Random("names")
    for _ in range(count(5_000, 50_000)):
        check(hostile(draw), root)


def test_known_payloads_stay_where_they_belong(tmp_path: Path) -> None:
    """More than 300 ways out that others have found."""
    assert len({*PAYLOADS}) > 300
    for payload in PAYLOADS:
        check(payload, str(tmp_path.resolve()))


def test_hostile_names_become_files_below_the_folder(tmp_path: Path) -> None:
    """On a real disk: each is a file with its picture where it was said, and nothing lies anywhere else."""
    files = Filing(tmp_path / "out", tmp_path / "out/.batchedit")
    files.open()
    raw = disk.alone(files.keep(png(1, 1, zlib.compress(b"\0\0\0\0")), 1)).raw
    draw, wanted = random.Random("files"), set()
    for value in [*PAYLOADS[::8], *(hostile(draw) for _ in range(100))]:
        path = with_extension(render("base/{{ value }}.png", {"value": value}, path=True), raw.format)
        disk.alone(files.place(raw, path))
        wanted.add(tmp_path / "out" / path)
    found = {path for path in tmp_path.rglob("*") if path.is_file() and ".batchedit" not in path.parts}
    assert found == wanted


NAMES = {
    name: problem
    for problem, names in {
        "device": "CON con Con.txt nul nul.tar.gz AUX aux.png PRN COM1 com9.x COM\u00b9 LPT\u00b2.a LPT3 CONIN$ conout$ CLOCK$"
        " com2.tar.gz Com3 cOm4.JPG COM5.a.b com6 COM7.png COM8 COM\u00b2 com\u00b3.png LPT1 lpt2.txt LPT4 LPT5 LPT6 LPT7.x lpt8"
        " LPT9 LPT\u00b9 LPT\u00b3 prn.png nul.png",
        "would leave": ". ..",
        "not every system": 'aa:b a*b a?b a"b a<b a>b a|b file.png:$DATA ff::$INDEX_ALLOCATION ff|gg <x> what?.png',
        "space or ends": "a. a.. ...",
        "invisible": "a\u202eb a\u200bb a\u2066b a\ufeffb a\x07b a\x85b a\x7fb a\ud800b a\x1bb"
        " a\u202ab a\u2069b a\u200eb a\u200fb a\u061cb a\u2060b a\x01b a\x9bb \ufeff.png x\u202egnp.exe",
        "relative": "~ ~root C: c:x",
        "bytes": " ".join(["x" * 201, "\u00e9" * 101, "\U0001f4a9" * 51]),
    }.items()
    for name in names.split(" ")
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_no_output_may_have(name: str) -> None:
    """Each with its reason, alone and as a folder; and each has a form that may be. Eighty of them."""
    assert len(NAMES) >= 80
    assert NAMES[name] in (path_problem(name) or "")
    if NAMES[name] != "relative":
        assert path_problem(f"a/{name}/x.png") is not None
    assert path_problem(safe_component(name).removeprefix("~") or "_") is None


@pytest.mark.parametrize("name", ["COM10", "console", "nullify.png", "a.con", "x" * 200, "\u00e9" * 100, ".hidden", "a b", "\u65e5\u672c", "a'b", "(1)", "#1", "a,b"])  # fmt: skip
def test_names_that_only_look_odd_are_fine(name: str) -> None:
    """Nobody's files are renamed without need."""
    assert path_problem(name) is None


SAME = [
    ("\u00c9", "E\u0301"), ("K", "\u212a"), ("\ufb00", "ff"), ("a.PNG", "A.png"), ("stra\u00dfe", "STRASSE"), ("\u212b", "\u00e5"),
    ("\uff21", "a"), ("\u2460", "1"), ("\u017f", "s"), ("\u03c3", "\u03c2"), ("\u1e9e", "ss"), ("\u0345", "\u03b9"), ("\u1f80", "\u1f88"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME, ids=ascii)
def test_names_that_some_disk_takes_for_one(one: str, other: str) -> None:
    """Their keys are equal, so that a plan refuses them before anything is bought."""
    assert collision_key(f"a/{one}") == collision_key(f"A/{other}")


def test_names_that_no_disk_takes_for_one() -> None:
    """Distinct names keep distinct keys."""
    names = [
        "a",
        "b",
        "a1",
        "a-1",
        "a_1",
        "\u00e4",
        "ae",
        "o",
        "\u00f8",
        "0",
        "\u043e",
        "l",
        "1",
        "I\u0307x",
        "a b",
        "ab",
    ]
    assert len({collision_key(name) for name in names}) == len(names)


FORMULAS = [
    f"{before}{sign}{rest}"
    for before in ("", " ", "\t", "\u00a0", "\r", "\n", "harmless\n", "a\r\n  ")
    for sign in ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b")
    for rest in ("1+1", "cmd|' /C calc'!A0")
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_no_text_is_left_for_a_formula(text: str) -> None:
    """More than 60 of them; raw they stay as they are."""
    assert len(FORMULAS) > 60
    assert guarded(text) == f"'{text}"
    assert guarded(text, raw=True) == text


@pytest.mark.parametrize(
    "text", ["", "a=b", "mug-1", "50 %", "a@b.example", "1+1", "O'Hara", "line\nanother", "\u65e5\u672c", "(-1)", "a|b"]
)
def test_harmless_text_is_left_alone(text: str) -> None:
    """What has no sign in front says what it said."""
    assert guarded(text) == text
