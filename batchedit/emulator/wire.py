"""Small change of the emulated HTTP: problems, envelopes, origins."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request


class Problem(Exception):
    """An answer that is an error: status, code, message, field details."""

    def __init__(self, status: int, code: str, message: str, details: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


def error_body(envelope: str, code: str, message: str, details: list[dict[str, str]] | None) -> tuple[str, bytes]:
    """(media type, body) of an error in the envelope that is switched on: provider-api, section 13."""
    if envelope == "html":
        return "text/html", f"<html><body><h1>{code}</h1></body></html>".encode()
    inner: dict[str, Any] = {"code": code, "message": message, "errors": details}
    data = {"error": inner} if envelope == "nested" else inner
    return "application/json", json.dumps(data).encode()


def origin_of(request: Request) -> str:
    """Scheme and host as the caller sees them."""
    return f"{request.url.scheme}://{request.url.netloc}"
