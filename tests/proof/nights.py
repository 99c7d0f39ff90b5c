"""
Simulated nights: the real pool, ledger, adapter, files and emulator on a clock that jumps, killed at any step.

    python -m tests.proof.nights --first 0 --count 1000 [--processes 2]
    python -m tests.proof.nights --first 4711 --count 1 --trace       replays one night

A night is several starts of the program over one ledger and one provider. Killing is an exception that nothing of the
product can catch, raised at a numbered step: before and after each commit, each change of a file and each call on the
network; whatever the dying program still tries after that is refused. The provider lives on.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import trio.testing
from PIL import Image

from batchedit import RunOptions, batch, disk, load_manifest, make_plan, run_plan, wire
from batchedit.context import Progress
from batchedit.effects import Effects
from batchedit.emulator import Emulator, Faults, pixels
from batchedit.emulator.canvas import Picture
from batchedit.endpoint import Endpoint, Key
from batchedit.errors import BatchEditError, NothingSelected
from batchedit.grouping import GROUPINGS
from batchedit.ledger.core import LedgerCore
from batchedit.ledger.writer import LedgerWriter
from batchedit.money import MicroUSD
from batchedit.planner import outline
from batchedit.providers.registry import Connected, Setup
from batchedit.providers.runflow import Runflow
from batchedit.report import render_report
from tests.proof.judge import Judge
from tests.proof.weather import PICTURES, Start, Weather, forecast

T = TypeVar("T")

EPOCH = 1_800_000_000.0
ORIGIN = "https://sim.invalid"
SCHEDULER: Any = trio._core._run  # private names, but what trio's own determinism test sets
_FILE_CHANGES = ("append", "sync_file", "sync_folder", "replace", "publish", "copy")


class Killed(BaseException):
    """The program is gone."""


@dataclass
class Life:
    """One start of the program: counts its steps and ends it at one of them."""

    die_at: int
    freezes: dict[int, float]
    steps: int = 0
    dead: bool = False

    def step(self) -> None:
        """Something that the outside can see is about to happen, or just has."""
        if self.dead:
            raise Killed
        self.steps += 1
        if self.steps == self.die_at:
            self.dead = True
            raise Killed

    async def pause(self) -> None:
        """Stand still if it is the hour for it."""
        seconds = self.freezes.pop(self.steps, 0.0)
        if seconds:
            await anyio.sleep(seconds)


@dataclass
class Night:
    """What came of one night."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    edges: Counter[str] = field(default_factory=Counter)
    happenings: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    digest: str = ""


@contextlib.contextmanager
def _mortal(life: Life, judge: Judge) -> Iterator[None]:
    """Let a life end at every place where the outside world changes."""
    with contextlib.ExitStack() as stack:
        for name in _FILE_CHANGES:
            original = getattr(disk, name)

            def change(*args: Any, original: Callable[..., Any] = original, **named: Any) -> Any:
                life.step()
                return original(*args, **named)

            stack.enter_context(mock.patch.object(disk, name, change))
        commit = LedgerCore.transaction

        @contextlib.contextmanager
        def transaction(self: LedgerCore) -> Iterator[None]:
            outermost = not self._connection.in_transaction
            if outermost:
                life.step()
            with commit(self):
                yield
            if outermost:
                life.step()

        stack.enter_context(mock.patch.object(LedgerCore, "transaction", transaction))
        call = wire.Detached.handle_async_request

        async def handle(self: wire.Detached, request: httpx.Request) -> httpx.Response:
            await life.pause()
            life.step()
            judge.sees(request.method, request.url.path)
            response = await call(self, request)
            life.step()
            return response

        stack.enter_context(mock.patch.object(wire.Detached, "handle_async_request", handle))
        yield


def _offload(life: Life) -> Callable[[Callable[[], T]], Any]:
    async def inline(work: Callable[[], T], /) -> T:
        await life.pause()
        await anyio.lowlevel.checkpoint()
        return work()

    return inline


def _render(**job: Any) -> list[Picture]:
    """Small pictures in the place of edited ones: each run's own, of the size that was asked for."""
    width, height = (int(side) for side in job["size"].split("x")) if "x" in job["size"] else (16, 16)
    pictures = []
    for number in range(job["count"]):
        colour = hashlib.sha256(f"{job['seed']}/{number}/{job['prompt']}".encode()).digest()[:3]
        buffer = io.BytesIO()
        image = Image.new("RGB", (width, height), tuple(colour))
        image.save(buffer, job["output_format"], **({"compress_level": 1} if job["output_format"] == "png" else {}))
        picture = Picture(data=buffer.getvalue(), width=width, height=height, format=job["output_format"])
        pictures.append(picture)
    return pictures


def simulate(seed: int, folder: Path) -> Night:
    """Play one night in a folder of its own."""
    weather = forecast(seed)
    night = Night(seed)
    _draw_pictures(folder)
    clock = trio.testing.MockClock(autojump_threshold=0)
    SCHEDULER._ALLOW_DETERMINISTIC_SCHEDULING = True
    SCHEDULER._r.seed(seed)
    with mock.patch.object(pixels, "render", _render):
        anyio.run(_play, weather, folder, night, backend="trio", backend_options={"clock": clock})
    return night


async def _play(weather: Weather, folder: Path, night: Night) -> None:
    async def at_once(work: Callable[[], T], /) -> T:
        await anyio.lowlevel.checkpoint()
        return work()

    emulator = Emulator(
        switches=weather.switches,
        faults=weather.faults,
        seed=str(weather.seed),
        clock=lambda: EPOCH + anyio.current_time(),
        offload=at_once,
    )
    judge = Judge(folder / "out", emulator, weather, night.problems)
    try:
        async with anyio.create_task_group() as servers:
            for number, start in enumerate(weather.starts):
                if number == len(weather.starts) - 2:
                    _lift(emulator)
                await anyio.sleep(start.pause)
                await _start(weather, number, start, folder, emulator, servers, judge, night)
            judge.close()
            servers.cancel_scope.cancel()
        night.faults.update(emulator.audit()["faults_fired"])
        night.edges.update(judge.edges())
        night.digest = judge.digest()
    finally:
        emulator.close()


def _lift(emulator: Emulator) -> None:
    """From here on the provider behaves."""
    service = emulator._service
    service.faults = service.chance._faults = Faults()


async def _start(
    weather: Weather, number: int, start: Start, folder: Path, emulator: Emulator, servers: anyio.abc.TaskGroup,
    judge: Judge, night: Night,
) -> None:  # fmt: skip
    life = Life(start.die_at, dict(start.freezes))
    begun = anyio.current_time()

    def wall() -> float:
        later = anyio.current_time() - begun > 60
        return EPOCH + anyio.current_time() + start.clock[later]

    effects = Effects(wall=wall, offload=_offload(life), commit=_offload(life), seed=f"{weather.seed}/{number}")
    manifest = _manifest(weather, start, folder)

    def connect(setup: Setup) -> Connected:
        provider = Runflow(setup.settings, poll_seconds=setup.limits.poll_seconds)
        endpoint = Endpoint(
            base_url=ORIGIN, key=Key("rf_live_simulated"), app=emulator.app, timeout_seconds=weather.limits["timeout"]
        )
        return Connected(provider=provider, endpoint=endpoint, world="real")

    options = RunOptions(budget=None if start.budget is None else MicroUSD(start.budget), on_unknown=start.on_unknown)
    _choose(start, folder, effects, night)
    judge.begins(start)
    code: int | None = None

    def observer(progress: Progress) -> None:
        judge.watches(progress.spent, progress.held)

    try:
        with _mortal(life, judge), mock.patch.object(batch, "connect", connect):
            if start.kind == "reconcile" and (folder / "out/.batchedit/ledger.db").exists():
                plan = outline(load_manifest(manifest), out=folder / "out")
                summary = await batch.reconcile(plan, options, effects=effects, observer=observer, servers=servers)
            else:
                plan = make_plan(load_manifest(manifest), out=folder / "out", accept_changed=True)
                summary = await run_plan(plan, options, effects=effects, observer=observer, servers=servers)
            code = int(summary.exit_code)
            judge.said(summary)
    except BatchEditError as error:
        code = int(error.exit_code)
        if not isinstance(error, NothingSelected):
            night.problems.append(f"start {number}: refused: {error}")
    except BaseException as error:
        if not _only_killed(error):
            raise
        night.happenings["killed"] += 1
        if not life.dead:
            raise
    night.happenings[f"exit {code}"] += 1
    night.happenings[start.kind] += 1
    night.happenings["frozen"] += len(start.freezes) - len(life.freezes)
    judge.ends(start, code)
    if (folder / "out/.batchedit/ledger.db").exists():
        judge.reads(json.loads(render_report(folder / "out", by=GROUPINGS, form="json")))


def _choose(start: Start, folder: Path, effects: Effects, night: Night) -> None:
    path = folder / "out/.batchedit/ledger.db"
    if not start.choices or not path.exists():
        return
    with contextlib.closing(LedgerWriter(path, effects, world="real")) as ledger:
        for choice in start.choices:
            match choice:
                case "retry":
                    count = ledger.want_again(ledger.slots_in("failed"))
                case "keep":
                    count = ledger.keep(ledger.slots_in("suspect"))
                case _:
                    count = ledger.want_again([*ledger.slots_in("lost"), *ledger.slots_in("suspect")])
            night.happenings[f"user: {choice}"] += count


def _only_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_killed, error.exceptions))
    return isinstance(error, Killed)


def _draw_pictures(folder: Path) -> None:
    (folder / "in").mkdir(parents=True)
    for number in range(PICTURES):
        Image.new("RGB", (16, 16), (30 * number, 90, 200 - 20 * number)).save(folder / "in" / f"p{number}.png")


def _manifest(weather: Weather, start: Start, folder: Path) -> Path:
    def mapping(values: dict[str, Any]) -> str:
        return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"

    rows = [
        f"  - {{id: r{row}_{start.rows[:at].count(row)}, image: in/p{row}.png, labels: {{half: h{row % 2}}}}}"
        for at, row in enumerate(start.rows)
    ]
    cap = [f"budget: {{per: {{half: {{h{start.rows[0] % 2}: {start.cap / 1e6}}}}}}}"] if start.cap is not None else []
    text = "\n".join(
        (
            "version: 1",
            f"provider: {mapping({'name': 'runflow', 'base_url': repr(ORIGIN), **weather.provider})}",
            f"limits: {mapping(weather.limits)}",
            f"defaults: {mapping({**weather.defaults, **_files(weather, start)})}",
            *_edits(weather),
            *cap,
            "items:",
            *rows,
            "",
        )
    )
    path = folder / "night.yaml"
    path.write_text(text)
    return path


def _files(weather: Weather, start: Start) -> dict[str, str]:
    post = weather.posts[weather.starts.index(start) % len(weather.posts)]
    return {"post": post, "checks": "{not_blank: warn}"} if post else {}


def _edits(weather: Weather) -> list[str]:
    """The edits of a night with a chain, the last one first."""
    if not weather.chain:
        return []
    output = weather.defaults["output"].strip("'")
    later = [
        f"  e{n}: {{from: e{n - 1}, prompt: step {n}, output: 'e{n}/{output}'}}" for n in range(weather.chain, 0, -1)
    ]
    return ["edits:", *later, f"  e0: {{output: 'e0/{output}'}}"]


@dataclass
class Tally:
    """Many nights together."""

    nights: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    edges: Counter[str] = field(default_factory=Counter)
    happenings: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Put another one into this one."""
        self.nights += other.nights
        self.faults += other.faults
        self.edges += other.edges
        self.happenings += other.happenings
        self.failed += other.failed

    def table(self) -> str:
        """How often each fault fired and each way between two states was taken."""
        lines = [f"{self.nights} nights, {len(self.failed)} failed"]
        for name, counts in (("faults", self.faults), ("ways", self.edges), ("happenings", self.happenings)):
            lines += [f"{name}:", *(f"  {key:<32}{count:>8}" for key, count in sorted(counts.items()))]
        for seed, problem in self.failed[:20]:
            lines.append(f"seed {seed}: {problem}")
            lines.append(f"  replay: python -m tests.proof.nights --first {seed} --count 1 --trace")
        return "\n".join(lines)


def play(first: int, count: int) -> Tally:
    """Many nights, one after another, in this process."""
    tally = Tally()
    room = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    for seed in range(first, first + count):
        folder = Path(tempfile.mkdtemp(prefix="night", dir=room))
        try:
            night = simulate(seed, folder)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            night = Night(seed, problems=["".join(traceback.format_exception(error)[-12:])])
        finally:
            shutil.rmtree(folder)
        tally.nights += 1
        tally.faults += night.faults
        tally.edges += night.edges
        tally.happenings += night.happenings
        tally.failed += [(seed, problem) for problem in night.problems]
    return tally


def play_in(processes: int, first: int, count: int) -> Tally:
    """Many nights in several processes."""
    tally, size = Tally(), 25
    shares = [(start, min(size, first + count - start)) for start in range(first, first + count, size)]
    with ProcessPoolExecutor(processes) as pool:
        for part in pool.map(play, *zip(*shares, strict=True)):
            tally.add(part)
    return tally


def main() -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Simulated nights.")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--trace", action="store_true", help="print the night's weather and keep its folder")
    arguments = parser.parse_args()
    if arguments.trace:
        folder = Path(tempfile.mkdtemp(prefix="night"))
        print(forecast(arguments.first), folder, sep="\n")
        night = simulate(arguments.first, folder)
        print(json.dumps({"problems": night.problems, "digest": night.digest, "faults": night.faults}, indent=2))
        return int(bool(night.problems))
    tally = play_in(arguments.processes, arguments.first, arguments.count)
    print(tally.table())
    return int(bool(tally.failed))


if __name__ == "__main__":
    sys.exit(main())
