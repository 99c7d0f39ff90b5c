"""
What an edit is expected to cost before it is bought, from a price list that is data.

The shipped list is `prices.yaml` beside this module; each line names its source and date.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from batchedit.errors import UsageError
from batchedit.model import Params, Quote, explicit_size
from batchedit.money import MicroUSD, parse_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """
    The price of one picture of one kind.

    Attributes:
        pixels_up_to: Largest picture it holds for, in pixels; None for sizes that the provider chooses.
        quote: Per picture, in micro-dollars.
        source: Where the figures were read.
        date: When, ISO.
    """

    provider: str
    model: str
    quality: str
    pixels_up_to: int | None
    quote: Quote
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """
    A versioned table of prices.

    Attributes:
        origin: The file that it was read from, as the user would type it; empty for the shipped one.
    """

    version: str
    lines: tuple[PriceLine, ...]
    origin: str = ""

    @property
    def name(self) -> str:
        """What plans and runs call it."""
        return f"{self.version} ({self.origin})" if self.origin else self.version

    def age(self, today: date) -> int:
        """Days since its figures were last looked at: the newest date of a line, or of the list if that is one."""
        dates = [line.date for line in self.lines]
        if _DATE.fullmatch(self.version):
            dates.append(self.version)
        return (today - date.fromisoformat(max(dates))).days

    def quote(self, provider: str, model: str, params: Params) -> Quote:
        """
        The expected cost of one request, all its pictures together.

        Raises:
            UsageError: if the list has no price for it. An unknown price is never $0.
        """
        pixels = explicit_size(params.size)
        wanted = None if pixels is None else pixels[0] * pixels[1]
        fitting = [
            line
            for line in self.lines
            if (line.provider, line.model, line.quality) == (provider, model, params.quality)
            and _covers(line.pixels_up_to, wanted)
        ]
        if not fitting:
            raise UsageError(
                f"no price is known for {model} at quality {params.quality} and size {params.size} on {provider}",
                hint="without a price no budget can be kept; write a price list of your own and name it with --prices",
            )
        nearest = min(fitting, key=lambda line: line.pixels_up_to or 0)
        return nearest.quote.times(params.samples)


_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d)")
OLD_DAYS = 30
"""A list that is older than this is pointed out in plans."""


def _covers(pixels_up_to: int | None, wanted: int | None) -> bool:
    if pixels_up_to is None or wanted is None:
        return pixels_up_to is None and wanted is None
    return wanted <= pixels_up_to


@cache
def shipped_prices() -> PriceList:
    """The price list that comes with the package."""
    import yaml  # kept off the start-up path of commands that show no price

    text = files("batchedit").joinpath("prices.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return PriceList(version=data["version"], lines=tuple(_lines(data["lines"])))


def _lines(rows: Sequence[dict[str, str]]) -> list[PriceLine]:
    return [
        PriceLine(
            provider=row["provider"],
            model=row["model"],
            quality=row["quality"],
            pixels_up_to=int(row["pixels_up_to"]) if "pixels_up_to" in row else None,
            quote=Quote(low=MicroUSD(parse_usd(row["low"])), high=MicroUSD(parse_usd(row["high"]))),
            source=row["source"],
            date=row["date"],
        )
        for row in rows
    ]
