"""
What is looked at: cards of tasks, or pairs of variants without their names.

The page knows them by ids that say nothing and lead nowhere but here: a keyed digest of the slot. A picture is asked
for by such an id and which one of the task's it is, never by a path.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchedit.effects import Effects
from batchedit.errors import LedgerError, NothingSelected, UsageError
from batchedit.ledger.reader import Ledger
from batchedit.ledger.reviewing import Shown
from batchedit.ledger.tasks import selected_tasks
from batchedit.model import ReviewSettings
from batchedit.report.thumbs import kept_raw
from batchedit.review.thumbnailer import Picture
from batchedit.selection import parse_selection

MOST_CARDS = 50_000
"""More than anybody looks at in one sitting; the page has all of them in memory."""

_ID_LETTERS = 24
_KEY_LETTERS = 12
_URGENT = {"failed": 0, "warned": 1}
_CLEAN = 2


@dataclass(frozen=True, slots=True)
class Sides:
    """
    The variants of an item and edit, in the order in which they are shown: slots and request keys, and how many
    pictures each has; `looks` as `Shown.look`.
    """

    item_id: str
    edit: str
    shown: tuple[tuple[str, str], ...]
    counts: tuple[int, ...]
    looks: tuple[str, ...]

    @property
    def key(self) -> str:
        """Of all requests together: another one once a side has another picture. Tells nothing of the variants."""
        return _short(key for _, key in self.shown)

    @property
    def look(self) -> str:
        """Of all files together: another one once a side has other files. Tells nothing of the variants."""
        return _short(self.looks)


@dataclass(slots=True, kw_only=True)
class Sheet:
    """
    The tasks of a review.

    Attributes:
        ledger: The ledger's file.
        root: The output folder.
        settings: Reasons, checklist, and whether variants are compared blindly.
        secret: Makes ids.
        seed: Decides which variant is on which side.
        select, exclude: Which tasks.
    """

    ledger: Path
    root: Path
    settings: ReviewSettings
    secret: bytes
    seed: str = "0"
    select: Sequence[str] = ()
    exclude: Sequence[str] = ()
    slots: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, Sides] = field(default_factory=dict)
    several: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def read(self, who: str) -> dict[str, Any]:
        """
        Everything that the page needs to begin, as JSON.

        Raises:
            LedgerError: if the ledger is of an older version.
            NothingSelected: if there is nothing to look at.
            UsageError: if there is too much, or for a selector that cannot be read.
        """
        with Ledger(self.ledger) as reader:
            if not reader.has_reviews:
                hint = (
                    "`batchedit review` without --read-only or --static brings it up to date, and so does the next run"
                )
                raise LedgerError(f"the ledger {self.ledger} is of an older version", hint=hint)
            # Before the tasks: whatever is said or comes meanwhile is told later.
            self.last, arrived = reader.last_decision(), reader.last_placed()
            found = self._tasks(reader)
            data: dict[str, Any] = {
                "blind": self.settings.blind,
                "rehearsal": reader.world() == "rehearsal",
                "name": next((run.manifest for run in reversed(reader.runs())), "ledger"),
                "reasons": [list(pair) for pair in self.settings.reasons.items()],
                "checklist": list(self.settings.checklist),
                "who": who,
                "last": self.last,
                "arrived": arrived,
            }
            if self.settings.blind:
                return {**data, "pairs": self._pairs(found, reader, who)}
            prompts: dict[str, int] = {}
            ordered = sorted(found, key=_order)
            self.slots = {self.id_of(task.slot): task.slot for task in ordered}
            self.several = {self.id_of(task.slot): len(task.files) for task in ordered if len(task.files) > 1}
            cards = [self.card(task, prompts) for task in ordered]
            former = self._spent(reader) - sum(card["cost"] for card in cards)
            return {**data, "prompts": list(prompts), "cards": cards, "former": former}

    def _spent(self, reader: Ledger) -> int:
        """Micro-dollars that the shown tasks have cost, earlier revisions and names included."""
        shown, heirs, spent = {*self.slots.values()}, {was: slot for slot, was in reader.renamed()}, 0
        for name, cost in reader.spent_by_buyer():
            seen: set[str] = set()
            while name not in shown and name in heirs and name not in seen:
                seen.add(name)
                name = heirs[name]
            spent += cost if name in shown else 0
        return spent

    def _tasks(self, reader: Ledger) -> list[Shown]:
        tasks: Iterator[Shown] = reader.shown()
        if self.select or self.exclude:
            chosen = selected_tasks(reader, tuple(self.select), tuple(self.exclude))
            tasks = (task for each in chosen for task in reader.shown(each.slot))
        found: list[Shown] = []
        for task in tasks:
            if len(found) == MOST_CARDS:
                raise UsageError(
                    f"there are more than {MOST_CARDS:,} pictures to look at",
                    hint="narrow it: --select verdict:none, or one client after the other",
                )
            found.append(task)
        if not found:
            raise NothingSelected(f"{self.ledger} has no picture to look at" + (" among those" if self.select else ""))
        return found

    def arrived(self, reader: Ledger, at: str) -> tuple[list[Shown], str]:
        """
        What has come since, or was made anew, and is among what is looked at; and until when that is all.

        Args:
            at: Until when the page knows everything.
        """
        selection = parse_selection(tuple(self.select), tuple(self.exclude))
        found: list[Shown] = []
        for slot, placed in reader.placed_since(at):
            at = placed
            known = reader.listed_task(slot) if selection else None
            if selection and (known is None or selection.meant(known) is not True):
                continue
            task = next(reader.shown(slot), None)
            name = self.id_of(slot)
            if task is None or (name not in self.slots and len(self.slots) >= MOST_CARDS):
                continue
            self.slots[name] = slot
            found.append(task)
        return found, at

    def id_of(self, name: str) -> str:
        """What the page calls a slot or a pair."""
        return hmac.new(self.secret, name.encode(), hashlib.sha256).hexdigest()[:_ID_LETTERS]

    def card(self, task: Shown, prompts: dict[str, int] | None = None) -> dict[str, Any]:
        """
        A task as the page knows it.

        Args:
            prompts: Prompts are put into it, and the card has their number; None gives the card the prompt itself.
        """
        prompt = str(task.spec["prompt"])
        said = task.said
        return {
            "id": self.id_of(task.slot),
            "slot": task.slot,
            "item": task.item_id,
            "edit": task.edit,
            "variant": task.variant,
            "labels": dict(task.labels),
            "key": task.key[:_KEY_LETTERS],
            "revision": task.revision,
            "prompt": prompt if prompts is None else prompts.setdefault(prompt, len(prompts)),
            "quality": task.spec["quality"],
            "cost": task.cost,
            "count": len(task.files),
            "before": _source(task.spec) is not None,
            "size": list(task.size),
            "verdict": said.decision.verdict if said else "undecided",
            "reason": said.decision.reason if said else "",
            "note": said.decision.note if said else "",
            "by": said.decision.who if said else "",
            "at": said.at if said else "",
            "seen": said.id if said else 0,
            "wish": [task.wish.prompt, task.wish.note] if task.wish else None,
            "checks": [list(check) for check in task.checks],
            "files": task.look,
            "start": [task.start.slot, task.start.what] if task.start else None,
            "anew": task.is_anew,
        }

    # -- blind ---------------------------------------------------------------------------------------------------

    def pairs_of(self, tasks: Iterable[Shown]) -> dict[str, Sides]:
        """What can be compared of these tasks, by id: the variants of an item and edit, shuffled by the seed."""
        groups: dict[tuple[str, str], list[Shown]] = {}
        for task in tasks:
            groups.setdefault((task.item_id, task.edit), []).append(task)
        pairs, effects = {}, Effects(seed=self.seed)
        for (item, edit), group in groups.items():
            if len(group) < 2:
                continue
            name = f"{item}\0{edit}"
            group.sort(key=lambda task: task.slot)
            effects.draw("blind", name).shuffle(group)
            shown = tuple((task.slot, task.key) for task in group)
            counts, looks = tuple(len(task.files) for task in group), tuple(task.look for task in group)
            pairs[self.id_of(name)] = Sides(item, edit, shown, counts, looks)
        return pairs

    def _pairs(self, tasks: Sequence[Shown], reader: Ledger, who: str) -> list[dict[str, Any]]:
        self.pairs = self.pairs_of(tasks)
        said = {(each.item_id, each.edit): each for each in reader.comparisons() if each.who == who}
        sources = {task.slot: _source(task.spec) is not None for task in tasks}
        data = []
        for name, sides in self.pairs.items():
            before, order = said.get((sides.item_id, sides.edit)), [slot for slot, _ in sides.shown]
            outcome: int | None = None
            if before is not None and dict(before.shown) == dict(sides.shown):
                outcome = 0 if before.outcome == "tie" else order.index(before.winner) + 1
            data.append(
                {"id": name, "key": sides.key, "files": sides.look, "item": sides.item_id, "edit": sides.edit,
                 "sides": len(order), "counts": list(sides.counts), "before": sources[order[0]], "outcome": outcome}
            )  # fmt: skip
        if not self.pairs:
            raise NothingSelected(
                "no item has two variants that are done", hint="blind comparisons need `variants`; or leave out --blind"
            )
        return data

    # -- pictures ------------------------------------------------------------------------------------------------

    def picture(self, name: str, which: str) -> Picture | None:
        """
        A picture; None if there is none of this name.

        Args:
            name: An id that the page has got from here.
            which: ``before``; the number of a delivered picture, or of a side of a pair; ``r`` and a revision. Further
                pictures of a side or a revision have ``-`` and their number behind it.
        """
        first, _, further = which.partition("-")
        sides = self.pairs.get(name)
        if sides is not None:
            number = 1 if which == "before" else int(first) if first.isdecimal() else 0
            if not 1 <= number <= len(sides.shown):
                return None
            slot, which = sides.shown[number - 1][0], "before" if which == "before" else further or "1"
        elif further and not first.startswith("r"):
            return None
        else:
            slot = self.slots.get(name, "")
        with Ledger(self.ledger) as reader:
            task = next(reader.shown(slot), None) if slot else None
            if task is None:
                return None
            if which.startswith("r"):
                return self._of_revision(task, first[1:], int(further or "1"), reader)
        if which == "before":
            return before_picture(task, self.root)
        number = int(which)
        if not 1 <= number <= len(task.files):
            return None
        path, digest = task.files[number - 1]
        return Picture(self.root / path, digest)

    def _of_revision(self, task: Shown, revision: str, number: int, reader: Ledger) -> Picture | None:
        for past in reader.revisions_of(task.slot, task.key):
            if str(past.revision) == revision and 1 <= number <= len(past.raws):
                return Picture(self.root / ".batchedit" / "raw" / past.raws[number - 1], past.digests[number - 1])
        return None

    def ahead(self) -> Iterator[Picture]:
        """The pictures whose thumbnails the page will ask for, in its order."""
        for name in [*self.slots]:
            further = range(2, self.several.get(name, 1) + 1)
            for which in ("1", "before", *map(str, further)):
                picture = self.picture(name, which)
                if picture is not None:
                    yield picture
        for name, sides in [*self.pairs.items()]:
            for which in ("before", *whiches_of(sides.counts)):
                picture = self.picture(name, which)
                if picture is not None:
                    yield picture


def _short(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_KEY_LETTERS]


def whiches_of(counts: Iterable[int]) -> Iterator[str]:
    """What the pictures of the sides of a pair are called: ``1``, and ``1-2`` and so on for its further ones."""
    for side, count in enumerate(counts, start=1):
        yield str(side)
        yield from (f"{side}-{number}" for number in range(2, count + 1))


def before_picture(task: Shown, root: Path) -> Picture | None:
    """The picture that a task started from, if it is on this machine."""
    source = _source(task.spec)
    if source is None:
        return None
    digest, where = source
    kept = kept_raw(root / ".batchedit", digest)
    return Picture(kept if kept is not None else Path(where), digest)


def _source(spec: Mapping[str, Any]) -> tuple[str, str] | None:
    """(SHA-256, path) of the first picture of a request, None for one behind a URL."""
    first = spec["images"][0]
    kind, _, digest = str(first["id"]).partition(":")
    return (digest, str(first["at"])) if kind == "sha256" else None


def _order(task: Shown) -> tuple[Any, ...]:
    """What needs a look most; then by client, season and so on, so that an item's pictures stand together."""
    worst = min((_URGENT[verdict] for _, verdict, _ in task.checks), default=_CLEAN)
    labels = tuple(value.casefold() for _, value in sorted(task.labels.items()))
    return worst, labels, task.item_id.casefold(), task.item_id, task.edit, task.variant
