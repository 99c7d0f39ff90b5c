"""How many tasks a manifest may make, so that a slip in a matrix or a glob is no surprise of a million edits."""

from __future__ import annotations

from collections.abc import Iterator

from batchedit.errors import Problem
from batchedit.manifest.findings import Findings
from batchedit.model import Task


def up_to(tasks: Iterator[Task], ceiling: int, findings: Findings) -> Iterator[Task]:
    """The tasks, and a problem in place of the first one above the ceiling."""
    for count, task in enumerate(tasks):
        if count == ceiling:
            findings.problem(
                Problem(
                    place=task.place,
                    code="too-many-tasks",
                    field="limits.jobs",
                    value=str(ceiling),
                    message=f"the manifest makes more than {ceiling} tasks",
                    hint="If that is meant, allow it in the manifest, or in the defaults beside a table:"
                    f" limits: {{jobs: {10 * ceiling}}}",
                )
            )
            return
        yield task
