"""Everything that is read: runs, their list, the account, the model. Provider-api, sections 1, 6, 7, 10 and 14."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.create import inline_output
from batchedit.emulator.filters import BadFilter, matches, parse_filter
from batchedit.emulator.service import MODEL, ORG, Service
from batchedit.emulator.validation import FORMATS, PRESETS, QUALITIES
from batchedit.emulator.wire import Problem, origin_of

STATUSES = ("queued", "dispatching", "running", "succeeded", "failed", "canceled", "partial_succeeded")


async def get_run(request: Request) -> Response:
    """`GET /v1/runs/{id}`: a poll. URLs are signed anew each time."""
    service: Service = request.app.state.service
    run = service.store.run(request.path_params["run_id"])
    if run is None:
        raise Problem(404, "RUN_NOT_FOUND", "no such run")
    occasion = {"method": "GET", "path": request.url.path, "client_ref": run.client_ref or ""}
    early = service.clock() < run.created_at + service.faults.missing_seconds
    if early and service.chance.strikes("poll_missing", run.id, occasion) is not None:
        raise Problem(404, "RUN_NOT_FOUND", "no such run")
    record = service.record(run, origin_of(request))
    if record["status_code"] == "succeeded" and run.input["sync_mode"]:
        key = f"shown {run.id}"
        if service.store.reply(key) is None:
            service.store.keep_reply(key, "", 200, {}, service.clock())
            record["output"] = await inline_output(service, run)
    return JSONResponse(record)


async def list_runs(request: Request) -> Response:
    """`GET /v1/runs` with filter, order, projection and cursor."""
    service: Service = request.app.state.service
    query, now, origin = request.query_params, service.clock(), origin_of(request)
    limit = int(query.get("limit", "50"))
    if not 1 <= limit <= 500:
        raise Problem(422, "VALIDATION", "limit must be 1 to 500")
    try:
        conditions = parse_filter(query["q"], service.switches.filter_dialect) if query.get("q") else []
    except BadFilter as error:
        raise Problem(422, "VALIDATION", str(error)) from None
    visible = [
        run
        for run in service.store.runs()
        if run.created_at + service.switches.list_lag <= now and (run.form == "runs" or service.switches.sync_listed)
    ]
    records = [record for run in visible if matches(record := service.record(run, origin), conditions)]
    field, _, direction = query.get("sort_by", "created_at:desc").split(",")[0].partition(":")
    records.sort(key=lambda record: (str(record.get(field) or ""), record["request_id"]), reverse=direction == "desc")
    start = int(query.get("pq", "0") or "0")
    page = records[start : start + limit]
    following = str(start + limit) if start + limit < len(records) else None
    wanted = query.get("fields")
    if wanted:
        names = wanted.split(",")
        page = [{name: record.get(name) for name in names} for record in page]
    return JSONResponse({"items": page, **_cursors(service, request, start, limit, following)})


def _cursors(service: Service, request: Request, start: int, limit: int, following: str | None) -> dict[str, Any]:
    before = str(max(0, start - limit)) if start else None
    if service.switches.cursor_names == "next_pq":
        return {"next_pq": following, "prev_pq": before}
    more = None if following is None else "/v1/runs?" + urlencode({**request.query_params, "pq": following})
    return {"first": None, "next": more, "previous": before}


async def statuses(request: Request) -> Response:
    """`GET /v1/runs/statuses`."""
    return JSONResponse([{"code": code} for code in STATUSES])


async def model(request: Request) -> Response:
    """`GET /v1/models/openai/gpt-image-2/edit`: the live schema of the eight fields."""
    rows: tuple[tuple[str, str, bool, Any, dict[str, Any]], ...] = (
        ("prompt", "string", True, None, {}),
        ("image_urls", "image_list", True, None, {}),
        ("num_images", "integer", False, 1, {"min": 1, "max": 4}),
        ("output_format", "string", False, "png", {"allowed": FORMATS}),
        ("image_size", "string", False, "auto", {"allowed": PRESETS}),
        ("mask_url", "image", False, None, {}),
        ("quality", "string", False, "high", {"allowed": QUALITIES}),
        ("sync_mode", "boolean", False, False, {}),
    )
    inputs = [
        {
            "name": name,
            "variable_type_code": kind,
            "validator_code": "range" if "min" in attributes else ("enum" if attributes else None),
            "validator_attrs": attributes,
            "is_required": required,
            "default_value": default,
        }
        for name, kind, required, default, attributes in rows
    ]
    note = "$0.133 per image at high quality"
    return JSONResponse({"id": MODEL, "inputs": inputs, "pricing_note": note, "availability_status": "available"})


async def health(request: Request) -> Response:
    """`GET /v1/health` and `/v1/readiness`."""
    return JSONResponse({"status": "ok", "ok": True})


async def me(request: Request) -> Response:
    """`GET /v1/auth/me`: 200 proves that the key works."""
    return JSONResponse({"org_id": ORG})


async def balance(request: Request) -> Response:
    """`GET /v1/billing/balance` in either of its shapes."""
    service: Service = request.app.state.service
    micro = service.balance_micro()
    if service.switches.balance_shape == "cents":
        return JSONResponse({"balance_cents": micro // 10_000, "currency": "USD"})
    stamp = service.stamp(service.clock())
    return JSONResponse(
        {
            "id": ORG,
            "org_id": ORG,
            "balance": f"{micro / 1_000_000:.6f}",
            "low_balance_threshold": None,
            "low_balance_notified_at": None,
            "created_at": stamp,
            "updated_at": stamp,
        }
    )


async def credit_balances(request: Request) -> Response:
    """`GET /v1/credit-balances`, as the provider's own tool reads it."""
    service: Service = request.app.state.service
    return JSONResponse({"items": [{"balance_usd": f"{service.balance_micro() / 1_000_000:.6f}"}]})


async def batches(request: Request) -> Response:
    """`POST .../batches`: likely refused for this model (provider-api, section 10)."""
    service: Service = request.app.state.service
    if service.switches.batches == "refused":
        raise Problem(422, "VALIDATION", "this model does not support batches")
    data = await request.json()
    items = data.get("input", [])
    batch_id = service.chance.uuid7("batch", service.store.next_run(), service.clock())
    shown = [{"id": f"{batch_id}-{n}", "sequence_index": n, "status_code": "queued"} for n in range(len(items))]
    return JSONResponse(
        {"id": batch_id, "target_type": "model", "status_code": "queued", "items_total": len(items), "items": shown},
        status_code=201,
    )


READ_ROUTES = [
    Route("/v1/runs", list_runs),
    Route("/v1/runs/statuses", statuses),
    Route("/v1/runs/{run_id}", get_run),
    Route("/v1/models/openai/gpt-image-2/edit", model),
    Route("/v1/models/openai/gpt-image-2/edit/batches", batches, methods=["POST"]),
    Route("/v1/health", health),
    Route("/v1/readiness", health),
    Route("/v1/auth/me", me),
    Route("/v1/billing/balance", balance),
    Route("/v1/credit-balances", credit_balances),
]
