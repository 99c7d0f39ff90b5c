"""A report as Markdown, for the summary of a build or a note to colleagues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from batchedit.money import decimal_text, format_usd
from batchedit.report.advice import next_step
from batchedit.report.page import Page
from batchedit.report.text import OVERLAPPING
from batchedit.summary import Figures, Money

_ROWS = 25
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|&~])")
_COLUMNS = ("requests", "delivered", "spent $", "waste $", "at risk $")


def report_markdown(figures: Figures, page: Page, where: Path | str, words: str) -> str:
    """The verdict, the figures, the tables and what to do, in this order."""
    lines = [f"## {_plain(page.title)}", "", f"**{_plain(page.verdict)}**", ""]
    if page.rehearsal:
        lines += ["_Rehearsal: no real money was spent._", ""]
    lines += _table(["", ""], [[tile.name, f"{tile.value} {_aside(tile.more)}"] for tile in page.tiles])
    for name in figures.by:
        shown, rest, which = figures.ranked(name, _ROWS)
        rows = [[_plain(value), *_cells(money)] for value, money in shown]
        if rest:
            rows.append([f"and {len(rest)} {which}", *("" for _ in _COLUMNS)])
        lines += [
            "",
            *_table([_plain(figures.heading(name)), *_COLUMNS], [*rows, ["**total**", *_cells(figures.total)]]),
        ]
        if name in figures.overlapping:
            lines += ["", OVERLAPPING]
    for line in (*page.spellings, *page.drifts, *page.prices):
        lines += ["", _plain(line)]
    if page.dearest:
        dear = [[_plain(row[0]), *row[1:]] for row in page.dearest]
        lines += ["", *_table(["dearest items", "spent $", "requests", "attempts"], dear)]
    if page.compared:
        rows = [[_plain(cell) for cell in row] for row in page.compared]
        lines += ["", *_table(["edit", "variant", "won", "ties", "share", "each"], rows), "", _plain(page.compared_by)]
    for trouble in figures.troubles[:_ROWS]:
        code = f" ({_plain(trouble.code)})" if trouble.code else ""
        lines += ["", f"- **{trouble.tasks} {trouble.state}**{code}: {_plain(trouble.reason)}"]
        if trouble.cost:
            lines[-1] += f" ({format_usd(trouble.cost)} spent)"
        lines[-1] += f". {_plain(next_step(trouble, where, words))}"
    for each in figures.unmet:
        lines += ["", f"- **{each.tasks} {each.verdict}** the check {_plain(each.name)}"]
    if page.steps:
        lines += ["", *(f"    {step}" for step in page.steps)]
    return "\n".join(lines)


def _cells(money: Money) -> list[str]:
    amounts = (decimal_text(amount) for amount in (money.spent, money.wasted, money.at_risk))
    return [str(money.requests), str(money.delivered) if money.delivered else "", *amounts]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"| {' | '.join(['---', *('--:' for _ in head[1:])])} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _aside(text: str) -> str:
    return f"({text})" if text else ""


def _plain(text: str) -> str:
    """A text from outside as nothing but text."""
    shown = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return _SPECIAL.sub(r"\\\1", shown)
