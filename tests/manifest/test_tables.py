"""CSV, TSV and JSON Lines: what spreadsheets, shops and programs write."""

from __future__ import annotations

import pytest

from tests.manifest.conftest import Folder

SHOP = (
    "Handle,Title,Body (HTML),Vendor,Variant SKU,Image Src,Image Position,Image Alt Text\n"
    'linen-shirt,"Shirt, linen","<p>Soft.\n<br>Cool.</p>",acme,,https://cdn.test/shirt.jpg,1,Front\n'
    "linen-shirt,,,,,,,\n"
    "linen-shirt,,,,,https://cdn.test/shirt_2.jpg,2,\n"
    "oak-stool,Oak stool,,acme,,https://cdn.test/stool.jpg,1,{{ 7*7 }}\n"
)


def test_a_shop_export_as_it_is(folder: Folder) -> None:
    """Columns by their own or their snake names; rows without a picture are listed with their first physical line."""
    folder.write("export.csv", SHOP)
    folder.write(
        "m.yaml",
        "version: 1\nsources:\n  - csv: export.csv\n    requires: [Image Src]\n"
        "    id: '{{ handle }}_{{ image_position }}'\n    image: '{{ image_src }}'\n"
        "    prompt: Cut out the {{ Title or handle }} by {{ row['Vendor'] }}.\n"
        "    labels: {alt: '{{ image_alt_text }}'}\n",
    )
    tasks, findings = folder.read("m.yaml")
    assert findings.problems == findings.warnings == []
    assert [task.slot for task in tasks] == ["linen-shirt_1/edit", "linen-shirt_2/edit", "oak-stool_1/edit"]
    assert [task.prompt for task in tasks] == [
        "Cut out the Shirt, linen by acme.", "Cut out the linen-shirt by .", "Cut out the Oak stool by acme.",
    ]  # fmt: skip
    assert [str(task.place) for task in tasks] == ["export.csv:2", "export.csv:5", "export.csv:6"]
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [("export.csv:4", "no Image Src")]
    assert tasks[2].labels == {"alt": "{{ 7*7 }}"}


def test_an_export_without_requirements_skips_rows_without_a_picture(folder: Folder) -> None:
    """The picture's template renders to nothing."""
    folder.write("export.csv", SHOP)
    folder.write("m.yaml", "version: 1\nsources: [{csv: export.csv, image: '{{ image_src }}', prompt: pp}]\n")
    tasks, findings = folder.read("m.yaml")
    assert [task.item.id for task in tasks] == ["shirt", "shirt_2", "stool"]
    assert [(skip.place.line, skip.reason) for skip in findings.skipped] == [(4, "no image")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_read_from_the_header(folder: Folder, delimiter: str) -> None:
    """Counted outside quotes; other delimiters in the cells do not confuse it."""
    cells = ["id", '"a,b;c|d"', "image", "prompt"]
    row = ["x", '"1,2;3"', "in/a.png", '"p; q, r"']
    folder.write("t.csv", delimiter.join(cells) + "\n" + delimiter.join(row) + "\n")
    assert folder.tasks("t.csv")[0].prompt == "p; q, r"


def test_one_column_and_a_line_that_announces_the_delimiter(folder: Folder) -> None:
    """A table of one column has no delimiter at all; some spreadsheets write one above the header."""
    folder.write("one.csv", "image\nin/a.png\n")
    assert folder.tasks("one.csv", prompt="pp")[0].item.id == "a"
    folder.write("sep.csv", "sep=;\r\nid;image;prompt\r\nx;in/a.png;a,b,c,d\r\n")
    task = folder.tasks("sep.csv")[0]
    assert (task.prompt, str(task.place)) == ("a,b,c,d", "sep.csv:3")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-with-mark"])
def test_encodings(folder: Folder, encoding: str) -> None:
    """UTF-8 with and without a mark, UTF-16 with one."""
    text = "id ,image, prompt\nÖl 漢,in/a.png,weiß\n"
    data = b"\xff\xfe" + text.encode("utf-16-le") if encoding.endswith("mark") else text.encode(encoding)
    folder.write("t.csv", data)
    task = folder.tasks("t.csv")[0]
    assert (task.item.id, task.prompt) == ("Öl 漢", "weiß")


def test_places_are_first_physical_lines(folder: Folder) -> None:
    """Quoted line breaks of any kind, blank rows and rows of separators do not shift what follows."""
    folder.write("t.csv", 'id,image,prompt\r\n\r\na,in/a.png,"1\r\n2\n3"\r\n,,\r\nb,in/b.png,pp\r\n')
    assert [task.place.line for task in folder.tasks("t.csv")] == [3, 7]


def test_cells_are_data(folder: Folder) -> None:
    """Nothing in a table is a template, in whatever field; a prompt's name is a name all the same."""
    folder.write("t.csv", "id,image,prompt,label.who\n{{ 7*7 }},in/a.png,{{ x }} {% if %},{{ y }}\nb,in/b.png,white,\n")
    folder.write("t.defaults.yaml", "version: 1\nprompts: {white: 'put {{ id }} on white'}\n")
    one, two = folder.tasks("t.csv")
    assert (one.item.id, one.prompt, one.labels) == ("{{ 7*7 }}", "{{ x }} {% if %}", {"who": "{{ y }}"})
    assert (two.prompt, two.labels) == ("put b on white", {})


def test_empty_means_not_given_and_none_means_nothing(folder: Folder) -> None:
    """An empty cell falls to the defaults; `none` takes away what they give."""
    folder.write("t.csv", "id,image,quality,mask,references\na,in/a.png,,,\nb,in/b.png,low,none,NONE\n")
    folder.write("t.defaults.yaml", "defaults: {prompt: pp, quality: medium, mask: in/c.jpg, references: [in/c.jpg]}\n")
    a, b = folder.tasks("t.csv")
    assert (a.params.quality, a.mask is None, len(a.images)) == ("medium", False, 2)
    assert (b.params.quality, b.mask is None, len(b.images)) == ("low", True, 1)


def test_columns_as_names(folder: Folder) -> None:
    """Identifiers as they are and in snake form, `var.`, the original in `row`; our own names win over columns."""
    folder.write("t.csv", "id,image,Colour Name,var.tone,line,colour_name\na,in/a.png,Tan,warm,first,exact\n")
    folder.write(
        "t.defaults.yaml",
        "defaults: {prompt: \"{{ colour_name }} {{ row['Colour Name'] }} {{ tone }} {{ line }} {{ row['line'] }}\"}\n",
    )
    assert folder.tasks("t.csv")[0].prompt == "exact Tan warm 2 first"


def test_a_row_may_ask_for_its_edits(folder: Folder) -> None:
    """One or several, each once."""
    folder.write("t.csv", "id,image,edit\na,in/a.png,e\nb,in/b.png,f|e|f\nc,in/c.jpg,\n")
    folder.write("t.defaults.yaml", "defaults: {prompt: pp}\nedits: {e: {}, f: {}}\n")
    assert [task.slot for task in folder.tasks("t.csv")] == ["a/e", "b/f", "b/e", "c/e", "c/f"]


def test_a_source_wins_over_its_columns(folder: Folder) -> None:
    """And may stop after a number of rows."""
    folder.write("t.csv", "id,image,prompt\na,in/a.png,cell\nb,in/b.png,cell\nc,in/c.jpg,cell\n")
    folder.write("m.yaml", "version: 1\nsources: [{csv: t.csv, prompt: 'own {{ tone }}', vars: {tone: t}, limit: 2}]\n")
    assert [task.prompt for task in folder.tasks("m.yaml")] == ["own t", "own t"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,image,promt\na,in/a.png,x\n", "t.csv:1: \"promt\": the column 'promt' is only a variable, not a field."
         ' Did you mean "prompt"?'),
        ("id,Image,image\na,x,in/a.png\n", "t.csv:1: \"Image\": the column 'Image' is only a variable, not a field."
         ' Did you mean "image"?'),
        ("id,image,\na,in/a.png,\n", "t.csv:1: the column 3 has no name. Give it one, or leave it empty"),
        ("id,image\n1.23E+12,in/a.png\n", "t.csv:2: \"id\": '1.23E+12' looks like a number that a spreadsheet has"
         " shortened. Format the column as text and export again"),
        ("id;image\n1,23E+12;in/a.png\n", "t.csv:2: \"id\": '1,23E+12' looks like a number that a spreadsheet has"
         " shortened. Format the column as text and export again"),
        ("id,image\n0123,in/a.png\n123,in/b.png\n", "t.csv:3: \"id\": the ids '123' and '0123' (t.csv:2) differ only by"
         " case or leading zeros"),
        ("id,image\nBoot,in/a.png\nboot,in/b.png\n", "t.csv:3: \"id\": the ids 'boot' and 'Boot' (t.csv:2) differ only"
         " by case or leading zeros"),
    ],
)  # fmt: skip
def test_likely_damage_is_a_warning(folder: Folder, text: str, message: str) -> None:
    """The run may go on, with every row."""
    folder.write("t.csv", text)
    tasks, findings = folder.read("t.csv", prompt="pp")
    assert len(tasks) == text.count("in/")
    assert findings.problems == []
    assert [str(warning) for warning in findings.warnings] == [message]


def test_ordinary_columns_are_no_slips(folder: Folder) -> None:
    """Words of shops that happen to resemble a field."""
    names = "colour,title,images,sizes_eu,Option1 Name,label.season,var.x,Body (HTML),material,format_code"
    folder.write("t.csv", f"id,image,{names.replace('images,', '')}\na,in/a.png,,,,,,,,,\n")
    assert folder.read("t.csv", prompt="pp")[1].warnings == []


def test_json_lines(folder: Folder) -> None:
    """Numbers keep their digits, lists and objects come as such, null is not given."""
    folder.write(
        "r.ndjson",
        '{"id": 0.10, "image": "in/a.png", "prompt": "{{ b }}", "n": 2, "labels": {"c": 7}, "quality": null}\n\n'
        '{"id": "b", "image": "in/b.png", "prompt": "pp", "references": ["in/a.png", "in/c.jpg"], "sync_mode": true}\n'
        '{"id": "c", "prompt": "pp"}\n',
    )
    (one, two), findings = folder.read("r.ndjson")
    assert (one.item.id, one.prompt, one.params.samples, one.labels) == ("0.10", "{{ b }}", 2, {"c": "7"})
    assert (two.place.line, len(two.images), two.inline) == (3, 3, True)
    assert [(skip.place.line, skip.reason) for skip in findings.skipped] == [(4, "no image")]


def test_near_misses_in_json_lines_are_said_once(folder: Folder) -> None:
    """Each row has keys of its own; a slip is reported where it is first met."""
    rows = "".join(f'{{"id": "{n}", "image": "in/a.png", "promt": "x"}}\n' for n in range(3))
    folder.write("r.jsonl", rows)
    _, findings = folder.read("r.jsonl", prompt="pp")
    assert [(warning.field, warning.place.line, warning.count) for warning in findings.warnings] == [("promt", 1, 1)]


def test_ids_that_are_alike_in_more_than_two_ways(folder: Folder) -> None:
    """Each is compared with the first of its kind, and the same one twice is found all the same."""
    folder.write("t.csv", "id,image\n7,in/a.png\n07,in/a.png\n007,in/a.png\n07,in/a.png\n7,in/a.png\n")
    tasks, findings = folder.read("t.csv", prompt="pp")
    assert [task.item.id for task in tasks] == ["7", "07", "007"]
    assert [str(problem) for problem in findings.problems] == [
        "t.csv:5: \"id\": the id '07' is already that of t.csv:3",
        "t.csv:6: \"id\": the id '7' is already that of t.csv:2",
    ]
    assert [warning.place.line for warning in findings.warnings] == [3, 4]


def test_one_prompt_for_thousands_of_rows(folder: Folder) -> None:
    """Is pointed out once for each edit and variant, where the prompt is written."""
    folder.write("t.csv", "id,image\n" + "".join(f"i{n},in/a.png\n" for n in range(1001)))
    folder.write(
        "t.defaults.yaml",
        "defaults: {prompt: on white}\nedits: {plain: {variants: {u: {}, v: {prompt: 'on {{ id }}'}}}, "
        "e: {prompt: 'the {{ id }}'}}\n",
    )
    _, findings = folder.read("t.csv")
    assert [str(warning) for warning in findings.warnings] == [
        't.defaults.yaml:1:20: "prompt": all 1001 tasks of the edit plain, variant u have the same prompt, word for'
        " word. If it should say what is in the picture, use a column, such as {{ title }}"
    ]
    folder.write("t.csv", "id,image\n" + "".join(f"i{n},in/a.png\n" for n in range(1000)))
    assert folder.read("t.csv")[1].warnings == []


def test_spellings_of_a_label(folder: Folder) -> None:
    """Values that differ only by case, width, spaces and signs; the rarer one is pointed out where it first stands."""
    names = ["Acme", "Acme", "acme", "Globex Ltd", "globex-ltd.", "Globex Ltd", "other", "\uff21cme"]
    folder.write(
        "t.csv", "id,image,label.client\n" + "".join(f"i{n},in/a.png,{name}\n" for n, name in enumerate(names))
    )
    _, findings = folder.read("t.csv", prompt="pp")
    assert [str(warning) for warning in findings.warnings] == [
        f't.csv:{line}: "labels.client": the value {rare!r} (1 time) is spelled {often!r} elsewhere (2).'
        " Costs are reported for each spelling by itself"
        for line, rare, often in (
            (4, "acme", "Acme"), (6, "globex-ltd.", "Globex Ltd"), (9, "\uff21cme", "Acme"),
        )
    ]  # fmt: skip


def test_a_label_that_is_a_name_of_its_own_is_not_watched(folder: Folder) -> None:
    """With more than a thousand values nothing is kept, and nothing said."""
    rows = "".join(f"i{n},in/a.png,x{n}\n" for n in range(1000)) + "y,in/a.png,y\nz,in/a.png,X1\n"
    folder.write("t.csv", "id,image,label.sku\n" + rows)
    assert folder.read("t.csv", prompt="the {{ id }}")[1].warnings == []
    folder.write("t.csv", "id,image,label.sku\n" + rows.replace("x999\n", "x998\n").replace("y,in/a.png,y\n", ""))
    assert [warning.code for warning in folder.read("t.csv", prompt="the {{ id }}")[1].warnings] == ["label-spelling"]


def test_damage_in_what_ids_are_made_of(folder: Folder) -> None:
    """Also where the id is a template over the column; not in columns that are none of an id's."""
    folder.write("t.csv", "Variant SKU,image,weight\n1.23E+12,in/a.png,1E+3\n5.5e-3x,in/b.png,\n")
    folder.write("m.yaml", "version: 1\nsources: [{csv: t.csv, id: 'x-{{ variant_sku }}', prompt: pp}]\n")
    assert [str(warning) for warning in folder.read("m.yaml")[1].warnings] == [
        "t.csv:2: \"Variant SKU\": '1.23E+12' looks like a number that a spreadsheet has shortened. Format the column as"
        " text and export again"
    ]


def test_a_quoted_name_that_goes_on_in_the_next_line(folder: Folder) -> None:
    """What stands in it says nothing about what separates the columns."""
    folder.write("t.csv", 'id\timage\tprompt\t"a; b;\nc; d"\nx\tin/a.png\tpp\tz\n')
    assert folder.tasks("t.csv")[0].prompt == "pp"
