"""`post` and `checks` over the levels: what holds in the end, and what has nothing to do with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import batchedit.manifest
from batchedit.manifest.finishing import profiles
from batchedit.manifest.vocabulary import CHECK_KEYS, POST_KEYS, PROFILES
from batchedit.model import Task
from batchedit.recipe import CHECK_NAMES, Check, Post, Recipe
from tests.manifest.conftest import Folder

HEAD = "version: 1\ndefaults: {{prompt: pp, {defaults}}}\nedits: {{w: {{{edit}}}}}\nitems: [{{id: a, image: in/a.png, {row}}}]\n"


def one(folder: Folder, defaults: str = "", edit: str = "", row: str = "") -> Task:
    folder.write("m.yaml", HEAD.format(defaults=defaults, edit=edit, row=row))
    (task,) = folder.tasks("m.yaml")
    return task


def recipe(folder: Folder, defaults: str = "", edit: str = "", row: str = "") -> Recipe:
    found = one(folder, defaults, edit, row).recipe
    assert found is not None
    return found


def test_levels_merge_key_by_key(folder: Folder) -> None:
    """Defaults, edit, row: the last one that gives a key counts, whatever the others say about other keys."""
    found = recipe(
        folder,
        "post: {format: jpeg, quality: 80, fit: 100x100}",
        "post: {quality: 60, crop: 1:1}",
        "post: {fit: 50X60}",
    )
    assert found.post == Post(format="jpeg", quality=60, fit="50x60", crop="1:1")


@pytest.mark.parametrize("wording", ["post: amazon-main", "post: {profile: amazon-main}"])
def test_a_profile_lies_below_everything_that_is_said(folder: Folder, wording: str) -> None:
    """Its keys can be replaced and taken out one by one, on any level; its checks come with it."""
    whole = profiles()["amazon-main"].recipe()
    assert recipe(folder, wording) == whole
    assert whole.post is not None
    found = recipe(folder, wording, "post: {quality: 70, fit: none}, checks: {fill: none, min_side: 5}")
    assert found.post == Post(
        background="#ffffff", snap_white=whole.post.snap_white, format="jpeg", quality=70, srgb=True
    )
    names = {check.name: check for check in found.checks}
    assert "fill" not in names
    assert names["min_side"] == Check(name="min_side", severity="warn", least=5)
    assert recipe(folder, "post: {quality: 40}", wording).post == replace(whole.post, quality=40)


def test_none_takes_it_all_out(folder: Folder) -> None:
    """`post: none` also the profile's checks; `checks: none` only those."""
    assert one(folder, "post: amazon-main", "post: none").recipe is None
    found = recipe(folder, "post: amazon-main, checks: {not_identical: warn}", "checks: none")
    assert found.checks == ()
    assert found.post is not None
    assert recipe(folder, "post: amazon-main", "post: {profile: none}, checks: {fill: 3}") == Recipe(
        checks=(Check(name="fill", severity="warn", least=3),)
    )
    assert recipe(folder, "post: amazon-main", "", "post: {profile: etsy}") == profiles()["etsy"].recipe()


def test_metadata_merges_too(folder: Folder) -> None:
    """One of its keys leaves the other alone."""
    found = recipe(folder, "post: google-merchant", "post: {metadata: {keep: false}}")
    assert found.post == Post(keep_metadata=False, digital_source_type="trainedAlgorithmicMedia")


def test_outputs_follow_the_format_of_post(folder: Folder) -> None:
    """In the default name, by `ext`, and where the format is the one that is bought."""
    assert one(folder, "post: {format: jpg}").outputs == ("a.jpg",)
    assert one(folder, "post: {format: webp}, output: 'x/{{ id }}.{{ ext }}'").outputs == ("x/a.webp",)
    assert one(folder, "format: webp, post: {fit: 5x5}").outputs == ("a.webp",)
    assert one(folder, "format: webp, post: {quality: 5}").params.format == "webp"


def test_colours_and_sizes_have_one_spelling(folder: Folder) -> None:
    """So that what makes the same has the same digest."""
    one_way = recipe(folder, "post: {background: white, pad: {size: 10X20, background: '#ABC'}, crop: 4:5}")
    other = recipe(folder, "post: {pad: {background: '#aabbcc', size: 10x20}, crop: 4:5, background: '#FFFFFF'}")
    assert one_way.digest == other.digest
    assert Recipe.parse(one_way.text) == one_way


def test_tables_keep_their_columns(folder: Folder) -> None:
    """A column of that name is a variable, as it always was; the source may say `post` for all rows of a table."""
    folder.write("t.csv", "id,image,prompt,post,checks\na,in/a.png,{{ post }} pp,amazon,fill\n")
    (task,) = folder.tasks("t.csv")
    assert task.recipe is None
    assert (task.item.values["post"], task.item.values["checks"]) == ("amazon", "fill")
    folder.write("m.yaml", "version: 1\nsources: [{csv: t.csv, post: {format: jpeg}, checks: {fill: 3}}]\n")
    (task,) = folder.tasks("m.yaml")
    assert task.recipe == Recipe(post=Post(format="jpeg"), checks=(Check(name="fill", severity="warn", least=3),))
    assert task.outputs == ("a.jpg",)


def test_nothing_to_do_is_no_recipe(folder: Folder) -> None:
    """What only says the default makes no file anew."""
    assert one(folder, "post: {metadata: {keep: true}}").recipe is None
    assert one(folder, "post: {}, checks: {}").recipe is None
    assert one(folder, "post: {fit: }").recipe is None


def test_the_lists_are_complete() -> None:
    """Every file of a profile is named, every check can be made, and every step can be asked for."""
    folder = Path(batchedit.manifest.__file__).parent / "marketplaces"
    assert sorted(path.stem for path in folder.glob("*.yaml")) == sorted(PROFILES) == sorted(profiles())
    assert {key.name for key in CHECK_KEYS} == set(CHECK_NAMES)
    told = {"profile", "metadata", *Post.__slots__}
    assert {key.name for key in POST_KEYS} <= told


OBJECTS: list[dict[str, Any]] = [
    {"post": {"format": "jpeg", "quality": 80, "srgb": True, "metadata": {"keep": False}}, "checks": {"min_side": 5}},
    {"post": {"quality": "none"}, "checks": "none"},
    {"post": "none"},
    {"post": "etsy"},
    {"post": {"profile": "etsy", "quality": 71}},
    {"post": None, "checks": {"phash_distance": {"least": 2, "most": 20}}},
    {},
]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_give_objects_as_in_yaml(folder: Folder, form: str) -> None:
    """JSON Lines and Parquet: the same recipes as from inline rows, also over what the source says."""
    rows = [{"id": f"r{number}", "image": "in/a.png", **each} for number, each in enumerate(OBJECTS)]
    if form == "parquet":
        rows = [
            row for row in rows if isinstance(row.get("post") or {}, dict) and isinstance(row.get("checks") or {}, dict)
        ]
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder.root / "rows.parquet")
    else:
        folder.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    common = "post: {format: webp, quality: 60, fit: 90x90}, checks: {not_identical: warn}"
    head = "version: 1\ndefaults: {prompt: pp, output: '{{ id }}.{{ ext }}', " + common + "}\n"
    folder.write("m.yaml", f"{head}sources: [{{{form}: rows.{form}}}]\n")
    folder.write("inline.yaml", f"{head}items: {json.dumps(rows)}\n")
    found, wanted = folder.tasks("m.yaml"), folder.tasks("inline.yaml")
    assert [task.recipe for task in found] == [task.recipe for task in wanted]
    assert [task.outputs for task in found] == [task.outputs for task in wanted]
    assert len({task.recipe for task in found}) >= 3
    folder.write(
        "m.yaml", f"version: 1\ndefaults: {{prompt: pp}}\nsources: [{{{form}: rows.{form}, post: {{fit: 7x7}}}}]\n"
    )
    found = folder.tasks("m.yaml")
    posts = [task.recipe.post for task in found if task.recipe is not None and task.recipe.post is not None]
    assert [post.fit for post in posts] == ["7x7"] * len(found), "what the source says holds for all of its rows"
    assert (posts[0].format, posts[0].quality) == ("jpeg", 80)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('"post": {"qualty": 80}', 'rows.jsonl:1: "qualty": post has no key \'qualty\'. Did you mean "quality"?'),
        ('"post": {"fit": [1]}', 'rows.jsonl:1: "post.fit": must be text, not a list'),
        ('"checks": {"fill": "lots"}', "rows.jsonl:1: \"checks.fill\": 'lots' is not a whole number"),
        ('"post": [1]', 'rows.jsonl:1: "post": must be text, not a list'),
        ('"post": {"fit": "rf_live_abcdefgh12345678"}', "looks like an API key"),
        ('"post": {"rf_live_abcdefgh12345678": "x"}', "looks like an API key"),
        ('"post": ' + '{"fit":' * 40 + '"1x1"' + "}" * 40, "is nested too deeply"),
    ],
)
def test_objects_in_rows_are_refused_as_in_yaml(folder: Folder, row: str, problem: str) -> None:
    """In the same words, with the line of the row."""
    folder.write("rows.jsonl", f'{{"image": "in/a.png", {row}}}\n')
    found = folder.problems("rows.jsonl", prompt="pp")
    assert any(problem in text for text in found), found
    assert "rf_live_abc" not in "".join(found)


def test_a_text_that_is_no_profile_stays_a_variable(folder: Folder) -> None:
    """As a column of a table that is called so."""
    folder.write("rows.jsonl", '{"image": "in/a.png", "post": "of the shop"}\n')
    (task,) = folder.tasks("rows.jsonl", prompt="the {{ post }}")
    assert (task.prompt, task.recipe) == ("the of the shop", None)
