"""The live view: from another shell, on terminals and without one, and what a scheduler gets to read."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchedit import load_manifest, make_plan, run_plan_sync
from batchedit.cli.printing import ProgressLine, progress_text
from batchedit.context import Progress
from batchedit.ledger.glance import Glance, glance
from batchedit.lifecycle import State
from tests.conftest import EMULATORS, KEY, Result, Served, Shop, command, draw_picture

Cli = Callable[..., Result]


def night(shop: Shop, served: Served, count: int = 8) -> Path:
    for number in range(count):
        draw_picture(shop.root / "in" / f"p{number}.png", (number * 25, 50, 50), side=64)
    return served.manifest(shop, limits="{timeout: 5, list_lag: 0, deadline: 20, poll: 0.1, rpm: 600, concurrency: 2}")


def on_terminal(*arguments: str, cwd: Path, **environment: str) -> str:
    """What a command shows on a terminal of its own."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 160))
    process = subprocess.Popen(
        [sys.executable, "-m", "batchedit", *arguments], cwd=cwd, stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm", **EMULATORS, **environment},
    )  # fmt: skip
    os.close(slave)
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
    process.wait(timeout=30)
    os.close(master)
    assert process.returncode == 0, shown
    return shown.decode("utf-8", "replace")


def test_another_shell_sees_the_run_and_ends_with_it(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """Figures grow, and the last ones are the ledger's."""
    manifest = night(shop, serve(latency=(0.4, 0.6)))
    run = command("run", manifest, "--out", "out", "-q", cwd=shop.root, key=KEY)
    ledger, end = shop.root / "out/.batchedit/ledger.db", time.monotonic() + 30
    while not ledger.exists() and time.monotonic() < end:
        time.sleep(0.02)
    watch = command("status", "out", "--watch", "--every", "0.2", "--json", cwd=shop.root)
    out, err = watch.communicate(timeout=60)
    quiet, _ = run.communicate(timeout=60)
    assert (watch.returncode, run.returncode) == (0, 0), err
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["going_on"]
    assert lines[0]["states"]["done"] < 11
    assert any(line["in_flight"] for line in lines)
    assert {line["limit_per_minute"] for line in lines if line["run"]} == {600}
    assert quiet == "", "nobody is needed"
    last = json.loads(cli("status", "out", "--watch", "--json").out)
    assert (last["going_on"], last["exit_code"], last["states"]["done"]) == (False, 0, 11)
    report = cli("report", "out", "--json").json()
    assert last["spent"] == report["total"]["spent"]


def test_it_is_drawn_anew_on_a_terminal_only(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Codes for the cursor go to terminals that know them."""
    assert cli("run", jobs).code == 0
    for environment in ({"TERM": "xterm"}, {"TERM": "dumb"}):
        shown = on_terminal("status", "out", "--watch", cwd=shop.root, **environment)
        assert "3 of 3 done (100 %)" in shown
        assert "ended with exit code 0" in shown
        assert "\x1b" not in shown, "one look needs no codes"


def test_the_bar_is_for_terminals(shop: Shop, serve: Callable[..., Served]) -> None:
    """Budget, limit and counts; plain lines on a dumb one, without any code."""
    manifest = night(shop, serve(latency=(0.2, 0.4)))
    shown = on_terminal("run", str(manifest), "--out", "bar", "--yes", cwd=shop.root)
    assert "/11 [" in shown
    assert re.search(r"in flight, 0 failed, 0 unknown, \$[\d.]+ of \$50", shown)
    assert "limit 600/min" in shown
    dumb = on_terminal("run", str(manifest), "--out", "dumb", "--yes", cwd=shop.root, TERM="dumb")
    assert "\x1b" not in dumb
    assert "/11 [" not in dumb
    assert re.search(r"of 11 done, 0 failed, 0 unknown, \d+ in flight, limit 600/min, spent \$", dumb)


def test_the_rate_that_is_shown_is_the_one_in_force(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """What was named is no longer true after a refusal: lines, other shells and programs tell the lower one as well."""
    served = serve(latency=(0.05, 0.1))
    manifest, ledger = night(shop, served), shop.root / "out/.batchedit/ledger.db"
    lines: list[str] = []
    looks: list[Glance] = []
    refusals = [{"method": "POST", "path_contains": "edit/runs"}]

    def look(progress: Progress) -> None:
        if progress.done and refusals:  # something was let through before: a refusal of the first says nothing
            served.emulator.script("throttle", match=refusals.pop(), length=1)
        lines.append(progress_text(progress))
        looks.append(glance(ledger, time.time()))

    summary = run_plan_sync(make_plan(load_manifest(manifest), out=shop.root / "out"), observer=look)
    assert summary.states[State.DONE] == 11
    assert "in flight, limit 600/min, spent" in lines[0], "as it was named"
    assert re.search(r"in flight, limit 29\d/min of 600/min, spent", lines[-1]), (
        "half of it, and a little less at first"
    )
    assert looks[0].pace == 600
    assert (looks[-1].owner != "", looks[-1].limit, looks[-1].pace) == (True, 600, 300), "while the run goes on"
    assert "sent in the last minute of 300 (600 named), spent" in cli("status", "out", "--watch").out
    told = cli("status", "out", "--watch", "--json").json()
    assert (told["limit_per_minute"], told["pace_per_minute"]) == (600, 300)
    assert cli("run", manifest, "--out", "out", "--rate", "none", "--changed", "--quality", "high").code == 0
    assert cli("status", "out", "--watch", "--json").json()["pace_per_minute"] is None, "nothing is kept to then"


def test_plain_lines_come_with_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines for a thousand edits that take no time."""
    line = ProgressLine(quiet=False)
    for done in range(1001):
        line(Progress(total=1000, done=done, spent=done * 1000, budget=2_000_000))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 10
    assert said[4].startswith("500 of 1000 done") and "spent $0.50 of $2.00" in said[4]  # noqa: PT018  one line


def test_quiet_speaks_up_when_somebody_is_needed(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Nothing after a good night; the end and what to do after another."""
    result = cli("run", jobs, "-q", "--no-input")
    assert (result.code, result.out, result.err) == (0, "", "")
    result = cli("run", jobs, "--changed", "--prompt", "sepia", "--out", "o2", "-q", "--budget", "0.01")
    assert result.code == 6
    assert "stopped, work is left" in result.out


def test_watching_nothing_says_so(cli: Cli, shop: Shop) -> None:
    """Exit code 8, at once."""
    result = cli("status", "out", "--watch")
    assert result.code == 8
    assert "no ledger" in result.err


@pytest.mark.parametrize("words", [("status",), ("status", "--watch"), ("report",), ("ls",), ("show", "0123_1"),
                                   ("verify",), ("retry",), ("ledger", "check"), ("export", "csv")])  # fmt: skip
def test_a_manifest_is_not_called_a_damaged_ledger(cli: Cli, jobs: Path, words: tuple[str, ...]) -> None:
    """Whoever reads that at night restores a backup; it only is the wrong name."""
    result = cli(*words, "jobs.csv")
    assert result.code == 2
    assert "jobs.csv is no ledger; it looks like a manifest" in result.err
    assert "name the output folder that its run has written, such as `out`" in result.err
    assert "damaged" not in result.err


def test_a_ledger_may_have_any_name(cli: Cli, jobs: Path) -> None:
    """A database is one, whatever its name ends in."""
    assert cli("run", "jobs.csv").code == 0
    assert cli("ledger", "backup", "out", "copy.json").code == 0
    assert cli("report", "copy.json").code == 0
