"""What a run looks like while it lives, and in which shapes its pictures come."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.emulator.lab import ORIGIN, Lab, size_of

RECORD_FIELDS = """
    id org_id flow_id model_id comfyui_workflow_id target_type target_version status_code source_code input output
    context duration_ms cost cost_breakdown nodes_total nodes_completed resolved_template_id batch_id client_ref
    jurisdiction_code flow_version_id request_id created_by created_at started_at completed_at callback_url metadata
    has_logs has_node_runs links failure_code failure_message failure_stage_code feedback_is_positive feedback_reason
    current_evaluation_summary source_chat_message_id node_runs logs flow
"""
"""Copied from provider-api, section 5, not from the emulator."""


def test_a_record_has_every_published_field() -> None:
    """No more, no less, from creation to the end."""
    lab = Lab()
    created = lab.create().json()
    lab.wait()
    assert set(created) == set(RECORD_FIELDS.split())
    assert set(lab.get(f"/v1/runs/{created['id']}")) == set(RECORD_FIELDS.split())


def test_a_creation_answers_at_once_with_a_queued_run() -> None:
    """Whatever the latency: the answer is the snapshot of the creation."""
    record = Lab(latency=(0.0, 0.0)).create("mug", num_images=2).json()
    assert record["status_code"] == "queued"
    assert record["client_ref"] == "mug"
    assert record["input"]["num_images"] == 2
    assert record["output"] is record["cost"] is record["completed_at"] is None


def test_ids_are_uuids_of_version_7() -> None:
    """As the provider's."""
    assert uuid.UUID(Lab().created()).version == 7


def test_a_run_goes_through_its_states_by_the_clock_alone() -> None:
    """Nothing happens in the background: looking twice at one moment shows one state."""
    lab = Lab(queue_seconds=5.0)
    url = f"/v1/runs/{lab.created()}"
    states = []
    for _ in range(17):
        states.append(lab.get(url)["status_code"])
        lab.wait(1.0)
    assert states == ["queued"] * 5 + ["dispatching"] + ["running"] * 9 + ["succeeded"] * 2


def test_a_success_has_a_price_and_times() -> None:
    """Cost as a decimal string, times with an offset, as of the end."""
    record = Lab().finished(quality="medium", num_images=3)
    assert record["cost"] == "0.102"
    assert record["cost_breakdown"]["total"] == "0.102"
    assert record["completed_at"].endswith("+00:00")
    assert record["created_at"] <= record["started_at"] <= record["completed_at"]
    assert record["duration_ms"] == 9500


@pytest.mark.parametrize(("quality", "cost"), [("low", "0.009"), ("medium", "0.034"), ("high", "0.133")])
def test_the_price_follows_the_quality(quality: str, cost: str) -> None:
    """Per picture, as listed."""
    assert Lab().finished(quality=quality)["cost"] == cost


def test_metadata_and_callback_come_back_verbatim() -> None:
    """They are the caller's."""
    lab = Lab()
    more = {"metadata": {"a": [1, {"b": None}]}, "callback_url": "https://shop.example/hook"}
    data = {"input": {"prompt": "crop", "image_urls": ["https://shop.example/a.png"]}, **more}
    record = lab.call("POST", "/v1/models/openai/gpt-image-2/edit/runs", json=data).json()
    assert {name: record[name] for name in more} == more


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        ("outputs", ["outputs", 0, "url"]),
        ("images", ["images", 0, "url"]),
        ("image_urls", ["image_urls", 0]),
        ("image", ["image", "url"]),
        ("url", ["url"]),
        ("output_url", ["output_url"]),
        ("image_url", ["image_url"]),
        ("text", []),
    ],
)
def test_every_output_shape_leads_to_a_picture(shape: str, path: list[Any]) -> None:
    """All those of provider-api, section 6."""
    lab = Lab(output_shape=shape)
    found = lab.finished(image_size="1024x768")["output"]
    for step in path:
        found = found[step]
    assert found.startswith(f"{ORIGIN}/storage/outputs/")
    assert size_of(lab.call("GET", found).content) == (1024, 768)


def test_several_pictures_are_several_outputs() -> None:
    """In the normalised shape, with its three companions; each is another picture."""
    lab = Lab()
    output = lab.finished(num_images=3, image_size="1024x640")["output"]
    assert set(output) == {"outputs", "seed", "timing", "nsfw_detected"}
    assert {entry["type"] for entry in output["outputs"]} == {"image"}
    assert len({lab.call("GET", entry["url"]).content for entry in output["outputs"]}) == 3


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_pictures_come_in_the_format_that_was_asked_for(form: str) -> None:
    """Bytes and Content-Type agree."""
    lab = Lab()
    url = lab.finished(output_format=form, image_size="1024x640")["output"]["outputs"][0]["url"]
    answer = lab.call("GET", url)
    assert answer.headers["content-type"] == f"image/{form}"
    assert size_of(answer.content) == (1024, 640)


def test_the_same_url_gives_the_same_bytes() -> None:
    """Pictures are rendered once."""
    lab = Lab()
    url = lab.finished()["output"]["outputs"][0]["url"]
    assert lab.call("GET", url).content == lab.call("GET", url).content


def test_sync_mode_shows_its_pictures_once() -> None:
    """Inline, and not kept in history: neither a later poll nor the list has them."""
    lab = Lab()
    record = lab.finished(sync_mode=True, image_size="1024x640")
    assert record["output"]["outputs"][0]["url"].startswith("data:image/png;base64,")
    again = lab.get(f"/v1/runs/{record['id']}")
    assert again["output"] is None
    assert again["cost"] == "0.133"
    assert lab.get("/v1/runs")["items"][0]["output"] is None


def test_a_picture_that_cannot_be_decoded_fails_its_run() -> None:
    """It is accepted, then fails in preprocessing, and is not billed."""
    lab = Lab()
    asset = lab.upload(b"no picture at all")
    record = lab.finished(image_urls=[f"runflow://assets/{asset}"])
    assert record["status_code"] == "failed"
    assert record["failure_code"] == "INPUT_VALIDATION_FAILED"
    assert record["failure_stage_code"] == "preprocess"
    assert lab.emulator.audit()["billed_microusd_total"] == 0


def test_an_unknown_run_is_a_404() -> None:
    """With the published code."""
    answer = Lab().call("GET", "/v1/runs/0190aaaa-0000-7000-8000-00000000ffff")
    assert (answer.status_code, answer.json()["code"]) == (404, "RUN_NOT_FOUND")


def test_an_unknown_route_is_a_404_in_the_same_envelope() -> None:
    """So that clients need one parser."""
    answer = Lab().call("GET", "/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_a_wrong_method_is_a_405() -> None:
    """In the same envelope."""
    answer = Lab().call("DELETE", "/v1/runs")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
