"""From a plan and a command's flags to a run: what `run`, `pilot` and `reconcile` have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from batchedit.cli.voice import say
from batchedit.errors import UsageError
from batchedit.money import MicroUSD, parse_usd

if TYPE_CHECKING:
    from batchedit.cli.printing import ProgressLine
    from batchedit.planned import Plan

T = TypeVar("T")


def limit_from(budget: str | None) -> MicroUSD | None:
    """
    The amount of `--budget`, None without one.

    Raises:
        UsageError: if it is none.
    """
    try:
        return None if budget is None else parse_usd(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}") from None


def pace_from(rate: int | str | None) -> tuple[int | None, bool | None]:
    """What `--rate` stands for in `RunOptions`: edits per minute, and whether the provider's limit is learnt."""
    return rate if isinstance(rate, int) else None, {"auto": True, "none": False}.get(str(rate))


def agree_to(plan: Plan, limit: MicroUSD | None, *, as_json: bool, yes: bool, no_input: bool) -> None:
    """
    Show a plan, and have somebody agree to it before real money is spent.

    Raises:
        ConsentMissing: if nobody did.
    """
    from batchedit.cli.consent import agree
    from batchedit.cli.planning import plan_text
    from batchedit.cli.printing import say_warnings

    say_warnings(plan)
    if not as_json:
        say(plan_text(plan, limit), err=True)
    figures = plan.figures
    if figures.purchases and plan.agreed is None and not plan.rehearsal:
        agreed = limit if limit is not None else plan.manifest.budget
        agree(requests=figures.purchases, high=figures.quote.high, limit=agreed, yes=yes, may_ask=not no_input)


def watched(work: Callable[[ProgressLine], T], *, quiet: bool) -> T:
    """Do something long with its progress shown."""
    from batchedit.cli.printing import ProgressLine

    progress = ProgressLine(quiet=quiet)
    try:
        return work(progress)
    finally:
        progress.close()
