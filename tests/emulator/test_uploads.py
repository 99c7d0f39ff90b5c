"""Pictures going up: three steps, and every way to hand a picture to a run. Provider-api, sections 4 and 11."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.emulator.lab import Lab, picture

ASSET_FIELDS = """
    id org_id folder_id name r2_key url thumbnail_url mime_type size_bytes asset_type source_type source_id created_by
    created_at updated_at deleted_at deleted_by
"""
PNG = {"content-type": "image/png"}


def test_three_steps_make_an_asset() -> None:
    """With every published field, the true size, and a URL that gives the bytes back."""
    lab = Lab()
    asset = lab.get(f"/v1/assets/{lab.upload(picture())}")
    assert set(asset) == set(ASSET_FIELDS.split())
    assert (asset["size_bytes"], asset["mime_type"]) == (len(picture()), "image/png")
    answer = lab.call("GET", asset["url"])
    assert answer.content == picture()
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("filename", "x" * 500, 201),
        ("filename", "x" * 501, 422),
        ("filename", "", 422),
        ("mime_type", "image/webp", 201),
        ("mime_type", "image/tiff", 422),
        ("mime_type", None, 422),
        ("size_bytes", 52_428_800, 201),
        ("size_bytes", 52_428_801, 422),
        ("size_bytes", 0, 422),
        ("size_bytes", "9", 422),
    ],
)
def test_the_ticket_has_limits(name: str, value: Any, status: int) -> None:
    """Those of provider-api, section 11."""
    form = {"filename": "mug.png", "mime_type": "image/png", "size_bytes": 9, name: value}
    assert Lab().call("POST", "/v1/asset-uploads", json=form).status_code == status


def test_the_supported_types_are_listed() -> None:
    """The same that the ticket accepts."""
    types = [entry["mime_type"] for entry in Lab().get("/v1/assets/types")]
    assert types == ["image/png", "image/jpeg", "image/webp"]


def test_the_content_type_must_be_the_declared_one() -> None:
    """The signature covers it."""
    lab = Lab()
    url = lab.ticket(3)["upload_url"]
    assert lab.call("PUT", url, content=b"abc", headers={"content-type": "image/jpeg"}).status_code == 403
    assert lab.call("PUT", url, content=b"abc", headers=PNG).status_code == 200


def test_an_expired_or_forged_ticket_is_refused() -> None:
    """A 403; only a new ticket helps."""
    lab = Lab(url_ttl=60.0)
    url = lab.ticket(3)["upload_url"]
    assert lab.call("PUT", url[:-1] + "x", content=b"abc", headers=PNG).status_code == 403
    assert lab.call("PUT", url.partition("?")[0], content=b"abc", headers=PNG).status_code == 403
    lab.wait(61.0)
    assert lab.call("PUT", url, content=b"abc", headers=PNG).status_code == 403


def test_nothing_can_be_confirmed_that_was_not_uploaded() -> None:
    """A 422, and the asset is not there."""
    lab = Lab()
    asset = lab.ticket(3)["asset_id"]
    assert lab.call("POST", f"/v1/asset-uploads/{asset}/confirmations", json={}).status_code == 422
    assert lab.call("GET", f"/v1/assets/{asset}").status_code == 404


def test_an_asset_that_was_not_confirmed_cannot_be_used() -> None:
    """An orphan costs nothing and is worth nothing."""
    lab = Lab()
    ticket = lab.ticket(len(picture()))
    lab.call("PUT", ticket["upload_url"], content=picture(), headers=PNG)
    answer = lab.create(image_urls=[f"runflow://assets/{ticket['asset_id']}"])
    assert answer.status_code == 422
    assert "not found" in answer.json()["message"]


def test_a_key_that_reaches_the_storage_is_counted() -> None:
    """Storage URLs carry their own permission; a key sent there has leaked."""
    lab = Lab()
    url = lab.get(f"/v1/assets/{lab.upload(picture())}")["url"]
    assert lab.emulator.audit()["key_leaks"] == 0
    lab.call("GET", url, headers={"authorization": "Bearer rf_live_test"})
    assert lab.emulator.audit()["key_leaks"] == 1


def test_however_a_picture_is_handed_over_the_input_is_the_same() -> None:
    """Two uploads, a signed URL and a data URI of one picture: one canonical input, one result."""
    lab = Lab()
    first, second = lab.upload(picture()), lab.upload(picture())
    forms = [
        f"runflow://assets/{first}",
        f"runflow://assets/{second}",
        lab.get(f"/v1/assets/{first}")["url"],
        "data:image/png;base64," + base64.b64encode(picture()).decode(),
    ]
    urls = [
        lab.finished(ref, image_urls=[form])["output"]["outputs"][0]["url"]
        for ref, form in zip("abcd", forms, strict=True)
    ]
    assert len(lab.emulator.audit()["by_input"]) == 1
    assert len({lab.call("GET", url).content for url in urls}) == 1


def test_another_picture_is_another_input() -> None:
    """And so are another order, a mask and another prompt."""
    lab = Lab()
    a, b = (f"runflow://assets/{lab.upload(picture(colour))}" for colour in (90, 200))
    for number, fields in enumerate(
        ({"image_urls": [a]}, {"image_urls": [b]}, {"image_urls": [a, b]}, {"image_urls": [b, a]})
    ):
        lab.created(f"r{number}", **fields)
        lab.created(f"m{number}", **fields, mask_url=a)
        lab.created(f"p{number}", **fields, prompt="sepia")
    assert len(lab.emulator.audit()["by_input"]) == 12


def test_a_result_can_be_edited_again() -> None:
    """Its signed URL is as good as any other, until it expires."""
    lab = Lab(url_ttl=60.0)
    url = lab.finished()["output"]["outputs"][0]["url"]
    assert lab.finished("again", image_urls=[url])["status_code"] == "succeeded"
    lab.wait(61.0)
    assert lab.create("late", image_urls=[url]).status_code == 422


def test_an_unknown_asset_is_a_422() -> None:
    """Named as what it is."""
    answer = Lab().create(image_urls=["runflow://assets/0190aaaa-0000-7000-8000-00000000ffff"])
    assert answer.status_code == 422
    assert "asset" in answer.json()["message"]


def test_a_mask_of_another_size_fails_its_run() -> None:
    """It must fit the first image."""
    lab = Lab()
    image, mask = (f"runflow://assets/{lab.upload(picture(side=side))}" for side in (32, 48))
    record = lab.finished(image_urls=[image], mask_url=mask)
    assert record["failure_code"] == "INPUT_VALIDATION_FAILED"
    assert "mask" in record["failure_message"]
