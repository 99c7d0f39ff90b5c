"""
The emulated provider over ASGI: routes, envelopes, and everything that can go wrong on the way.

    call -> gate (401, 403, 429) -> error_before -> handler -> error_after -> answer_delayed -> lost | cut | sent

The outer application buffers each answer, so that a fault can withhold it, cut it, or put another in its place. A
connection that shall end without a complete answer ends with `ConnectionCut`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from email.utils import formatdate
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchedit.emulator.batches import BATCH_ROUTES
from batchedit.emulator.calls import CREATE_PATH, SYNC_PATH, Call, read_call
from batchedit.emulator.control import CONTROL_ROUTES
from batchedit.emulator.create import create_run, run_synchronously
from batchedit.emulator.gate import admit, rate_headers
from batchedit.emulator.reads import READ_ROUTES
from batchedit.emulator.service import Service
from batchedit.emulator.uploads import UPLOAD_ROUTES
from batchedit.emulator.wire import ConnectionCut, Problem, error_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Plan = dict[str, Mapping[str, Any]]

_SERVER_ERRORS = (500, 502, 503, 504)
_ANSWER_FAULTS = ("answer_lost", "answer_cut", "answer_delayed", "error_before", "error_after")


class App:
    """The ASGI application of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        routes = [
            Route(CREATE_PATH, create_run, methods=["POST"]),
            Route(SYNC_PATH, run_synchronously, methods=["POST"]),
            *READ_ROUTES,
            *BATCH_ROUTES,
            *UPLOAD_ROUTES,
            *CONTROL_ROUTES,
        ]
        handlers: Mapping[Any, Any] = {Problem: _on_problem, HTTPException: _on_http_exception}
        self._inner = Starlette(routes=routes, exception_handlers=handlers)
        self._inner.state.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        body = await _read_body(receive)
        request = Request(scope)
        call = read_call(service, request, body)
        if call.path.startswith("/emulator/"):
            await (await self._handle(scope, call, body)).send(send, service.clock(), cut=False)
            return
        service.store.bump("calls")
        answer, plan = self._refused(request, call, body), Plan()
        if answer is None:
            plan = self._plan(call)
            if "error_before" in plan:
                answer = self._server_error(call, "error_before", plan["error_before"])
            else:
                answer = await self._handle(scope, call, body)
        if call.path.startswith("/v1/"):
            answer.headers += rate_headers(service, answer.status)
        service.store.bump(f"request/{call.method} {call.route} {answer.status}")
        await self._deliver(answer, plan, call, send)

    async def _deliver(self, answer: Captured, plan: Plan, call: Call, send: Send) -> None:
        """Send the answer, or what the faults leave of it. A refusal always arrives."""
        good = answer.status < 300
        if good and "error_after" in plan:
            answer = self._server_error(call, "error_after", plan["error_after"])
        if good and "answer_delayed" in plan:
            await anyio.sleep(float(plan["answer_delayed"].get("seconds", self._service.faults.delay_seconds)))
        if good and "answer_lost" in plan:
            raise ConnectionCut("the answer was lost")
        await answer.send(send, self._service.clock(), cut=good and "answer_cut" in plan)

    def _refused(self, request: Request, call: Call, body: bytes) -> Captured | None:
        """What is refused before anything is looked at."""
        if len(body) > self._service.switches.body_limit_bytes:
            return self._problem(Problem(413, "PAYLOAD_TOO_LARGE", "the body is too large; upload the images"))
        if call.path.startswith("/v1/"):
            try:
                admit(self._service, request, call)
            except Problem as problem:
                return self._problem(problem)
        return None

    def _plan(self, call: Call) -> Plan:
        """Which faults strike this call: drawn for creations and reads, only as ordered for anything else."""
        chance, struck = self._service.chance, {}
        for name in _ANSWER_FAULTS:
            if call.creates:
                struck[name] = chance.strikes(name, call.identity, call.occasion)
            else:
                struck[name] = chance.scripted(name, call.occasion, aimed=True)
        if call.method == "GET" and call.path.startswith("/v1/") and struck["error_before"] is None:
            struck["error_before"] = chance.strikes("read_error", call.identity, call.occasion)
        if call.method == "GET" and call.path.startswith("/storage/outputs/") and struck["answer_cut"] is None:
            struck["answer_cut"] = chance.strikes("output_cut", call.identity, call.occasion)
        return {name: options for name, options in struck.items() if options is not None}

    def _problem(self, problem: Problem) -> Captured:
        envelope = self._service.switches.error_envelope
        media, body = error_body(envelope, problem.code, problem.message, problem.details)
        return Captured(problem.status, [(b"content-type", media.encode())], body)

    def _server_error(self, call: Call, fault: str, options: Mapping[str, Any]) -> Captured:
        drawn = self._service.chance.draw_next(f"status {fault}", call.identity).choice(_SERVER_ERRORS)
        status = int(options.get("status", drawn))
        code = str(options.get("code", "INTERNAL_ERROR"))
        return self._problem(Problem(status, code, "the server has a problem"))

    async def _handle(self, scope: Scope, call: Call, body: bytes) -> Captured:
        """The complete answer of the inner application."""
        captured, sent = Captured(500, [], b""), False

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

        await self._inner({**scope, "state": {"call": call}}, receive, send)
        return captured


class Captured:
    """A complete answer, not sent yet."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    async def send(self, send: Send, now: float, *, cut: bool) -> None:
        """
        Send it, or half of it.

        Args:
            now: For the `Date` header; unix seconds.
        """
        names = {name.lower() for name, _ in self.headers}
        if b"content-length" not in names:
            self.headers.append((b"content-length", str(len(self.body)).encode()))
        self.headers.append((b"date", formatdate(now, usegmt=True).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if cut:
            await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
            raise ConnectionCut("the answer was cut")
        await send({"type": "http.response.body", "body": self.body})


async def _read_body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionCut("the client left before its request was complete")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    envelope = request.app.state.service.switches.error_envelope
    media, body = error_body(envelope, error.code, error.message, error.details)
    return Response(body, status_code=error.status, media_type=media)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
    return await _on_problem(request, Problem(error.status_code, code, f"{error.detail}: {request.url.path}"))
