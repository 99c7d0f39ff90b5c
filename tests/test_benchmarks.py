"""The benchmarks run and count what they say they count; how long anything takes is not a matter for a test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import beside, clients, report, scale, scenarios
from benchmarks.__main__ import table
from benchmarks.provider import Behaviour
from benchmarks.running import Ground, Job
from benchmarks.scenarios import Settings

EDITS = 12


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured, so nobody has to wait for the disk."""
    monkeypatch.setattr(os, "sync", lambda: None)


def test_overhead_buys_each_edit_once_and_counts_every_file(tmp_path: Path) -> None:
    settings = Settings(ground=Ground(tmp_path), part=EDITS / 5000, rounds=1, clients=("batchedit", "httpx"))
    result = scenarios.overhead(settings)
    (outcomes,) = result["rounds"]
    assert {outcome["client"] for outcome in outcomes} == {"batchedit", "httpx"}
    for outcome in outcomes:
        assert outcome["exit"] == 0
        assert outcome["edits"] == outcome["files"] == outcome["provider_runs"] == EDITS
        assert outcome["provider_billed_twice"] == outcome["provider_refusals"] == 0
    assert {row[0] for row in result["rows"]} == {"batchedit", "httpx"}
    assert [bar["holds"] for bar in result["bars"]] == [None, None]  # whom they speak of did not take part
    assert "not measured" in table(result)
    json.dumps(result)


def test_another_checkout_does_the_same(tmp_path: Path) -> None:
    """Both jobs, each by both; photos carry what is not sent."""
    settings = Settings(ground=Ground(tmp_path), part=0.005, rounds=1, beside=Path(__file__).parent.parent)
    result = beside.beside(settings)
    assert [(len(outcomes), outcomes[0]["job"]) for outcomes in result["rounds"]] == [
        (2, "pictures at URLs"), (2, "photos from here"),
    ]  # fmt: skip
    for outcome in (outcome for outcomes in result["rounds"] for outcome in outcomes):
        assert outcome["exit"] == 0
        assert outcome["edits"] == outcome["files"] == outcome["provider_runs"]
    assert len(result["bars"]) == 4
    assert "--beside" in table(beside.beside(Settings(ground=Ground(tmp_path))))


def test_pictures_are_cut_to_nothing_and_stay(tmp_path: Path) -> None:
    job = Job(behaviour=Behaviour(), count=3, in_flight=2, empty=True)
    outcome = clients.take(clients.CLIENTS["httpx"], job, Ground(tmp_path))
    assert outcome.files == 3
    assert [path.stat().st_size for path in tmp_path.rglob("*.png")] == [0, 0, 0]


def test_a_client_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    broken = clients.Client(name="broken", run=lambda job, origin, folder: (["false"], {}))
    with pytest.raises(SystemExit, match="broken: exit code 1, 0 of 3 pictures"):
        clients.take(broken, Job(behaviour=Behaviour(), count=3), Ground(tmp_path))


def test_who_is_missing_is_named() -> None:
    assert "not installed: no-such-program" in clients._lacks_programs("sh", "no-such-program")
    assert "bench" in clients._lacks_module("no_such_module")


def test_everybody_begins_a_round_and_has_other_neighbours() -> None:
    everybody: list[Any] = ["a", "b", "c"]
    orders = [scenarios.order(everybody, number) for number in range(6)]
    assert {each[0] for each in orders} == {each[-1] for each in orders} == set(everybody)
    assert all(set(each) == set(everybody) for each in orders)


def test_scale_resumes_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", (20,))
    result = scale.scale(Settings(ground=Ground(tmp_path)))
    ((figures,),) = result["rounds"]
    assert figures["tasks"] == 20
    assert figures["run"]["samples"][-1][0] == 20
    assert figures["resume"]["exit"] == figures["compare"]["exit"] == 0


def test_report_tells_all_tasks_of_a_ledger_that_was_written_for_it(tmp_path: Path) -> None:
    result = report.report(Settings(ground=Ground(tmp_path), part=600 / report.TASKS, rounds=1))
    ((figures,),) = result["rounds"]
    assert set(figures) == {"text", "json", "page"}
    assert all(each["seconds"] > 0 and each["memory_bytes"] > 0 for each in figures.values())
    assert figures["page"]["written_bytes"] == next(tmp_path.glob("*-report/page.html")).stat().st_size
    said = json.loads(next(tmp_path.glob("*-report/json.out")).read_text())
    assert said["tasks"] == {"done": 594, "failed": 2, "lost": 2, "suspect": 2}
    assert said["total"]["attempts"] == 600 + 24
    assert said["total"]["spent"] == f"{0.133 * 598:.3f}"
    assert len(result["bars"]) == 4
