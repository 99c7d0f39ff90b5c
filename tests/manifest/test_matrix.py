"""`matrix` with `exclude`, tags, and how many tasks there may be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.errors import Place
from batchedit.manifest import Findings
from batchedit.manifest.layers import Edit, Layer
from batchedit.manifest.matrix import MatrixReader
from batchedit.manifest.reading import Reading
from batchedit.manifest.yaml_tree import parse_yaml
from tests.manifest.conftest import Folder

HEAD = "version: 1\nitems: [{id: a, image: in/a.png}]\n"


def test_every_combination_less_what_is_excluded(folder: Folder) -> None:
    """Names from the values, values for templates, in the order of the file."""
    folder.write(
        "m.yaml",
        HEAD + "edits:\n  e:\n    prompt: 'a {{ colour }} one from the {{ angle }}'\n"
        "    matrix: {colour: [red, dark blue], angle: [front, back]}\n"
        "    exclude: [{colour: red, angle: back}]\n",
    )
    tasks = folder.tasks("m.yaml")
    assert [(task.slot, task.prompt) for task in tasks] == [
        ("a/e/red-front", "a red one from the front"),
        ("a/e/dark-blue-front", "a dark blue one from the front"),
        ("a/e/dark-blue-back", "a dark blue one from the back"),
    ]
    assert [task.outputs for task in tasks] == [
        ("a_red-front.png",),
        ("a_dark-blue-front.png",),
        ("a_dark-blue-back.png",),
    ]


def test_the_same_as_variants_written_out(folder: Folder) -> None:
    """A matrix is only a short form: equal requests, equal slots."""
    matrix = HEAD + "edits: {e: {matrix: {c: [x, y]}, prompt: 'make it {{ c }}', quality: low}}\n"
    written = HEAD + "edits: {e: {variants: {x: {prompt: make it x}, y: {prompt: make it y}}, quality: low}}\n"
    folder.write("m.yaml", matrix)
    folder.write("v.yaml", written)
    ours, theirs = folder.tasks("m.yaml"), folder.tasks("v.yaml")
    assert [(t.slot, t.prompt, t.params, t.outputs) for t in ours] == [
        (t.slot, t.prompt, t.params, t.outputs) for t in theirs
    ]


def test_values_win_over_columns_and_an_id_is_not_made_from_them(folder: Folder) -> None:
    """A combination says more than a row; an id is the same for all variants."""
    folder.write("t.csv", "id,image,colour\na,in/a.png,green\n")
    folder.write(
        "m.yaml",
        "version: 1\nsources: [{csv: t.csv, id: '{{ colour }}'}]\n"
        "edits: {e: {matrix: {colour: [red, blue]}, prompt: 'in {{ colour }}, not {{ row[\"colour\"] }}'}}\n",
    )
    assert [(t.slot, t.prompt) for t in folder.tasks("m.yaml")] == [
        ("green/e/red", "in red, not green"),
        ("green/e/blue", "in blue, not green"),
    ]


def test_a_picture_for_each_value(folder: Folder) -> None:
    """The values name pictures and outputs, too."""
    folder.write(
        "m.yaml",
        "version: 1\nitems: [{id: x, image: 'in/{{ which }}.png', prompt: pp}]\n"
        "edits: {e: {matrix: {which: [a, b]}, output: '{{ which }}/{{ id }}.{{ ext }}'}}\n",
    )
    tasks = folder.tasks("m.yaml")
    assert [str(task.images[0]).removeprefix(str(folder.root)) for task in tasks] == ["/in/a.png", "/in/b.png"]
    assert [task.outputs for task in tasks] == [("a/x.png",), ("b/x.png",)]


def test_a_chain_from_one_combination(folder: Folder) -> None:
    """The variants of a matrix are variants: one of them can be started from."""
    folder.write(
        "m.yaml",
        HEAD + "defaults: {prompt: pp}\nedits: {e: {matrix: {c: [x, y]}}, f: {from: e/y}}\n",
    )
    assert [(task.slot, task.upstream) for task in folder.tasks("m.yaml")][2] == ("a/f", "a/e/y")


def test_more_values_rename_no_variant(folder: Folder) -> None:
    """What is bought stays bought when the matrix grows or is put into another order."""
    folder.write("m.yaml", HEAD + "edits: {e: {matrix: {c: [x, y], d: ['1']}, prompt: pp}}\n")
    folder.write("n.yaml", HEAD + "edits: {e: {matrix: {c: [z, y, x], d: ['2', '1']}, prompt: pp}}\n")
    assert {task.slot for task in folder.tasks("m.yaml")} < {task.slot for task in folder.tasks("n.yaml")}


@given(
    st.dictionaries(
        st.sampled_from("abcde"),
        st.lists(st.from_regex(r"[A-Za-z0-9]{1,4}", fullmatch=True), min_size=1, max_size=4, unique=True),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_any_matrix(axes: dict[str, list[str]], data: st.DataObject) -> None:
    """Exactly the product less what matches an entry, each under a name of its own."""
    entry = data.draw(st.dictionaries(st.sampled_from(sorted(axes)), st.integers(0, 3), min_size=1))
    excluded = {name: axes[name][index % len(axes[name])] for name, index in entry.items()}

    def flow(values: dict[str, str] | dict[str, list[str]]) -> str:
        return "{" + ", ".join(
            f"{k}: {v if isinstance(v, str) else '[' + ', '.join(map(repr, v)) + ']'}" for k, v in values.items()
        ) + "}"  # fmt: skip

    quoted = {name: repr(value) for name, value in excluded.items()}
    tree = parse_yaml(f"matrix: {flow(axes)}\nexclude: [{flow(quoted)}]\n", "m.yaml")
    findings, edit = Findings(), Edit("e", Layer())
    assert isinstance(tree.value, dict)
    MatrixReader(edit, Reading(findings)).read(tree.value)
    expected = [
        dict(zip(axes, values, strict=True))
        for values in itertools.product(*axes.values())
        if any(dict(zip(axes, values, strict=True))[name] != value for name, value in excluded.items())
    ]
    assert list(edit.values.values()) == expected
    assert list(edit.variants) == ["-".join(values.values()) for values in expected]
    assert bool(findings.problems) == (not expected)
    assert all(isinstance(problem.place, Place) for problem in findings.problems)


def test_tags_of_all_levels(folder: Folder) -> None:
    """Each once, in the order of the levels; cells are split at bars; templates are filled in; none is nothing."""
    folder.write("t.csv", "id,image,tags,kind\na,in/a.png,hero|new,boot\nb,in/b.png,none,mug\nc,in/c.jpg,,mug\n")
    folder.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: pp, tags: [shop, '{{ kind }}']}\nsources: [{csv: t.csv}]\n"
        "edits: {e: {tags: hero}}\n",
    )
    assert [task.tags for task in folder.tasks("m.yaml")] == [
        ("shop", "boot", "hero", "new"),
        ("shop", "mug", "hero"),
        ("shop", "mug", "hero"),
    ]


def test_tags_in_json_lines(folder: Folder) -> None:
    """A list, or a text with bars."""
    folder.write(
        "t.jsonl",
        '{"id": "a", "image": "in/a.png", "prompt": "pp", "tags": ["x", "y"]}\n'
        '{"id": "b", "image": "in/b.png", "prompt": "pp", "tags": "x|y"}\n',
    )
    assert [task.tags for task in folder.tasks("t.jsonl")] == [("x", "y"), ("x", "y")]


def test_a_shops_own_column_of_tags_is_a_variable(folder: Folder) -> None:
    """`Tags` with a capital letter says nothing to us, and nothing is said about it."""
    folder.write("t.csv", 'id,image,prompt,Tags\na,in/a.png,pp,"summer, sale"\n')
    tasks, findings = folder.read("t.csv")
    assert (tasks[0].tags, findings.warnings) == ((), [])


@pytest.mark.parametrize("count", [4, 5])
def test_the_ceiling_is_settable_beside_a_table(folder: Folder, count: int) -> None:
    """As many as are allowed pass; one more is a problem at its row, and nothing after it is read."""
    folder.write(
        "t.defaults.yaml", f"version: 1\nlimits: {{jobs: {count}}}\ndefaults: {{prompt: pp, image: in/a.png}}\n"
    )
    folder.write("t.csv", "id\n" + "".join(f"r{n}\n" for n in range(5)))
    found, findings = folder.read("t.csv")
    assert len(found) == count
    assert [str(problem.place) for problem in findings.problems] == ([] if count == 5 else ["t.csv:6"])
