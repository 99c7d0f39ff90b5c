"""Every fault fires and does what it says: each claim below is the check of one field of `Faults`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from PIL import UnidentifiedImageError

from batchedit.emulator import Faults
from batchedit.emulator.settings import FAULT_NAMES, PARAMETERS
from tests.emulator.lab import BEGIN, CREATE, SYNC, Lab, body, size_of

Check = Callable[[], None]
CHECKS: dict[str, Check] = {}


def claims(fault: str) -> Callable[[Check], Check]:
    """Marks the check of one fault."""

    def add(check: Check) -> Check:
        assert fault not in CHECKS
        CHECKS[fault] = check
        return check

    return add


@pytest.mark.parametrize("fault", [field.name for field in fields(Faults)])
def test_every_fault_does_what_it_says(fault: str) -> None:
    """A fault without a check fails here."""
    CHECKS[fault]()


@pytest.mark.parametrize("fault", FAULT_NAMES)
def test_a_probability_is_from_0_to_1(fault: str) -> None:
    """Anything else is a typing mistake."""
    for value in (-0.1, 1.1):
        values: dict[str, Any] = {fault: value}
        with pytest.raises(ValueError, match=f"fault {fault} "):
            Faults(**values)


@pytest.mark.parametrize("parameter", sorted(PARAMETERS - {"clock_skew"}))
def test_a_parameter_is_not_negative(parameter: str) -> None:
    """A clock may be off in both directions, the rest cannot."""
    values: dict[str, Any] = {parameter: -1}
    with pytest.raises(ValueError, match=f"fault {parameter} "):
        Faults(**values)


def test_nothing_goes_wrong_by_default() -> None:
    """An emulator without faults fires none."""
    lab = Lab()
    url = lab.finished()["output"]["outputs"][0]["url"]
    lab.call("GET", url)
    assert lab.emulator.audit()["faults_fired"] == {}


# -- the answer to a creation --------------------------------------------------------------------------------


@claims("answer_lost")
def answer_lost() -> None:
    """Both forms act, and answer nothing."""
    lab = Lab(Faults(answer_lost=1.0))
    assert lab.is_cut("POST", CREATE, json=body("ref"))
    assert lab.is_cut("POST", SYNC, json=body(None)["input"])
    assert len(lab.emulator.audit()["runs"]) == 2
    assert lab.emulator.audit()["faults_fired"] == {"answer_lost": 2}


@claims("answer_cut")
def answer_cut() -> None:
    """Both forms act, and break off in the middle."""
    lab = Lab(Faults(answer_cut=1.0))
    assert lab.is_cut("POST", CREATE, json=body("ref"))
    assert lab.is_cut("POST", SYNC, json=body(None)["input"])
    assert len(lab.emulator.audit()["runs"]) == 2


@claims("answer_delayed")
def answer_delayed() -> None:
    """The run is old when its answer comes."""
    lab = Lab(Faults(answer_delayed=1.0))
    run = lab.created()
    assert lab.now == BEGIN + 90.0
    assert lab.get(f"/v1/runs/{run}")["status_code"] == "succeeded"


@claims("accepted_late")
def accepted_late() -> None:
    """Nobody finds the run before; then it is as new as its answer. The audit knows it is coming."""
    lab = Lab(Faults(accepted_late=1.0, delay_seconds=40.0))
    run = lab.created()
    assert lab.now == BEGIN + 40.0
    assert lab.get(f"/v1/runs/{run}")["status_code"] in ("dispatching", "running")
    lab.wait(-1.0)
    assert lab.call("GET", f"/v1/runs/{run}").status_code == 404
    assert lab.get("/v1/runs")["items"] == []
    assert lab.emulator.audit()["will_bill_microusd"] == 133_000


@claims("delay_seconds")
def delay_seconds() -> None:
    """The length of the delay; a script may have its own."""
    lab = Lab(Faults(answer_delayed=1.0, delay_seconds=7.0))
    lab.created("a")
    assert lab.now == BEGIN + 7.0
    lab.emulator.script("answer_delayed", seconds=3.0)
    lab.created("b")
    assert lab.now == BEGIN + 10.0


@claims("error_before")
def error_before() -> None:
    """A 5xx, and nothing happened."""
    lab = Lab(Faults(error_before=1.0))
    statuses = {lab.create(f"r{number}").status_code for number in range(40)}
    assert statuses == {500, 502, 503, 504}
    assert lab.emulator.audit()["runs"] == []


@claims("error_after")
def error_after() -> None:
    """A 5xx, and the run was made."""
    lab = Lab(Faults(error_after=1.0))
    statuses = {lab.create(f"r{number}").status_code for number in range(40)}
    assert statuses == {500, 502, 503, 504}
    assert len(lab.emulator.audit()["runs"]) == 40


@claims("read_error")
def read_error() -> None:
    """A 5xx to polls and lists; creations are spared."""
    lab = Lab(Faults(read_error=1.0))
    run = lab.created()
    assert lab.call("GET", f"/v1/runs/{run}").status_code >= 500
    assert lab.call("GET", "/v1/runs").status_code >= 500


@claims("throttle")
def throttle() -> None:
    """A 429, and no run."""
    lab = Lab(Faults(throttle=1.0))
    answer = lab.create()
    assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMITED")
    assert lab.emulator.audit()["runs"] == []


@claims("burst_length")
def burst_length() -> None:
    """One strike refuses so many calls in all, whoever makes them."""
    lab = Lab(Faults(burst_length=4))
    lab.emulator.script("throttle")
    assert [lab.call("GET", "/v1/auth/me").status_code for _ in range(6)] == [429] * 4 + [200] * 2
    lab.emulator.script("throttle", length=1)
    assert [lab.call("GET", "/v1/auth/me").status_code for _ in range(2)] == [429, 200]


# -- the account ---------------------------------------------------------------------------------------------


@claims("credit_ended")
def credit_ended() -> None:
    """A 402 to this creation."""
    lab = Lab()
    lab.emulator.script("credit_ended", match={"client_ref": "b"})
    assert [lab.create(ref).status_code for ref in "abc"] == [201, 402, 201]


@claims("credit_ends_after")
def credit_ends_after() -> None:
    """A 402 from then on; what runs is finished, and answers are replayed."""
    lab = Lab(Faults(credit_ends_after=2))
    first = lab.create("a", idempotency_key="k").json()["id"]
    assert [lab.create(ref).status_code for ref in "bc"] == [201, 402]
    assert lab.edit().status_code == 402
    assert lab.create("a", idempotency_key="k").status_code == 201
    lab.wait()
    assert lab.get(f"/v1/runs/{first}")["status_code"] == "succeeded"


@claims("key_refused")
def key_refused() -> None:
    """A 401 to this call."""
    lab = Lab()
    lab.emulator.script("key_refused", match={"client_ref": "b"})
    assert [lab.create(ref).status_code for ref in "abc"] == [201, 401, 201]


@claims("key_revoked_after")
def key_revoked_after() -> None:
    """A 401 from then on."""
    lab = Lab(Faults(key_revoked_after=3))
    assert [lab.create(ref).status_code for ref in "abcde"] == [201] * 3 + [401] * 2


# -- the fate of a run ---------------------------------------------------------------------------------------


@claims("stuck_queued")
def stuck_queued() -> None:
    """Never started, never billed."""
    lab = Lab(Faults(stuck_queued=1.0))
    assert _after_a_day(lab)["status_code"] == "queued"


@claims("stuck_running")
def stuck_running() -> None:
    """Started, never ended, never billed."""
    lab = Lab(Faults(stuck_running=1.0))
    record = _after_a_day(lab)
    assert record["status_code"] == "running"
    assert record["started_at"]


def _after_a_day(lab: Lab) -> dict[str, Any]:
    run = lab.created()
    lab.wait(86_400.0)
    audit = lab.emulator.audit()
    assert audit["billed_microusd_total"] == audit["will_bill_microusd"] == 0
    record: dict[str, Any] = lab.get(f"/v1/runs/{run}")
    return record


def _failure(fault: str) -> str:
    """Code, message and stage of the failure, after everything that all failures share was checked."""
    lab = Lab()
    lab.emulator.script(fault)
    record = lab.finished()
    assert record["status_code"] == "failed"
    assert record["output"] is record["cost"] is None
    assert record["completed_at"]
    assert lab.emulator.audit()["billed_microusd_total"] == 0
    return f"{record['failure_code']} {record['failure_message']} {record['failure_stage_code']}"


@claims("failed_validation")
def failed_validation() -> None:
    """As documented."""
    assert _failure("failed_validation").startswith("INPUT_VALIDATION_FAILED")


@claims("failed_moderation")
def failed_moderation() -> None:
    """No code is published; the words are those that clients look for."""
    assert "safety" in _failure("failed_moderation")


@claims("failed_transient")
def failed_transient() -> None:
    """The provider behind the provider."""
    assert "unavailable" in _failure("failed_transient")


@claims("failed_unknown")
def failed_unknown() -> None:
    """A code that says nothing."""
    assert _failure("failed_unknown").startswith("E1234")


@claims("failed_first")
def failed_first() -> None:
    """The first run fails, every later one of the same reference succeeds; of another reference it is the first."""
    lab = Lab(Faults(failed_first=1.0))
    assert [lab.finished(ref)["status_code"] for ref in "aaba"] == ["failed", "succeeded", "failed", "succeeded"]
    assert [lab.edit(prompt="sepia").status_code for _ in range(2)] == [422, 200]


@claims("cancelled")
def cancelled() -> None:
    """By somebody else; not billed."""
    record = Lab(Faults(cancelled=1.0)).finished()
    assert (record["status_code"], record["cost"]) == ("canceled", None)


@claims("duplicate_runs")
def duplicate_runs() -> None:
    """Two runs of one reference, both found, both billed."""
    lab = Lab(Faults(duplicate_runs=1.0))
    lab.finished()
    assert len(lab.get("/v1/runs", params={"q": "client_ref:ref"})["items"]) == 2
    assert lab.emulator.audit()["by_client_ref"]["ref"] == {"runs": 2, "billed_runs": 2, "billed_microusd": 266_000}


@claims("poll_missing")
def poll_missing() -> None:
    """Polls do not find it at first; the list does."""
    lab = Lab(Faults(poll_missing=1.0))
    run = lab.created()
    assert lab.call("GET", f"/v1/runs/{run}").json()["code"] == "RUN_NOT_FOUND"
    assert len(lab.get("/v1/runs")["items"]) == 1
    lab.wait(5.0)
    assert lab.get(f"/v1/runs/{run}")["status_code"] == "running"


@claims("missing_seconds")
def missing_seconds() -> None:
    """For that long."""
    lab = Lab(Faults(poll_missing=1.0, missing_seconds=20.0))
    run = lab.created()
    lab.wait(19.0)
    assert lab.call("GET", f"/v1/runs/{run}").status_code == 404
    lab.wait(1.0)
    assert lab.call("GET", f"/v1/runs/{run}").status_code == 200


@claims("clock_skew")
def clock_skew() -> None:
    """Every stamp is off by it; the time between two stamps is not."""
    plain, skewed = Lab().finished(), Lab(Faults(clock_skew=-3600.0)).finished()
    assert plain["created_at"].startswith("2027-01-15T08:00:00")
    assert skewed["created_at"].startswith("2027-01-15T07:00:00")
    assert skewed["duration_ms"] == plain["duration_ms"]


# -- pictures ------------------------------------------------------------------------------------------------


def _fetches(fault: str, **fields: Any) -> tuple[Any, Any]:
    """The answers to one fetch with the fault and one without."""
    lab = Lab()
    url = lab.finished(**fields)["output"]["outputs"][0]["url"]
    lab.emulator.script(fault)
    return lab.call("GET", url), lab.call("GET", url)


@claims("output_forbidden")
def output_forbidden() -> None:
    """This fetch is refused as if its URL had expired."""
    assert [answer.status_code for answer in _fetches("output_forbidden")] == [403, 200]


@claims("output_gone")
def output_gone() -> None:
    """Every fetch is refused, however fresh its URL; the run is billed all the same."""
    lab = Lab(Faults(output_gone=1.0))
    record = lab.finished()
    for _ in range(2):
        url = lab.get(f"/v1/runs/{record['id']}")["output"]["outputs"][0]["url"]
        assert lab.call("GET", url).status_code == 410
    assert lab.emulator.audit()["billed_runs_total"] == 1


@claims("output_truncated")
def output_truncated() -> None:
    """Half of it, and the length says so: only decoding can tell."""
    broken, whole = _fetches("output_truncated")
    assert whole.content.startswith(broken.content)
    assert int(broken.headers["content-length"]) == len(broken.content) < len(whole.content)
    with pytest.raises((OSError, UnidentifiedImageError)):
        size_of(broken.content)


@claims("output_corrupt")
def output_corrupt() -> None:
    """All of it, with some bytes altered."""
    broken, whole = _fetches("output_corrupt")
    assert len(broken.content) == len(whole.content)
    assert 1 <= sum(a != b for a, b in zip(broken.content, whole.content, strict=True)) <= 64


@claims("output_trailing")
def output_trailing() -> None:
    """All of it, and a web page behind its end."""
    broken, whole = _fetches("output_trailing")
    assert broken.content.startswith(whole.content)
    assert b"<script>" in broken.content[len(whole.content) :]
    assert size_of(broken.content) == size_of(whole.content)


@claims("output_cut")
def output_cut() -> None:
    """The connection ends in the middle of the picture."""
    lab = Lab()
    url = lab.finished()["output"]["outputs"][0]["url"]
    lab.emulator.script("output_cut")
    assert lab.is_cut("GET", url)
    assert lab.call("GET", url).status_code == 200


@claims("wrong_media_type")
def wrong_media_type() -> None:
    """The header speaks of a web page; the bytes are the picture."""
    wrong, right = _fetches("wrong_media_type")
    assert wrong.headers["content-type"].startswith("text/html")
    assert wrong.content == right.content


@claims("wrong_type")
def wrong_type() -> None:
    """Another format than asked for, and the header tells the truth about it."""
    for asked, came in {"png": "jpeg", "jpeg": "png", "webp": "png"}.items():
        lab = Lab(Faults(wrong_type=1.0))
        url = lab.finished(output_format=asked)["output"]["outputs"][0]["url"]
        assert lab.call("GET", url).headers["content-type"] == f"image/{came}"


@claims("wrong_size")
def wrong_size() -> None:
    """Another size than asked for."""
    lab = Lab(Faults(wrong_size=1.0))
    url = lab.finished(image_size="1024x768")["output"]["outputs"][0]["url"]
    assert size_of(lab.call("GET", url).content) != (1024, 768)


@claims("fewer_outputs")
def fewer_outputs() -> None:
    """One less, at the same price; the synchronous form, too."""
    lab = Lab(Faults(fewer_outputs=1.0))
    record = lab.finished(num_images=3)
    assert len(record["output"]["outputs"]) == 2
    assert record["cost"] == "0.399"
    assert len(lab.edit(num_images=4).json()["images"]) == 3


# -- scripts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "struck"),
    [
        ({}, "a"),
        ({"client_ref": "b"}, "b"),
        ({"prompt_contains": "sepia"}, "c"),
        ({"method": "POST", "path_contains": "/runs", "client_ref": "c"}, "c"),
        ({"client_ref_contains": "b"}, "b"),
        ({"method": "GET"}, ""),
    ],
)
def test_a_script_strikes_the_next_call_that_matches(match: dict[str, str], struck: str) -> None:
    """All that is named must fit; once is once."""
    lab = Lab()
    order = {"fault": "error_before", "match": match, "times": 1, "options": {"status": 503}}
    assert lab.call("POST", "/emulator/faults", json=order, key=None).status_code == 200
    prompts = {"a": "crop", "b": "grayscale", "c": "a sepia tone", "d": "sepia"}
    answers = {ref: lab.create(ref, prompt=prompt).status_code for ref, prompt in prompts.items()}
    assert "".join(ref for ref, status in answers.items() if status == 503) == struck


def test_a_script_strikes_as_often_as_ordered() -> None:
    """And is then used up."""
    lab = Lab()
    lab.emulator.script("credit_ended", times=2)
    assert [lab.create(ref).status_code for ref in "abc"] == [402, 402, 201]


def test_a_script_that_names_a_path_strikes_any_call() -> None:
    """Also uploads, storage and reads, which are drawn no such faults."""
    lab = Lab()
    ticket = lab.ticket(3)
    lab.emulator.script("error_before", match={"path_contains": "/storage/uploads/"}, status=500)
    headers = {"content-type": "image/png"}
    puts = [lab.call("PUT", ticket["upload_url"], content=b"abc", headers=headers).status_code for _ in range(2)]
    assert puts == [500, 200]
    lab.emulator.script("answer_lost", match={"method": "GET", "path": "/v1/auth/me"})
    assert lab.is_cut("GET", "/v1/auth/me")
    assert not lab.is_cut("GET", "/v1/auth/me")


def test_a_script_can_name_the_run_of_a_poll() -> None:
    """By its reference or by its prompt."""
    lab = Lab()
    ids = {ref: lab.created(ref) for ref in "ab"}
    lab.emulator.script("read_error", match={"client_ref": "b"})
    assert [lab.call("GET", f"/v1/runs/{ids[ref]}").is_success for ref in "abb"] == [True, False, True]


def test_scripts_can_be_taken_back() -> None:
    """`DELETE` clears those that have not struck."""
    lab = Lab()
    lab.emulator.script("credit_ended")
    assert lab.call("DELETE", "/emulator/faults", key=None).json() == {"scripts": 0}
    assert lab.create().status_code == 201


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"fault": "nonsense"},
        {"fault": "answer_lost", "match": {"colour": "red"}},
        {"fault": "answer_lost", "match": "POST"},
        {"fault": "answer_lost", "times": 0},
        {"fault": "answer_lost", "times": "2"},
        {"fault": "answer_lost", "status": 500},
    ],
)
def test_an_order_that_is_not_understood_is_a_422(order: dict[str, Any]) -> None:
    """A script that could never strike would make a test pass for nothing."""
    assert Lab().call("POST", "/emulator/faults", json=order, key=None).status_code == 422
