"""
Where the money went: the figures of one or several ledgers as text, JSON, CSV, Markdown or a page.

    ledger.books --> summary (pure) --> text, as_json, as_csv, page --> markdown, html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from batchedit.comparing import METHOD, Tally, tally, tally_json, tally_lines
from batchedit.errors import UsageError
from batchedit.grouping import GROUPINGS, YIELDING, label_names
from batchedit.ledger.books import Books
from batchedit.ledger.reader import ledger_at
from batchedit.ledger.run_records import RunRow
from batchedit.ledger.sums import CostGroup, TaskGroup
from batchedit.ledger.tasks import selected_tasks
from batchedit.money import MicroUSD, format_usd
from batchedit.notebook import ReportText
from batchedit.report.advice import manifest_words, waiting_lines
from batchedit.report.as_csv import figures_csv
from batchedit.report.as_json import figures_json
from batchedit.report.html import page_html, pairs_of, with_pairs
from batchedit.report.invoice import InvoiceCheck, check_invoice
from batchedit.report.markdown import report_markdown
from batchedit.report.page import Page, make_page
from batchedit.report.text import report_text
from batchedit.selectors import did_you_mean
from batchedit.summary import Figures, crossed, summarize

Form = Literal["text", "json", "csv", "markdown", "html"]
PICTURES = 120
DEAREST = 10
_EARLIEST, _LATEST = "", "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a report is about; see `render_report`."""

    by: Sequence[str] | None
    select: Sequence[str]
    exclude: Sequence[str]
    since: datetime | None
    until: datetime | None
    zone: tzinfo
    invoice: MicroUSD | None


def render_report(
    ledgers: Path | str | Sequence[Path | str],
    *,
    by: Iterable[str] | None = None,
    form: Form = "text",
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    zone: tzinfo = UTC,
    invoice: MicroUSD | None = None,
    pictures: int = PICTURES,
    beside: Path | None = None,
    raw: bool = False,
) -> ReportText:
    """
    The cost report of one or several ledgers, a text that a notebook shows as what it is.

    Reads only, also while a run is going on; a page keeps its thumbnails.

    Args:
        ledgers: Ledger files, or the output folders that hold them.
        by: Some of `summary.GROUPINGS`, names of labels; None for every label and the day. ``month`` is the label of
            this name if any task of the ledgers has it, else the calendar's; each form says which.
        form: ``text`` for people, ``json`` for programs, ``csv`` for finance, ``markdown``, or ``html`` for a page that
            stands by itself.
        select, exclude: Only tasks that are meant by these, as ``--select`` and ``--exclude``. What equal tasks share
            counts with the one that bears the cost.
        since, until: Only what ended from the one moment to before the other; None is open.
        zone: Whose midnight ends a day, and with its last day a month, and whose clock is shown.
        invoice: What the provider asks for, to be compared.
        pictures: For a page: so many tasks are shown with their pictures, at most.
        beside: For a page: the folder that it will lie in, which its links to full pictures start from.
        raw: For CSV: leave texts as they are that a spreadsheet would take for formulas.

    Raises:
        LedgerError: if there is no ledger, or it cannot be used.
        UsageError: for a selector that cannot be read, a label that no task has, or ledgers of different worlds.
        NothingSelected: if no task is meant.
    """
    asked = _Asked(
        by=None if by is None else tuple(by),
        select=tuple(select),
        exclude=tuple(exclude),
        since=since,
        until=until,
        zone=zone,
        invoice=invoice,
    )
    text = _rendered(ledgers, asked, form, invoice=invoice, pictures=pictures, beside=beside, raw=raw)
    return ReportText(text, is_page=form == "html")


def _rendered(
    ledgers: Path | str | Sequence[Path | str],
    asked: _Asked,
    form: Form,
    *,
    invoice: MicroUSD | None,
    pictures: int,
    beside: Path | None,
    raw: bool,
) -> str:
    with ExitStack() as stack:
        read = _read(ledgers, asked, stack)
        figures = read.figures(asked, told=form in ("json", "html", "markdown"))
        check = None if invoice is None else check_invoice(figures, invoice)
        match form:
            case "csv":
                names = tuple(figures.by)
                groups = crossed(read.costs, read.tasks, names, zone=asked.zone, yielded=figures.yielded)
                return figures_csv(groups, names, world=read.world, raw=raw, yielded=figures.yielded)
            case "json":
                told = [tally_json(each) for each in tally(read.books)]
                return figures_json(
                    figures, read.runs, read.world, read.waiting, check, where=read.where, comparisons=told
                )
            case "text":
                text = report_text(figures, read.runs, read.world, read.waiting, read.where)
                lines = tally_lines(tally(read.books))
                text += "\n\n" + "\n".join(["variants, compared without their names", *lines]) if lines else ""
                return f"{text}\n\n{check.text()}" if check is not None else text
            case "markdown":
                return report_markdown(
                    figures, _page(read, figures, asked, check), read.where, manifest_words(read.runs, read.where)
                )
            case "html":
                page = _page(read, figures, asked, check)
                beside = (beside or Path.cwd()).absolute()
                return page_html(_with_pictures(page, read, figures, pictures, beside))


@dataclass(slots=True, kw_only=True)
class _Read:
    """What all ledgers say together."""

    books: list[Books]
    where: str
    world: str
    costs: list[CostGroup] = field(default_factory=list)
    tasks: list[TaskGroup] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)

    def figures(self, asked: _Asked, *, told: bool) -> Figures:
        figures = summarize(
            self.costs,
            self.tasks,
            troubles=(trouble for books in self.books for trouble in books.troubles()),
            unmet=(each for books in self.books for each in books.unmet()),
            durations=(row for books in self.books for row in books.durations()),
            dearest=(dear for books in self.books for dear in books.dearest(DEAREST)) if told else (),
            by=asked.by,
            zone=asked.zone,
            # Of whole ledgers: a name means the same whatever tasks and time were chosen.
            known=[name for name in sorted(YIELDING.intersection(asked.by or ())) if self._is_label(name)],
        )
        del figures.dearest[DEAREST:]
        return figures

    def _is_label(self, name: str) -> bool:
        return any(books.has_label(name) for books in self.books)


def _read(ledgers: Path | str | Sequence[Path | str], asked: _Asked, stack: ExitStack) -> _Read:
    several = [ledgers] if isinstance(ledgers, Path | str) else [*ledgers]
    read = _Read(books=[], where=str(several[0]), world="")
    for ledger in several:
        name = f"{ledger}:" if len(several) > 1 else ""
        books = stack.enter_context(Books(ledger_at(ledger), name))
        world = books.world()
        if read.world not in ("", world):
            raise UsageError(
                f"{several[0]} is of the {read.world} world, {ledger} of the {world} one; their money does not add up",
                hint="make a report of each",
            )
        read.world = world
        _restrict(books, asked)
        read.books.append(books)
        read.costs += books.cost_groups()
        read.tasks += books.task_groups()
        read.runs += (replace(run, manifest=f"{name}{run.manifest}") for run in books.runs())
        for reason, count in books.waiting().items():
            read.waiting[reason] = read.waiting.get(reason, 0) + count
    read.runs.sort(key=lambda run: run.started_at)
    _refuse_unknown(read, asked.by)
    return read


def _refuse_unknown(read: _Read, by: Sequence[str] | None) -> None:
    labels = label_names({row.labels for row in read.costs} | {row.labels for row in read.tasks})
    for name in by or ():
        if name not in (*labels, *GROUPINGS) and (read.costs or read.tasks):
            there = f"labels are: {', '.join(labels)}" if labels else "no task has any label"
            hint = did_you_mean(name, [*labels, *GROUPINGS]) or f"{there}; besides: {', '.join(GROUPINGS)}"
            raise UsageError(f"--by: no task has a label {name!r}", hint=hint)


def _restrict(books: Books, asked: _Asked) -> None:
    if asked.select or asked.exclude:
        books.restrict(task.slot for task in selected_tasks(books, asked.select, asked.exclude))
    if asked.since is not None or asked.until is not None:
        books.restrict_time(_moment(asked.since, _EARLIEST), _moment(asked.until, _LATEST))


def _moment(moment: datetime | None, default: str) -> str:
    return default if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23]


def _page(read: _Read, figures: Figures, asked: _Asked, check: InvoiceCheck | None) -> Page:
    # What to do about tasks in trouble stands with each reason, for which the page has room.
    steps = [" ".join(step.split()) for step in waiting_lines(read.waiting, read.where, wrapped=False)]
    period = "" if asked.since is None and asked.until is None else " Only a part of the time was looked at."
    return make_page(
        figures,
        read.runs,
        world=read.world,
        where=read.where,
        waiting=sum(read.waiting.values()),
        steps=steps,
        zone=asked.zone,
        compared=[_compared(each) for each in tally(read.books)],
        compared_by=METHOD,
        foot=f"batchedit {version('batchedit')}; amounts in US dollars, times in {asked.zone}.{period}"
        + (f" {' '.join(check.text().split())}." if check is not None else ""),
    )


def _compared(each: Tally) -> list[str]:
    share = each.share
    sure = "" if share is None else f"{100 * share.likely:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f} %)"
    price = "" if each.each is None else format_usd(each.each)
    return [each.edit, each.variant, f"{each.wins} of {each.shown}", str(each.ties), sure, price]


def _with_pictures(page: Page, read: _Read, figures: Figures, most: int, beside: Path) -> Page:
    pairs = []
    for books in read.books:
        state = books.path.parent
        out = state.parent if state.name == ".batchedit" else state
        share = most // len(read.books)
        pairs += pairs_of(books.pictures(share) if share else [], out=out, state=state, beside=beside)
    return with_pairs(page, pairs, figures.tasks.total())
