"""Every documented exit code, by the real command in a process of its own; the tables and this list are the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchedit.emulator import Faults
from batchedit.errors import ExitCode
from tests.conftest import Served, Shop, draw_picture

ROOT = Path(__file__).parents[1]
Serve = Callable[..., Served]


def call(shop: Shop, *arguments: str, before: str = "", **environment: str) -> int:
    """The real command's exit code."""
    line = f"{before}exec {sys.executable} -m batchedit " + " ".join(f"'{argument}'" for argument in arguments)
    done = subprocess.run(
        ["sh", "-c", line], cwd=shop.root, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode


def done(shop: Shop, serve: Serve) -> int:
    serve().manifest(shop)
    return call(shop, "run", "night.yaml", "-y")


def bug(shop: Shop, serve: Serve) -> int:
    """Planted from outside: nothing of the command is replaced but the part that breaks."""
    serve().manifest(shop)
    assert call(shop, "run", "night.yaml", "-y") == 0
    shop.write(
        "planted/sitecustomize.py",
        "import batchedit.report as r\ndef broken(*a, **k): {}['x']\nr.render_report = broken\n",
    )
    return call(shop, "status", "out", PYTHONPATH=str(shop.root / "planted"))


def usage(shop: Shop, serve: Serve) -> int:
    serve().manifest(shop, budget="{}")
    assert call(shop, "run", "nowhere.yaml") == 2
    assert call(shop, "run", "night.yaml", "--rate", "fast") == 2
    return call(shop, "run", "night.yaml", "--no-input")  # nobody has agreed


def some_failed(shop: Shop, serve: Serve) -> int:
    serve(Faults(failed_moderation=1.0)).manifest(shop)
    return call(shop, "run", "night.yaml", "-y")


def account(shop: Shop, serve: Serve) -> int:
    serve(keys=("rf_live_another0123456789",)).manifest(shop)
    return call(shop, "run", "night.yaml", "-y")


def nothing_selected(shop: Shop, serve: Serve) -> int:
    serve().manifest(shop)
    return call(shop, "run", "night.yaml", "-y", "--select", "nobody")


def limit(shop: Shop, serve: Serve) -> int:
    serve().manifest(shop)
    return call(shop, "run", "night.yaml", "-y", "--budget", "0.02")


def unknown(shop: Shop, serve: Serve) -> int:
    serve(Faults(answer_lost=1.0)).manifest(shop, provider=", api: run", limits="{timeout: 2, attempts: 1}")
    return call(shop, "run", "night.yaml", "-y")


def ledger(shop: Shop, serve: Serve) -> int:
    serve().manifest(shop)
    shop.write("out/.batchedit/ledger.db", "my diary, which is no ledger\n" * 100)
    return call(shop, "run", "night.yaml", "-y")


def storage(shop: Shop, serve: Serve) -> int:
    """The system refuses files beyond a size."""
    serve().manifest(shop)
    return call(shop, "run", "night.yaml", "-y", before="ulimit -f 20; ")


def work_to_buy(shop: Shop, serve: Serve) -> int:
    serve().manifest(shop)
    code = call(shop, "plan", "night.yaml", "--exit-code")
    assert call(shop, "run", "night.yaml", "-y") == 0
    assert call(shop, "plan", "night.yaml", "--exit-code") == 0
    return code


def signalled(number: signal.Signals) -> Callable[[Shop, Serve], int]:
    """A signal while something is in flight; afterwards the same command ends the work."""

    def play(shop: Shop, serve: Serve) -> int:
        for each in range(6):
            draw_picture(shop.root / "in" / f"p{each}.png", (each * 30, 90, 90), side=32)
        served = serve(latency=(0.5, 0.8))
        served.manifest(shop, limits="{timeout: 5, list_lag: 0, deadline: 20, poll: 0.1, concurrency: 1}")
        for command in (("run", "night.yaml", "-y"), ("job", "run", "job.yaml")):
            shop.write("job.yaml", "job: 1\nmanifests: [night.yaml]\nout: out-job\n")
            before = len(served.audit()["runs"])
            process = subprocess.Popen(
                [sys.executable, "-m", "batchedit", *command], cwd=shop.root,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            end = time.monotonic() + 60
            while len(served.audit()["runs"]) == before and time.monotonic() < end:
                time.sleep(0.02)
            process.send_signal(number)
            assert process.wait(timeout=60) == 128 + number
            assert call(shop, *command) == 0
        return 128 + number

    return play


CODES: dict[ExitCode, Callable[[Shop, Serve], int]] = {
    ExitCode.DONE: done,
    ExitCode.BUG: bug,
    ExitCode.USAGE: usage,
    ExitCode.SOME_FAILED: some_failed,
    ExitCode.ACCOUNT: account,
    ExitCode.NOTHING_SELECTED: nothing_selected,
    ExitCode.LIMIT: limit,
    ExitCode.UNKNOWN: unknown,
    ExitCode.LEDGER: ledger,
    ExitCode.STORAGE: storage,
    ExitCode.WORK_TO_BUY: work_to_buy,
    ExitCode.SIGINT: signalled(signal.SIGINT),
    ExitCode.SIGTERM: signalled(signal.SIGTERM),
}


def documented() -> set[int]:
    """The codes in the README's table."""
    table = (ROOT / "README.md").read_text("utf-8").split("## Exit codes")[1].split("\n## ")[0]
    return {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")}


def test_the_table_the_names_and_this_list_are_the_same() -> None:
    """A code that is missing anywhere is a failure."""
    assert documented() == {int(code) for code in ExitCode} == {int(code) for code in CODES}


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_the_real_command_ends_with_it(shop: Shop, serve: Serve, code: ExitCode) -> None:
    """Over a real socket, without a terminal."""
    assert CODES[code](shop, serve) == code
