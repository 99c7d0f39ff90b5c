"""Who was billed for what: the judge of every test about money. Outside ``/v1`` (provider-api, section 16)."""

from __future__ import annotations

from typing import Any

from batchedit.emulator.run import Run
from batchedit.emulator.service import Service


def audit(service: Service) -> dict[str, Any]:
    """
    The emulator's own books as of now. Amounts in micro-dollars, times in unix seconds.

    A creation that is still being worked on counts already: it cannot be taken back.
    """
    now, runs, store = service.clock(), service.store.runs(), service.store
    by_ref: dict[str, dict[str, int]] = {}
    by_input: dict[str, dict[str, int]] = {}
    for run in runs:
        _enter(by_input, run.content, run, now)
        if run.client_ref is not None:
            _enter(by_ref, run.client_ref, run, now)
    billed = [run.billed(now) for run in runs]
    return {
        "runs": [_line(run, now) for run in runs],
        "by_client_ref": by_ref,
        "by_input": by_input,
        "billed_microusd_total": sum(billed),
        "billed_runs_total": sum(map(bool, billed)),
        "will_bill_microusd": sum(run.bill_microusd for run in runs) - sum(billed),
        "requests": store.counters("request/"),
        "starts": store.starts(),
        "key_leaks": store.counter("key_leaks"),
        "faults_fired": store.counters("fired/"),
    }


def _enter(book: dict[str, dict[str, int]], name: str, run: Run, now: float) -> None:
    entry = book.setdefault(name, {"runs": 0, "billed_runs": 0, "billed_microusd": 0})
    entry["runs"] += 1
    entry["billed_runs"] += bool(run.billed(now))
    entry["billed_microusd"] += run.billed(now)


def _line(run: Run, now: float) -> dict[str, Any]:
    return {
        "id": run.id,
        "client_ref": run.client_ref,
        "idempotency_key": run.idempotency_key,
        "form": run.form,
        "input_sha256": run.content,
        "state": run.state(now),
        "billed_microusd": run.billed(now),
        "created_at": run.created_at,
    }
