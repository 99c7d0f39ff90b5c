"""What the flow driver is given by a run: pacing of reads, the shared cool-down, and the durable steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio

from batchedit.context import Context
from batchedit.ledger.records import Attempt
from batchedit.polling import Watcher
from batchedit.providers.answers import exhausted, retry_after, shorten
from batchedit.providers.base import Accepted, Answer, Answered, Ended, Listing, Send, Watch
from batchedit.wire import drive


class ReadHooks:
    """For flows that only read or upload: nothing to make durable."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watcher: Watcher | None = None

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
            context.note_pace()
            return
        pacer.cooldown.passed(sent)
        wait = exhausted(answer.headers)
        if wait is not None:
            pacer.exhausted(now, wait)
            context.note_pace()

    async def watch(self, step: Watch) -> bytes | None:
        """Wait until a look at the run is worthwhile; at a run that was accepted earlier, at once."""
        if self._watcher is None:
            now = anyio.current_time()
            self._watcher = Watcher(step.run_id, since=now, inline=step.inline, exact=False, due=now)
        return await self._context.board.wait(self._watcher, self._read_list)

    def ended(self, step: Ended) -> None:
        """Learn how long runs take."""
        if self._watcher is not None:
            self._context.board.ended(self._watcher, step.seconds)

    async def _read_list(self, count: int) -> Mapping[str, Listing]:
        return await drive(self._context.wire, self._context.provider.newest(count), self)

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
        self._watcher = Watcher(step.run_id, since=anyio.current_time(), inline=step.inline)
        self._seen()

    async def answered(self, step: Answered) -> None:
        """
        The final answer, durable before it is interpreted: as a file where it cannot be asked for again.

        The file may hold signed URLs, so it is private, never in the ledger, and removed once the pictures are safe.
        """
        context = self._context
        if step.repeatable:
            text = shorten(step.answer.decode("utf-8", "replace"))
            # It can be read again under the run id, which is durable: nobody needs to wait for this.
            context.journal.hand_in(context.ledger.keep_answer, self.attempt, answer=text, answer_file=None)
        else:
            digest = await context.outputs.keep_answer(step.answer)
            await context.journal.do(context.ledger.keep_answer, self.attempt, answer=None, answer_file=digest)
            self.attempt = replace(self.attempt, answer_file=digest)
        self._seen()

    def _seen(self) -> None:
        self.is_accepted = True
        self._context.breaker.success()
