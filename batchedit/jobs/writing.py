"""The reports and exports that a job writes when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from batchedit.errors import BatchEditError
from batchedit.exporting import Form as ExportForm
from batchedit.exporting import export_ledger
from batchedit.exporting.files import text_to
from batchedit.jobs.model import Job
from batchedit.jobs.reading import file_name
from batchedit.jobs.recording import names_of
from batchedit.jobs.window import Night, months_of
from batchedit.ledger.reader import has_begun
from batchedit.manifest import load_manifest
from batchedit.report import Form as ReportForm
from batchedit.report import render_report


def write_files(job: Job, night: Night, ledgers: Sequence[Path], now: datetime) -> tuple[list[Path], list[str]]:
    """
    Write them all, each in place of what has its name.

    Returns:
        The files, and what went wrong with others, a sentence each.
    """
    written: list[Path] = []
    troubles: list[str] = []
    if not (job.reports or job.exports):
        return written, troubles
    begun = [path for path in ledgers if _has_begun(path, troubles)]
    if not begun:
        return written, troubles or ["nothing to report: there is no ledger yet"]
    period = _period(job, night, now)
    values = names_of(job, night)
    reports = [(template, partial(_report, job, form, begun, period)) for form, template in job.reports.items()]
    exports = [(template, partial(_export, job, form, begun[0])) for form, template in job.exports.items()]
    for template, write in (*reports, *exports):
        target = job.folder / file_name(template, **values)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(target)
        except BatchEditError as error:
            troubles.append(f"{target} was not written: {error}")
        except OSError as error:
            troubles.append(f"{target} was not written: {error.strerror}")
        else:
            written.append(target)
    return written, troubles


def _report(job: Job, form: str, ledgers: Sequence[Path], period: dict[str, Any], target: Path) -> None:
    kind = cast("ReportForm", form)  # the vocabulary has its words
    text = render_report(ledgers, by=job.by, form=kind, zone=job.zone, beside=target.parent, **period)
    with text_to(target) as file:
        file.write(text)
        if not text.endswith("\n"):
            file.write("\n")


def _export(job: Job, form: str, ledger: Path, target: Path) -> None:
    # A table that is written back as it was needs the manifest that it came from.
    manifest = load_manifest(job.parts[0].manifest) if form == "results" and len(job.parts) == 1 else None
    export_ledger(cast("ExportForm", form), ledger, target, zone=job.zone, manifest=manifest)


def _period(job: Job, night: Night, now: datetime) -> dict[str, Any]:
    match job.period:
        case "night":
            return {"since": night.begins, "until": night.ends}
        case "week":
            return {"since": now - timedelta(days=7)}
        case "month":
            _, since, until = months_of(now, now, job.zone)[0]
            return {"since": since, "until": until}
        case _:
            return {}


def _has_begun(path: Path, troubles: list[str]) -> bool:
    try:
        return has_begun(path)
    except BatchEditError as error:
        troubles.append(str(error))
        return False
