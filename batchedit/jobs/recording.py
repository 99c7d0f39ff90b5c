"""The log and the changes of state that a job wants written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from batchedit.errors import StorageError
from batchedit.events import EventFile, Pump, Sink, log_changes
from batchedit.jobs.model import Job
from batchedit.jobs.reading import file_name
from batchedit.jobs.window import Night
from batchedit.logs import LOGGER, logging_to

STDOUT = "-"


def names_of(job: Job, night: Night) -> dict[str, str]:
    """What may stand in the names of a job's files."""
    return {"night": f"{night.day}", "month": f"{night.day:%Y-%m}", "name": job.name}


@contextmanager
def logging_of(job: Job, night: Night, environment: Mapping[str, str]) -> Iterator[None]:
    """
    Write the log that the job wants, if it wants one, while the context lasts.

    Raises:
        StorageError: if it cannot be written.
    """
    if job.log is None:
        yield
        return
    path, log = _target(job, night, job.log.file), job.log
    with logging_to(
        str(path), form=log.form, verbose=0, environment=environment, every=log.every_change, largest=log.largest_bytes,
        kept=log.kept,
    ):  # fmt: skip
        yield


@contextmanager
def changes_of(
    job: Job, night: Night, ledger: Path, say: Callable[[str], None], others: Iterable[Sink] = ()
) -> Iterator[None]:
    """
    Write the changes of state of one run while the context lasts.

    Args:
        others: Whoever else is told of them.
        say: Told if that fails in the middle; it never ends a run.

    Raises:
        UsageError: if the file holds something else; StorageError if it cannot be written.
    """
    with ExitStack() as stack:
        file = None
        if job.events:
            file = EventFile(STDOUT if job.events == STDOUT else str(_target(job, night, job.events)))
            stack.callback(file.close)
        sinks: list[Sink] = [log_changes] if job.log is not None or LOGGER.isEnabledFor(logging.INFO) else []
        sinks += others
        if file is not None or sinks:
            stack.enter_context(Pump(ledger, file, sinks, say))
        yield


def _target(job: Job, night: Night, template: str) -> Path:
    target = job.folder / file_name(template, **names_of(job, night))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {target.parent} cannot be made: {error.strerror}") from error
    return target
