"""What a plan is: where it works, each task with its verdict, everything that a run of it needs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from batchedit.chains import waits
from batchedit.digests import Digests
from batchedit.ledger.records import Override, TaskRow, WaitingRow
from batchedit.manifest import Findings, Manifest
from batchedit.model import ProviderSettings, Quote, Request, Task
from batchedit.plan import Agreement, PlanFigures, Verdict
from batchedit.pricing import PriceList
from batchedit.providers.registry import is_rehearsal
from batchedit.reedits import Reedit
from batchedit.selecting import Choice
from batchedit.settled import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """
    Where one output folder keeps everything.

    Attributes:
        root: The output folder.
        state: The folder ``.batchedit`` in it.
        ledger: The ledger's file.
    """

    root: Path
    state: Path
    ledger: Path

    @classmethod
    def at(cls, out: Path | str, *, ledger: Path | str | None = None, rehearse: bool = False) -> Workspace:
        """The workspace of an output folder; a rehearsal of a real manifest lives in a tree of its own inside."""
        root = Path(out).absolute()
        if rehearse:
            root = root / ".batchedit" / "rehearsal"
        state = root / ".batchedit"
        own = Path(ledger).absolute() if ledger is not None and not rehearse else state / "ledger.db"
        return cls(root=root, state=state, ledger=own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One task with its request, its quote and its verdict.

    Attributes:
        seal: What is wanted, as saved plans know it: the request's key, but for `chains`.
        changed_from: Key of the request that it was bought as, if that was another one.
        override: The prompt of a re-edit that is to be recorded with it, None if there is none.
        is_reedited: Its prompt is that of a re-edit, and not the manifest's.
        was: Slot that it was called before its row was renamed; empty if it was not.
    """

    task: Task
    request: Request
    quote: Quote
    verdict: Verdict
    seal: str
    changed_from: str | None = None
    override: Override | None = None
    is_reedited: bool = False
    was: str = ""

    @property
    def waits(self) -> bool:
        """True if it has no request of its own yet: what it starts from is not there, or not approved."""
        return waits(self.task, self.request, self.verdict)

    def row(self) -> TaskRow:
        """The task as the ledger keeps it."""
        task = self.task
        return TaskRow(
            slot=task.slot,
            item_id=task.item.id,
            edit=task.edit,
            variant=task.variant,
            key=self.request.key,
            labels=task.labels,
            tags=task.tags,
            paths=task.outputs,
            place=str(task.place),
            recipe=task.recipe.digest if task.recipe is not None else "",
            upstream=task.upstream or "",
            was=self.was,
        )

    def waiting_row(self) -> WaitingRow:
        """The task as the ledger keeps it while it waits."""
        assert self.task.upstream is not None, "only a task that starts from another one waits"
        return WaitingRow(
            task=self.row(),
            request=self.request,
            quote=self.quote,
            upstream=self.task.upstream,
            gate=self.task.when,
        )


@dataclass(slots=True, kw_only=True)
class Plan:
    """
    What a run of a manifest would do; made by `make_plan`, carried out by `run_plan`.

    Attributes:
        settings: The provider to be used.
        figures: Counts and money.
        findings: Warnings and skipped rows.
        accept_changed: Tasks whose content changed since they were bought are bought again.
        choice: Which tasks are meant; the others are left exactly as they are.
        asked_out, asked_ledger, asked_rehearsal: Where it was asked to be, before a rehearsal got a tree of its own.
        agreed: Consent to exactly this, given when it was saved; None for a plan that was not.
        reedit: Which tasks are to be bought once more, and how; None for a plan of the manifest as it is.
        mark: Set if an earlier run has left nothing to do; the tasks have not been looked at then.
    """

    manifest: Manifest
    workspace: Workspace
    settings: ProviderSettings
    prices: PriceList
    figures: PlanFigures
    findings: Findings
    accept_changed: bool = False
    choice: Choice = field(default_factory=Choice)
    asked_out: Path = Path()
    asked_ledger: Path | None = None
    asked_rehearsal: bool = False
    agreed: Agreement | None = None
    reedit: Reedit | None = None
    mark: Mark | None = None
    digests: Digests = field(default_factory=Digests, repr=False)
    signed_urls: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def words(self) -> str:
        """What stands for the manifest and its place in another command on them, quoted for a shell."""
        words = [str(self.manifest.source), "--out", str(self.asked_out)]
        words += [] if self.asked_ledger is None else ["--ledger", str(self.asked_ledger)]
        words += [] if self.manifest.chosen_provider is None else ["--provider", self.manifest.chosen_provider]
        return shlex.join([*words, "--rehearse"] if self.asked_rehearsal else words)

    def _repr_html_(self) -> str:
        """For notebooks."""
        from batchedit.notebook import plan_html

        return plan_html(self)

    @property
    def rehearsal(self) -> bool:
        """True if no real money is involved."""
        return is_rehearsal(self.settings)

    @property
    def world(self) -> str:
        """The world of its ledger: ``real`` or ``rehearsal``."""
        return "rehearsal" if self.rehearsal else "real"
