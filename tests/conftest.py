"""Small pictures, the emulator over real sockets, and the command line in and out of process."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from batchedit import effects
from batchedit.cli import run as run_cli
from batchedit.emulator import Emulator, Faults, Switches
from batchedit.emulator.serve import run_in_thread
from tests.middle import Middle, middle

LONG = {f"tests.proof.test_{name}" for name in ("kills", "interruptions", "nights", "mutants")}
"""Modules whose tests take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In parallel, spread the long ones over the others, between modules, so that none is left for the end."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    names = [item.module.__name__ for item in items]  # type: ignore[attr-defined]
    long = [item for item, name in zip(items, names, strict=True) if name in LONG]
    rest = [(item, name) for item, name in zip(items, names, strict=True) if name not in LONG]
    if not long or not rest:
        return
    borders = [at for at in range(len(rest)) if at == 0 or rest[at][1] != rest[at - 1][1]]
    due: dict[int, list[pytest.Item]] = {}
    for number, item in enumerate(long):
        wish = 0.75 * len(rest) * number / len(long)
        due.setdefault(min(borders, key=lambda at, wish=wish: abs(at - wish)), []).append(item)  # type: ignore[misc]
    items[:] = [each for at, (item, _) in enumerate(rest) for each in (*due.get(at, ()), item)]


KEY = "rf_live_canary0123456789"
EMULATORS = {"RUNFLOW_API_KEY": KEY, "BATCHEDIT_KEY_ORIGIN": "loopback"}
"""Variables of whoever asks an emulator on this machine."""


@contextmanager
def database(path: Path | str) -> Iterator[sqlite3.Connection]:
    """A SQLite file, committed and closed at the end."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def drop_views(db: sqlite3.Connection) -> None:
    """Take away what a ledger of schema 4 or older does not have, before its tables are made older."""
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        db.execute(f"DROP VIEW {name}")
    db.execute("ALTER TABLE runs DROP COLUMN facts")
    for table in ("tasks", "waiting", "outputs"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN recipe")
    db.execute("ALTER TABLE digests DROP COLUMN located")
    db.execute("ALTER TABLE raws DROP COLUMN trailing_bytes")
    db.execute("DROP INDEX tasks_was")
    for table, column in (("tasks", "was"), ("tasks", "upstream"), ("decisions", "files")):
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for table in ("checks", "recipes", "renders", "wishes", "overrides", "comparisons", "job_starts", "job_warnings"):
        db.execute(f"DROP TABLE {table}")
    later = ("views", "facts", "checks", "rendering", "reviews", "locations", "lineage", "views_7", "jobs", "trailing")
    db.execute(f"DELETE FROM _sqlite_migrations WHERE name IN ({','.join('?' * len(later))})", later)


def draw_picture(path: Path, colour: tuple[int, int, int], *, side: int = 320) -> Path:
    """A ball on a plain grey ground; small, so that tests are fast."""
    image = Image.new("RGB", (side, side), (205, 200, 194))
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, 3 * side // 4, 3 * side // 4), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture(autouse=True)
def _files_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Commands called in this process do the work on files in it too, where a test can make a disk fail; and thousands of
    them need not start processes of their own. The real command, and tests/test_workers.py, have worker processes.
    """
    monkeypatch.setattr(effects, "processes", lambda: 0)


@dataclass
class Shop:
    """A folder with pictures in `in/`, where tests write manifests and run commands."""

    root: Path

    def write(self, name: str, text: str) -> Path:
        """Write a text file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def table(self, name: str, rows: list[dict[str, str]]) -> Path:
        """Write a CSV file."""
        path = self.root / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    def outputs(self, out: str = "out") -> list[str]:
        """Relative paths of everything delivered."""
        root = self.root / out
        files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(str(path) for path in files if path.parts[0] != ".batchedit")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A working folder with three pictures."""
    for name, colour in {"mug": (40, 90, 160), "shoe": (170, 110, 60), "lamp": (190, 150, 50)}.items():
        draw_picture(tmp_path / "in" / f"{name}.png", colour)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNFLOW_API_KEY", raising=False)
    return Shop(tmp_path)


@pytest.fixture
def jobs(shop: Shop) -> Path:
    """The smallest manifest: three edits."""
    return shop.table(
        "jobs.csv",
        [
            {"id": "0123_1", "image": "in/mug.png", "prompt": "pure white background"},
            {"id": "0123_2", "image": "in/shoe.png", "prompt": "grayscale"},
            {"id": "0124_1", "image": "in/lamp.png", "prompt": "mirror it"},
        ],
    )


@dataclass
class Result:
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command in this process."""

    def call(*arguments: str | Path) -> Result:
        code = run_cli([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def command(*arguments: str | Path, cwd: Path, key: str | None = None) -> subprocess.Popen[str]:
    """Starts the real command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RUNFLOW_API_KEY"}
    if key is not None:
        environment |= {**EMULATORS, "RUNFLOW_API_KEY": key}
    return subprocess.Popen(
        [sys.executable, "-m", "batchedit", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def insist(process: subprocess.Popen[str]) -> None:
    """Ctrl-C until it ends: the first asks it to drain, the second to leave. Two at once may count as one."""
    for _ in range(100):
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
        return
    raise AssertionError("it does not end")


@dataclass
class Served:
    """An emulator behind a real socket."""

    emulator: Emulator
    url: str

    through: str | None = None

    def audit(self) -> dict[str, Any]:
        """Its own bill, over HTTP."""
        data: dict[str, Any] = httpx.get(f"{self.url}/emulator/audit").json()
        return data

    def manifest(
        self, shop: Shop, *, rows: str = "", provider: str = "", name: str = "night.yaml", **more: str
    ) -> Path:
        """A YAML manifest of the three pictures for this server."""
        keys = {
            "limits": "{timeout: 5, list_lag: 0, deadline: 20, poll: 0.1}",
            "budget": "{run: 50}",
            "defaults": "{prompt: 'grayscale', quality: low}",
            **more,
        }
        text = f"version: 1\nprovider: {{name: runflow, base_url: '{self.through or self.url}'{provider}}}\n"
        text += "".join(f"{key}: {value}\n" for key, value in keys.items())
        text += rows or "sources:\n  - glob: in/*.png\n"
        return shop.write(name, text)


@pytest.fixture
def tampered(serve: Callable[..., Served]) -> Iterator[Callable[..., tuple[Served, Middle]]]:
    """Starts emulators behind a man in the middle, to whom the manifests point."""
    with ExitStack() as stack:

        def start(**switches: Any) -> tuple[Served, Middle]:
            served = serve(**switches)
            proxy = stack.enter_context(middle(served.url))
            served.through = proxy.url
            return served, proxy

        yield start


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Starts emulators over real sockets, with a key in the environment."""
    for name, value in EMULATORS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:

        def start(faults: Faults | None = None, **switches: Any) -> Served:
            switches.setdefault("latency", (0.02, 0.05))
            emulator = Emulator(switches=Switches(**switches), faults=faults)
            stack.callback(emulator.close)
            return Served(emulator, stack.enter_context(run_in_thread(emulator)))

        yield start
