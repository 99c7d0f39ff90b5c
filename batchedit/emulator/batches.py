"""
Server-side batches: provider-api, section 10. Refused for this model unless switched on.

A batch is its runs; it is kept nowhere else.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.calls import BATCH_PATH, Call
from batchedit.emulator.create import check_credit, check_envelope, read_order
from batchedit.emulator.records import MODEL_UUID, dollars, stamp
from batchedit.emulator.run import SUCCEEDED, UNFINISHED, Run
from batchedit.emulator.service import Creation, Service
from batchedit.emulator.wire import Problem, invalid, json_object, origin_of

_BODY_KEYS = {"input", "items", "callback_url", "metadata"}
_MOST = 100


async def create_batch(request: Request) -> Response:
    """`POST .../batches`: one run for each entry of `input` (reference) or `items` (guide)."""
    service: Service = request.app.state.service
    call: Call = request.state.call
    if service.switches.batches == "refused":
        raise invalid("this model does not support batches")
    service.store.add_start(service.clock())
    data = await json_object(request)
    check_envelope(data, _BODY_KEYS)
    entries = data.get("input", data.get("items"))
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MOST:
        raise invalid(f"input must be a list of 1 to {_MOST} items", "input")
    check_credit(service, call)
    origin = origin_of(request)
    prepared = [(await read_order(service, fields, origin), ref) for fields, ref in map(_entry, entries)]
    batch_id = service.chance.uuid7("batch", service.store.next_run(), service.clock())
    for order, reference in prepared:
        creation = Creation(
            form="runs",
            occasion=call.occasion,
            client_ref=reference,
            metadata=data.get("metadata"),
            callback_url=data.get("callback_url"),
            batch_id=batch_id,
        )
        service.make_run(order, creation)
    return JSONResponse(_batch(service, batch_id), status_code=201)


async def get_batch(request: Request) -> Response:
    """`GET /v1/batches/{id}`."""
    return JSONResponse(_batch(request.app.state.service, request.path_params["batch_id"]))


async def get_items(request: Request) -> Response:
    """`GET /v1/batches/{id}/items`: with input, output and cost."""
    service: Service = request.app.state.service
    runs = service.store.runs(batch_id=request.path_params["batch_id"])
    records = [service.record(run, origin_of(request)) for run in runs]
    names = ("input", "output", "cost", "failure_code", "failure_message")
    items = [_item(service, run, index) for index, run in enumerate(runs)]
    merged = [{**item, **{name: record[name] for name in names}} for item, record in zip(items, records, strict=True)]
    return JSONResponse({"items": merged})


def _entry(entry: object) -> tuple[object, str | None]:
    """(input, reference) of an entry, in either form; the reference is taken out before the input is checked."""
    if not isinstance(entry, dict):
        return entry, None
    fields = {name: value for name, value in entry.items() if name != "client_ref"}
    reference = entry.get("client_ref")
    check_envelope({"client_ref": reference}, {"client_ref"})
    return (fields["input"] if set(fields) == {"input"} else fields), reference


def _batch(service: Service, batch_id: str) -> dict[str, Any]:
    runs = service.store.runs(batch_id=batch_id)
    if not runs:
        raise Problem(404, "BATCH_NOT_FOUND", "no such batch")
    now, first = service.clock(), runs[0]
    states = Counter(_count_name(run.state(now)) for run in runs)
    done = states["unfinished"] == 0
    kinds = [name for name in ("succeeded", "failed", "cancelled") if states[name]]
    status = "running" if not done else kinds[0] if len(kinds) == 1 else "partial_succeeded"
    billed = sum(run.billed(now) for run in runs)
    ends = max(run.finish_at for run in runs) + service.faults.clock_skew
    return {
        "id": batch_id,
        "target_type": "model",
        "target_id": MODEL_UUID,
        "status_code": status,
        "items_total": len(runs),
        "items_succeeded": states["succeeded"],
        "items_failed": states["failed"],
        "items_cancelled": states["cancelled"],
        "items": [_item(service, run, index) for index, run in enumerate(runs)],
        "created_at": stamp(first.created_at + service.faults.clock_skew),
        "output": None,
        "cost": dollars(billed) if done else None,
        "metadata": first.metadata,
        "callback_url": first.callback_url,
        "started_at": stamp(first.start_at + service.faults.clock_skew),
        "completed_at": stamp(ends) if done else None,
    }


def _item(service: Service, run: Run, index: int) -> dict[str, Any]:
    state = run.state(service.clock())
    return {
        "id": f"{run.batch_id}-{index}",
        "sequence_index": index,
        "run_id": run.id,
        "status_code": state,
        "client_ref": run.client_ref,
    }


def _count_name(state: str) -> str:
    if state in UNFINISHED:
        return "unfinished"
    if state in SUCCEEDED:
        return "succeeded"
    return "cancelled" if state.startswith("cancel") else "failed"


BATCH_ROUTES = [
    Route(BATCH_PATH, create_batch, methods=["POST"]),
    Route("/v1/batches/{batch_id}", get_batch),
    Route("/v1/batches/{batch_id}/items", get_items),
]
