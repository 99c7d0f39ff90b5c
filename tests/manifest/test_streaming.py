"""Large manifests: tasks come one at a time, and memory does not grow with the rows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import islice

import pytest

from batchedit.manifest import Findings, load_manifest
from batchedit.model import Task
from tests.manifest.conftest import Folder

ROWS = 50_000
WORDS = "put this on white and keep everything else exactly as it is number"


def measured(tasks: Iterator[Task], rows: int) -> tuple[int, int]:
    """Bytes in use after the first tasks, and the most in use from there to the end."""
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(tasks, 1000)) == 1000
        early, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert sum(1 for _ in tasks) == rows - 1000
        return early, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(120)
def test_a_long_table_is_streamed(folder: Folder) -> None:
    """50,000 rows of 1,000 characters: 50 MB of text pass through; ids and places are on the disk."""
    filler = "x" * 1000
    folder.write(
        "t.csv", "id,image,prompt,body\n" + "".join(f"i{n},in/a.png,{WORDS} {n},{filler}\n" for n in range(ROWS))
    )
    early, most = measured(load_manifest("t.csv").tasks(Findings()), ROWS)
    assert most - early < 1_000_000


@pytest.mark.timeout(120)
def test_long_inline_items_are_streamed(folder: Folder) -> None:
    """The same for items in YAML: neither the tree nor the text is held."""
    rows = 5_000
    filler = "x" * 2000
    items = "".join(
        f"  - {{id: i{n}, image: in/a.png, prompt: '{WORDS} {n}', vars: {{t: {filler}}}}}\n" for n in range(rows)
    )
    folder.write("m.yaml", "version: 1\nitems:\n" + items)
    early, most = measured(load_manifest("m.yaml").tasks(Findings()), rows)
    assert most - early < 1_000_000


def test_the_first_task_does_not_wait_for_the_last_row(folder: Folder) -> None:
    """A row far below that is wrong is not met before it is reached."""
    rows = "".join(f"i{n},in/a.png,the {n}\n" for n in range(5000))
    folder.write("t.csv", "id,image,prompt\n" + rows + "i1,in/a.png,pp\n")
    findings = Findings()
    tasks = load_manifest("t.csv").tasks(findings)
    assert next(tasks).item.id == "i0"
    assert findings.problems == []
    assert sum(1 for _ in tasks) == 4999
    assert findings.counts == {"duplicate-id": 1}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "urls"])
def test_rows_that_make_no_task_are_not_remembered(folder: Folder, kind: str) -> None:
    """100,000 rows without a picture, lines that are no JSON, or addresses that are none: a count."""
    rows = 100_000
    line = {"csv": "i{n},\n", "jsonl": "{{{n}\n", "urls": "x{n}\n"}[kind]
    folder.write("t.data", ("id,image\n" if kind == "csv" else "") + "".join(line.format(n=n) for n in range(rows)))
    folder.write(
        "m.yaml",
        f"version: 1\ndefaults: {{prompt: pp}}\nsources: [{{{kind}: t.data, requires: [{'image' if kind == 'csv' else ''}]}}]\n",
    )
    findings = Findings()
    tracemalloc.start()
    try:
        assert list(load_manifest("m.yaml").tasks(findings)) == []
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(skip.count for skip in findings.skipped) + sum(findings.counts.values()) >= rows
    assert most < 4_000_000
