"""`run --until`, and the signal that asks: by real processes, and by clocks that are changed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from batchedit.errors import UsageError
from batchedit.stopping import stop_time
from tests.conftest import EMULATORS, Result, Served, Shop, command, database, draw_picture

Cli = Callable[..., Result]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock is Berlin's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def waiting_for_its_window(shop: Shop) -> subprocess.Popen[str]:
    """A job that has said that it waits, for some hours yet."""
    day = datetime.now().astimezone() + timedelta(hours=6)
    shop.write(
        "job.yaml", f"job: 1\nmanifests: [jobs.csv]\nwindow: {{from: '{day.hour:02}:00', until: '{day.hour:02}:01'}}\n"
    )
    process = command("job", "run", "job.yaml", "--wait", cwd=shop.root)
    assert process.stderr is not None
    assert "waiting" in process.stderr.readline()
    return process


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-11-26T19:00+01:00", "06:00", "2026-11-27T06:00+01:00"),
        ("2026-11-26T05:59:59+01:00", "06:00:30", "2026-11-26T06:00:30+01:00"),
        ("2026-11-26T06:00+01:00", "06:00", "2026-11-27T06:00+01:00"),
        ("2026-03-28T19:00+01:00", "06:00", "2026-03-29T06:00+02:00"),  # the night has an hour less
        ("2026-03-28T19:00+01:00", "02:30", "2026-03-29T03:30+02:00"),  # is skipped: an hour and a half after 01:00
        ("2026-10-24T19:00+02:00", "06:00", "2026-10-25T06:00+01:00"),  # an hour more
        ("2026-10-24T19:00+02:00", "02:30", "2026-10-25T02:30+02:00"),  # comes twice: the first
        ("2026-10-25T02:40+02:00", "02:30", "2026-10-26T02:30+01:00"),
        ("2026-11-26T19:00+01:00", "2026-11-27T06:00", "2026-11-27T06:00+01:00"),
        ("2026-11-26T19:00+01:00", "2026-11-27T05:00Z", "2026-11-27T06:00+01:00"),
    ],
)
def test_a_time_is_the_next_one_on_this_machines_clock(berlin: None, now: str, text: str, expected: str) -> None:
    """Also where the clock is changed, as in the window of a job."""
    found = stop_time(text, datetime.fromisoformat(now).timestamp())
    assert found == datetime.fromisoformat(expected).timestamp()


@pytest.mark.parametrize(
    "text", ["", "6", "24:00", "6:00", "06:60", "soon", "2026-11-27", "2026-13-01T06:00", "\u0660\u0666:\u0660\u0660"]
)
def test_anything_else_is_refused(text: str) -> None:
    """With what to write."""
    with pytest.raises(UsageError, match="neither a time of day nor") as caught:
        stop_time(text, 1.0)
    assert "06:00" in str(caught.value)


def test_a_moment_that_is_over_is_refused(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Exit code 2, nothing begun."""
    result = cli("run", jobs, "--until", "2020-01-01T06:00")
    assert (result.code, "is over" in result.err) == (2, True)
    assert not (shop.root / "out").exists()


def night(shop: Shop, served: Served, count: int = 20) -> Path:
    for number in range(count):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (number * 12, 50, 50), side=32)
    limits = "{timeout: 5, list_lag: 0, deadline: 20, poll: 0.1, concurrency: 2}"
    return served.manifest(shop, limits=limits, rows="sources: [{glob: 'many/*.png'}]\n")


def test_at_the_time_nothing_new_is_sent_and_what_is_in_flight_comes_home(
    cli: Cli, shop: Shop, serve: Callable[..., Served]
) -> None:
    """Exit code 6, nothing open, the bill is the ledger's; the same command goes on."""
    served = serve(latency=(0.8, 1.2))
    manifest = night(shop, served)
    moment = (datetime.now().astimezone() + timedelta(seconds=3)).isoformat()
    result = cli("run", manifest, "--until", moment, "--budget", "5", "-y")
    assert result.code == 6
    assert "the time to stop has come; the same command goes on" in result.out
    with database(shop.root / "out/.batchedit/ledger.db") as db:
        states = dict(db.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall())
        spent = db.execute("SELECT sum(cost_microusd) FROM attempts").fetchone()[0]
    assert set(states) == {"done", "pending"}
    assert served.audit()["billed_microusd_total"] == spent
    assert cli("run", manifest, "--budget", "5", "-y").code == 0


def until(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("arguments", [(), ("--json",), ("-q",)])
def test_a_signal_asks_and_disturbs_nothing(
    shop: Shop, serve: Callable[..., Served], arguments: tuple[str, ...]
) -> None:
    """Sent again and again, to the worker processes too: a line on stderr for each, the log has it, the night is whole."""
    served = serve(latency=(0.2, 0.4))
    manifest = night(shop, served)
    process = subprocess.Popen(
        [sys.executable, "-m", "batchedit", "run", manifest, "--budget", "5", "-y", "--log-file", "l.log", *arguments],
        cwd=shop.root, env={**os.environ, **EMULATORS}, start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    ledger = shop.root / "out/.batchedit/ledger.db"
    until(process, lambda: bool(list(shop.root.glob("out/*.png"))))
    for _ in range(5):
        os.killpg(process.pid, signal.SIGUSR1)
        time.sleep(0.15)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    lines = [line for line in err.splitlines() if line.startswith("status: ")]
    assert len(lines) >= 3  # two that come at once are one
    assert "of 20 done" in lines[0]
    assert "spent $" in lines[0]
    assert "status" not in out
    assert "asked by a signal: " in (shop.root / "l.log").read_text()
    with database(ledger) as db:
        assert db.execute("SELECT count(*) FROM attempts WHERE outcome = 'done'").fetchone()[0] == 20
    assert len(served.audit()["runs"]) == 20


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_stops_gently(shop: Shop, serve: Callable[..., Served], ignored: bool) -> None:
    """SIGHUP is as SIGTERM, unless it is to be ignored, as under nohup; the same command goes on."""
    served = serve(latency=(0.4, 0.6))
    manifest = night(shop, served, 8)
    words = [sys.executable, "-m", "batchedit", "run", str(manifest), "--budget", "5", "-y"]
    process = subprocess.Popen(
        ["sh", "-c", ("trap '' HUP; " if ignored else "") + "exec " + " ".join(words)], cwd=shop.root,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(process, lambda: bool(list(shop.root.glob("out/*.png"))))
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (0 if ignored else 143), err
    with database(shop.root / "out/.batchedit/ledger.db") as db:
        left = db.execute("SELECT count(*) FROM requests WHERE state NOT IN ('done', 'pending')").fetchone()[0]
    assert left == 0, out


def test_a_signal_before_anything_runs_ends_nothing(shop: Shop, jobs: Path) -> None:
    """Another command answers that there is no run."""
    process = waiting_for_its_window(shop)
    assert process.stderr is not None
    process.send_signal(signal.SIGUSR1)
    assert process.stderr.readline() == "status: the run is being prepared; nothing was sent\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def a_job(shop: Shop, served: Served, notify: str, **variables: str) -> subprocess.Popen[str]:
    """A job that has begun in a process of its own, and tells what it has to tell to a file as well."""
    shop.write(
        "job.yaml",
        f"job: 1\nmanifests: ['{night(shop, served, 3)}']\nout: out\nbudget: {{night: 5}}\nnotify:\n{notify}"
        "  - {via: exec, command: [sh, -c, 'cat > told.json']}\n",
    )
    return subprocess.Popen(
        [sys.executable, "-m", "batchedit", "job", "run", "job.yaml"], cwd=shop.root, start_new_session=True, text=True,
        env={**os.environ, **EMULATORS, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, restore_signals=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_is_stopped_before_it_sends_says_so(
    shop: Shop, serve: Callable[..., Served], number: signal.Signals
) -> None:
    """It hears signals also while no run goes on: nothing is sent, somebody is told, the exit code is documented."""
    served = serve()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        process = a_job(
            shop, served, "  - {via: heartbeat, url_env: BEAT}\n", BEAT=f"http://127.0.0.1:{server.getsockname()[1]}/"
        )
        with server.accept()[0]:  # it waits for an answer, and has sent nothing yet
            process.send_signal(number)
        with suppress(TimeoutError):
            server.accept()[0].close()  # that it has failed
        out, err = process.communicate(timeout=60)
    code = 130 if number == signal.SIGINT else 143
    assert process.returncode == code, err
    facts = json.loads((shop.root / "told.json").read_text())
    assert (facts["exit_code"], facts["spent"]) == (code, "0.00")
    assert "stopped by a signal; the same command goes on from here" in facts["reasons"][0]
    assert facts["reasons"][0] in out
    assert served.audit()["runs"] == []


def test_a_signal_while_people_are_told_keeps_nobody_from_being_told(shop: Shop, serve: Callable[..., Served]) -> None:
    """The night is over, and ends as it has ended; a second signal leaves at once."""
    served = serve()
    slow = "  - {via: exec, command: [sh, -c, 'touch telling; while ! test -e go; do sleep 0.05; done'], timeout: 60}\n"
    process = a_job(shop, served, slow)
    until(process, lambda: (shop.root / "telling").exists())
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    (shop.root / "go").touch()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads((shop.root / "told.json").read_text())["done"] == 3
    for name in ("telling", "go", "told.json"):
        (shop.root / name).unlink()
    process = a_job(shop, served, slow)
    until(process, lambda: (shop.root / "telling").exists())
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    (shop.root / "go").touch()  # that program outlives it
    assert process.returncode == -signal.SIGTERM
    assert not (shop.root / "told.json").exists()


def test_a_job_that_waits_for_its_window_says_why_it_ends(shop: Shop, jobs: Path) -> None:
    """Exit code 143, and that nothing was sent."""
    process = waiting_for_its_window(shop)
    assert process.stderr is not None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "stopped by a signal" in out
    assert "the window has not opened, and nothing was sent" in out
