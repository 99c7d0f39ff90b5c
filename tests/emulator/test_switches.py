"""Every switch and every value of it: each claim below is the check of one field of `Switches`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import fields
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest

from batchedit.emulator import Switches
from batchedit.emulator.settings import CREATE_STATUSES, SWITCH_VALUES
from tests.emulator.lab import CREATE, PHOTO_URL, Lab, body, picture

Check = Callable[[], None]
CHECKS: dict[str, Check] = {}


def claims(switch: str) -> Callable[[Check], Check]:
    """Marks the check of one switch."""

    def add(check: Check) -> Check:
        assert switch not in CHECKS
        CHECKS[switch] = check
        return check

    return add


@pytest.mark.parametrize("switch", [field.name for field in fields(Switches)])
def test_every_switch_does_what_it_says(switch: str) -> None:
    """A switch without a check fails here."""
    CHECKS[switch]()


@pytest.mark.parametrize("switch", SWITCH_VALUES)
def test_a_switch_refuses_other_words(switch: str) -> None:
    """And names the allowed ones."""
    values: dict[str, Any] = {switch: "sideways"}
    with pytest.raises(ValueError, match=f"switch {switch} .*allowed are {SWITCH_VALUES[switch][0]}"):
        Switches(**values)


@pytest.mark.parametrize("switch", SWITCH_VALUES)
def test_the_default_is_the_first_value(switch: str) -> None:
    """As in provider-api, section 16."""
    assert getattr(Switches(), switch) == SWITCH_VALUES[switch][0]


@pytest.mark.parametrize(
    "values",
    [
        {"create_status": 204},
        {"latency": (5.0, 1.0)},
        {"create_delay": (-1.0, 1.0)},
        {"url_ttl": -1.0},
        {"rate_limit_per_minute": -1},
        {"balance": "much"},
        {"balance": "NaN"},
    ],
)
def test_a_switch_refuses_other_numbers(values: dict[str, Any]) -> None:
    """A typing mistake must not become a behaviour."""
    with pytest.raises(ValueError, match=f"switch {next(iter(values))} "):
        Switches(**values)


# -- creating ------------------------------------------------------------------------------------------------


@claims("create_status")
def create_status() -> None:
    """Each 2xx that was seen; a replay has the same."""
    for status in CREATE_STATUSES:
        lab = Lab(create_status=status)
        assert [lab.create(idempotency_key="k").status_code for _ in range(2)] == [status] * 2


@claims("id_key")
def id_key() -> None:
    """`id`, `run_id` or both on the answer; always `id` on a poll."""
    for form, names in {"id": {"id"}, "run_id": {"run_id"}, "both": {"id", "run_id"}}.items():
        lab = Lab(id_key=form)
        created = lab.create().json()
        assert names == set(created) & {"id", "run_id"}
        assert lab.get(f"/v1/runs/{created[min(names)]}")["id"] == created[max(names)]


@claims("create_delay")
def create_delay() -> None:
    """The answer takes that long."""
    lab = Lab(create_delay=(3.0, 4.0))
    before = lab.now
    lab.create()
    assert 3.0 <= lab.now - before <= 4.0


@claims("create_commits")
def create_commits() -> None:
    """The run is made at the end of the delay, or at its start."""
    ages = {}
    for when in SWITCH_VALUES["create_commits"]:
        lab = Lab(create_delay=(5.0, 5.0), create_commits=when)
        lab.create()
        ages[when] = lab.now - lab.emulator.audit()["runs"][0]["created_at"]
    assert ages == {"late": 0.0, "early": 5.0}


@claims("idempotency")
def idempotency() -> None:
    """Off: the same key twice makes two runs."""
    for value, runs in {"on": 1, "off": 2}.items():
        lab = Lab(idempotency=value)
        for _ in range(2):
            lab.create(idempotency_key="k")
        assert lab.runs() == runs


@claims("idempotency_in_flight")
def idempotency_in_flight() -> None:
    """Both values have their tests in test_idempotency; here: without a delay neither makes a difference."""
    for value in SWITCH_VALUES["idempotency_in_flight"]:
        lab = Lab(idempotency_in_flight=value)
        assert [lab.create(idempotency_key="k").status_code for _ in range(2)] == [201, 201]


@claims("idempotency_ttl")
def idempotency_ttl() -> None:
    """After it the key is forgotten."""
    lab = Lab(idempotency_ttl=100.0)
    for _ in range(3):
        lab.create(idempotency_key="k")
        lab.wait(60.0)
    assert lab.runs() == 2


@claims("body_limit_bytes")
def body_limit_bytes() -> None:
    """413 above it."""
    lab = Lab(body_limit_bytes=1000)
    assert lab.create(prompt="x" * 1000).status_code == 413
    assert lab.create().status_code == 201


# -- inputs --------------------------------------------------------------------------------------------------


@claims("asset_refs")
def asset_refs() -> None:
    """Resolved, or refused with words that name the scheme."""
    for value, status in {"resolved": 201, "refused": 422}.items():
        lab = Lab(asset_refs=value)
        answer = lab.create(image_urls=[f"runflow://assets/{lab.upload(picture())}"])
        assert answer.status_code == status
        assert ("runflow" in answer.json().get("message", "")) is (status == 422)


@claims("data_uris")
def data_uris() -> None:
    """Accepted and shown as an asset, or refused."""
    uri = "data:image/png;base64," + base64.b64encode(picture()).decode()
    accepted = Lab(data_uris="accepted").create(image_urls=[uri], mask_url=uri).json()["input"]
    assert accepted["image_urls"][0].startswith("runflow://assets/")
    assert accepted["mask_url"] == accepted["image_urls"][0]
    assert Lab(data_uris="refused").create(image_urls=[uri]).status_code == 422


@claims("size_forms")
def size_forms() -> None:
    """An explicit size as text, as an object, or both; presets always."""
    text, thing = "1024x1024", {"width": 1024, "height": 1024}
    for value, taken in {"both": [text, thing], "object": [thing], "text": [text]}.items():
        lab = Lab(size_forms=value)
        assert [size for size in (text, thing) if lab.create(image_size=size).status_code == 201] == taken
        assert lab.create(image_size="square_hd").status_code == 201


# -- records -------------------------------------------------------------------------------------------------


@claims("cancelled_spelling")
def cancelled_spelling() -> None:
    """One l or two, in records and in the list of states."""
    for spelling in SWITCH_VALUES["cancelled_spelling"]:
        lab = Lab(cancelled_spelling=spelling)
        lab.emulator.script("cancelled")
        assert lab.finished()["status_code"] == spelling
        assert spelling in [state["code"] for state in lab.get("/v1/runs/statuses")]


@claims("partial_state")
def partial_state() -> None:
    """A run with fewer pictures may have a state of its own; it has its price all the same."""
    for value in SWITCH_VALUES["partial_state"]:
        lab = Lab(partial_state=value)
        lab.emulator.script("fewer_outputs")
        record = lab.finished(num_images=2)
        assert (record["status_code"], record["cost"]) == (value, "0.266")


@claims("record_names")
def record_names() -> None:
    """The names of older sources, for polls and for the list."""
    lab = Lab(record_names="older")
    lab.emulator.script("failed_unknown")
    record = lab.finished()
    assert record["status"] == "failed"
    assert record["error"]["code"] == "E1234"
    assert record["finished_at"]
    assert "status_code" not in record
    assert lab.get("/v1/runs", params={"fields": "id,status_code"})["items"] == [
        {"id": record["id"], "status": "failed"}
    ]


@claims("output_shape")
def output_shape() -> None:
    """Single shapes become `outputs` for several pictures; test_records has the rest."""
    for shape in SWITCH_VALUES["output_shape"]:
        output = Lab(output_shape=shape).finished(num_images=2)["output"]
        assert set(output) & {"outputs", "images", "image_urls"}


@claims("signed_on_request")
def signed_on_request() -> None:
    """Without `add_signature` the URLs on a record open nothing."""
    lab = Lab(signed_on_request=True)
    record = lab.finished()
    plain = record["output"]["outputs"][0]["url"]
    signed = lab.get(f"/v1/runs/{record['id']}?add_signature=true")["output"]["outputs"][0]["url"]
    assert [lab.call("GET", url).status_code for url in (plain, signed)] == [403, 200]


@claims("cost_reported")
def cost_reported() -> None:
    """A record may say nothing about its cost; it is billed all the same."""
    lab = Lab(cost_reported="no")
    assert lab.finished()["cost"] is None
    assert lab.emulator.audit()["billed_microusd_total"] == 133_000


@claims("prices")
def prices() -> None:
    """As listed, or raised for high quality."""
    for value, cost in {"listed": "0.133", "raised": "0.219"}.items():
        assert Lab(prices=value).finished()["cost"] == cost


# -- time ----------------------------------------------------------------------------------------------------


@claims("latency")
def latency() -> None:
    """Drawn for each run between the two."""
    lab = Lab(latency=(20.0, 30.0))
    ids = [lab.created(f"r{number}") for number in range(8)]
    lab.wait(19.0)
    assert {lab.get(f"/v1/runs/{run}")["status_code"] for run in ids} == {"running"}
    lab.wait(12.0)
    durations = {lab.get(f"/v1/runs/{run}")["duration_ms"] for run in ids}
    assert len(durations) == 8


@claims("queue_seconds")
def queue_seconds() -> None:
    """In `queued` first."""
    lab = Lab(queue_seconds=100.0)
    run = lab.created()
    lab.wait(99.0)
    assert lab.get(f"/v1/runs/{run}")["status_code"] == "queued"
    lab.wait(11.0)
    assert lab.get(f"/v1/runs/{run}")["status_code"] == "succeeded"


@claims("max_concurrent_runs")
def max_concurrent_runs() -> None:
    """Further runs wait in the queue, first come first served."""
    lab = Lab(max_concurrent_runs=2)
    ids = [lab.created(f"r{number}") for number in range(5)]
    seen = []
    for _ in range(3):
        lab.wait(5.0)
        seen.append([lab.get(f"/v1/runs/{run}")["status_code"][0] for run in ids])
        lab.wait(5.0)
    assert ["".join(states) for states in seen] == ["rrqqq", "ssrrq", "ssssr"]


@claims("url_ttl")
def url_ttl() -> None:
    """After it the URL is refused; a new look at the run gives a fresh one."""
    lab = Lab(url_ttl=60.0)
    record = lab.finished()
    url = record["output"]["outputs"][0]["url"]
    assert lab.call("GET", url).status_code == 200
    lab.wait(61.0)
    assert lab.call("GET", url).status_code == 403
    fresh = lab.get(f"/v1/runs/{record['id']}")["output"]["outputs"][0]["url"]
    assert lab.call("GET", fresh).status_code == 200


@claims("list_lag")
def list_lag() -> None:
    """The run can be read by its id long before the list shows it."""
    lab = Lab(list_lag=30.0)
    run = lab.created()
    assert lab.get("/v1/runs", params={"q": "client_ref:ref"})["items"] == []
    assert lab.get(f"/v1/runs/{run}")["id"] == run
    lab.wait(30.0)
    assert [item["id"] for item in lab.get("/v1/runs")["items"]] == [run]


# -- the list ------------------------------------------------------------------------------------------------


@claims("filter_dialect")
def filter_dialect() -> None:
    """What is not spoken is a 422."""
    dotted, colon = "client_ref.EQ:'a'", "client_ref:a"
    for value, good in {"both": [dotted, colon], "dotted": [dotted], "colon": [colon]}.items():
        lab = Lab(filter_dialect=value)
        assert [q for q in (dotted, colon) if lab.call("GET", "/v1/runs", params={"q": q}).is_success] == good


@claims("cursor_names")
def cursor_names() -> None:
    """Bare tokens under the one pair of names, URLs under the other."""
    for value, names in {"next": ("next", "previous"), "next_pq": ("next_pq", "prev_pq")}.items():
        lab = Lab(cursor_names=value)
        for ref in "abc":
            lab.created(ref)
        page = lab.get("/v1/runs?limit=2")
        assert page[names[1]] is None
        following = page[names[0]] if value == "next" else f"/v1/runs?limit=2&pq={page[names[0]]}"
        assert [item["client_ref"] for item in lab.get(following)["items"]] == ["a"]


@claims("sync_listed")
def sync_listed() -> None:
    """Runs of the synchronous form are in the list only if the switch says so."""
    for value in (False, True):
        lab = Lab(sync_listed=value)
        lab.edit()
        assert len(lab.get("/v1/runs")["items"]) == value


# -- the synchronous form ------------------------------------------------------------------------------------


@claims("sync_endpoint")
def sync_endpoint() -> None:
    """Off is a 404 and no run."""
    assert Lab(sync_endpoint="on").edit().status_code == 200
    lab = Lab(sync_endpoint="off")
    assert lab.edit().status_code == 404
    assert lab.emulator.audit()["runs"] == []


@claims("sync_shape")
def sync_shape() -> None:
    """`images`, `outputs`, both, or a run record to be polled."""
    for value, names in {"images": {"images"}, "outputs": {"outputs"}, "both": {"images", "outputs"}}.items():
        answer = Lab(sync_shape=value).edit().json()
        assert set(answer) == names | {"seed", "timing", "nsfw_detected"}
    lab = Lab(sync_shape="run")
    run = lab.edit().json()
    assert run["status_code"] == "queued"
    lab.wait()
    assert lab.get(f"/v1/runs/{run['id']}")["status_code"] == "succeeded"


@claims("sync_failure")
def sync_failure() -> None:
    """One status for every failure, or one by the kind of it."""
    expected = {"failed_moderation": 422, "failed_transient": 502, "failed_unknown": 500, "cancelled": 500}
    for fault, status in expected.items():
        for value, wanted in {"422": 422, "by-class": status}.items():
            lab = Lab(sync_failure=value)
            lab.emulator.script(fault)
            assert lab.edit().status_code == wanted


@claims("sync_cut_seconds")
def sync_cut_seconds() -> None:
    """The gateway gives up with a 504; the edit goes on and is billed."""
    lab = Lab(sync_cut_seconds=4.0)
    before = lab.now
    assert lab.edit().status_code == 504
    assert lab.now - before == 4.0
    assert lab.emulator.audit()["will_bill_microusd"] == 133_000
    lab.wait()
    assert lab.emulator.audit()["billed_microusd_total"] == 133_000


# -- account -------------------------------------------------------------------------------------------------


@claims("balance_shape")
def balance_shape() -> None:
    """A decimal string in a record, or cents; the other endpoint has its own shape."""
    for value, found in {"decimal": ("balance", "12.5"), "cents": ("balance_cents", 1250)}.items():
        lab = Lab(balance_shape=value, balance="12.50")
        assert lab.get("/v1/billing/balance")[found[0]] == found[1]
        assert lab.get("/v1/credit-balances")["items"][0]["balance_usd"] == "12.5"


@claims("balance")
def balance() -> None:
    """Debited at success; when it is empty the next creation is a 402, and what runs still finishes."""
    lab = Lab(balance="0.2")
    first, second = lab.created("a"), lab.created("b")
    lab.wait()
    answer = lab.create("c")
    assert (answer.status_code, answer.json()["code"]) == (402, "INSUFFICIENT_CREDIT")
    assert [lab.get(f"/v1/runs/{run}")["cost"] for run in (first, second)] == ["0.133"] * 2
    assert lab.get("/v1/billing/balance")["balance"] == "-0.066"


@claims("keys")
def keys() -> None:
    """Any key with the right beginning, or only those named; health is open to all."""
    assert Lab().call("GET", "/v1/auth/me", key="rf_svc_x").status_code == 200
    for key in ("sk_x", "", None):
        answer = Lab().call("GET", "/v1/auth/me", key=key)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
        assert Lab().call("GET", "/v1/health", key=key).status_code == 200
        assert Lab().call("GET", "/v1/readiness", key=key).status_code == 200
    named = Lab(keys=("rf_live_one",))
    assert [named.call("GET", "/v1/runs", key=key).status_code for key in ("rf_live_one", "rf_x")] == [200, 401]


@claims("missing_scopes")
def missing_scopes() -> None:
    """403 on what needs the scope, and on nothing else."""
    lab = Lab(missing_scopes=("credit_balance:read",))
    answer = lab.call("GET", "/v1/billing/balance")
    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
    assert lab.create().status_code == 201
    assert Lab(missing_scopes=("runs:create",)).edit().status_code == 403


@claims("rate_limit_per_minute")
def rate_limit_per_minute() -> None:
    """Never more than so many granted calls in any 60 seconds; storage does not count; None is no limit."""
    lab = Lab(rate_limit_per_minute=5)
    granted = []
    for _ in range(100):
        if lab.call("GET", "/v1/auth/me").status_code == 200:
            granted.append(lab.now)
        lab.call("GET", "/storage/assets/x")
        lab.wait(2.0)
    assert all(later - sooner >= 60.0 for sooner, later in zip(granted, granted[5:], strict=False))
    assert len(granted) >= 15
    free = Lab(rate_limit_per_minute=None)
    assert {free.call("GET", "/v1/auth/me").status_code for _ in range(30)} == {200}


@claims("throttle_headers")
def throttle_headers() -> None:
    """No header, seconds, a date, or all there are; what they promise holds."""
    for value in SWITCH_VALUES["throttle_headers"]:
        lab = Lab(rate_limit_per_minute=1, throttle_headers=value)
        first, second = (lab.call("GET", "/v1/auth/me") for _ in range(2))
        assert (second.status_code, second.json()["code"]) == (429, "RATE_LIMITED")
        assert ("x-ratelimit-limit" in first.headers) is (value == "full")
        assert ("retry-after" in second.headers) is (value != "none")
        if value == "none":
            continue
        wish = second.headers["retry-after"]
        if value == "retry-after-date":
            dates = [parsedate_to_datetime(text) for text in (second.headers["date"], wish)]
            wish = str((dates[1] - dates[0]).total_seconds())
        lab.wait(float(wish))
        assert lab.call("GET", "/v1/auth/me").status_code == 200


@claims("error_envelope")
def error_envelope() -> None:
    """Three kinds of JSON and a page of HTML, for refusals from anywhere."""
    found = {}
    for value in SWITCH_VALUES["error_envelope"]:
        answers = [Lab(error_envelope=value).call("GET", "/v1/runs/x", key=key) for key in ("rf_x", None)]
        assert [answer.status_code for answer in answers] == [404, 401]
        found[value] = answers[0].text if value == "html" else answers[0].json()
    assert found["flat"] == {"code": "RUN_NOT_FOUND", "message": "no such run", "errors": None}
    assert found["nested"] == {"error": found["flat"]}
    assert found["text"] == {"error": "no such run", "code": "RUN_NOT_FOUND"}
    assert "<html>" in found["html"]


@claims("batches")
def batches() -> None:
    """422 on this model, or runs that share a batch."""
    path = CREATE.replace("/runs", "/batches")
    entries = [{"prompt": "crop", "image_urls": [PHOTO_URL], "client_ref": ref} for ref in "ab"]
    assert Lab().call("POST", path, json={"input": entries}).status_code == 422
    for data in ({"input": entries}, {"items": [{"input": body(None)["input"]}, {"input": body(None)["input"]}]}):
        lab = Lab(batches="on")
        batch = lab.call("POST", path, json=data).json()
        assert (batch["items_total"], batch["status_code"], batch["cost"]) == (2, "running", None)
        lab.wait()
        after = lab.get(f"/v1/batches/{batch['id']}")
        assert (after["items_succeeded"], after["status_code"], after["cost"]) == (2, "succeeded", "0.266")
        items = lab.get(f"/v1/batches/{batch['id']}/items")["items"]
        assert {lab.get(f"/v1/runs/{item['run_id']}")["batch_id"] for item in items} == {batch["id"]}
        assert all(sooner["sequence_index"] < later["sequence_index"] for sooner, later in pairwise(items))
