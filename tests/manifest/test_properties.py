"""What holds for every input, drawn by Hypothesis."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from batchedit import make_plan
from batchedit.errors import ManifestError, Place
from batchedit.manifest import Findings, load_manifest
from batchedit.manifest.feeding import source_rows
from batchedit.manifest.fields import looks_like_a_key
from batchedit.manifest.layers import Source
from batchedit.manifest.templates import TemplateProblem, render
from batchedit.manifest.yaml_tree import parse_yaml, read_yaml, stream_list
from batchedit.model import Task
from batchedit.paths import MAX_COMPONENT_BYTES, collision_key, path_problem
from tests.manifest.conftest import Folder

CALM = settings(deadline=None)  # the examples write files, and a busy disk is no bug

TRICKS = (
    "..", ".", "../../etc/passwd", "/etc", "C:\\x", "\\\\host\\share", "CON", "aux.txt", "a\x00b", "\u202egnp.exe",
    "a" * 500, "ü" * 300, " x ", "x.", "~", ".batchedit", "a\u2028b", "\u200b", "\uff0e\uff0e\uff0f", "...", "{{ x }}",
)  # fmt: skip
HOSTILE = st.text(max_size=80) | st.sampled_from(TRICKS)
# What a cell can hold: the reader strips around it, an id must be printable and not empty.
IDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=40
).map(str.strip)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder of its own for each example."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "a.png").write_bytes(b"x")
        yield Path(name)


def tasks(path: Path) -> tuple[list[Task], Findings]:
    findings = Findings()
    return list(load_manifest(path).tasks(findings)), findings


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@CALM
@given(HOSTILE, HOSTILE)
def test_no_value_escapes_the_output_folder(client: str, name: str) -> None:
    """Whatever is in the row: the path stays below the folder that the template names, or it is a problem."""
    with folder() as root:
        (root / "m.yaml").write_text(
            "version: 1\nsources: [{csv: t.csv, id: x, image: a.png, prompt: pp,"
            " output: 'base/{{ client }}/{{ name }}{{ client }}.{{ ext }}'}]\n"
        )
        table(root / "t.csv", [{"n": "1", "client": client, "name": name}])
        found, findings = tasks(root / "m.yaml")
        assert found or findings.problems
        for task in found:
            for path in task.outputs:
                resolved = os.path.normpath(root / "out" / path)
                assert resolved.startswith(str(root / "out" / "base") + os.sep)
                assert path.count("/") == 2
                assert path_problem(path) is None
                assert all(len(part.encode()) <= MAX_COMPONENT_BYTES for part in path.split("/"))


@CALM
@given(HOSTILE)
def test_a_cell_cannot_name_a_path_outside(output: str) -> None:
    """An `output` cell is taken as it stands, and is held to the same rules."""
    with folder() as root:
        table(root / "t.csv", [{"id": "x", "image": "a.png", "prompt": "pp", "output": output}])
        for task in tasks(root / "t.csv")[0]:
            assert path_problem(task.outputs[0]) is None
            assert os.path.normpath(root / "out" / task.outputs[0]).startswith(str(root / "out") + os.sep)


CLOSE = st.text(st.sampled_from("aA\u00c4\u00e4\u0308kK\u212a\uff21\ufb00f1\u00b9. "), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(st.lists(CLOSE | HOSTILE, min_size=2, max_size=4))
@example(["\u00e4", "a\u0308"])
@example(["K", "\u212a"])
def test_a_plan_has_no_two_names_that_some_disk_takes_for_one(names: list[str]) -> None:
    """Distinct tasks have distinct keys of names, or the plan is refused before anything is bought."""
    with folder() as root:
        rows = [{"id": str(number), "image": "a.png", "prompt": f"p {number}", "name": name}
                for number, name in enumerate(names)]  # fmt: skip
        table(root / "t.csv", rows)
        Image.new("RGB", (8, 8)).save(root / "a.png")
        (root / "m.yaml").write_text("version: 1\nsources: [{csv: t.csv, output: 'x{{ name }}.{{ ext }}'}]\n")
        found, findings = tasks(root / "m.yaml")
        if findings.problems or len(found) < len(names):
            return
        keys = {collision_key(task.outputs[0]) for task in found}
        if len(keys) < len(names):
            with pytest.raises(ManifestError, match="is also that of"):
                make_plan(load_manifest(root / "m.yaml"), out=root / "out")
        else:
            assert make_plan(load_manifest(root / "m.yaml"), out=root / "out").figures.purchases == len(names)


@CALM
@given(HOSTILE)
def test_every_value_can_be_part_of_a_path(value: str) -> None:
    """Cleaning never leaves anything that the path rules refuse, and never two components."""
    path = render("base/{{ value }}/x.png", {"value": value}, path=True)
    assert path_problem(path) is None
    assert path.count("/") == 2
    assert collision_key(collision_key(path)) == collision_key(path)


@CALM
@given(st.lists(IDS.filter(bool), min_size=1, max_size=6, unique=True))
@example(["0123", "no", "1e5", "{{ 7*7 }}", 'a"b', "a,b;c|d", "=1+1", "ÅÅ", "a/b%2F"])
def test_ids_survive_a_table(ids: list[str]) -> None:
    """What a program writes as CSV comes back letter by letter."""
    with folder() as root:
        path = table(root / "t.csv", [{"id": one, "image": "a.png", "prompt": "pp"} for one in ids])
        assert [task.item.id for task in tasks(path)[0]] == ids


@CALM
@given(st.permutations(["a", "b", "c", "d/e", "f%"]), st.integers(0, 3))
def test_the_order_of_rows_changes_no_slot(order: list[str], blank: int) -> None:
    """Nor what belongs to it; blank rows change nothing either."""
    with folder() as root:
        rows = [{"id": one, "image": "a.png", "prompt": f"the {one}", "output": f"{ord(one[0])}"} for one in order]
        path = table(root / "t.csv", rows)
        path.write_text(path.read_text() + ",,,\n" * blank)
        found = {task.slot: (task.prompt, task.outputs, task.images, task.params) for task in tasks(path)[0]}
        table(path, sorted(rows, key=lambda row: row["id"]))
        assert {task.slot: (task.prompt, task.outputs, task.images, task.params) for task in tasks(path)[0]} == found
        assert set(found) == {"a/edit", "b/edit", "c/edit", "d%2Fe/edit", "f%25/edit"}


NOISE = st.text(alphabet="[]{}:,-#&*!|>'\"%@`a1? \n\t", max_size=80)


@CALM
@given(st.text(max_size=200) | NOISE)
def test_yaml_text_is_read_or_refused(text: str) -> None:
    """There is a tree or a ManifestError, never anything else."""
    with suppress(ManifestError):
        parse_yaml(text, "m.yaml")


@CALM
@given(st.binary(max_size=120) | NOISE.map(str.encode) | st.text(max_size=80).map(lambda text: text.encode("utf-16")))
def test_yaml_bytes_are_read_or_refused(data: bytes) -> None:
    """The same for files, and for the list that is streamed."""
    with folder() as root:
        path = root / "m.yaml"
        for prefix in (b"", b"version: 1\nitems:\n- ", b"version: 1\ndefaults: "):
            path.write_bytes(prefix + data)
            with suppress(ManifestError):
                list(load_manifest(path).tasks(Findings()))


@CALM
@given(st.binary(max_size=120) | st.text(alphabet='id,image\n\r"a;\t|\0', max_size=60).map(str.encode))
def test_tables_are_read_or_refused(data: bytes) -> None:
    """The same for CSV and JSON Lines."""
    with folder() as root:
        for name, prefix in (("t.csv", b""), ("u.csv", b"id,image,prompt\n"), ("r.jsonl", b'{"id": ')):
            (root / name).write_bytes(prefix + data)
            with suppress(ManifestError):
                list(load_manifest(root / name).tasks(Findings()))


VALUES = st.recursive(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ("provider", "defaults", "prompts", "edits", "sources", "items", "budget", "limits", "name", "version")


@CALM
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_any_tree_is_a_manifest_or_refused(tree: dict[str, object]) -> None:
    """Every key survives every type of value."""
    import yaml

    with folder() as root:
        (root / "m.yaml").write_text(yaml.safe_dump({**tree, "version": 1}))
        with suppress(ManifestError):
            list(load_manifest(root / "m.yaml").tasks(Findings()))


@CALM
@given(st.text(max_size=60) | st.text(alphabet="{}%#|()[]'\"abc123 .~*+-/<=>", max_size=40))
def test_templates_are_rendered_or_refused(text: str) -> None:
    """There is text or a TemplateProblem."""
    for template in (text, "{{ a }}" + text, "{{ " + text + " }}", "{% if " + text + " %}x{% endif %}"):
        with suppress(TemplateProblem):
            render(template, {"a": "x", "b": "7"})


@CALM
@given(st.text(max_size=40))
def test_any_source_is_read_or_refused(source: str) -> None:
    """Whatever is typed after the command."""
    with folder() as root, suppress(ManifestError):
        list(load_manifest(source, cwd=root).tasks(Findings()))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a:\n" + " "])
def test_nesting_without_end(folder: Folder, opening: str) -> None:
    """A hundred thousand levels are an error, wherever they stand."""
    for prefix in ("", "version: 1\nitems:\n - ", "version: 1\nx: "):
        path = folder.write("m.yaml", prefix + opening * 100_000)
        with suppress(ManifestError):
            read_yaml(path, "m.yaml", streamed="items")  # passes over rows that come last
        with pytest.raises(ManifestError):
            list(stream_list(path, "m.yaml", "items"))


def test_an_alias_bomb(folder: Folder) -> None:
    """Thirty lines that stand for a billion values are refused where they stand for too many, before one is read."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30)]
    folder.write("m.yaml", "version: 1\n" + "\n".join(lines) + "\n")
    assert folder.problems("m.yaml") == ["m.yaml:17:18: the aliases stand for more than 250000 values"]


def test_depth_is_counted_and_not_exhausted(folder: Folder) -> None:
    """Fifty levels are refused with their place; a wide manifest is not deep."""
    folder.write("m.yaml", "version: 1\nx: " + "[" * 60 + "]" * 60 + "\n")
    (problem,) = folder.problems("m.yaml")
    assert problem.endswith("is nested deeper than 50 levels")
    assert [node.value for node in stream_list(folder.write("w.yaml", "k: [" + "a, " * 20_000 + "]"), "w", "k")][
        :1
    ] == ["a"]


def test_without_libyaml(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower parser that is always there gives the same tree."""
    import yaml

    folder.write("m.yaml", "version: 1\nitems:\n  - {id: 0123, image: in/a.png, prompt: pp}\n")
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert folder.tasks("m.yaml")[0].item.id == "0123"
    folder.write("m.yaml", "version: 1\nitems: [\n")
    assert folder.problems("m.yaml")[0].startswith("m.yaml:3:1: is not valid YAML")
    buffer = io.StringIO("a: " + "[" * 5000)
    with pytest.raises(ManifestError):
        parse_yaml(buffer.getvalue(), "m.yaml")


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.sampled_from(["shopify", "matrixify", "woocommerce", "akeneo", "img2dataset", "imagefolder", "x"]),
        "map": st.dictionaries(
            st.sampled_from(["image", "id", "title", "label.x", "edit", "a b"]), st.text("idmage,1", max_size=6)
        ),
        "columns": st.sampled_from(["strict", "open", "x"]),
        "encoding": st.sampled_from(
            ["utf-8", "cp1252", "utf-16", "utf-32", "utf-7", "hz", "idna", "base64", "", "a\0b", "x" * 300]
        )
        | st.text(max_size=8),
        "pattern": st.text("{}ab_/", max_size=12),
        "where": st.text("ab=' |()[].%*{}<1", max_size=14)
        | st.sampled_from(["id == 'a'", "row.x", "image", "true", "1/0 > 1"]),
        "requires": st.lists(st.text("idmage", max_size=5), max_size=2),
        "limit": st.sampled_from(["1", "0", "x", "9" * 30]),
        "id": st.sampled_from(["{{ id }}", "{{ position }}", "x"]),
    },
)


@CALM
@given(
    st.sampled_from(["csv", "jsonl", "parquet", "glob", "urls", "imagefolder"]),
    OPTIONS,
    st.binary(max_size=80)
    | st.text(alphabet='Handle,Image Src\n"a.png|{}:;\0', max_size=80).map(str.encode)
    | st.sampled_from(
        [
            b"Handle,Title,Image Src\nx,X,a.png\nx,,a.png\n",
            b'{"image": "a.png", "Handle": "x"}\n',
            b"https://x.test/a.png\n",
        ]
    ),
)
def test_any_source_with_any_options_is_read_or_refused(kind: str, options: dict[str, object], data: bytes) -> None:
    """Whatever a source says about whatever bytes."""
    import yaml

    with folder() as root:
        where = {"glob": "*.png", "imagefolder": "."}.get(kind, "t.data")
        (root / "t.data").write_bytes(data)
        (root / "metadata.csv").write_bytes(data)
        tree = {"version": 1, "defaults": {"prompt": "pp"}, "sources": [{kind: where, **options}]}
        (root / "m.yaml").write_text(yaml.safe_dump(tree, allow_unicode=True), "utf-8")
        with suppress(ManifestError):
            list(load_manifest(root / "m.yaml").tasks(Findings()))


@CALM
@given(st.integers(0, 2000), st.integers(0, 255), st.booleans())
def test_a_damaged_parquet_file_is_read_or_refused(at: int, byte: int, cut: bool) -> None:
    """One byte of it changed, or its end gone."""
    import pyarrow as pa
    from pyarrow import parquet

    with folder() as root:
        table = pa.table({"id": ["a", "b"], "image": ["a.png", "a.png"], "n": [1.0, 2.0], "labels": [{"x": "y"}, None]})
        parquet.write_table(table, root / "t.parquet")
        data = bytearray((root / "t.parquet").read_bytes())
        data[at % len(data)] = byte
        (root / "t.parquet").write_bytes(data[: at % len(data)] if cut else data)
        with suppress(ManifestError):
            list(load_manifest(root / "t.parquet").tasks(Findings()))


HEADERS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=5, unique_by=str.strip)


@CALM
@given(HEADERS, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.data())
def test_cells_come_back_by_their_column(names: list[str], delimiter: str, encoding: str, draw: st.DataObject) -> None:
    """Any header, quoting and encoding: `row` has each cell under the name of its column."""
    names = [name for name in names if name.strip() and not looks_like_a_key(name)]
    cells = [draw.draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)) for _ in names]
    with folder() as root:
        path = root / "t.csv"
        with path.open("w", newline="", encoding=encoding) as file:
            writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerow(["mark!", *names])
            writer.writerow(["here", *cells])
        source = Source("csv", "t.csv", Place("t.csv"))
        (row,) = source_rows(source, root, "", Findings())
        assert row.columns == {"mark!": "here", **{n.strip(): c.strip() for n, c in zip(names, cells, strict=True)}}
