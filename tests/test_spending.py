"""A manifest that would spend a fortune: what it would cost is said, and nothing is sent before somebody has agreed."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest

from tests.conftest import Result, Served, Shop
from tests.middle import Middle
from tests.proof import count

Tampered = Callable[..., tuple[Served, Middle]]


@pytest.mark.parametrize("form", ["runs", "run"])
def test_a_million_rows_send_nothing_without_consent(
    cli: Callable[..., Result], shop: Shop, tampered: Tampered, form: str
) -> None:
    """5,000 rows of four dear pictures each, or all 1,000,000: plan, run and pilot make not one call of any kind."""
    served, proxy = tampered()
    rows = count(5_000, 1_000_000)
    with (shop.root / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "image", "prompt"))
        writer.writerows((f"r{number}", "in/mug.png", f"put it on table {number}") for number in range(rows))
    manifest = served.manifest(
        shop,
        rows="sources:\n  - csv: rows.csv\n",
        provider=f", api: {form}",
        defaults="{quality: high, n: 4, size: 3840x2160, output: '{{ id }}-{{ sample }}.{{ ext }}'}",
        limits=f"{{jobs: {rows}}}",
        budget="{warn_at: [50]}",
    )
    planned = cli("plan", manifest, "--json")
    assert planned.code == 0, planned.err
    told = planned.json()
    assert (told["requests_to_buy"], told["pictures_to_buy"]) == (rows, 4 * rows)
    high = float(told["quote"]["high"])
    assert high > 0.1 * rows
    for words in (("run",), ("run", "--no-input"), ("pilot", "--tasks", "5")):
        done = cli(words[0], manifest, *words[1:])
        assert done.code == 2
        assert "nobody has agreed to it" in done.err
    assert proxy.seen == []
    assert served.audit()["billed_runs_total"] == 0
    assert shop.outputs() == []


def test_more_tasks_than_a_manifest_names_are_refused(
    cli: Callable[..., Result], shop: Shop, tampered: Tampered
) -> None:
    """Even with consent: a table that has grown overnight is not what was agreed to."""
    served, proxy = tampered()
    shop.table("rows.csv", [{"id": f"r{number}", "image": "in/mug.png"} for number in range(300)])
    named = "{prompt: grayscale, output: '{{ id }}.{{ ext }}'}"
    manifest = served.manifest(shop, rows="sources:\n  - csv: rows.csv\n", limits="{jobs: 299}", defaults=named)
    done = cli("run", manifest, "--yes")
    assert done.code == 2
    assert "1 problem, nothing was sent" in done.err
    assert "limits.jobs" in done.err
    assert proxy.seen == []
