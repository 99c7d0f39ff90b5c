"""
Decisions that come back from a review that was sent as a folder: a JSON file, or the same as a table.

    {"format": "batchedit review", "version": 1, "report": ID, "who": NAME, "seed": TEXT,
     "decisions": [{"id", "seen", "verdict", "reason", "note", "reedit_prompt", "reedit_note",
                    "request", "files"}],
     "comparisons": [{"id", "sides", "request", "winner"}]}

The ids mean something only together with the report's own, which proves which ledger the review was of. `seen` is the
number of the latest decision that the reviewer knew: what somebody else has said since is a conflict where it differs.
`request` and `files` say which pictures were looked at: a decision about older ones is never taken, one about a file
that was made anew since is taken as that. What was decided about a row that has another name now is about that one.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from batchedit.errors import Place, Problem, UsageError
from batchedit.json_size import values_in
from batchedit.ledger.reader import Ledger
from batchedit.ledger.records import Comparison, Decision, PastDecision, Wish
from batchedit.ledger.reviewing import Shown
from batchedit.manifest.fields import looks_like_a_key, shortened
from batchedit.manifest.findings import Findings
from batchedit.manifest.rows import LineTooLong, lines_of
from batchedit.model import MAX_PROMPT, ReviewSettings
from batchedit.report.as_csv import unguarded
from batchedit.review.handout import is_of, secret_of
from batchedit.review.sheet import Sheet
from batchedit.verdicts import MAX_TEXT, VERDICTS

FORMAT = "batchedit review"
VERSION = 1
CSV_COLUMNS = ("report", "slot", "seen", "verdict", "reason", "note", "who", "reedit_prompt", "reedit_note")
_MOST_BYTES = 50_000_000
_MOST_VALUES = 5_000_000


@dataclass(slots=True)
class Returned:
    """
    What a file says that the ledger does not know yet.

    Attributes:
        conflicts: What the file says, and what somebody else has said since, where the two differ.
        outdated: What cannot be taken, since it is about pictures that tasks do not have any more; in words.
    """

    who: str = ""
    decisions: list[Decision] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    conflicts: list[tuple[Decision, PastDecision]] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)

    def conflict_lines(self) -> list[str]:
        """The conflicts, for people."""
        return [
            f"{said.slot}: the file says {_words(said)};"
            f" {other.decision.who or 'somebody'} has said {_words(other.decision)} at {other.at[:16]}Z"
            for said, other in self.conflicts
        ]


def is_returned(path: Path) -> bool:
    """True for a file that a review's page has made: JSON, or a table that begins with the review it is from."""
    if path.suffix.lower() == ".json":
        return True
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(8).strip('"').startswith("report")
    except OSError:
        return False


def read_returned(path: Path, shown: str, reader: Ledger) -> Returned:
    """
    What a file that a review's page has made says.

    Args:
        shown: The path as the user would type it, for messages.

    Raises:
        UsageError: if it is none, or of another ledger.
        ManifestError: with every decision that makes no sense.
    """
    data = _read(path, shown)
    report = str(data.get("report"))
    if not is_of(report, reader.path):
        hint = "name the output folder whose review it is"
        raise UsageError(f"{shown} is from a review of another ledger than {reader.path}", hint=hint)
    taking = _Taking(data, shown, report, reader)
    taking.decisions()
    taking.comparisons()
    taking.findings.raise_if_problems()
    return taking.returned


class _Taking:
    """One file on its way in."""

    def __init__(self, data: Mapping[str, Any], shown: str, report: str, reader: Ledger) -> None:
        self._data, self._shown, self._reader = data, shown, reader
        self.findings = Findings()
        self.returned = Returned(who=self._text(data, "who", Place(shown)))
        self._sheet = Sheet(
            ledger=reader.path,
            root=reader.path.parent,
            settings=ReviewSettings(),
            secret=secret_of(report),
            seed=str(data.get("seed", "0")),
        )

    def decisions(self) -> None:
        """Verdicts and wishes."""
        wanted = {str(each.get("id") or each.get("slot")): each for each in self._objects("decisions")}
        for task in self._reader.shown():
            each = wanted.pop(self._sheet.id_of(task.slot), None) or wanted.pop(task.slot, None)
            if each is not None:
                self._take(each, task)
        for slot, was in self._reader.renamed() if wanted else ():
            each = wanted.pop(self._sheet.id_of(was), None) or wanted.pop(was, None)
            now = next(self._reader.shown(slot), None) if each is not None else None
            if each is not None and now is not None:
                self._take(each, now)
            elif each is not None:
                wanted[was] = each
        for name in wanted:
            self._outdated(f"there is no task {shortened(name)!r} with pictures any more")

    def comparisons(self) -> None:
        """Which sides were best."""
        found = self._objects("comparisons")
        if not found:
            return
        pairs = self._sheet.pairs_of(self._reader.shown())
        who = self.returned.who
        known = {(each.item_id, each.edit): each for each in self._reader.comparisons() if each.who == who}
        for each in found:
            sides, winner = pairs.get(str(each.get("id"))), each.get("winner")
            if sides is None or each.get("sides") != len(sides.shown):
                self._outdated(f"there is no pair {shortened(str(each.get('id')))!r} any more")
                continue
            if each.get("request") not in (None, sides.key):
                self._outdated(f"{sides.item_id}, {sides.edit}: one of the pair has another picture now")
                continue
            if isinstance(winner, bool) or not isinstance(winner, int) or not 0 <= winner <= len(sides.shown):
                self._wrong("bad-verdict", "winner", str(winner), "a winner is the number of a side, or 0")
                continue
            said = Comparison(
                item_id=sides.item_id,
                edit=sides.edit,
                shown=sides.shown,
                outcome="won" if winner else "tie",
                winner=sides.shown[winner - 1][0] if winner else "",
                who=who,
            )
            if known.get((sides.item_id, sides.edit)) != said:
                self.returned.comparisons.append(said)

    def _take(self, each: Mapping[str, Any], task: Shown) -> None:
        place, returned = Place(f"{self._shown}: {task.slot}"), self.returned
        request, files = (self._text(each, name, place) for name in ("request", "files"))
        if request and not task.key.startswith(request):
            self._outdated(f"{task.slot} has another picture now than the one in this review")
            return
        verdict, reason, note = (self._text(each, name, place) for name in ("verdict", "reason", "note"))
        prompt, wish = self._text(each, "reedit_prompt", place, MAX_PROMPT), self._text(each, "reedit_note", place)
        if verdict not in VERDICTS:
            message = f"{shortened(verdict)!r} is not one of {', '.join(VERDICTS)}"
            self._wrong("bad-verdict", "verdict", verdict, message, place)
            return
        said = Decision(
            slot=task.slot, key=task.key, verdict=verdict, reason=reason, note=note, who=returned.who,
            files="" if files in ("", task.look) else f"of a review: {files}",
        )  # fmt: skip
        before = ("", "") if task.wish is None else (task.wish.prompt, task.wish.note)
        if (prompt, wish) != before and (prompt or wish):
            returned.wishes.append(Wish(slot=task.slot, key=task.key, prompt=prompt, note=wish, who=returned.who))
        known = task.said.decision if task.said is not None else None
        if known == said or (known is None and verdict == "undecided" and not note):
            return
        if task.said is not None and known is not None and known.who != said.who:
            is_news = task.said.id > _number(each.get("seen"))
            if is_news and known.verdict not in ("undecided", verdict):
                returned.conflicts.append((said, task.said))
                return
        returned.decisions.append(said)

    def _objects(self, name: str) -> list[Mapping[str, Any]]:
        found = self._data.get(name, [])
        if isinstance(found, list) and all(isinstance(each, dict) for each in found):
            return found
        self._wrong("bad-verdict", name, "", f"{name} must be a list of objects")
        return []

    def _text(self, each: Mapping[str, Any], name: str, place: Place, most: int = MAX_TEXT) -> str:
        text = each.get(name, "")
        if isinstance(text, str) and looks_like_a_key(text):
            self._wrong("bad-verdict", name, "", f"{name} has in it what looks like an API key; take it out", place)
            return ""
        if isinstance(text, str) and len(text) <= most:
            return text.strip()
        self._wrong("bad-verdict", name, "", f"{name} must be a text of at most {most:,} characters", place)
        return ""

    def _outdated(self, message: str) -> None:
        self.returned.outdated.append(f"{self._shown}: {message}")

    def _wrong(self, code: str, field: str, value: str, message: str, place: Place | None = None) -> None:
        where = place or Place(self._shown)
        self.findings.problem(Problem(place=where, code=code, field=field, value=shortened(value), message=message))


def _read(path: Path, shown: str) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{shown} is too large for the decisions of a review")
        if path.suffix.lower() != ".json":
            return _read_csv(path, shown)
        text = path.read_text("utf-8-sig")
        if values_in(text) > _MOST_VALUES:
            raise UsageError(f"{shown} has more than {_MOST_VALUES} values")
        data = json.loads(text)
        # A lone half of a surrogate pair may be written in JSON, and stands for nothing that can be kept.
        json.dumps(data, ensure_ascii=False).encode()
    except OSError as error:
        raise UsageError(f"{shown}: {error.strerror}") from None
    except (ValueError, RecursionError):
        what = "JSON" if path.suffix.lower() == ".json" else "table of decisions"
        raise UsageError(
            f"{shown} is no {what} in UTF-8", hint="save it as UTF-8, or import what the page has saved"
        ) from None
    except csv.Error as error:
        raise UsageError(f"{shown} is no table of decisions: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        hint = "the page of a review makes it: Save decisions"
        raise UsageError(f"{shown} does not hold the decisions of a review", hint=hint)
    if data.get("version") != VERSION:
        raise UsageError(f"{shown} has version {shortened(str(data.get('version')))}; this program reads {VERSION}")
    return data


def _read_csv(path: Path, shown: str) -> Mapping[str, Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # A spreadsheet may have saved it again, with what separates cells in its country.
        first = file.readline()
        file.seek(0)
        mark = max(",;\t", key=first.count)
        rows = [
            {name: unguarded(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
            for row in _rows(file, mark, shown)
        ]
    missing = [name for name in CSV_COLUMNS if rows and name not in rows[0]]
    if missing or not rows:
        what = f"lacks the columns {', '.join(missing)}" if missing else "holds no decision"
        raise UsageError(f"{shown} {what}", hint="the page of a review makes it: as CSV")
    for name in ("report", "who"):
        if len({row[name] for row in rows}) > 1:
            raise UsageError(
                f"{shown} has several values in the column {name}", hint="import one review after the other"
            )
    return {"report": rows[0]["report"], "who": rows[0]["who"], "decisions": rows}


def _rows(file: TextIO, mark: str, shown: str) -> Iterator[dict[str, Any]]:
    """
    The rows of a table. Each has all columns that the header names, however short its line is: a table of a few
    thousand letters could have a billion cells.
    """
    reader, cells = csv.DictReader(lines_of(file), delimiter=mark, restkey="rest", restval=""), 0
    try:
        for row in reader:
            cells += len(row)
            if cells > _MOST_VALUES:
                raise UsageError(f"{shown} has more than {_MOST_VALUES} cells")
            yield row
    except LineTooLong as error:
        raise csv.Error(f"a line {error}") from None


def _number(value: object) -> int:
    """What was seen; 0 for nothing that makes sense, which leads to a conflict and no loss."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value) else 0


def _words(said: Decision) -> str:
    return f"{said.verdict} ({said.reason})" if said.reason else said.verdict
