"""Who agreed to spend how much. Nothing here runs for a rehearsal or when there is nothing to buy."""

from __future__ import annotations

import sys

import click

from batchedit.errors import ConsentMissing
from batchedit.money import MicroUSD, format_usd, parse_usd

ASK_ABOVE_REQUESTS = 50
ASK_ABOVE = MicroUSD(5_000_000)
TYPE_AMOUNT_ABOVE = MicroUSD(100_000_000)


def agree(
    *,
    requests: int,
    high: MicroUSD,
    to: str,
    limit: MicroUSD | None,
    yes: bool,
    may_ask: bool,
    ask_above_requests: int = ASK_ABOVE_REQUESTS,
    ask_above: MicroUSD = ASK_ABOVE,
) -> None:
    """
    Make sure that somebody agreed to the money.

    Args:
        requests: How many would be bought.
        high: What they may cost at most, in micro-dollars.
        to: The host that would be asked for them.
        limit: The budget from a flag or the manifest, None without one.
        yes: The flag ``--yes``.
        may_ask: A person can be asked.
        ask_above_requests: Up to so many need no question, if they are cheap.
        ask_above: Up to so much needs no question, if they are few.

    Raises:
        ConsentMissing: if nobody agreed and nobody can be asked.
    """
    if yes or limit is not None:
        return
    # A stream that is closed is None.
    if not (may_ask and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))):
        raise ConsentMissing(
            f"this would spend up to {format_usd(high)} and nobody has agreed to it",
            hint=f"add --budget {format_usd(high).lstrip('$')} (a limit that holds) or --yes",
        )
    if high > TYPE_AMOUNT_ABOVE:
        typed = click.prompt(f"This may cost {format_usd(high)} at {to}. Type the amount to agree", err=True)
        try:
            agreed = parse_usd(typed) >= high
        except ValueError:
            agreed = False
        if not agreed:
            raise ConsentMissing("that is not the amount; nothing was sent")
    elif (requests > ask_above_requests or high > ask_above) and not click.confirm(
        f"Buy {requests} edits for up to {format_usd(high)} at {to}?", err=True
    ):
        raise ConsentMissing("nothing was sent")
