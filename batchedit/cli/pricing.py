"""The command `prices`: what is expected to cost what, where that was read, and when."""

from __future__ import annotations

import json

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, PRICES, prices_from
from batchedit.cli.voice import say
from batchedit.errors import ExitCode
from batchedit.money import decimal_text


@cli.command()
@click.argument("manifest", required=False)
@PRICES
@JSON
@DEBUG
def prices(manifest: str | None, prices: str | None, as_json: bool, debug: bool) -> int:
    """
    Show the price list that MANIFEST is planned with; without one, the list that comes with batchedit.
    """
    from batchedit.cli.planning import old_prices, today
    from batchedit.manifest import load_manifest
    from batchedit.pricing import shipped_prices

    own = prices_from(prices)
    if own is None and manifest is not None:
        own = load_manifest(manifest).prices
    active = own or shipped_prices()
    if as_json:
        lines = [
            {
                "provider": line.provider,
                "model": line.model,
                "quality": line.quality,
                "pixels_up_to": line.pixels_up_to,
                "low": decimal_text(line.quote.low),
                "high": decimal_text(line.quote.high),
                "source": line.source,
                "date": line.date,
            }
            for line in active.lines
        ]
        head = {"version": 1, "price_list": active.version, "file": active.origin, "days": active.age(today())}
        say(json.dumps({**head, "currency": "USD", "lines": lines}, indent=2, ensure_ascii=False))
        return ExitCode.DONE
    where = f"your own list, {active.origin}" if active.origin else "the list that comes with batchedit"
    say(f"prices of {active.version}: {where}; US dollars for a picture, as listed and at worst")
    for note in old_prices(active, today()):
        say(note.strip())
    for line in active.lines:
        size = "any size" if line.pixels_up_to is None else f"up to {line.pixels_up_to:,} pixels"
        low, high = decimal_text(line.quote.low), decimal_text(line.quote.high)
        say(f"{line.provider}  {line.model}  {line.quality:<6}  {size:<22}  {low} to {high}")
        say(f"    {line.date}  {line.source}")
    return ExitCode.DONE
