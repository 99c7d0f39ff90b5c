"""What the ledger says of runs, as values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from batchedit.money import MicroUSD


class Setting(NamedTuple):
    """A setting as it was in force, and where it came from: ``flag``, ``manifest``, ``provider`` or ``default``."""

    name: str
    value: str
    origin: str


class SkippedRows(NamedTuple):
    """Rows that made no task, or one of them: the first place, why, how many."""

    place: str
    reason: str
    rows: int


class Reconciled(NamedTuple):
    """
    The last reconciliation after a run: when it began and ended (ISO, UTC), and its exit code; both None while it goes
    on, and for ever if it was killed.
    """

    began: str
    ended: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """
    What a report tells of a run besides its money.

    Attributes:
        manifest: As it was typed, empty for runs of older versions.
        reconciled: What has settled since what the run left open; None if nothing has.
    """

    settings: tuple[Setting, ...] = ()
    skipped: tuple[SkippedRows, ...] = ()
    manifest: str = ""
    reconciled: Reconciled | None = None

    def text(self) -> str:
        """As kept."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def read(cls, text: str) -> RunFacts:
        """From what is kept."""
        data = json.loads(text)
        return cls(
            settings=tuple(Setting(*entry) for entry in data.get("settings", ())),
            skipped=tuple(SkippedRows(*entry) for entry in data.get("skipped", ())),
            manifest=data.get("manifest", ""),
            reconciled=Reconciled(*data["reconciled"]) if data.get("reconciled") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """
    What is noted when a run begins.

    Attributes:
        budget: None when nobody set a limit.
        plan: Digest of the saved plan that it carries out, empty for one without.
        since: When the start of a job began that it belongs to (ISO, UTC), empty for none: runs of its manifest since
            then are continued by it, however they ended.
    """

    manifest: str
    provider: str
    model: str
    program: str
    price_list: str
    budget: MicroUSD | None
    plan: str = ""
    facts: RunFacts = RunFacts()
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One execution. `ended_at` and `exit_code` are None while it goes on, and for ever if it was killed."""

    id: int
    started_at: str
    ended_at: str | None
    manifest: str
    provider: str
    budget: MicroUSD | None
    exit_code: int | None
    stop_reason: str
    price_list: str
    program: str
    facts: RunFacts
