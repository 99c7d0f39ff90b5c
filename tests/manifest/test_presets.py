"""Exports of shops, PIMs and data sets, each with a preset and a few lines of YAML. All of them are made up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchedit.manifest.columns import columns_of
from batchedit.manifest.presets import PRESETS, recognise, resolve
from batchedit.manifest.shaping import split_pictures
from batchedit.model import LocalImage, UrlImage
from tests.manifest.conftest import Folder

OLD = (
    "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Variant SKU,Image Src,Image Position,Variant Image,Status\n"
    'shirt,"Shirt, linen",<p>Soft.</p>,Acme,Tops,"linen, men",TRUE,,https://cdn.test/s1.jpg,1,,active\n'
    "shirt,,,,,,,S-2,https://cdn.test/s2.jpg,2,https://cdn.test/s2.jpg,\n"
    "shirt,,,,,,,S-3,,,https://cdn.test/s2.jpg,\n"
    "stool,Stool,,Globex,Seats,,TRUE,,https://cdn.test/oak.jpg,,,active\n"
    "stool,,,,,,,,https://cdn.test/oak-b.jpg,,,\n"
    "card,Gift card,,Acme,Gift,,TRUE,,,,,active\n"
)
NEW = (
    "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,Status,SKU,"
    "Product image URL,Image position,Image alt text,Variant image URL\n"
    'Shirt,shirt,Soft.,Acme,Apparel,Tops,"linen, men",TRUE,active,S-1,https://cdn.test/s1.jpg,1,front,\n'
    ",shirt,,,,,,,,S-2,https://cdn.test/s2.jpg,2,,\n"
)
MATRIXIFY = (
    "ID,Handle,Command,Title,Body HTML,Vendor,Type,Top Row,Image Src,Image Command,Image Position,Variant SKU\n"
    "11,boot,MERGE,Boot,,Acme,Shoes,TRUE,https://cdn.test/b1.jpg;https://cdn.test/b2.jpg,MERGE,,B-1\n"
    "11,boot,,,,,,,https://cdn.test/b3.jpg,MERGE,3,B-2\n"
)
WOO = (
    "ID,Type,SKU,Name,Published,Description,Categories,Tags,Images,Parent,Position\n"
    '7,simple,MUG-1,Mug,1,Holds coffee.,Kitchen,,"https://x.test/w_40,h_40/a.jpg, https://x.test/b.jpg",,0\n'
    '8,simple,,Bowl,1,,Kitchen,,"https://x.test/bowl.jpg, ",,0\n'
    "9,simple,CUP-1,Cup,1,,Kitchen,,,,0\n"
)
AKENEO = (
    "sku;categories;enabled;family;name-en_US;description-en_US-ecommerce;image;price-EUR\n"
    "0017;summer;1;shoes;Sandal;;files/0017/image/sandal.png;19\n"
    "0018;summer;0;shoes;Clog;;files/0018/image/clog.png;29\n"
)


def source(folder: Folder, text: str, prompt: str = "the {{ title }}") -> str:
    folder.write("m.yaml", f"version: 1\ndefaults: {{prompt: '{prompt}'}}\nsources:\n  - {{{text}}}\n")
    return "m.yaml"


def test_shopify(folder: Folder) -> None:
    """A product's first row speaks for all of its rows; a position is there even if the export has none."""
    folder.write("export.csv", OLD)
    folder.write(
        "m.yaml",
        "version: 1\nsources:\n  - csv: export.csv\n    preset: shopify\n    where: type != 'Gift'\n"
        "defaults:\n  labels: {vendor: '{{ vendor }}'}\n"
        "  prompt: \"{{ title }} / {{ row['Tags'] }} / {{ tags }} / {{ status }} / {{ published }}\"\n"
        "  output: \"{{ handle }}/{{ '%02d' % (position|int) }}.{{ ext }}\"\n",
    )
    tasks, findings = folder.read("m.yaml")
    assert findings.problems == findings.warnings == []
    assert [(task.item.id, task.outputs[0], task.labels["vendor"]) for task in tasks] == [
        ("shirt_1", "shirt/01.png", "Acme"), ("shirt_2", "shirt/02.png", "Acme"),
        ("stool_1", "stool/01.png", "Globex"), ("stool_2", "stool/02.png", "Globex"),
    ]  # fmt: skip
    assert [task.tags for task in tasks] == [("linen", "men"), ("linen", "men"), (), ()]
    assert [task.prompt for task in tasks[:2]] == ["Shirt, linen / linen, men / linen, men / active / TRUE"] * 2
    assert [task.images[0] for task in tasks[:2]] == [UrlImage(f"https://cdn.test/s{n}.jpg") for n in (1, 2)]
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [
        ("export.csv:4", "no Image Src"), ("export.csv:7", "no Image Src"),
    ]  # fmt: skip


def test_only_blanks_are_filled_and_only_within_a_product(folder: Folder) -> None:
    """What a further row says itself stays; variant columns are never filled."""
    folder.write(
        "e.csv",
        "Handle,Title,Vendor,Variant SKU,Image Src\na,A,Acme,s1,in/a.png\na,,Other,,in/b.png\nb,B,,,in/c.jpg\n",
    )
    name = source(folder, "csv: e.csv, preset: shopify", "{{ title }}:{{ vendor }}:{{ sku }}")
    assert [task.prompt for task in folder.tasks(name)] == ["A:Acme:s1", "A:Other:", "B::"]


def test_the_newer_shopify_export(folder: Folder) -> None:
    """The same names in templates for both generations of headers."""
    folder.write("export.csv", NEW)
    tasks = folder.tasks(
        source(folder, "csv: export.csv, preset: shopify", "{{ title }} {{ body }} {{ sku }} {{ alt }}")
    )
    assert [(task.item.id, task.prompt) for task in tasks] == [
        ("shirt_1", "Shirt Soft. S-1 front"),
        ("shirt_2", "Shirt Soft. S-2"),
    ]


def test_a_product_whose_first_row_is_elsewhere(folder: Folder) -> None:
    """A table that was sorted otherwise is pointed out."""
    folder.write("e.csv", "Handle,Title,Image Src\na,A,in/a.png\nb,B,in/b.png\na,,in/c.jpg\n")
    _, findings = folder.read(source(folder, "csv: e.csv, preset: shopify, id: '{{ stem }}'"))
    assert [str(warning) for warning in findings.warnings] == [
        "e.csv:4: \"Handle\": the first row of 'a' is not right above this one, so that nothing is copied."
        " Sort the table by Handle, each product's first row on top"
    ]


def test_own_words_win_over_a_preset(folder: Folder) -> None:
    """A source's own fields and its `map`; a mapped column need not be one that the preset knows."""
    folder.write("e.csv", OLD.replace("Image Src", "Picture"))
    name = source(folder, "csv: e.csv, preset: shopify, map: {image: Picture, title: Vendor}, id: 'x-{{ stem }}'")
    tasks = folder.tasks(name)
    assert [(task.item.id, task.prompt) for task in tasks][:2] == [("x-s1", "the Acme"), ("x-s2", "the Acme")]
    assert len(tasks) == 4


def test_pictures_of_ones_own_with_a_preset(folder: Folder) -> None:
    """A source that names local pictures still skips rows that the export has no picture for."""
    folder.write("e.csv", OLD.replace("shirt", "a").replace("stool", "b"))
    folder.write("in/a_1.png", b"x")
    folder.write("in/a_2.png", b"x")
    folder.write("in/b_1.png", b"x")
    folder.write("in/b_2.png", b"x")
    tasks = folder.tasks(source(folder, "csv: e.csv, preset: shopify, image: 'in/{{ handle }}_{{ position }}.png'"))
    assert [task.item.id for task in tasks] == ["a_1", "a_2", "b_1", "b_2"]
    assert all(isinstance(task.images[0], LocalImage) for task in tasks)


def test_what_is_left_out_does_not_change_positions(folder: Folder) -> None:
    """A picture is called the same whatever else is wanted; only rows without a picture do not count."""
    folder.write("e.csv", "Handle,Title,Image Src,SKU\na,A,in/a.png,\na,,,s0\na,,in/b.png,s1\na,,in/c.jpg,s2\n")
    for wanted in ("requires: [SKU, position]", "where: sku != ''"):
        tasks = folder.tasks(source(folder, f"csv: e.csv, preset: shopify, {wanted}"))
        assert [task.item.id for task in tasks] == ["a_2", "a_3"]
    rows = [{"Handle": "a", "Image Src": "in/a.png"}, {"Handle": "a"}, {"Handle": "a", "Image Src": "in/b.png"}]
    folder.write("e.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    tasks, findings = folder.read(source(folder, "jsonl: e.jsonl, preset: shopify", "pp"))
    assert [task.item.id for task in tasks] == ["a_1", "a_2"]
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [("e.jsonl:2", "no image")]


def test_an_id_column_of_ones_own(folder: Folder) -> None:
    """Somebody has added one to the export: it counts, and where it is empty the preset's does."""
    folder.write("e.csv", "id,Handle,Title,Image Src\nmine,a,A,in/a.png\n,a,,in/b.png\n")
    assert [task.item.id for task in folder.tasks(source(folder, "csv: e.csv, preset: shopify"))] == ["mine", "a_2"]


def test_matrixify(folder: Folder) -> None:
    """Several pictures in a cell become rows; counting goes on over the rows of a product."""
    folder.write("e.csv", MATRIXIFY)
    tasks = folder.tasks(source(folder, "csv: e.csv, preset: matrixify", "{{ title }} {{ type }}"))
    assert [(task.item.id, task.prompt) for task in tasks] == [(f"boot_{n}", "Boot Shoes") for n in (1, 2, 3)]


def test_woocommerce(folder: Folder) -> None:
    """One row per picture of the comma list; a comma within a URL is part of it."""
    folder.write("e.csv", WOO)
    tasks, findings = folder.read(source(folder, "csv: e.csv, preset: woocommerce"))
    assert findings.problems == findings.warnings == []
    assert [(task.item.id, task.prompt) for task in tasks] == [
        ("MUG-1_1", "the Mug"), ("MUG-1_2", "the Mug"), ("8_1", "the Bowl"),
    ]  # fmt: skip
    assert tasks[0].images == (UrlImage("https://x.test/w_40,h_40/a.jpg"),)
    assert tasks[2].images == (UrlImage("https://x.test/bowl.jpg"),)
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [("e.csv:4", "no Images")]


def test_akeneo(folder: Folder) -> None:
    """Localised columns, paths beside the file, leading zeros, and products that are switched off."""
    folder.write("pim/e.csv", AKENEO)
    folder.write("pim/files/0017/image/sandal.png", b"x")
    tasks, findings = folder.read(source(folder, "csv: pim/e.csv, preset: akeneo"))
    assert findings.problems == []
    assert [(task.item.id, task.prompt) for task in tasks] == [("0017_1", "the Sandal")]
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [("pim/e.csv:3", "not enabled")]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_img2dataset(folder: Folder, form: str) -> None:
    """Any file names; without an id column the id is a digest of URL and caption, whatever the order of rows."""
    rows = [
        ("https://x.test/1/image.jpg", "a boot"),
        ("https://x.test/2/image.jpg", "a lamp"),
        ("https://x.test/1/image.jpg", "shoe"),
    ]

    def write(order: list[tuple[str, str]]) -> None:
        if form == "csv":
            folder.write("d.csv", "URL,TEXT,WIDTH\n" + "".join(f"{url},{text},\n" for url, text in order))
        else:
            folder.write("d.jsonl", "".join(json.dumps({"url": url, "caption": text}) + "\n" for url, text in order))

    name = source(folder, f"{form}: d.{form}, preset: img2dataset", "{{ caption }} now")
    write(rows)
    found = {task.item.id: task.prompt for task in folder.tasks(name)}
    assert sorted(found.values()) == ["a boot now", "a lamp now", "shoe now"]
    assert all(len(key) == 16 for key in found)
    write(rows[::-1])
    assert {task.item.id: task.prompt for task in folder.tasks(name)} == found


def test_img2dataset_with_other_columns(folder: Folder) -> None:
    """What `url_col` and `caption_col` are there, `map` is here; an id column is taken."""
    folder.write("d.csv", "key,link,alt words\n007,https://x.test/a.jpg,boot\n")
    name = source(folder, "csv: d.csv, preset: img2dataset, map: {image: link, caption: alt words}", "{{ caption }}s")
    assert [(task.item.id, task.prompt) for task in folder.tasks(name)] == [("007", "boots")]


def test_a_list_of_pictures_without_a_preset(folder: Folder) -> None:
    """`preset: imagefolder` reads a metadata table by its own name."""
    folder.write("in/meta.jsonl", '{"file_name": "a.png", "text": "x"}\n')
    assert [
        task.item.id
        for task in folder.tasks(source(folder, "jsonl: in/meta.jsonl, preset: imagefolder", "{{ text }}y"))
    ] == ["a"]


def test_lines_with_different_keys_are_filled_by_name(folder: Folder) -> None:
    """JSON Lines of an export, whose rows leave out what is empty."""
    folder.write(
        "e.jsonl",
        '{"Handle": "a", "Title": "A", "Vendor": "Acme", "Image Src": "in/a.png"}\n'
        '{"Vendor": "", "Image Src": "in/b.png", "Title": "", "Handle": "a"}\n',
    )
    name = source(folder, "jsonl: e.jsonl, preset: shopify", "{{ title }} {{ vendor }}")
    assert [task.prompt for task in folder.tasks(name)] == ["A Acme", "A Acme"]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (OLD, "shopify"), (NEW, "shopify"), (MATRIXIFY, "matrixify"), (WOO, "woocommerce"),
        (AKENEO.replace(";", ","), "akeneo"), ("URL,TEXT\n", "img2dataset"), ("file_name,text\n", "imagefolder"),
        ("id,image,prompt\n", None), ("", None),
    ],
)  # fmt: skip
def test_kinds_are_recognised_by_their_header(header: str, kind: str | None) -> None:
    """A header says what it is."""
    assert recognise(header.splitlines()[0].split(",") if header else ()) == kind


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_sound(name: str) -> None:
    """What a preset needs, groups by and makes ids of is among its columns."""
    preset = PRESETS[name]
    assert set(preset.needs) <= set(preset.columns)
    assert not preset.group or preset.group in preset.columns
    assert "image" in preset.needs
    assert set(preset.digest) <= set(preset.columns)
    assert all(target.isidentifier() for target in preset.columns)


@pytest.mark.parametrize(
    ("cell", "pictures"),
    [
        ("", []), (" , ", []), ("a.jpg", ["a.jpg"]), ("a.jpg, b.jpg ,c.jpg,", ["a.jpg", "b.jpg", "c.jpg"]),
        ("https://x/a.jpg,https://x/b.jpg", ["https://x/a.jpg", "https://x/b.jpg"]),
        ("https://x/w_1,h_2/a.jpg, HTTPS://x/b.jpg,", ["https://x/w_1,h_2/a.jpg", "HTTPS://x/b.jpg"]),
    ],
)  # fmt: skip
def test_several_pictures_in_a_cell(cell: str, pictures: list[str]) -> None:
    """Split at separators, but not within URLs."""
    assert split_pictures(cell, ",") == pictures


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=12)


@settings(deadline=None)
@given(st.lists(NAMES, max_size=8, unique=True), st.sampled_from(sorted(PRESETS)))
def test_any_header_has_its_columns(names: list[str], preset: str) -> None:
    """Whatever is in a header: presets and columns point only at columns that are there."""
    found = resolve(PRESETS[preset].columns, names)
    assert set(found.values()) <= set(names)
    columns = columns_of(tuple(names), tuple(found.items()))
    for pairs in (columns.variables, columns.fields, columns.labels, columns.named):
        assert all(0 <= number < len(names) for _, number in pairs)
    assert all(name.isidentifier() for name, _ in columns.variables)
    assert all(dict(columns.variables)[target] == names.index(name) for target, name in found.items())


def test_an_export_without_its_preset(folder: Folder) -> None:
    """On the command line its rows would have no picture at all; where something else names one, nothing is said."""
    folder.write("shop.csv", OLD)
    assert folder.problems("shop.csv", prompt="pp") == [
        'shop.csv:1: "image": no column is called image; this looks like a Shopify product export. Write a manifest with'
        " preset: shopify, or let `batchedit init --from shop.csv` do it"
    ]
    folder.write("shop.defaults.yaml", "edits: {e: {image: in/a.png}}\n")
    assert "shop.csv:1" not in "".join(folder.problems("shop.csv", prompt="pp"))
    folder.write("d.jsonl", '{"url": "https://x.test/a.jpg", "text": "x"}\n')
    assert folder.problems("d.jsonl", prompt="pp")[0].startswith('d.jsonl:1: "image": no column is called image')
    folder.write("own.csv", "image,Handle,Image Src\nin/a.png,x,\n")
    assert folder.problems("own.csv", prompt="pp") == []


def test_a_shops_tags_are_words_to_select_by(folder: Folder) -> None:
    """They are separated by commas there, and as long as shops allow; what `map` names is separated as in any table."""
    long = 255 * "x"
    folder.write("woo.csv", WOO.replace("Kitchen,,", f'Kitchen,"a b, c|d,, {long}",', 1))
    found = folder.tasks(source(folder, "csv: woo.csv, preset: woocommerce", "the {{ title }}, {{ tags }}"))
    # A bar separates tags everywhere.
    assert [task.tags for task in found] == [("a b", "c", "d", long), ("a b", "c", "d", long), ()]
    assert found[0].prompt == f"the Mug, a b, c|d,, {long}"
    found = folder.tasks(source(folder, "csv: woo.csv, preset: woocommerce, map: {tags: Name}"))
    assert [task.tags for task in found] == [("Mug",), ("Mug",), ("Bowl",)]
