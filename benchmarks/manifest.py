"""
How manifests behave when they are large.

    check, plan   a spreadsheet of 100,000 and of 1,000,000 rows: seconds, memory, how both grow
    yaml          20,000 items in a YAML file, beside the C parser's own events for the same file
    digests       10,000 local pictures, planned before a run and after one

Each command is a process of its own. In `yaml` both sides run in one process, by turns, in processor time: what the
parser takes for its events alone, what the tasks take from finished nodes (validation), and what reading the file to
its tasks takes in all.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.clients import command_line
from benchmarks.running import Result, Usage, measured, say
from benchmarks.scenarios import Settings, bar

SIZES = (100_000, 1_000_000)
ITEMS = 20_000
PICTURES = 10_000
_MEMORY = 400.0
_GROWTH = 11.0


def manifest(settings: Settings) -> Result:
    """Spreadsheets of 100,000 and 1,000,000 rows, 20,000 items in YAML, 10,000 pictures."""
    rows, bars, raw = _sheets(settings)
    more = [_yaml(settings), _digests(settings)]
    for found in more:
        rows += found["rows"]
        bars += found["bars"]
        raw.append(found["raw"])
    return {
        "columns": ["what", "rows", "seconds", "cpu s", "MB"],
        "rows": rows,
        "bars": bars,
        "notes": [
            "`check` and `plan` read every row before anything is sent, since a mistake in the last row must be heard"
            " of before the first cent; sending begins when the rows have been recorded, which takes a second pass",
        ],
        "rounds": [raw],
    }


def _sheets(settings: Settings) -> tuple[list[list[object]], list[Result], list[Result]]:
    rows: list[list[object]] = []
    bars: list[Result] = []
    raw: list[Result] = []
    sizes = [settings.count(size) for size in SIZES]
    taken: dict[tuple[str, int], Usage] = {}
    for count in sizes:
        folder = settings.ground.new(f"sheet-{count}")
        _write_sheet(folder, count)
        for command in ("check", "plan"):
            arguments, environment = command_line(command, "job.yaml")
            usage = measured(arguments, folder=folder, environment=environment)
            if usage.status:
                raise SystemExit((folder / "stderr").read_text())
            taken[command, count] = usage
            say(f"  {command} of {count} rows: {usage.seconds:.1f} s, {usage.memory / 1e6:.0f} MB")
            rows.append([command, count, usage.seconds, usage.processor, usage.memory / 1e6])
            raw.append({"what": command, "rows": count, "seconds": usage.seconds, "memory": usage.memory})
    for command in ("check", "plan"):
        small, large = (taken[command, count] for count in sizes)
        bars += [
            bar(f"{command}: MB for {sizes[1]} rows", large.memory / 1e6, _MEMORY),
            bar(
                f"{command}: processor time for {sizes[1]} rows / {sizes[0]}",
                large.processor / small.processor,
                _GROWTH,
            ),
        ]
    return rows, bars, raw


def _write_sheet(folder: Path, count: int) -> None:
    with (folder / "rows.csv").open("w", encoding="utf-8") as file:
        file.write("id,Image Src,title,colour,client,season,price,note\n")
        for number in range(count):
            file.write(
                f"BOOT-{number:07d},https://example.com/{number}.jpg,Chelsea boot {number},tan,client {number % 40},"
                f"AW26,{number % 300}.50,made of leather\n"
            )
    (folder / "job.yaml").write_text(
        "version: 1\nprovider: {name: runflow, base_url: 'http://127.0.0.1:9'}\nlimits: {jobs: 2000000}\n"
        "sources:\n  - csv: rows.csv\n    image: \"{{ row['Image Src'] }}\"\n    labels: {client: '{{ client }}'}\n"
        "edits:\n  white:\n    prompt: Place this {{ colour }} {{ title }} on a seamless white sweep.\n"
        "    output: '{{ client }}/{{ season }}/{{ id }}_white.{{ ext }}'\n"
    )


def _yaml(settings: Settings) -> Result:
    count = settings.count(ITEMS)
    folder = settings.ground.new("items")
    path = folder / "items.yaml"
    with path.open("w", encoding="utf-8") as file:
        file.write("version: 1\nlimits: {jobs: 2000000}\n")
        file.write(
            "defaults: {prompt: 'Put the {{ title }} on white', output: '{{ client }}/{{ id }}.{{ ext }}'}\nitems:\n"
        )
        for number in range(count):
            file.write(
                f"  - id: BOOT-{number:06d}\n    image: https://example.com/in/{number}.jpg\n    quality: medium\n"
                f"    labels: {{client: acme, season: AW26}}\n    vars: {{title: Chelsea {number}, client: acme}}\n"
            )
    rounds = [{name: _cpu(what, path) for name, what in _WAYS.items()} for _ in range(settings.rounds)]
    median = {name: statistics.median(each[name] for each in rounds) for name in _WAYS}
    validation = median["all"] - median["nodes"]
    ratio = median["all"] / (median["events"] + validation)
    return {
        "rows": [
            ["YAML: events of the C parser", count, "", median["events"], ""],
            ["YAML: nodes with places", count, "", median["nodes"], ""],
            ["YAML: tasks, all in all", count, "", median["all"], ""],
        ],
        "bars": [bar("YAML: all in all / (events + validation)", ratio, 1.2)],
        "raw": {"yaml": rounds},
    }


def _cpu(what: Callable[[Path], None], path: Path) -> float:
    begin = time.process_time()
    what(path)
    return time.process_time() - begin


def _events(path: Path) -> None:
    import yaml

    with path.open(encoding="utf-8") as file:
        for _ in yaml.parse(file, Loader=yaml.CSafeLoader):
            pass


def _nodes(path: Path) -> None:
    from batchedit.manifest.yaml_tree import read_yaml, stream_list

    read_yaml(path, path.name, streamed="items")
    for _ in stream_list(path, path.name, "items"):
        pass


def _all(path: Path) -> None:
    from batchedit.manifest import Findings, load_manifest

    findings = Findings()
    for _ in load_manifest(path).tasks(findings):
        pass
    findings.raise_if_problems()


_WAYS: dict[str, Callable[[Path], None]] = {"events": _events, "nodes": _nodes, "all": _all}


def _digests(settings: Settings) -> Result:
    from PIL import Image

    count = settings.count(PICTURES)
    folder = settings.ground.new("pictures")
    (folder / "in").mkdir()
    for number in range(count):
        Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 90)).save(folder / "in" / f"p{number:05d}.png")
    rows: list[list[object]] = []
    raw = {}
    # A run notes what it has read, whatever it buys.
    for name, *more in (
        ("plan before a run", "plan"),
        ("run", "run", "--limit", "1", "--yes"),
        ("plan after a run", "plan"),
    ):
        command = [sys.executable, "-m", "batchedit", *more, "in", "--prompt", "grayscale", "--quality", "low"]
        usage = measured(command, folder=folder)
        if usage.status:
            raise SystemExit((folder / "stderr").read_text())
        raw[name] = usage.seconds
        if name != "run":
            rows.append([f"{name}: local pictures", count, usage.seconds, usage.processor, usage.memory / 1e6])
    return {"rows": rows, "bars": [], "raw": {"digests": raw}}
