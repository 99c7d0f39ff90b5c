"""
What batchedit costs and how fast it goes, beside the loops that a user would write and the tools that one would pick.

    python -m benchmarks [SCENARIO ...] [--rounds 3] [--part 1.0] [--clients NAME,NAME] [--json FILE]

    capacity   how many calls a second the stand-in provider can answer, beside what the clients ask of it
    overhead   5,000 edits that take no time, 10 KB each, 64 in flight
    transfer   2,000 edits of 0.3 s, 1.5 MB each, 64 in flight
    paced      1,200 edits of 0.5 s under a limit of 1,200 a minute that both sides know
    unknown    a limit of 600 a minute that only the provider knows, five minutes
    faults     2,000 edits of 0.3 s; 5 % refused, 1 % cut off after acceptance, 0.5 % never answered; and none of that
    night      20,000 edits of 150 s at 20 a minute on a virtual clock
    manifest   100,000 and 1,000,000 rows checked and planned; 20,000 items in YAML; 10,000 local pictures
    report     the report over a ledger of 1,000,000 tasks: text, JSON, page
    beside     this program beside another checkout of itself (--beside DIR): pictures at URLs, photos from this machine
    scale      10,000, 100,000 and 1,000,000 tasks: plan, run, resume; memory, ledger, time for each

Each client is a process of its own and so is the provider. Within a round all clients of a scenario run one after the
other, in changing order; a ratio is taken within a round, and the median over the rounds is shown. `--part 0.1` runs a
tenth of the edits. Leave five minutes between two runs: see `running.py` for what removed files do to the next client.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.beside import beside
from benchmarks.capacity import capacity
from benchmarks.clients import CLIENTS
from benchmarks.manifest import manifest
from benchmarks.report import report
from benchmarks.running import Ground, Result, say
from benchmarks.scale import scale
from benchmarks.scenarios import Settings, faults, overhead, paced, transfer, unknown


def night(settings: Settings) -> Result:
    """A whole night on a virtual clock: makespan against the ideal."""
    from benchmarks.night import measure

    rows, raw = [], []
    for name, latency in (("150 s", (150.0, 150.0)), ("44 to 280 s", (44.0, 280.0))):
        figures = measure(settings.count(20_000), latency, settings.ground.new("night"))
        raw.append({"latency": name, **figures})
        rows.append([name, *figures.values()])
    return {
        "columns": ["latency", "edits", "makespan s", "ideal s", "of the ideal", "polls per run"],
        "rows": rows,
        "bars": [],
        "notes": ["nothing here depends on the machine"],
        "rounds": [raw],
    }


# In the order in which they run: those that leave a great many files behind come last.
SCENARIOS: dict[str, Callable[[Settings], Result]] = {
    scenario.__name__: scenario
    for scenario in (capacity, overhead, transfer, paced, unknown, faults, night, manifest, report, beside, scale)
}


def machine() -> Result:
    """What the figures depend on, and nothing that tells whose machine it is."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("batchedit", "httpx", "aiohttp", "scrapy", "pillow", "anyio"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "packages": versions,
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value}"


def table(result: Result) -> str:
    """A result for the eye."""
    lines = []
    grid = [result["columns"], *([_shown(value) for value in row] for row in result["rows"])]
    widths = [max(len(row[column]) for row in grid) for column in range(len(result["columns"]))]
    for row in grid if widths else ():
        first, *others = zip(row, widths, strict=True)
        lines.append("  ".join(["  " + first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
    for each in result["bars"]:
        word = {None: "not measured", True: "holds", False: "MISSED"}[each["holds"]]
        lines.append(f"  bar: {each['what']}: {_shown(each['value'])}, at most {each['most']}: {word}")
    lines += [f"  note: {note}" for note in result["notes"]]
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for; print tables; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", type=float, default=1.0)
    parser.add_argument("--clients", default=",".join(CLIENTS), help=f"of {', '.join(CLIENTS)}; separated by commas")
    parser.add_argument("--folder", type=Path, help="where the pictures go; the system's place for such things")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout, for the scenario of that name")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    clients = tuple(name.strip() for name in arguments.clients.split(","))
    if unheard := [name for name in clients if name not in CLIENTS]:
        parser.error(f"there is no client {unheard[0]!r}; there are {', '.join(CLIENTS)}")
    results: Result = {"machine": machine(), "part": arguments.part, "scenarios": {}}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="batchedit-bench-") as root:
        settings = Settings(
            ground=Ground(Path(root)),
            part=arguments.part,
            rounds=arguments.rounds,
            clients=clients,
            beside=arguments.beside,
        )
        for name, scenario in SCENARIOS.items():
            if name not in arguments.scenarios:
                continue
            say(f"{name} ...")
            result = scenario(settings)
            results["scenarios"][name] = result
            print(f"{name}: {(scenario.__doc__ or '').strip().splitlines()[0]}\n{table(result)}\n", flush=True)
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
