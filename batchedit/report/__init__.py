"""Where the money went: figures from a ledger as text or JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from batchedit.ledger.books import Books
from batchedit.ledger.reader import ledger_at
from batchedit.report.as_json import figures_json
from batchedit.report.text import report_text
from batchedit.summary import summarize


def render_report(
    ledger: Path | str, *, by: Iterable[str] | None = None, form: Literal["text", "json"] = "text"
) -> str:
    """
    The cost report of one ledger. Reads only, also while a run is going on.

    Args:
        ledger: The ledger's file, or the output folder that holds it.
        by: Names of labels, or ``day``, ``edit``, ``variant``, ``quality``, ``size``, ``model``; None for every label
            and the day.
        form: ``text`` for people, ``json`` for programs.

    Raises:
        LedgerError: if there is no ledger, or it cannot be used.
    """
    with Books(ledger_at(ledger)) as reader:
        figures = summarize(
            reader.cost_groups(),
            reader.task_groups(),
            troubles=reader.troubles(),
            durations=reader.durations(),
            by=by,
        )
        runs, world = reader.runs(), reader.world()
    if form == "json":
        return figures_json(figures, runs, world)
    return report_text(figures, runs, world)
