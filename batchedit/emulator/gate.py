"""What is refused before anything is looked at: key, scopes, rate. Provider-api, sections 2, 12 and 13."""

from __future__ import annotations

import math
from email.utils import formatdate

from starlette.requests import Request

from batchedit.emulator.calls import Call
from batchedit.emulator.service import Service
from batchedit.emulator.wire import Problem

Headers = list[tuple[bytes, bytes]]

_OPEN = ("/v1/health", "/v1/readiness")
_SCOPES = (
    ("POST", "/v1/models/", "runs:create"),
    ("POST", "/v1/run/", "runs:create"),
    ("GET", "/v1/runs", "runs:read"),
    ("GET", "/v1/batches", "runs:read"),
    ("POST", "/v1/asset-uploads", "assets:create"),
    ("GET", "/v1/assets", "assets:read"),
    ("GET", "/v1/billing/balance", "credit_balance:read"),
    ("GET", "/v1/credit-balances", "credit_balance:read"),
)
_WINDOW_SECONDS = 60.0
_BURST_WAIT_SECONDS = 2


def admit(service: Service, request: Request, call: Call) -> None:
    """
    Let a call below ``/v1`` pass, or not.

    Raises:
        Problem: 401, 403 or 429.
    """
    if call.path in _OPEN:
        return
    calls, revoked = service.store.counter("calls"), service.faults.key_revoked_after
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    allowed = key in service.switches.keys if service.switches.keys else key.startswith("rf_")
    struck = service.chance.strikes("key_refused", call.identity, call.occasion) is not None
    if not allowed or struck or (revoked and calls > revoked):
        raise Problem(401, "UNAUTHORIZED", "missing or invalid API key")
    for method, prefix, scope in _SCOPES:
        if call.method == method and call.path.startswith(prefix) and scope in service.switches.missing_scopes:
            raise Problem(403, "PERMISSION_DENIED", f"the key lacks the scope {scope}")
    if _throttled(service, call):
        raise Problem(429, "RATE_LIMITED", "Rate limit exceeded: slow down")


def rate_headers(service: Service, status: int) -> Headers:
    """What an answer says about the rate limit, by the switch."""
    form, now = service.switches.throttle_headers, service.clock()
    wait = _seconds_to_wait(service, now)
    headers: Headers = []
    if form == "full":
        limit = service.switches.rate_limit_per_minute or _UNLIMITED
        left = 0 if status == 429 else max(0, limit - len(service.granted))
        headers = [
            (b"x-ratelimit-limit", str(limit).encode()),
            (b"x-ratelimit-remaining", str(left).encode()),
            (b"x-ratelimit-reset", str(math.ceil(now) + wait).encode()),
        ]
    if status == 429 and form in ("full", "retry-after"):
        headers.append((b"retry-after", str(wait).encode()))
    if status == 429 and form == "retry-after-date":
        headers.append((b"retry-after", formatdate(math.ceil(now) + wait, usegmt=True).encode()))
    return headers


_UNLIMITED = 1_000_000
"""What the headers name as the limit when there is none."""


def _throttled(service: Service, call: Call) -> bool:
    """The burst that is under way, a new one, or the limit: at most that many granted calls in any 60 seconds."""
    now, limit, granted = service.clock(), service.switches.rate_limit_per_minute, service.granted
    if service.throttled_next > 0:
        service.throttled_next -= 1
        return True
    burst = service.chance.strikes("throttle", call.identity, call.occasion)
    if burst is not None:
        service.throttled_next = max(0, int(burst.get("length", service.faults.burst_length)) - 1)
        return True
    while granted and granted[0] <= now - _WINDOW_SECONDS:
        granted.popleft()
    if limit and len(granted) >= limit:
        return True
    granted.append(now)
    return False


def _seconds_to_wait(service: Service, now: float) -> int:
    limit = service.switches.rate_limit_per_minute
    if limit and len(service.granted) >= limit:
        return max(1, math.ceil(service.granted[0] + _WINDOW_SECONDS - now))
    return _BURST_WAIT_SECONDS
