"""Manifests: what they become, and every way in which they can be wrong, with the place and the words."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchedit.errors import ManifestError, Place
from batchedit.manifest import Findings, Manifest, Overrides, load_manifest
from batchedit.manifest.feeding import source_rows
from batchedit.manifest.layers import Source
from batchedit.manifest.templates import TemplateProblem, render
from batchedit.manifest.yaml_tree import parse_yaml
from batchedit.model import LocalImage, Task, UrlImage
from batchedit.money import MicroUSD
from batchedit.paths import collision_key, path_problem, safe_component
from tests.conftest import Shop


def tasks(manifest: Manifest) -> list[Task]:
    """All tasks of a manifest without problems."""
    findings = Findings()
    found = list(manifest.tasks(findings))
    findings.raise_if_problems()
    return found


def problems(source: str | Path, **overrides: str) -> list[str]:
    """Every problem of a manifest, as a user reads it."""
    findings = Findings()
    try:
        list(load_manifest(source, overrides=Overrides(**overrides)).tasks(findings))  # type: ignore[arg-type]
    except ManifestError as error:
        return [str(problem) for problem in error.problems]
    return [str(problem) for problem in findings.problems]


def one(shop: Shop, text: str) -> Task:
    return tasks(load_manifest(shop.write("m.yaml", text)))[0]


ITEM = "items:\n  - {id: a, image: in/mug.png, prompt: sepia}\n"

# -- what a manifest becomes ---------------------------------------------------------------------------------


def test_the_smallest_table(shop: Shop, jobs: Path) -> None:
    """Ids stay text, places are lines, names follow the pictures."""
    found = tasks(load_manifest("jobs.csv"))
    assert [task.slot for task in found] == ["0123_1/edit", "0123_2/edit", "0124_1/edit"]
    assert [str(task.place) for task in found] == ["jobs.csv:2", "jobs.csv:3", "jobs.csv:4"]
    assert found[0].outputs == ("mug.png",)
    assert found[0].images == (LocalImage(shop.root / "in" / "mug.png"),)


def test_a_spreadsheet_with_semicolons_and_defaults_beside_it(shop: Shop) -> None:
    """The separator is read from the header; an empty cell means not given; labels and budget come from the YAML."""
    shop.write("a.csv", "\ufeffid;image;colour;quality\nx;in/mug.png;tan;\ny;in/shoe.png;red;medium\n")
    shop.write(
        "a.defaults.yaml",
        "version: 1\nbudget: {run: 5}\ndefaults:\n  quality: low\n  prompt: 'a {{ colour }} thing'\n"
        "  labels: {client: acme, tone: '{{ colour }}'}\n",
    )
    manifest = load_manifest("a.csv")
    found = tasks(manifest)
    assert [(task.prompt, task.params.quality) for task in found] == [("a tan thing", "low"), ("a red thing", "medium")]
    assert found[1].labels == {"client": "acme", "tone": "red"}
    assert manifest.budget == MicroUSD(5_000_000)


def test_precedence_of_the_levels(shop: Shop) -> None:
    """Defaults < edit < row < variant < command line."""
    shop.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: d, quality: low, format: jpeg}\n"
        "edits:\n  e:\n    quality: medium\n    variants: {v: {size: 1024x1024}, w: {format: png}}\n"
        "items:\n  - {id: a, image: in/mug.png, prompt: from the row, format: webp}\n",
    )
    first, second = tasks(load_manifest("m.yaml"))
    assert (first.slot, first.prompt, first.params.quality, first.params.format) == (
        "a/e/v", "from the row", "medium", "webp",
    )  # fmt: skip
    assert (second.params.format, second.params.size) == ("png", "auto")
    overridden = tasks(load_manifest("m.yaml", overrides=Overrides(quality="high", prompt="p {{ id }}")))
    assert {(task.params.quality, task.prompt) for task in overridden} == {("high", "p a")}


def test_cells_are_data_and_never_templates(shop: Shop) -> None:
    """A product called {{ 7*7 }} keeps its name."""
    shop.table("t.csv", [{"id": "{{ 7*7 }}", "image": "in/mug.png", "prompt": "{{ secret }}", "title": "{% raw"}])
    shop.write("t.defaults.yaml", "version: 1\ndefaults: {labels: {title: '{{ title }}'}}\n")
    found = tasks(load_manifest("t.csv"))[0]
    assert (found.item.id, found.prompt, found.labels["title"]) == ("{{ 7*7 }}", "{{ secret }}", "{% raw")


@pytest.mark.parametrize("word", ["0123", "no", "1.10", "12:30", "1_000", "2024-01-02", "0x1F", "1e3"])
def test_yaml_scalars_stay_text(shop: Shop, word: str) -> None:
    """What YAML would turn into numbers, dates and booleans stays what was written."""
    assert one(shop, f"version: 1\nitems:\n  - {{id: {word}, image: in/mug.png, prompt: sepia}}\n").item.id == word


def test_all_fields_arrive(shop: Shop) -> None:
    """All eight inputs of the provider can be said."""
    task = one(
        shop,
        "version: 1\nprompts: {white: 'on white, {{ stem }}'}\nitems:\n"
        "  - id: a\n    image: https://cdn.test/p/x.png?w=1\n    mask: in/shoe.png\n    references: [in/mug.png, in/lamp.png]\n"
        "    prompt: white\n    quality: low\n    size: 1024x1536\n    format: webp\n    n: 3\n    sync_mode: true\n"
        "    output: 'd/{{ id }}_{{ sample }}.{{ ext }}'\n",
    )
    assert task.prompt == "on white, x"
    assert task.images[0] == UrlImage("https://cdn.test/p/x.png?w=1")
    assert len(task.images) == 3
    assert task.mask == LocalImage(shop.root / "in" / "shoe.png")
    assert (task.params.quality, task.params.size, task.params.format, task.params.samples) == (
        "low", "1024x1536", "webp", 3,
    )  # fmt: skip
    assert task.inline
    assert task.outputs == ("d/a_1.webp", "d/a_2.webp", "d/a_3.webp")


def test_optional_masks_and_the_word_none(shop: Shop) -> None:
    """A path that ends in ? may be missing; `none` takes away what the defaults give."""
    shop.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: sepia, mask: 'in/{{ stem }}-mask.png?', references: [in/lamp.png]}\n"
        "items:\n  - {id: a, image: in/mug.png}\n  - {id: b, image: in/mug.png, mask: in/shoe.png, references: none}\n",
    )
    shop.write("m.yaml", (shop.root / "m.yaml").read_text().replace("id: b", "id: b, output: b.png"))
    first, second = tasks(load_manifest("m.yaml"))
    assert (first.mask, len(first.images)) == (None, 2)
    assert (second.mask, len(second.images)) == (LocalImage(shop.root / "in/shoe.png"), 1)


def test_json_lines(shop: Shop) -> None:
    """Numbers keep their digits, lists and labels are taken as they are."""
    shop.write(
        "r.jsonl",
        '{"id": 12, "image": "in/mug.png", "prompt": "a{{ b }}", "n": 2, "labels": {"c": "x"}}\n\n'
        '{"id": "b", "image": "in/shoe.png", "prompt": "sepia", "references": ["in/lamp.png"]}\n',
    )
    first, second = tasks(load_manifest("r.jsonl"))
    assert (first.item.id, first.prompt, first.params.samples, first.labels) == ("12", "a{{ b }}", 2, {"c": "x"})
    assert (str(second.place), len(second.images)) == ("r.jsonl:3", 2)


def test_a_shop_export(shop: Shop) -> None:
    """Columns by their own or their snake names; rows without a picture are skipped with their lines."""
    shop.write(
        "export.csv",
        "Handle,Title,Image Src,Image Position,Variant SKU\n"
        'mug,"Mug, blue",https://x.test/m.jpg,1,\nmug,,,,\nshoe,Shoe,https://x.test/s.jpg,1,\n',
    )
    shop.write(
        "m.yaml",
        "version: 1\nsources:\n  - csv: export.csv\n    requires: [Image Src]\n"
        "    id: '{{ handle }}_{{ image_position }}'\n    image: 'in/{{ handle }}.png'\n"
        "    prompt: Cut out the {{ Title }}, {{ row['Image Src'] }}\n",
    )
    findings = Findings()
    found = list(load_manifest("m.yaml").tasks(findings))
    assert [task.item.id for task in found] == ["mug_1", "shoe_1"]
    assert found[0].prompt == "Cut out the Mug, blue, https://x.test/m.jpg"
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [("export.csv:3", "no Image Src")]


def test_the_first_physical_line_of_a_record(shop: Shop) -> None:
    """Quoted line breaks do not shift the places of what follows."""
    shop.write("t.csv", 'id,image,prompt\na,in/mug.png,"one\ntwo\nthree"\n\nb,in/shoe.png,xx\n')
    assert [str(task.place) for task in tasks(load_manifest("t.csv"))] == ["t.csv:2", "t.csv:6"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(shop: Shop, encoding: str) -> None:
    """UTF-8 with and without a mark, UTF-16 with one."""
    (shop.root / "t.csv").write_bytes("id,image,prompt\nGröße,in/mug.png,weiß\n".encode(encoding))
    assert tasks(load_manifest("t.csv"))[0].item.id == "Größe"


def test_globs_mirror_folders(shop: Shop) -> None:
    """Sub-folders below the fixed part of the pattern come back in the output; other files are left alone."""
    (shop.root / "in" / "deep").mkdir()
    (shop.root / "in" / "mug.png").rename(shop.root / "in" / "deep" / "cup.png")
    shop.write("in/notes.txt", "x")
    found = tasks(load_manifest("in/**/*", overrides=Overrides(prompt="sepia")))
    assert [task.outputs for task in found] == [("deep/cup.png",), ("lamp.png",), ("shoe.png",)]


def test_edits_variants_and_default_names(shop: Shop) -> None:
    """Several edits get folders, variants and samples get suffixes; a row may ask for one edit only."""
    shop.write(
        "m.yaml",
        "version: 1\nedits:\n  white: {prompt: on white}\n  dye:\n    prompt: dye\n    n: 2\n    variants: {red: {}, blue: {}}\n"
        "items:\n  - {id: a, image: in/mug.png}\n  - {id: b, image: in/shoe.png, edit: white}\n",
    )
    found = tasks(load_manifest("m.yaml"))
    assert [task.outputs for task in found] == [
        ("white/mug.png",), ("dye/mug_red_1.png", "dye/mug_red_2.png"), ("dye/mug_blue_1.png", "dye/mug_blue_2.png"),
        ("white/shoe.png",),
    ]  # fmt: skip


def test_slots_separate_only_where_they_should(shop: Shop) -> None:
    """A slash in an id is no separator."""
    task = one(shop, "version: 1\nitems:\n  - {id: 'a/b%', image: in/mug.png, prompt: sepia}\n")
    assert task.slot == "a%2Fb%25/edit"


def test_tasks_are_made_when_they_are_needed(shop: Shop) -> None:
    """Fifty thousand rows: the first task comes at once, and memory does not grow with what was passed."""
    lines = ["id,image,prompt", *(f"i{n},in/mug.png,prompt number {n} with some words in it" for n in range(50_000))]
    shop.write("big.csv", "\n".join(lines))
    tracemalloc.start()
    rows = source_rows(Source("csv", "big.csv", Place("big.csv")), shop.root, "", Findings())
    assert len(list(islice(rows, 1000))) == 1000
    early, _ = tracemalloc.get_traced_memory()
    assert sum(1 for _ in rows) == 49_000
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert late < early + 1_000_000


# -- what can be wrong ---------------------------------------------------------------------------------------

WRONG_YAML = [
    ("", ITEM, "m.yaml:1:1: the key version is missing. Begin with: version: 1"),
    ("version: 2\n", ITEM, "m.yaml:1:10: \"version\": '2' needs a newer batchedit; this one reads version 1"),
    ("version: one\n", ITEM, "m.yaml:1:10: \"version\": 'one' is not a version; this one reads version 1"),
    ("version: 1\nedit: x\n", ITEM, 'm.yaml:2:1: "edit": the manifest has no key \'edit\'. Did you mean "edits"?'),
    ("version: 1\nversion: 1\n", ITEM, "m.yaml:2:1: the key 'version' is already given in line 1"),
    ("version: 1\n", "", "m.yaml:1:1: there are neither items nor sources"),
    ("version: 1\n", "items: {a: b}\n", 'm.yaml:2:8: "items": items must be a list, not a mapping'),
    ("version: 1\n", "items: [{id: a, image: in/mug.png, prompt: sepia}\n", "m.yaml:3:1: is not valid YAML: while parsing a flow sequence did not find"
     " expected ',' or ']'"),
    ("version: 1\nname: *a\n", ITEM, "m.yaml:2:7: there is no anchor 'a' above"),
    ("version: 1\nname: !!python/name:os.system x\n", ITEM, "m.yaml:2:7: the tag tag:yaml.org,2002:python/name:os.system"
     " is not supported"),
    ("version: 1\nname: [a]\n", ITEM, 'm.yaml:2:7: "name": must be text, not a list'),
    ("version: 1\n? [a]\n: b\n", ITEM, "m.yaml:2:3: a key must be plain text"),
    ("version: 1\nprovider: {api: sync}\n", ITEM, "m.yaml:2:17: \"provider.api\": 'sync' is not one of runs, run"),
    ("version: 1\nprovider: {base_url: 'http://api.test'}\n", ITEM, "m.yaml:2:22: \"provider.base_url\":"
     " 'http://api.test' must be an https address (http is for this machine only)"),
    ("version: 1\nprovider: {key: abc}\n", ITEM, "m.yaml:2:12: \"key\": provider has no key 'key'. Known are: name, api,"
     " model, base_url, organization, images_as, size_as, storage, keep_metadata, on_unknown"),
    ("version: 1\nname: rf_live_abcdefgh12345\n", ITEM, 'm.yaml:2:7: "name": this looks like an API key; keys do not'
     " belong in a manifest. Take it out, replace it at the provider, and set it in the environment"),
    ("version: 1\nbudget: {run: lots}\n", ITEM, "m.yaml:2:15: \"budget.run\": 'lots' is not an amount in dollars"),
    ("version: 1\nbudget: {run: -3}\n", ITEM, "m.yaml:2:15: \"budget.run\": '-3' is not an amount in dollars of 0 or"
     " more"),
    ("version: 1\nlimits: {rpm: fast}\n", ITEM, "m.yaml:2:15: \"limits.rpm\": 'fast' is not a positive number, auto or none"),
    ("version: 1\nlimits: {concurrency: 0}\n", ITEM, "m.yaml:2:23: \"limits.concurrency\": '0' is not a positive number"),
    ("version: 1\nedits: {'a b': {}}\n", ITEM, "m.yaml:2:9: 'a b' is no name for an edit: letters, digits, dots, hyphens"
     " and underscores"),
    ("version: 1\ndefaults: {qualty: low}\n", ITEM, "m.yaml:2:12: \"qualty\": defaults has no key 'qualty'. Did you"
     ' mean "quality"?'),
    ("version: 1\nprompts: {p: {file: gone.txt}}\n", ITEM, "m.yaml:2:21: \"file\": {root}/gone.txt: No such file or"
     " directory"),
    ("version: 1\n", "sources:\n  - {limit: 3}\n", "m.yaml:3:5: a source has one of: csv, jsonl, parquet, glob, urls, imagefolder"),
    ("version: 1\n", "sources:\n  - {csv: gone.csv}\n", "gone.csv: cannot be read: No such file or directory"),
    ("version: 1\n", "sources:\n  - {glob: 'x/*.png'}\n", "m.yaml:3:12: no picture matches 'x/*.png'. Put a glob in"
     " quotes"),
    ("version: 1\n", "items:\n  - {id: a, prompt: sepia}\n", 'm.yaml:3:5: "image": the item has no image'),
    ("version: 1\n", "items:\n  - {id: a, image: in/mug.png}\n", 'm.yaml:3:5: "prompt": there is no prompt. Give one in'
     " the row, the edit, the defaults, or with --prompt"),
    ("version: 1\n", "items:\n  - {id: a, image: in/gone.png, prompt: sepia}\n", 'm.yaml:3:20: "image": {root}/in/gone.png'
     " does not exist"),
    ("version: 1\n", "items:\n  - {id: a, image: in, prompt: sepia}\n", 'm.yaml:3:20: "image": {root}/in is a folder'),
    ("version: 1\n", "items:\n  - {id: a, image: 'http://x.test/a.png', prompt: sepia}\n", "m.yaml:3:20: \"image\":"
     " 'http://x.test/a.png' must be an https URL or a path"),
    ("version: 1\n", "items:\n  - {id: a, image: 'https://u:p@x.test/a.png', prompt: sepia}\n", "m.yaml:3:20: \"image\":"
     " 'https://x.test/a.png' holds a user name or a password"),
    ("version: 1\n", "items:\n  - {id: a, image: 'file:///etc/passwd', prompt: sepia}\n", "m.yaml:3:20: \"image\":"
     " 'file:///etc/passwd' must be an https URL or a path"),
    ("version: 1\n", "items:\n  - {id: a, image: in/mug.png, prompt: x}\n", 'm.yaml:3:40: "prompt": the prompt has 1'
     " characters; 2 to 32000 are allowed"),
    ("version: 1\n", "items:\n  - {id: a, image: in/mug.png, prompt: sepia, n: 5}\n", "m.yaml:3:50: \"n\": '5' is not a"
     " whole number from 1 to 4"),
    ("version: 1\n", "items:\n  - {id: a, image: in/mug.png, prompt: sepia, size: 1000x1000}\n", 'm.yaml:3:53: "size":'
     " 1000x1000: both sides must be multiples of 16"),
    ("version: 1\n", "items:\n  - {id: a, image: in/mug.png, prompt: sepia, format: gif}\n", "m.yaml:3:55: \"format\":"
     " 'gif' is not one of png, jpeg, webp"),
    ("version: 1\n", "items:\n  - {id: a, image: in/mug.png, prompt: sepia, sync_mode: maybe}\n", "m.yaml:3:58:"
     " \"sync_mode\": 'maybe' is neither true nor false"),
    ("version: 1\ndefaults: {prompt: 'a {{ color }}'}\n", "items:\n  - {id: a, image: in/mug.png, vars: {colour: red}}\n",
     'm.yaml:2:20: "prompt": the template uses {{ color }}, which is no column or variable here. Did you mean "colour"?'),
    ("version: 1\ndefaults: {prompt: 'a {{ x'}\n", "items:\n  - {id: a, image: in/mug.png}\n", 'm.yaml:2:20: "prompt":'
     " the template is not a valid template: unexpected end of template, expected 'end of print statement'."),
    ("version: 1\ndefaults: {prompt: \"{{ ''.__class__ }}\"}\n", "items:\n  - {id: a, image: in/mug.png}\n",
     'm.yaml:2:20: "prompt": the template does something that templates may not do'),
    ("version: 1\n", ITEM.replace("prompt", "output: ../x.png, prompt"), "m.yaml:3:40: \"output\": the output '../x.png'"
     " has the component '..', which would leave its place"),
    ("version: 1\n", ITEM.replace("prompt", "output: /etc/x.png, prompt"), "m.yaml:3:40: \"output\": the output"
     " '/etc/x.png' must be relative to the output folder"),
    ("version: 1\n", ITEM.replace("prompt", "output: .batchedit/x.png, prompt"), "m.yaml:3:40: \"output\": the output"
     " '.batchedit/x.png' may not lie in .batchedit"),
    ("version: 1\n", ITEM.replace("prompt", "output: aux.png, prompt"), "m.yaml:3:40: \"output\": the output 'aux.png'"
     " has the component 'aux.png', a device name on Windows"),
    ("version: 1\n", ITEM.replace("prompt", "output: x.jpg, prompt"), 'm.yaml:3:40: "output": the output ends in .jpg,'
     " the format is png. Write {{ ext }}, or set format"),
    ("version: 1\n", ITEM.replace("prompt", "n: 2, output: x.png, prompt"), 'm.yaml:3:46: "output": the 2 pictures of a'
     " task would have one name. Add {{ sample }} to the output template"),
    ("version: 1\n", ITEM + "  - {id: a, image: in/shoe.png, prompt: sepia}\n", "m.yaml:4:5: \"id\": the id 'a' is"
     " already that of m.yaml:3:5"),
    ("version: 1\nedits: {white: {prompt: sepia}}\n", ITEM.replace("prompt", "edit: whit, prompt"), "m.yaml:4:38: \"edit\":"
     " there is no edit 'whit'. Did you mean \"white\"?"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "rows", "expected"), WRONG_YAML, ids=[str(n) for n in range(len(WRONG_YAML))])
def test_wrong_yaml(shop: Shop, head: str, rows: str, expected: str) -> None:
    """Each mistake is named with file, line, column, field, value and hint."""
    shop.write("m.yaml", head + rows)
    assert problems("m.yaml") == [expected.replace("{root}", str(shop.root))]


WRONG_CSV = [
    ("", "t.csv:1: is empty; the first line must name the columns"),
    ("id,image,id\na,in/mug.png,b\n", "t.csv:1: \"id\": the column 'id' stands at 1 and 3"),
    ("id,image\na,in/mug.png,more\n", "t.csv:2: the row has 3 cells, the header 2. A cell that holds ',' must be in"
     " quotes"),
    ('id,image\na,"in/mug.png"x\n', "t.csv:2: is not valid CSV: ',' expected after '\"'"),
    ("id,image,quality\na,in/mug.png,meduim\n", "t.csv:2: \"quality\": 'meduim' is not one of low, medium, high. Did you"
     ' mean "medium"?'),
    ("id,image\na,in/gone.png\n", 't.csv:2: "image": {root}/in/gone.png does not exist'),
    ("id,image\na,in/mug.png\na,in/shoe.png\n", "t.csv:3: \"id\": the id 'a' is already that of t.csv:2"),
    ("id,image,note\na,in/mug.png,sk-proj-abcdefghij\n", 't.csv:2: "note": this looks like an API key; keys do not belong'
     " in a manifest. Take it out and replace it at the provider"),
    ("id,image,enabled\na,in/mug.png,perhaps\n", "t.csv:2: \"enabled\": 'perhaps' is neither true nor false"),
    ("id,image,references\na,in/mug.png,in/lamp.png|in/y.png\n", 't.csv:2: "references": {root}/in/y.png does not exist'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG_CSV, ids=[str(n) for n in range(len(WRONG_CSV))])
def test_wrong_tables(shop: Shop, text: str, expected: str) -> None:
    """The same for tables."""
    shop.write("t.csv", text)
    assert problems("t.csv", prompt="sepia") == [expected.replace("{root}", str(shop.root))]


def test_everything_that_is_wrong_is_listed_at_once(shop: Shop) -> None:
    """Several mistakes in one row and in several rows, head and rows together, equal ones counted."""
    shop.write(
        "t.csv",
        "id,image,quality,size\na,in/gone.png,meduim,1x1\nb,in/mug.png,low,auto\nc,in/shoe.png,meduim,auto\n",
    )
    shop.write("t.defaults.yaml", "version: 1\nbudgt: {run: 1}\ndefaults: {prompt: 'a {{ nam }}'}\n")
    found = problems("t.csv")
    assert found[0].startswith("t.csv:2: \"quality\": 'meduim' is not one of")
    assert found[0].endswith("(2 rows, first shown)")
    assert found[1] == 't.csv:2: "size": 1x1: both sides must be multiples of 16'
    assert found[2].startswith('t.csv:2: "image":')
    assert found[3].startswith('t.defaults.yaml:2:1: "budgt"')
    assert "{{ nam }}" in found[4]
    assert found[4].endswith("(3 rows, first shown)")
    assert len(found) == 5


def test_a_bad_encoding_is_explained(shop: Shop) -> None:
    """Latin-1 is no UTF-8: say what to do in a spreadsheet."""
    (shop.root / "t.csv").write_bytes("id,image,prompt\na,in/mug.png,Größe\n".encode("latin-1"))
    assert problems("t.csv") == [
        "t.csv: is not UTF-8; save it as UTF-8 (in a spreadsheet: CSV UTF-8). Or give its source an encoding, such as"
        " encoding: cp1252"
    ]


@pytest.mark.parametrize("source", ["nothing.csv", "nothing.yaml", "what"])
def test_a_source_that_is_not_there(shop: Shop, source: str) -> None:
    """No file, no folder, no glob."""
    with pytest.raises(ManifestError, match=source):
        load_manifest(source)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("id,image,promt\na,in/mug.png,x\n", "the column 'promt' is only a variable"),
        ("id,image\n1.23E+12,in/mug.png\n", "looks like a number that a spreadsheet has shortened"),
        ("id,image\n7,in/mug.png\n007,in/shoe.png\n", "differ only by case or leading zeros"),
    ],
)
def test_likely_mistakes_are_warnings(shop: Shop, text: str, word: str) -> None:
    """The run may go on."""
    shop.write("t.csv", text)
    findings = Findings()
    assert list(load_manifest("t.csv", overrides=Overrides(prompt="sepia")).tasks(findings))
    assert not findings.problems
    assert any(word in str(warning) for warning in findings.warnings)


def test_nesting_without_end_is_an_error_and_no_crash() -> None:
    """A hundred thousand brackets neither overflow the stack nor the parser."""
    with pytest.raises(ManifestError, match=r"nested deeper|not valid YAML"):
        parse_yaml("a: " + "[" * 100_000, "m.yaml")


# -- properties ----------------------------------------------------------------------------------------------


@given(st.text(max_size=200) | st.text(alphabet="[]{}:,-#&*!|>'\"%@`a1 \n", max_size=80))
def test_yaml_of_any_kind_raises_only_our_own_error(text: str) -> None:
    """Whatever the bytes, there is a tree or a ManifestError."""
    with suppress(ManifestError):
        parse_yaml(text, "m.yaml")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=200) | st.text(alphabet='id,image\n"a;\t', max_size=60).map(str.encode))
def test_tables_of_any_kind_raise_only_our_own_error(tmp_path: Path, data: bytes) -> None:
    """The same for CSV."""
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with suppress(ManifestError):
        list(load_manifest(path).tasks(Findings()))


HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "..",
        ".",
        "../../etc/passwd",
        "/etc",
        "C:\\x",
        "CON",
        "aux.txt",
        "a\x00b",
        "\u202egnp",
        "a" * 500,
        " x ",
        "x.",
        "~",
    ]
)


@given(HOSTILE)
def test_a_value_never_leaves_its_component(value: str) -> None:
    """Whatever is substituted, the path stays below the folder that the template names."""
    path = render("base/{{ value }}/x.png", {"value": value}, path=True)
    assert path_problem(path) is None
    assert path.startswith("base/")
    assert path.count("/") == 2
    assert ".." not in path.split("/")


@given(HOSTILE, HOSTILE)
def test_cleaning_is_stable_and_folding_is_consistent(one_value: str, other: str) -> None:
    """A clean component stays as it is; equal keys stay equal."""
    clean = safe_component(one_value)
    assert safe_component(clean) == clean
    assert collision_key(collision_key(other)) == collision_key(other)


@given(st.text(max_size=100))
def test_templates_of_any_kind_raise_only_their_own_error(text: str) -> None:
    """Whatever the template, there is text or a TemplateProblem."""
    with suppress(TemplateProblem):
        render("{{ a }}" + text, {"a": "x"})


@pytest.mark.parametrize(
    "bomb",
    ["{{ range(10**9) }}", "{% for i in range(10**12) %}x{% endfor %}", "{{ a.__class__.__mro__ }}", "{{ lipsum() }}"],
)
def test_templates_have_no_globals_and_no_attributes(bomb: str) -> None:
    """No ranges, no way to Python's insides."""
    with pytest.raises(TemplateProblem):
        render(bomb, {"a": "x"})
