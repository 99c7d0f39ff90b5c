"""
Feeding the plan: tasks from the manifest, digests of their pictures, and what the ledger knows about each.

The same walk serves `plan`, which only counts, and `run`, which records what it walks over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from batchedit.caps import refuse_dear
from batchedit.chains import Chains
from batchedit.claims import Claims
from batchedit.counting import Counting
from batchedit.errors import LedgerError, NothingSelected, Problem
from batchedit.filing import Filing
from batchedit.keys import make_request, to_spec, url_identity
from batchedit.ledger.reader import Ledger, has_begun
from batchedit.ledger.records import Standing
from batchedit.lifecycle import State
from batchedit.manifest import Findings, Manifest
from batchedit.model import (
    LocalImage,
    ProviderSettings,
    Request,
    SourceImage,
    Task,
    TaskImage,
    UrlImage,
)
from batchedit.naming import Names
from batchedit.plan import BUYING, UNBOUGHT, PlanFigures, Verdict, judge, what_changed
from batchedit.planned import Entry, Plan, Workspace
from batchedit.pricing import PriceList, shipped_prices
from batchedit.providers.registry import check_name, is_rehearsal
from batchedit.reedits import Reedit, Wording, worded
from batchedit.renaming import Renames
from batchedit.selecting import Choice, Sample
from batchedit.selection import parse_selection
from batchedit.settled import read_mark
from batchedit.sources import SourceProblem


def make_plan(
    manifest: Manifest,
    *,
    out: Path | str = "out",
    ledger: Path | str | None = None,
    rehearse: bool = False,
    accept_changed: bool = False,
    prices: PriceList | None = None,
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
    ids: Iterable[str] | None = None,
    sample: Sample | None = None,
    limit: int | None = None,
    by: Iterable[str] | None = None,
    glance: bool = True,
) -> Plan:
    """
    Compare a manifest with its ledger. Reads pictures to identify them; sends and writes nothing.

    Args:
        out: The output folder; it need not exist.
        ledger: The ledger's file, None for the one in the output folder.
        rehearse: Use the built-in provider and a tree of its own, whatever the manifest says.
        accept_changed: Buy tasks again whose content has changed since they were bought.
        prices: None for the manifest's, or else the list that comes with the package.
        select, exclude: Which tasks are meant, as ``--select`` and ``--exclude``; the others are left as they are.
        ids: Only items with these ids; None for any.
        sample: Only a part of what is selected; None for all of it.
        limit: At most so many purchases, the first ones; None for any number.
        by: What the quote is broken down by: labels, or ``edit``, ``variant``, ``quality``, ``size``, ``format``; None
            for every label.
        glance: False looks at every task even where a finished run could be recognised at a glance; for `save_plan`.

    Raises:
        ManifestError: with every problem of the manifest.
        UsageError: for a selector that cannot be read, or the name of a label that no task has.
        NothingSelected: if it holds no task, or none that is meant.
        LedgerError: if the ledger is damaged, newer, or of the other world.
    """
    selection = parse_selection(select, exclude, ids=ids, named=manifest.selectors)
    plan = survey(
        manifest,
        out=out,
        ledger=ledger,
        rehearse=rehearse,
        accept_changed=accept_changed,
        prices=prices,
        choice=Choice(selection=selection, sample=sample, limit=limit),
        by=by,
        glance=glance,
    )
    settle(plan)
    return plan


def settle(plan: Plan) -> None:
    """
    Refuse a plan that cannot be carried out.

    Raises:
        ManifestError: with every problem found so far.
        NothingSelected: if it holds no task.
    """
    plan.findings.raise_if_problems()
    if not plan.figures.tasks:
        skipped = sum(skip.count for skip in plan.findings.skipped)
        raise NothingSelected(
            f"{plan.manifest.source} holds no task" + (f" ({skipped} rows were skipped)" if skipped else "")
        )


def survey(
    manifest: Manifest,
    *,
    out: Path | str,
    ledger: Path | str | None,
    rehearse: bool,
    accept_changed: bool = False,
    prices: PriceList | None = None,
    choice: Choice | None = None,
    by: Iterable[str] | None = None,
    glance: bool = True,
    reedit: Reedit | None = None,
) -> Plan:
    """A plan whose problems are collected in its findings and not raised; else as `make_plan`."""
    plan = outline(manifest, out=out, ledger=ledger, rehearse=rehearse, accept_changed=accept_changed, prices=prices)
    plan.choice, plan.reedit = choice or plan.choice, reedit
    known = plan.workspace.ledger
    begun = has_begun(known)
    if not begun:
        _refuse_orphans(plan.workspace)
    with Ledger(known) if begun else nullcontext() as reader:
        if reader is not None:
            _check_world(plan, reader)
            plan.mark = read_mark(plan, reader.mark()) if glance else None
            if plan.mark is not None:
                plan.figures.counts[Verdict.DONE] = plan.mark.tasks
                for slot in reader.slots_of_manifest(manifest.name, but_run=plan.mark.run_id):
                    plan.figures.add_orphan(slot)
                return plan
        if plan.choice:
            plan.choice.begin(reader, _to_draw_from(plan, reader))
        counting = Counting(plan, reader, by)
        for entry in walk(plan, reader, plan.findings, counting.end):
            counting.add(entry)
    plan.choice.end(plan.findings, manifest.source)
    return plan


def _to_draw_from(plan: Plan, reader: Ledger | None) -> Iterator[Task]:
    """What a sample is drawn from; pictures are looked at only if the selection hangs on the verdicts."""
    if any(condition.method == "state" for condition in plan.choice.selection.conditions()):
        return (entry.task for entry in walk(plan, reader, Findings()))
    return plan.manifest.tasks(Findings())


def outline(
    manifest: Manifest,
    *,
    out: Path | str,
    ledger: Path | str | None = None,
    rehearse: bool = False,
    accept_changed: bool = False,
    prices: PriceList | None = None,
) -> Plan:
    """
    A plan that knows who sells and where things lie, before any task is looked at.

    Raises:
        UsageError: if there is no such provider.
    """
    settings = manifest.provider
    check_name(settings.name)
    replaced = rehearse and not is_rehearsal(settings)
    if replaced:
        # Everything that changes what is bought stays; only who sells it is another.
        settings = ProviderSettings(
            name="rehearsal",
            api=settings.api,
            model=settings.model,
            size_as=settings.size_as,
            keep_metadata=settings.keep_metadata,
        )
    return Plan(
        manifest=manifest,
        workspace=Workspace.at(out, ledger=ledger, rehearse=replaced),
        settings=settings,
        prices=prices or manifest.prices or shipped_prices(),
        figures=PlanFigures(),
        findings=Findings(),
        accept_changed=accept_changed,
        asked_out=Path(out).absolute(),
        asked_ledger=None if ledger is None else Path(ledger).absolute(),
        asked_rehearsal=rehearse,
    )


def workspace_of(manifest: Manifest | None, *, out: Path | str, ledger: Path | str | None, rehearse: bool) -> Workspace:
    """
    Where a command finds what `run` has made, with the same manifest, folder and ``--rehearse``.

    A manifest that is a rehearsal anyway has no tree of its own within its output folder. Without a manifest the
    ledgers tell: that of a rehearsal within the folder, or else one there that is of a rehearsal itself.

    Raises:
        UsageError: if there is no such provider.
    """
    if manifest is not None:
        return outline(manifest, out=out, ledger=ledger, rehearse=rehearse).workspace
    plain = Workspace.at(out, ledger=ledger)
    own = Workspace.at(out, ledger=ledger, rehearse=rehearse)
    if not rehearse or has_begun(own.ledger) or not has_begun(plain.ledger):
        return own
    with Ledger(plain.ledger) as reader:
        return plain if reader.world() == "rehearsal" else own


def _refuse_orphans(workspace: Workspace) -> None:
    """Pictures that were paid for, without the ledger that says so: a new one would buy them all again."""
    if any((workspace.state / "raw").glob("??/*")):
        raise LedgerError(
            f"{workspace.root} holds pictures that were bought, but {workspace.ledger} is not there or empty",
            hint="restore the ledger, name it with --ledger, or use another folder with --out",
        )


def _check_world(plan: Plan, reader: Ledger) -> None:
    if reader.world() != plan.world:
        raise LedgerError(
            f"{plan.workspace.root} holds a {reader.world()} run; a {plan.world} one does not mix with it",
            hint="name another folder with --out",
        )


def walk(
    plan: Plan, reader: Ledger | None, findings: Findings, on_end: Callable[[Claims], None] | None = None
) -> Iterator[Entry]:
    """
    Every task of the manifest with its verdict; problems go to `findings` and yield no entry.

    Args:
        reader: The ledger as it is now, None if there is none yet.
        on_end: Called after the last task, with what all of them are called.
    """
    # A rehearsal charges what the provider it stands for would charge.
    seller = "runflow" if plan.rehearsal else plan.settings.name
    workspace, choice, bought = plan.workspace, plan.choice, 0
    outputs = Filing(workspace.root, workspace.state, ledger=workspace.ledger)
    with Claims() as claims, Renames(plan.manifest, reader) as renames:
        names = Names(claims, outputs, reader, findings, is_part=bool(choice))
        chains = Chains(workspace.state / "raw", reader)
        for task in plan.manifest.tasks(findings):
            early = choice.early(task, reader)
            if early is False:
                names.leave(task)
                choice.note(task, reader, None)
                continue
            wording = _wording(plan, task, reader)
            if wording is None:
                names.leave(task)
                choice.note(task, reader, Verdict.DONE)  # it is meant, and stays as it is
                continue
            request = _request(plan, task, wording, findings, reader, chains)
            was = renames.former(task, request.key) if request is not None and plan.reedit is None else ""
            if was and reader is not None:
                wording = worded(task, reader, was)
                request = _request(plan, task, wording, findings, reader, chains)
            if request is None or not names.are_free(task, request.key):
                continue
            old = _bought_otherwise(task, request, reader, chains, wording)
            verdict = _verdict(plan, task, request, reader, outputs, changed=old is not None)
            verdict = chains.verdict(task, request, verdict, was)
            buys = verdict in BUYING and claims.request(request.key)
            if verdict in BUYING and not buys:
                verdict = Verdict.DUPLICATE
            meant = early is True or choice.late(task, reader, verdict)
            if meant and choice.limit is not None and (buys or chains.is_left(task)):
                bought += not chains.is_left(task)
                if bought > choice.limit or chains.is_left(task):
                    meant = False
                    choice.beyond += 1
                    chains.leave(task)
            if not meant:
                names.withdraw(task)
                if buys:
                    claims.release(request.key)
                choice.note(task, reader, None)
                continue
            choice.note(task, reader, verdict)
            quote = plan.prices.quote(seller, request.model, request.params)
            if verdict in UNBOUGHT:
                refuse_dear(task, quote, plan.manifest.spending.per_request, findings)
            seal = chains.seal(task)
            yield Entry(
                task=task, request=request, quote=quote, verdict=verdict, seal=seal, changed_from=old,
                override=wording.override, is_reedited=wording.is_reedited, was=was,
            )  # fmt: skip
        names.close()
        if on_end is not None:
            on_end(claims)


def _wording(plan: Plan, task: Task, reader: Ledger | None) -> Wording | None:
    """The prompt and revision of a task; None for one that a re-edit leaves as it is."""
    if plan.reedit is not None:
        return plan.reedit.consider(task, reader)
    return Wording(task.prompt) if reader is None else worded(task, reader)


def _request(
    plan: Plan, task: Task, wording: Wording, findings: Findings, reader: Ledger | None, chains: Chains
) -> Request | None:
    images = [
        chains.picture(ref)
        if isinstance(ref, TaskImage)
        else _source(plan, task, "image" if n == 0 else "references", ref, findings, reader)
        for n, ref in enumerate(task.images)
    ]
    mask = _source(plan, task, "mask", task.mask, findings, reader) if task.mask is not None else None
    known = tuple(image for image in images if image is not None)
    if len(known) != len(images) or (task.mask is not None and mask is None):
        return None
    return make_request(
        model=plan.settings.model,
        prompt=wording.prompt,
        images=known,
        mask=mask,
        params=task.params,
        revision=wording.revision,
        inline=task.inline,
    )


def _source(
    plan: Plan, task: Task, field: str, ref: LocalImage | UrlImage, findings: Findings, reader: Ledger | None
) -> SourceImage | None:
    if isinstance(ref, UrlImage):
        identity = url_identity(ref.url)
        if identity != f"url:{ref.url}":
            plan.signed_urls[identity] = ref.url
        return SourceImage(identity=identity, ref=ref)
    try:
        facts = plan.digests.facts(ref.path, reader)
    except SourceProblem as problem:
        findings.problem(
            Problem(place=task.place, code="unreadable-image", field=field, value=str(ref), message=f"{ref} {problem}")
        )
        return None
    return SourceImage(identity=f"sha256:{facts.sha256}", ref=LocalImage(ref.path))


def _verdict(
    plan: Plan, task: Task, request: Request, reader: Ledger | None, outputs: Filing, *, changed: bool
) -> Verdict:
    standing = reader.standing(request.key) if reader is not None else None
    delivered = renamed = False
    if reader is not None and standing is not None and standing.state is State.DONE:
        delivered, renamed = _delivery(task, request, reader, outputs)
    return judge(
        state=standing.state if standing else None,
        retryable=standing.retryable if standing else True,
        changed=changed,
        accept_changed=plan.accept_changed,
        delivered=delivered,
        renamed=renamed,
    )


def _bought_otherwise(
    task: Task, request: Request, reader: Ledger | None, chains: Chains, wording: Wording
) -> str | None:
    """The key under which this slot was bought before, if that was with other content, and nobody has meant that."""
    old = reader.key_of(task.slot) if reader is not None else None
    if reader is None or old is None or old == request.key:
        return None
    standing: Standing | None = reader.standing(old)
    if standing is None or not standing.bought:
        return None
    if chains.follows_reedit(task, request, old):
        return None
    # A new revision is wanted on purpose: only what else has changed needs consent.
    proposed = wording.override is not None or wording.is_interrupted
    spec = reader.spec(old)
    new = json.loads(to_spec(request))
    meant: dict[str, object] = {"revision": request.revision} | ({"prompt": request.prompt} if proposed else {})
    if proposed and task.upstream is not None:
        # A re-edit starts from the picture that there is now, or will be.
        old_images = spec["images"]
        assert isinstance(old_images, list), "as it was stored"
        meant["images"] = [*new["images"][:1], *old_images[1:]]
    deliberate = spec["revision"] != request.revision and not what_changed({**spec, **meant}, new)
    return None if deliberate else old


def _delivery(task: Task, request: Request, reader: Ledger, outputs: Filing) -> tuple[bool, bool]:
    """(all files are where they should be, all are there under other names or made in another way)."""
    rows = reader.outputs_of(task.slot)
    expected = list(task.outputs)[: reader.pictures_of(request.key)]
    if len(rows) != len(expected) or not all(row.key == request.key for row in rows):
        return False, False
    if any(outputs.missing(row.path) for row in rows):
        return False, False
    recipe = task.recipe.digest if task.recipe is not None else ""
    is_right = [row.planned for row in rows] == expected and all(row.recipe == recipe for row in rows)
    return is_right, not is_right
