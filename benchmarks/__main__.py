"""
What batchedit costs and how fast it goes, beside the loops that a user would write.

    python -m benchmarks [overhead transfer paced unknown faults ...] [--rounds 3] [--part 1.0] [--json FILE]

    overhead   5,000 edits that take no time, 10 KB each, 64 in flight
    transfer   2,000 edits of 0.3 s, 1.5 MB each, 64 in flight
    paced      1,200 edits of 0.5 s under a limit of 1,200 a minute that both sides know
    unknown    a limit of 600 a minute that only the provider knows, five minutes
    faults     2,000 edits of 0.3 s; 5 % refused, 1 % cut off after acceptance, 0.5 % never answered; and none of that

Each client is a process of its own and so is the provider. Within a round all clients of a scenario run one after the
other; the ratio is the median over the rounds. `--part 0.1` runs a tenth of the edits.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.loops import LOOPS
from benchmarks.provider import Behaviour, switches

ROOT = Path(__file__).parent.parent
Result = dict[str, Any]


@contextmanager
def provider(behaviour: Behaviour) -> Iterator[str]:
    """A stand-in provider in a process of its own; its origin."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.provider", str(port), switches(behaviour)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def books(origin: str) -> Result:
    """What the provider was asked for."""
    with urlopen(f"{origin}/books") as answer:
        counted: Result = json.load(answer)
    return counted


def run_loop(name: str, behaviour: Behaviour, count: int, in_flight: int) -> Result:
    """One of the loops, from its start to its end."""
    with provider(behaviour) as origin, tempfile.TemporaryDirectory() as folder:
        arguments = [name, origin, str(count), str(in_flight), str(behaviour.latency), f"{folder}/out"]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmarks.loops", *arguments], cwd=ROOT, check=True)
        return {"seconds": time.perf_counter() - begin, **books(origin)}


def run_batchedit(behaviour: Behaviour, count: int, in_flight: int, limits: str) -> Result:
    """The command line, from its start to its end, with everything durable."""
    with provider(behaviour) as origin, tempfile.TemporaryDirectory() as folder:
        rows = "".join(f"p{number:07d},https://example.com/{number}.jpg,on white\n" for number in range(count))
        Path(folder, "rows.csv").write_text(f"id,image,prompt\n{rows}")
        Path(folder, "job.yaml").write_text(
            f"version: 1\nprovider: {{name: runflow, base_url: '{origin}'}}\n"
            f"limits: {{{limits}, concurrency: {in_flight}}}\nsources: [{{csv: rows.csv}}]\n"
        )
        command = [sys.executable, "-m", "batchedit", "run", "job.yaml", "--yes", "--quiet", "--json"]
        environment = {**os.environ, "RUNFLOW_API_KEY": "rf_live_benchmark", "PYTHONPATH": str(ROOT)}
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
        if not done.stdout:
            raise SystemExit(done.stderr)
        end = json.loads(done.stdout)
        return {"seconds": seconds, "exit": done.returncode, "states": end.get("states"), **books(origin)}


def beside_loops(behaviour: Behaviour, count: int, rounds: int) -> Result:
    """Every loop and batchedit in turn, `rounds` times."""
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in LOOPS:
            seconds.setdefault(name, []).append(run_loop(name, behaviour, count, 64)["seconds"])
        ours = run_batchedit(behaviour, count, 64, "rpm: none")
        assert ours["exit"] == 0, ours
        seconds.setdefault("batchedit", []).append(ours["seconds"])
    ratios = {
        f"batchedit / {name}": statistics.median(
            mine / theirs for mine, theirs in zip(seconds["batchedit"], seconds[name], strict=True)
        )
        for name in LOOPS
    }
    return {"edits": count, **{name: statistics.median(values) for name, values in seconds.items()}, **ratios}


def overhead(part: float, rounds: int) -> Result:
    """W1."""
    return beside_loops(Behaviour(latency=0.0, picture_bytes=10_000), round(5000 * part), rounds)


def transfer(part: float, rounds: int) -> Result:
    """W2."""
    return beside_loops(Behaviour(latency=0.3, picture_bytes=1_500_000), round(2000 * part), rounds)


def paced(part: float, rounds: int) -> Result:
    """W3: the provider counts creations in every window of 60 seconds and refuses what is over the limit."""
    count, limit = round(1200 * part), 1200
    behaviour = Behaviour(latency=0.5, limit=limit)
    ideal = (count - 1) * 60 / limit + behaviour.latency
    results = [run_batchedit(behaviour, count, 64, f"rpm: {limit}") for _ in range(rounds)]
    spans = [result["granted"][-1] + behaviour.latency for result in results]
    return {
        "edits": count,
        "first to last creation and latency": statistics.median(spans),
        "ideal": ideal,
        "ratio": statistics.median(spans) / ideal,
        "whole command": statistics.median(result["seconds"] for result in results),
        "refused": sum(result["refusals"] for result in results),
        "most in a minute": max(result["most_in_a_minute"] for result in results),
    }


def unknown(part: float, rounds: int) -> Result:
    """A limit that the client has to find."""
    limit = 600
    count = round(3000 * part)
    result = run_batchedit(Behaviour(latency=0.5, limit=limit), count, 64, "rpm: auto")
    granted = result["granted"]
    late = [at for at in granted if at >= 120]
    return {
        "edits": count,
        "limit": limit,
        "per minute after two minutes": (len(late) - 1) * 60 / (late[-1] - late[0]) if len(late) > 1 else None,
        "refused": result["refusals"],
        "share refused": result["refusals"] / result["creations"],
        "seconds": result["seconds"],
    }


def faults(part: float, rounds: int) -> Result:
    """W4."""
    count = round(2000 * part)
    calm = Behaviour(latency=0.3)
    rough = replace(calm, refused=0.05, cut=0.01, hang=0.005)
    limits = "rpm: none, timeout: 20, list_lag: 5"
    quiet = [run_batchedit(calm, count, 64, limits)["seconds"] for _ in range(rounds)]
    stormy = [run_batchedit(rough, count, 64, limits) for _ in range(rounds)]
    last = stormy[-1]
    return {
        "edits": count,
        "without faults": statistics.median(quiet),
        "with faults": statistics.median(result["seconds"] for result in stormy),
        "states": last["states"],
        "runs": last["runs"],
        "billed twice": max(result["billed_twice"] for result in stormy),
    }


SCENARIOS = {scenario.__name__: scenario for scenario in (overhead, transfer, paced, unknown, faults)}


def main() -> None:
    """Run what was asked for; print a table; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", type=float, default=1.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.scenarios:
        results[name] = SCENARIOS[name](arguments.part, arguments.rounds)
        print(name)
        for what, value in results[name].items():
            shown = f"{value:.3f}" if isinstance(value, float) else value
            print(f"  {what:36} {shown}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
