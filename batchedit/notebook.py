"""What a notebook shows of a plan and of a report. No script, and every text from outside is text."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from batchedit.money import format_usd
from batchedit.plan import VERDICT_WORDS
from batchedit.redaction import harmless, redact

if TYPE_CHECKING:
    from batchedit.planned import Plan

_HEIGHT = 640
_SHOWN = 10
_CELL = "text-align:left;padding:2px 12px 2px 0"
_NUMBER = "text-align:right;padding:2px 12px 2px 0"


class ReportText(str):
    """
    A report, as text in the form that was asked for; a notebook shows it as what it is.

    A page is shown in a frame of its own, without scripts and with the page's own policy.
    """

    __slots__ = ("is_page",)
    is_page: bool

    def __new__(cls, text: str, *, is_page: bool) -> ReportText:
        made = super().__new__(cls, text)
        made.is_page = is_page
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Elsewhere it is a text like any other."""
        return (str, (str(self),))

    def _repr_html_(self) -> str:
        if not self.is_page:
            return f"<pre>{_text(self)}</pre>"
        return (
            f'<iframe sandbox title="batchedit report" style="width:100%;height:{_HEIGHT}px;border:1px solid #ccc"'
            f' srcdoc="{escape(self)}"></iframe>'
        )


def plan_html(plan: Plan) -> str:
    """A plan as a table: what is to be done, for how much, what is wrong; for notebooks."""
    figures, quote = plan.figures, plan.figures.quote
    if plan.mark is not None:
        rows = [("", "nothing is left to do")]
    else:
        rows = [(f"{figures.counts[verdict]:,}", words) for verdict, words in VERDICT_WORDS.items()
                if figures.counts[verdict]]  # fmt: skip
    if figures.orphans:
        rows.append((f"{figures.orphans:,}", "not in the manifest any more: nothing is done about them"))
    money = "rehearsal money" if plan.rehearsal else f"{plan.settings.name}, prices of {plan.prices.name}"
    facts = [("quote", f"{format_usd(quote.low)} to {format_usd(quote.high)} ({money})")] if figures.purchases else []
    if plan.manifest.budget is not None:
        facts.append(("budget", format_usd(plan.manifest.budget)))
    facts += [("skipped", f"{skip.place}: {skip.reason} ({skip.count})") for skip in plan.findings.skipped[:_SHOWN]]
    problems = [*plan.findings.problems, *plan.findings.warnings]
    facts += [("warning" if problem.warning else "problem", str(problem)) for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        facts.append(("", f"and {len(problems) - _SHOWN} more"))
    table = "".join(
        f'<tr><td style="{_NUMBER}">{_text(a)}</td><td style="{_CELL}">{_text(b)}</td></tr>' for a, b in rows
    )
    table += "".join(
        f'<tr><th style="{_CELL}">{_text(a)}</th><td style="{_CELL}">{_text(b)}</td></tr>' for a, b in facts
    )
    head = f"<b>{_text(plan.manifest.name)}</b>: {figures.tasks:,} tasks for {_text(str(plan.workspace.root))}"
    return f'<div class="batchedit-plan">{head}<table>{table}</table></div>'


def _text(text: str) -> str:
    return escape(harmless(redact(text)))
