"""What manifests become: ids, slots, prompts, parameters, labels, and the levels they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchedit.errors import ManifestError
from batchedit.manifest import Findings, Overrides, load_manifest
from batchedit.model import Limits, LocalImage, Params, ProviderSettings, UrlImage
from batchedit.money import MicroUSD
from tests.manifest.conftest import Folder


def test_the_whole_head(folder: Folder) -> None:
    """Provider, limits and budget come in the program's own types, and it is known what was given."""
    folder.write("rows.csv", "id,image\na,in/a.png\n")
    folder.write("p.txt", "on white\n")
    folder.write(
        "m.yaml",
        "version: 1\nname: spring\n"
        "provider: {name: runflow, api: run, model: a/b-2/edit, base_url: 'https://api.test/x', organization: org-1,\n"
        "  images_as: data-uri, size_as: text}\n"
        "limits: {rpm: 60, ipm: 90, concurrency: 4, attempts: 3, timeout: 9.5, deadline: 600, list_lag: 0,\n"
        "  max_fail: 7}\n"
        "budget: {run: $12.50}\nprompts: {p: {file: p.txt}}\ndefaults: {prompt: p}\nsources: [{csv: rows.csv}]\n",
    )
    manifest = load_manifest("m.yaml")
    assert manifest.name == "spring"
    assert manifest.provider == ProviderSettings(
        name="runflow", api="run", model="a/b-2/edit", base_url="https://api.test/x", organization="org-1",
        images_as="data-uri", size_as="text",
    )  # fmt: skip
    assert manifest.limits == Limits(
        requests_per_minute=60, images_per_minute=90, in_flight=4, attempts=3, request_timeout_seconds=9.5,
        run_deadline_seconds=600.0, list_lag_seconds=0.0, max_failures=7,
    )  # fmt: skip
    assert manifest.limits_given == {
        "requests_per_minute", "images_per_minute", "in_flight", "attempts", "request_timeout_seconds",
        "run_deadline_seconds", "list_lag_seconds", "max_failures",
    }  # fmt: skip
    assert manifest.budget == MicroUSD(12_500_000)
    assert (manifest.source, manifest.path, manifest.root) == ("m.yaml", folder.root / "m.yaml", folder.root)
    assert manifest.files == tuple(folder.root / name for name in ("m.yaml", "p.txt", "rows.csv"))
    assert [task.prompt for task in manifest.tasks(Findings())] == ["on white"]


def test_the_command_line_names_the_provider(folder: Folder) -> None:
    """Only the name is replaced; how it is used stays as the manifest says."""
    folder.write("m.yaml", "version: 1\nprovider: {name: x, api: run}\nitems: []\n")
    provider = load_manifest("m.yaml", overrides=Overrides(provider="rehearsal")).provider
    assert (provider.name, provider.api) == ("rehearsal", "run")


def test_every_level_wins_over_the_one_below(folder: Folder) -> None:
    """defaults < edit < row < variant < command line, for fields and for labels."""
    folder.write(
        "m.yaml",
        "version: 1\n"
        "defaults: {prompt: dd, quality: low, size: square, format: webp, labels: {l: defaults, d: d}}\n"
        "edits:\n  e:\n    prompt: ee\n    size: square_hd\n    labels: {l: edit, e: e}\n"
        "    variants: {v: {prompt: vv, labels: {l: variant}}, w: {}}\n"
        "items:\n  - {id: a, image: in/a.png, prompt: rr, format: jpeg, labels: {l: row, r: r}}\n",
    )
    v, w = folder.tasks("m.yaml")
    assert (v.prompt, w.prompt) == ("vv", "rr")
    assert v.params == w.params == Params(quality="low", size="square_hd", format="jpeg")
    assert v.labels == {"l": "variant", "d": "d", "e": "e", "r": "r"}
    assert w.labels["l"] == "row"
    assert {task.prompt for task in folder.tasks("m.yaml", prompt="{{ variant }}!")} == {"v!", "w!"}
    assert folder.tasks("m.yaml", n=2, size="1024x1024")[0].params.samples == 2


def test_slots_are_made_of_escaped_parts(folder: Folder) -> None:
    """A slash or percent sign in an id cannot be taken for a separator; no variant, no third part."""
    folder.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: pp}\nedits: {e: {variants: {v: {}}}, f: {}}\n"
        "items:\n  - {id: 'x/y%z', image: in/a.png}\n",
    )
    assert [task.slot for task in folder.tasks("m.yaml")] == ["x%2Fy%25z/e/v", "x%2Fy%25z/f"]


@pytest.mark.parametrize("word", ["0123", "no", "Yes", "1.10", "12:30", "1_000", "2024-01-02", "0o17", ".5", "1e3"])
def test_scalars_stay_what_was_written(folder: Folder, word: str) -> None:
    """What YAML would turn into numbers, dates and booleans is text."""
    folder.write("m.yaml", f"version: 1\nitems:\n  - {{id: {word}, image: in/a.png, prompt: pp}}\n")
    assert folder.tasks("m.yaml")[0].item.id == word


def test_pictures_in_their_order(folder: Folder) -> None:
    """The picture to edit first, then the references; a mask may be missing if its path ends in a question mark."""
    folder.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: pp, mask: 'in/{{ stem }}_mask.png?', references: [in/b.png, 'refs/no.png?']}\n"
        "items:\n  - {id: a, image: in/a.png}\n  - {id: c, image: 'https://x.test/c.jpg?sig=1', references: none}\n"
        "  - {id: d, image: in/c.jpg, mask: in/a.png, references: in/a.png | in/b.png}\n",
    )
    a, c, d = folder.tasks("m.yaml")
    local = {name: LocalImage(folder.root / "in" / name) for name in ("a.png", "b.png", "c.jpg")}
    assert (a.images, a.mask) == ((local["a.png"], local["b.png"]), None)
    assert (c.images, c.outputs) == ((UrlImage("https://x.test/c.jpg?sig=1"),), ("c.png",))
    assert (d.images, d.mask) == ((local["c.jpg"], local["a.png"], local["b.png"]), local["a.png"])


def test_a_picture_is_found_by_the_id(folder: Folder) -> None:
    """The path may be made from the id, in items and in tables; otherwise the id from the path."""
    folder.write("m.yaml", "version: 1\ndefaults: {prompt: pp, image: 'in/{{ id }}.png'}\nitems: [{id: a}]\n")
    assert folder.tasks("m.yaml")[0].images == (LocalImage(folder.root / "in/a.png"),)
    folder.write("t.csv", "id\nb\n")
    folder.write("s.yaml", "version: 1\ndefaults: {prompt: pp}\nsources: [{csv: t.csv, image: 'in/{{ id }}.png'}]\n")
    assert folder.tasks("s.yaml")[0].images == (LocalImage(folder.root / "in/b.png"),)
    folder.write("g.yaml", "version: 1\ndefaults: {prompt: pp}\nsources: [{glob: in/*.jpg, id: 'x-{{ stem }}'}]\n")
    assert folder.tasks("g.yaml")[0].item.id == "x-c"


def test_default_outputs(folder: Folder) -> None:
    """Named after the picture; edits are folders, variants and samples suffixes, the extension follows the format."""
    folder.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: pp}\n"
        "edits: {white: {}, dye: {format: jpeg, n: 2, variants: {red: {}, blue: {format: webp, n: 1}}}}\n"
        "items:\n  - {id: x, image: in/a.png}\n  - {id: y, image: in/b.png, edit: white}\n",
    )
    assert [task.outputs for task in folder.tasks("m.yaml")] == [
        ("white/a.png",), ("dye/a_red_1.jpg", "dye/a_red_2.jpg"), ("dye/a_blue.webp",), ("white/b.png",),
    ]  # fmt: skip


def test_written_outputs(folder: Folder) -> None:
    """A missing extension is added, values cannot make folders, and the result is composed Unicode."""
    folder.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: pp, output: '{{ client }}/{{ stem }}.v1'}\n"
        "items:\n  - {id: x, image: in/a.png, vars: {client: 'A/../B'}}\n"
        "  - {id: y, image: in/a.png, vars: {client: c}, output: 'o\u0308l/{{ id }}.{{ ext }}'}\n",
    )
    assert [task.outputs for task in folder.tasks("m.yaml")] == [("A-..-B/a.v1.png",), ("\u00f6l/y.png",)]


def test_switches(folder: Folder) -> None:
    """A row that is off is listed; an edit that is off is not, for every row would be."""
    folder.write(
        "m.yaml",
        "version: 1\ndefaults: {prompt: pp}\nedits: {e: {}, f: {enabled: false}}\n"
        "items:\n  - {id: a, image: in/a.png}\n  - {id: b, image: in/b.png, enabled: no}\n",
    )
    tasks, findings = folder.read("m.yaml")
    assert [task.slot for task in tasks] == ["a/e"]
    assert [(str(skip.place), skip.reason) for skip in findings.skipped] == [("m.yaml:6:5", "not enabled")]


def test_sync_mode_is_carried_and_no_parameter(folder: Folder) -> None:
    """It changes how the answer comes, not what is bought."""
    folder.write("m.yaml", "version: 1\nitems: [{id: a, image: in/a.png, prompt: pp, sync_mode: true}]\n")
    task = folder.tasks("m.yaml")[0]
    assert (task.inline, task.params) == (True, Params())


def test_a_second_pass_reads_again(folder: Folder) -> None:
    """Problems and tasks are the same in each pass; a file that broke since is a problem and no crash."""
    folder.write("m.yaml", "version: 1\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n  - {id: b, image: x}\n")
    manifest = load_manifest("m.yaml")
    first, second, third = Findings(), Findings(), Findings()
    assert list(manifest.tasks(first)) == list(manifest.tasks(second))
    assert first.problems == second.problems != []
    folder.write("m.yaml", "version: 1\nitems: [\n")
    assert list(manifest.tasks(third)) == []
    assert third.counts == {"yaml-syntax": 1}


def test_paths_start_where_they_are_written(folder: Folder) -> None:
    """A path in a table starts at the table, one in the manifest at the manifest; places are as one would type them."""
    folder.write("jobs/list/rows.csv", "id,image\na,../../in/a.png\nb,gone.png\n")
    folder.write(
        "jobs/m.yaml",
        "version: 1\ninput_roots: ../in\ndefaults: {prompt: pp, references: [../in/b.png]}\nsources: [{csv: list/rows.csv}]\n",
    )
    tasks, findings = folder.read("jobs/m.yaml")
    assert len(tasks[0].images) == 2
    assert [str(problem.place) for problem in findings.problems] == ["jobs/list/rows.csv:3"]


def test_the_working_folder_can_be_given(folder: Folder) -> None:
    """Relative sources start there, and messages say what was typed."""
    folder.write("deep/t.csv", "id,image,prompt\na,gone.png,pp\n")
    manifest = load_manifest("t.csv", cwd=folder.root / "deep")
    findings = Findings()
    assert not list(manifest.tasks(findings))
    assert (manifest.root, str(findings.problems[0].place)) == (folder.root / "deep", "t.csv:2")
    with pytest.raises(ManifestError, match=r"t\.csv: there is no such file"):
        load_manifest(Path("t.csv"))


def test_importing_loads_neither_yaml_nor_jinja() -> None:
    """They cost more than all the rest; a table without templates needs neither."""
    import subprocess
    import sys

    code = "import sys, batchedit.manifest; sys.exit(bool({'yaml', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("word", "learns"), [("auto", True), ("none", False)])
def test_the_pace_may_be_a_word(folder: Folder, word: str, learns: bool) -> None:
    """`rpm: auto` finds the provider's limit, `rpm: none` asks for none."""
    folder.write("rows.csv", "image\na.png\n")
    folder.write(
        "m.yaml", f"version: 1\nlimits: {{rpm: {word}}}\nsources: [{{csv: rows.csv}}]\ndefaults: {{prompt: x}}\n"
    )
    limits = load_manifest("m.yaml").limits
    assert (limits.requests_per_minute, limits.learn_rate) == (None, learns)
