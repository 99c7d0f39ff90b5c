"""The output names of one walk over a manifest: no two tasks may have one, and nothing is ever overwritten."""

from __future__ import annotations

from pathlib import Path

from batchedit.claims import Claims
from batchedit.errors import Problem
from batchedit.filing import Filing
from batchedit.ledger.reader import Ledger
from batchedit.manifest import Findings
from batchedit.model import Task
from batchedit.paths import collision_key

_FOLDERS_REMEMBERED = 10_000


class Names:
    """
    Who delivers where.

    Args:
        claims: Which task has which name.
        outputs: The output folder.
        reader: The ledger, None if there is none yet.
        findings: Where problems go.
        is_part: Some tasks of the manifest are not selected.
    """

    def __init__(
        self, claims: Claims, outputs: Filing, reader: Ledger | None, findings: Findings, *, is_part: bool
    ) -> None:
        self._claims, self._outputs, self._reader, self._findings = claims, outputs, reader, findings
        self._is_part = is_part
        # Problems of names that another task has in the ledger, by that task's slot; none if that task is in the
        # manifest too, since then its own name is another one now.
        self._contested: dict[str, Problem] = {}
        self._links: dict[str, Path | None] = {}

    def are_free(self, task: Task, key: str) -> bool:
        """
        Claim a task's names; False if one is taken, by another task or by a file that is not ours.

        Args:
            key: Of its request.
        """
        reader, outputs = self._reader, self._outputs
        own = {output.path for output in reader.outputs_of(task.slot)} if reader is not None else set()
        free = True
        for path in task.outputs:
            name = collision_key(path)
            other = self._claims.name(name, task.slot, str(task.place))
            if other is not None:
                free = False
                self._collide(task, path, other)
            elif (link := self._link_in(path)) is not None:
                free = False
                message = f"{link} is a symbolic link, and no picture is delivered through one"
                hint = "put a folder in its place, or name another output folder"
                self._findings.problem(_problem(task, "output-link", path, message, hint))
            elif path not in own and outputs.blocked(path):
                free = False
                message = f"{outputs.root / path} exists and is not a file of this ledger"
                hint = "move it away or change the output template; nothing is ever overwritten"
                self._findings.problem(_problem(task, "output-exists", path, message, hint))
            elif path not in own and reader is not None and not outputs.missing(path):
                self._contest(task, key, path, reader.owner_of(name))
        return free

    def leave(self, task: Task) -> None:
        """Claim the names of a task that is not selected: they stay its own."""
        for path in task.outputs:
            other = self._claims.name_left_out(collision_key(path), task.slot, str(task.place))
            if other is not None:
                self._collide(task, path, other)

    def withdraw(self, task: Task) -> None:
        """As `leave`, for a task whose names were claimed already."""
        for path in task.outputs:
            self._claims.withdraw(collision_key(path), task.slot)

    def close(self) -> None:
        """After the last task: report the names of tasks that will not give them up."""
        gone = self._claims.without(set(self._contested))
        for slot, problem in self._contested.items():
            if slot in gone:
                self._findings.problem(problem)

    def _link_in(self, path: str) -> Path | None:
        folder = path.rpartition("/")[0]
        if folder not in self._links:
            if len(self._links) >= _FOLDERS_REMEMBERED:
                self._links.clear()
            self._links[folder] = self._outputs.link_in(path)
        return self._links[folder]

    def _collide(self, task: Task, path: str, other: str) -> None:
        message = f"the output {path!r} is also that of {other}"
        hint = "add {{ id }}, {{ variant }} or another column to the output template"
        self._findings.problem(_problem(task, "output-collision", path, message, hint))

    def _contest(self, task: Task, key: str, path: str, owner: tuple[str, str] | None) -> None:
        """A file of another task may only be taken over by the same picture, as when a row was renamed."""
        if owner is None or owner[0] == task.slot or owner[1] == key:
            return
        where = "not selected, or not in this manifest" if self._is_part else "not in this manifest"
        message = f"the output {path!r} is that of the task {owner[0]}, which is {where}"
        hint = "change the output template, use another folder, or move the file away"
        self._contested[owner[0]] = _problem(task, "output-owned", path, message, hint)


def _problem(task: Task, code: str, path: str, message: str, hint: str) -> Problem:
    return Problem(place=task.place, code=code, field="output", value=path, message=message, hint=hint)
