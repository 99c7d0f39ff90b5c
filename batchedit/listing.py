"""
Lists of tasks and a close look at one, from the ledger alone: what `ls` and `show` print.

A list is read as it is printed, so that a million tasks need no memory.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from batchedit.errors import NothingSelected, UsageError
from batchedit.ledger.listing import ListedTask, PastAttempt
from batchedit.ledger.reader import Ledger
from batchedit.ledger.reviewing import PastRevision
from batchedit.ledger.tasks import FIELDS
from batchedit.money import decimal_text
from batchedit.selectors import did_you_mean


def choose_fields(names: Iterable[str]) -> dict[str, Callable[[ListedTask], Any]]:
    """
    The fields of these names, in their order.

    Raises:
        UsageError: if there is no such field.
    """
    chosen: dict[str, Callable[[ListedTask], Any]] = {}
    for name in names:
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS) or f"Known are: {', '.join(FIELDS)}"
            raise UsageError(f"--json: there is no field {name!r}", hint=hint)
        chosen[name] = FIELDS[name]
    return chosen


def find_task(reader: Ledger, name: str) -> ListedTask:
    """
    The task of this slot, or of the item with this id if it has but one.

    Raises:
        UsageError: if the item has several.
        NothingSelected: if there is none.
    """
    task = reader.listed_task(name)
    if task is not None:
        return task
    slots = reader.slots_of(name)
    if len(slots) == 1:
        task = reader.listed_task(slots[0])
        assert task is not None, "the slot was read a moment ago"
        return task
    if slots:
        shown = ", ".join(slots[:8]) + (f" and {len(slots) - 8} more" if len(slots) > 8 else "")
        raise UsageError(f"the item {name!r} has {len(slots)} tasks", hint=f"name one: {shown}")
    names: dict[str, None] = {}
    for entry in reader.listed():
        names.update(dict.fromkeys((entry.slot, entry.id)))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else ""
    raise NothingSelected(f"{reader.path} has no task {name!r}", hint=hint)


def task_json(task: ListedTask, reader: Ledger, root: Path) -> dict[str, Any]:
    """
    Everything the ledger knows of a task.

    Args:
        root: The output folder.
    """
    spec = reader.recipe(task)
    raws = reader.raws_of(task.key)
    return {
        "version": 1,
        **{name: value(task) for name, value in FIELDS.items()},
        "prompt": spec["prompt"],
        "inputs": spec["images"],
        "mask": spec["mask"],
        "attempt_list": [_attempt_json(attempt) for attempt in reader.history(task.slot, task.key)],
        "check_list": [
            {"name": each.name, "verdict": each.verdict, "measured": each.measured, "wanted": each.wanted}
            for each in reader.checks_of(task.slot)
        ],
        "files": [
            {"path": row.path, "sha256": row.sha256, "exists": (root / row.path).exists()}
            for row in reader.outputs_of(task.slot)
        ],
        "revisions": [_revision_json(revision) for revision in reader.revisions_of(task.slot, task.key)],
        "raws": [{"name": raw.name, "width": raw.width, "height": raw.height, "bytes": raw.size_bytes} for raw in raws],
    }


def _revision_json(revision: PastRevision) -> dict[str, Any]:
    return {
        "revision": revision.revision,
        "request": revision.key,
        "current": revision.is_current,
        "status": revision.state,
        "prompt": revision.prompt,
        "cost_usd": decimal_text(revision.cost),
        "verdict": revision.verdict or "none",
        "reason": revision.reason,
        "raws": list(revision.raws),
    }


def _attempt_json(attempt: PastAttempt) -> dict[str, Any]:
    return {
        "request": attempt.key,
        "revision": attempt.revision,
        "number": attempt.number,
        "run": attempt.run_id,
        "provider_run_id": attempt.provider_run_id,
        "started_at": attempt.started_at,
        "accepted_at": attempt.accepted_at,
        "ended_at": attempt.ended_at,
        "outcome": attempt.outcome,
        "http_status": attempt.http_status,
        "class": attempt.code,
        "message": attempt.message,
        "cost_usd": decimal_text(attempt.cost),
        "basis": attempt.basis,
        "surplus_usd": decimal_text(attempt.surplus),
        "at_risk_usd": decimal_text(attempt.at_risk),
        "pictures": attempt.pictures,
    }
