"""
Who may ask the review's server for anything: only the browser that was given the key, and only through its own page.

Checked for each call, before any of it is looked at: the exact Host (against names that are bound to this machine by
somebody else's server), the Origin and Sec-Fetch-Site (against other pages in the same browser), the cookie (against
other users of this machine), and for whatever changes something the method, a header that only scripts of our own can
set, and the kind and length of the body.

A browser sends a cookie of 127.0.0.1 to whatever listens on any port of it, whatever the cookie is called. So all is
below a path that nobody can guess, and the cookie is for that path only: another server never gets it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import anyio

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER, HEADER_VALUE = "x-batchedit", "review"
"""What a page of another origin cannot send without asking, and nobody answers such a question."""

_TOKEN_BYTES = 32
_MOST_BODY = 1024 * 1024
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_WELCOME = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/{room}/"><title>Review</title>'
)
"""Not a redirect: after one that began at a link elsewhere a browser would not send the new cookie."""


class Guard:
    """
    Stands before an application.

    Args:
        app: What is guarded.
        hosts: Exact values of the header Host, such as ``127.0.0.1:40123``.
        port: Cookies are shared by all ports of a host; this tells ours from others'.

    Attributes:
        room: What each path of the review begins with.
        key: Opens the review once, as ``/ROOM/?key=...``.
        touched: When somebody with the cookie has last asked for more than news; by the event loop's clock.
    """

    def __init__(self, app: App, hosts: Iterable[str], port: int) -> None:
        self._app, self._hosts = app, frozenset(hosts)
        self._cookie_name = f"batchedit_review_{port}"
        self._cookie = secrets.token_urlsafe(_TOKEN_BYTES)
        self.key, self.room = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
        self._is_used = False
        self.touched = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            return None
        refusal = self._refusal(scope)
        if refusal is not None:
            return await _answer(send, *refusal)
        if scope["path"] == "/favicon.ico":
            return await _answer(send, 204, "")  # browsers ask for it outside of the page's path
        room, slash, rest = scope["path"].removeprefix("/").partition("/")
        is_room = hmac.compare_digest(room.encode("utf-8", "replace"), self.room.encode()) and slash
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])
        if is_room and not rest and given != [""]:
            return await self._open(given, scope, send)
        if not is_room or not self._has_cookie(scope):
            return await _answer(send, 403, "This review is for the browser that opened it with its key.")
        scope = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
        if rest != "news":
            self.touched = anyio.current_time()
        if scope["method"] in _SAFE:
            return await self._app(scope, receive, _with_headers(send))
        body = await _body(receive)
        if body is None:
            return await _answer(send, 413, "That is too much at once.")
        return await self._app(scope, _given(body), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        host = _values(scope, b"host")
        if len(host) != 1 or host[0] not in self._hosts:
            return 421, "This is not the address of the review."
        origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
        if any(origin != f"http://{host[0]}" for origin in origins):
            return 403, "Another page may not ask the review for anything."
        if scope["method"] in _SAFE:
            return None
        if scope["method"] != "POST":
            return 405, "The review knows GET and POST."
        if len(origins) != 1 or any(site != "same-origin" for site in sites):
            return 403, "Only the review's own page may decide anything."
        if _values(scope, HEADER.encode()) != [HEADER_VALUE]:
            return 403, "Only the review's own page may decide anything."
        if [kind.partition(";")[0].strip() for kind in _values(scope, b"content-type")] != ["application/json"]:
            return 415, "The review takes JSON."
        return None

    async def _open(self, given: list[str], scope: Scope, send: Send) -> None:
        """Take the key, which is good for one time, for the cookie."""
        is_right = len(given) == 1 and hmac.compare_digest(given[0].encode(), self.key.encode())
        if not is_right or (self._is_used and not self._has_cookie(scope)):
            return await _answer(send, 403, "This key is not, or no longer, good for opening the review.")
        self._is_used = True
        self.touched = anyio.current_time()
        cookie = f"{self._cookie_name}={self._cookie}; HttpOnly; SameSite=Strict; Path=/{self.room}/"
        welcome = _WELCOME.format(room=self.room)
        return await _answer(send, 200, welcome, [(b"set-cookie", cookie.encode())], b"text/html; charset=utf-8")

    def _has_cookie(self, scope: Scope) -> bool:
        # Another server of this host may have set one of the same name beside ours.
        for header in _values(scope, b"cookie"):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self._cookie_name and hmac.compare_digest(value.encode(), self._cookie.encode()):
                    return True
        return False


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header.lower() == name]


async def _body(receive: Receive) -> bytes | None:
    """All of a body; None if it is too long."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += bytes(message.get("body", b""))
        if len(body) > _MOST_BODY:
            return None
        if not message.get("more_body"):
            return body


def _given(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = {name for name, _ in _HEADERS}
            kept = [pair for pair in message["headers"] if pair[0].lower() not in ours]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    return sending


async def _answer(
    send: Send,
    status: int,
    text: str | bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
    kind: bytes = b"text/plain; charset=utf-8",
) -> None:
    body = text if isinstance(text, bytes) else text.encode()
    told = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*told, *headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
