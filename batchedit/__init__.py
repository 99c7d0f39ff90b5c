"""
Bulk image edits through a paid API: paid once, kept, within budget, resumable.

    from batchedit import load_manifest, make_plan, run_plan_sync

    plan = make_plan(load_manifest("jobs.csv"), out="out")
    summary = run_plan_sync(plan)

Names are loaded when they are first used, so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchedit.batch import run_plan
    from batchedit.calling import Result, Session, run_plan_sync, session
    from batchedit.control import Control
    from batchedit.delivering import DeliverySummary, deliver
    from batchedit.ending import RunSummary
    from batchedit.errors import BatchEditError, ExitCode, RunError
    from batchedit.jobs.ended import JobEnd, PartEnd
    from batchedit.jobs.model import Job
    from batchedit.jobs.reading import load_job
    from batchedit.jobs.running import run_job, run_job_sync
    from batchedit.ledger.reader import Ledger
    from batchedit.ledger.records import Decision
    from batchedit.manifest import load_manifest
    from batchedit.model import Item, Limits, Request, Task
    from batchedit.planned import Plan
    from batchedit.planner import make_plan
    from batchedit.providers.base import Provider
    from batchedit.reediting import drop_reedits, make_reedit
    from batchedit.report import render_report
    from batchedit.rerendering import RenderSummary, render
    from batchedit.run_options import RunOptions
    from batchedit.verdicts import record_verdicts

_HOME = {
    "BatchEditError": "batchedit.errors",
    "Control": "batchedit.control",
    "Decision": "batchedit.ledger.records",
    "DeliverySummary": "batchedit.delivering",
    "ExitCode": "batchedit.errors",
    "Item": "batchedit.model",
    "Job": "batchedit.jobs.model",
    "JobEnd": "batchedit.jobs.ended",
    "Ledger": "batchedit.ledger.reader",
    "Limits": "batchedit.model",
    "PartEnd": "batchedit.jobs.ended",
    "Plan": "batchedit.planned",
    "Provider": "batchedit.providers.base",
    "RenderSummary": "batchedit.rerendering",
    "Request": "batchedit.model",
    "Result": "batchedit.calling",
    "RunError": "batchedit.errors",
    "RunOptions": "batchedit.run_options",
    "RunSummary": "batchedit.ending",
    "Session": "batchedit.calling",
    "Task": "batchedit.model",
    "deliver": "batchedit.delivering",
    "drop_reedits": "batchedit.reediting",
    "load_job": "batchedit.jobs.reading",
    "load_manifest": "batchedit.manifest",
    "make_plan": "batchedit.planner",
    "make_reedit": "batchedit.reediting",
    "record_verdicts": "batchedit.verdicts",
    "render": "batchedit.rerendering",
    "render_report": "batchedit.report",
    "run_job": "batchedit.jobs.running",
    "run_job_sync": "batchedit.jobs.running",
    "run_plan": "batchedit.batch",
    "run_plan_sync": "batchedit.calling",
    "session": "batchedit.calling",
}

__all__ = [
    "BatchEditError",
    "Control",
    "Decision",
    "DeliverySummary",
    "ExitCode",
    "Item",
    "Job",
    "JobEnd",
    "Ledger",
    "Limits",
    "PartEnd",
    "Plan",
    "Provider",
    "RenderSummary",
    "Request",
    "Result",
    "RunError",
    "RunOptions",
    "RunSummary",
    "Session",
    "Task",
    "deliver",
    "drop_reedits",
    "load_job",
    "load_manifest",
    "make_plan",
    "make_reedit",
    "record_verdicts",
    "render",
    "render_report",
    "run_job",
    "run_job_sync",
    "run_plan",
    "run_plan_sync",
    "session",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
