"""
A whole night on a virtual clock: 20,000 edits at 20 a minute, 150 seconds each.

    python -m benchmarks.night [--edits 20000]

The real pool, pacer, polling, ledger and adapter against the emulator in process; only the clock jumps, and the
emulator draws small pictures instead of rendering photographs.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import anyio.abc
import trio.testing
from PIL import Image

from batchedit import batch
from batchedit.batch import run_plan
from batchedit.effects import Effects, inline
from batchedit.emulator import Emulator, Switches, pixels
from batchedit.ending import RunSummary
from batchedit.endpoint import Endpoint, Key
from batchedit.manifest import load_manifest
from batchedit.model import Limits
from batchedit.planner import make_plan
from batchedit.providers import rehearsal
from batchedit.providers.registry import Connected, Setup
from batchedit.providers.runflow import Runflow
from batchedit.run_options import RunOptions

EPOCH = 1_795_000_000.0
RATE = 20
LATENCY = 150.0
_DEFAULTS = Limits()


def _render(**job: Any) -> list[pixels.Picture]:
    buffer = io.BytesIO()
    colour = (hash(job["seed"]) & 0xFFFFFF).to_bytes(3)
    Image.new("RGB", (16, 16), tuple(colour)).save(buffer, "PNG")
    return [pixels.Picture(data=buffer.getvalue(), width=16, height=16, format="png")] * job["count"]


def measure(
    edits: int, latency: tuple[float, float] = (LATENCY, LATENCY), folder: Path | None = None
) -> dict[str, float]:
    """
    Play the night; makespan, ideal, and calls for each run.

    Args:
        folder: Where to; None takes one that is removed at the end.
    """
    if folder is not None:
        return _measure(folder, edits, latency)
    with tempfile.TemporaryDirectory() as name:
        return _measure(Path(name), edits, latency)


def _measure(folder: Path, edits: int, latency: tuple[float, float]) -> dict[str, float]:
    rows = "".join(f"p{number:06d},https://example.com/{number}.jpg,on white\n" for number in range(edits))
    (folder / "rows.csv").write_text(f"id,image,prompt\n{rows}")
    (folder / "night.yaml").write_text(f"version: 1\nlimits: {{rpm: {RATE}}}\nsources: [{{csv: rows.csv}}]\n")
    plan = make_plan(load_manifest(str(folder / "night.yaml")), out=folder / "out")

    def wall() -> float:
        return EPOCH + anyio.current_time()

    async def play() -> tuple[RunSummary, float, dict[str, Any]]:
        emulator = Emulator(switches=Switches(latency=latency, balance="100000"), seed="1", clock=wall, offload=inline)

        def connected(setup: Setup) -> Connected:
            provider = Runflow(setup.settings, poll_seconds=_DEFAULTS.poll_seconds)
            endpoint = Endpoint(base_url=rehearsal.ORIGIN, key=Key("rf_live_night"), app=emulator.app)
            limits = {"in_flight": _DEFAULTS.in_flight}
            return Connected(provider=provider, endpoint=endpoint, world="rehearsal", limits=limits)

        begun = anyio.current_time()
        with mock.patch.object(batch, "connect", connected):
            effects = Effects(wall=wall, offload=inline, commit=inline, seed="1")
            summary = await run_plan(plan, RunOptions(), effects=effects)
        counters = emulator.audit()["requests"]
        return summary, anyio.current_time() - begun, counters

    clock = trio.testing.MockClock(autojump_threshold=0)
    dot = _render(seed="", count=1)[0].data
    with mock.patch.object(pixels, "render", _render), mock.patch.object(pixels, "placeholder", return_value=dot):
        summary, seconds, requests = anyio.run(play, backend="trio", backend_options={"clock": clock})
    assert summary.exit_code == 0, summary
    ideal = (edits - 1) * 60 / RATE + latency[1]
    reads = sum(count for name, count in requests.items() if name.startswith("GET /v1/runs"))
    return {
        "edits": edits,
        "makespan_seconds": round(seconds, 1),
        "ideal_seconds": ideal,
        "ratio": round(seconds / ideal, 4),
        "polls_per_run": round(reads / edits, 2),
    }


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=20_000)
    arguments = parser.parse_args()
    print(
        json.dumps({"same": measure(arguments.edits), "44 to 280 s": measure(arguments.edits, (44.0, 280.0))}, indent=1)
    )


if __name__ == "__main__":
    main()
