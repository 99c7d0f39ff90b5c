"""What the flow driver is given by a run: pacing of reads, the shared cool-down, and the durable steps."""

from __future__ import annotations

from dataclasses import replace

import anyio

from batchedit.context import Context
from batchedit.ledger.records import Attempt
from batchedit.providers.answers import exhausted, retry_after, shorten
from batchedit.providers.base import Accepted, Answer, Answered, Send


class ReadHooks:
    """For flows that only read or upload: nothing to make durable."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def before_read(self) -> None:
        """Reads obey the cool-down, and the limit on calls of any kind."""
        await self._context.read_turn()

    def answered_to(self, send: Send, sent: float, answer: Answer) -> None:
        """Let everybody pause after a 429, or when the server says that nothing is left."""
        context, now = self._context, anyio.current_time()
        pacer = context.pacer
        if send.client != "api":
            return  # the storage has limits of its own
        if answer.status == 429:
            jitter = context.effects.draw("cool-down", number=pacer.cooldown.refused).random()
            pacer.refuse(sent, now, buys=send.buys, wish=retry_after(answer.headers), jitter=jitter)
            return
        pacer.cooldown.passed(sent)
        wait = exhausted(answer.headers)
        if wait is not None:
            pacer.exhausted(now, wait)

    async def accepted(self, step: Accepted) -> None:
        """Known already."""

    async def answered(self, step: Answered) -> None:
        """Kept already, or to be had again."""


class AttemptHooks(ReadHooks):
    """
    For the flow of one attempt.

    Attributes:
        attempt: With the provider's run id and the digest of the stored answer, once there is one.
        is_accepted: True once the provider's acceptance is durable.
    """

    def __init__(self, context: Context, attempt: Attempt, *, is_accepted: bool) -> None:
        super().__init__(context)
        self.attempt = attempt
        self.is_accepted = is_accepted

    async def accepted(self, step: Accepted) -> None:
        """sending -> accepted, durable before the flow goes on."""
        context = self._context
        await context.journal.do(
            context.ledger.accept,
            self.attempt,
            provider_run_id=step.run_id,
            answer=shorten(step.answer.decode("utf-8", "replace")),
        )
        self.attempt = replace(self.attempt, provider_run_id=step.run_id)
        self._seen()

    async def answered(self, step: Answered) -> None:
        """
        The final answer, durable before it is interpreted: as a file where it cannot be asked for again.

        The file may hold signed URLs, so it is private, never in the ledger, and removed once the pictures are safe.
        """
        context = self._context
        if step.repeatable:
            text = shorten(step.answer.decode("utf-8", "replace"))
            await context.journal.do(context.ledger.keep_answer, self.attempt, answer=text, answer_file=None)
        else:
            digest = await context.outputs.keep_answer(step.answer)
            await context.journal.do(context.ledger.keep_answer, self.attempt, answer=None, answer_file=digest)
            self.attempt = replace(self.attempt, answer_file=digest)
        self._seen()

    def _seen(self) -> None:
        self.is_accepted = True
        self._context.breaker.success()
