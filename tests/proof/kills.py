"""
Real kills: the real command line in its own process, SIGKILLed at a system call or at a random moment, against the
emulator in a process of its own over a real socket. Then the same command again, killed again, until it finishes.

    python -m tests.proof.kills --points 1000000 --random 500      every system call of a small run, 500 random kills

The judge reads the provider's bill over HTTP, the ledger's file and the pictures. What must come out is what an
undisturbed run gives: the same tree, byte for byte, one bill for each edit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from PIL import Image

CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "link", "unlink", "openat", "sendto", "connect", "ftruncate",
    "mkdir", "copy_file_range", "recvfrom", "fcntl", "flock",
)  # fmt: skip
"""System calls after which something may have changed, here or at the provider."""

STRACE = shutil.which("strace")
_KEY = "rf_live_killed0123456789"
_VARIABLES = {"RUNFLOW_API_KEY": _KEY, "BATCHEDIT_KEY_ORIGIN": "loopback", "PYTHONDONTWRITEBYTECODE": "1"}
_SMALL, _LARGE = 3, 12
_ARGUMENTS = ["run", "night.yaml", "--out", "out", "--no-input", "-q"]
COMMAND = [sys.executable, "-m", "batchedit", *_ARGUMENTS]
_PROGRAM = """
import os, signal
from batchedit import cli, workers
workers.Workers._suspect = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
cli.main()
"""
_ONE_FATE = [sys.executable, "-c", _PROGRAM, *_ARGUMENTS]
"""A kill is to end all of it: the program dies as soon as it sees that one of its worker processes has."""
_MANIFEST = """version: 1
provider: {{name: runflow, base_url: '{url}'}}
limits: {{timeout: 2, list_lag: 0, deadline: 30, poll: 0.05, concurrency: 4}}
defaults: {{prompt: grayscale, quality: low, output: "{{{{ stem }}}}.{{{{ ext }}}}"}}
budget: {{run: 5}}
sources:
  - glob: in/*.png
"""


@dataclass
class Provider:
    """The emulator in its own process."""

    url: str
    process: subprocess.Popen[str]

    def bills(self, ledger_id: str) -> dict[str, int]:
        """Billed runs by our reference, of one ledger."""
        audit = httpx.get(f"{self.url}/emulator/audit", timeout=60).json()
        return {
            reference: entry["billed_runs"]
            for reference, entry in audit["by_client_ref"].items()
            if reference.startswith(f"be-{ledger_id}-")
        }


@contextmanager
def provider(latency: str = "0.02,0.1") -> Iterator[Provider]:
    """Starts one."""
    command = [sys.executable, "-m", "batchedit", "emulate", "--port", "0", "--switch", f"latency={latency}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield Provider(process.stdout.readline().split()[-1], process)
    finally:
        process.kill()
        process.communicate()


def workshop(folder: Path, url: str, edits: int) -> Path:
    """A folder with pictures and a manifest."""
    (folder / "in").mkdir(parents=True)
    for number in range(edits):
        Image.new("RGB", (16, 16), (20 * number, 90, 200 - 10 * number)).save(folder / "in" / f"p{number:02}.png")
    (folder / "night.yaml").write_text(_MANIFEST.format(url=url))
    return folder


def start(folder: Path, *, inject: str = "") -> subprocess.Popen[str]:
    """The command, under strace if something is to be injected."""
    command = COMMAND
    if inject:
        assert STRACE is not None
        name = inject.partition(":")[0]
        quiet = ["-f", "-qqq", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={inject}"]
        command = [STRACE, *quiet, *_ONE_FATE]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **_VARIABLES}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def finish(folder: Path) -> tuple[int, str]:
    """The command once more, undisturbed: its exit code and what it said."""
    process = start(folder)
    try:
        said, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return -1, f"it hung; {said}"
    return process.returncode, said


def tree(folder: Path) -> dict[str, str]:
    """Every delivered file with its digest."""
    files = (path for path in (folder / "out").rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder / "out")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if ".batchedit" not in path.parts
    }


def judge(folder: Path, seller: Provider, code: int, said: str, wanted: dict[str, str]) -> list[str]:
    """What is not as it should be after everything has finished."""
    problems = []
    if code != 0:
        problems.append(f"exit code {code}: {said[-300:]}")
    if "Traceback" in said or _KEY in said:
        problems.append(f"it said: {said[-600:]}")
    if tree(folder) != wanted:
        problems.append(f"the tree differs: {sorted(tree(folder).items() ^ wanted.items())[:4]}")
    path = folder / "out/.batchedit/ledger.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        if (found := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            problems.append(f"damaged ledger: {found}")
        ledger_id = db.execute("SELECT value FROM meta WHERE name = 'ledger_id'").fetchone()[0]
        spent, risk = db.execute(
            "SELECT sum(cost_microusd), sum((outcome IS NULL) * reserved_microusd) FROM attempts"
        ).fetchone()
        kept = dict(db.execute("SELECT sha256, 1 FROM raws").fetchall())
    bills = seller.bills(ledger_id)
    if sorted(bills.values()) != [1] * len(wanted):
        problems.append(f"bills: {bills}")
    if (spent, risk) != (9_000 * len(wanted), 0):
        problems.append(f"{spent} spent, {risk} at risk")
    if set(kept) != set(wanted.values()):
        problems.append("the kept pictures differ")
    return problems


@dataclass
class Tally:
    """Many kills."""

    kills: int = 0
    nights: int = 0
    by_call: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def table(self) -> str:
        """In words."""
        calls = ", ".join(f"{name} {number}" for name, number in sorted(self.by_call.items()))
        lines = [f"{self.kills} kills in {self.nights} nights, {len(self.failed)} failed", f"  by call: {calls}"]
        return "\n".join([*lines, *self.failed[:20]])


class Killer:
    """
    Kills and judges; several at once.

    Args:
        room: Where the folders are made.
    """

    def __init__(self, room: Path, seller: Provider) -> None:
        self._room, self._seller = room, seller
        self.tally = Tally()
        self._lock = threading.Lock()
        self.wanted = {edits: self._undisturbed(edits) for edits in (_SMALL, _LARGE)}

    def _undisturbed(self, edits: int) -> dict[str, str]:
        folder = workshop(self._room / f"calm{edits}", self._seller.url, edits)
        code, said = finish(folder)
        wanted = tree(folder)
        assert code == 0, said
        assert len(wanted) == edits
        assert judge(folder, self._seller, code, said, wanted) == []
        return wanted

    def at_call(self, call: str, number: int, again: tuple[str, int]) -> bool:
        """Kill at one call of the first start and at another of the second; False if the first was never reached."""
        folder = workshop(Path(tempfile.mkdtemp(dir=self._room)), self._seller.url, _SMALL)
        killed = [self._killed_at(folder, *point) for point in ((call, number), again)]
        self._settle(folder, _SMALL, f"{call}:{number} then {again[0]}:{again[1]}", sum(killed))
        with self._lock:
            self.tally.by_call.update({call: int(killed[0])})
        return killed[0]

    def _killed_at(self, folder: Path, call: str, number: int) -> bool:
        process = start(folder, inject=f"{call}:signal=SIGKILL:when={number}")
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            with self._lock:
                self.tally.failed.append(f"{call}:{number}: it hung")
        return process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)

    def at_random(self, seed: int, kills: int) -> None:
        """Several kills of one larger run, at moments drawn from a seed."""
        draw = random.Random(f"kill/{seed}")
        folder = workshop(Path(tempfile.mkdtemp(dir=self._room)), self._seller.url, _LARGE)
        happened = 0
        for _ in range(kills):
            process = start(folder)
            time.sleep(draw.uniform(0.1, 2.0))
            if process.poll() is None:
                happened += 1
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self._settle(folder, _LARGE, f"random seed {seed}", happened)

    def _settle(self, folder: Path, edits: int, name: str, kills: int) -> None:
        code, said = finish(folder)
        try:
            problems = judge(folder, self._seller, code, said, self.wanted[edits])
        except (sqlite3.Error, OSError) as error:
            problems = [f"exit code {code}, and the ledger cannot be judged ({error}): {said[-300:]}; see {folder}"]
        with self._lock:
            self.tally.kills += kills
            self.tally.nights += 1
            self.tally.failed += [f"{name}: {problem}" for problem in problems]
        if not problems:
            shutil.rmtree(folder)


def reached(room: Path, seller: Provider) -> dict[str, range]:
    """
    The numbers of each call in an undisturbed run, in the thread that makes it most often: strace counts by thread.

    From the first change of the output folder on. Before it the interpreter starts, and there is nothing to lose.
    """
    assert STRACE is not None
    folder = workshop(room / "counted", seller.url, _SMALL)
    log = room / "calls.txt"
    command = [STRACE, "-f", "-qqq", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *_ONE_FATE]
    subprocess.run(
        command, cwd=folder, env={**os.environ, **_VARIABLES}, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    all_of, early_of = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    begun = False
    for line in log.read_text("utf-8", "replace").splitlines():
        thread, _, rest = line.partition(" ")
        name, _, arguments = rest.strip().partition("(")
        begun = begun or (name == "mkdir" and arguments.startswith(f'"{folder}/out"'))
        if name in CALLS:
            all_of[thread, name] += 1
            early_of[thread, name] += not begun
    found = {}
    for call in CALLS:
        most, early = max(((n, early_of[key]) for key, n in all_of.items() if key[1] == call), default=(0, 0))
        found[call] = range(early + 1, most + 1)
    return found


def sweep(room: Path, points: int, random_kills: int, *, workers: int = 2, share: tuple[int, int] = (0, 1)) -> Tally:
    """
    Up to `points` system calls, spread evenly over all there are, and so many random kills.

    Args:
        room: A folder for everything; removed by the caller.
        share: Which one of how many parts of all that is done.
    """
    part, parts = share
    with provider() as seller, ThreadPoolExecutor(workers) as pool:
        killer = Killer(room, seller)
        futures = []
        if STRACE is not None and points:
            counts = reached(room, seller)
            every = [(call, number) for call, numbers in counts.items() for number in numbers]
            draw = random.Random("points")
            chosen = every if points >= len(every) else _spread(every, points, draw)
            for index, (call, number) in enumerate(chosen):
                other = draw.choice([name for name, numbers in counts.items() if numbers])
                again = (other, draw.choice(counts[other]))
                if index % parts == part:
                    futures.append(pool.submit(killer.at_call, call, number, again))
        futures += [
            pool.submit(killer.at_random, seed, min(5, random_kills - 5 * seed))  # type: ignore[arg-type]
            for seed in range((random_kills + 4) // 5)
            if seed % parts == part
        ]
        for future in futures:
            future.result()
        return killer.tally


def _spread(every: list[tuple[str, int]], points: int, draw: random.Random) -> list[tuple[str, int]]:
    """The same number for each call."""
    by_call: dict[str, list[tuple[str, int]]] = {}
    for point in every:
        by_call.setdefault(point[0], []).append(point)
    share = max(1, points // len(by_call))
    chosen = []
    for numbers in by_call.values():
        chosen += draw.sample(numbers, min(share, len(numbers)))
    return chosen


def main() -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Real kills.")
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--random", type=int, default=60)
    arguments = parser.parse_args()
    room = Path(tempfile.mkdtemp(prefix="kills"))
    tally = sweep(room, arguments.points, arguments.random)
    if not tally.failed:
        shutil.rmtree(room)  # else there is something to look at
    print(tally.table())
    return int(bool(tally.failed))


if __name__ == "__main__":
    sys.exit(main())
