"""
A task's files in place of those that it has: made by its recipe, noted, placed, listed, in this order. Buys nothing.

    render (a temporary file, complete)  ->  the ledger knows its digest, and disowns what it will replace
        ->  its name in the tree  ->  the ledger lists it with what its checks have found

A crash in between leaves a temporary file, which the next run clears away, or a file in the tree that nobody lists but
whose digest the ledger knows: the next run takes it for its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio

from batchedit.filing import InTheWay, Made, NotMade, RawDamaged, Source
from batchedit.ledger.records import OutputRow, TaskRow
from batchedit.ledger.rendered import LedgerRendered
from batchedit.model import LocalImage, Raw, Request
from batchedit.outputs import Outputs
from batchedit.paths import collision_key, with_extension
from batchedit.recipe import POST, Finding, as_sold

T = TypeVar("T")
Do = Callable[..., Awaitable[Any]]
"""Calls a method of the ledger and returns its result once that is durable."""

_WANTED = "a file as `post` asks for it"


async def at_once(method: Callable[..., T], *args: Any) -> T:
    """A `Do` where nobody else writes: no journal is needed."""
    return method(*args)


async def deliver_task(
    outputs: Outputs, ledger: LedgerRendered, do: Do, task: TaskRow, raws: Sequence[Raw], request: Request | None
) -> list[OutputRow]:
    """
    Put a task's files in place of those that it has: its raws, or what its recipe makes of them.

    Args:
        do: How the ledger is written.
        request: What was bought for it; not needed without a recipe.

    Returns:
        The files, which the ledger lists.

    Raises:
        NotMade: if its recipe cannot be followed; that is noted among its checks, and what it had stays.
        InTheWay: if a file that is not ours has one of the names; what it had stays its own.
        RawDamaged: if a kept picture is not what it was.
        StorageError: if the disk does not take it.
    """
    chosen = [*zip(raws, task.paths, strict=False)]
    made = [_as_it_is(raw) for raw, _ in chosen]
    if task.recipe:
        assert request is not None, "a recipe may compare with what was edited"
        made = await _made(outputs, ledger, do, task, [raw for raw, _ in chosen], source_of(request))
    named = [with_extension(planned, file.format) for (_, planned), file in zip(chosen, made, strict=True)]
    renders = [(file, raw.sha256) for (raw, _), file in zip(chosen, made, strict=True) if file.temporary]
    before = await do(ledger.begin_files, task, renders, named)
    rows: list[OutputRow] = []
    try:
        for (raw, planned), file in zip(chosen, made, strict=True):
            path = await outputs.place_made(raw, file, planned)
            rows.append(_row(task, raw, planned, path, file))
    except (InTheWay, RawDamaged):
        _drop(made[len(rows) :])
        placed = {row.path for row in rows}
        await do(ledger.deliver_again, [row for row in before if row.path not in placed])
        raise
    await outputs.remove_all(await do(ledger.redeliver, task.slot, rows))
    return rows


async def place_raws(outputs: Outputs, task: TaskRow, raws: Sequence[Raw]) -> list[OutputRow]:
    """
    Give a task's pictures their names in the tree, for one without a recipe and without files. Nothing is listed.

    Raises:
        InTheWay: if a file that is not ours has one of the names.
        RawDamaged: if a kept picture is not what it was.
    """
    return [
        _row(task, raw, planned, await outputs.place(raw, planned), _as_it_is(raw))
        for raw, planned in zip(raws, task.paths, strict=False)
    ]


def _row(task: TaskRow, raw: Raw, planned: str, path: str, file: Made) -> OutputRow:
    return OutputRow(
        slot=task.slot,
        number=raw.number,
        planned=planned,
        path=path,
        path_key=collision_key(path),
        key=task.key,
        sha256=file.sha256,
        recipe=task.recipe,
        findings=file.findings,
    )


async def _made(
    outputs: Outputs, ledger: LedgerRendered, do: Do, task: TaskRow, raws: Sequence[Raw], source: Source
) -> list[Made]:
    """What the recipe makes of each raw; all of it, or nothing."""
    recipe = await do(ledger.recipe, task.recipe)
    made: list[Made] = []
    for raw in raws:
        try:
            made.append(await outputs.render(raw, recipe, source))
        except (NotMade, RawDamaged) as problem:
            _drop(made)
            if isinstance(problem, NotMade):
                finding = Finding(name=POST, verdict="failed", measured=str(problem), wanted=_WANTED)
                await do(ledger.note_findings, task.slot, raw.number, raw.sha256, (finding,))
            raise
    return made


def _as_it_is(raw: Raw) -> Made:
    return Made(
        sha256=raw.sha256,
        format=raw.format,
        width=raw.width,
        height=raw.height,
        size_bytes=raw.size_bytes,
        temporary="",
        findings=tuple(as_sold(raw.trailing_bytes)),
    )


def _drop(made: Iterable[Made]) -> None:
    for file in made:
        if file.temporary:
            Path(file.temporary).unlink(missing_ok=True)


def source_of(request: Request) -> Source:
    """The picture that a request edits, for checks that compare with it."""
    first = request.images[0]
    if isinstance(first.ref, LocalImage) and first.digest is not None:
        return Source(path=str(first.ref.path), sha256=first.digest)
    return Source(why="its original is behind a URL")


async def side_by_side(items: Iterable[T], work: Callable[[T], Awaitable[None]], width: int) -> None:
    """
    Do something with each of some things, several at a time.

    Args:
        items: Taken one by one, as there is room.
        width: So many at a time.

    Raises:
        Whatever `work` raises first; the others are called back.
    """
    if width <= 1:
        for item in items:
            await work(item)
        return
    room = anyio.Semaphore(width)

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            room.release()

    try:
        async with anyio.create_task_group() as group:
            for item in items:
                await room.acquire()
                group.start_soon(one, item)
    except BaseExceptionGroup as several:
        error: BaseException = several
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
