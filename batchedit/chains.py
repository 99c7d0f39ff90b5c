"""
Tasks that start from another task's picture, when a plan is made: is it there, may it be used, what waits for what?

A picture is there when the request of the task that makes it is done in the ledger. Both tasks are of one item, and the
one that makes it comes first, so that only the tasks of one row need be remembered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from batchedit.keys import make_request, to_spec
from batchedit.ledger.reader import Ledger
from batchedit.lifecycle import State
from batchedit.model import Item, LocalImage, Raw, Request, SourceImage, Task, TaskImage
from batchedit.plan import Verdict, what_changed

_WAITING = frozenset({Verdict.WAITING, Verdict.UNAPPROVED, Verdict.BLOCKED})
_NOT_COMING = frozenset({Verdict.FAILED, Verdict.SUSPECT, Verdict.LOST, Verdict.BLOCKED})
_STILL_OPEN = frozenset({Verdict.NEW, Verdict.RETRY, Verdict.DUPLICATE})


@dataclass(frozen=True, slots=True)
class _Seen:
    """
    A task of the current row: the request that will bring its picture, what it is sealed as, its verdict, and what it
    was called before.
    """

    key: str
    seal: str
    verdict: Verdict
    was: str


@dataclass(slots=True)
class Chains:
    """
    The chains of one walk.

    Attributes:
        raws: The folder of the kept pictures, below the output folder.
        reader: The ledger as it is now, None if there is none yet.
    """

    raws: Path
    reader: Ledger | None
    _left: set[str] = field(default_factory=set)
    _item: Item | None = None
    _row: dict[str, _Seen] = field(default_factory=dict)

    def picture(self, start: TaskImage) -> SourceImage:
        """The picture that a task starts from; its identity begins with ``output:`` if it is not there yet."""
        key = self._key(start.slot)
        raw = self.reader.first_raw(key) if self.reader is not None and key is not None else None
        if raw is not None:
            return SourceImage(identity=f"sha256:{raw.sha256}", ref=LocalImage(self._file(start.slot, raw)))
        return SourceImage(identity=f"output:{key or start.slot}", ref=start)

    def _file(self, slot: str, raw: Raw) -> Path:
        """Where the picture lies: among the raws, or if it has gone from there, where it was delivered."""
        kept = self.raws / raw.name
        if kept.is_file() or self.reader is None:
            return kept
        copies = [row.path for row in self.reader.outputs_of(slot) if row.sha256 == raw.sha256]
        return self.raws.parent.parent / copies[0] if copies else kept

    def verdict(self, task: Task, request: Request, judged: Verdict, was: str = "") -> Verdict:
        """
        The verdict on a task, from what it would be if its picture were there; each task must be shown, in order.

        Args:
            judged: That other verdict.
            was: Slot that the task was called before its row was renamed.
        """
        verdict = self._of_chained(task, request, judged) if task.upstream is not None else judged
        if task.item is not self._item:
            self._item, self._row, self._left = task.item, {}, set()
        self._row[task.slot] = _Seen(request.key, self._seal(task, request), verdict, was)
        return verdict

    def leave(self, task: Task) -> None:
        """The task whose verdict was given last is left for another run, and with it what starts from it."""
        self._left.add(task.slot)

    def is_left(self, task: Task) -> bool:
        """True if the task starts from one that is left for another run."""
        return task.upstream in self._left

    def seal(self, task: Task) -> str:
        """
        What is wanted of a task whose verdict was given last, in a digest that stays the same when the picture that it
        starts from comes: that one counts by the request that brings it, and not by its bytes.
        """
        return self._row[task.slot].seal

    def _seal(self, task: Task, request: Request) -> str:
        if task.upstream is None:
            return request.key
        seen = self._row.get(task.upstream)
        start = seen.seal if seen is not None and seen.verdict is not Verdict.CHANGED else self._key(task.upstream)
        identity = f"output:{start or task.upstream}"
        parts = (identity, *(image.identity for image in request.images[1:]))
        return make_request(
            model=request.model,
            prompt=request.prompt,
            images=tuple(replace(image, identity=part) for image, part in zip(request.images, parts, strict=True)),
            mask=request.mask,
            params=request.params,
            revision=request.revision,
            inline=request.inline,
        ).key

    def _of_chained(self, task: Task, request: Request, judged: Verdict) -> Verdict:
        slot = task.upstream
        assert slot is not None, "it starts from another task"
        if judged not in _STILL_OPEN:
            return judged  # bought already, or not to be bought again: nobody waits
        if not isinstance(request.images[0].ref, TaskImage):
            return judged if task.when == "done" or self._is_approved(slot) else Verdict.UNAPPROVED
        upstream = self._row.get(slot)
        if self._will_not_come(slot, upstream):
            return Verdict.BLOCKED
        if task.when == "approved" or (upstream is not None and upstream.verdict is Verdict.UNAPPROVED):
            return Verdict.UNAPPROVED
        return Verdict.DUPLICATE if judged is Verdict.DUPLICATE else Verdict.WAITING

    def _will_not_come(self, slot: str, upstream: _Seen | None) -> bool:
        """True if nothing that this run does can bring the picture."""
        if upstream is not None and upstream.verdict is not Verdict.CHANGED:
            return upstream.verdict in _NOT_COMING
        # It is not in this run, or keeps what it was bought as: only what is under way can still come.
        key = self._key(slot)
        standing = self.reader.standing(key) if self.reader is not None and key is not None else None
        return standing is None or standing.state in (State.PENDING, State.FAILED, State.SUSPECT, State.LOST)

    def _key(self, slot: str) -> str | None:
        """The request that brings the picture of a task: of this walk, or as the ledger has it."""
        seen = self._row.get(slot)
        if seen is not None and seen.verdict is not Verdict.CHANGED:
            return seen.key
        return self.reader.key_of(slot) if self.reader is not None else None

    def _name(self, slot: str) -> str:
        """What the ledger calls a task: of a row that was renamed since, what it was called before."""
        seen = self._row.get(slot)
        return seen.was if seen is not None and seen.was else slot

    def _is_approved(self, slot: str) -> bool:
        key = self._key(slot)
        if self.reader is None or key is None:
            return False
        decision = self.reader.decision(self._name(slot), key)
        return decision is not None and decision.verdict == "approved"

    def follows_reedit(self, task: Task, request: Request, old: str) -> bool:
        """
        True if a task is made anew since what it starts from was edited again, and somebody has approved that or is to.

        Args:
            old: The request that the task has now.
        """
        reader, slot = self.reader, task.upstream
        if reader is None or slot is None or task.when != "approved":
            return False
        before, now = reader.spec(old), json.loads(to_spec(request))
        images = before["images"]
        assert isinstance(images, list), "as it was stored"
        if what_changed({**before, "images": [*now["images"][:1], *images[1:]]}, now):
            return False  # something else has changed too
        seen = self._row.get(slot)
        if seen is not None and seen.verdict is Verdict.CHANGED:
            return False
        name, key, picture = self._name(slot), self._key(slot), images[0]["id"]
        former = [
            past for past in reader.revisions_of(name, key or "") if f"sha256:{[*past.digests, None][0]}" == picture
        ]
        return any(past.key != key for past in former) and (
            reader.override(name) is not None or any(past.verdict == "rejected" for past in former)
        )


def waits(task: Task, request: Request, verdict: Verdict) -> bool:
    """True for a task that has no request of its own yet."""
    return task.upstream is not None and (
        verdict in _WAITING or (verdict is Verdict.DUPLICATE and isinstance(request.images[0].ref, TaskImage))
    )
