"""
Money as whole micro-dollars, from parsing to SQL. A float never touches an amount.

One micro-dollar is a millionth of a US dollar, so that $0.133 is 133000 and sums are exact.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import NewType

MicroUSD = NewType("MicroUSD", int)
"""Whole micro-dollars. Never negative where it is stored."""

ZERO = MicroUSD(0)
_MICRO = Decimal(1_000_000)
_MAX = Decimal(10**9)  # dollars: anything above is a typing mistake


def parse_usd(text: str | int | Decimal) -> MicroUSD:
    """
    Read an amount in dollars, such as ``"0.133"``, ``"$25"`` or ``4``.

    Fractions below a micro-dollar are rounded up, so that a price is never understated.

    Raises:
        ValueError: if the text is no finite amount between 0 and a billion dollars.
    """
    try:
        amount = Decimal(text.strip().removeprefix("$").replace("_", "")) if isinstance(text, str) else Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount in dollars") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{text!r} is not an amount in dollars of 0 or more")
    if amount > _MAX:  # before the multiplication, which an absurd exponent would overflow
        raise ValueError(f"{text!r} is more than a billion dollars")
    return MicroUSD(int((amount * _MICRO).to_integral_value(rounding=ROUND_CEILING)))


def decimal_text(amount: int) -> str:
    """Dollars as plain text without a sign, at least two decimals and never rounded: ``0.133``, ``26.60``."""
    whole, fraction = divmod(abs(amount), 1_000_000)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{digits}"


def format_usd(amount: int) -> str:
    """Dollars for people, exact: ``$0.133``."""
    text = decimal_text(amount)
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"
