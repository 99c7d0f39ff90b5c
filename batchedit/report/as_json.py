"""Figures as JSON: a versioned form, money as decimal strings in dollars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from batchedit.ledger.records import RunRow
from batchedit.money import decimal_text
from batchedit.summary import Figures, Money

REPORT_VERSION = 1


def figures_json(figures: Figures, runs: Sequence[RunRow], world: str, waiting: Mapping[str, int]) -> str:
    """The report for programs."""
    data = {
        "version": REPORT_VERSION,
        "currency": "USD",
        "world": world,
        "tasks": {str(state): count for state, count in sorted(figures.tasks.items())},
        "waiting": dict(sorted(waiting.items())),
        "total": _money(figures.total),
        "basis": {name: decimal_text(amount) for name, amount in sorted(figures.basis.items())},
        "avoided": decimal_text(figures.total.avoided),
        "by": {
            name: {value: _money(money) for value, money in sorted(groups.items())}
            for name, groups in figures.by.items()
        },
        "not_done": [
            {
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
            }
            for trouble in figures.troubles
        ],
        "latency": {
            quality: {
                "count": found.count,
                "median_seconds": found.median,
                "p95_seconds": found.p95,
                "p99_seconds": found.p99,
                "longest_seconds": found.longest,
            }
            for quality, found in figures.latency.items()
        },
        "similar_labels": figures.spellings,
        "runs": [_run(run) for run in runs],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _money(money: Money) -> dict[str, Any]:
    return {
        "requests": money.requests,
        "attempts": money.attempts,
        "pictures": money.pictures,
        "spent": decimal_text(money.spent),
        "at_risk": decimal_text(money.at_risk),
        "unpriced": decimal_text(money.unpriced),
        "useful": decimal_text(money.useful),
        "wasted": decimal_text(money.wasted),
        "waste": {kind: decimal_text(amount) for kind, amount in sorted(money.waste.items())},
        "avoided": decimal_text(money.avoided),
        "quoted_low": decimal_text(money.quoted_low),
        "quoted_high": decimal_text(money.quoted_high),
        "delivered": money.delivered,
        "per_delivered": None if money.per_delivered is None else decimal_text(money.per_delivered),
        "possibly_double": decimal_text(money.doubled),
    }


def _run(run: RunRow) -> dict[str, Any]:
    return {
        "id": run.id,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "manifest": run.manifest,
        "provider": run.provider,
        "budget": None if run.budget is None else decimal_text(run.budget),
        "exit_code": run.exit_code,
        "stop_reason": run.stop_reason,
    }
