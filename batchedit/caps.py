"""The limits of a manifest's budget on a run: one account for each label's value, filled with what was spent before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from batchedit.budget import Account, Name, account_names
from batchedit.errors import Problem
from batchedit.ledger.reader import Ledger
from batchedit.ledger.reads import LedgerReads
from batchedit.manifest import Findings
from batchedit.manifest.layers import Spending
from batchedit.model import Quote, Task
from batchedit.money import ZERO, MicroUSD, format_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodCap:
    """
    The most that may be spent and at risk in a stretch of time, in micro-dollars.

    Attributes:
        label, value: Whose spending is meant; both empty for everybody's. `label` may be ``edit``.
        period: The stretch in words, such as ``the night of 2026-11-25``.
        since, until: ISO moments (UTC): what ended between them counts, and whatever is still open.
        warn_at: Percent of it at which a warning is due; `warned` is the highest that was told already.
        spent, held: What counts besides, from elsewhere: other ledgers of the same job.
    """

    amount: MicroUSD
    period: str
    since: str
    until: str
    label: str = ""
    value: str = ""
    spent: MicroUSD = ZERO
    held: MicroUSD = ZERO
    warn_at: tuple[int, ...] = ()
    warned: int = 0

    @property
    def name(self) -> Name:
        """Its account."""
        return (self.label, self.value, self.period)


def open_accounts(spending: Spending, ledger: LedgerReads, caps: Sequence[PeriodCap] = ()) -> dict[Name, Account]:
    """The accounts of the current run, with what counts against them already."""
    accounts: dict[Name, Account] = {(cap.label, cap.value): Account(limit=cap.amount) for cap in spending.caps}
    if accounts:
        for labels, edit, spent, held in ledger.money_by_labels():
            _charge(accounts, account_names(labels, edit), spent, held)
    for cap in caps:
        accounts[cap.name] = Account(
            limit=cap.amount, spent=cap.spent, held=cap.held, warn_at=cap.warn_at, warned=cap.warned
        )
    for since, until in dict.fromkeys((cap.since, cap.until) for cap in caps):
        of_period = {cap.name: accounts[cap.name] for cap in caps if (cap.since, cap.until) == (since, until)}
        periods = {name[2] for name in of_period}
        for labels, edit, spent, held in ledger.money_between(since, until):
            _charge(of_period, account_names(labels, edit, periods), spent, held)
    return accounts


def with_money_of(caps: Sequence[PeriodCap], ledger: Ledger) -> tuple[PeriodCap, ...]:
    """The caps, with what another ledger says counts against them."""
    found = []
    for cap in caps:
        account = Account(spent=cap.spent, held=cap.held)
        for labels, edit, spent, held in ledger.money_between(cap.since, cap.until):
            _charge({cap.name: account}, account_names(labels, edit, [cap.period]), spent, held)
        found.append(replace(cap, spent=account.spent, held=account.held))
    return tuple(found)


def _charge(accounts: Mapping[Name, Account], names: Iterable[Name], spent: MicroUSD, held: MicroUSD) -> None:
    for name in names:
        account = accounts.get(name)
        if account is not None:
            account.spent = MicroUSD(account.spent + spent)
            account.hold(held)


def refuse_dear(task: Task, quote: Quote, limit: MicroUSD | None, findings: Findings) -> None:
    """Note a problem if a task's request may cost more than one request may."""
    if limit is not None and quote.high > limit:
        findings.problem(
            Problem(
                place=task.place,
                code="too-dear",
                field="budget.per_request",
                value=task.slot,
                message=f"this may cost up to {format_usd(quote.high)}, and one request may cost {format_usd(limit)}",
                hint="Choose a lower quality, a smaller size or fewer pictures, or raise budget.per_request",
            )
        )
