"""
From the tasks of a walk to a plan in numbers: counts, money by label, differences, orphans, time and room.

Keeps a few examples of each kind; everything else is a sum.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchedit.claims import Claims
from batchedit.differences import differences
from batchedit.errors import Place, Problem, UsageError
from batchedit.forecast import Known, bytes_text, forecast
from batchedit.keys import to_spec
from batchedit.ledger.reader import Ledger
from batchedit.plan import BUYING, Part, Verdict
from batchedit.selectors import did_you_mean

if TYPE_CHECKING:
    from batchedit.planned import Entry, Plan

_SHOWN = 20
_MOST_VALUES = 1_000
OTHERS = "(others)"
"""Where the values of a label are counted that come after the first thousand."""
NO_LABEL = "(none)"
GROUPS = ("edit", "variant", "quality", "size", "format")
_WRITTEN: Mapping[Verdict, int] = {
    Verdict.NEW: 2, Verdict.RETRY: 2, Verdict.DUPLICATE: 1, Verdict.DELIVER: 1,
    Verdict.RENDER: 1, Verdict.WAITING: 2,
}  # fmt: skip
"""How many files a picture of such a task becomes: what is bought is kept and delivered."""

_OPEN = BUYING | {Verdict.IN_FLIGHT, Verdict.UNKNOWN}


class Counting:
    """
    Counts the tasks of a plan.

    Args:
        plan: Its figures are filled in.
        reader: The ledger, None if there is none yet.
        by: Names of labels, or of `GROUPS`, that money is broken down by; None for every label that there is.
    """

    def __init__(self, plan: Plan, reader: Ledger | None, by: Iterable[str] | None) -> None:
        self._plan, self._reader = plan, reader
        self._by = None if by is None else tuple(by)
        self._caps = {(cap.label, cap.value) for cap in plan.manifest.spending.caps}
        self._labels: set[str] = set()
        self._copies: Counter[tuple[str, str]] = Counter()
        self._seals = {name: hashlib.sha256() for name in ("wanted", "quotes", "standing")}

    def add(self, entry: Entry) -> None:
        """Count one task."""
        figures, params, verdict = self._plan.figures, entry.request.params, entry.verdict
        figures.add(verdict, entry.quote, params.samples)
        if verdict in BUYING and entry.quote.high > figures.dearest:
            figures.dearest, figures.dearest_place = entry.quote.high, str(entry.task.place)
        if verdict in BUYING and self._caps:
            named = {**entry.task.labels, "edit": entry.task.edit}.items()
            figures.capped.update(dict.fromkeys(named & self._caps, entry.quote.high))
        if entry.is_reedited:
            figures.add_reedit(entry.task.slot, entry.request.revision, entry.request.prompt)
            figures.resumed += entry.override is None and verdict in _OPEN
        if verdict in _WRITTEN:
            self._copies[params.format, params.size] += _WRITTEN[verdict] * params.samples
        self._break_down(entry)
        self._seal(entry)
        if self._reader is None:
            return
        if entry.changed_from is not None and verdict is Verdict.CHANGED:
            found = differences(self._reader.spec(entry.changed_from), json.loads(to_spec(entry.request)))
            figures.changed_fields.update(difference.field for difference in found)
            if len(figures.changed) < _SHOWN:
                figures.changed.append((entry.task.slot, found))
        elif verdict in (Verdict.FAILED, Verdict.RETRY) and len(figures.failed) < _SHOWN:
            standing = self._reader.standing(entry.request.key)
            figures.failed.append((entry.task.slot, standing.reason if standing else ""))

    def end(self, claims: Claims) -> None:
        """
        After the last task.

        Args:
            claims: What the tasks of the manifest are called.

        Raises:
            UsageError: if money is to be broken down by a label that no task has.
        """
        figures, plan, reader = self._plan.figures, self._plan, self._reader
        figures.seals = {name: seal.hexdigest() for name, seal in self._seals.items()}
        figures.located = plan.digests.located()
        if figures.tasks:
            self._refuse_unknown()
        if reader is not None:
            for slot in reader.slots_of_manifest(plan.manifest.name):
                if not claims.knows(slot):
                    figures.add_orphan(slot)
        known = Known(sizes={})
        if reader is not None and figures.purchases:
            known = Known(per_minute=reader.found_pace(), seconds=reader.mean_seconds(), sizes=reader.mean_sizes())
        figures.forecast = forecast(
            requests=figures.purchases,
            pictures=figures.pictures,
            copies=self._copies,
            limits=plan.manifest.limits,
            known=known,
            bytes_free=_free(plan.workspace.root),
        )
        if figures.forecast.is_short:
            needed, free = figures.forecast.bytes_needed, figures.forecast.bytes_free or 0
            message = f"the pictures need about {bytes_text(needed)}, and its disk has {bytes_text(free)} left"
            plan.findings.problem(
                Problem(place=Place(str(plan.workspace.root)), code="disk-space", message=message, warning=True)
            )

    def _seal(self, entry: Entry) -> None:
        slot, quote = entry.task.slot, entry.quote
        self._seals["wanted"].update(f"{slot}\0{entry.seal}\n".encode())
        self._seals["quotes"].update(f"{slot}\0{quote.low}\0{quote.high}\n".encode())
        self._seals["standing"].update(f"{slot}\0{entry.verdict}\n".encode())

    # -- inside ----------------------------------------------------------------------------------------------

    def _break_down(self, entry: Entry) -> None:
        task, params = entry.task, entry.request.params
        self._labels.update(task.labels)
        values: Mapping[str, str] = task.labels
        if self._by is not None:
            of_task = {
                **task.labels, "edit": task.edit, "variant": task.variant, "quality": params.quality,
                "size": params.size, "format": params.format,
            }  # fmt: skip
            values = {name: of_task.get(name, "") for name in self._by}
        for name, value in values.items():
            parts = self._plan.figures.by.setdefault(name, {})
            value = value or NO_LABEL
            if value not in parts and len(parts) >= _MOST_VALUES:
                value = OTHERS
            parts.setdefault(value, Part()).add(entry.verdict, entry.quote, params.samples)

    def _refuse_unknown(self) -> None:
        for name in self._by or ():
            if name not in self._labels and name not in GROUPS:
                known = [*sorted(self._labels), *GROUPS]
                hint = did_you_mean(name, known) or f"Known are: {', '.join(known)}"
                raise UsageError(f"--by: no task has a label {name!r}", hint=hint)


def _free(root: Path) -> int | None:
    for folder in (root, *root.parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None
