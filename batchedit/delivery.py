"""
Bringing home what was bought: fetch, decode, keep, check, place, settle. Nothing here can buy.

The order is the ledger's write order: the answer is durable already; pictures are kept by content before they get
their names; the request becomes done in the transaction that lists them and settles the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from batchedit.context import Context, Follow
from batchedit.errors import NotSent, OutputGone, ProviderError, Rejected, Unseen
from batchedit.filing import Ahead, InTheWay, NotMade, RawDamaged
from batchedit.hooks import ReadHooks
from batchedit.ledger.journal import Step
from batchedit.ledger.records import Attempt, Bill, Note, RequestRow, TaskRow
from batchedit.lifecycle import Event, State, backoff
from batchedit.model import OutputLocation, Raw, Reply, Request, explicit_size
from batchedit.money import ZERO, MicroUSD, format_usd
from batchedit.pictures import BadPicture
from batchedit.releasing import release
from batchedit.rendering import deliver_task, place_raws
from batchedit.wire import drive

_FETCH_TRIES = 4
_TRIPS = 3


async def bring_home(context: Context, row: RequestRow, attempt: Attempt, reply: Reply, *, trips: int) -> None:
    """
    Take a finished run's pictures to their places and settle the attempt.

    Args:
        row: The request; accepted, or fetching when an earlier process got that far.
        reply: Where the pictures are and what they cost.
        trips: How often fetching was put off in this run.
    """
    # Nothing that follows depends on its being durable already: an accepted run is looked at again at no cost.
    if row.state is State.FETCHING:
        tasks = context.journal.hand_in(context.ledger.tasks_of, attempt.key)
    else:
        tasks = context.journal.hand_in(context.ledger.reply, attempt)
    bill = bill_for(context, row, reply)
    raws: list[Raw] = []
    try:
        await fetch_raws(context, row, attempt, reply, raws, ahead=await _ahead(row, reply, tasks))
        oddity = _oddity(row, raws)
    except BadPicture as problem:
        oddity = f"picture {len(raws) + 1} of {len(reply.outputs)} is {problem}"
    except OutputGone as problem:
        await _set_aside(context, attempt, Event.GONE, raws, bill, Note(message=problem.message, code=problem.code))
        return
    except ProviderError as problem:
        await _put_off(context, row, attempt, problem, trips)
        return
    if oddity is not None:
        await _set_aside(context, attempt, Event.ODD, raws, bill, Note(message=oddity, code="ODD"))
        return
    plain = [task for task in await tasks.result() if not task.recipe]
    try:
        outputs = [output for task in plain for output in await place_raws(context.outputs, task, raws)]
    except (InTheWay, RawDamaged) as problem:
        code, advice = ("IN_THE_WAY", "move it away and") if isinstance(problem, InTheWay) else ("RAW_DAMAGED", "just")
        note = Note(message=f"{problem}; {advice} run again, which costs nothing", code=code)
        await context.journal.do(context.ledger.note, attempt, note)
        context.note_once(note.message)
        return
    finished = context.journal.hand_in(context.ledger.finish, attempt, raws, outputs, bill)
    if context.has_chains and context.buying:
        await release(context, row.key)
    replaced = await finished.result()
    await context.outputs.remove_all(replaced)
    await _settled(context, attempt, bill)
    context.progress.done += 1
    # Everything that is paid is safe by now: what follows is free, and can be done again at any time.
    for task in await tasks.result():
        if task.recipe:
            await _render(context, task, raws, row.request)


async def _render(context: Context, task: TaskRow, raws: Sequence[Raw], request: Request) -> None:
    try:
        await deliver_task(context.outputs, context.ledger, context.journal.do, task, raws, request)
    except (InTheWay, NotMade, RawDamaged) as problem:
        context.note_undelivered(undelivered_note(task.slot, problem))


def undelivered_note(slot: str, problem: Exception) -> str:
    """That a paid picture has no file where it should be, why, and what to do."""
    match problem:
        case InTheWay():
            advice = "; move it away and run again, which costs nothing"
        case NotMade():
            advice = "; change post and run again, which costs nothing"
        case _:
            advice = ""
    return f"{slot} is paid but not delivered: {problem}{advice}"


async def fetch_raws(
    context: Context,
    row: RequestRow,
    attempt: Attempt,
    reply: Reply,
    raws: list[Raw] | None = None,
    *,
    ahead: Ahead | None = None,
) -> list[Raw]:
    """
    Fetch and keep a reply's pictures, in order.

    Args:
        raws: Filled on the way, so that a caller knows what is safe when a later picture fails.
        ahead: Where a single picture will be placed.

    Raises:
        BadPicture, ProviderError: if a picture cannot be had, after several tries.
    """
    raws = [] if raws is None else raws
    for number, location in enumerate(reply.outputs, start=1):
        raws.append(await _fetch(context, row, attempt, reply, location, number, ahead))
    return raws


async def lose(context: Context, row: RequestRow, attempt: Attempt, problem: OutputGone) -> None:
    """The run has ended with pictures that were handed over once and not seen: paid and lost."""
    if row.state is not State.FETCHING:
        await context.journal.do(context.ledger.reply, attempt)
    nothing = Reply(outputs=(), cost=None, run_id=attempt.provider_run_id, shape="")
    note = Note(message=problem.message, code=problem.code)
    await _set_aside(context, attempt, Event.GONE, [], bill_for(context, row, nothing), note)


def bill_for(context: Context, row: RequestRow, reply: Reply) -> Bill:
    """The provider's own figure if it names one; else the listed price, with the rest of the range in doubt."""
    if reply.cost is None:
        doubt = MicroUSD(row.quote.high - row.quote.low)
        return Bill(cost=row.quote.low, basis="computed", doubt=doubt)
    if not row.quote.low <= reply.cost <= row.quote.high:
        context.note_once(
            f"the provider bills {format_usd(reply.cost)} where the price list says {format_usd(row.quote.low)} to"
            f" {format_usd(row.quote.high)}; what it reports counts"
        )
    return Bill(cost=reply.cost, basis="reported")


def _oddity(row: RequestRow, raws: Sequence[Raw]) -> str | None:
    """Why complete pictures are still not what was asked for, or None. The format may differ: the name follows it."""
    wanted = row.request.params.samples
    if len(raws) < wanted:
        return f"{len(raws)} of {wanted} pictures came"
    size = explicit_size(row.request.params.size)
    for raw in raws:
        if size is not None and (raw.width, raw.height) != size:
            return f"picture {raw.number} is {raw.width}x{raw.height}, asked for was {row.request.params.size}"
    return None


async def _fetch(
    context: Context,
    row: RequestRow,
    attempt: Attempt,
    reply: Reply,
    location: OutputLocation,
    number: int,
    ahead: Ahead | None,
) -> Raw:
    """One picture, tried several times, each time from a fresh URL where the provider can give one."""
    draw = context.effects.draw("fetch", attempt.key, number)
    for trial in range(1, _FETCH_TRIES + 1):
        try:
            return await _fetch_once(context, location, number, ahead)
        except (OutputGone, Unseen, NotSent, BadPicture):
            if trial == _FETCH_TRIES:
                raise
            await anyio.sleep(backoff(trial, context.policy, draw))
            if reply.run_id is not None and not row.request.inline:
                location = await _fresh(context, row, reply.run_id, location, number)
    raise AssertionError("the last trial returns or raises")


async def _ahead(row: RequestRow, reply: Reply, tasks: Step[list[TaskRow]]) -> Ahead | None:
    """Where a picture goes that is the only one of its request, as long as nothing is wrong with it."""
    if len(reply.outputs) != 1 or row.request.params.samples != 1:
        return None
    paths = tuple(task.paths[0] for task in await tasks.result() if task.paths and not task.recipe)
    return Ahead(size=explicit_size(row.request.params.size), paths=paths)


async def _fetch_once(context: Context, location: OutputLocation, number: int, ahead: Ahead | None) -> Raw:
    if location.is_here:
        received = await context.outputs.receive(context.outputs.unpack(location))
    else:
        async with context.wire.fetch(location.url) as chunks:
            received = await context.outputs.receive(chunks)
    return await context.outputs.keep(received, number, ahead)


async def _fresh(context: Context, row: RequestRow, run_id: str, old: OutputLocation, number: int) -> OutputLocation:
    """Signed URLs expire; reading the run again signs them anew (provider-api, section 6)."""
    flow = context.provider.follow(run_id, inline=row.request.inline, sign=True)
    try:
        with anyio.fail_after(context.limits.request_timeout_seconds):
            reply = await drive(context.wire, flow, ReadHooks(context))
    except (ProviderError, TimeoutError):
        return old
    return reply.outputs[number - 1] if number <= len(reply.outputs) else old


async def _put_off(context: Context, row: RequestRow, attempt: Attempt, problem: ProviderError, trips: int) -> None:
    """The pictures could not be fetched now: they are paid, so they are fetched later, in this run or the next."""
    note = Note(message=f"paid, not fetched yet: {problem.message}", code=problem.code, http_status=problem.http_status)
    await context.journal.do(context.ledger.note, attempt, note)
    if isinstance(problem, Rejected):  # to try the same address again would change nothing
        context.note_once(f"pictures that are paid were not fetched: {problem.message}; then run again, for nothing")
    elif trips < _TRIPS:
        wait = backoff(trips + 3, context.policy, context.effects.draw("trip", attempt.key, trips))
        context.agenda.add(anyio.current_time() + wait, Follow(row.key, attempt, trips + 1))
    else:
        context.note_once("some pictures are paid but could not be fetched; the next run fetches them at no cost")


async def _set_aside(
    context: Context, attempt: Attempt, event: Event, raws: Sequence[Raw], bill: Bill, note: Note
) -> None:
    await context.journal.do(context.ledger.set_aside, attempt, event, raws, bill, note)
    await _settled(context, attempt, bill)
    if event is Event.ODD:
        context.progress.suspect += 1
    else:
        context.progress.lost += 1


async def _settled(context: Context, attempt: Attempt, bill: Bill) -> None:
    doubt = bill.doubt if bill.basis == "computed" else ZERO
    context.budget.settle(attempt.reserved, bill.cost, attempt.key, doubt=doubt)
    if attempt.answer_file is not None:
        await context.outputs.drop_answer(attempt.answer_file)
