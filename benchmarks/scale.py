"""
How batchedit does with 10,000 to 1,000,000 tasks: the real command line, planner, ledger, pool and files.

    plan      a fresh process reads the spreadsheet and says what would be bought
    run       a process of its own records and works through all tasks: see `scale_pool.py`
    resume    the same command again, in a fresh process, against an address where nobody listens: nothing is sent
    compare   the same after a comment was added to the manifest, so that each row is compared with the ledger again
    more      another 10,000 tasks into the same ledger and folders: what a task costs among so many others
    status    what stands in the ledger; ended after ten minutes

Only the network is left out, which would take longer than all the rest: the adapter answers at once, with a small
picture. So the seconds for each task are what recording, buying, keeping and placing cost, each of them durable.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.clients import command_line, run_command, write_manifest
from benchmarks.running import Result, Usage, measured, say
from benchmarks.scale_pool import ORIGIN
from benchmarks.scenarios import Settings, bar

SIZES = (10_000, 100_000, 1_000_000, 10_000)
"""The small one before and after the large one, so that a machine that gets slower meanwhile does not decide."""

_MORE = 10_000
_PICTURE_ROOM = 2 * 4096
_TASK_ROOM = 4096
_PATIENCE_SECONDS = 600.0


def scale(settings: Settings) -> Result:
    """10,000 to 1,000,000 tasks: plan, run, resume; memory, ledger, and time for each task."""
    rows: list[list[Any]] = []
    notes = ["MB: most memory of the process, this program's own at least; the run's worker processes are not in it"]
    bars: list[Result] = []
    rounds: list[list[Result]] = []
    for number, full in enumerate(SIZES):
        count = settings.count(full)
        if not settings.ground.has_room(count * (_PICTURE_ROOM + _TASK_ROOM)):
            notes.append(f"{count} tasks not run: too little room on the disk")
            continue
        figures = _measure(settings.ground.new(f"scale-{number}-{count}"), count, settings.count(_MORE))
        rounds.append([figures])
        plan, pool, resume, compare, status = (figures[name] for name in ("plan", "run", "resume", "compare", "status"))
        rows.append(
            [
                f"{count}",
                plan["seconds"],
                plan["memory_bytes"] / 1e6,
                pool["recorded_after"],
                pool["seconds"],
                1000 * pool["tenths"][0],
                1000 * pool["tenths"][-1],
                *(pool["memory"][part] / 1e6 for part in ("10", "50", "100")),
                figures["ledger_bytes"] / count,
                resume["seconds"],
                resume["memory_bytes"] / 1e6,
                compare["seconds"],
                compare["memory_bytes"] / 1e6,
                None if status["exit"] else status["seconds"],
            ]
        )
        bars += [
            bar(f"{count}: last tenth / first, time for a task", _growth(pool["tenths"]), 1.1),
            bar(
                f"{count}: the same in processor time, which others do not disturb",
                _growth(pool["processor_tenths"]),
                1.1,
            ),
            bar(f"{count}: memory at the end / at 10 %", pool["memory"]["100"] / pool["memory"]["10"], 1.1),
            bar(f"{count}: memory at the end, MB", pool["memory"]["100"] / 1e6, 300.0),
            bar(f"{count}: seconds until it is known that nothing is left to do", resume["seconds"], 5.0),
            bar(f"{count}: exit codes of resuming what is done", max(resume["exit"], compare["exit"]), 0),
            bar(f"{count}: seconds of status", status["seconds"], _PATIENCE_SECONDS),
        ]
    bars += _against_small([figures for (figures,) in rounds])
    return {
        "columns": [
            "tasks", "plan s", "MB", "recorded s", "run s", "ms/task 1st tenth", "last tenth", "MB 10 %", "MB 50 %",
            "MB 100 %", "ledger B/task", "resume s", "MB", "compare s", "MB", "status s",
        ],
        "rows": rows,
        "bars": bars,
        "notes": notes,
        "rounds": rounds,
    }  # fmt: skip


def _against_small(runs: list[Result]) -> list[Result]:
    """What a task costs among those of the largest run beside what it costs among those of the smallest ones."""
    sizes = sorted({figures["tasks"] for figures in runs})
    if len(sizes) < 2:
        return []

    def cost(size: int, column: str) -> float:
        return statistics.mean(sum(run["more"][column]) for run in runs if run["tasks"] == size)

    return [
        bar(
            f"{what} for one of {_MORE} more tasks, beside {sizes[-1]} / beside {sizes[0]}",
            cost(sizes[-1], column) / cost(sizes[0], column),
            1.1,
        )
        for what, column in (("time", "tenths"), ("processor time", "processor_tenths"))
    ]


def _growth(tenths: list[float]) -> float:
    return tenths[-1] / tenths[0]


def _measure(folder: Path, count: int, more: int) -> Result:
    write_manifest(folder, ORIGIN, count, "rpm: none, concurrency: 64")
    figures: Result = {"tasks": count}
    figures["plan"] = _command(folder, "plan", *command_line("plan", "job.yaml"))
    run = folder / "run.json"
    begun = [sys.executable, "-u", "-m", "benchmarks.scale_pool", str(folder)]
    usage = measured(begun, folder=folder, output=run, watch=True)
    if usage.status:
        raise SystemExit(f"scale: the run of {count} tasks ended with {usage.status}")
    figures["run"] = {**_told(usage), **json.loads(run.read_text())}
    ledger = folder / "out" / ".batchedit" / "ledger.db"
    figures["ledger_bytes"] = sum(path.stat().st_size for path in ledger.parent.glob("ledger.db*"))
    figures["resume"] = _command(folder, "resume", *run_command())
    said = json.loads((folder / "resume.out").read_text())
    if said["states"].get("done") != count:
        raise SystemExit(f"scale: after resuming, {said['states']}")
    with (folder / "job.yaml").open("a", encoding="utf-8") as file:
        file.write("# changes nothing\n")
    figures["compare"] = _command(folder, "compare", *run_command())
    figures["more"] = _more(folder, min(count, more))
    figures["status"] = _command(folder, "status", *command_line("status", "out"), patience=_PATIENCE_SECONDS)
    if figures["status"]["exit"]:
        say(f"  status was ended after {_PATIENCE_SECONDS:.0f} s")
    return figures


def _more(folder: Path, count: int) -> Result:
    write_manifest(folder, ORIGIN, count, "rpm: none, concurrency: 64", "more")
    told = folder / "more.json"
    command = [sys.executable, "-u", "-m", "benchmarks.scale_pool", str(folder), "more.yaml"]
    usage = measured(command, folder=folder, output=told)
    if usage.status:
        raise SystemExit(f"scale: the run of {count} more tasks ended with {usage.status}")
    say(f"  {count} more tasks: {usage.seconds:.1f} s")
    return {**_told(usage), **json.loads(told.read_text())}


def _command(
    folder: Path, name: str, command: list[str], environment: dict[str, str], patience: float | None = None
) -> Result:
    usage = measured(command, folder=folder, environment=environment, output=folder / f"{name}.out", patience=patience)
    say(f"  {name}: {usage.seconds:.1f} s{f', exit code {usage.status}' if usage.status else ''}")
    return _told(usage)


def _told(usage: Usage) -> Result:
    return {
        "seconds": usage.seconds,
        "processor_seconds": usage.processor,
        "memory_bytes": usage.memory,
        "exit": usage.status,
    }
