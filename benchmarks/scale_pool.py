"""
One run of very many tasks without a network: `python -m benchmarks.scale_pool FOLDER [MANIFEST] [--profile]`.

The folder has the manifest, `job.yaml` if it is not named. Everything is as in `batchedit run`, worker processes
included; only the adapter is one that sends nothing, learns a run id at once, and answers with a small picture, each
with other bytes. Prints JSON.
"""

from __future__ import annotations

import base64
import cProfile
import json
import os
import pstats
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count as numbers
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from batchedit import batch
from batchedit.calling import run_plan_sync
from batchedit.context import Progress
from batchedit.endpoint import Endpoint
from batchedit.manifest import load_manifest
from batchedit.model import OutputLocation, Reply
from batchedit.money import MicroUSD
from batchedit.planner import make_plan
from batchedit.providers.base import Accepted, Answered, Ended, Flow, Send
from batchedit.providers.registry import Connected, Setup
from batchedit.providers.runflow import Runflow
from batchedit.run_options import RunOptions

ORIGIN = "http://127.0.0.1:9"
"""Nobody listens at the port that discards."""

_PRICE = MicroUSD(133_000)
_SIDE = 16
_PARTS = 100

Sample = tuple[int, float, float, int]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _front() -> bytes:
    rows = (b"\0" + b"\xf0" * (3 * _SIDE)) * _SIDE
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(rows))


class Instant(Runflow):
    """Runflow's adapter, and a provider that has finished before it was asked."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._numbers = numbers()
        self._front = _front()

    def buy(self, send: Send) -> Flow[Reply]:
        """Accepted, ended, answered."""
        run = f"run-{next(self._numbers):08d}"
        picture = self._front + _chunk(b"tEXt", b"Run\0" + run.encode()) + _chunk(b"IEND", b"")
        record = json.dumps({"id": run, "status_code": "succeeded", "cost": "0.133"}).encode()
        yield Accepted(run, record, False)
        yield Ended(0.0)
        yield Answered(record, repeatable=True)
        url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        return Reply(outputs=(OutputLocation(url=url),), cost=_PRICE, run_id=run, shape="benchmark")


def _connected(setup: Setup) -> Connected:
    return Connected(provider=Instant(setup.settings), endpoint=Endpoint(base_url=ORIGIN), world="real")


def resident() -> int:
    """Bytes of memory that this process has now; 0 where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Samples:
    """At every hundredth of the run: tasks done, seconds, this process's seconds of processor, bytes of memory."""

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._due: Iterator[int] = iter(())
        self._next = 0
        self.recorded_after = 0.0
        self.taken: list[Sample] = []

    def observe(self, progress: Progress) -> None:
        """After every change."""
        if not self.taken:
            total = progress.total
            self._due = iter(sorted({max(1, total * part // _PARTS) for part in range(1, _PARTS + 1)}))
            self._next = next(self._due)
            self.recorded_after = time.monotonic() - self._begun
            self._take(0)
        if progress.done >= self._next:
            while progress.done >= self._next:
                self._next = next(self._due, sys.maxsize)
            self._take(progress.done)
            done, seconds, _, memory = self.taken[-1]
            print(f"  {done} of {progress.total} after {seconds:.0f} s, {memory / 1e6:.0f} MB", file=sys.stderr)

    def _take(self, done: int) -> None:
        self.taken.append((done, time.monotonic() - self._begun, time.process_time(), resident()))

    def at(self, part: float) -> Sample:
        """The first sample at or after this part of the run."""
        last = self.taken[-1][0]
        return next(sample for sample in self.taken if sample[0] >= part * last)

    def tenths(self, column: int) -> list[float]:
        """Seconds for a task in each tenth of the run: by the clock (1), or of the processor (2)."""
        marks = [self.at(number / 10) for number in range(11)]
        return [(end[column] - begin[column]) / max(1, end[0] - begin[0]) for begin, end in pairwise(marks)]


def main() -> None:
    """Plan, run, and tell."""
    os.chdir(sys.argv[1])  # where `batchedit run job.yaml` is called afterwards
    begun = time.monotonic()
    named = [argument for argument in sys.argv[2:] if not argument.startswith("--")]
    plan = make_plan(load_manifest(named[0] if named else "job.yaml"), out="out")
    planned_after = time.monotonic() - begun
    samples = Samples(begun)
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    with mock.patch.object(batch, "connect", _connected), profile or nullcontext():
        summary = run_plan_sync(plan, RunOptions(), observer=samples.observe)
    if profile is not None:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    assert summary.exit_code == 0, summary
    told = {
        "planned_after": planned_after,
        "recorded_after": samples.recorded_after,
        "tenths": samples.tenths(1),
        "processor_tenths": samples.tenths(2),
        "memory": {name: samples.at(int(name) / 100)[3] for name in ("0", "10", "50", "100")},
        "samples": samples.taken,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
