"""Where rows come from besides tables of our own making, and what a source says about its rows."""

from __future__ import annotations

import json
import tracemalloc

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchedit.manifest import Findings, load_manifest
from tests.manifest.conftest import Folder


def skips(findings: Findings) -> list[tuple[str, str]]:
    return [(str(skip.place), skip.reason) for skip in findings.skipped]


def source(folder: Folder, text: str, name: str = "m.yaml") -> str:
    """A manifest with one source."""
    folder.write(name, f"version: 1\ndefaults: {{prompt: pp}}\nsources:\n  - {{{text}}}\n")
    return name


def table(folder: Folder, name: str, **columns: pa.Array | list[object]) -> None:
    """A Parquet file."""
    parquet.write_table(pa.table(columns), folder.root / name)


# -- JSON Lines and Parquet ----------------------------------------------------------------------------------------


def test_json_lines_as_a_source(folder: Folder) -> None:
    """With everything a source may say; paths in it start where it lies."""
    folder.write("data/x.png", b"x")
    folder.write("data/r.jsonl", '{"key": "k1", "file": "x.png", "n": 2}\n{"key": "k2", "file": ""}\n')
    name = source(folder, "jsonl: data/r.jsonl, map: {id: key, image: file}, labels: {set: '{{ key }}'}")
    (task,), findings = folder.read(name)
    assert (task.item.id, task.labels, len(task.outputs)) == ("k1", {"set": "k1"}, 2)
    assert skips(findings) == [("data/r.jsonl:2", "no image")]


def test_a_column_that_no_line_has(folder: Folder) -> None:
    """Lines need not have the same keys; a name is wrong only if none of them has it."""
    folder.write("r.jsonl", '{"image": "in/a.png"}\n{"image": "in/b.png", "tone": "warm"}\n')
    assert [task.item.id for task in folder.tasks(source(folder, "jsonl: r.jsonl, requires: [tone]"))] == ["b"]
    assert folder.problems(source(folder, "jsonl: r.jsonl, requires: [ton], map: {x: tune}")) == [
        'm.yaml:4:13: "requires": r.jsonl has no column \'ton\'. Did you mean "tone"?',
        'm.yaml:4:48: "map.x": r.jsonl has no column \'tune\'. Did you mean "tone"?',
    ]


def test_parquet(folder: Folder) -> None:
    """Numbers, times, dictionaries and nulls become plain text; the line is the number of the record."""
    table(
        folder,
        "t.parquet",
        id=pa.array([7, 8], pa.int64()),
        image=pa.array(["in/a.png", "in/b.png"]).dictionary_encode(),
        n=pa.array([2.0, None]),
        price=pa.array([0.1, float("nan")], pa.float32()),
        when=pa.array([0, 1], pa.timestamp("ns")),
        on=pa.array([True, False]),
        cost=pa.array(["1.50", "2.00"]).cast(pa.decimal128(6, 2)),
        nothing=pa.nulls(2),
    )
    one, two = folder.tasks("t.parquet", prompt="{{ price }}|{{ when }}|{{ on }}|{{ cost }}|{{ nothing }}|{{ line }}")
    assert (one.item.id, len(one.outputs), str(one.place)) == ("7", 2, "t.parquet:1")
    assert one.prompt == "0.1|1970-01-01 00:00:00.000000000|true|1.50||1"
    assert (two.item.id, len(two.outputs)) == ("8", 1)
    assert two.prompt == "|1970-01-01 00:00:00.000000001|false|2.00||2"


def test_nested_values_in_parquet(folder: Folder) -> None:
    """As in JSON Lines: a list of references, labels and vars as objects or maps; anything else is a problem."""
    table(
        folder,
        "t.parquet",
        image=["in/a.png", "in/b.png"],
        references=[["in/b.png", "in/c.jpg"], None],
        labels=[{"client": "acme", "year": 2027}, {"client": None, "year": None}],
        vars=pa.array([[("tone", "warm")], [("tone", "cold")]], pa.map_(pa.string(), pa.string())),
    )
    one, two = folder.tasks("t.parquet", prompt="make it {{ tone }}")
    assert (len(one.images), one.labels, one.prompt) == (3, {"client": "acme", "year": "2027"}, "make it warm")
    assert (len(two.images), two.labels, two.prompt) == (1, {}, "make it cold")
    table(folder, "u.parquet", image=[{"bytes": b"x", "path": "a.png"}], raw=[b"123"])
    assert folder.problems("u.parquet", prompt="pp") == [
        'u.parquet:1: "image": must be text, not an object',
        'u.parquet:1: "raw": must be text, not bytes',
    ]


def test_parquet_that_cannot_be_used(folder: Folder) -> None:
    """Two columns of one name, keys in names and cells, no such file."""
    twice = pa.Table.from_arrays([pa.array(["in/a.png"]), pa.array(["b"])], names=["image", "image"])
    parquet.write_table(twice, "t.parquet")
    assert folder.problems("t.parquet", prompt="pp") == ["t.parquet: has the column 'image' twice"]
    table(folder, "t.parquet", image=["in/a.png"], note=["rf_live_abcdefgh12345678"], rf_live_abcdefgh12345678=["x"])
    found = folder.problems("t.parquet", prompt="pp")
    assert [text.split(": ", 1)[0] for text in found] == ["t.parquet", "t.parquet:1"]
    assert "rf_live" not in "".join(found)
    assert folder.problems(source(folder, "parquet: gone.parquet")) == [
        "gone.parquet: cannot be read: No such file or directory"
    ]


def test_parquet_with_defaults_beside_it(folder: Folder) -> None:
    """As any table on the command line."""
    table(folder, "t.parquet", image=["in/a.png"])
    folder.write("t.defaults.yaml", "defaults: {prompt: from beside}\n")
    assert folder.tasks("t.parquet")[0].prompt == "from beside"


def test_parquet_is_read_in_batches(folder: Folder) -> None:
    """40,000 rows of 2,000 characters: what is held at a time is a small part of them."""
    rows = 40_000
    schema = pa.schema({"id": pa.string(), "image": pa.string(), "text": pa.string()})
    with parquet.ParquetWriter(folder.root / "t.parquet", schema) as writer:
        for start in range(0, rows, 10_000):
            ids = [str(n) for n in range(start, start + 10_000)]
            columns = [ids, ["in/a.png"] * 10_000, [f"{n:>05}" * 400 for n in ids]]
            writer.write_table(pa.table(columns, schema=schema))
    name = source(folder, "parquet: t.parquet, where: \"id == '39999'\"")
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    tracemalloc.start()
    try:
        tasks, findings = folder.read(name)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [task.item.id for task in tasks] == ["39999"]
    assert sum(skip.count for skip in findings.skipped) == rows - 1
    assert most < 20_000_000
    assert pool.bytes_allocated() - before < 1_000_000


def test_parquet_without_pyarrow(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    import sys

    table(folder, "t.parquet", image=["in/a.png"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert folder.problems("t.parquet") == [
        "t.parquet: Parquet files are read with pyarrow, which is not installed."
        ' Install it with: pip install "batchedit[parquet]"'
    ]


# -- URLs ----------------------------------------------------------------------------------------------------------


def test_a_file_of_urls(folder: Folder) -> None:
    """Comments and blank lines are left out; files of one name are told apart by host and path."""
    folder.write(
        "list.txt",
        "# night of the 3rd\n\nhttps://cdn.test/p/1/front.jpg?sig=abc\n  https://cdn.test/p/2/front.jpg\n"
        "https://other.test/lamp%20a.png\n",
    )
    tasks = folder.tasks(source(folder, "urls: list.txt, prompt: '{{ url }}'"))
    assert [(task.item.id, task.place.line) for task in tasks] == [
        ("cdn.test/p/1/front", 3), ("cdn.test/p/2/front", 4), ("lamp a", 5),
    ]  # fmt: skip
    assert tasks[0].prompt == "https://cdn.test/p/1/front.jpg"
    assert [task.item.id for task in folder.tasks("list.txt", prompt="pp")] == [task.item.id for task in tasks]


def test_urls_in_place(folder: Folder) -> None:
    """A list in the manifest, or a single one; their places are where they stand."""
    tasks = folder.tasks(source(folder, "urls: ['https://x.test/a.png', 'https://x.test/b.png']"))
    assert [(task.item.id, str(task.place)) for task in tasks] == [("a", "m.yaml:4:13"), ("b", "m.yaml:4:37")]
    assert [task.item.id for task in folder.tasks(source(folder, "urls: 'https://x.test/a.png'"))] == ["a"]


def test_no_secret_of_a_url_list_is_repeated(folder: Folder) -> None:
    """Signatures, passwords and keys in a list of URLs."""
    folder.write(
        "list.txt",
        "https://me:hunter2@x.test/a.png\nhttp://x.test/a?sig=hunter2\nrf_live_abcdefgh12345678\nhunter2 x\n",
    )
    found = folder.problems("list.txt", prompt="pp")
    assert [text.split(": ", 1)[0] for text in found] == [f"list.txt:{line}" for line in (1, 2, 3, 4)]
    assert "hunter2" not in "".join(found[:2])
    assert "rf_live" not in "".join(found)


# -- image folders -------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(folder: Folder) -> Folder:
    """An image folder with two pictures in sub-folders, one nobody names, and a row without its picture."""
    for name in ("train/0001.png", "train/0002.png", "test/0001.png", "extra.png", "note.txt"):
        folder.write(f"data/{name}", b"picture")
    folder.write(
        "data/metadata.csv",
        "file_name,text,label\ntrain/0001.png,a red boot,3\ntrain/0002.png,a lamp,4\ntest/0001.png,a chair,3\n",
    )
    return folder


@pytest.mark.parametrize("form", ["yaml", "command line"])
def test_an_image_folder(dataset: Folder, form: str) -> None:
    """Sub-folders are mirrored and make ids that are not the same; what no row names is said."""
    name = source(dataset, "imagefolder: data, prompt: '{{ text }}'") if form == "yaml" else "data"
    tasks, findings = dataset.read(name, **({} if form == "yaml" else {"prompt": "{{ text }}"}))
    assert findings.problems == []
    assert [(task.item.id, task.prompt, task.outputs) for task in tasks] == [
        ("train/0001", "a red boot", ("train/0001.png",)),
        ("0002", "a lamp", ("train/0002.png",)),
        ("test/0001", "a chair", ("test/0001.png",)),
    ]
    assert skips(findings) == [("data/extra.png", "no row of the metadata names it")]


def test_a_row_without_its_picture(dataset: Folder) -> None:
    """Is a problem, as any picture that is missing."""
    dataset.write("data/metadata.csv", "file_name\ntrain/0009.png\n")
    assert dataset.problems("data", prompt="pp") == [
        'data/metadata.csv:2: "image": ROOT/data/train/0009.png does not exist'
    ]


def test_metadata_in_sub_folders_and_as_json_lines(dataset: Folder) -> None:
    """Each names the pictures beside it; a column `image` of the data set does not get in the way."""
    (dataset.root / "data/metadata.csv").unlink()
    for part in ("train", "test"):
        row = {"file_name": "0001.png", "image": "no path", "n": 2}
        dataset.write(f"data/{part}/metadata.jsonl", json.dumps(row) + "\n")
    tasks, findings = dataset.read(
        source(dataset, "imagefolder: data, pattern: '{split}/{number}', prompt: '{{ split }}'")
    )
    assert [(task.item.id, task.prompt, len(task.outputs)) for task in tasks] == [
        ("test/0001", "test", 2), ("train/0001", "train", 2),
    ]  # fmt: skip
    assert skips(findings) == [
        ("data/extra.png", "no row of the metadata names it"),
        ("data/train/0002.png", "no row of the metadata names it"),
    ]


def test_metadata_as_parquet(dataset: Folder) -> None:
    """The third form that data sets use."""
    (dataset.root / "data/metadata.csv").unlink()
    table(dataset, "data/metadata.parquet", file_name=["train/0002.png"], text=["a lamp"])
    assert [task.prompt for task in dataset.tasks("data", prompt="{{ text }}")] == ["a lamp"]


def test_a_folder_with_an_unrelated_table_is_a_folder(folder: Folder) -> None:
    """A `metadata.csv` that names no files changes nothing."""
    folder.write("in/metadata.csv", "camera,lens\nx,y\n")
    assert [task.item.id for task in folder.tasks("in", prompt="pp")] == ["a", "b", "c"]


# -- map, columns, encoding ----------------------------------------------------------------------------------------


def test_map(folder: Folder) -> None:
    """Fields, labels and variables from any column; a column of that name gives way and stays in `row`."""
    folder.write("t.csv", "No.,Picture,title,Client,image\nx1,in/a.png,lamp,Acme,gone.png\n")
    mapped = "map: {id: No., image: Picture, name: title, label.client: Client}"
    prompt = "prompt: \"{{ name }} {{ title }} {{ row['image'] }}\""
    (task,) = folder.tasks(source(folder, f"csv: t.csv, {mapped}, {prompt}"))
    assert (task.item.id, task.prompt, task.labels) == ("x1", "lamp lamp gone.png", {"client": "Acme"})


def test_a_mapped_column_is_no_near_miss(folder: Folder) -> None:
    """`Images` looks like a slip unless the manifest says what it is."""
    folder.write("t.csv", "id,Images\na,in/a.png\n")
    assert folder.read(source(folder, "csv: t.csv, map: {image: Images}"))[1].warnings == []
    (warning,) = folder.read(source(folder, "csv: t.csv, image: in/a.png"))[1].warnings
    assert warning.field == "Images"


def test_cells_of_mapped_columns_are_data(folder: Folder) -> None:
    """A prompt that comes from a column is no template."""
    folder.write("t.csv", "image,What\nin/a.png,{{ 7*7 }}\n")
    assert folder.tasks(source(folder, "csv: t.csv, map: {prompt: What}"))[0].prompt == "{{ 7*7 }}"


def test_strict_columns(folder: Folder) -> None:
    """What is a field, a label, a variable, mapped or required is known."""
    folder.write("t.csv", "id,image,label.x,var.y,Tone,SKU\na,in/a.png,,,warm,s\n")
    folder.tasks(source(folder, "csv: t.csv, columns: strict, map: {tone: Tone}, requires: [SKU]"))
    folder.write("r.jsonl", '{"id": "a", "image": "in/a.png"}\n{"id": "b", "image": "in/b.png", "tone": "x"}\n')
    assert folder.problems(source(folder, "jsonl: r.jsonl, columns: strict")) == [
        "r.jsonl:2: \"tone\": columns: strict allows no column 'tone'. Known are the fields, label.NAME, var.NAME and"
        " what map names"
    ]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "UTF-8", "mac-roman", "shift_jis"])
def test_an_encoding_that_is_named(folder: Folder, encoding: str) -> None:
    """Any encoding of text that Python knows, also for JSON Lines and lists of URLs."""
    word = "漢字" if encoding == "shift_jis" else "Größe"
    folder.write("t.csv", f"id;image;prompt\n{word};in/a.png;mehr {word}\n".encode(encoding))
    folder.write("r.jsonl", f'{{"id": "{word}", "image": "in/a.png"}}\n'.encode(encoding))
    folder.write("u.txt", f"# {word}\nhttps://x.test/{word}.png\n".encode(encoding))
    (task,) = folder.tasks(source(folder, f"csv: t.csv, encoding: {encoding}, id: '{{{{ id }}}}'"))
    assert task.item.id == word
    assert folder.tasks(source(folder, f"jsonl: r.jsonl, encoding: {encoding}"))[0].item.id == word
    assert folder.tasks(source(folder, f"urls: u.txt, encoding: {encoding}"))[0].item.id == word


# -- pattern and where ---------------------------------------------------------------------------------------------


def test_a_pattern_takes_names_apart(folder: Folder) -> None:
    """Its names are variables, those of fields give fields; what does not match is skipped and listed."""
    for name in ("BOOT_01_2.png", "LAMP_1.png", "plain.png"):
        folder.write(f"shoot/{name}", b"x")
    name = source(folder, "glob: 'shoot/*', pattern: '{sku}_{pos}', prompt: '{{ sku }} {{ pos }}'")
    tasks, findings = folder.read(name)
    assert [task.prompt for task in tasks] == ["BOOT_01 2", "LAMP 1"]
    assert skips(findings) == [("shoot/plain.png", "does not match the pattern {sku}_{pos}")]
    name = source(folder, "glob: 'shoot/*_1.png', pattern: '{id}_{n}'")
    assert [(task.item.id, len(task.outputs)) for task in folder.tasks(name)] == [("LAMP", 1)]


def test_a_pattern_with_folders(folder: Folder) -> None:
    """As many folders as it names, counted from the file."""
    for name in ("s/acme/BOOT_1.png", "s/2027/globex/LAMP_2.png", "s/top_3.png"):
        folder.write(name, b"x")
    name = source(folder, "glob: 's/**/*.png', pattern: '{client}/{sku}_{pos}', labels: {client: '{{ client }}'}")
    tasks, findings = folder.read(name)
    assert [task.labels["client"] for task in tasks] == ["globex", "acme"]
    assert [reason for _, reason in skips(findings)] == ["does not match the pattern {client}/{sku}_{pos}"]


def test_a_pattern_of_urls(folder: Folder) -> None:
    """Held against the path of the address."""
    name = source(
        folder, "urls: ['https://x.test/p/acme/BOOT_1.jpg'], pattern: '{client}/{sku}_{pos}', id: '{{ sku }}'"
    )
    assert folder.tasks(name)[0].item.id == "BOOT"


def test_where(folder: Folder) -> None:
    """The template language decides; rows are counted with the reason."""
    folder.write("t.csv", "id,image,Type,price\na,in/a.png,Boot,12.50\nb,in/b.png,Gift card,9\nc,in/c.jpg,Boot,8.99\n")
    where = "Type != 'Gift card' and price|float < 10 and row['Type'].lower().startswith('b') and stem == 'c'"
    tasks, findings = folder.read(source(folder, f'csv: t.csv, where: "{where}"'))
    assert [task.item.id for task in tasks] == ["c"]
    assert skips(findings) == [(f"t.csv:{line}", f"where is false: {where}") for line in (2, 3)]


def test_where_counts_before_limit_and_sees_variables(folder: Folder) -> None:
    """`limit` is a number of rows that are wanted."""
    folder.write("t.csv", "id,image\n" + "".join(f"i{n},in/a.png\n" for n in range(10)))
    name = source(folder, "csv: t.csv, where: 'id != skipped', limit: 2, vars: {skipped: i1}")
    assert [task.item.id for task in folder.tasks(name)] == ["i0", "i2"]


def test_many_skipped_rows_are_counted_and_not_listed(folder: Folder) -> None:
    """A thousand of a reason are listed, the rest is one entry."""
    folder.write("t.csv", "id,image\n" + "".join(f"i{n},in/a.png\n" for n in range(5000)))
    findings = folder.read(source(folder, "csv: t.csv, where: \"id == 'i4999'\""))[1]
    assert len(findings.skipped) == 1001
    assert (findings.skipped[-1].count, findings.skipped[-1].place.line) == (3999, 1002)


def test_a_manifest_with_searched_folders_is_not_closed(dataset: Folder) -> None:
    """What a folder holds can change without the manifest's files; tables and lists are files of the manifest."""
    assert not load_manifest(source(dataset, "imagefolder: data")).is_closed
    dataset.write("l.txt", "https://x.test/a.png\n")
    manifest = load_manifest(source(dataset, "urls: l.txt"))
    assert manifest.is_closed
    assert [path.name for path in manifest.files] == ["m.yaml", "l.txt"]
