"""Where the money went: figures from a ledger as text or JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from batchedit.ledger.books import Books
from batchedit.ledger.reader import ledger_at
from batchedit.listing import selected_tasks
from batchedit.report.as_json import figures_json
from batchedit.report.text import report_text
from batchedit.summary import summarize


def render_report(
    ledger: Path | str,
    *,
    by: Iterable[str] | None = None,
    form: Literal["text", "json"] = "text",
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> str:
    """
    The cost report of one ledger. Reads only, also while a run is going on.

    Args:
        ledger: The ledger's file, or the output folder that holds it.
        by: Names of labels, or ``day``, ``edit``, ``variant``, ``quality``, ``size``, ``model``; None for every label
            and the day.
        form: ``text`` for people, ``json`` for programs.
        select, exclude: Only tasks that are meant by these, as ``--select`` and ``--exclude``. What equal tasks share
            counts with the one that bears the cost.

    Raises:
        LedgerError: if there is no ledger, or it cannot be used.
        UsageError: for a selector that cannot be read, or a label that no task has.
        NothingSelected: if no task is meant.
    """
    select, exclude = tuple(select), tuple(exclude)
    with Books(ledger_at(ledger)) as books:
        if select or exclude:
            books.restrict(task.slot for task in selected_tasks(books, select, exclude))
        figures = summarize(
            books.cost_groups(),
            books.task_groups(),
            troubles=books.troubles(),
            durations=books.durations(),
            by=by,
        )
        runs, world, waiting = books.runs(), books.world(), books.waiting()
    if form == "json":
        return figures_json(figures, runs, world, waiting)
    return report_text(figures, runs, world, waiting, ledger)
