"""
Requests whose outcome nobody saw: ask the provider, and when it cannot tell, do what the user has chosen.

    hold        (default) stays unknown and at risk, and is asked about again by the next run
    resend      sent again, once; the price of the first attempt stays at risk
    write-off   counts as spent at its worst price and as lost

Nothing here sends a purchase. See provider-api, section 9, for the protocol.
"""

from __future__ import annotations

from dataclasses import replace

import anyio

from batchedit.context import Context, Follow, Look, StopReason
from batchedit.errors import Halted, ProviderError
from batchedit.hooks import ReadHooks
from batchedit.ledger.records import Attempt, Note, RequestRow
from batchedit.lifecycle import backoff, next_look
from batchedit.money import ZERO, MicroUSD
from batchedit.purchase import queue_again
from batchedit.wire import drive

_UNSEEN_PATIENCE_SECONDS = 900.0
"""How much longer to ask when the provider's list itself cannot be had."""


async def look(context: Context, row: RequestRow, work: Look) -> None:
    """
    Ask the provider once about a request whose answer was never seen.

    Found: follow it. Not there, and asked for longer than its slowest answer and its list may take: surely not
    bought, so it may be sent again, with the same bytes and the same idempotency key. Otherwise: ask again later.
    """
    now = anyio.current_time()
    ignore = await context.journal.ask(context.ledger.closed_run_ids, row.key)
    try:
        sighting = await drive(context.wire, context.provider.find(row.client_ref, ignore=ignore), ReadHooks(context))
    except Halted as problem:
        context.halt(StopReason.ACCOUNT, str(problem))
        return
    except ProviderError:
        # Not seeing an answer is not an answer: this look does not count.
        if now < work.until + _UNSEEN_PATIENCE_SECONDS:
            context.agenda.add(now + next_look(work.looks + 1), work)
        else:
            await settle(context, row, work.attempt)
        return
    if sighting.run_id is not None and not (sighting.has_failed and now < work.until):
        doubt = MicroUSD(sighting.surplus_unpriced * row.quote.high)
        news = await context.journal.do(
            context.ledger.found,
            work.attempt,
            provider_run_id=sighting.run_id,
            surplus_runs=sighting.surplus_runs,
            surplus=sighting.surplus,
            surplus_doubt=doubt,
        )
        context.progress.unknown -= 1
        context.budget.settle(ZERO, news.cost, row.key, doubt=news.doubt)
        context.breaker.success()
        if sighting.surplus_runs:
            context.note_once("the provider lists more than one run for one request: a possible double purchase")
        context.agenda.add(now, Follow(row.key, replace(work.attempt, provider_run_id=sighting.run_id)))
    elif now >= work.until and work.attempt.provider_run_id is not None:
        # It was accepted once: a provider that has forgotten it may have billed it all the same. Held, at risk.
        context.note_once("the provider no longer knows a run that it had accepted; it may have been billed")
        await settle(context, row, work.attempt)
    elif now >= work.until and work.attempt.key_print != context.key_print:
        context.note_once(
            "some requests were sent with another key, which may see runs that this one does not: run once with that"
            " key to settle them"
        )
        await settle(context, row, work.attempt)
    elif now >= work.until and work.looks > 0:
        await _absent(context, row, work.attempt)
    else:
        wait = max(0.5, min(next_look(work.looks + 1), work.until - now))
        context.agenda.add(now + wait, replace(work, looks=work.looks + 1))


async def settle(context: Context, row: RequestRow, attempt: Attempt) -> None:
    """Asking has not helped, or nobody can be asked: the user's choice for unknown outcomes."""
    if context.stopped():
        return
    match context.on_unknown:
        case "resend":
            if not context.buying or not await context.journal.ask(context.ledger.is_wanted, row.key):
                return
            if await context.journal.do(context.ledger.was_resent, row.key):
                context.note_once("some outcomes are unknown again after they were sent a second time; they are held")
                return
            await context.journal.do(context.ledger.resend, attempt)
            context.progress.unknown -= 1
            context.note_once("unknown outcomes are sent again, as you asked: possibly bought twice, still at risk")
            await queue_again(context, row, anyio.current_time())
        case "write-off":
            await context.journal.do(context.ledger.write_off, attempt)
            context.budget.settle(attempt.reserved, attempt.reserved, attempt.key)
            context.progress.unknown -= 1
            context.progress.lost += 1
        case _:
            pass


async def _absent(context: Context, row: RequestRow, attempt: Attempt) -> None:
    """Surely not bought: back to pending, or given up if that has happened too often."""
    note = Note(message="the provider does not know it", code="ABSENT")
    await context.journal.do(context.ledger.absent, attempt, note)
    context.progress.unknown -= 1
    context.budget.release(attempt.reserved, attempt.key)
    counted = row.counted + 1
    if counted >= context.policy.attempts:
        note = Note(message=f"it never reached the provider ({counted} attempts)", code="ABSENT")
        await context.journal.do(context.ledger.refuse, row.key, note, retryable=True)
        context.progress.failed += 1
        context.breaker.request_failed()
        context.check_breaker()
    else:
        draw = context.effects.draw("absent", row.key, attempt.number)
        await queue_again(context, row, anyio.current_time() + backoff(counted, context.policy, draw))
