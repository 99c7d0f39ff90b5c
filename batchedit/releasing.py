"""Tasks that start from another one's picture, once that is there: recorded in the ledger, then queued to be bought."""

from __future__ import annotations

import anyio

from batchedit.context import Context


async def release(context: Context, key: str) -> None:
    """
    Queue what was waiting for a request that has just been done.

    Called right after its last step was handed in, both are made durable at once. After a crash in between, the next
    run finds out from the ledger that nothing is to be waited for any more.
    """
    released = await context.journal.do(context.ledger.release, key, context.outputs.state / "raw")
    context.progress.total += len(released.buys)
    context.to_deliver += released.known
    for row in released.buys:
        context.agenda.add(anyio.current_time(), context.purchase(row))
