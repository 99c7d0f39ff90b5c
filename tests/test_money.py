"""Amounts and prices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.budget import Budget
from batchedit.errors import UsageError
from batchedit.model import DEFAULT_MODEL, Params, Quote
from batchedit.money import MicroUSD, decimal_text, format_usd, parse_usd
from batchedit.pricing import shipped_prices

AMOUNTS = st.integers(min_value=0, max_value=10**12)


@given(AMOUNTS)
def test_text_and_amount_are_inverses(amount: int) -> None:
    """What is printed reads back as the same amount, to the micro-dollar."""
    assert parse_usd(decimal_text(amount)) == amount
    assert parse_usd(format_usd(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0.133", 133_000), ("$25", 25_000_000), (" 1_000.5 ", 1_000_500_000), ("0.0000001", 1), ("0", 0), ("1e-3", 1000)],
)
def test_parsing(text: str, amount: int) -> None:
    """Dollars as people and APIs write them; fractions of a micro-dollar round up."""
    assert parse_usd(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "NaN", "Infinity", "1,5", "abc", "1e30", "1e1000000", "$-2"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Nothing that is not a finite amount of 0 or more becomes money."""
    with pytest.raises(ValueError, match="dollar"):
        parse_usd(text)


@pytest.mark.parametrize(("amount", "text"), [(133_000, "$0.133"), (26_600_000, "$26.60"), (1, "$0.000001")])
def test_amounts_are_never_rounded_for_display(amount: int, text: str) -> None:
    """At least two decimals, and as many as it takes."""
    assert format_usd(amount) == text


def test_the_listed_price_of_a_high_quality_edit() -> None:
    """The figure of the project's brief, and the worst price found for the same thing."""
    quote = shipped_prices().quote("runflow", DEFAULT_MODEL, Params())
    assert quote == Quote(low=MicroUSD(133_000), high=MicroUSD(219_000))


def test_several_samples_cost_several_times_as_much() -> None:
    """A request for four pictures is quoted at four times the price."""
    one = shipped_prices().quote("runflow", DEFAULT_MODEL, Params(quality="medium"))
    assert shipped_prices().quote("runflow", DEFAULT_MODEL, Params(quality="medium", samples=4)) == one.times(4)


@pytest.mark.parametrize("quality", ["low", "medium", "high"])
def test_larger_pictures_never_cost_less(quality: str) -> None:
    """The worst price grows with the size, and is known up to the largest one."""
    sizes = ["1024x1024", "1536x1536", "2560x1440", "3840x2160"]
    highs = [shipped_prices().quote("runflow", DEFAULT_MODEL, Params(quality=quality, size=s)).high for s in sizes]
    assert highs == sorted(highs)


@pytest.mark.parametrize(("provider", "model"), [("elsewhere", DEFAULT_MODEL), ("runflow", "other/model")])
def test_an_unknown_price_is_an_error_and_never_zero(provider: str, model: str) -> None:
    """Without a price no budget can be kept."""
    with pytest.raises(UsageError, match="no price is known"):
        shipped_prices().quote(provider, model, Params())


def test_every_line_of_the_price_list_names_its_source_and_date() -> None:
    """A price without a source is a rumour."""
    assert all(line.source and line.date >= "2026" for line in shipped_prices().lines)


@given(
    limit=AMOUNTS,
    steps=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.booleans()), max_size=60),
)
def test_a_budget_is_never_passed(limit: int, steps: list[tuple[int, int, bool]]) -> None:
    """With any number in flight, spent and held together stay within the limit if costs keep to the worst price."""
    budget = Budget(limit=MicroUSD(limit))
    open_prices: list[int] = []
    for worst, cost, settle in steps:
        if budget.reserve(MicroUSD(worst)):
            open_prices.append(worst)
        if settle and open_prices:
            price = open_prices.pop(0)
            budget.settle(MicroUSD(price), MicroUSD(min(cost, price)))
        assert budget.spent + budget.held <= limit
        assert budget.held == sum(open_prices)


def test_a_refused_reservation_holds_nothing() -> None:
    """The request that does not fit leaves the account as it was."""
    budget = Budget(limit=MicroUSD(100), spent=MicroUSD(60))
    assert not budget.reserve(MicroUSD(41))
    assert (budget.spent, budget.held, budget.left) == (60, 0, 40)


def test_more_than_is_held_cannot_be_given_back() -> None:
    """A book-keeping mistake is an error, not a free dollar."""
    with pytest.raises(ValueError, match="only 0 are held"):
        Budget().release(MicroUSD(1))
