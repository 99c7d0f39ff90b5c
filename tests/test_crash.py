"""kill -9, signals, second processes: real processes, a real socket, the emulator's bill as the judge."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture, insist

Cli = Callable[..., Result]
Serve = Callable[..., Served]
COUNT = 12


@pytest.fixture
def night(shop: Shop, serve: Serve) -> Served:
    """Twelve edits of different pictures, slow enough to be interrupted."""
    for number in range(COUNT):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (20 * number, 90, 200 - 10 * number), side=64)
    served = serve(latency=(0.2, 0.5), create_delay=(0.02, 0.1))
    limits = "{timeout: 1, list_lag: 0, deadline: 20, poll: 0.1, concurrency: 4}"
    served.manifest(shop, rows="sources:\n  - glob: many/*.png\n", limits=limits)
    return served


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something that another process does has happened."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def kill_after(shop: Shop, night: Served, starts: int) -> None:
    """Run until so many creations have come in, or to the end, and kill."""
    process = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
    wait_for(lambda: len(night.audit()["starts"]) >= starts or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_kill_9_in_the_middle_then_the_same_command(shop: Shop, night: Served, cli: Cli) -> None:
    """Killed three times at different moments: everything finishes, one bill per request, every file complete."""
    for moment in (1, 5, 9):
        kill_after(shop, night, moment)
    result = cli("run", "night.yaml", "--out", "out", "--json", "--no-input")
    assert result.code == 0, result.err + result.out
    audit = night.audit()
    assert [entry["billed_runs"] for entry in audit["by_client_ref"].values()] == [1] * COUNT
    assert len(shop.outputs()) == COUNT
    report = cli("report", "out", "--json").json()
    assert report["total"]["at_risk"] == "0.00"
    assert round(float(report["total"]["spent"]) * 1_000_000) == audit["billed_microusd_total"]
    assert cli("check", "out/*.png", "--prompt", "xx", "--out", "other").code == 0


def test_killed_between_sending_and_the_answer(shop: Shop, serve: Serve, cli: Cli) -> None:
    """The worst moment: the provider has accepted, the program dies before it hears of it. Found by reference."""
    served = serve(create_delay=(1.0, 1.0))
    limits = "{timeout: 5, list_lag: 0, poll: 0.1}"
    served.manifest(shop, rows="items:\n  - {id: a, image: in/mug.png}\n", limits=limits)
    process = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
    wait_for(lambda: bool(served.audit()["runs"]))
    process.kill()
    process.communicate()
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert plan["counts"]["unknown"] == 1
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    assert len(served.audit()["starts"]) == 1
    assert served.audit()["billed_runs_total"] == 1


def test_a_killed_rehearsal_goes_on_where_it_was(shop: Shop, cli: Cli) -> None:
    """The rehearsal's own books survive, so accepted runs are followed and nothing is bought twice."""
    for number in range(COUNT):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (20 * number, 90, 200 - 10 * number), side=64)
    arguments = ("run", "many/*.png", "--prompt", "grayscale", "--out", "out", "-q")
    process = command(*arguments, cwd=shop.root)
    wait_for(lambda: len(shop.outputs()) >= 3)
    process.kill()
    process.communicate()
    result = cli(*arguments)
    assert result.code == 0, result.err + result.out
    with database("out/.batchedit/provider/emulator.db") as books:
        assert books.execute("SELECT count(*), count(DISTINCT client_ref) FROM runs").fetchone() == (COUNT, COUNT)
    assert len(shop.outputs()) == COUNT


def test_a_crash_does_not_refill_the_budget(shop: Shop, night: Served, cli: Cli) -> None:
    """What an interrupted run spent counts against the budget of the run that goes on with it."""
    arguments = ("run", "night.yaml", "--out", "out", "-q", "--budget", "0.08", "--no-input")
    process = command(*arguments, cwd=shop.root, key=KEY)
    wait_for(lambda: len(night.audit()["starts"]) >= 4)
    process.kill()
    process.communicate()
    result = cli(*arguments, "--json")
    assert result.code == 6, result.out
    audit = night.audit()
    assert audit["billed_microusd_total"] + audit["will_bill_microusd"] <= 80_000
    assert audit["billed_runs_total"] == 8


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_what_is_in_flight_finish(
    shop: Shop, night: Served, cli: Cli, number: signal.Signals, code: int
) -> None:
    """Nothing new is sent, nothing that was sent is left behind, and the exit code says which signal it was."""
    process = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
    wait_for(lambda: len(night.audit()["starts"]) >= 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "the same command goes on from here" in out
    audit = night.audit()
    assert audit["will_bill_microusd"] == 0
    assert audit["billed_runs_total"] == len(audit["starts"]) == len(shop.outputs()) < COUNT
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    assert [entry["billed_runs"] for entry in night.audit()["by_client_ref"].values()] == [1] * COUNT


def test_the_second_signal_stops_at_once(shop: Shop, serve: Serve, cli: Cli) -> None:
    """Accepted runs are left to the next start, which pays nothing for them."""
    served = serve(latency=(15.0, 15.0))
    served.manifest(shop, limits="{timeout: 5, list_lag: 0, deadline: 60, poll: 0.1}")
    process = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
    wait_for(lambda: len(served.audit()["runs"]) == 3)
    wait_for(lambda: states(shop)["accepted"] == 3)
    insist(process)
    assert process.returncode == 130
    assert states(shop)["accepted"] == 3, "they were not waited for"
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    assert len(served.audit()["starts"]) == 3


def states(shop: Shop) -> dict[str, int]:
    with database(shop.root / "out/.batchedit/ledger.db") as db:
        found: dict[str, int] = dict(db.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall())
        return {"accepted": 0, **found}


def test_a_second_process_is_told_who_holds_the_ledger(shop: Shop, night: Served, cli: Cli) -> None:
    """Exit code 8, nothing sent; reading goes on meanwhile; a dead owner's lock is taken over."""
    process = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
    wait_for(lambda: Path("out/.batchedit/lock").exists() and bool(night.audit()["starts"]))
    second = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert second.code == 8
    assert f"process {process.pid}" in second.err
    assert cli("status", "out").code == 0
    process.kill()
    process.communicate()
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    assert [entry["billed_runs"] for entry in night.audit()["by_client_ref"].values()] == [1] * COUNT
