"""
Paid pictures to where they are wanted now: equal tasks, new names, files and raws that have gone. Buys nothing.

A raw that is gone or altered is fetched again from the provider by its run id, which costs nothing as long as the
provider keeps it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import anyio

from batchedit.context import Context
from batchedit.delivery import fetch_raws, undelivered_note
from batchedit.errors import OutputGone, ProviderError, Unseen
from batchedit.filing import InTheWay, NotMade, RawDamaged
from batchedit.hooks import ReadHooks
from batchedit.ledger.records import OutputRow, TaskRow
from batchedit.pictures import BadPicture
from batchedit.rendering import at_once, deliver_task, side_by_side
from batchedit.wire import drive

_PAGE = 200


@dataclass(slots=True)
class Redelivery:
    """
    What became of it.

    Attributes:
        placed: Files that were put in place.
        refetched: Requests whose pictures came from the provider again.
        failed: Slots of tasks that could not be delivered, with the reason.
    """

    placed: int = 0
    refetched: int = 0
    failed: dict[str, str] = field(default_factory=dict)


async def redeliver(context: Context, only: Collection[str] | None = None) -> Redelivery:
    """
    Deliver what the current run wants and has paid for already.

    Args:
        only: Slots of tasks to look at; None for all of the run.

    Raises:
        StorageError: if the disk does not take it.
    """
    ledger, outputs, done = context.ledger, context.outputs, Redelivery()
    moves: list[TaskRow] = []
    contested: list[TaskRow] = []
    for task in ledger.done_tasks() if only is None else ledger.done_among(only):
        rows = ledger.outputs_of(task.slot)
        # A request that was kept although pictures were missing has fewer than it was to have.
        expected = list(task.paths)[: len(ledger.raws_of(task.key))]
        right = [row.planned for row in rows] == expected and all(row.key == task.key for row in rows)
        if not right or any(outputs.files.missing(row.path) for row in rows):
            # Two tasks may swap their names: whoever takes another one's goes after the others, one by one.
            (contested if ledger.is_taken(task) else moves).append(task)

    async def move(task: TaskRow) -> None:
        await _delivered(context, task, done)

    width = 2 * context.effects.workers
    await side_by_side(moves, move, width)
    await side_by_side(contested, move, 1)
    if only is None:
        await side_by_side(_outdated(context, done), move, width)
    return done


def _outdated(context: Context, done: Redelivery) -> Iterator[TaskRow]:
    """What only has to be made anew, a page at a time: it may be everything."""
    position = 0
    while page := context.ledger.outdated(position, _PAGE):
        position = page[-1][0]
        yield from (task for _, task in page if task.slot not in done.failed)


async def _delivered(context: Context, task: TaskRow, done: Redelivery) -> None:
    """Put a task's files in place; that they could not be had is noted."""
    try:
        new = await _deliver(context, task, done)
    except (InTheWay, NotMade, RawDamaged, BadPicture, ProviderError) as problem:
        done.failed[task.slot] = str(problem)
        context.note_undelivered(undelivered_note(task.slot, problem))
    else:
        done.placed += len(new)


async def _deliver(context: Context, task: TaskRow, done: Redelivery) -> list[OutputRow]:
    try:
        return await _place(context, task)
    except RawDamaged as problem:
        await refetch(context, task.key, str(problem))
        done.refetched += 1
        return await _place(context, task)


async def _place(context: Context, task: TaskRow) -> list[OutputRow]:
    ledger = context.ledger
    request = ledger.request(task.key).request if task.recipe else None
    return await deliver_task(context.outputs, ledger, at_once, task, ledger.raws_of(task.key), request)


async def refetch(context: Context, key: str, why: str) -> None:
    """
    Fetch a paid request's pictures from the provider again and keep them.

    Raises:
        RawDamaged: if the provider has no run id for it; the message begins with `why`.
        BadPicture: if what comes is not what was sold.
        ProviderError: if the provider does not have it any more, or cannot be reached.
    """
    row, attempt = context.ledger.request(key), context.ledger.paid_attempt(key)
    if attempt is None or attempt.provider_run_id is None or attempt.scope != context.provider.scope:
        raise RawDamaged(f"{why}, and the provider cannot be asked for it again")
    if row.request.inline:
        raise OutputGone(f"{why}, and the provider shows inline pictures once", code="INLINE_SHOWN")
    flow = context.provider.follow(attempt.provider_run_id, inline=False, sign=True)
    try:
        with anyio.fail_after(context.limits.request_timeout_seconds):
            reply = await drive(context.wire, flow, ReadHooks(context))
    except TimeoutError:
        raise Unseen(f"{why}, and the provider did not answer in time", code="TIMEOUT") from None
    raws = await fetch_raws(context, row, attempt, reply)
    if len(raws) != len(context.ledger.raws_of(key)):
        raise BadPicture(f"{why}, and the provider now has {len(raws)} pictures for it")
    context.ledger.replace_raws(attempt, raws)
