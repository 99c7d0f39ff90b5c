"""How a start of a job has ended, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchedit.ending import RunSummary
from batchedit.errors import ExitCode
from batchedit.jobs.model import Job, Part
from batchedit.jobs.money import Standing
from batchedit.jobs.window import Night
from batchedit.pilot import Pilot
from batchedit.planned import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEnd:
    """
    How one manifest ended.

    Attributes:
        plan: None if it could not be planned.
        summary: None if it was not run.
        error: What kept it from being run; empty if nothing did.
        kept_back: Requests that were not begun because of what its pilot has shown.
    """

    part: Part
    plan: Plan | None
    summary: RunSummary | None
    error: str = ""
    kept_back: int = 0


@dataclass(slots=True, kw_only=True)
class JobEnd:
    """
    How one start of a job ended. `as_dict` has it for programs, as `job run --json` prints it.

    Attributes:
        exit_code: As the command line returns it.
        night: The night that it belongs to.
        reasons: Why it stopped early or did not begin, a sentence each.
        ledgers: Those that it is about, begun or not, each once.
        pilot: What the sample has shown, None without one.
        limits: How the job's own limits stand.
        files: Reports and exports that were written.
        troubles: What went wrong with files and notices; changes no exit code.
    """

    job: Job
    exit_code: ExitCode
    night: Night
    ledgers: Sequence[Path] = ()
    parts: list[PartEnd] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    pilot: Pilot | None = None
    limits: list[Standing] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def summaries(self) -> list[RunSummary]:
        """Those of the manifests that were run."""
        return [part.summary for part in self.parts if part.summary is not None]

    def as_dict(self) -> dict[str, Any]:
        """The facts of a notice: figures of requests, dollars as text, what to do next; can be written as JSON."""
        from batchedit.jobs.telling import end_facts

        return end_facts(self)

    @property
    def rehearsal(self) -> bool:
        """True if all of its money is a rehearsal's."""
        plans = [part.plan for part in self.parts if part.plan is not None]
        return bool(plans) and all(plan.rehearsal for plan in plans)
