"""A pilot: a seeded sample that counts, what is measured on it, and the projection of the rest."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.money import MicroUSD, parse_usd
from batchedit.pilot import Projection, Rest, Trial, project, share, wilson
from tests.conftest import Result, Served, Shop, database, draw_picture

Cli = Callable[..., Result]
Serve = Callable[..., Served]

# -- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "count", "low", "high"),
    [(0.0, 20, 0.0, 0.1611), (0.5, 10, 0.2366, 0.7634), (1.0, 5, 0.5655, 1.0), (0.1, 100, 0.0552, 0.1744)],
)
def test_wilson_intervals_are_those_of_the_books(found: float, count: int, low: float, high: float) -> None:
    """Figures that any table has."""
    interval = wilson(found, count)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def trial(cost: int, *, stratum: str = "", quoted: int = 100, most: int | None = None) -> Trial:
    most = cost if most is None else most
    return Trial(stratum=(stratum,), quoted=MicroUSD(quoted), cost=MicroUSD(cost), most=MicroUSD(most), failed=not cost)


def rest(**counts: int) -> dict[tuple[str, ...], Rest]:
    return {(name,): Rest(requests=count, quoted=MicroUSD(100 * count)) for name, count in counts.items()}


TRIALS = st.lists(
    st.builds(trial, st.sampled_from([0, 90, 100, 130]), stratum=st.sampled_from(["a", "b"])), min_size=1, max_size=25
)


@given(TRIALS, st.integers(0, 500), st.integers(0, 500), st.integers(0, 9))
def test_the_likely_cost_lies_within_its_interval(trials: list[Trial], a: int, b: int, seed: int) -> None:
    """Whatever was found; the same seed says the same, and nothing left costs nothing."""
    left = rest(a=a, b=b)
    found = project(trials, left, random.Random(seed))
    assert found == project(trials, left, random.Random(seed))
    if found is None:
        assert not any(each.most for each in trials)
        return
    assert 0 <= found.low <= found.likely <= found.high <= 130 * (a + b)
    if not a + b:
        assert found == Projection(low=MicroUSD(0), likely=MicroUSD(0), high=MicroUSD(0))


def test_strata_weigh_as_much_as_there_is_left_of_them() -> None:
    """Ten of each were bought, but nearly all that is left is of the dear kind that never fails."""
    trials = [trial(200, stratum="dear")] * 10 + [trial(100, stratum="cheap")] * 5 + [trial(0, stratum="cheap")] * 5
    left = rest(dear=990, cheap=10)
    found = project(trials, left, random.Random(0))
    assert found is not None
    assert found.likely == pytest.approx((990 * 200 + 10 * 100) * (1 - 0.005), rel=1e-4)
    failed = share([(each.stratum, each.failed) for each in trials], left)
    assert failed is not None
    assert failed.likely == pytest.approx(0.005)


def test_what_is_at_risk_counts_for_the_high_end() -> None:
    """An unknown outcome may have been billed: the low end counts nothing for it, the high end its worst price."""
    sure = project([trial(100)] * 9, rest(**{"": 100}), random.Random(0))
    unsure = project([trial(100)] * 9 + [trial(0, most=300)], rest(**{"": 100}), random.Random(0))
    assert sure is not None
    assert unsure is not None
    assert unsure.low < sure.low
    assert unsure.high > sure.high


def test_the_interval_holds_as_often_as_it_says() -> None:
    """Samples of 20 from a thousand with every tenth free: the true cost lies within it in at least 95 of 100 cases."""
    chance, inside, rounds = random.Random(1), 0, 100
    for _ in range(rounds):
        costs = [0 if chance.random() < 0.1 else chance.choice([90, 100, 130]) for _ in range(1000)]
        chance.shuffle(costs)
        found = project([trial(cost) for cost in costs[:20]], rest(**{"": 980}), random.Random(0))
        assert found is not None
        inside += found.low <= sum(costs[20:]) <= found.high
    assert Fraction(inside, rounds) >= Fraction(95, 100)


# -- by the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def clients(shop: Shop) -> Shop:
    """Twelve small pictures for two clients, nine of them of the first."""
    rows = []
    for number in range(12):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (20 * number, 90, 200 - 10 * number), side=48)
        client = "globex" if number % 4 == 3 else "acme"
        rows.append({"id": f"p{number:02}", "image": f"many/p{number:02}.png", "client": client})
    shop.table("rows.csv", rows)
    return shop


def manifest(shop: Shop, head: str = "") -> Path:
    return shop.write(
        "night.yaml",
        f"version: 1\n{head}defaults: {{quality: low, prompt: grayscale, labels: {{client: '{{{{ client }}}}'}}}}\n"
        "sources: [{csv: rows.csv}]\n",
    )


def provider(served: Served) -> str:
    return (
        f"provider: {{name: runflow, base_url: '{served.url}'}}\n"
        "limits: {timeout: 2, list_lag: 0, poll: 0.05, rpm: 6000, attempts: 2}\n"
    )


def pilot(cli: Cli, *flags: str) -> dict[str, Any]:
    result = cli("pilot", "night.yaml", "--out", "out", "--json", *flags)
    data: dict[str, Any] = {**result.json(), "code": result.code}
    return data


def test_a_pilot_counts_and_the_run_buys_only_the_rest(cli: Cli, clients: Shop) -> None:
    """Same ledger, same slots; the projection is what the rest then costs."""
    manifest(clients)
    data = pilot(cli, "-n", "4", "--stratify", "client")
    assert (data["code"], data["spent"], data["pilot"]["per_picture"]) == (0, "0.036", "0.009")
    assert data["pilot"]["failure_rate"]["likely"] == 0
    assert data["pilot"]["rest"]["requests"] == 8
    projected = {name: parse_usd(amount) for name, amount in data["pilot"]["rest"]["projected"].items()}
    with database("out/.batchedit/ledger.db") as db:
        clients_of = [json.loads(row[0])["client"] for row in db.execute("SELECT labels FROM tasks")]
    assert sorted(clients_of) == ["acme", "acme", "globex", "globex"]
    done = cli("run", "night.yaml", "--out", "out", "--json").json()
    assert done["spent"] == "0.072"
    assert projected["low"] <= parse_usd(done["spent"]) <= projected["high"]
    assert projected["likely"] == parse_usd(done["spent"])


def test_the_same_pilot_again_buys_nothing_and_says_the_same(cli: Cli, clients: Shop) -> None:
    """Also after the full run, when there is nothing left to project."""
    manifest(clients)
    flags = ("-n", "4", "--seed", "7")
    first, again = pilot(cli, *flags), pilot(cli, *flags)
    assert again["spent"] == "0.00"
    assert again["pilot"] == first["pilot"]
    cli("run", "night.yaml", "--out", "out")
    after = pilot(cli, *flags)["pilot"]
    assert (after["spent"], after["rest"]["requests"]) == (first["pilot"]["spent"], 0)
    assert after["rest"]["projected"] == {"low": "0.00", "likely": "0.00", "high": "0.00"}


def test_a_pilot_for_people(cli: Cli, clients: Shop) -> None:
    """Measured figures, the projection with its method, and the next commands."""
    manifest(clients)
    result = cli("pilot", "night.yaml", "--out", "out", "-n", "3")
    assert result.code == 0
    for words in (
        "pilot of 3 tasks: $0.027 spent (rehearsal money)",
        "each     $0.009 for a delivered picture",
        "latency  median",
        "failed   0 of 3: 0.0 % (95 % interval 0.0 to 56.1 %)",
        "for 9 requests, most likely $0.081",
        "percentile bootstrap",
        "--html report.html",
        "batchedit run night.yaml",
    ):
        assert words in result.out, result.out


def test_a_pilot_needs_consent_as_a_run_does(cli: Cli, clients: Shop, serve: Serve) -> None:
    """Nobody agreed: exit code 2, nothing bought. With a budget it goes on."""
    served = serve()
    manifest(clients, provider(served))
    refused = cli("pilot", "night.yaml", "--out", "out", "-n", "2", "--no-input")
    assert (refused.code, "nobody has agreed" in refused.err) == (2, True)
    assert not served.audit()["runs"]
    assert cli("pilot", "night.yaml", "--out", "out", "-n", "2", "--no-input", "--budget", "1").code == 0
    assert len(served.audit()["runs"]) == 2


def test_failures_are_measured_and_projected(cli: Cli, clients: Shop, serve: Serve) -> None:
    """Two of six are refused for good: a third, within its interval; the bill of the whole lies within the projection."""
    served = serve()
    served.emulator.script("failed_moderation", times=2)
    manifest(clients, provider(served))
    data = pilot(cli, "-n", "6", "--yes")
    assert data["code"] == 3
    found = data["pilot"]
    assert (found["requests"], found["failed"], found["spent"], found["per_picture"]) == (6, 2, "0.036", "0.009")
    assert found["failure_rate"] == {"low": 0.0968, "likely": 0.3333, "high": 0.7}
    assert found["rest"]["projected"]["likely"] == "0.036"
    served.emulator.script("failed_moderation", times=2)
    cli("run", "night.yaml", "--out", "out", "--yes")
    billed = served.audit()["billed_microusd_total"] - parse_usd(found["spent"])
    projected = {name: parse_usd(amount) for name, amount in found["rest"]["projected"].items()}
    assert projected["low"] <= billed <= projected["high"]
    assert len({run["client_ref"] for run in served.audit()["runs"]}) == 12


def test_nothing_billed_leaves_the_quotes(cli: Cli, clients: Shop, serve: Serve) -> None:
    """Everything failed: no cost was measured, and none is made up."""
    served = serve()
    served.emulator.script("failed_moderation", times=2)
    manifest(clients, provider(served))
    result = cli("pilot", "night.yaml", "--out", "out", "-n", "2", "--yes")
    assert result.code == 3
    assert "$0.09 to $0.10 for 10 requests, as quoted" in result.out
    assert "failed   2 of 2" in result.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--stratify", "clinet"), "Did you mean 'client'?"),
        (("-n", "0"), "-n"),
        (("--budget", "lots"), "--budget: 'lots' is not an amount"),
        (("--samples", "9"), "--samples"),
    ],
)
def test_bad_flags(cli: Cli, clients: Shop, flags: tuple[str, ...], words: str) -> None:
    """Exit code 2 and a sentence."""
    manifest(clients)
    result = cli("pilot", "night.yaml", "--out", "out", *flags)
    assert (result.code, words in result.err) == (2, True), result.err
