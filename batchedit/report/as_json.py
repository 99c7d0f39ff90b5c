"""Figures as JSON: a versioned form, money as decimal strings in dollars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchedit.ledger.run_records import RunRow
from batchedit.ledger.sums import Trouble
from batchedit.money import decimal_text
from batchedit.report.advice import manifest_words, next_step
from batchedit.report.invoice import InvoiceCheck
from batchedit.summary import Drift, Figures, Latency, Money

REPORT_VERSION = 1


def figures_json(
    figures: Figures,
    runs: Sequence[RunRow],
    world: str,
    waiting: Mapping[str, int],
    invoice: InvoiceCheck | None = None,
    *,
    where: Path | str = "out",
    comparisons: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The report for programs; `where` is the output folder or ledger, for commands."""
    data: dict[str, Any] = {
        "version": REPORT_VERSION,
        "currency": "USD",
        "world": world,
        "tasks": {str(state): count for state, count in sorted(figures.tasks.items())},
        "waiting": dict(sorted(waiting.items())),
        "total": _money(figures.total, tasks=True),
        "price_lists": {name: _money(money, tasks=False) for name, money in sorted(figures.prices.items())},
        "price_drift": [_drift(drift) for drift in figures.drifts],
        "basis": {name: decimal_text(amount) for name, amount in sorted(figures.basis.items())},
        "avoided": decimal_text(figures.total.avoided),
        "by": {
            name: {value: _money(money, tasks=figures.of_tasks(name)) for value, money in sorted(groups.items())}
            for name, groups in figures.by.items()
        },
        "by_labels": figures.labels,
        "overlapping": sorted(figures.overlapping),
        "dearest": [
            {
                "item": dear.item,
                "spent": decimal_text(dear.spent),
                "requests": dear.requests,
                "attempts": dear.attempts,
            }
            for dear in figures.dearest
        ],
        "not_done": [_trouble(trouble, where, manifest_words(runs, where)) for trouble in figures.troubles],
        "checks": [
            {"name": each.name, "verdict": each.verdict, "tasks": each.tasks, "example": each.example}
            for each in figures.unmet
        ],
        "throughput": {"busy_minutes": figures.busy_minutes, "purchases_per_minute": figures.per_minute},
        "latency": _seconds(figures.latency),
        "queue": _seconds(figures.queue),
        "similar_labels": figures.spellings,
        "comparisons": list(comparisons),
        "runs": [_run(run) for run in runs],
    }
    if invoice is not None:
        data["invoice"] = {
            "asked": decimal_text(invoice.asked),
            "difference": decimal_text(invoice.difference),
            "agrees": invoice.agrees,
            "remarks": list(invoice.remarks),
        }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        "provider": drift.provider,
        "model": drift.model,
        "quality": drift.quality,
        "size": drift.size,
        "purchases": drift.purchases,
        "paid": decimal_text(drift.paid),
        "listed_low": decimal_text(drift.low),
        "listed_high": decimal_text(drift.high),
        "difference": decimal_text(drift.apart),
    }


def _trouble(trouble: Trouble, where: Path | str, words: str) -> dict[str, Any]:
    return {
        "state": str(trouble.state),
        "code": trouble.code,
        "reason": trouble.reason,
        "retryable": trouble.retryable,
        "count": trouble.tasks,
        "spent": decimal_text(trouble.cost),
        "at_risk": decimal_text(trouble.at_risk),
        "first_at": trouble.first,
        "last_at": trouble.last,
        "first": list(trouble.slots),
        "advice": next_step(trouble, where, words),
    }


def _seconds(found: Mapping[str, Latency]) -> dict[str, Any]:
    return {
        quality: {
            "count": each.count,
            "median_seconds": each.median,
            "p95_seconds": each.p95,
            "p99_seconds": each.p99,
            "longest_seconds": each.longest,
        }
        for quality, each in found.items()
    }


def _money(money: Money, *, tasks: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "requests": money.requests,
        "attempts": money.attempts,
        "successes": money.successes,
        "throttled": money.throttled,
        "retries": money.retries,
        "attempts_per_success": money.per_success,
        "pictures": money.pictures,
        "spent": decimal_text(money.spent),
        "at_risk": decimal_text(money.at_risk),
        "unpriced": decimal_text(money.unpriced),
        "useful": decimal_text(money.useful),
        "wasted": decimal_text(money.wasted),
        "waste": {kind: decimal_text(amount) for kind, amount in sorted(money.waste.items())},
        "possibly_double": decimal_text(money.doubled),
        "quoted_low": decimal_text(money.quoted_low),
        "quoted_high": decimal_text(money.quoted_high),
    }
    if tasks:
        told |= {
            "avoided": decimal_text(money.avoided),
            "avoided_by": {kind: decimal_text(amount) for kind, amount in sorted(money.saved.items())},
            "delivered": money.delivered,
            "per_delivered": None if money.per_delivered is None else decimal_text(money.per_delivered),
            "reviewed": money.reviewed,
            "undecided_again": money.undecided,
            "approved": money.approved,
            "approved_at_once": money.at_once,
            "first_time_approval": money.first_time,
            "per_approved": None if money.per_approved is None else decimal_text(money.per_approved),
        }
    return told


def _run(run: RunRow) -> dict[str, Any]:
    return {
        "id": run.id,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "manifest": run.manifest,
        "provider": run.provider,
        "price_list": run.price_list,
        "budget": None if run.budget is None else decimal_text(run.budget),
        "exit_code": run.exit_code,
        "stop_reason": run.stop_reason,
        "reconciled": None if run.facts.reconciled is None else run.facts.reconciled._asdict(),
        "settings": [entry._asdict() for entry in run.facts.settings],
        "skipped": [entry._asdict() for entry in run.facts.skipped],
    }
