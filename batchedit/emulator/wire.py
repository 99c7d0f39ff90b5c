"""Small change of the emulated HTTP: problems, envelopes, origins, bodies."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request


class Problem(Exception):
    """An answer that is an error: status, code, message, field details (provider-api, section 13)."""

    def __init__(self, status: int, code: str, message: str, details: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


class ConnectionCut(Exception):
    """The connection ends here: without an answer, or in the middle of one."""


def error_body(envelope: str, code: str, message: str, details: list[dict[str, str]] | None) -> tuple[str, bytes]:
    """(media type, body) of an error in the envelope that is switched on: provider-api, section 13."""
    inner: dict[str, Any] = {"code": code, "message": message, "errors": details}
    match envelope:
        case "html":
            return "text/html", f"<html><body><h1>{code}</h1></body></html>".encode()
        case "nested":
            data: dict[str, Any] = {"error": inner}
        case "text":
            data = {"error": message, "code": code}
        case _:
            data = inner
    return "application/json", json.dumps(data).encode()


def invalid(message: str, field: str | None = None) -> Problem:
    """A 422, naming the field if there is one."""
    return Problem(422, "VALIDATION", message, None if field is None else [{"field": field, "message": message}])


def origin_of(request: Request) -> str:
    """Scheme and host as the caller sees them."""
    return f"{request.url.scheme}://{request.url.netloc}"


async def json_object(request: Request) -> dict[str, Any]:
    """
    The body as a JSON object.

    Raises:
        Problem: 400 if it is no JSON, 422 if it is another kind of value.
    """
    data = decode_json(await request.body())
    if data is None:
        raise Problem(400, "BAD_REQUEST", "the body is not JSON")
    if not isinstance(data, dict):
        raise invalid("the body must be an object")
    return data


def decode_json(body: bytes) -> Any:
    """The body as JSON, None if it is none."""
    try:
        return json.loads(body)
    except ValueError:  # also UnicodeDecodeError
        return None
