"""What a job writes down while it goes on: events and a log, by its file, by flags and by settings; and who watches."""

from __future__ import annotations

import json
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from batchedit import logs
from batchedit.jobs import load_job
from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture

Cli = Callable[..., Result]


@pytest.fixture
def job(shop: Shop) -> Callable[[str], Path]:
    """Writes a job of three pictures."""
    shop.write("night.yaml", "version: 1\ndefaults: {prompt: grayscale, quality: low}\nsources: [{glob: 'in/*.png'}]\n")
    return lambda more: shop.write("j.yaml", f"job: 1\nname: n\nmanifests: [night.yaml]\n{more}")


def test_events_and_log_are_as_those_of_runs(cli: Cli, shop: Shop, job: Callable[[str], Path]) -> None:
    """Every change of the ledger once, in its order, over pilot, rest and a further start; private files."""
    job("pilot: {tasks: 1}\nbudget: {run: 1}\nevents: 'e/{{ name }}.ndjson'\n"
        "log: {file: 'l/{{ name }}.log', format: json, every_change: true}\n")  # fmt: skip
    for _ in range(2):
        assert cli("job", "run", "j.yaml", "-q").code == 0
    lines = [json.loads(line) for line in (shop.root / "e/n.ndjson").read_text().splitlines()]
    with database(shop.root / "out/.batchedit/ledger.db") as db:
        expected = [row[0] for row in db.execute("SELECT id FROM events ORDER BY id")]
    assert [line["id"] for line in lines] == expected
    check = Draft202012Validator(cli("schema", "--of", "events").json())
    assert not [error for line in lines for error in check.iter_errors(line)]
    log = [json.loads(line) for line in (shop.root / "l/n.log").read_text().splitlines()]
    assert sum("event" in line for line in log) == len(lines)
    assert sum("ended with exit code 0" in line["message"] for line in log) >= 2
    for name in ("e/n.ndjson", "l/n.log"):
        assert stat.S_IMODE((shop.root / name).stat().st_mode) == 0o600


def test_a_log_without_every_change_is_short(cli: Cli, shop: Shop, job: Callable[[str], Path]) -> None:
    """When it began and ended, and no line for each change."""
    job("log: n.log\n")
    assert cli("job", "run", "j.yaml").code == 0
    text = (shop.root / "n.log").read_text()
    assert "3 to buy" in text
    assert "->" not in text


def test_a_log_is_moved_aside_at_its_size(
    cli: Cli, shop: Shop, job: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the job's own numbers: so many are kept, and none grows larger."""
    path = job("log: {file: n.log, max_mb: 1, keep: 2, every_change: true}\n")
    log = load_job(path).log
    assert log is not None
    assert (log.largest_bytes, log.kept) == (1_000_000, 2)
    (shop.root / "n.log").write_text("x" * 999_990 + "\n")
    (shop.root / "n.log.1").write_text("older\n")
    (shop.root / "n.log.2").write_text("oldest\n")
    assert cli("job", "run", "j.yaml").code == 0
    assert (shop.root / "n.log.1").stat().st_size == 999_991
    assert (shop.root / "n.log.2").read_text() == "older\n"
    assert not (shop.root / "n.log.3").exists()
    assert logs.LOGGER.handlers[1:] == []


def test_what_cannot_be_written_is_found_before_anything_is_sent(
    cli: Cli, shop: Shop, job: Callable[[str], Path]
) -> None:
    """A log that is a folder: exit code 9; events that are something else: 2, and the file is left alone."""
    (shop.root / "n.log").mkdir()
    job("log: n.log\n")
    result = cli("job", "run", "j.yaml")
    assert result.code == 9
    assert "the log" in result.out
    assert not (shop.root / "out").exists()
    shop.write("e.ndjson", "my diary\n")
    job("events: e.ndjson\n")
    result = cli("job", "run", "j.yaml")
    assert result.code == 2
    assert "holds something else than events" in result.out
    assert (shop.root / "e.ndjson").read_text() == "my diary\n"
    assert shop.outputs() == []


def test_flags_and_environment_stand_above_the_file_and_settings_below(
    cli: Cli, shop: Shop, job: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `run`; also pace: what the ledger says was in force."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shop.root / "home"))
    shop.write("home/batchedit/config.toml", 'events = "user.ndjson"\nlog_file = "user.log"\n')
    job("events: own.ndjson\nlimits: {rpm: 120}\n")
    monkeypatch.setenv("BATCHEDIT_RATE", "240")
    assert cli("job", "run", "j.yaml").code == 0
    assert (shop.root / "own.ndjson").exists()
    assert (shop.root / "user.log").exists()
    assert not (shop.root / "user.ndjson").exists()
    with database(shop.root / "out/.batchedit/ledger.db") as db:
        facts = json.loads(db.execute("SELECT facts FROM runs").fetchone()[0])
    assert ["requests per minute", "240", "environment"] in facts["settings"]
    result = cli("job", "run", "j.yaml", "--events", "-")
    assert result.out == "", "stdout is for events alone"
    assert "n: finished" in result.err
    result = cli("job", "run", "j.yaml", "--events", "-", "--json")
    assert (result.code, "both want stdout" in result.err) == (2, True)


def test_a_job_takes_its_key_from_where_settings_say(
    cli: Cli, shop: Shop, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that prints it: as for `run`, and it sees no other key."""
    serve().manifest(shop)
    monkeypatch.delenv("RUNFLOW_API_KEY")
    shop.write("job.yaml", "job: 1\nmanifests: [night.yaml]\n")
    program = f"import os, sys; open('given', 'w').write(str(dict(os.environ))); print('{KEY}')"
    shop.write("key.py", program)
    monkeypatch.setenv("BATCHEDIT_KEY_COMMAND", f"{sys.executable} key.py")
    assert cli("job", "run", "job.yaml").code == 0
    assert "PATH" in (shop.root / "given").read_text()


def test_another_shell_watches_the_job_to_its_end(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """By the job's file; between its pilot and the rest it goes on watching."""
    for number in range(8):
        draw_picture(shop.root / "in" / f"p{number}.png", (number * 25, 50, 50), side=64)
    serve(latency=(0.3, 0.5)).manifest(shop)
    shop.write("job.yaml", "job: 1\nname: n\nmanifests: [night.yaml]\nlimits: {concurrency: 2}\npilot: {tasks: 2}\n")
    run = command("job", "run", "job.yaml", "-q", cwd=shop.root, key=KEY)
    ledger, end = shop.root / "out/.batchedit/ledger.db", time.monotonic() + 30
    while not ledger.exists() and time.monotonic() < end:
        time.sleep(0.02)
    watch = command("status", "job.yaml", "--watch", "--every", "0.2", "--json", cwd=shop.root)
    out, err = watch.communicate(timeout=60)
    _, said = run.communicate(timeout=60)
    assert (run.returncode, watch.returncode) == (0, 0), err + said
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["run"] for line in lines} >= {1, 2}
    assert lines[0]["job"] == "n"
    assert (lines[-1]["going_on"], lines[-1]["job"], lines[-1]["states"]["done"]) == (False, None, 11)
    assert "done 11" in cli("status", "job.yaml").out
