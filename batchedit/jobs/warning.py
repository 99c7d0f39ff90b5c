"""Telling while a job goes on that one of its limits is nearly reached: once for each threshold and period."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from batchedit.budget import NearLimit
from batchedit.context import Observer, Progress
from batchedit.effects import Effects
from batchedit.errors import BatchEditError
from batchedit.jobs.model import Job
from batchedit.jobs.money import warning_name
from batchedit.jobs.telling import tell_warning
from batchedit.ledger.job_starts import add_warning


class Warner:
    """
    Watches a run for its limits, and sends notices beside it. An async context manager around the run.

    A warning is noted in the ledger before it is sent: after a crash it is not sent again, and at the worst it is lost.

    Args:
        began: The moment at which the start began, as the ledger has it.
        observer: Who else is told of the run's counts.
        trouble: Told what went wrong with notices.
    """

    def __init__(
        self,
        job: Job,
        ledger: Path,
        began: str,
        effects: Effects,
        environment: Mapping[str, str],
        observer: Observer | None,
        trouble: Callable[[Sequence[str]], None],
    ) -> None:
        self._job, self._ledger, self._began = job, ledger, began
        self._effects, self._environment = effects, environment
        self._observer, self._trouble = observer, trouble
        self._seen = 0
        self._send, self._receive = anyio.create_memory_object_stream[NearLimit](float("inf"))
        self._group: anyio.abc.TaskGroup | None = None

    def __call__(self, progress: Progress) -> None:
        """As an observer of the run."""
        for warning in progress.warnings[self._seen :]:
            if len(warning.name) > 2:  # the job's own limits; those of the manifest are notes of the run
                self._send.send_nowait(warning)
        self._seen = len(progress.warnings)
        if self._observer is not None:
            self._observer(progress)

    async def __aenter__(self) -> Self:
        """Begin."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._serve)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, and end."""
        self._send.close()
        assert self._group is not None
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            self._receive.close()

    async def _serve(self) -> None:
        async for warning in self._receive:
            percent = max((at for at in self._job.warn_at if at <= warning.percent), default=0)
            if percent:
                self._trouble(await self._effects.offload(partial(self._tell, warning, percent)))

    def _tell(self, warning: NearLimit, percent: int) -> list[str]:
        label, value, period = warning.name
        try:
            name = warning_name(label, value, period, self._began)
            is_new = add_warning(self._ledger, self._job.name, name, percent, self._effects.stamp())
        except BatchEditError as error:
            return [f"a warning cannot be noted, and is not sent: {error}"]
        return tell_warning(self._job, warning, percent, self._environment) if is_new else []
