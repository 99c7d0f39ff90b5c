"""
`render`: what a manifest says about files, applied to what is already bought. Never buys, never asks a provider.

The walk finds out what is to be made anew and remembers it on the disk; then the ledger is opened for writing, and the
files are made by worker processes, several at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from batchedit.claims import Claims
from batchedit.delivery import undelivered_note
from batchedit.effects import Effects
from batchedit.errors import ExitCode
from batchedit.filing import Filing, InTheWay, NotMade, RawDamaged
from batchedit.ledger.lock import LedgerLock
from batchedit.ledger.reader import Ledger, require_begun
from batchedit.ledger.records import OutputRow, TaskRow
from batchedit.ledger.tasks import selected_tasks
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import State
from batchedit.manifest import Findings, Manifest
from batchedit.model import Task
from batchedit.naming import Names
from batchedit.outputs import Outputs
from batchedit.paths import collision_key
from batchedit.plan import Verdict
from batchedit.planned import Workspace
from batchedit.planner import outline, workspace_of
from batchedit.recipe import Recipe
from batchedit.rendering import at_once, deliver_task, side_by_side
from batchedit.scratch import Scratch
from batchedit.selecting import Choice
from batchedit.selection import parse_selection
from batchedit.workers import Workers

_PAGE = 200
_TOLD = 20


@dataclass(slots=True, kw_only=True)
class RenderSummary:
    """
    What became of it.

    Attributes:
        root: The output folder.
        looked: Tasks that are meant.
        unbought: Of these, those without a picture yet: nothing is done about them.
        unchanged: Those whose files are as they are wanted.
        to_render: Those whose files are to be made anew.
        rendered: Those whose files were; 0 after a look only.
        failed: How many could not be.
        failures: Why, by slot, of the first of them.
        unmet: (check, verdict) -> how many tasks of the ledger have it.
        dry_run: It was only a look.
    """

    root: Path
    looked: int = 0
    unbought: int = 0
    unchanged: int = 0
    to_render: int = 0
    rendered: int = 0
    failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    unmet: dict[tuple[str, str], int] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """As the command line returns it."""
        return ExitCode.SOME_FAILED if self.failed else ExitCode.DONE


def render(
    manifest: Manifest | None = None,
    *,
    out: Path | str = "out",
    ledger: Path | str | None = None,
    rehearse: bool = False,
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
    redo: bool = False,
    dry_run: bool = False,
    effects: Effects | None = None,
) -> RenderSummary:
    """
    Make delivered files anew from what was bought, as a manifest wants them now. Touches only what has changed.

    Args:
        manifest: Whose `post`, `checks` and `output` are applied; None for what the last run wanted, such as when files
            have gone.
        out: The output folder.
        ledger: The ledger's file, None for the one in the output folder.
        rehearse: The tree of a rehearsal.
        select, exclude: Which tasks are meant, as ``--select`` and ``--exclude``.
        redo: Make the files of all of them anew, changed or not.
        dry_run: Only count.
        effects: Clock and processes; None for the real ones.

    Raises:
        LedgerError: if there is no ledger, or it is in use, damaged, newer, or of the other world.
        ManifestError: with every problem of the manifest.
        UsageError: for a selector that cannot be read.
        NothingSelected: if no task is meant.
        StorageError: if the disk refuses it.
    """
    effects = effects or Effects.real()
    if manifest is None:
        workspace, world = workspace_of(None, out=out, ledger=ledger, rehearse=rehearse), ""
    else:
        plan = outline(manifest, out=out, ledger=ledger, rehearse=rehearse)
        workspace, world = plan.workspace, plan.world
    require_begun(workspace.ledger)
    summary = RenderSummary(root=workspace.root, dry_run=dry_run)
    files = Filing(workspace.root, workspace.state, ledger=workspace.ledger)
    with _Wishes() as wishes, ExitStack() as stack:
        # Before anything is read: what is found must still hold when it is acted upon.
        writer = None if dry_run else _open(workspace, world, effects, stack)
        with Ledger(workspace.ledger) as reader:
            walk = _Walk(reader, files, wishes, summary, redo=redo)
            if manifest is None:
                walk.ledger(select, exclude)
            else:
                walk.manifest(manifest, Choice(selection=parse_selection(select, exclude, named=manifest.selectors)))
        if writer is not None:
            anyio.run(_make, wishes, writer, files, effects, summary)
    with Ledger(workspace.ledger) as reader:
        summary.unmet = {(name, verdict): tasks for name, verdict, tasks, _ in reader.unmet_checks()}
    return summary


def _open(workspace: Workspace, world: str, effects: Effects, stack: ExitStack) -> LedgerWriter:
    if not world:
        with Ledger(workspace.ledger) as reader:
            world = reader.world()
    lock = LedgerLock(workspace.state / "lock", since=effects.stamp(), what=f"the folder {workspace.root}")
    stack.callback(lock.close)
    writer = LedgerWriter(workspace.ledger, effects, world=world)
    stack.callback(writer.close)
    return writer


class _Wishes(Scratch):
    """What is to be made anew, on the disk: it may be everything. `late` for names that other tasks have now."""

    TABLES = """
    CREATE TABLE wishes (late INTEGER, id INTEGER, slot TEXT, recipe TEXT, paths TEXT, PRIMARY KEY (late, id))
      WITHOUT ROWID;
    CREATE TABLE recipes (digest TEXT PRIMARY KEY, recipe TEXT) WITHOUT ROWID;
    """
    MOVES = True

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def add(self, slot: str, recipe: Recipe | None, digest: str, paths: Sequence[str], *, late: bool) -> None:
        """One task. `digest` alone is enough for a recipe that the ledger has."""
        self._count += 1
        row = (int(late), self._count, slot, digest, json.dumps(paths))
        self._connection.execute("INSERT INTO wishes VALUES (?, ?, ?, ?, ?)", row)
        if recipe is not None:
            self._connection.execute("INSERT OR IGNORE INTO recipes VALUES (?, ?)", (digest, recipe.text))

    def recipes(self) -> list[Recipe]:
        """Those that the ledger may not have."""
        return [Recipe.parse(row[0]) for row in self._connection.execute("SELECT recipe FROM recipes")]

    def pages(self, *, late: bool) -> Iterator[list[tuple[str, str, list[str]]]]:
        """(slot, digest, paths) of the tasks, some at a time."""
        last = 0
        while rows := self._connection.execute(
            "SELECT id, slot, recipe, paths FROM wishes WHERE late = ? AND id > ? ORDER BY id LIMIT ?",
            (int(late), last, _PAGE),
        ).fetchall():
            last = rows[-1][0]
            yield [(slot, digest, json.loads(paths)) for _, slot, digest, paths in rows]


class _Walk:
    """Finds out what is to be made anew."""

    def __init__(self, reader: Ledger, files: Filing, wishes: _Wishes, summary: RenderSummary, *, redo: bool) -> None:
        self._reader, self._files, self._wishes, self._summary = reader, files, wishes, summary
        self._redo = redo

    def manifest(self, manifest: Manifest, choice: Choice) -> None:
        """As a manifest wants it."""
        reader, findings = self._reader, Findings()
        choice.begin(reader, iter(()))
        with Claims() as claims:
            names = Names(claims, self._files, reader, findings, is_part=bool(choice))
            for task in manifest.tasks(findings):
                key = self._bought(task)
                early = choice.early(task, reader)
                if early is False or key is None:
                    names.leave(task)
                    meant = early is True or (early is None and choice.late(task, reader, Verdict.NEW))
                    choice.note(task, reader, Verdict.NEW if meant else None)
                    self._summary.looked += meant
                    self._summary.unbought += meant
                    continue
                digest = task.recipe.digest if task.recipe is not None else ""
                rows = reader.outputs_of(task.slot)
                verdict = Verdict.RENDER if self._is_due(rows, key, digest, task.outputs) else Verdict.DONE
                if not (early is True or choice.late(task, reader, verdict)):
                    names.leave(task)
                    choice.note(task, reader, None)
                elif names.are_free(task, key):
                    choice.note(task, reader, verdict)
                    self._take(task.slot, task.recipe, digest, task.outputs, verdict)
            names.close()
        choice.end(findings, manifest.source)
        findings.raise_if_problems()

    def ledger(self, select: Iterable[str], exclude: Iterable[str]) -> None:
        """As the last run wanted it."""
        for task in selected_tasks(self._reader, select, exclude):
            if task.state is not State.DONE:
                self._summary.looked += 1
                self._summary.unbought += 1
                continue
            due = self._is_due(self._reader.outputs_of(task.slot), task.key, task.recipe, task.paths)
            self._take(task.slot, None, task.recipe, task.paths, Verdict.RENDER if due else Verdict.DONE)

    def _bought(self, task: Task) -> str | None:
        """The request that has brought a task's pictures, whatever the manifest asks for by now; None if none has."""
        key = self._reader.key_of(task.slot)
        standing = self._reader.standing(key) if key is not None else None
        return key if standing is not None and standing.state is State.DONE else None

    def _is_due(self, rows: Sequence[OutputRow], key: str, digest: str, paths: Sequence[str]) -> bool:
        expected = list(paths)[: self._reader.pictures_of(key)]
        right = [row.planned for row in rows] == expected and all(row.key == key for row in rows)
        if self._redo or not right or any(row.recipe != digest for row in rows):
            return True
        return any(self._files.missing(row.path) for row in rows)

    def _take(self, slot: str, recipe: Recipe | None, digest: str, paths: Sequence[str], verdict: Verdict) -> None:
        summary = self._summary
        summary.looked += 1
        if verdict is Verdict.DONE:
            summary.unchanged += 1
            return
        summary.to_render += 1
        owners = (self._reader.owner_of(collision_key(path)) for path in paths)
        late = any(owner is not None and owner[0] != slot for owner in owners)
        self._wishes.add(slot, recipe, digest, paths, late=late)


async def _make(wishes: _Wishes, ledger: LedgerWriter, files: Filing, effects: Effects, summary: RenderSummary) -> None:
    files.open()
    ledger.remember_recipes(wishes.recipes())
    async with Workers(files, effects.workers) as workers:
        outputs = Outputs(files, effects.offload, workers if effects.workers else None)

        async def one(task: TaskRow) -> None:
            try:
                await _renew(task, ledger, outputs)
            except (InTheWay, NotMade, RawDamaged) as problem:
                summary.failed += 1
                if len(summary.failures) < _TOLD:
                    again = "; run the manifest again: it is fetched from the provider again, which costs nothing"
                    more = again if isinstance(problem, RawDamaged) else ""
                    summary.failures[task.slot] = undelivered_note(task.slot, problem) + more
            else:
                summary.rendered += 1

        for late in (False, True):
            for page in wishes.pages(late=late):
                ledger.want((slot, digest, paths) for slot, digest, paths in page)
                tasks = [*ledger.done_among(slot for slot, _, _ in page)]
                await side_by_side(tasks, one, 1 if late else 2 * effects.workers)


async def _renew(task: TaskRow, ledger: LedgerWriter, outputs: Outputs) -> None:
    request = ledger.request(task.key).request if task.recipe else None
    await deliver_task(outputs, ledger, at_once, task, ledger.raws_of(task.key), request)
