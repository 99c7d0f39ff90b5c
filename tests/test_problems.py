"""`check --json`: one shape for whatever is found, with names of rules that are documented."""

from __future__ import annotations

import ast
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import batchedit
from batchedit.checking import SMALL, Decoded
from batchedit.manifest.findings import PER_REASON
from batchedit.pictures import BadPicture, PictureFacts
from tests.conftest import Result, Shop

Cli = Callable[..., Result]
ROOT = Path(__file__).parent.parent
FIELDS = {"quality": "x", "size": "1x1", "format": "gif", "n": "9", "enabled": "maybe", "sync_mode": "maybe"}
"""Fields whose values are checked, each with a wrong one; their codes are made of their names."""
KEYS = {"severity", "file", "line", "column", "field", "value", "code", "message", "hint", "count"}


def constants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def codes() -> set[str]:
    """The codes of all problems that the package makes of a manifest, read from its source."""
    found: set[str] = set()
    package = Path(batchedit.__file__).parent
    names = ("naming", "planner", "checking", "counting", "selecting", "cli/printing")
    readers = (*(package / "manifest").glob("*.py"), *(package / "jobs").glob("*.py"))
    for path in (*readers, *(package / f"{name}.py" for name in names)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in ("wrong", "warn", "_note", "_refuse", "_problem"):
                    for argument in node.args:
                        texts = list(constants(argument))
                        if texts:
                            found.update(texts)
                            break
                for keyword in node.keywords:
                    if keyword.arg == "code":
                        found.update(constants(keyword.value))
            elif isinstance(node, ast.Assign) and [getattr(name, "id", "") for name in node.targets] == ["code"]:
                found.update(constants(node.value))
            elif isinstance(node, ast.Tuple) and [*map(list, map(constants, node.elts[:1]))] == [["refused"]]:
                found.update(constants(node.elts[1]))  # as a process of its own says it
    return {code for code in found if re.fullmatch(r"[a-z]+(-[a-z]+)*", code)}


def test_every_code_is_documented() -> None:
    """And no other: an editor may rely on the names in docs/problems.md."""
    text = (ROOT / "docs" / "problems.md").read_text("utf-8").split("## Codes")[1]
    documented = {name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([a-z_-]+)`", row)}
    assert documented == codes() | {f"bad-{name}" for name in FIELDS}


def test_one_list_of_everything(cli: Cli, shop: Shop) -> None:
    """Errors, warnings and skipped rows in the order of the file, each with all the keys."""
    shop.write(
        "night.csv",
        "id,image,prompt,qualty\nA,in/mug.png,grayscale,low\na,in/shoe.png,x,low\nb,,grayscale,\nc,,grayscale,\n",
    )
    result = cli("check", "night.csv", "--json")
    assert result.code == 2
    found = result.json()
    assert all(entry.keys() == KEYS for entry in found)
    assert [(entry["line"], entry["severity"], entry["code"], entry["count"]) for entry in found] == [
        (1, "warning", "near-miss-column", 1),
        (3, "error", "prompt-length", 1),
        (3, "warning", "similar-id", 1),
        (4, "info", "skipped-row", 2),
    ]
    (prompt,) = [entry for entry in found if entry["code"] == "prompt-length"]
    assert (prompt["file"], prompt["line"], prompt["field"], prompt["severity"]) == ("night.csv", 3, "prompt", "error")


def test_the_same_shape_when_all_is_well_or_nothing_can_be_read(cli: Cli, shop: Shop, jobs: Path) -> None:
    """A list, also an empty one."""
    result = cli("check", jobs, "--json")
    assert (result.code, result.json()) == (0, [])
    result = cli("check", "nothing.csv", "--json")
    (found,) = result.json()
    assert (result.code, found.keys(), found["severity"], found["line"]) == (2, KEYS, "error", None)


def test_warnings_alone_are_no_failure(cli: Cli, shop: Shop) -> None:
    """They are in the list, and the exit code is 0."""
    shop.write("night.csv", "id,image,prompt,qualty\na,in/mug.png,grayscale,low\n")
    result = cli("check", "night.csv", "--json")
    assert result.code == 0
    assert [entry["severity"] for entry in result.json()] == ["warning"]
    assert [entry.keys() for entry in cli("plan", "night.csv", "--json").json()["warnings"]] == [KEYS]


def test_a_damaged_picture_is_in_the_list(cli: Cli, shop: Shop, jobs: Path) -> None:
    """What only decoding finds."""
    path = shop.root / "in/mug.png"
    path.write_bytes(path.read_bytes()[:200])
    result = cli("check", jobs, "--json")
    assert result.code == 2
    assert [(entry["code"], entry["line"]) for entry in result.json()] == [("damaged-image", 2)]


def test_no_task_at_all(cli: Cli, shop: Shop) -> None:
    """The skipped rows are told, and the exit code says that nothing is selected."""
    shop.write("night.csv", "id,image,prompt\na,,xx\n")
    result = cli("check", "night.csv", "--json")
    assert (result.code, [entry["severity"] for entry in result.json()]) == (5, ["info"])


@pytest.mark.parametrize("name", FIELDS)
def test_codes_of_fields(cli: Cli, shop: Shop, name: str) -> None:
    """Made of the field's name."""
    shop.table("night.csv", [{"id": "a", "image": "in/mug.png", "prompt": "grayscale", name: FIELDS[name]}])
    assert [entry["code"] for entry in cli("check", "night.csv", "--json").json()] == [f"bad-{name}"]


def test_warnings_come_with_the_problems_that_they_explain(cli: Cli, shop: Shop) -> None:
    """A slip in a header is the cause of whatever is missing in every row: people hear of both, and of skipped rows."""
    shop.write("jobs.csv", "id,image,promt\na,in/mug.png,white\nb,,white\n")
    slip = """warning: jobs.csv:1: "promt": the column 'promt' is only a variable, not a field"""
    for command in ("check", "plan", "run"):
        result = cli(command, "jobs.csv")
        assert result.code == 2
        assert slip in result.err
        assert 'jobs.csv:2: "prompt": there is no prompt' in result.err
    assert "1  skipped, no image: jobs.csv:3" in cli("check", "jobs.csv").err


def test_skipped_rows_are_counted_to_the_end(cli: Cli, shop: Shop) -> None:
    """Also those that are not listed one by one any more."""
    rows = PER_REASON + 500
    shop.write("jobs.csv", "id,image,prompt\na,in/mug.png,white\n" + "".join(f"b{n},,white\n" for n in range(rows)))
    (entry,) = cli("check", "jobs.csv", "--json").json()
    assert (entry["code"], entry["line"], entry["count"]) == ("skipped-row", 3, rows)


def test_pictures_that_can_be_edited_and_had_better_not(cli: Cli, shop: Shop) -> None:
    """The colours of print, and hardly any pixels, are pointed out once for each row, however many edits it has."""
    Image.new("CMYK", (300, 300)).save("in/print.jpg")
    Image.new("RGB", (SMALL - 1, 40)).save("in/tiny.jpg")
    Image.new("LA", (SMALL - 1, 40)).save("in/mask.png")
    Image.new("RGB", (SMALL, 1)).save("in/strip.png")
    shop.write(
        "night.csv",
        "id,image,references,mask\na,in/print.jpg,in/tiny.jpg,\nb,in/tiny.jpg,in/strip.png,in/mask.png\nc,in/mug.png,,\n",
    )
    shop.write("night.defaults.yaml", "edits: {white: {prompt: on white}, grey: {prompt: grayscale}}\n")
    result = cli("check", "night.csv", "--json")
    assert result.code == 0
    found = [
        (entry["severity"], entry["code"], entry["line"], entry["field"], entry["count"]) for entry in result.json()
    ]
    assert found == [
        ("warning", "cmyk-image", 2, "image", 1),
        ("warning", "small-image", 2, "references", 1),
        ("warning", "small-image", 3, "image", 1),
    ]
    text = cli("check", "night.csv").err
    assert "print.jpg is in CMYK: its colours may come out different. Save it as RGB\n" in text
    assert "tiny.jpg has only 255x40 pixels, little for an edit to start from. Use a larger original\n" in text


def test_a_damaged_picture_is_counted_by_rows(cli: Cli, shop: Shop) -> None:
    """It is decoded once, and each row that has it counts once, whatever is done with it."""
    Path("in/half.png").write_bytes(Path("in/mug.png").read_bytes()[:400])
    shop.write("night.csv", "id,image\na,in/half.png\nb,in/half.png\n")
    shop.write(
        "night.defaults.yaml",
        "edits: {white: {prompt: on white}, grey: {prompt: grayscale}}\n"
        "defaults: {output: '{{ edit }}/{{ id }}.png'}\n",
    )
    (entry,) = cli("check", "night.csv", "--json").json()
    assert (entry["code"], entry["line"], entry["count"]) == ("damaged-image", 2, 2)


def test_checking_many_pictures_keeps_none_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty thousand leave no trace in memory, and each is decoded once."""
    looked: Counter[str] = Counter()

    def decode(path: Path) -> PictureFacts:
        looked["all"] += 1
        if path.stem == "7":
            raise BadPicture("cut short")
        return PictureFacts(format="jpeg", width=int(path.stem) + 1, height=1024, is_cmyk=path.stem == "8")

    monkeypatch.setattr("batchedit.checking.decode", decode)
    names = [f"/pictures/{'x' * 100}/{n}.jpg" for n in range(30_000)]
    tracemalloc.start()
    with Decoded() as decoded:
        for name in names:
            decoded.facts(Path(name))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        again = [decoded.facts(Path(name)) for name in names[:10]]
    assert peak < 4_000_000  # a dictionary of them takes four times that
    assert looked["all"] == len(names)
    assert again[7] == "cut short"
    assert again[8] == PictureFacts(format="jpeg", width=9, height=1024, is_cmyk=True)
    assert again[9] == PictureFacts(format="jpeg", width=10, height=1024)


def test_a_mask_without_transparency(cli: Cli, shop: Shop) -> None:
    """Transparent pixels are the region to edit: without one there is nothing to do, which would be paid for."""
    for name, mode in (("opaque", "RGB"), ("clear", "RGBA")):
        Image.new(mode, (320, 320), (0, 0, 0, 0) if mode == "RGBA" else (0, 0, 0)).save(shop.root / f"{name}.png")
    shop.write("night.csv", "id,image,mask,prompt\na,in/mug.png,opaque.png,grayscale\nb,in/shoe.png,clear.png,sepia\n")
    found = cli("check", "night.csv", "--json").json()
    assert [(entry["line"], entry["code"], entry["severity"]) for entry in found] == [(2, "mask-alpha", "error")]


def test_nothing_is_delivered_through_a_link(cli: Cli, shop: Shop) -> None:
    """A folder of the tree that leads elsewhere is named before anything is bought."""
    (shop.root / "elsewhere").mkdir()
    (shop.root / "out").mkdir()
    (shop.root / "out" / "white").symlink_to(shop.root / "elsewhere")
    shop.write(
        "night.yaml", "version: 1\nitems: [{id: a, image: in/mug.png, prompt: grayscale, output: white/a.png}]\n"
    )
    result = cli("run", "night.yaml", "--out", "out", "--yes")
    assert result.code == 2
    assert "is a symbolic link, and no picture is delivered through one" in result.err
    assert not list((shop.root / "elsewhere").iterdir())
