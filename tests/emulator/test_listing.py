"""The list of runs: filters in both dialects, order, projection, pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Runs a, b, a, c, one a minute; the second failed; the last is still running."""
    lab = Lab()
    lab.emulator.script("failed_unknown", match={"client_ref": "b"})
    for ref in ("a", "b", "a", "c"):
        lab.created(ref)
        lab.wait(60.0)
    lab.wait(-55.0)
    yield lab
    lab.emulator.close()


def found(lab: Lab, q: str, **more: str) -> list[str]:
    """The references that a filter finds, oldest first."""
    items = lab.get("/v1/runs", params={"q": q, "sort_by": "created_at:asc", **more})["items"]
    return [item["client_ref"] for item in items]


@pytest.mark.parametrize(
    ("q", "refs"),
    [
        ("client_ref.EQ:'a'", "aa"),
        ("client_ref:a", "aa"),
        ("client_ref=a", "aa"),
        ("client_ref:'a'", "aa"),
        ("client_ref.EQ:'A'", ""),
        ("client_ref.NE:'a'", "bc"),
        ("status_code:succeeded", "aa"),
        ("status_code.EQ:'failed'", "b"),
        ("status_code:running", "c"),
        ("client_ref:a AND status_code:failed", ""),
        ("client_ref.EQ:'a' AND created_at.GT:'2027-01-15T08:01:00Z'", "a"),
        ("created_at>2027-01-15", "abac"),
        ("created_at>=2027-01-15T08:01:00+00:00", "bac"),
        ("created_at<2027-01-15T08:01:00", "a"),
        ("created_at<=2027-01-15T08:01:00.000Z", "ab"),
        ("client_ref:b OR client_ref:c", "bc"),
        ("NOT client_ref:a", "bc"),
        ("(client_ref:a OR client_ref:b) AND NOT status_code:failed", "aa"),
        ("", "abac"),
    ],
)
def test_a_filter_finds_what_it_says(lab: Lab, q: str, refs: str) -> None:
    """Both dialects, AND, OR, NOT, brackets, times as times."""
    assert "".join(found(lab, q)) == refs


@pytest.mark.parametrize(
    "q", ["prompt:x", "metadata:x", "client_ref", "client_ref:a AND", "(client_ref:a", "client_ref ~ a", "created_at>x"]
)
def test_a_filter_that_is_not_understood_is_a_422(lab: Lab, q: str) -> None:
    """Metadata cannot be filtered; nothing is silently ignored."""
    assert lab.call("GET", "/v1/runs", params={"q": q}).status_code == 422


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"sort_by": "prompt"}, {"fields": "x"}, {"pq": "x"}]
)
def test_other_parameters_are_checked(lab: Lab, query: dict[str, str]) -> None:
    """422, as for the filter."""
    assert lab.call("GET", "/v1/runs", params=query).status_code == 422


def test_the_projection_shows_only_what_was_asked_for(lab: Lab) -> None:
    """Also the output, so that one call can return results."""
    fields = "id,status_code,client_ref,output,input,cost,duration_ms,created_at"
    items = lab.get("/v1/runs", params={"fields": fields, "q": "status_code:succeeded"})["items"]
    assert {",".join(item) for item in items} == {fields}
    assert items[0]["output"]["outputs"][0]["url"]


def test_the_order_is_newest_first_unless_asked_otherwise(lab: Lab) -> None:
    """Ties are broken by age."""
    assert [item["client_ref"] for item in lab.get("/v1/runs")["items"]] == list("caba")
    by_state = lab.get("/v1/runs", params={"sort_by": "status_code:desc,created_at:asc"})["items"]
    assert [item["status_code"] for item in by_state] == ["succeeded", "succeeded", "running", "failed"]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_hold_every_run_once(direction: str) -> None:
    """Also when new runs arrive between two pages; and the way back leads to the same page."""
    lab = Lab()
    known = [lab.created(f"r{number}") for number in range(5)]
    pages: list[dict[str, Any]] = [lab.get(f"/v1/runs?limit=2&sort_by=created_at:{direction}")]
    while pages[-1]["next"]:
        pages.append(lab.get(pages[-1]["next"]))
        if direction == "desc":
            lab.wait(1.0)
            lab.created("late")
    assert sorted(item["id"] for page in pages for item in page["items"]) == sorted(known)
    back = lab.get(pages[-1]["previous"])["items"]
    assert [item["id"] for item in back] == [item["id"] for item in pages[-2]["items"]]
