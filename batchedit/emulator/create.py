"""Buying: the asynchronous creation and the synchronous call. Provider-api, sections 5, 8 and 9."""

from __future__ import annotations

import hashlib
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchedit.emulator.calls import Call
from batchedit.emulator.records import renamed, sync_answer
from batchedit.emulator.run import SUCCEEDED, Run
from batchedit.emulator.service import Creation, Order, Service
from batchedit.emulator.storage import BadImage
from batchedit.emulator.store import StoredReply
from batchedit.emulator.validation import check_input
from batchedit.emulator.wire import Problem, invalid, json_object, origin_of

_BODY_KEYS = {"input", "callback_url", "metadata", "client_ref"}
_SYNC_STATUSES = {"INPUT_VALIDATION_FAILED": 422, "CONTENT_POLICY_VIOLATION": 422, "PROVIDER_TIMEOUT": 502}
_SYNC_STATUSES |= {"PROVIDER_UNAVAILABLE": 502}


async def create_run(request: Request) -> Response:
    """`POST /v1/models/openai/gpt-image-2/edit/runs`: answers at once with the run as it was created, `queued`."""
    service: Service = request.app.state.service
    call: Call = request.state.call
    service.store.add_start(service.clock())
    data = await json_object(request)
    check_envelope(data, _BODY_KEYS)
    key = request.headers.get("idempotency-key") if service.switches.idempotency == "on" else None
    digest = hashlib.sha256(await request.body()).hexdigest()
    replayed = await _replay(service, key, digest)
    if replayed is not None:
        return replayed
    check_credit(service, call)
    order = await read_order(service, data.get("input"), origin_of(request))
    # Pictures were read meanwhile; from here to the kept reply nothing waits.
    replayed = await _replay(service, key, digest)
    if replayed is not None:
        return replayed
    begun = service.clock()
    commit_seconds, answer_seconds = _delays(service, call)
    creation = Creation(
        form="runs",
        occasion=call.occasion,
        client_ref=data.get("client_ref"),
        metadata=data.get("metadata"),
        callback_url=data.get("callback_url"),
        idempotency_key=key,
        delay_seconds=commit_seconds,
    )
    run = service.make_run(order, creation)
    answer, status = _created(service, run, origin_of(request)), service.switches.create_status
    if key is not None:
        ready = begun + answer_seconds
        reply = StoredReply(body=digest, status=status, answer=answer, begun_at=begun, ready_at=ready)
        service.store.keep_reply(key, reply)
    await anyio.sleep(answer_seconds)
    return JSONResponse(answer, status_code=status)


async def run_synchronously(request: Request) -> Response:
    """`POST /v1/run/openai/gpt-image-2/edit`: answers when the run has ended. Billed whether or not anybody waits."""
    service: Service = request.app.state.service
    call: Call = request.state.call
    if service.switches.sync_endpoint == "off":
        raise Problem(404, "NOT_FOUND", f"no such route: {call.path}")
    service.store.add_start(service.clock())
    data = await json_object(request)
    check_credit(service, call)
    order = await read_order(service, data, origin_of(request))
    commit_seconds, answer_seconds = _delays(service, call)
    run = service.make_run(order, Creation(form="run", occasion=call.occasion, delay_seconds=commit_seconds))
    if service.switches.sync_shape == "run":
        await anyio.sleep(answer_seconds)
        return JSONResponse(_created(service, run, origin_of(request)), status_code=service.switches.create_status)
    await _until_finished(service, run)
    if run.verdict not in SUCCEEDED:
        code, message, _ = run.failure or ("UNKNOWN", "no reason given", "")
        by_class = service.switches.sync_failure == "by-class"
        raise Problem(_SYNC_STATUSES.get(code, 500) if by_class else 422, code, message)
    if run.input["sync_mode"]:
        urls = await service.storage.data_uris(run)
    else:
        numbers = range(1, run.outputs() + 1)
        urls = [service.storage.output_url(run, number, origin_of(request)) for number in numbers]
    return JSONResponse(sync_answer(urls, service.switches.sync_shape))


async def read_order(service: Service, data: object, origin: str) -> Order:
    """
    An input, checked and its pictures read.

    Raises:
        Problem: 422, naming every field that is wrong.
    """
    fields, wrong = check_input(data, service.switches.size_forms)
    if wrong:
        raise Problem(422, "VALIDATION", "the input is not valid", wrong)
    try:
        return await service.order(fields, origin)
    except BadImage as error:
        raise invalid(str(error), "input.image_urls") from None


def check_envelope(data: dict[str, Any], known: set[str]) -> None:
    """
    What stands beside the input: provider-api, section 5.

    Raises:
        Problem: 422 if a key is unknown or a value is not as published.
    """
    unknown = sorted(set(data) - known)
    if unknown:
        details = [{"field": name, "message": "unknown field"} for name in unknown]
        raise Problem(422, "VALIDATION", "unknown field", details)
    for name, longest in (("client_ref", 255), ("callback_url", 2048)):
        value = data.get(name)
        if value is not None and not (isinstance(value, str) and 1 <= len(value) <= longest):
            raise invalid(f"{name} must be text of 1 to {longest} characters", name)
    if not isinstance(data.get("metadata"), (dict, type(None))):
        raise invalid("metadata must be an object", "metadata")


def check_credit(service: Service, call: Call) -> None:
    """
    Refuse when there is no credit, or a fault says so.

    Raises:
        Problem: 402.
    """
    ends = service.faults.credit_ends_after
    struck = service.chance.strikes("credit_ended", call.identity, call.occasion) is not None
    if struck or service.balance_microusd() <= 0 or (ends and service.store.count_runs() >= ends):
        raise Problem(402, "INSUFFICIENT_CREDIT", "the credit is used up")


async def _until_finished(service: Service, run: Run) -> None:
    cut, waited = service.switches.sync_cut_seconds, run.finish_at - service.clock()
    if cut and (run.stuck or waited > cut):
        await anyio.sleep(cut)
        raise Problem(504, "GATEWAY_TIMEOUT", "the gateway has waited long enough")
    if run.stuck:
        await anyio.sleep_forever()
    await anyio.sleep(max(0.0, waited))


async def _replay(service: Service, key: str | None, digest: str) -> Response | None:
    """The kept answer to the same request under the same key, None if there is none."""
    kept = service.store.reply(key) if key is not None else None
    if kept is None or service.clock() > kept.begun_at + service.switches.idempotency_ttl:
        return None
    if kept.body != digest:
        raise Problem(409, "CONFLICT", "this idempotency key was used with another body")
    if service.clock() < kept.ready_at:
        if service.switches.idempotency_in_flight == "conflict":
            raise Problem(409, "CONFLICT", "a request with this idempotency key is being answered")
        await anyio.sleep(kept.ready_at - service.clock())
    return JSONResponse(kept.answer, status_code=kept.status)


def _created(service: Service, run: Run, origin: str) -> dict[str, Any]:
    record = renamed(service.record(run, origin, state="queued"), service.switches.record_names)
    if service.switches.id_key != "id":
        record["run_id"] = record["id"]
    if service.switches.id_key == "run_id":
        del record["id"]
    return record


def _delays(service: Service, call: Call) -> tuple[float, float]:
    """(seconds until the run is made, seconds until the answer)."""
    late = service.chance.strikes("accepted_late", call.identity, call.occasion)
    if late is not None:
        seconds = float(late.get("seconds", service.faults.delay_seconds))
        return seconds, seconds
    delay = service.chance.draw_next("create delay", call.identity).uniform(*service.switches.create_delay)
    return (0.0 if service.switches.create_commits == "early" else delay), delay
