"""The limits of a manifest's budget on a run: one account for each label's value, filled with what was spent before."""

from __future__ import annotations

from batchedit.budget import Account, Name
from batchedit.errors import Problem
from batchedit.ledger.reads import LedgerReads
from batchedit.manifest import Findings
from batchedit.manifest.layers import Spending
from batchedit.model import Quote, Task
from batchedit.money import MicroUSD, format_usd


def open_accounts(spending: Spending, ledger: LedgerReads) -> dict[Name, Account]:
    """The accounts of the current run, with what counts against them already."""
    accounts: dict[Name, Account] = {(cap.label, cap.value): Account(limit=cap.amount) for cap in spending.caps}
    if accounts:
        for labels, edit, spent, held in ledger.money_by_labels():
            for name in (("edit", edit), *((label, value) for label, value in labels.items() if label != "edit")):
                account = accounts.get(name)
                if account is not None:
                    account.spent = MicroUSD(account.spent + spent)
                    account.hold(held)
    return accounts


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
