"""
What people say about delivered pictures, in and out as a table: one row for each task that has pictures.

    export   slot, id, edit, variant, request, file, verdict, reason, note
    import   slot (or id, with edit and variant where an item has several tasks), verdict, reason, note

A row without a verdict says nothing; `undecided` takes back what was said. A verdict is about the pictures that the
task has now: a row that carries the `request` of an older picture is refused. All rows of a table are taken, or none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from batchedit.effects import Effects
from batchedit.errors import Place, Problem, UsageError
from batchedit.ledger.decisions import DecisionBook
from batchedit.ledger.reader import Ledger, ledger_at
from batchedit.ledger.records import Decision, Reviewed
from batchedit.manifest.fields import Hints, looks_like_a_key, shortened, suggestion
from batchedit.manifest.findings import Findings
from batchedit.manifest.rows import csv_records
from batchedit.report.as_csv import guarded, unguarded

VERDICTS = ("approved", "rejected", "undecided")
COLUMNS = ("slot", "id", "edit", "variant", "request", "file", "verdict", "reason", "note")
_SAID = {"approved": "approved", "rejected": "rejected"}
"""What was taken back is as if it had never been said."""
_KEY_LETTERS = 12
MAX_TEXT = 2_000


def export_verdicts(reader: Ledger, target: IO[str], *, raw: bool = False) -> int:
    """
    Write a row for each task that is done, with what was last said about it; returns how many.

    Args:
        raw: Leave texts as they are that a spreadsheet would take for formulas.
    """
    # With another end of lines a lone carriage return in a note would not be quoted.
    writer, count = csv.writer(target, lineterminator="\r\n"), 0
    writer.writerow(COLUMNS)
    for task in reader.reviewed():
        said = task.decision
        cells = (
            task.slot,
            task.item_id,
            task.edit,
            task.variant,
            task.key[:_KEY_LETTERS],
            task.path,
            *((_SAID.get(said.verdict, ""), said.reason, said.note) if said else ("", "", "")),
        )
        writer.writerow([guarded(cell, raw=raw) for cell in cells])
        count += 1
    return count


def record_verdicts(
    ledger: Path | str,
    verdicts: Mapping[str, str | Decision],
    *,
    reason: str = "",
    note: str = "",
    who: str = "",
    effects: Effects | None = None,
) -> int:
    """
    Say something about delivered pictures, all of it in one step; also while a run is going on.

        record_verdicts("out", {"mug/white": "approved", "shoe/white": "rejected"}, reason="halo", who="ada")

    Args:
        ledger: A ledger's file, or the output folder that holds it.
        verdicts: By slot: ``approved``, ``rejected`` or ``undecided``, or a decision about the picture of a certain
            request, which is refused if the task has another one by now.
        reason, note, who: For those that are words.

    Returns:
        How many were recorded.

    Raises:
        UsageError: for a slot without pictures, a word that is no verdict, a text that is too long, or a decision about
            an older picture; then nothing is recorded.
        LedgerError: if there is no ledger.
        StorageError: if the disk does not take it.
    """
    path, decisions = ledger_at(ledger), []
    with Ledger(path) as reader:
        for slot, said in verdicts.items():
            task = reader.reviewed_slot(slot)
            if task is None:
                hint = suggestion(slot, _slots(reader))
                raise UsageError(f"there is no task {shortened(slot)!r} with pictures", hint=hint)
            if isinstance(said, str):
                said = Decision(slot=slot, key=task.key, verdict=said, reason=reason, note=note, who=who)
            if said.verdict not in VERDICTS:
                hint = suggestion(said.verdict, VERDICTS)
                raise UsageError(f"{shortened(said.verdict)!r} is not one of {', '.join(VERDICTS)}", hint=hint)
            if any(len(text) > MAX_TEXT for text in (said.reason, said.note, said.who)):
                raise UsageError(f"{slot}: at most {MAX_TEXT} characters are kept of a reason, a note or a name")
            if any(map(looks_like_a_key, (said.reason, said.note, said.who))):
                raise UsageError(f"{slot}: a reason, a note or a name has in it what looks like an API key")
            if (said.slot, said.key) != (slot, task.key):
                raise UsageError(f"{slot} has another picture now than the one that was decided on")
            decisions.append(said)
    with DecisionBook(path, effects) as book:
        book.take(decisions)
    return len(decisions)


def read_verdicts(
    path: Path, shown: str, reader: Ledger, *, raw: bool = False, outdated: list[str] | None = None
) -> list[Decision]:
    """
    The decisions of a table that say something new.

    Args:
        shown: The path as the user would type it, for messages.
        raw: It was exported like this: no apostrophe in front of a formula is taken away.
        outdated: Takes words for rows about pictures that tasks do not have any more, instead of an error.

    Raises:
        ManifestError: with every row that cannot be taken.
    """
    findings = Findings()
    found: dict[str, tuple[Place, Decision]] = {}
    hints = Hints(200_000)

    def header(names: Sequence[str], place: Place) -> None:
        _check_columns(names, place, findings)
        findings.raise_if_problems()

    for row in csv_records(path, shown, findings, header):
        texts = zip(row.names, row.cells, strict=True)
        cells = {name: _text(name, cell if raw else unguarded(cell)) for name, cell in texts}
        verdict = cells.get("verdict", "")
        if not verdict:
            continue
        task = _task(cells, row.place, reader, findings, hints)
        if task is not None and outdated is not None and not _is_of_now(cells, task):
            outdated.append(f"{row.place}: {task.slot} has another picture now")
            continue
        if task is None or not _is_sound(verdict, cells, task, row.place, findings):
            continue
        decision = Decision(
            slot=task.slot,
            key=task.key,
            verdict=verdict,
            reason=cells.get("reason", ""),
            note=cells.get("note", ""),
            who=cells.get("who", ""),
        )
        if task.slot in found:
            message = f"the task {task.slot} has a verdict already, in {found[task.slot][0]}"
            _wrong(findings, row.place, "duplicate-verdict", "slot", task.slot, message)
        found[task.slot] = (row.place, decision)
    findings.raise_if_problems()
    return [decision for _, decision in found.values() if reader.decision(decision.slot, decision.key) != decision]


def _text(name: str, cell: str) -> str:
    """A name as people mean it, what they have said as they have said it."""
    return cell if name in ("reason", "note", "who") and cell.strip() else cell.strip()


def _check_columns(columns: Sequence[str], place: Place, findings: Findings) -> None:
    first = Place(place.file, 1)
    if "verdict" not in columns:
        hint = suggestion("verdict", columns) or "Write approved or rejected into it"
        _wrong(findings, first, "no-column", "verdict", "", "there is no column 'verdict'", hint)
    if "slot" not in columns and "id" not in columns:
        hint = "Begin with: batchedit verdicts export FILE"
        _wrong(findings, first, "no-column", "slot", "", "there is neither a column 'slot' nor a column 'id'", hint)


def _task(cells: Mapping[str, str], place: Place, reader: Ledger, findings: Findings, hints: Hints) -> Reviewed | None:
    """The one task that a row is about."""
    slot = cells.get("slot", "")
    if slot:
        known = reader.reviewed_slot(slot)
        if known is None:
            message = f"there is no task {shortened(slot)!r} with pictures"
            _wrong(findings, place, "unknown-task", "slot", slot, message, hints.of(slot, _slots(reader)))
        return known
    item = cells.get("id", "")
    if not item:
        _wrong(findings, place, "unknown-task", "id", "", "the row names no task")
        return None
    tasks = [
        task
        for task in reader.reviewed(item)
        if cells.get("edit", "") in ("", task.edit) and cells.get("variant", "") in ("", task.variant)
    ]
    if len(tasks) == 1:
        return tasks[0]
    if tasks:
        message = f"the item {shortened(item)!r} has {len(tasks)} tasks with pictures"
        hint = f"Name one in the column slot: {', '.join(task.slot for task in tasks[:5])}"
        _wrong(findings, place, "unknown-task", "id", item, message, hint)
    else:
        message = f"the item {shortened(item)!r} has no such task with pictures"
        _wrong(findings, place, "unknown-task", "id", item, message)
    return None


def _slots(reader: Ledger) -> Iterator[str]:
    return (task.slot for task in reader.reviewed())


def _is_sound(verdict: str, cells: Mapping[str, str], task: Reviewed, place: Place, findings: Findings) -> bool:
    if verdict not in VERDICTS:
        message = f"{shortened(verdict)!r} is not one of {', '.join(VERDICTS)}"
        _wrong(findings, place, "bad-verdict", "verdict", verdict, message, suggestion(verdict.lower(), VERDICTS))
        return False
    for name in ("reason", "note", "who"):
        text = cells.get(name, "")
        if len(text) > MAX_TEXT:
            message = f"has {len(text)} characters; at most {MAX_TEXT} are kept"
            _wrong(findings, place, "bad-verdict", name, text, message)
            return False
        if looks_like_a_key(text):
            message = "has in it what looks like an API key; take it out"
            _wrong(findings, place, "bad-verdict", name, "", message)
            return False
    if not _is_of_now(cells, task):
        request, hint = cells["request"], "Export the table again and look at it; or --outdated skip takes the rest"
        message = f"{task.slot} has another picture now than the one that this row is about"
        _wrong(findings, place, "old-verdict", "request", request, message, hint)
        return False
    return True


def _is_of_now(cells: Mapping[str, str], task: Reviewed) -> bool:
    """True if the row is about the picture that the task has now, or does not say."""
    return task.key.startswith(cells.get("request", "").lower())


def _wrong(findings: Findings, place: Place, code: str, field: str, value: str, message: str, hint: str = "") -> None:
    findings.problem(Problem(place=place, code=code, field=field, value=shortened(value), message=message, hint=hint))
