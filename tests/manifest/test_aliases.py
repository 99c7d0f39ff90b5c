"""Anchors and aliases: another way to write the same manifest, and no way to fill the memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.errors import ManifestError
from batchedit.manifest import yaml_tree
from batchedit.manifest.yaml_tree import Node, parse_yaml, read_yaml, stream_list
from tests.manifest.conftest import Folder


def plain(node: Node) -> object:
    """A tree without its places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, (_, child) in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def test_a_manifest_with_aliases_is_the_one_written_out(folder: Folder) -> None:
    """In the head and in rows, texts and whole mappings."""
    folder.write(
        "short.yaml",
        "version: 1\ndefaults: {prompt: &white on white, labels: &acme {client: acme, season: AW}}\n"
        "edits: {e: {quality: &low low}, f: {quality: *low, labels: *acme}}\n"
        "items:\n  - {id: a, image: &pic in/a.png, labels: *acme}\n  - {id: b, image: *pic, prompt: *white}\n",
    )
    folder.write(
        "long.yaml",
        "version: 1\ndefaults: {prompt: on white, labels: {client: acme, season: AW}}\n"
        "edits: {e: {quality: low}, f: {quality: low, labels: {client: acme, season: AW}}}\n"
        "items:\n  - {id: a, image: in/a.png, labels: {client: acme, season: AW}}\n"
        "  - {id: b, image: in/a.png, prompt: on white}\n",
    )
    short, long = (
        [(t.slot, t.prompt, t.images, t.params, dict(t.labels), t.outputs) for t in folder.tasks(name)]
        for name in ("short.yaml", "long.yaml")
    )
    assert short == long


def test_what_is_shared_is_not_copied() -> None:
    """The alias has a place of its own; what is within is the anchor's."""
    tree = parse_yaml("a: &x {b: [1, 2]}\nc: *x\n", "m.yaml")
    assert isinstance(tree.value, dict)
    (_, one), (_, other) = tree.value["a"], tree.value["c"]
    assert one.value is other.value
    assert (str(one.place), str(other.place)) == ("m.yaml:1:4", "m.yaml:2:4")


def test_an_anchor_may_be_used_again_for_something_else() -> None:
    """As YAML has it: an alias is the last one above it."""
    assert plain(parse_yaml("[&a 1, *a, &a 2, *a]", "m.yaml")) == ["1", "1", "2", "2"]


def test_many_aliases_of_much_take_little_memory() -> None:
    """Two hundred thousand values in all, of which a thousand are there."""
    text = "a: &a [" + ", ".join("x" * 1000) + "]\nb: [" + ", ".join(["*a"] * 200) + "]\n"
    tracemalloc.start()
    tree = parse_yaml(text, "m.yaml")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000
    assert isinstance(tree.value, dict)


def test_the_budget_is_one_for_the_whole_document(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row for itself is small; all of them together are not. The place is the first alias too many."""
    monkeypatch.setattr(yaml_tree, "MAX_ALIASED", 12)
    text = "labels: &l {a: 1, b: 2}\nitems:\n" + "  - {labels: *l}\n" * 5
    path = folder.write("m.yaml", text)
    with pytest.raises(ManifestError, match=r"m\.yaml:7:14: the aliases stand for more than 12 values"):
        list(stream_list(path, "m.yaml", "items"))
    path.write_text(text.rsplit("  -", 1)[0])
    read_yaml(path, "m.yaml", streamed="items")
    assert [plain(node) for node in stream_list(path, "m.yaml", "items")] == [{"labels": {"a": "1", "b": "2"}}] * 4


def test_too_many_anchors() -> None:
    """Their values are kept until the end of the document."""
    text = "[" + ", ".join(f"&a{n} x" for n in range(10_001)) + "]"
    with pytest.raises(ManifestError, match="has more than 10000 anchors"):
        parse_yaml(text, "m.yaml")


LEAVES = st.from_regex(r"[a-z]{1,3}", fullmatch=True)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LEAVES, inner, max_size=3))


@given(st.lists(TREES, min_size=1, max_size=4), st.data())
def test_any_tree(parts: list[object], data: st.DataObject) -> None:
    """Earlier parts put into later ones by alias: the same tree as written out."""

    def flow(value: object) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(flow, value)) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {flow(child)}" for key, child in value.items()) + "}"
        return f"'{value}'"

    short: list[str] = []
    long: list[object] = []
    for number, part in enumerate(parts):
        earlier = data.draw(st.integers(0, number)) if number else 0
        if earlier:
            short.append(f"&p{number} [{flow(part)}, *p{earlier - 1} ]")
            long.append([part, long[earlier - 1]])
        else:
            short.append(f"&p{number} {flow(part)}")
            long.append(part)
    assert plain(parse_yaml("[" + ", ".join(short) + "]", "m.yaml")) == long
