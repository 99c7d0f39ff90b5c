"""Plans that buy tasks once more with another prompt, for `run_plan`; and taking that back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from batchedit.effects import Effects
from batchedit.errors import NothingSelected, UsageError
from batchedit.ledger.reader import Ledger, ledger_at
from batchedit.ledger.tasks import selected_tasks
from batchedit.ledger.writer import LedgerWriter
from batchedit.manifest import Manifest
from batchedit.planned import Plan
from batchedit.planner import survey
from batchedit.pricing import PriceList
from batchedit.reedits import Reedit
from batchedit.selecting import Choice
from batchedit.selection import parse_selection


def make_reedit(
    manifest: Manifest,
    *,
    prompt: str | None = None,
    from_notes: bool = False,
    out: Path | str = "out",
    ledger: Path | str | None = None,
    rehearse: bool = False,
    accept_changed: bool = False,
    prices: PriceList | None = None,
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
    ids: Iterable[str] | None = None,
    limit: int | None = None,
    by: Iterable[str] | None = None,
) -> Plan:
    """
    Plan to buy tasks once more as a new revision, under the names that they have. Sends and writes nothing.

    Carried out by `run_plan`; from then on every run of the manifest uses the new prompt for these tasks. The same
    re-edit planned again goes on with what was interrupted, and buys nothing twice.

    Args:
        prompt: Template of the new prompt: ``prompt`` is the one before, ``reason`` and ``note`` are what the reviewer
            has said, ``id``, ``edit``, ``variant`` and labels are the task's.
        from_notes: Take the tasks for which a review has noted how, with the prompts that it has noted.
        select, exclude, ids: Which tasks; without, those of the notes, or those that are rejected.

    Raises:
        UsageError: without prompt and notes, or for a prompt that cannot be made.
        NothingSelected: if no task is to be edited again; the message says why.
        BatchEditError: as `make_plan`.
    """
    if prompt is None and not from_notes:
        raise UsageError("a re-edit needs a prompt", hint="add --prompt TEXT, or --from-notes for those of a review")
    wanted, left_out, only = tuple(select), tuple(exclude), None if ids is None else tuple(ids)
    of_rejected = not wanted and only is None and not from_notes
    if of_rejected:
        wanted = ("verdict:rejected",)
    selection = parse_selection(wanted, left_out, ids=only, named=manifest.selectors)
    try:
        plan = survey(
            manifest,
            out=out,
            ledger=ledger,
            rehearse=rehearse,
            accept_changed=accept_changed,
            prices=prices,
            choice=Choice(selection=selection, limit=limit, before_reedit=True),
            by=by,
            glance=False,
            reedit=Reedit(prompt=prompt, from_notes=from_notes),
        )
    except NothingSelected:
        if not of_rejected or left_out:
            raise
        raise NothingSelected(
            f"no picture of {manifest.source} is rejected, so none is to be edited again",
            hint="reject it in `batchedit review`, or say which ones with --select",
        ) from None
    plan.findings.raise_if_problems()
    if not plan.figures.tasks:
        assert plan.reedit is not None, "it was given"
        why = "; ".join(f"{count} {reason}" for reason, count in plan.reedit.skipped.most_common())
        raise NothingSelected(f"no task of {manifest.source} is to be edited again" + (f": {why}" if why else ""))
    return plan


def drop_reedits(
    ledger: Path | str, *, select: Iterable[str] = (), exclude: Iterable[str] = (), effects: Effects | None = None
) -> int:
    """
    Let tasks have the manifest's own prompts again; the next run puts back what they had before, at no cost.

    Args:
        ledger: A ledger's file, or the output folder that holds it.
        select, exclude: Which tasks; without, all of them.

    Returns:
        How many of them had another prompt.

    Raises:
        LedgerError: if there is no ledger, or it is in use.
        UsageError, NothingSelected: as `listing.selected_tasks`.
    """
    path = ledger_at(ledger)
    with Ledger(path) as reader:
        world = reader.world()
        slots = [
            task.slot
            for task in selected_tasks(reader, tuple(select), tuple(exclude))
            if reader.override(task.slot) is not None
        ]
    if not slots:
        return 0
    writer = LedgerWriter(path, effects or Effects(), world=world)
    try:
        return writer.drop_overrides(slots)
    finally:
        writer.close()
