"""
Rows times edits times variants: a Task is made when it is needed.

For each field the last level that gives it counts: defaults, edit, row, variant, command line. Labels merge over the
same levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import Hints, shortened
from batchedit.manifest.findings import Findings, OncePerRow, Skip
from batchedit.manifest.layers import Edit, Head, Layer, Row
from batchedit.manifest.making import Maker, NoImage, Setting
from batchedit.manifest.rendering import Refused
from batchedit.manifest.roots import InputRoots
from batchedit.manifest.seen import Ids
from batchedit.manifest.watching import Watch
from batchedit.model import Item, Task


class Expander:
    """
    Makes the tasks of rows. Remembers nothing of a row but its id and place, and those on the disk. A context manager.

    Args:
        overrides: What the command line gives; wins over everything.
        root: Folder that relative paths start from.
    """

    def __init__(self, head: Head, overrides: Layer, root: Path, findings: Findings) -> None:
        self._findings = OncePerRow(findings)
        roots = InputRoots([root, *(root / name for name in head.input_roots)])
        self._setting = Setting(head, overrides, root, self._findings, roots)
        self._ids, self._hints = Ids(), Hints()
        self._watch = Watch()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget the rows."""
        self._ids.__exit__(kind, error, trace)

    def end(self) -> None:
        """All rows are read: say what only shows in all of them together."""
        self._findings.next_row()
        self._watch.end(self._findings)

    def tasks(self, row: Row) -> Iterator[Task]:
        """All tasks of one row. A problem takes away the task, not the row."""
        self._findings.next_row()
        item: Item | None = None
        fresh = True  # a row whose id is wrong or taken makes no task, but all of it is checked
        for edit in self._edits_of(row):
            for variant in edit.variants or ("",):
                maker = Maker(self._setting, row, edit, variant)
                try:
                    if not maker.enabled():
                        if "enabled" in row.layer.fields:
                            self._findings.skip(Skip(row.place, "not enabled"))
                        continue
                    item_id, image = maker.identify()
                    if item is None:
                        fresh = item_id is not None and self._is_new(item_id, row)
                        item = Item(id=item_id or "", place=row.place, values=row.values, labels={})
                    task = maker.task(item, image)
                except NoImage:
                    self._without_image(row)
                    return
                except Refused:
                    continue
                if fresh:
                    told = maker.place_of("prompt")
                    self._watch.task(task.edit, task.variant, task.prompt, task.labels, row.place, told)
                    yield task

    def _edits_of(self, row: Row) -> list[Edit]:
        wanted = row.layer.fields.get("edit")
        if wanted is None:
            return self._setting.head.edits
        if wanted.refused:
            return []
        names = wanted.several
        known = {edit.name: edit for edit in self._setting.head.edits}
        for name in names:
            if name not in known:
                hint = self._hints.of(name, known) or f"Known are: {', '.join(known)}"
                self._note(wanted.place, "unknown-edit", "edit", name, f"there is no edit {shortened(name)!r}", hint)
        if any(edit.start is not None for edit in known.values()):
            return [edit for name, edit in known.items() if name in names]  # each after the one that it starts from
        return [known[name] for name in dict.fromkeys(names) if name in known]

    def _without_image(self, row: Row) -> None:
        if row.inline:
            self._note(row.place, "no-image", "image", "", "the item has no image")
        else:
            self._findings.skip(Skip(row.place, "no image"))

    def _is_new(self, item_id: str, row: Row) -> bool:
        known = self._ids.claim(item_id, str(row.place))
        if known is None:
            return True
        if known.id == item_id:
            message = f"the id {item_id!r} is already that of {known.place}"
            self._note(row.place, "duplicate-id", "id", item_id, message)
            return False
        message = f"the ids {item_id!r} and {known.id!r} ({known.place}) differ only by case or leading zeros"
        self._note(row.place, "similar-id", "id", item_id, message, warning=True)
        return True

    def _note(
        self, place: Place, code: str, field: str, value: str, message: str, hint: str = "", *, warning: bool = False
    ) -> None:
        self._findings.problem(
            Problem(
                place=place, code=code, field=field, value=shortened(value), message=message, hint=hint, warning=warning
            )
        )
