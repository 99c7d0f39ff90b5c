"""Buying: the asynchronous creation and the synchronous call. Provider-api, sections 5, 8 and 9."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchedit.emulator.service import BadImage, Service
from batchedit.emulator.store import Run
from batchedit.emulator.validation import check_input
from batchedit.emulator.wire import Problem, origin_of

_BODY_KEYS = {"input", "callback_url", "metadata", "client_ref"}


async def create_run(request: Request) -> Response:
    """`POST /v1/models/openai/gpt-image-2/edit/runs`."""
    service: Service = request.app.state.service
    service.starts.append(service.clock())
    raw = await request.body()
    data = await _object(request)
    unknown = sorted(set(data) - _BODY_KEYS)
    if unknown:
        raise Problem(422, "VALIDATION", "unknown field", [{"field": name, "message": "unknown"} for name in unknown])
    reference = data.get("client_ref")
    if reference is not None and not (isinstance(reference, str) and 0 < len(reference) <= 255):
        raise Problem(422, "VALIDATION", "client_ref must be a string of at most 255 characters")
    callback = data.get("callback_url")
    if callback is not None and not (isinstance(callback, str) and len(callback) <= 2048):
        raise Problem(422, "VALIDATION", "callback_url must be a string of at most 2048 characters")
    key = request.headers.get("idempotency-key") if service.switches.idempotency == "on" else None
    digest = hashlib.sha256(raw).hexdigest()
    replayed = _replay(service, key, digest)
    if replayed is not None:
        return replayed
    _check_credit(service)
    fields, delay = _checked(service, data.get("input")), _delay(service, reference or digest)
    run = _make(
        service,
        request,
        fields,
        form="runs",
        client_ref=reference,
        metadata=data.get("metadata"),
        idempotency_key=key,
        delay=delay,
    )
    answer = _created(service, run, origin_of(request))
    if key is not None:
        conflict = service.switches.idempotency_in_flight == "conflict"
        status = 0 if conflict and delay else service.switches.create_status
        service.store.keep_reply(key, digest, status, answer, service.clock())
    await anyio.sleep(delay)
    if key is not None:
        service.store.keep_reply(key, digest, service.switches.create_status, answer, service.clock())
    return JSONResponse(answer, status_code=service.switches.create_status)


async def run_synchronously(request: Request) -> Response:
    """`POST /v1/run/openai/gpt-image-2/edit`: answers when the run has ended. Billed whether or not anybody waits."""
    service: Service = request.app.state.service
    if service.switches.sync_endpoint == "off":
        raise Problem(404, "NOT_FOUND", "no such route")
    service.starts.append(service.clock())
    data = await _object(request)
    _check_credit(service)
    fields = _checked(service, data)
    run = _make(service, request, fields, form="run")
    if service.switches.sync_shape == "run":
        return JSONResponse(service.record(run, origin_of(request)))
    if run.stuck:
        await anyio.sleep_forever()
    await anyio.sleep(max(0.0, run.finish_at - service.clock()))
    if run.verdict != "succeeded":
        code, message, _ = run.failure or ("CANCELLED", "cancelled", "")
        raise Problem(422, code, message)
    return JSONResponse(await _sync_body(service, run, origin_of(request)))


async def _sync_body(service: Service, run: Run, origin: str) -> dict[str, Any]:
    numbers = range(1, service.outputs_of(run) + 1)
    if run.input["sync_mode"]:
        urls = [await _data_uri(service, run, number) for number in numbers]
    else:
        urls = [service.output_url(run, number, origin) for number in numbers]
    if service.switches.sync_shape == "images":
        return {"images": [{"url": url} for url in urls]}
    outputs = [{"type": "image", "url": url} for url in urls]
    return {"outputs": outputs, "seed": None, "timing": None, "nsfw_detected": None}


async def _data_uri(service: Service, run: Run, number: int) -> str:
    media, content = await service.picture(run, number)
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


async def inline_output(service: Service, run: Run) -> Any:
    """The pictures of a `sync_mode` run as data URIs, in the shape that is switched on."""
    return service.shape([await _data_uri(service, run, number) for number in range(1, service.outputs_of(run) + 1)])


def _make(service: Service, request: Request, fields: dict[str, Any], **more: Any) -> Run:
    try:
        return service.make_run(fields, origin=origin_of(request), **more)
    except BadImage as error:
        details = [{"field": "input.image_urls", "message": str(error)}]
        raise Problem(422, "VALIDATION", str(error), details) from None


def _checked(service: Service, data: object) -> dict[str, Any]:
    fields, wrong = check_input(data, service.switches.size_forms)
    if wrong:
        raise Problem(422, "VALIDATION", "the input is not valid", wrong)
    return fields


def _check_credit(service: Service) -> None:
    ends = service.faults.credit_ends_after
    if service.balance_micro() <= 0 or (ends and len(service.store.runs()) >= ends):
        raise Problem(402, "INSUFFICIENT_CREDIT", "the credit is used up")


def _replay(service: Service, key: str | None, digest: str) -> Response | None:
    kept = service.store.reply(key) if key is not None else None
    if kept is None or service.clock() > kept[3] + service.switches.idempotency_ttl:
        return None
    body, status, answer, _ = kept
    if body != digest:
        raise Problem(409, "CONFLICT", "this idempotency key was used with another body")
    if status == 0:
        raise Problem(409, "CONFLICT", "a request with this idempotency key is being answered")
    return JSONResponse(answer, status_code=status)


def _created(service: Service, run: Run, origin: str) -> dict[str, Any]:
    record = service.record(run, origin)
    if service.switches.id_key != "id":
        record["run_id"] = record["id"]
    if service.switches.id_key == "run_id":
        del record["id"]
    return record


def _delay(service: Service, identity: str) -> float:
    return service.chance.draw("create delay", identity, len(service.starts)).uniform(*service.switches.create_delay)


async def _object(request: Request) -> dict[str, Any]:
    try:
        data = await request.json()
    except ValueError:
        raise Problem(400, "BAD_REQUEST", "the body is not JSON") from None
    if not isinstance(data, dict):
        raise Problem(422, "VALIDATION", "the body must be an object")
    return data
