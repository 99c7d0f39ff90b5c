"""The emulator's own books: billing, persistence, determinism, the control endpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchedit.emulator import Faults
from tests.emulator.lab import BEGIN, CREATE, SYNC, Lab, body, picture

TROUBLE = Faults(
    answer_lost=0.2,
    answer_cut=0.1,
    error_before=0.2,
    error_after=0.1,
    read_error=0.2,
    throttle=0.1,
    failed_transient=0.2,
    failed_unknown=0.1,
    stuck_running=0.1,
    duplicate_runs=0.1,
    fewer_outputs=0.1,
)


def night(lab: Lab, refs: list[str]) -> None:
    """One creation and one poll of everything, whatever comes of it."""
    for ref in refs:
        lab.is_cut("POST", CREATE, json=body(ref, quality="medium"))
        lab.wait(1.0)
    lab.wait(60.0)
    lab.is_cut("GET", "/v1/runs?limit=500")


def test_the_bill_is_the_sum_of_the_costs_on_the_records() -> None:
    """Balance, records and audit tell one story; what failed is not in it."""
    lab = Lab(TROUBLE, balance="50.00")
    night(lab, [f"r{number}" for number in range(40)])
    audit = lab.emulator.audit()
    states = {run["state"] for run in audit["runs"]}
    assert states == {"succeeded", "failed", "running"}
    assert audit["billed_microusd_total"] == 34_000 * sum(run["state"] == "succeeded" for run in audit["runs"])
    assert audit["billed_microusd_total"] == sum(entry["billed_microusd"] for entry in audit["by_client_ref"].values())
    assert audit["billed_runs_total"] == sum(entry["billed_runs"] for entry in audit["by_input"].values())
    assert audit["will_bill_microusd"] == 0
    looks = (lab.call("GET", "/v1/billing/balance") for _ in range(50))
    balance = float(next(look for look in looks if look.is_success).json()["balance"])
    assert balance == pytest.approx(50.0 - audit["billed_microusd_total"] / 1e6)


def test_what_will_be_billed_is_known_before() -> None:
    """And becomes what was billed."""
    lab = Lab()
    lab.created(num_images=2)
    before = lab.emulator.audit()
    assert (before["billed_microusd_total"], before["will_bill_microusd"]) == (0, 266_000)
    lab.wait()
    after = lab.emulator.audit()
    assert (after["billed_microusd_total"], after["will_bill_microusd"]) == (266_000, 0)


def test_the_audit_names_every_run() -> None:
    """Both forms, with everything a judge needs."""
    lab = Lab()
    run_id = lab.create("ref", idempotency_key="k").json()["id"]
    lab.edit()
    audit = lab.emulator.audit()
    first, second = audit["runs"]
    assert first == {
        "id": run_id,
        "client_ref": "ref",
        "idempotency_key": "k",
        "form": "runs",
        "input_sha256": first["input_sha256"],
        "state": "succeeded",
        "billed_microusd": 133_000,
        "created_at": BEGIN,
    }
    assert (second["form"], second["client_ref"]) == ("run", None)
    assert audit["by_input"] == {first["input_sha256"]: {"runs": 2, "billed_runs": 2, "billed_microusd": 266_000}}
    assert audit["starts"] == [BEGIN, BEGIN]


def test_requests_are_counted_by_method_route_and_status() -> None:
    """Ids are left out; refused calls count, too."""
    lab = Lab()
    run = lab.created()
    for _ in range(2):
        lab.get(f"/v1/runs/{run}")
    lab.call("GET", "/v1/runs", key=None)
    counts = lab.emulator.audit()["requests"]
    assert counts == {f"POST {CREATE} 201": 1, "GET /v1/runs/{id} 200": 2, "GET /v1/runs 401": 1}


def test_the_audit_is_the_same_in_python_and_over_http() -> None:
    """One set of books; looking changes nothing."""
    lab = Lab()
    lab.finished()
    assert lab.get("/emulator/audit", key=None) == json.loads(json.dumps(lab.emulator.audit()))


def test_a_run_is_billed_although_nobody_waits_for_it() -> None:
    """A synchronous call whose client has gone is paid all the same."""
    lab = Lab()
    lab.emulator.script("answer_lost")
    assert lab.is_cut("POST", SYNC, json=body(None)["input"])
    assert lab.emulator.audit()["billed_microusd_total"] == 133_000


def test_reset_forgets_everything() -> None:
    """As if the emulator were new, down to the ids."""
    lab = Lab(Faults(stuck_queued=0.5))
    first = lab.created()
    lab.emulator.script("credit_ended")
    lab.call("POST", "/emulator/reset", key=None)
    assert lab.emulator.audit() == Lab().emulator.audit()
    assert lab.created() == first


def test_health_needs_no_key() -> None:
    """Scripts wait for it."""
    assert Lab().get("/emulator/health", key=None)["status"] == "ok"


# -- persistence ---------------------------------------------------------------------------------------------


def test_the_books_survive_a_kill(tmp_path: Path) -> None:
    """A second emulator on the same folder goes on: states, bills, assets, keys, pictures, counts."""
    lab = Lab(state_dir=tmp_path / "state")
    asset = lab.upload(picture())
    first = lab.create("a", idempotency_key="k", image_urls=[f"runflow://assets/{asset}"]).json()
    before = lab.emulator.audit()
    later = Lab(state_dir=tmp_path / "state", begin=lab.now)
    assert later.emulator.audit() == before
    assert later.create("a", idempotency_key="k", image_urls=[f"runflow://assets/{asset}"]).json() == first
    later.wait()
    record = later.get(f"/v1/runs/{first['id']}")
    assert record["status_code"] == "succeeded"
    assert later.call("GET", record["output"]["outputs"][0]["url"]).status_code == 200
    assert later.runs("a") == 1


def test_a_killed_creation_that_was_accepted_happens(tmp_path: Path) -> None:
    """Nothing runs in the background that a restart could lose."""
    lab = Lab(Faults(accepted_late=1.0), state_dir=tmp_path)
    run = lab.created()
    later = Lab(state_dir=tmp_path, begin=BEGIN + 80.0)
    assert later.get("/v1/runs")["items"] == []
    later.wait(10.0)
    assert [item["id"] for item in later.get("/v1/runs")["items"]] == [run]


def test_draws_go_on_after_a_restart(tmp_path: Path) -> None:
    """The n-th creation of a reference has the same fate with and without a restart before it."""
    faults = Faults(failed_unknown=0.5)
    whole, fates = Lab(faults), []
    expected = [whole.finished()["status_code"] for _ in range(12)]
    for number in range(12):
        lab = Lab(faults, state_dir=tmp_path, begin=BEGIN + 11.0 * number)
        fates.append(lab.finished()["status_code"])
        lab.emulator.close()
    assert fates == expected
    assert len(set(expected)) == 2


# -- determinism ---------------------------------------------------------------------------------------------


def _story(seed: str, refs: list[str]) -> dict[str, Any]:
    lab = Lab(TROUBLE, seed=seed, latency=(5.0, 50.0))
    night(lab, refs)
    return lab.emulator.audit()


def test_the_same_seed_tells_the_same_story() -> None:
    """Ids, times, faults, bills; another seed tells another one."""
    refs = [f"r{number}" for number in range(20)]
    assert _story("a", refs) == _story("a", refs)
    assert _story("a", refs) != _story("b", refs)


def test_the_order_of_arrival_does_not_change_anybodys_fate() -> None:
    """Draws are keyed by the request, not shared. (Bursts of 429 are for whoever comes next, hence left out.)"""
    refs = [f"r{number}" for number in range(20)]
    fates = []
    for order in (refs, refs[::-1]):
        lab = Lab(Faults(error_before=0.3, failed_unknown=0.3, duplicate_runs=0.2), latency=(5.0, 50.0))
        night(lab, order)
        audit = lab.emulator.audit()
        fates.append((audit["by_client_ref"], audit["faults_fired"]))
    assert fates[0] == fates[1]


def test_the_same_seed_sells_the_same_pictures() -> None:
    """Bytes and all."""
    labs = [Lab(seed="x") for _ in range(2)]
    urls = [lab.finished()["output"]["outputs"][0]["url"] for lab in labs]
    assert urls[0] == urls[1]
    assert labs[0].call("GET", urls[0]).content == labs[1].call("GET", urls[1]).content
