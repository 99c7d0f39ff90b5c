"""Manifests written back, shuffled, renamed and full of hostile names: what is bought stays the same, where it should."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchedit.manifest import Findings, load_manifest
from batchedit.manifest.fields import looks_like_a_key
from batchedit.manifest.templates import has_leftover
from batchedit.model import LocalImage, Task
from batchedit.planned import Entry
from batchedit.planner import outline, walk

CALM = settings(deadline=None, max_examples=150)  # the examples write files, and a busy disk is no bug
FORMS = ("csv", "jsonl", "items")
PICTURES = tuple(f"{name}.png" for name in "abcdef")

Row = Mapping[str, Any]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder of its own for each example, with pictures that differ by content."""
    with tempfile.TemporaryDirectory() as name:
        for picture in PICTURES:
            Path(name, picture).write_bytes(b"\x89PNG\r\n\x1a\n and then " + picture.encode())
        yield Path(name)


def entries(path: Path) -> tuple[list[Entry], Findings]:
    """The tasks of a manifest as a plan has them, each with its request and its key."""
    findings = Findings()
    plan = outline(load_manifest(path), out=path.parent / "out")
    return list(walk(plan, None, findings)), findings


def meaning(found: Sequence[Entry]) -> dict[str, Any]:
    """All that a task is, by its slot; pictures by name, since forms may lie in different folders."""
    return {
        entry.task.slot: (
            entry.request.key, entry.task.prompt, entry.task.params, entry.task.outputs, dict(entry.task.labels),
            entry.task.tags, entry.task.inline, entry.task.item.id, entry.task.edit, entry.task.variant,
            [ref.path.name if isinstance(ref, LocalImage) else str(ref) for ref in entry.task.images],
            entry.task.mask.path.name if isinstance(entry.task.mask, LocalImage) else None,
        )
        for entry in found
    }  # fmt: skip


def literal(text: str) -> str:
    """A template that comes to exactly this text."""
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


def write(root: Path, form: str, head: Mapping[str, Any], rows: Sequence[Row]) -> Path:
    """A manifest with these rows; the values of a row are texts, but for labels, vars, tags and references."""
    tree = {"version": 1, **head}
    if form == "items":
        tree["items"] = [in_yaml(row) for row in rows]
    elif form == "jsonl":
        tree["sources"] = [{"jsonl": "rows.jsonl"}]
        (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        tree["sources"] = [{"csv": "rows.csv"}]
        flat = [in_cells(row) for row in rows]
        with (root / "rows.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, sorted({name for row in flat for name in row}), restval="")
            writer.writeheader()
            writer.writerows(flat)
    path = root / f"{form}.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


def in_yaml(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name == "vars":
            found[name] = value  # data, also in YAML
        elif isinstance(value, dict):
            found[name] = {key: literal(text) for key, text in value.items()}
        else:
            found[name] = [literal(text) for text in value] if isinstance(value, list) else literal(value)
    return found


def in_cells(row: Row) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            prefix = {"labels": "label.", "vars": "var."}[name]
            found.update({prefix + key: text for key, text in value.items()})
        else:
            found[name] = "|".join(value) if isinstance(value, list) else value
    return found


ODD = (
    "0123", "1e5", "no", "~", "null", "=1+1", "'", '"', "- x", "# x", "a: b", "&a", "*a", "!!int 3", "<<", "a,b;c\td",
    "a\nb", "x\u2028y", "\u202egnp", "ÅÅ", "Å", "ﬁ", "{", "}}", "%", "0.10", "2026-11-25", "[a, b]", "{a: b}", "@x", "`",
)  # fmt: skip
MARKED = ("{{ 7*7 }}", "{% if x %}", "{# x #}", "{{", "{{ '{' }}")
TEXTS = (
    (st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=24) | st.sampled_from(ODD))
    .map(str.strip)
    .filter(lambda text: bool(text) and not looks_like_a_key(text))
)
LABELS = st.dictionaries(st.sampled_from(["client", "season"]), TEXTS | st.sampled_from(MARKED))
PROMPTS = st.tuples(TEXTS, TEXTS).map(" ".join).filter(lambda text: not has_leftover(text))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": TEXTS, "image": st.sampled_from(PICTURES)},
        optional={
            "prompt": PROMPTS,
            "mask": st.sampled_from([*PICTURES, "none"]),
            "references": st.lists(st.sampled_from(PICTURES), min_size=1, max_size=3),
            "quality": st.sampled_from(["low", "medium", "high"]),
            "size": st.sampled_from(["auto", "1024x1024", "1536x1024"]),
            "format": st.sampled_from(["png", "jpeg", "webp"]),
            "n": st.sampled_from(["1", "2", "4"]),
            "sync_mode": st.sampled_from(["true", "false"]),
            "enabled": st.sampled_from(["true", "false", "yes"]),
            "edit": st.sampled_from(["white", "grey", "white|grey"]),
            "tags": st.lists(TEXTS, min_size=1, max_size=3),
            "labels": LABELS,
            "vars": st.dictionaries(st.sampled_from(["colour", "place"]), TEXTS | st.sampled_from(MARKED)),
            "note": TEXTS,
        },
    ),
    min_size=1,
    max_size=5,
)
HEAD: dict[str, Any] = {
    "defaults": {
        "prompt": "the {{ colour|default('') or 'red' }} one",
        "output": "{{ edit }}/{{ id }}_{{ variant }}_{{ sample }}.{{ ext }}",
        "labels": {"all": "{{ id }} {{ place|default('') }}", "season": "winter"},
        "tags": ["every"],
    },
    "edits": {
        "white": {"variants": {"plain": {"quality": "low"}, "warm": {"labels": {"kind": "{{ variant }}"}}}},
        "grey": {"tags": "greys|every"},
        "scene": {"from": "grey", "prompt": "on a table", "enabled": "true"},
    },
}


@CALM
@given(ROWS)
@example([{"id": "{{ 7*7 }}", "image": "a.png", "labels": {"client": "{% if x %}"}, "vars": {"colour": "{# x #}"}}])
def test_rows_mean_the_same_in_every_form(rows: list[Row]) -> None:
    """CSV, JSON Lines and YAML: the same tasks, outputs, labels, tags and keys, and the same kinds of problems."""
    with folder() as root:
        found, codes = {}, {}
        for form in FORMS:
            made, findings = entries(write(root, form, HEAD, rows))
            found[form] = meaning(made)
            codes[form] = sorted((problem.code, problem.field) for problem in findings.problems)
            skipped = sum(skip.count for skip in findings.skipped)
            assert made or findings.problems or skipped
        assert found["csv"] == found["jsonl"] == found["items"]
        assert codes["csv"] == codes["jsonl"] == codes["items"]


def row_of(task: Task) -> Row:
    """A row that says all of a task."""
    names = [ref.path.name for ref in task.images if isinstance(ref, LocalImage)]
    row: dict[str, Any] = {
        "id": task.item.id, "image": names[0], "prompt": task.prompt, "quality": task.params.quality,
        "size": task.params.size, "format": task.params.format, "n": str(task.params.samples),
        "sync_mode": str(task.inline).lower(), "labels": dict(task.labels), "tags": list(task.tags),
    }  # fmt: skip
    if len(names) > 1:
        row["references"] = names[1:]
    if isinstance(task.mask, LocalImage):
        row["mask"] = task.mask.path.name
    if task.params.samples == 1:
        row["output"] = task.outputs[0]
    return row


@CALM
@given(ROWS, st.sampled_from(FORMS))
def test_tasks_survive_being_written_back(rows: list[Row], form: str) -> None:
    """The tasks of any manifest, written as a manifest that says all of each, are the same again, however often."""
    head: dict[str, Any] = {"defaults": {**HEAD["defaults"], "prompt": "a plain one"}}
    plain = [{name: value for name, value in row.items() if name not in ("edit", "vars")} for row in rows]
    with folder() as root:
        made, _ = entries(write(root, form, head, plain))
        first = meaning(made)
        if not made:
            return
        bare = {"defaults": {"output": HEAD["defaults"]["output"]}}
        for other in FORMS:
            again, findings = entries(write(root, other, bare, [row_of(entry.task) for entry in made]))
            assert findings.problems == []
            assert meaning(again) == first


@CALM
@given(
    st.permutations(range(6)),
    st.integers(0, 6),
    st.booleans(),
    st.permutations(PICTURES),
    st.sampled_from(["night", "ünïcode name", "a.b", "0"]),
)
def test_order_and_names_of_files_change_no_key(
    order: list[int], cut: int, swapped: bool, names: list[str], stem: str
) -> None:
    """Rows in another order and in other tables, tables in another order, pictures and manifests under other names."""
    base = [{"id": f"r{n}", "image": PICTURES[n], "prompt": f"the {n}", "mask": PICTURES[n - 1]} for n in range(6)]
    head = "version: 1\nedits: {white: {}, grey: {quality: low}, scene: {from: grey, prompt: on a table}}\n"
    output = "defaults: {output: '{{ edit }}/{{ id }}.png'}\n"

    def keys(root: Path, name: str, tables: list[list[dict[str, str]]]) -> dict[str, str]:
        sources = []
        for number, rows in enumerate(tables):
            with (root / f"{name}{number}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(base[0]))
                writer.writeheader()
                writer.writerows(rows)
            if rows:
                sources.append({"csv": f"{name}{number}.csv"})
        path = root / f"{name}.yaml"
        path.write_text(head + output + yaml.safe_dump({"sources": sources}, allow_unicode=True), "utf-8")
        made, findings = entries(path)
        assert findings.problems == []
        assert len(made) == 18
        return {entry.task.slot: entry.request.key for entry in made}

    with folder() as root:
        first = keys(root, "first", [base])
        renamed = {old: f"deep/{new}.x.png" for old, new in zip(PICTURES, names, strict=True)}
        (root / "deep").mkdir()
        for old, new in renamed.items():
            os.rename(root / old, root / new)
        rows = [{**base[n], "image": renamed[PICTURES[n]], "mask": renamed[PICTURES[n - 1]]} for n in order]
        tables = [rows[:cut], rows[cut:]]
        assert keys(root, stem, tables[::-1] if swapped else tables) == first
        # The pictures' contents are what counts: one that is another now is another purchase.
        (root / renamed["a.png"]).write_bytes(b"\x89PNG\r\n\x1a\n another")
        now = keys(root, stem, tables)
        assert {slot for slot in first if first[slot] != now[slot]} == {
            *(f"r{n}/{edit}" for n in (0, 1) for edit in ("white", "grey", "scene"))
        }


# -- hostile names -----------------------------------------------------------------------------------------------------

COUNT = 20_000
PIECES = (
    "..", ".", "/", "\\", "../", "..\\", "~", "~root", "C:", "C:\\x", "\\\\host\\share", "//", "\0", "\n", "\r", "\t", "\x7f",
    "\x85", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u2028", "\u00ad", "\u00a0", "\u3000", "\uff0e", "\uff0f",
    "\u2215", "\u2044", "\ufe68", "CON", "con", "PrN", "AUX", "NUL", "nul.txt", "COM1", "COM¹", "LPT9", "CONIN$", "CLOCK$",
    ".batchedit", ".BATCHEDIT", "\u00e9", "e\u0301", "\ufb01", "fi", "FI", "\u00df", "SS", "ss", "\u1e9e", "\u0130",
    "i\u0307", "\u0131", "I", "\u212a", "k", "\u212b", "\u00c5", "\u017f", "s", "\u03a3", "\u03c2", "\u03c3", "\u2460",
    "1", "\u1fb3", "\u0345", "\u338f", "a" * 199, "ü" * 150, "x" * 5000, "\U0001d4b3" * 60, "*", "?", '"', "<",
    ">", "|", ":", "%", "%2e%2e%2f", "{{ x }}", "{% x %}", "$HOME", "`id`", "-rf", " ", "  ", "a ", " a", "a.", "a..", ".a",
    "_", "-", "\U0001f468\u200d\U0001f469", "\ud7ff", "\ue000", "\U0010ffff", "\u0378",
)  # fmt: skip
DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in "0123456789¹²³")}


def hostile(draw: random.Random) -> str:
    """A name that somebody would like to break out with, or two that look different and are one."""
    parts = [draw.choice(PIECES) for _ in range(draw.choice((1, 1, 2, 3, 6)))]
    if draw.random() < 0.3:
        parts.insert(draw.randrange(len(parts) + 1), chr(draw.choice((*range(0x250), *range(0x2000, 0x2070)))))
    return "".join(parts)


def folded(path: str) -> str:
    """What the most forgiving file systems make of a name; written anew, so as not to believe the code under test."""
    for _ in range(3):
        path = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", path).casefold())
    return path


def flaw(path: str) -> str:
    """Why a path must not be, empty if it may."""
    parts = path.split("/")
    if len(parts) != 4 or parts[0] != "base" or path.startswith("/"):
        return "it leaves its place"
    for part in parts:
        if not part or part.strip(" ") != part or part.endswith(".") or part in (".", ".."):
            return "an empty component, or one that Windows cuts"
        if re.search(r'[\\:*?"<>|\x00-\x1f\x7f-\x9f]', part) or any(
            unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn") for letter in part
        ):
            return "a character that hides, turns or is forbidden"
        if part.split(".")[0].rstrip(" ").lower() in DEVICES:
            return "a device of Windows"
        if len(part.encode()) > 200:
            return "more than 200 bytes"
    return ""


@pytest.mark.parametrize(
    ("count", "last", "refusals"),
    [(COUNT, "{{ a }}", {"output-collision"}), (COUNT // 5, "{{ b }}{{ a }}", {"output-collision", "bad-output"})],
)
def test_twenty_thousand_hostile_names(tmp_path: Path, count: int, last: str, refusals: set[str]) -> None:
    """
    None leaves the output folder or has a name that some system cannot have; no two of those that are accepted are one
    file anywhere; all of them can be made. A value alone is never refused but for a collision; two that stand side by
    side may be a device together, or too long.
    """
    seed = os.environ.get("HOSTILE_SEED") or str(random.SystemRandom().randrange(2**32))
    print(f"again with HOSTILE_SEED={seed}")
    draw = random.Random(seed)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and more")
    rows = [{"id": f"r{n}", "a": hostile(draw), "b": hostile(draw)} for n in range(count)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "m.yaml").write_text(
        "version: 1\ndefaults: {prompt: on white, image: a.png}\nsources: [{jsonl: rows.jsonl}]\n"
        f"edits: {{e: {{output: 'base/{{{{ a }}}}/x{{{{ b }}}}/{last}.{{{{ ext }}}}'}}}}\n"
    )
    made, findings = entries(tmp_path / "m.yaml")
    refused = {code: number for code, number in findings.counts.items() if code != "same-prompt"}
    assert set(refused) <= refusals
    assert len(made) + sum(refused.values()) == count
    assert len(made) > count // 2
    seen: dict[str, str] = {}
    out = tmp_path / "out"
    for entry in made:
        (path,) = entry.task.outputs
        assert flaw(path) == "", (path, entry.task.item.id)
        assert seen.setdefault(folded(path), path) is path, (path, seen[folded(path)])
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb"):
            pass
    placed = [Path(base, name) for base, _, names in os.walk(tmp_path) for name in names]
    assert len(placed) == len(made) + 3
    assert all(path.is_relative_to(out / "base") for path in placed if path.parent != tmp_path)


@pytest.mark.parametrize("one", PIECES)
def test_a_hostile_name_alone_is_a_folder_and_a_file(tmp_path: Path, one: str) -> None:
    """Each trick by itself, as a whole component."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and more")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "r", "x": one}) + "\n")
    (tmp_path / "m.yaml").write_text(
        "version: 1\ndefaults: {prompt: on white, image: a.png}\nsources: [{jsonl: rows.jsonl}]\n"
        "edits: {e: {output: 'base/{{ x }}/y/{{ x }}.{{ ext }}'}}\n"
    )
    (entry,), findings = entries(tmp_path / "m.yaml")
    assert findings.problems == []
    assert flaw(entry.task.outputs[0]) == ""
