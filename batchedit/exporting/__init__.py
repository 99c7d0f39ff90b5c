"""
A ledger in other programs' forms.

    ledger/views --> ledger/exports --> results, finance, lines, parquet, prometheus --> a stream, or a whole file
    dictionary --> datasette, docs/ledger.md

Everything is read and written a row at a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Literal

from batchedit.errors import UsageError
from batchedit.exporting.files import Target, text_to
from batchedit.exporting.finance import write_finance
from batchedit.exporting.lines import write_imagefolder, write_ndjson
from batchedit.exporting.parquet import write_parquet
from batchedit.exporting.prometheus import write_prometheus
from batchedit.exporting.results import write_results
from batchedit.ledger.exports import Exports
from batchedit.ledger.reader import ledger_at
from batchedit.ledger.tasks import selected_tasks
from batchedit.manifest import Manifest
from batchedit.report.as_csv import MARK

Form = Literal["results", "csv", "ndjson", "parquet", "imagefolder", "prometheus"]
_LINES = frozenset({".jsonl", ".ndjson"})


def export_ledger(
    form: Form,
    ledger: Path | str,
    target: Target,
    *,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    manifest: Manifest | None = None,
    raw: bool = False,
    bom: bool = False,
    zone: tzinfo = UTC,
    approved: bool = False,
) -> int:
    """
    Write a ledger in another form. A file appears when it is whole, in place of what has its name.

    Args:
        form: ``results``: a manifest's rows with what became of them; ``csv``: a row for each request, for finance;
            ``ndjson`` and ``parquet``: an object or row for each task; ``imagefolder``: the metadata of a data set of
            edited pictures; ``prometheus``: figures for monitoring.
        ledger: Its file, or the output folder that holds it.
        target: A file, or a stream that is open for text. A file of ``results`` that ends in .jsonl is JSON Lines.
        select, exclude: Only tasks that are meant by these, as ``--select`` and ``--exclude``.
        manifest: For ``results``.
        raw: Leave texts in tables as they are that a spreadsheet would take for formulas.
        bom: Begin a table with a mark that some spreadsheets need.
        zone: For ``csv``: whose midnight ends a day.
        approved: For ``imagefolder``: only pictures that somebody has approved.

    Returns:
        How many rows, lines or samples were written.

    Raises:
        LedgerError: if there is no ledger, or it cannot be used.
        ManifestError: if the manifest has a problem.
        UsageError: for a selector that cannot be read, a target that is one of our sources, or a missing package.
        NothingSelected: if no task is meant.
        StorageError: if the disk refuses the file.
    """
    path = ledger_at(ledger)
    if isinstance(target, Path):
        _refuse_sources(target, [path, *(manifest.files if manifest is not None else ())])
    state = path.parent
    root = state.parent if state.name == ".batchedit" else state
    with Exports(path) as reader:
        if select or exclude:
            reader.choose(task.slot for task in selected_tasks(reader, select, exclude))
        if form == "parquet":
            if not isinstance(target, Path):
                raise UsageError("a Parquet file is not text", hint="name a file: --out tasks.parquet")
            return write_parquet(reader, target)
        lines = form == "results" and isinstance(target, Path) and target.suffix.lower() in _LINES
        with text_to(target, mark=MARK if bom and not lines else "") as file:
            match form:
                case "results":
                    return write_results(reader, file, manifest, lines=lines, raw=raw)
                case "csv":
                    return write_finance(reader, file, zone=zone, raw=raw)
                case "ndjson":
                    return write_ndjson(reader, file)
                case "imagefolder":
                    folder = target.absolute().parent if isinstance(target, Path) else root.absolute()
                    return write_imagefolder(reader, file, root=root.absolute(), folder=folder, approved=approved)
                case "prometheus":
                    return write_prometheus(reader, file)


def _refuse_sources(target: Path, sources: Sequence[Path]) -> None:
    for source in sources:
        if target.exists() and source.exists() and os.path.samefile(target, source):
            raise UsageError(f"{target} is what is read; it would be replaced", hint="write to another file")
