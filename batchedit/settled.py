"""
Seeing at a glance that nothing is left to do, where reading a million rows again would say the same.

When a run has ended with everything done and delivered, its ledger is marked: with a fingerprint of whatever decides
what is wanted, and with the state of the folders that the pictures went to. As long as both are the same, so are the
tasks and so is every file: in a folder whose time of change has not moved, no name has come or gone. Whoever opens the
ledger to write removes the mark first (`LedgerCore`), so that nothing it stands for can change behind its back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from batchedit import disk
from batchedit.filing import Filing
from batchedit.ledger.reader import Ledger, has_begun
from batchedit.money import MicroUSD

if TYPE_CHECKING:
    from batchedit.planned import Plan

_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """
    What was settled.

    Attributes:
        run_id: The run that finished it.
        tasks: All tasks of the manifest.
        requests: The requests that they share.
        at_risk: What may still be billed in this ledger, in micro-dollars.
        fingerprint: Of what decides which tasks there are.
        folders: Inode and time of change of each folder with pictures, by its path below the output folder.
    """

    run_id: int
    tasks: int
    requests: int
    at_risk: MicroUSD
    fingerprint: str
    folders: dict[str, list[int]]

    def text(self) -> str:
        """As kept in the ledger."""
        return json.dumps(asdict(self))


def can_be_marked(plan: Plan) -> bool:
    """
    True if the manifest's files alone decide what is wanted, and there was nothing to say about them.

    Folders of pictures can get new ones, and local pictures other bytes; warnings and skipped rows are to be heard
    each time; only that all tasks have one prompt is of no use any more when all of them are bought. Of a part of the
    tasks it says nothing.
    """
    found = plan.findings
    said = found.skipped or any(warning.code != "same-prompt" for warning in found.warnings)
    return plan.manifest.is_closed and not plan.choice and not plan.digests and not found.absences and not said


def make_mark(
    plan: Plan, paths: Iterable[str], *, run_id: int, tasks: int, requests: int, at_risk: MicroUSD
) -> Mark | None:
    """
    The mark for a plan that has just been carried out to its end.

    Args:
        paths: Of all delivered files, below the output folder.

    Returns:
        None if one of the files is not there any more: somebody has removed it while the run went on.
    """
    files = Filing(plan.workspace.root, plan.workspace.state)
    folders: dict[str, list[int]] = {}
    for path in paths:
        name = str(PurePosixPath(path).parent)
        # A folder's state before its files are looked at: whatever goes afterwards changes it.
        if name not in folders:
            state = _state_of(files.root / name)
            if state is None:
                return None
            folders[name] = state
        if files.missing(path):
            return None
    return Mark(
        run_id=run_id,
        tasks=tasks,
        requests=requests,
        at_risk=at_risk,
        fingerprint=fingerprint(plan),
        folders=folders,
    )


def read_mark(plan: Plan, text: str | None) -> Mark | None:
    """
    The mark, if what it says still holds for this plan.

    Args:
        text: As kept in the ledger; None if it has no mark.
    """
    if text is None or plan.choice or not plan.manifest.is_closed:
        return None
    try:
        values = json.loads(text)
        mark = Mark(**values)
        known = mark.folders.items()
    except (ValueError, TypeError, AttributeError):
        return None  # another version's; the long way leads to the same
    if any(_state_of(plan.workspace.root / name) != state for name, state in known):
        return None
    return mark if mark.fingerprint == fingerprint(plan) else None


def still_settled(plan: Plan) -> bool:
    """True if what the plan's mark says holds to this moment: a plan may be carried out long after it was made."""
    if not has_begun(plan.workspace.ledger):
        return False
    with Ledger(plan.workspace.ledger) as reader:
        return read_mark(plan, reader.mark()) == plan.mark


def fingerprint(plan: Plan) -> str:
    """
    SHA-256 over everything that decides which tasks there are: files, flags, provider, prices, and this program.

    The manifest's other settings (limits, budget, notices) are in its files.
    """
    manifest = plan.manifest
    parts = [
        str(_FORM),
        version("batchedit"),
        manifest.source,
        manifest.given,
        repr(plan.settings),
        plan.prices.version,
        str(plan.workspace.root),
        str(plan.accept_changed),
        *(f"{path} {disk.digest(path)}" for path in manifest.files),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _state_of(folder: Path) -> list[int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    # A folder that was made anew may get the number and the time of the old one; the time of change nobody can set.
    return [found.st_ino, found.st_mtime_ns, found.st_ctime_ns]
