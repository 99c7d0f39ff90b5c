"""What a creation refuses: provider-api, sections 4 and 5, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from batchedit.emulator.validation import PRESETS
from tests.emulator.lab import CREATE, SYNC, Lab, body

GOOD: dict[str, list[Any]] = {
    "prompt": ["ab", "x" * 32_000],
    "image_urls": [[f"https://shop.example/{n}.png" for n in range(16)]],
    "num_images": [1, 4],
    "output_format": ["png", "jpeg", "webp"],
    "image_size": [*PRESETS, "1024x1024", {"width": 3840, "height": 2160}, {"width": 1440, "height": 480}],
    "mask_url": ["https://shop.example/mask.png"],
    "quality": ["low", "medium", "high"],
    "sync_mode": [True, False],
}
BAD: dict[str, list[Any]] = {
    "prompt": ["", "x", "x" * 32_001, 5, None],
    "image_urls": [[], "https://shop.example/a.png", [7], [f"https://shop.example/{n}.png" for n in range(17)], None],
    "num_images": [0, 5, 1.5, "2", True, None],
    "output_format": ["gif", "PNG", 1, None, ["png"]],
    "image_size": [
        "huge",
        "1000x1000",
        "3856x2160",
        "1920x624",
        "640x640",
        "3840x3840",
        {"width": 1024},
        {"width": 1024.0, "height": 1024},
        {"width": "1024", "height": "1024"},
        {"width": -1024, "height": -1024},
        7,
        None,
    ],
    "mask_url": [5, ["https://shop.example/mask.png"]],
    "quality": ["auto", "HIGH", None, {}],
    "sync_mode": ["true", 1, None],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    """One parameter per field and value."""
    return [
        pytest.param(name, value, id=f"{name}-{index}") for name in table for index, value in enumerate(table[name])
    ]


def test_the_tables_name_all_eight_fields() -> None:
    """None is forgotten."""
    assert len(GOOD) == 8
    assert set(GOOD) == set(BAD)


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_what_is_allowed_is_accepted(name: str, value: Any) -> None:
    """Every limit of provider-api, section 4, is within the limits."""
    answer = Lab().create(**{name: value})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(("name", "value"), cases(BAD))
@pytest.mark.parametrize("path", [CREATE, SYNC])
def test_what_is_not_allowed_is_named(path: str, name: str, value: Any) -> None:
    """422 with an entry for the field, and nothing else is said to be wrong; no run is made."""
    lab = Lab()
    data = body(None, **{name: value})
    answer = lab.call("POST", path, json=data if path == CREATE else data["input"])
    assert answer.status_code == 422
    assert [entry["field"] for entry in answer.json()["errors"]] == [f"input.{name}"]
    assert all(entry["message"] for entry in answer.json()["errors"])
    assert lab.emulator.audit()["runs"] == []


def test_every_mistake_is_named_at_once() -> None:
    """Not only the first."""
    answer = Lab().create(prompt="", quality="best", colour="red")
    assert {entry["field"] for entry in answer.json()["errors"]} == {"input.prompt", "input.quality", "input.colour"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"input": body(None)["input"], "inputs": {}}, 422),
        ({"input": body(None)["input"], "client_ref": "x" * 256}, 422),
        ({"input": body(None)["input"], "client_ref": 7}, 422),
        ({"input": body(None)["input"], "callback_url": "x" * 2049}, 422),
        ({"input": body(None)["input"], "metadata": "text"}, 422),
        ({"input": []}, 422),
        ({}, 422),
        ([], 422),
    ],
)
def test_the_envelope_is_checked(data: Any, status: int) -> None:
    """What stands beside the input has limits, too."""
    assert Lab().call("POST", CREATE, json=data).status_code == status


def test_a_body_that_is_no_json_is_a_400() -> None:
    """The one 400 there is."""
    assert Lab().call("POST", CREATE, content=b"{").status_code == 400


@pytest.mark.parametrize(
    "url", ["ftp://shop.example/a.png", "http://shop.example/a.png", "mug.png", "file:///etc/passwd"]
)
def test_an_image_must_be_https_data_or_an_asset(url: str) -> None:
    """Everything else is refused by name."""
    answer = Lab().create(image_urls=[url])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "input.image_urls"


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,!!!", "data:image/png;base64,", "data:text/plain;base64,QUJD", "data:image/png,abc"]
)
def test_a_data_uri_must_hold_an_image_in_base64(uri: str) -> None:
    """What cannot be decoded is refused."""
    assert Lab().create(image_urls=[uri]).status_code == 422
