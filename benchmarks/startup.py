"""
How long the command line takes to start: `--help` and `plan` on a small manifest, beside a bare interpreter.

    python benchmarks/startup.py [--rounds N] [--json FILE]

Prints medians of wall time in milliseconds and ratios to the bare interpreter, taken in the same run in mixed order.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = str(ROOT / "examples" / "manifests" / "smallest.csv")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "batchedit --help": [sys.executable, "-m", "batchedit", "--help"],
    "batchedit plan": [sys.executable, "-m", "batchedit", "plan", MANIFEST, "--out", "/nonexistent/out"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    order = [name for name in COMMANDS for _ in range(arguments.rounds)]
    random.Random(0).shuffle(order)
    for name in order:
        begun = time.perf_counter()
        subprocess.run(COMMANDS[name], stdout=subprocess.DEVNULL, check=True)
        times[name].append((time.perf_counter() - begun) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare = medians["python -c pass"]
    for name, median in medians.items():
        print(f"{name:<20} {median:7.1f} ms   {median / bare:5.1f} x")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(medians, indent=2))


if __name__ == "__main__":
    main()
