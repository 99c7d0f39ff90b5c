"""The emulator's own controls, outside ``/v1``: audit, health, reset, ordered faults."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.audit import audit
from batchedit.emulator.chance import Script
from batchedit.emulator.service import Service
from batchedit.emulator.wire import invalid, json_object, origin_of

_SCRIPT_KEYS = {"fault", "match", "times", "options"}


async def get_audit(request: Request) -> Response:
    """`GET /emulator/audit`."""
    return JSONResponse(audit(request.app.state.service))


async def health(request: Request) -> Response:
    """`GET /emulator/health`."""
    return JSONResponse({"status": "ok", "origin": origin_of(request)})


async def reset(request: Request) -> Response:
    """`POST /emulator/reset`: as if nothing had ever happened."""
    service: Service = request.app.state.service
    service.reset()
    return JSONResponse({"status": "ok"})


async def faults(request: Request) -> Response:
    """`POST /emulator/faults` orders one; `DELETE` takes back those that have not happened yet."""
    scripts = request.app.state.service.chance.scripts
    if request.method == "DELETE":
        scripts.clear()
        return JSONResponse({"scripts": 0})
    data = await json_object(request)
    unknown = sorted(set(data) - _SCRIPT_KEYS)
    if unknown or "fault" not in data:
        raise invalid(f"a fault has the keys {', '.join(sorted(_SCRIPT_KEYS))}; unknown: {', '.join(unknown) or '-'}")
    for name, kind in (("times", int), ("match", dict), ("options", dict)):
        if name in data and not isinstance(data[name], kind):
            raise invalid(f"{name} must be {'a whole number' if kind is int else 'an object'}", name)
    try:
        scripts.append(Script(**data))
    except ValueError as error:
        raise invalid(str(error)) from None
    return JSONResponse({"scripts": len(scripts)})


CONTROL_ROUTES = [
    Route("/emulator/audit", get_audit),
    Route("/emulator/health", health),
    Route("/emulator/reset", reset, methods=["POST"]),
    Route("/emulator/faults", faults, methods=["POST", "DELETE"]),
]
