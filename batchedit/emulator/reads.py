"""Everything else that is read: one run, the account, the model. Provider-api, sections 1, 6, 7 and 14."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.listing import list_runs
from batchedit.emulator.records import MODEL, ORG, dollars, renamed, shaped, stamp
from batchedit.emulator.run import SUCCEEDED
from batchedit.emulator.service import Service
from batchedit.emulator.validation import FORMATS, PRESETS, QUALITIES
from batchedit.emulator.wire import Problem, origin_of


async def get_run(request: Request) -> Response:
    """`GET /v1/runs/{id}`: a poll. URLs are signed anew; a `sync_mode` run shows its pictures once, inline."""
    service: Service = request.app.state.service
    now = service.clock()
    run = service.store.run(request.path_params["run_id"], now)
    if run is None or now < run.visible_at:
        raise Problem(404, "RUN_NOT_FOUND", "no such run")
    asked = request.query_params.get("add_signature", "").lower() in ("true", "1")
    record = service.record(run, origin_of(request), signed=asked or not service.switches.signed_on_request)
    over = run.state(now) in SUCCEEDED
    if over and run.input["sync_mode"] and service.store.bump(f"shown/{run.id}") == 1:
        record["output"] = shaped(await service.storage.data_uris(run), service.switches.output_shape)
    return JSONResponse(renamed(record, service.switches.record_names))


async def statuses(request: Request) -> Response:
    """`GET /v1/runs/statuses`."""
    service: Service = request.app.state.service
    ended = ("succeeded", "failed", service.switches.cancelled_spelling, "partial_succeeded")
    codes = [(code, False) for code in ("queued", "dispatching", "running")] + [(code, True) for code in ended]
    return JSONResponse([{"code": code, "is_terminal": terminal} for code, terminal in codes])


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
    micro = service.balance_microusd()
    if service.switches.balance_shape == "cents":
        return JSONResponse({"balance_cents": micro // 10_000, "currency": "USD"})
    now = stamp(service.clock() + service.faults.clock_skew)
    return JSONResponse(
        {
            "id": ORG,
            "org_id": ORG,
            "balance": dollars(micro),
            "low_balance_threshold": None,
            "low_balance_notified_at": None,
            "created_at": now,
            "updated_at": now,
        }
    )


async def credit_balances(request: Request) -> Response:
    """`GET /v1/credit-balances`, as the provider's own tool reads it."""
    service: Service = request.app.state.service
    return JSONResponse({"items": [{"balance_usd": dollars(service.balance_microusd())}]})


READ_ROUTES = [
    Route("/v1/runs", list_runs),
    Route("/v1/runs/statuses", statuses),
    Route("/v1/runs/{run_id}", get_run),
    Route("/v1/models/openai/gpt-image-2/edit", model),
    Route("/v1/health", health),
    Route("/v1/readiness", health),
    Route("/v1/auth/me", me),
    Route("/v1/billing/balance", balance),
    Route("/v1/credit-balances", credit_balances),
]
