"""Price lists: the shipped one, one of your own, what is not in them, how old they are, and how far bills lie off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from batchedit.cli import planning
from batchedit.model import Params, Quote
from batchedit.money import MicroUSD
from batchedit.pricing import PriceLine, PriceList, shipped_prices
from tests.conftest import Result, Served, Shop

Cli = Callable[..., Result]
Serve = Callable[..., Served]

OWN = """\
version: "contract 7"
currency: USD
lines:
  - {provider: runflow, model: openai/gpt-image-2/edit, quality: high, any_size: true, low: "0.10", high: "0.11",
     source: "our contract", date: 2026-11-20}
"""


def own_list(*dates: str, version: str = "x") -> PriceList:
    quote = Quote(low=MicroUSD(1), high=MicroUSD(2))
    lines = (
        PriceLine(provider="p", model="m", quality="low", pixels_up_to=None, quote=quote, source="s", date=day)
        for day in dates
    )
    return PriceList(version=version, lines=tuple(lines))


def test_every_shipped_line_has_its_source_and_date(cli: Cli, shop: Shop) -> None:
    """Both forms show all of them, and that it is the shipped list."""
    data = cli("prices", "--json").json()
    assert (data["price_list"], data["file"], len(data["lines"])) == (
        shipped_prices().version, "", len(shipped_prices().lines),
    )  # fmt: skip
    assert all(line["source"] and date.fromisoformat(line["date"]) for line in data["lines"])
    text = cli("prices").out
    assert "the list that comes with batchedit" in text
    assert all(line.source in text for line in shipped_prices().lines)


def test_a_list_of_one_s_own_decides_quotes(cli: Cli, shop: Shop, jobs: Path) -> None:
    """By flag or by manifest, the flag first; the plan and the command say which one it is."""
    shop.write("own.yaml", OWN)
    shop.write("dear.yaml", OWN.replace("0.11", "5"))
    by_flag = cli("plan", jobs, "--out", "out", "--prices", "own.yaml", "--json").json()
    assert (by_flag["quote"], by_flag["price_list_file"]) == ({"low": "0.30", "high": "0.33"}, "own.yaml")
    shop.write(
        "night.yaml", "version: 1\nprices: own.yaml\ndefaults: {prompt: grayscale}\nsources: [{glob: in/*.png}]\n"
    )
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["quote"] == {"low": "0.30", "high": "0.33"}
    both = cli("plan", "night.yaml", "--out", "out", "--prices", "dear.yaml")
    assert "$0.30 to $15.00" in both.out
    assert "prices of contract 7 (dear.yaml)" in both.out
    assert "your own list, own.yaml" in cli("prices", "night.yaml").out
    assert cli("prices", "night.yaml", "--prices", "dear.yaml", "--json").json()["file"] == "dear.yaml"


def test_what_has_no_price_is_not_bought(cli: Cli, shop: Shop, jobs: Path) -> None:
    """An unknown price is never $0: exit code 2, with what to do."""
    shop.write("own.yaml", OWN)
    result = cli("run", jobs, "--out", "out", "--prices", "own.yaml", "--quality", "low")
    assert result.code == 2
    assert "no price is known for openai/gpt-image-2/edit at quality low" in result.err
    assert "--prices" in result.err
    assert shop.outputs() == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("plan", "jobs.csv", "--prices", "gone.yaml"), "gone.yaml"),
        (("plan", "jobs.csv", "--prices", "jobs.csv"), "a price list is a mapping"),
        (("plan", "jobs.csv", "--prices", "own.yaml", "--save", "p.json"), "write `prices:` into the manifest"),
        (("prices", "--prices", "in"), "in"),
        (("prices", "gone.yaml"), "gone.yaml"),
    ],
)
def test_bad_flags(cli: Cli, shop: Shop, jobs: Path, flags: tuple[str, ...], words: str) -> None:
    """Exit code 2 and a sentence."""
    shop.write("own.yaml", OWN)
    result = cli(*flags)
    assert (result.code, words in result.err) == (2, True), result.err


def test_the_age_of_a_list_is_that_of_its_newest_figure() -> None:
    """A version that is a date counts too: somebody has looked at the list on that day."""
    today = date(2026, 11, 25)
    assert own_list("2026-10-01", "2026-10-26").age(today) == 30
    assert own_list("2026-10-01", version="2026-11-23").age(today) == 2
    assert planning.old_prices(own_list("2026-10-26"), today) == []
    (note,) = planning.old_prices(own_list("2026-10-25"), today)
    assert "31 days old" in note


def test_an_old_list_is_pointed_out_in_the_plan(
    cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of that day."""
    newest = date.fromisoformat(shipped_prices().version)
    for days, said in ((30, False), (31, True)):
        monkeypatch.setattr(planning, "today", lambda days=days: date.fromordinal(newest.toordinal() + days))
        assert (f"the price list is {days} days old" in cli("plan", jobs, "--out", "out").out) == said
        assert cli("plan", jobs, "--out", "out", "--json").json()["price_list_days"] == days


def test_prices_of_samples_and_sizes() -> None:
    """So many pictures, so many times the price; the line for the nearest size."""
    prices = shipped_prices()
    model = "openai/gpt-image-2/edit"
    assert prices.quote("runflow", model, Params(quality="high", samples=3)).low == 3 * 133_000
    assert prices.quote("runflow", model, Params(quality="high", size="2560x1440")).high == 230_000


@pytest.mark.parametrize(("high", "words"), [("0.005", "$0.008 more was spent"), ("0.02", "")])
def test_a_report_says_how_far_bills_lie_off(cli: Cli, shop: Shop, serve: Serve, high: str, words: str) -> None:
    """Quoted against actual: said once in the run, and in each form of the report for people."""
    served = serve()
    shop.write("own.yaml", OWN.replace("high, any", "low, any").replace("0.10", "0.001").replace("0.11", high))
    rows = "items: [{id: a, image: in/mug.png}, {id: b, image: in/lamp.png}]\n"
    served.manifest(shop, rows=rows, prices="own.yaml")
    result = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert result.code == 0, result.err
    assert result.out.count("the provider bills $0.009 where the price list says") == bool(words)
    for form in ((), ("--html", "-")):
        text = cli("report", "out", *form).out
        assert ("more was spent" in text) == bool(words)
        assert words in text
    assert "quoted     $0.002 to" in cli("report", "out").out
