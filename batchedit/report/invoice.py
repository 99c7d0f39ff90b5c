"""Comparing a ledger with what the provider asks for: an invoice, or a balance before and after."""

from __future__ import annotations

from dataclasses import dataclass

from batchedit.money import MicroUSD, format_usd
from batchedit.summary import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceCheck:
    """
    What came of it; amounts in micro-dollars.

    Attributes:
        difference: How much more the provider asks for than was spent; negative for less.
        agrees: True if the provider asks for what was spent, or for a part of what is at risk besides.
        remarks: What may explain a difference.
    """

    asked: MicroUSD
    spent: MicroUSD
    at_risk: MicroUSD
    difference: int
    agrees: bool
    remarks: tuple[str, ...]

    def text(self) -> str:
        """The check in a few lines."""
        if self.difference == 0:
            said = "agrees to the micro-dollar"
        elif self.agrees:
            said = f"{format_usd(self.difference)} more than spent, which what is at risk explains"
        else:
            said = f"{format_usd(abs(self.difference))} {'more' if self.difference > 0 else 'less'} than spent: differs"
        lines = [f"provider   {format_usd(self.asked)}: {said}"]
        return "\n".join([*lines, *(f"           {remark}" for remark in self.remarks)])


def check_invoice(figures: Figures, asked: MicroUSD) -> InvoiceCheck:
    """Compare what was spent with what the provider asks for, over the same time."""
    total = figures.total
    difference = asked - total.spent
    agrees = 0 <= difference <= total.at_risk
    remarks = []
    if difference and total.at_risk:
        remarks.append(f"{format_usd(total.at_risk)} is at risk: open or unknown purchases, and prices nobody named")
    guessed = {basis: amount for basis, amount in figures.basis.items() if basis != "reported" and amount}
    if difference and guessed:
        words = ", ".join(f"{format_usd(amount)} {basis}" for basis, amount in sorted(guessed.items()))
        remarks.append(f"not from the provider's own records: {words}")
    if difference and total.doubled:
        remarks.append(f"{format_usd(total.doubled)} may have been bought twice")
    if difference > total.at_risk:
        remarks.append("something was bought that is not in this ledger, or at another time than was looked at")
    elif difference < 0:
        remarks.append("the provider asks for less: a refund, a discount, or an invoice of another time")
    return InvoiceCheck(
        asked=asked,
        spent=total.spent,
        at_risk=total.at_risk,
        difference=difference,
        agrees=agrees,
        remarks=tuple(remarks),
    )
