"""
A selection put to the tasks of a manifest: what the ledger knows of each is asked for only if the selection asks.

Whether a task is meant is decided before its pictures are looked at, unless that hangs on the plan's verdict.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from batchedit.errors import Place, Problem, UsageError
from batchedit.ledger.listing import ListedTask
from batchedit.ledger.reader import Ledger
from batchedit.lifecycle import State
from batchedit.manifest import Findings
from batchedit.model import Task
from batchedit.plan import Verdict
from batchedit.selection import Selection, Witness, nothing_selected
from batchedit.selectors import did_you_mean

_SHOWN = 5


class TaskView:
    """A task of a manifest as a `selectors.Candidate`."""

    def __init__(
        self,
        task: Task,
        reader: Ledger | None,
        last_run: int,
        verdict: Verdict | None = None,
        *,
        before_reedit: bool = False,
    ) -> None:
        self._task, self._reader, self._last_run = task, reader, last_run
        self._before_reedit = before_reedit
        self._verdict = verdict
        self._known: ListedTask | None = None
        self._asked = False

    @property
    def id(self) -> str:
        """Its item's id."""
        return self._task.item.id

    @property
    def edit(self) -> str:
        """Its edit's name."""
        return self._task.edit

    @property
    def variant(self) -> str:
        """Its variant's name, empty without one."""
        return self._task.variant

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self._task.labels

    @property
    def tags(self) -> Collection[str]:
        """Its tags."""
        return self._task.tags

    @property
    def line(self) -> int | None:
        """The line of its row, None where there are no lines."""
        return self._task.place.line

    @property
    def status(self) -> str | None:
        """The state of its request, None if the ledger does not know it."""
        return None if self._listed is None else self._listed.status

    @property
    def code(self) -> str:
        """What went wrong, empty if nothing did."""
        return "" if self._listed is None else self._listed.code

    @property
    def review(self) -> str:
        """What a person has said about the pictures that it has."""
        return "none" if self._listed is None else self._listed.review

    @property
    def review_reason(self) -> str:
        """Why, empty if nobody has said."""
        return "" if self._listed is None else self._listed.review_reason

    @property
    def checks(self) -> Collection[tuple[str, str]]:
        """The checks of its files that were not passed."""
        return () if self._listed is None else self._listed.checks

    @property
    def start(self) -> str:
        """What has become of the picture that it started from, empty if that still counts."""
        return "" if self._listed is None else self._listed.start

    @property
    def cost(self) -> int:
        """What it has cost, in micro-dollars."""
        return 0 if self._listed is None else self._listed.cost

    @property
    def verdict(self) -> str | None:
        """The plan's verdict, None as long as it is not known."""
        return None if self._verdict is None else self._verdict.replace(" ", "-")

    def in_run(self, number: int | None) -> bool:
        """True if this run worked on it; None is the one that was the last when the plan was made."""
        return self._listed is not None and self._listed.in_run(self._last_run if number is None else number)

    @property
    def _listed(self) -> ListedTask | None:
        if not self._asked and self._reader is not None:
            self._known = self._reader.listed_task(self._task.slot)
            if self._before_reedit and self._known is not None:
                self._known = as_before(self._known, self._reader)
        self._asked = True
        return self._known


def as_before(task: ListedTask, reader: Ledger) -> ListedTask:
    """
    A task whose re-edit has not ended, with what was said about the pictures that it is to replace; or whose re-edit
    was taken back, with what was said about those that it goes back to.
    """
    override = reader.override(task.slot)
    if override is None:
        key = reader.restored(task.slot)
    else:
        key = None if task.state is State.DONE and task.key != override.replaces else override.replaces
    said = reader.decision(task.slot, key) if key is not None else None
    if said is None or said.verdict == "undecided":
        return task
    return replace(task, review=said.verdict, review_reason=said.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """
    A part of the selected tasks, the same each time: those whose slots have the smallest digests.

    Attributes:
        size: How many tasks.
        seed: Another one draws others.
        strata: Names of labels, or ``edit``, ``variant``: each combination of their values takes its turn.
    """

    size: int
    seed: str = "0"
    strata: tuple[str, ...] = ()

    def draw(self, tasks: Iterable[Task]) -> frozenset[str]:
        """
        The slots of the sample.

        Raises:
            UsageError: if no task has one of the labels.
        """
        heaps: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        labels: set[str] = set()
        for task in tasks:
            if self.strata:
                labels.update(task.labels)
            heap = heaps.setdefault(stratum(task, self.strata), [])
            entry = (-self._rank(task.slot), task.slot)
            if len(heap) < self.size:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        for name in self.strata:
            if heaps and name not in (*labels, "edit", "variant"):
                there = f"Labels are: {', '.join(sorted(labels))}" if labels else "No task has any label"
                raise UsageError(
                    f"--stratify: no task has a label {name!r}",
                    hint=did_you_mean(name, [*labels, "edit", "variant"]) or there,
                )
        turns = [
            (turn, -rank, slot)
            for heap in heaps.values()
            for turn, (rank, slot) in enumerate(sorted(heap, reverse=True))
        ]
        return frozenset(slot for _, _, slot in sorted(turns)[: self.size])

    def _rank(self, slot: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}\0{slot}".encode()).digest()[:8], "big")


def stratum(task: Task, names: Iterable[str]) -> tuple[str, ...]:
    """A task's values of these labels, or ``edit``, ``variant``; empty where it has none."""
    return tuple(_value(task, name) for name in names)


def _value(task: Task, name: str) -> str:
    if name == "edit":
        return task.edit
    return task.variant if name == "variant" else task.labels.get(name, "")


@dataclass(slots=True, kw_only=True)
class Choice:
    """
    What of a manifest is to be planned and run. The default is everything.

    Attributes:
        selection: As the user wrote it.
        sample: Draws from what is selected; None takes all of it.
        ids_from: The file that the selection's ids are from, absolute; None if they are from nowhere else.
        before_reedit: Tasks whose re-edit has not ended are selected by what was said before it began.
        limit: Most purchases; what comes after them is left out. None for any number.
        beyond: How many tasks were left out because of that.
        drawn: Slots of the sample; None before it is drawn.
        last_run: The last run when the plan was made.
        left_out: How many tasks of the manifest are not meant.
    """

    selection: Selection = field(default_factory=Selection)
    sample: Sample | None = None
    ids_from: str | None = None
    before_reedit: bool = False
    limit: int | None = None
    beyond: int = 0
    drawn: frozenset[str] | None = None
    last_run: int = 0
    left_out: int = 0
    _witness: Witness | None = None
    _missing: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        """True if anything may be left out."""
        return bool(self.selection) or self.sample is not None or self.limit is not None

    def begin(self, reader: Ledger | None, tasks: Iterator[Task]) -> None:
        """
        Get ready for a manifest.

        Args:
            reader: Its ledger, None if there is none yet.
            tasks: Another walk over the manifest, for drawing a sample.

        Raises:
            UsageError: if the sample is to be drawn by a label that there is not.
        """
        self.last_run = reader.last_run() if reader is not None else 0
        self._missing = set(self.selection.ids or ())
        if self.sample is not None:
            self.drawn = self.sample.draw(task for task in tasks if self.early(task, reader) is not False)
            self.left_out = self.beyond = 0  # drawing may have been a walk of its own
        self._witness = Witness(self.selection)

    def early(self, task: Task, reader: Ledger | None) -> bool | None:
        """If a task is meant, before its request is known; None if that hangs on the verdict."""
        if self.drawn is not None and task.slot not in self.drawn:
            return False
        return self.selection.meant(self._view(task, reader))

    def late(self, task: Task, reader: Ledger | None, verdict: Verdict) -> bool:
        """If a task is meant."""
        return self.selection.meant(self._view(task, reader, verdict)) is True

    def note(self, task: Task, reader: Ledger | None, verdict: Verdict | None) -> None:
        """Count a task; a verdict of None means that it is not meant."""
        self.left_out += verdict is None
        self._missing.discard(task.item.id)
        if self._witness is not None:
            view = self._view(task, reader, verdict)
            self._witness.see(view, meant=verdict is not None)

    def _view(self, task: Task, reader: Ledger | None, verdict: Verdict | None = None) -> TaskView:
        return TaskView(task, reader, self.last_run, verdict, before_reedit=self.before_reedit)

    def end(self, findings: Findings, source: str) -> None:
        """
        Say what did not go as it was meant. Nothing after the first time: a run walks over the same tasks again.

        Args:
            source: The manifest, as the user typed it.

        Raises:
            UsageError: for a label that no task has.
            NothingSelected: if tasks there are, and none of them is meant.
        """
        witness, self._witness = self._witness, None
        if witness is None or not witness.looked:
            return
        witness.refuse_unknown_labels()
        if not witness.selected:
            raise nothing_selected(witness, f"{witness.looked} tasks of {source}")
        for item_id in sorted(self._missing)[:_SHOWN]:
            findings.problem(_unknown_id(item_id))
        more = len(self._missing) - _SHOWN
        if more > 0:
            findings.problem(_unknown_id(f"and {more} more"))
        if self.sample is not None and witness.selected < self.sample.size:
            message = f"a sample of {self.sample.size} is larger than what there is: {witness.selected}"
            findings.problem(Problem(place=Place("--sample"), code="large-sample", message=message, warning=True))


def _unknown_id(text: str) -> Problem:
    message = f"no item has the id {text!r}"
    return Problem(place=Place("--ids-from"), code="unknown-id", field="id", value=text, message=message, warning=True)
