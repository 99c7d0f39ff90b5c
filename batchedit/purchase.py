"""
One request's way: prepare, reserve, send, follow; and what becomes of it when something else than pictures comes back.

Each function takes a request in one state and leaves it durable in another. What is to happen next and later goes to
the agenda.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio

from batchedit.bodies import Body
from batchedit.context import Context, Follow, Look, Seat, Settle, StopReason, Work
from batchedit.delivery import bring_home, lose
from batchedit.effects import iso
from batchedit.errors import Halted, NotSent, OutputGone, ProviderError, RunFailed, RunMissing, Stumbled
from batchedit.hooks import AttemptHooks
from batchedit.ledger.records import Attempt, Bill, Note, RequestRow
from batchedit.lifecycle import (
    Event,
    GiveUp,
    Halt,
    Hold,
    RetryAfter,
    State,
    counts_as_attempt,
    decide,
    next_look,
    outcome_name,
)
from batchedit.model import Reply
from batchedit.money import MicroUSD
from batchedit.providers.answers import shorten
from batchedit.providers.base import Flow, Order, Send
from batchedit.sources import Sources
from batchedit.wire import drive


async def buy(context: Context, sources: Sources, row: RequestRow, seat: Seat) -> None:
    """
    Send one pending request, whose worst price the feeder has reserved in the budget.

    Until the attempt is durable a stop calls it back for nothing; from then on it runs to its end.
    """
    reserved = row.quote.high
    prepared: _Prepared | None = None
    with context.unsent():
        try:
            prepared = await _prepare(context, sources, row, seat)
        except ProviderError as problem:
            context.budget.release(reserved, row.key)
            await _not_begun(context, row, problem)
            return
        except Exception:
            context.budget.release(reserved, row.key)
            raise
    if prepared is None or context.stopped():
        context.budget.release(reserved, row.key)
        return
    attempt = await context.journal.do(
        context.ledger.begin_attempt,
        row,
        scope=context.provider.scope,
        key_print=context.key_print,
        findable=context.provider.can_reconcile,
        generation=prepared.generation,
        body_sha256=prepared.body_sha256,
        reserved=reserved,
    )
    if context.stopped():
        note = Note(message="stopped before it was sent")
        await context.journal.do(
            context.ledger.retry, attempt, Event.RETRY, "not sent", note, not_before=None, counts=False
        )
        context.budget.release(reserved, row.key)
        return
    hooks = AttemptHooks(context, attempt, is_accepted=False)
    context.sent[attempt.id] = anyio.current_time()
    try:
        await _run(context, sources, row, attempt, hooks, context.provider.buy(prepared.send), trips=0)
    finally:
        del context.sent[attempt.id]


async def follow(context: Context, sources: Sources, row: RequestRow, work: Follow) -> None:
    """Take up an accepted request where an earlier process or trip left it. Buys nothing."""
    attempt = work.attempt
    hooks = AttemptHooks(context, attempt, is_accepted=True)
    if attempt.answer_file is not None:
        body = await context.outputs.read_answer(attempt.answer_file)
        try:
            reply = context.provider.read(body, polled=attempt.provider_run_id is not None)
        except OutputGone as problem:
            await lose(context, row, attempt, problem)
            return
        except ProviderError as problem:
            await _stuck(context, row, attempt, problem)
            return
        await bring_home(context, row, attempt, reply, trips=work.trips)
        return
    assert attempt.provider_run_id is not None, "an accepted attempt has a run id or a stored answer"
    flow = context.provider.follow(attempt.provider_run_id, inline=row.request.inline)
    await _run(context, sources, row, attempt, hooks, flow, trips=work.trips)


async def stumble(context: Context, work: Work, error: Exception) -> None:
    """
    An error that nobody expected: leave this one request where nothing can be bought twice, and go on.

    Raises:
        StorageError, LedgerError: if the ledger does not take it.
    """
    context.bugs += 1
    note = Note(message=shorten(f"a bug in batchedit: {type(error).__name__}: {error}"), code="BUG")
    row = await context.journal.ask(context.ledger.request, work.key)
    attempt = await context.journal.ask(context.ledger.open_attempt, work.key)
    context.note_once(f"{row.buyer_slot}: {note.message}; the ledger is consistent, please report it")
    if attempt is None:
        if row.state is State.PENDING:
            await context.journal.do(context.ledger.refuse, row.key, note, retryable=True)
            context.progress.failed += 1
    elif row.state is State.SENDING:
        await _lose(context, row, attempt, Event.ANSWER_LOST, note)
    else:
        await context.journal.do(context.ledger.note, attempt, note)
    context.breaker.failure(Stumbled(note.message, code="BUG"))
    context.check_breaker()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A call that buys, the generation of its idempotency key, and the digest of its exact bytes."""

    send: Send
    generation: int
    body_sha256: str


async def _prepare(context: Context, sources: Sources, row: RequestRow, seat: Seat) -> _Prepared:
    """Upload what is needed, settle the exact bytes, and wait for a turn."""
    images, mask = await sources.prepare(row.request)
    order = Order(request=row.request, client_ref=row.client_ref, generation=row.generation, images=images, mask=mask)
    prepared = await _settle_bytes(context, order)
    refused = await context.journal.ask(context.ledger.refused_body, row.key, row.generation) if row.tried else None
    if refused is not None and refused != prepared.body_sha256:
        # Other bytes (a freshly signed URL) under the same idempotency key would be a conflict, and what was refused
        # needs no protection. Where nobody saw the outcome the key stays: if it was bought after all, a conflict is
        # just what should come, and the provider is asked again.
        prepared = await _settle_bytes(context, replace(order, generation=row.generation + 1))
    await context.turn(seat, row.request.params.samples)
    return prepared


async def _settle_bytes(context: Context, order: Order) -> _Prepared:
    send = context.provider.order(order)
    body = send.body or Body(())
    return _Prepared(send, order.generation, await body.sha256(context.effects.offload))


async def _run(
    context: Context,
    sources: Sources,
    row: RequestRow,
    attempt: Attempt,
    hooks: AttemptHooks,
    flow: Flow[Reply],
    *,
    trips: int,
) -> None:
    """Drive an attempt's flow to its reply, within the deadline for looking at one run."""
    reply: Reply | None = None
    try:
        with anyio.move_on_after(context.limits.run_deadline_seconds):
            reply = await drive(context.wire, flow, hooks, idempotency_key=attempt.idempotency_key)
    except ProviderError as problem:
        if hooks.is_accepted:
            await _ended_after_acceptance(context, row, hooks.attempt, problem)
        else:
            await _ended_before_acceptance(context, sources, row, attempt, problem)
        return
    except anyio.get_cancelled_exc_class():
        if not hooks.is_accepted:
            with anyio.CancelScope(shield=True):
                await _lose(context, row, attempt, Event.ANSWER_LOST, Note(message="stopped while it was sent"))
        raise
    if reply is not None:
        await bring_home(context, row, hooks.attempt, reply, trips=trips)
    elif hooks.is_accepted:
        note = Note(message="not finished at the provider yet; the next run follows it at no cost", code="SLOW")
        await context.journal.do(context.ledger.note, hooks.attempt, note)
        context.note_once("some edits are not finished at the provider yet; the next run follows them at no cost")
    else:
        await _lose(context, row, attempt, Event.ANSWER_LOST, Note(message="no answer within the deadline"))


async def _ended_before_acceptance(
    context: Context, sources: Sources, row: RequestRow, attempt: Attempt, problem: ProviderError
) -> None:
    counts = counts_as_attempt(problem)
    draw = context.effects.draw("retry", row.key, attempt.number)
    decision = decide(problem, row.counted + int(counts), context.policy, draw, tries=attempt.number)
    note = _note(problem)
    context.breaker.failure(problem)
    if problem.code == "ASSET_UNKNOWN":
        await sources.forget(row.request)
    match decision:
        case Hold():
            await _lose(context, row, attempt, Event.ANSWER_LOST, note)
        case GiveUp():
            await _fail(context, attempt, problem, note)
        case RetryAfter(seconds):
            await _retry(context, row, attempt, Event.RETRY, problem, note, seconds, counts=counts)
        case Halt():
            await context.journal.do(
                context.ledger.retry, attempt, Event.RETRY, outcome_name(problem), note, not_before=None, counts=False
            )
            context.budget.release(attempt.reserved, attempt.key)
            context.halt(StopReason.ACCOUNT, str(problem))
    context.check_breaker()


async def _ended_after_acceptance(context: Context, row: RequestRow, attempt: Attempt, problem: ProviderError) -> None:
    match problem:
        case RunFailed():
            draw = context.effects.draw("retry", row.key, attempt.number)
            decision = decide(problem, row.counted + 1, context.policy, draw, tries=attempt.number)
            context.breaker.failure(problem)
            if isinstance(decision, RetryAfter):
                await _retry(
                    context, row, attempt, Event.PROVIDER_FAILED, problem, _note(problem), decision.seconds, counts=True
                )
            else:
                await _fail(context, attempt, problem, _note(problem))
            context.check_breaker()
        case OutputGone():
            await lose(context, row, attempt, problem)
        case RunMissing():
            await _lose(context, row, attempt, Event.MISSING, _note(problem))
        case Halted():
            await context.journal.do(context.ledger.note, attempt, _note(problem))
            context.halt(StopReason.ACCOUNT, str(problem))
        case _:
            await _stuck(context, row, attempt, problem)


async def _retry(
    context: Context,
    row: RequestRow,
    attempt: Attempt,
    event: Event,
    problem: ProviderError,
    note: Note,
    seconds: float,
    *,
    counts: bool,
) -> None:
    bill = _bill(problem)
    await context.journal.do(
        context.ledger.retry,
        attempt,
        event,
        outcome_name(problem),
        note,
        not_before=iso(context.effects.wall() + seconds),
        counts=counts,
        bill=bill,
    )
    context.budget.settle(attempt.reserved, bill.cost, attempt.key)
    await queue_again(context, row, anyio.current_time() + seconds)


async def queue_again(context: Context, row: RequestRow, at: float) -> None:
    """To be bought at clock time `at`, if this run's manifest wants it: nobody agreed to anything else."""
    if context.buying and await context.journal.ask(context.ledger.is_wanted, row.key):
        context.agenda.add(at, context.purchase(row))


async def _fail(context: Context, attempt: Attempt, problem: ProviderError, note: Note) -> None:
    bill = _bill(problem)
    await context.journal.do(
        context.ledger.fail,
        attempt,
        outcome_name(problem),
        note,
        retryable=is_passing(problem),
        bill=bill,
    )
    context.budget.settle(attempt.reserved, bill.cost, attempt.key)
    context.progress.failed += 1
    context.breaker.request_failed()


async def _lose(context: Context, row: RequestRow, attempt: Attempt, event: Event, note: Note) -> None:
    """The outcome is unknown: the price stays at risk, and the provider is asked if it can be."""
    await context.journal.do(context.ledger.lose_answer, attempt, event, note)
    context.progress.unknown += 1
    if attempt.findable and context.provider.can_reconcile:
        now = anyio.current_time()
        until = context.proof_time(context.sent.get(attempt.id, now))
        context.agenda.add(now + next_look(0), Look(row.key, attempt, 0, until))
    else:
        context.agenda.add(anyio.current_time(), Settle(row.key, attempt))


async def _stuck(context: Context, row: RequestRow, attempt: Attempt, problem: ProviderError) -> None:
    """Accepted, and something is wrong that buying again would not mend: say so and leave it to the next run."""
    await context.journal.do(context.ledger.note, attempt, _note(problem))
    context.note_once(f"{row.buyer_slot}: {problem.message}; it is kept and looked at again by the next run")


async def _not_begun(context: Context, row: RequestRow, problem: ProviderError) -> None:
    """A request could not even be prepared: nothing was sent, no attempt was made."""
    draw = context.effects.draw("prepare", row.key, row.counted)
    counts = counts_as_attempt(problem)
    decision = decide(problem, row.counted + int(counts), context.policy, draw, tries=row.counted)
    context.breaker.failure(problem)
    note = _note(problem)
    match decision:
        case RetryAfter(seconds):
            when = iso(context.effects.wall() + seconds)
            await context.journal.do(context.ledger.postpone, row.key, note, not_before=when, counts=counts)
            context.agenda.add(anyio.current_time() + seconds, context.purchase(row))
        case Halt():
            context.halt(StopReason.ACCOUNT, str(problem))
        case GiveUp() | Hold():
            passing = is_passing(problem) or problem.code in ("INPUT_MISSING", "INPUT_CHANGED")
            await context.journal.do(context.ledger.refuse, row.key, note, retryable=passing)
            context.progress.failed += 1
            context.breaker.request_failed()
    context.check_breaker()


def is_passing(problem: ProviderError) -> bool:
    """True if a later run may well succeed where this one gave up."""
    return (
        isinstance(problem, NotSent)
        or (isinstance(problem, RunFailed) and not problem.permanent)
        or (outcome_name(problem) in ("unavailable", "throttled"))
    )


def _note(problem: ProviderError) -> Note:
    return Note(
        message=shorten(problem.message), code=problem.code, http_status=problem.http_status, phase=problem.phase
    )


def _bill(problem: ProviderError) -> Bill:
    if isinstance(problem, RunFailed) and problem.cost_microusd:
        return Bill(cost=MicroUSD(problem.cost_microusd), basis="reported")
    return Bill()
