"""
The emulated provider over ASGI: routes, envelopes, and everything that can go wrong on the way.

The outer application buffers each answer, so that a fault can withhold it, cut it, or put another in its place. A
connection that shall end without an answer ends with :class:`ConnectionCut`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.chance import Script
from batchedit.emulator.create import create_run, run_synchronously
from batchedit.emulator.reads import READ_ROUTES
from batchedit.emulator.service import Service
from batchedit.emulator.uploads import UPLOAD_ROUTES
from batchedit.emulator.wire import Problem, error_body, origin_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SERVER_ERRORS = (500, 502, 503, 504)


class ConnectionCut(Exception):
    """The connection ends here: without an answer, or in the middle of one."""


class App:
    """The ASGI application of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        routes = [
            Route("/v1/models/openai/gpt-image-2/edit/runs", create_run, methods=["POST"]),
            Route("/v1/run/openai/gpt-image-2/edit", run_synchronously, methods=["POST"]),
            *READ_ROUTES,
            *UPLOAD_ROUTES,
            Route("/emulator/audit", _audit),
            Route("/emulator/health", _health),
            Route("/emulator/reset", _reset, methods=["POST"]),
            Route("/emulator/faults", _faults, methods=["POST", "DELETE"]),
        ]
        self._inner = Starlette(routes=routes, exception_handlers={Problem: _on_problem, 404: _on_missing})
        self._inner.state.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        service, path, method = self._service, scope["path"], scope["method"]
        request = Request(scope)
        outcome = self._gate(request) if path.startswith("/v1/") else None
        plan = self._plan(method, path, body) if outcome is None else {}
        if outcome is None and "error_before" in plan:
            outcome = _server_error(service, plan["error_before"])
        if outcome is None:
            outcome = await self._answer(scope, body)
        service.calls[f"{method} {_route(path)} {outcome.status}"] += 1
        if "error_after" in plan and outcome.status < 300:
            outcome = _server_error(service, plan["error_after"])
        if "answer_delayed" in plan:
            await anyio.sleep(plan["answer_delayed"].get("seconds", service.faults.delay_seconds))
        if "answer_lost" in plan and outcome.status < 300:
            raise ConnectionCut("the answer was lost")
        await outcome.send(send, cut="answer_cut" in plan and outcome.status < 300)

    def _gate(self, request: Request) -> Captured | None:
        """Key, rate limit: what is refused before anything is looked at."""
        service, now = self._service, self._service.clock()
        path = request.url.path
        if path not in ("/v1/health", "/v1/readiness"):
            service.call_times = [at for at in service.call_times if at > now - 60] + [now]
            key = request.headers.get("authorization", "").removeprefix("Bearer ")
            allowed = key in service.switches.keys if service.switches.keys else key.startswith("rf_")
            revoked = service.faults.key_revoked_after
            if not allowed or (revoked and sum(service.calls.values()) >= revoked):
                return _refusal(service, 401, "UNAUTHORIZED", "missing or invalid API key")
        limit = service.switches.rate_limit_per_minute
        occasion = {"method": request.method, "path": path}
        burst = service.chance.strikes("throttle", f"{request.method} {_route(path)}", occasion)
        if burst is not None and service.faults.burst_length > 1:
            more = Script(fault="throttle", times=burst.get("length", service.faults.burst_length) - 1)
            more.options = {"length": 1}
            if burst.get("length") != 1:
                service.chance.scripts.append(more)
        if burst is not None or (limit and len(service.call_times) > limit):
            answer = _refusal(service, 429, "RATE_LIMITED", "Rate limit exceeded: slow down")
            answer.headers += _throttle_headers(service, limit or 60, now)
            return answer
        return None

    def _plan(self, method: str, path: str, body: bytes) -> dict[str, dict[str, Any]]:
        """Which faults strike this call."""
        creates = method == "POST" and (path.endswith("/runs") or path.startswith("/v1/run/"))
        names: tuple[str, ...] = ()
        if creates:
            names = ("answer_lost", "answer_cut", "answer_delayed", "error_before", "error_after")
        elif method == "GET" and path.startswith("/v1/runs"):
            names = ("read_error",)
        data = _json(body)
        reference = str(data.get("client_ref") or "")
        fields = data.get("input") if isinstance(data.get("input"), dict) else data
        prompt = str(fields.get("prompt") or "") if isinstance(fields, dict) else ""
        occasion = {"method": method, "path": path, "client_ref": reference, "prompt": prompt}
        identity = reference or prompt or path
        struck = {name: self._service.chance.strikes(name, identity, occasion) for name in names}
        plan = {name: options for name, options in struck.items() if options is not None}
        if "read_error" in plan:
            plan["error_before"] = plan.pop("read_error")
        return plan

    async def _answer(self, scope: Scope, body: bytes) -> Captured:
        captured = Captured(500, [], b"")
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                captured.status, captured.headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                captured.body += message.get("body", b"")

        await self._inner(scope, receive, send)
        return captured


class Captured:
    """A complete answer, not sent yet."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    async def send(self, send: Send, *, cut: bool) -> None:
        """Send it, or half of it."""
        names = {name.lower() for name, _ in self.headers}
        if b"content-length" not in names:
            self.headers.append((b"content-length", str(len(self.body)).encode()))
        if b"date" not in names:
            self.headers.append((b"date", formatdate(usegmt=True).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if cut:
            await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
            raise ConnectionCut("the answer was cut")
        await send({"type": "http.response.body", "body": self.body})


def _refusal(service: Service, status: int, code: str, message: str) -> Captured:
    media, body = error_body(service.switches.error_envelope, code, message, None)
    return Captured(status, [(b"content-type", media.encode())], body)


def _server_error(service: Service, options: dict[str, Any]) -> Captured:
    number = service.chance.fired["error_before"] + service.chance.fired["error_after"]
    status = options.get("status", _SERVER_ERRORS[number % len(_SERVER_ERRORS)])
    code = options.get("code", "INTERNAL_ERROR")
    return _refusal(service, status, code, "the server has a problem")


def _throttle_headers(service: Service, limit: int, now: float) -> list[tuple[bytes, bytes]]:
    match service.switches.throttle_headers:
        case "retry-after":
            return [(b"retry-after", b"2")]
        case "retry-after-date":
            return [
                (b"date", formatdate(now, usegmt=True).encode()),
                (b"retry-after", formatdate(now + 2, usegmt=True).encode()),
            ]
        case "full":
            return [
                (b"retry-after", b"2"),
                (b"x-ratelimit-limit", str(limit).encode()),
                (b"x-ratelimit-remaining", b"0"),
                (b"x-ratelimit-reset", str(int(now) + 2).encode()),
            ]
        case _:
            return []


def _route(path: str) -> str:
    """The path with ids left out, for counting."""
    parts = path.split("/")
    return "/".join("{id}" if len(part) >= 32 else part for part in parts)


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionCut("the client left before its request was complete")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    envelope = request.app.state.service.switches.error_envelope
    media, body = error_body(envelope, error.code, error.message, error.details)
    return Response(body, status_code=error.status, media_type=media)


async def _on_missing(request: Request, error: Exception) -> Response:
    return await _on_problem(request, Problem(404, "NOT_FOUND", f"no such route: {request.url.path}"))


async def _audit(request: Request) -> Response:
    return JSONResponse(request.app.state.service.audit())


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok", "origin": origin_of(request)})


async def _reset(request: Request) -> Response:
    service: Service = request.app.state.service
    service.store.clear()
    service.calls.clear()
    service.starts.clear()
    return JSONResponse({"status": "ok"})


async def _faults(request: Request) -> Response:
    chance = request.app.state.service.chance
    if request.method == "DELETE":
        chance.scripts.clear()
        return JSONResponse({"scripts": 0})
    data = await request.json()
    try:
        chance.script(
            Script(
                fault=data["fault"],
                match=data.get("match", {}),
                times=data.get("times", 1),
                options=data.get("options", {}),
            )
        )
    except (ValueError, KeyError) as error:
        raise Problem(422, "VALIDATION", str(error)) from None
    return JSONResponse({"scripts": len(chance.scripts)})
