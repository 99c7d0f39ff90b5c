"""The real adapter against the emulator over real sockets: both forms, every switch, many faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from batchedit.emulator import Faults
from batchedit.emulator.settings import SWITCH_VALUES
from tests.conftest import KEY, Result, Served, Shop, command, database

Cli = Callable[..., Result]
Serve = Callable[..., Served]

NIGHT = ("run", "night.yaml", "--out", "out", "--json", "--no-input")


def one_bill_each(audit: dict[str, Any], requests: int = 3) -> bool:
    """Every reference was billed exactly once, and there are as many as there should be."""
    bills = [entry["billed_runs"] for entry in audit["by_client_ref"].values()]
    return bills == [1] * requests


@pytest.mark.parametrize("api", ["runs", "run"])
def test_both_forms_finish_the_same_manifest(cli: Cli, shop: Shop, serve: Serve, api: str) -> None:
    """Same outputs, one bill per request, the key is never shown to the storage; a second run bills nothing."""
    served = serve()
    served.manifest(shop, provider=f", api: {api}")
    result = cli(*NIGHT)
    assert result.code == 0, result.err
    assert shop.outputs() == ["lamp.png", "mug.png", "shoe.png"]
    audit = served.audit()
    assert [entry["billed_runs"] for entry in audit["by_input"].values()] == [1, 1, 1]
    assert audit["key_leaks"] == 0
    assert result.json()["spent"] == "0.027"
    assert cli(*NIGHT).json()["spent"] == "0.00"
    assert served.audit()["billed_microusd_total"] == 27_000


def test_both_forms_give_the_same_pictures(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The form is a matter of transport: byte for byte the same files."""
    served = serve()
    for api in ("runs", "run"):
        served.manifest(shop, provider=f", api: {api}")
        assert cli("run", "night.yaml", "--out", api, "--no-input").code == 0
    for name in ("lamp.png", "mug.png", "shoe.png"):
        assert (Path("runs") / name).read_bytes() == (Path("run") / name).read_bytes()


@pytest.mark.parametrize("api", ["runs", "run"])
def test_inline_answers_are_decoded_like_downloads(cli: Cli, shop: Shop, serve: Serve, api: str) -> None:
    """`sync_mode` brings data URIs; the stored answer goes once the pictures are safe."""
    served = serve()
    served.manifest(shop, provider=f", api: {api}", defaults="{prompt: sepia, quality: low, sync_mode: true}")
    result = cli(*NIGHT)
    assert result.code == 0, result.err
    assert shop.outputs() == ["lamp.png", "mug.png", "shoe.png"]
    assert list(Path("out/.batchedit/answers").iterdir()) == []
    assert not any("/storage/outputs" in name for name in served.audit()["requests"])


SWITCHES = [
    (name, value) for name, values in SWITCH_VALUES.items() for value in values[1:] if name not in ("sync_endpoint",)
] + [
    ("create_status", 200), ("create_status", 202), ("list_lag", 3.0), ("max_concurrent_runs", 1),
    ("queue_seconds", 0.3), ("create_delay", (0.1, 0.3)), ("url_ttl", 2.0), ("sync_listed", True),
    ("signed_on_request", True),
]  # fmt: skip


@pytest.mark.parametrize(("switch", "value"), SWITCHES)
@pytest.mark.parametrize("api", ["runs", "run"])
def test_the_client_passes_with_every_value_of_every_switch(
    cli: Cli, shop: Shop, serve: Serve, api: str, switch: str, value: object
) -> None:
    """What the provider's documents leave open does not matter to the outcome."""
    served = serve(**{switch: value})
    images = ", images_as: data-uri" if switch == "data_uris" and value == "accepted" else ""
    size = ", size_as: text" if switch == "size_forms" and value == "text" else ""
    rows = "items:\n  - {id: mug, image: in/mug.png, size: 1024x768}\n  - {id: shoe, image: in/shoe.png}\n"
    served.manifest(shop, provider=f", api: {api}{images}{size}", rows=rows)
    result = cli(*NIGHT)
    assert result.code == 0, result.err + result.out
    assert shop.outputs() == ["mug.png", "shoe.png"]
    audit = served.audit()
    assert [entry["billed_runs"] for entry in audit["by_input"].values()] == [1, 1]
    expected = "0.018"
    assert result.json()["spent"] == expected


def test_data_uris_are_used_when_asked_for(cli: Cli, shop: Shop, serve: Serve) -> None:
    """No upload happens."""
    served = serve()
    served.manifest(shop, provider=", images_as: data-uri")
    assert cli(*NIGHT).code == 0
    assert not any("asset-uploads" in name for name in served.audit()["requests"])


def test_each_picture_goes_up_once(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Three edits of one picture: one upload, also over several runs."""
    served = serve()
    rows = "sources:\n  - glob: in/mug.png\n"
    edits = "{a: {prompt: sepia}, b: {prompt: grayscale}, c: {prompt: mirror it}}"
    served.manifest(shop, rows=rows, edits=edits)
    assert cli(*NIGHT).code == 0
    uploads = sum(n for name, n in served.audit()["requests"].items() if name.startswith("POST /v1/asset-uploads 201"))
    assert uploads == 1


def test_a_missing_synchronous_endpoint_stops_the_run(cli: Cli, shop: Shop, serve: Serve) -> None:
    """404 on the call that buys concerns every request: nothing is burnt through."""
    served = serve(sync_endpoint="off")
    served.manifest(shop, provider=", api: run")
    result = cli(*NIGHT)
    assert result.code == 4
    assert "check `model`, `api` and `base_url`" in result.json()["reason"]
    assert served.audit()["billed_runs_total"] == 0


# -- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["answer_lost", "answer_cut", "error_after"])
def test_a_lost_answer_is_found_by_its_reference_and_never_bought_again(
    cli: Cli, shop: Shop, serve: Serve, fault: str
) -> None:
    """The provider acted and the answer did not come: ask by reference, adopt, one bill."""
    served = serve()
    served.emulator.script(fault, times=2)
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    audit = served.audit()
    assert audit["faults_fired"][fault] == 2
    assert one_bill_each(audit)
    assert audit["requests"]["POST /v1/models/openai/gpt-image-2/edit/runs 201"] == 3


def test_a_lost_request_is_sent_again_only_after_the_grace(cli: Cli, shop: Shop, serve: Serve) -> None:
    """500 before anything happened looks the same to us: ask for as long as it could still show up, then send."""
    served = serve()
    served.emulator.script("error_before", status=500)
    served.manifest(shop, limits="{timeout: 1, list_lag: 1, poll: 0.1}")
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    audit = served.audit()
    assert one_bill_each(audit)
    starts = sorted(audit["starts"])
    assert len(starts) == 3
    assert starts[-1] - starts[0] >= 1.9
    with database("out/.batchedit/ledger.db") as db:
        outcomes = db.execute("SELECT outcome, count(*) FROM attempts GROUP BY outcome ORDER BY outcome").fetchall()
        keys = db.execute("SELECT count(DISTINCT idempotency_key) FROM attempts").fetchone()[0]
    assert outcomes == [("absent", 1), ("done", 3)]
    assert keys == 3


def test_in_the_synchronous_form_a_lost_answer_is_held(cli: Cli, shop: Shop, serve: Serve) -> None:
    """There is no handle to ask by: unknown, at risk, exit code 7, and the next run buys nothing."""
    served = serve()
    served.emulator.script("answer_lost")
    served.manifest(shop, provider=", api: run")
    result = cli(*NIGHT)
    assert result.code == 7
    data = result.json()
    assert data["states"]["unknown"] == 1
    assert float(data["at_risk"]) >= 0.009
    assert cli(*NIGHT).code == 7
    assert served.audit()["billed_runs_total"] == 3
    assert "outcome unknown" in cli("plan", "night.yaml", "--out", "out").out


def test_a_synchronous_unknown_stays_held_in_the_other_form(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The list does not know it even if it was bought: switching the form must not buy it again."""
    served = serve()
    served.emulator.script("answer_lost")
    served.manifest(shop, provider=", api: run", limits="{timeout: 1, list_lag: 0, poll: 0.1}")
    assert cli(*NIGHT).code == 7
    served.manifest(shop, provider=", api: runs", limits="{timeout: 1, list_lag: 0, poll: 0.1}")
    assert cli(*NIGHT).code == 7
    assert served.audit()["billed_runs_total"] == 3


def test_what_the_manifest_no_longer_wants_is_not_bought(cli: Cli, shop: Shop, serve: Serve) -> None:
    """An unknown outcome that turns out absent is only sent again if the task is still asked for."""
    served = serve()
    served.emulator.script("error_before", status=500)
    limits = "{timeout: 1, list_lag: 0, poll: 0.1}"
    served.manifest(shop, rows="items:\n  - {id: a, image: in/mug.png}\n", limits="{timeout: 60, poll: 0.1}")
    process = command("run", "night.yaml", "--out", "out", "-q", "--no-input", cwd=shop.root, key=KEY)
    while not served.audit()["faults_fired"]:
        assert process.poll() is None
    process.kill()
    process.communicate()
    served.manifest(shop, rows="items:\n  - {id: b, image: in/shoe.png}\n", limits=limits)
    assert cli(*NIGHT).json()["spent"] == "0.009"
    assert served.audit()["billed_runs_total"] == 1


def test_another_address_is_not_asked_about_what_was_sent_elsewhere(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Not known there means nothing: it stays unknown, with a word on where it was sent."""
    served, other = serve(), serve()
    served.emulator.script("answer_lost", times=3)
    served.manifest(shop, limits="{timeout: 30, poll: 0.1}")
    process = command("run", "night.yaml", "--out", "out", "-q", "--no-input", cwd=shop.root, key=KEY)
    while len(served.audit()["runs"]) < 3:
        assert process.poll() is None
    process.kill()
    process.communicate()
    other.manifest(shop, limits="{timeout: 1, list_lag: 0, poll: 0.1}")
    result = cli(*NIGHT)
    assert result.code in (6, 7)
    assert any(f"were sent to {served.url}" in note for note in result.json()["notes"])
    assert other.audit()["runs"] == []


@pytest.mark.parametrize("fault", ["failed_transient", "failed_unknown", "failed_first"])
def test_a_failed_run_is_followed_by_a_new_one(cli: Cli, shop: Shop, serve: Serve, fault: str) -> None:
    """Failed runs are not billed, so another is made, under another idempotency key."""
    served = serve()
    served.emulator.script(fault)
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    audit = served.audit()
    assert audit["billed_runs_total"] == 3
    assert sorted(entry["runs"] for entry in audit["by_client_ref"].values()) == [1, 1, 2]
    assert len({run["idempotency_key"] for run in audit["runs"]}) == 4


@pytest.mark.parametrize("fault", ["failed_validation", "failed_moderation", "cancelled"])
def test_a_refused_picture_fails_alone(cli: Cli, shop: Shop, serve: Serve, fault: str) -> None:
    """It is not tried again unchanged; the others are done; exit code 3."""
    served = serve()
    served.emulator.script(fault)
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 3
    assert result.json()["states"]["failed"] == 1
    assert cli(*NIGHT).code == 3
    audit = served.audit()
    assert len(audit["runs"]) == 3
    assert audit["billed_runs_total"] == 2


@pytest.mark.parametrize("fault", ["output_truncated", "output_corrupt", "output_forbidden"])
def test_a_damaged_download_is_fetched_again_and_not_paid_again(cli: Cli, shop: Shop, serve: Serve, fault: str) -> None:
    """The picture is sold; only complete, decoded bytes get its name."""
    served = serve()
    served.emulator.script(fault, times=2)
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    assert served.audit()["faults_fired"][fault] == 2
    assert one_bill_each(served.audit())
    for name in shop.outputs():
        with Image.open(Path("out") / name) as image:
            image.verify()
        with Image.open(Path("out") / name) as image:
            image.load()


def test_a_picture_that_is_gone_is_lost_and_reported_with_its_price(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Paid, not to be had: never bought again silently, shown as wasted."""
    served = serve()
    served.emulator.script("output_gone")
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 3
    assert result.json()["states"]["lost"] == 1
    report = cli("report", "out", "--json").json()
    assert report["total"]["wasted"] == "0.009"
    assert report["total"]["spent"] == "0.027"
    assert cli(*NIGHT).json()["spent"] == "0.00"


def test_fewer_pictures_than_paid_for_are_suspect(cli: Cli, shop: Shop, serve: Serve) -> None:
    """What came is kept among the raws; the task is not called done."""
    served = serve()
    served.emulator.script("fewer_outputs")
    served.manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png, n: 3}\n")
    result = cli(*NIGHT)
    assert result.code == 3
    assert result.json()["states"]["suspect"] == 1
    assert "2 of 3 pictures came" in cli("report", "out").out
    assert len(list(Path("out/.batchedit/raw").glob("*/*.png"))) == 2


def test_another_size_than_asked_for_is_suspect(cli: Cli, shop: Shop, serve: Serve) -> None:
    """An exact size was asked for; `auto` takes what comes."""
    served = serve()
    served.emulator.script("wrong_size", times=2)
    rows = "items:\n  - {id: a, image: in/mug.png, size: 1024x1024}\n  - {id: b, image: in/shoe.png}\n"
    served.manifest(shop, rows=rows)
    result = cli(*NIGHT)
    assert result.json()["states"] | {"done": 1, "suspect": 1} == result.json()["states"]


def test_the_extension_follows_the_format_that_came(cli: Cli, shop: Shop, serve: Serve) -> None:
    """JPEG bytes never get a .png name."""
    served = serve()
    served.emulator.script("wrong_type", times=3)
    served.manifest(shop)
    assert cli(*NIGHT).code == 0
    assert shop.outputs() == ["lamp.jpg", "mug.jpg", "shoe.jpg"]
    assert cli(*NIGHT).json()["spent"] == "0.00"
    assert shop.outputs() == ["lamp.jpg", "mug.jpg", "shoe.jpg"]


def test_two_runs_for_one_request_are_reported(cli: Cli, shop: Shop, serve: Serve) -> None:
    """A possible double purchase counts as spent, and is said."""
    served = serve()
    served.emulator.script("duplicate_runs")
    served.emulator.script("answer_lost")
    served.manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png}\n")
    result = cli(*NIGHT)
    assert result.code == 0
    assert any("possible double purchase" in note for note in result.json()["notes"])


def test_polls_that_fail_do_not_fail_the_run(cli: Cli, shop: Shop, serve: Serve) -> None:
    """5xx and 404 on a read are weather."""
    served = serve(faults=Faults(read_error=0.3, poll_missing=1.0, missing_seconds=1.0))
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    assert one_bill_each(served.audit())


@pytest.mark.parametrize("headers", ["none", "retry-after", "retry-after-date", "full"])
def test_a_429_is_waited_out(cli: Cli, shop: Shop, serve: Serve, headers: str) -> None:
    """Surely refused, so tried again, after as long as the server wishes if it says so."""
    served = serve(throttle_headers=headers)
    served.emulator.script("throttle", match={"method": "POST", "path_contains": "edit/runs"}, length=1)
    served.manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png}\n")
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    audit = served.audit()
    assert audit["requests"]["POST /v1/models/openai/gpt-image-2/edit/runs 429"] == 1
    assert one_bill_each(audit, 1)


@pytest.mark.parametrize(
    ("faults", "word"), [(Faults(credit_ends_after=1), "credit"), (Faults(key_revoked_after=12), "key")]
)
def test_an_account_problem_stops_everything_at_once(
    cli: Cli, shop: Shop, serve: Serve, faults: Faults, word: str
) -> None:
    """402 and 401 end the run with exit code 4 and what to do; a later run goes on."""
    served = serve(faults=faults)
    served.manifest(shop, limits="{concurrency: 1, poll: 0.1}")
    result = cli(*NIGHT)
    assert result.code == 4
    assert word in result.json()["reason"]
    refused = sum(n for name, n in served.audit()["requests"].items() if name.endswith((" 401", " 402")))
    assert 1 <= refused <= 2


def test_a_key_that_is_wrong_from_the_start(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Nothing is sent that could be billed, and the key is in no byte that was written."""
    served = serve(keys=("rf_live_other000000",))
    served.manifest(shop)
    result = cli(*NIGHT)
    assert result.code == 4
    assert served.audit()["runs"] == []
    written = b"".join(path.read_bytes() for path in shop.root.rglob("*") if path.is_file())
    assert KEY.encode() not in written
    assert KEY not in result.out + result.err


def test_signatures_reach_neither_ledger_nor_output(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Signed URLs are used and forgotten; the ledger can be shared."""
    served = serve(asset_refs="refused")
    rows = (
        "items:\n"
        "  - {id: a, image: 'https://cdn.example/p.png?X-Amz-Signature=canary77&w=1'}\n"
        "  - {id: b, image: in/mug.png}\n"
    )
    served.manifest(shop, rows=rows)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    ledger = b"".join(path.read_bytes() for path in Path("out/.batchedit").glob("ledger.db*"))
    for secret in (b"canary77", b"X-Amz-Signature", KEY.encode()):
        assert secret not in ledger
    assert "canary77" not in result.out + result.err


def test_an_image_url_is_passed_on_and_billed_once(cli: Cli, shop: Shop, serve: Serve) -> None:
    """https pictures are fetched by the provider; a fresh signature is the same picture."""
    served = serve()
    for signature in ("one", "two"):
        rows = f"items:\n  - {{id: a, image: 'https://cdn.example/p.png?Signature={signature}&Expires=9'}}\n"
        served.manifest(shop, rows=rows)
        assert cli(*NIGHT).code == 0
    assert served.audit()["billed_runs_total"] == 1


def test_an_unreachable_provider_stops_by_itself(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Nothing was sent: nothing is unknown, nothing is at risk."""
    served = serve()
    served.manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png}\n", limits="{attempts: 2}")
    text = (shop.root / "night.yaml").read_text()
    (shop.root / "night.yaml").write_text(text.replace(served.url, "http://127.0.0.1:9"))
    result = cli(*NIGHT)
    assert result.code == 3
    assert result.json()["at_risk"] == "0.00"
    (shop.root / "night.yaml").write_text(text)
    assert cli(*NIGHT).code == 0


def test_an_asset_that_the_provider_forgot_goes_up_again(cli: Cli, shop: Shop, serve: Serve) -> None:
    """A cached upload is only a shortcut."""
    served = serve()
    served.manifest(shop)
    assert cli(*NIGHT).code == 0
    other = serve()
    other.manifest(shop)
    with database("out/.batchedit/ledger.db") as db:
        db.execute("UPDATE uploads SET scope = ?", (other.url,))
    text = (shop.root / "night.yaml").read_text().replace("grayscale", "mirror it")
    (shop.root / "night.yaml").write_text(text)
    result = cli(*NIGHT, "--changed")
    assert result.code == 0, result.out
    assert one_bill_each(other.audit())


def test_the_key_goes_to_the_api_only(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Uploads and downloads carry no Authorization header."""
    served = serve()
    served.manifest(shop)
    assert cli(*NIGHT).code == 0
    assert served.audit()["key_leaks"] == 0
    assert httpx.get(f"{served.url}/v1/runs").status_code == 401
