"""
`deliver`: the files that somebody has approved, copied to a folder that leaves the house, with a sheet about them.

Reads the ledger and changes nothing there. A file that is there already with the right bytes is left alone, so that a
delivery that was cut off is gone on with; a file of somebody else's is never overwritten.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from batchedit import disk
from batchedit.effects import Effects
from batchedit.errors import ConsentMissing, ExitCode, NothingSelected, UsageError
from batchedit.exporting.files import text_to
from batchedit.exporting.results import DELIVERY, write_results, write_shopify
from batchedit.filing import Filing, InTheWay, RawDamaged
from batchedit.ledger.exports import Exports
from batchedit.ledger.lock import LedgerLock
from batchedit.ledger.reader import Ledger, require_begun
from batchedit.ledger.records import OutputRow
from batchedit.ledger.tasks import selected_tasks
from batchedit.leftovers import Earlier, header_of, is_sheet
from batchedit.lifecycle import State
from batchedit.manifest import Findings, Manifest
from batchedit.paths import path_problem
from batchedit.planned import Workspace
from batchedit.planner import workspace_of
from batchedit.recipe import POST
from batchedit.scratch import Scratch

SHEET, SHOPIFY = "delivery.csv", "delivery-shopify.csv"
FLAVOURS = ("shopify",)
_TOGETHER = 16
_TOLD = 20


@dataclass(slots=True, kw_only=True)
class DeliverySummary:
    """
    What was delivered.

    Attributes:
        folder: Where to.
        tasks: Whose files are there now.
        copied: Files that were copied; the others were there already.
        files: All files that are there now.
        size_bytes: Of those that were copied.
        rejected, unreviewed, missing: Tasks that are meant and left out: somebody has rejected them, nobody has looked
            at them, or they have no file.
        of_rejected: Approved tasks whose picture was made from one that was rejected or replaced since; with the words
            for one of them.
        anew: Tasks that are delivered, whose files were made anew, and are others, since somebody approved them.
        outdated: Tasks that are left out since their files are not as they are wanted now; `render` makes them.
        taken_unreviewed: Tasks that were delivered although nobody has looked at them.
        failed: Files that could not be delivered.
        failures: Why, of the first of them and of those that are outdated.
        sheets: The tables that were written.
        left: Files of an earlier delivery that lie there and are not delivered any more.
        pruned: How many of these were removed.
        left_files: Which ones, and why, the first of them.
        rehearsal: They are pictures of a rehearsal, which no provider has made.
    """

    folder: Path
    tasks: int = 0
    copied: int = 0
    files: int = 0
    size_bytes: int = 0
    rejected: int = 0
    unreviewed: int = 0
    taken_unreviewed: int = 0
    missing: int = 0
    outdated: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    sheets: list[Path] = field(default_factory=list)
    of_rejected: int = 0
    of_rejected_example: str = ""
    anew: int = 0
    left: int = 0
    pruned: int = 0
    left_files: list[str] = field(default_factory=list)
    rehearsal: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """As the command line returns it."""
        return ExitCode.SOME_FAILED if self.failed or self.outdated else ExitCode.DONE


def deliver(
    folder: Path | str,
    manifest: Manifest | None = None,
    *,
    out: Path | str = "out",
    ledger: Path | str | None = None,
    rehearse: bool = False,
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
    unreviewed: bool = False,
    strict: bool = False,
    prune: bool = False,
    raw: bool = False,
    flavour: str | None = None,
    url_prefix: str = "",
    effects: Effects | None = None,
) -> DeliverySummary:
    """
    Copy approved files to a folder, and write `delivery.csv` about them.

    Args:
        folder: Made if there is none. Not within the output folder.
        manifest: Whose rows the sheet has, their columns unchanged and in order; None for what the ledger knows.
        out, ledger, rehearse: Where the files are from.
        select, exclude: Which tasks are meant, as ``--select`` and ``--exclude``.
        unreviewed: Take also what nobody has looked at, and what was made from a picture that is rejected now.
        strict: Refuse files that were made anew, and are others, since they were approved.
        prune: Remove what an earlier delivery has brought there and is not delivered any more, unless somebody has
            changed it.
        raw: Leave cells of the sheet as they are that a spreadsheet would take for formulas.
        flavour: ``shopify`` writes besides the rows of a Shopify export with new addresses.
        url_prefix: For that: what the addresses begin with.

    Raises:
        ConsentMissing: if some have not been looked at, or were made from a picture that is rejected now, and
            `unreviewed` is False; or were made anew, and `strict` is True. Nothing was copied.
        NothingSelected: if nothing is to be delivered.
        UsageError: for a folder, a selector or a flavour that cannot be.
        LedgerError: if there is no ledger, or another delivery from it is going on.
        ManifestError: if the manifest has a problem.
        StorageError: if the disk refuses it.
    """
    target = Path(folder).absolute()
    workspace = workspace_of(manifest, out=out, ledger=ledger, rehearse=rehearse)
    _refuse(target, workspace, flavour, url_prefix, manifest)
    require_begun(workspace.ledger)
    prefix = url_prefix if url_prefix.endswith("/") else f"{url_prefix}/"
    summary, stamp = DeliverySummary(folder=target), (effects or Effects.real()).stamp()
    with ExitStack() as stack:
        lock = LedgerLock(workspace.state / "deliver.lock", since=stamp, what=f"a delivery from {workspace.root}")
        stack.callback(lock.close)
        reader, chosen = stack.enter_context(Exports(workspace.ledger)), stack.enter_context(_Chosen())
        earlier = stack.enter_context(Earlier(target, workspace.state))
        earlier.look_at_sheet(target / SHEET, reader)
        summary.rehearsal = reader.world() == "rehearsal"
        _choose(reader, chosen, manifest, select, exclude, summary, unreviewed=unreviewed)
        _agree(summary, workspace, unreviewed=unreviewed, strict=strict)
        if not summary.tasks and not summary.outdated:
            _see_leftovers(reader, chosen, earlier, summary, workspace, manifest, unreviewed=unreviewed, prune=prune)
            _refuse_nothing(summary)
        if not summary.tasks:
            return summary  # all are outdated, or what was left there is gone
        reader.choose(chosen.slots())
        if flavour == "shopify" and manifest is not None:
            write_shopify(reader, io.StringIO(), manifest, prefix)  # a mistake is told before anything is copied
        for row in (row for slot in chosen.slots() for row in reader.outputs_of(slot)):
            earlier.add(row.path, row.sha256)
        earlier.keep(before=True)
        disk.make_folders(target)
        _copy(reader, chosen, workspace, summary, earlier)
        reader.choose(chosen.slots())
        summary.tasks = chosen.count()
        if not summary.tasks:
            return summary  # everything failed, and there is nothing to tell of in a sheet
        _see_leftovers(reader, chosen, earlier, summary, workspace, manifest, unreviewed=unreviewed, prune=prune)
        with text_to(target / SHEET) as file:
            write_results(reader, file, manifest, columns=DELIVERY, raw=raw)
        summary.sheets.append(target / SHEET)
        if flavour == "shopify" and manifest is not None:
            with text_to(target / SHOPIFY) as file:
                write_shopify(reader, file, manifest, prefix)
            summary.sheets.append(target / SHOPIFY)
    return summary


def _see_leftovers(
    reader: Exports,
    chosen: _Chosen,
    earlier: Earlier,
    summary: DeliverySummary,
    workspace: Workspace,
    manifest: Manifest | None,
    *,
    unreviewed: bool,
    prune: bool,
) -> None:
    """Name what an earlier delivery has left there, or take it away."""
    files = Filing(summary.folder, workspace.state, ledger=workspace.ledger)
    for left in earlier.left(reader, lambda slot: manifest is None or chosen.is_asked(slot), unreviewed=unreviewed):
        summary.left += 1
        if len(summary.left_files) < _TOLD:
            summary.left_files.append(f"{left.path}: {left.why}")
        if prune:
            files.remove(left.path, left.sha256)
            summary.pruned += 1
    earlier.keep()


def _refuse_nothing(summary: DeliverySummary) -> None:
    """Without anything to deliver, all that may be done is to take away what an earlier delivery has left."""
    if summary.pruned:
        sheet = summary.folder / SHEET
        if is_sheet(sheet):
            sheet.unlink()
        return
    left = f"; {summary.left} files of an earlier delivery lie there: --prune takes them away" if summary.left else ""
    raise NothingSelected(
        f"there is nothing to deliver: {summary.rejected} tasks are rejected, {summary.missing} have no picture{left}",
        hint="`batchedit ls` shows where each stands",
    )


def _refuse(
    target: Path, workspace: Workspace, flavour: str | None, url_prefix: str, manifest: Manifest | None
) -> None:
    real, root = target.resolve(), workspace.root.resolve()
    if real == root or root in real.parents:
        raise UsageError(f"{target} is within the output folder {workspace.root}", hint="deliver to another folder")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} exists and is no folder")
    for name in (SHEET, SHOPIFY) if flavour == "shopify" else (SHEET,):
        sheet = target / name
        if sheet.is_symlink() or (sheet.exists() and not (is_sheet(sheet) or _is_for_a_shop(sheet))):
            raise UsageError(
                f"{sheet} exists and is no sheet of a delivery", hint="move it away; nothing is overwritten"
            )
    if flavour is None:
        if url_prefix:
            raise UsageError("--url-prefix belongs to --flavour shopify")
        return
    if flavour not in FLAVOURS:
        raise UsageError(f"there is no flavour {flavour!r}", hint=f"known are: {', '.join(FLAVOURS)}")
    if manifest is None:
        raise UsageError("--flavour shopify rewrites the rows of a manifest", hint="name the manifest of the export")
    if not url_prefix.startswith(("https://", "http://")) or any(mark in url_prefix for mark in "?#@ \t\r\n"):
        hint = "such as https://cdn.example.com/autumn, without a query"
        raise UsageError("--flavour shopify needs --url-prefix with the address where the files will lie", hint=hint)


def _is_for_a_shop(sheet: Path) -> bool:
    """True for a table that a delivery has written for a shop, by its header."""
    header = header_of(sheet)
    return sheet.name == SHOPIFY and any(
        name in header for name in ("Image Position", "Image position", "Image Src", "Product image URL")
    )


class _Chosen(Scratch):
    """The tasks that are delivered, on the disk. A context manager."""

    TABLES = """
    CREATE TABLE asked (slot TEXT PRIMARY KEY, recipe TEXT, paths TEXT) WITHOUT ROWID;
    CREATE TABLE chosen (id INTEGER PRIMARY KEY, slot TEXT);
    """

    def ask(self, slot: str, recipe: str, paths: Sequence[str]) -> None:
        """A task of the manifest, with what it wants of its files."""
        row = (slot, recipe, json.dumps(paths))
        self._connection.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", row)

    def is_right(self, slot: str, rows: Sequence[OutputRow], pictures: int) -> bool:
        """True if a task of the manifest has the files that are wanted of it."""
        recipe, paths = self._connection.execute("SELECT recipe, paths FROM asked WHERE slot = ?", (slot,)).fetchone()
        return [row.planned for row in rows] == json.loads(paths)[:pictures] and all(r.recipe == recipe for r in rows)

    def is_asked(self, slot: str) -> bool:
        """True for a task of the manifest."""
        return self._connection.execute("SELECT 1 FROM asked WHERE slot = ?", (slot,)).fetchone() is not None

    def add(self, slot: str) -> None:
        """A task that is delivered."""
        self._connection.execute("INSERT INTO chosen (slot) VALUES (?)", (slot,))

    def drop(self, slot: str) -> None:
        """A task that could not be."""
        self._connection.execute("DELETE FROM chosen WHERE slot = ?", (slot,))

    def slots(self) -> Iterator[str]:
        """The tasks that are delivered, in order. Others may be dropped meanwhile."""
        last = 0
        while row := self._connection.execute(
            "SELECT id, slot FROM chosen WHERE id > ? ORDER BY id LIMIT 1", (last,)
        ).fetchone():
            last = row[0]
            yield row[1]

    def count(self) -> int:
        """How many."""
        return int(self._connection.execute("SELECT count(*) FROM chosen").fetchone()[0])


def _choose(
    reader: Exports,
    chosen: _Chosen,
    manifest: Manifest | None,
    select: Iterable[str],
    exclude: Iterable[str],
    summary: DeliverySummary,
    *,
    unreviewed: bool,
) -> None:
    if manifest is not None:
        findings = Findings()
        for asked in manifest.tasks(findings):
            chosen.ask(asked.slot, asked.recipe.digest if asked.recipe is not None else "", asked.outputs)
        findings.raise_if_problems()
    named = manifest.selectors if manifest is not None else None
    for task in selected_tasks(reader, select, exclude, named=named):
        if not chosen.is_asked(task.slot) if manifest is not None else reader.is_former(task.slot):
            continue
        files = reader.outputs_of(task.slot)
        if task.state is not State.DONE or not files or any(file.key != task.key for file in files):
            summary.missing += 1
        elif task.review == "rejected":
            summary.rejected += 1
        elif (task.review == "approved" or unreviewed) and (
            (POST, "failed") in task.checks
            or (manifest is not None and not chosen.is_right(task.slot, files, reader.pictures_of(task.key)))
        ):
            summary.outdated += 1
            if len(summary.failures) < _TOLD:
                summary.failures.append(f"{task.slot}: its file is not as it is wanted now; render first")
        elif task.review == "approved" and task.start and not unreviewed:
            summary.of_rejected += 1
            start = reader.start_of(task.slot)
            if start is not None:
                summary.of_rejected_example = f"{task.slot} from {start.slot}, which was {start.what} since"
        elif task.review == "approved" or unreviewed:
            summary.taken_unreviewed += task.review != "approved"
            summary.anew += task.is_anew
            chosen.add(task.slot)
            summary.tasks += 1
        else:
            summary.unreviewed += 1


def _agree(summary: DeliverySummary, workspace: Workspace, *, unreviewed: bool, strict: bool) -> None:
    review = f"look at them: `batchedit review {workspace.root}`"
    if summary.unreviewed and not unreviewed:
        number = summary.unreviewed
        every = number + summary.tasks + summary.rejected + summary.of_rejected
        raise ConsentMissing(
            f"{number} of {every} tasks with pictures have not been looked at"
            f" ({summary.tasks + summary.of_rejected} approved, {summary.rejected} rejected); nothing was copied",
            hint=f"{review} or `batchedit verdicts export`; or leave them out:"
            " --select verdict:approved; or take them as they are: --unreviewed",
        )
    if summary.of_rejected:
        tasks = "task is" if summary.of_rejected == 1 else "tasks are"
        raise ConsentMissing(
            f"{summary.of_rejected} approved {tasks} made from a picture that does not count any more"
            f" ({summary.of_rejected_example}); nothing was copied",
            hint=f"{review} (what is approved there again counts); or run the manifest again, once the new picture is"
            " approved; or leave them out: --exclude made-from:*; or take them as they are: --unreviewed",
        )
    if summary.anew and strict:
        tasks = "task has" if summary.anew == 1 else "tasks have"
        raise ConsentMissing(
            f"--strict: {summary.anew} approved {tasks} other files now, made anew since somebody approved them;"
            " nothing was copied",
            hint=f"{review}, filter `made anew since`, and approve them again; or deliver without --strict",
        )


def _copy(reader: Exports, chosen: _Chosen, workspace: Workspace, summary: DeliverySummary, earlier: Earlier) -> None:
    files = Filing(summary.folder, workspace.state, ledger=workspace.ledger)
    rows = (row for slot in chosen.slots() for row in reader.outputs_of(slot))
    while batch := [*islice(rows, _TOGETHER)]:
        there = {row.path: _same(summary.folder / row.path, row.sha256) for row in batch}
        changes = disk.Together([_bring(files, workspace.root, row) for row in batch])
        for row, outcome in zip(batch, changes.finish(), strict=True):
            match outcome:
                case None:
                    summary.files += 1
                    earlier.is_delivered(row.path)
                    if not there[row.path]:
                        summary.copied += 1
                        summary.size_bytes += (summary.folder / row.path).stat().st_size
                case InTheWay() | RawDamaged():
                    _fail(summary, chosen, row, outcome, reader)
                case _:
                    raise outcome


def _bring(files: Filing, root: Path, row: OutputRow) -> disk.Stages[None]:
    problem = path_problem(row.path)
    if problem is not None:
        raise UsageError(f"the ledger names a file {row.path!r}, which {problem}")
    return files.bring(root / row.path, row.sha256, row.path)


def _same(path: Path, sha256: str) -> bool:
    return path.is_file() and not path.is_symlink() and disk.digest(path) == sha256


def _is_replaced(row: OutputRow, ledger: Path) -> bool:
    """True if the task has another file by now; asked anew, since a delivery sees the ledger as it was at its begin."""
    with Ledger(ledger) as reader:
        return all(now.sha256 != row.sha256 or now.path != row.path for now in reader.outputs_of(row.slot))


def _fail(summary: DeliverySummary, chosen: _Chosen, row: OutputRow, problem: Exception, reader: Exports) -> None:
    chosen.drop(row.slot)
    summary.failed += 1
    if len(summary.failures) >= _TOLD:
        return
    if isinstance(problem, InTheWay):
        told = f"{problem}; move it away and deliver again"
    elif _is_replaced(row, reader.path):
        told = (
            "a run or `batchedit render` has put another file in its place while this delivery was going on; nothing is"
            " lost: look at the new one, and deliver again"
        )
    else:
        by_hand = "a file that was changed by hand has to be moved away first"
        told = f"{problem}; `batchedit render --all` makes it anew; {by_hand}"
    summary.failures.append(f"{row.slot}: {told}")
