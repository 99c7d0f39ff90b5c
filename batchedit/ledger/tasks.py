"""The tasks of a ledger that are meant, as rows and as a data frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from batchedit.errors import NothingSelected, UsageError
from batchedit.ledger.listing import ListedTask
from batchedit.money import decimal_text
from batchedit.selection import Witness, nothing_selected, parse_selection

if TYPE_CHECKING:
    import pandas

_WITHOUT: Mapping[str, str] = {
    "state": "a plan's verdict needs the manifest; here status: asks where a task stands",
}

FIELDS: Mapping[str, Callable[[ListedTask], Any]] = {
    "id": lambda task: task.id,
    "slot": lambda task: task.slot,
    "edit": lambda task: task.edit,
    "variant": lambda task: task.variant,
    "status": lambda task: task.status,
    "class": lambda task: task.code,
    "reason": lambda task: task.reason,
    "cost_usd": lambda task: decimal_text(task.cost),
    "at_risk_usd": lambda task: decimal_text(task.at_risk),
    "shared": lambda task: task.shared,
    "attempts": lambda task: task.attempts,
    "runs": lambda task: sorted(task.runs),
    "labels": lambda task: dict(task.labels),
    "tags": lambda task: list(task.tags),
    "verdict": lambda task: task.review,
    "verdict_reason": lambda task: task.review_reason,
    "checks": lambda task: [f"{name} {verdict}" for name, verdict in task.checks],
    "paths": lambda task: list(task.paths),
    "delivered": lambda task: task.delivered,
    "place": lambda task: task.place,
    "quality": lambda task: task.quality,
    "size": lambda task: task.size,
    "format": lambda task: task.format,
    "model": lambda task: task.model,
    "revision": lambda task: task.revision,
    "key": lambda task: task.key,
    "created_at": lambda task: task.created_at,
}
"""What a list can say of a task, by the name of the field in JSON."""


class Listing(Protocol):
    """What has tasks to list."""

    path: Path

    def listed(self) -> Iterator[ListedTask]:
        """All of them."""


class Tasks:
    """
    The tasks of a ledger that are meant, in the order in which they were first recorded; those that wait for another
    one's picture last. Each walk over them reads them again, as they are taken.

    Args:
        reader: Whose tasks.
        select, exclude: Which ones, as ``--select`` and ``--exclude``.
        named: A manifest's selectors, by name.

    Raises:
        UsageError: for a selector that cannot be read.
    """

    def __init__(
        self,
        reader: Listing,
        select: Iterable[str] = (),
        exclude: Iterable[str] = (),
        *,
        named: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._reader = reader
        self._selection = parse_selection(select, exclude, named=named, without=_WITHOUT)

    def __iter__(self) -> Iterator[ListedTask]:
        """
        The tasks.

        Raises:
            UsageError: after the last, for a label that none has.
            NothingSelected: after the last, if something was selected and there was none.
        """
        witness = Witness(self._selection)
        for task in self._reader.listed():
            meant = self._selection.meant(task) is True
            witness.see(task, meant=meant)
            if meant:
                yield task
        if not (self._selection and witness.looked):
            return
        witness.refuse_unknown_labels()
        if not witness.selected:
            raise nothing_selected(witness, f"{witness.looked} tasks of {self._reader.path}")

    def to_frame(self) -> pandas.DataFrame:
        """
        All of them as a data frame: a column for each of `FIELDS`, amounts as whole micro-dollars, and a column
        ``label.NAME`` for each label.

        Raises:
            UsageError: if pandas is not installed; also as a walk over them.
        """
        try:
            import pandas
        except ImportError:
            hint = 'pip install "batchedit[frames]"'
            raise UsageError("a data frame needs pandas, which is not installed", hint=hint) from None
        rows: list[dict[str, Any]] = []
        for task in self:
            row = {name: value(task) for name, value in FIELDS.items() if name != "labels"}
            for name, amount in (("cost", task.cost), ("at_risk", task.at_risk)):
                del row[f"{name}_usd"]
                row[f"{name}_microusd"] = int(amount)
            rows.append(row | {f"label.{name}": text for name, text in task.labels.items()})
        return pandas.DataFrame(rows)


def selected_tasks(
    reader: Listing,
    select: Iterable[str],
    exclude: Iterable[str],
    *,
    named: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[ListedTask]:
    """
    As `Tasks`, for commands, which have something to do with them.

    Raises:
        NothingSelected: also if there is no task at all.
    """
    some = False
    for task in Tasks(reader, select, exclude, named=named):
        some = True
        yield task
    if not some:
        raise NothingSelected(f"{reader.path} holds no task")
