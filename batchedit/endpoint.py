"""Where the API is, and the key to it."""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from batchedit.addresses import Reach, is_loopback
from batchedit.errors import UsageError
from batchedit.json_size import MOST_OF_AN_ANSWER, values_in

ASGIApp = Callable[..., Awaitable[None]]

_SHORTEST_SECRET = 8
_PORTS = {"https": 443, "http": 80}


class Key:
    """An API key whose text shows up nowhere by accident."""

    def __init__(self, text: str) -> None:
        self._text = text
        is_long = len(text) >= _SHORTEST_SECRET
        self._forms = _forms_of(text.encode()) if is_long else ()
        self._escaped = _escaped(text) if is_long else None

    def reveal(self) -> str:
        """The key itself, for the Authorization header."""
        return self._text

    def mask(self, body: bytes) -> bytes:
        """
        The body without the key, should a server repeat it: answers are kept and shown.

        JSON that escapes plain characters is written anew without that: whoever reads it sees what they stand for.
        """
        body = _unescaped(body)
        if self._escaped is not None and (b"\\u00" in body or b"%" in body):
            body = self._escaped.sub(b"...", body)
        for form in self._forms:
            if form in body:
                body = body.replace(form, b"...")
        return body

    def mask_text(self, text: str) -> str:
        """The same for a text, such as the value of a header."""
        return self.mask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def fingerprint(self, salt: str) -> str:
        """Tells keys apart within one ledger, and is of no use anywhere else."""
        return hmac.new(salt.encode(), self._text.encode(), "sha256").hexdigest()[:16]

    def __repr__(self) -> str:
        return "Key(...)"


def _forms_of(secret: bytes) -> tuple[bytes, ...]:
    """How a server might repeat a key: as it is, in a URL, in hex, backwards, or in base64 wherever it stands there."""
    forms = {secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode()}
    forms |= {quote(secret, safe="").encode(), b"".join(b"%%%02X" % byte for byte in secret)}
    for shift in range(3):
        # The characters at either end also hold bits of what stands beside it there.
        skipped, padded = -(-shift * 8 // 6), b"\0" * shift + secret
        middle = b64encode(padded)[skipped : len(padded) * 8 // 6]
        forms |= {middle, middle.replace(b"+", b"-").replace(b"/", b"_")}
    return tuple(sorted(forms, key=len, reverse=True))


def _escaped(secret: str) -> re.Pattern[bytes]:
    """The secret with any of its characters as in a URL, once or often, or as in JSON, once or often."""
    parts = []
    for byte in secret.encode():
        hexed = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{byte:02x}")
        parts.append(rf"(?:{re.escape(chr(byte))}|%(?:25)*{hexed}|\\{{1,64}}u00{hexed})".encode("latin-1"))
    return re.compile(b"".join(parts))


def _unescaped(body: bytes) -> bytes:
    """The body; if it is JSON with escapes of what needs none, the same JSON without them."""
    # Nobody reads a larger answer, and so no escapes in it either.
    if b"\\u00" not in body or values_in(body) > MOST_OF_AN_ANSWER:
        return body
    try:
        # Lone halves of surrogate pairs are read again as they were written.
        return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    Where the API is and how to get there.

    Attributes:
        base_url: Origin, and a path prefix if there is one.
        key: None for a provider that needs none.
        organization: Sent as ``X-Organization-Id`` when given.
        app: An ASGI application that answers in process instead of the network.
        timeout_seconds: For one call that names no other.
        storage: Where pictures are uploaded to and fetched from, as in `Reach`. None means public, unless the API is
            on this machine: then it is somebody's trial, whose storage is here too.
    """

    base_url: str
    key: Key | None = None
    organization: str | None = None
    app: ASGIApp | None = None
    timeout_seconds: float = 60.0
    storage: str | None = None

    def reach(self) -> Reach:
        """Where storage may be."""
        is_trial = is_loopback(urlsplit(self.base_url).hostname or "") or self.app is not None
        return Reach(self.storage or ("any" if is_trial else "public"))


def origin_of(url: str) -> str:
    """
    Scheme, host and port of an address, written in one way, so that equal ones are equal texts.

    Raises:
        ValueError: if it has none, or hides a user in it.
    """
    parts = urlsplit(url)
    host, port, scheme = parts.hostname or "", parts.port, parts.scheme.lower()
    is_plain = re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*", host)
    if scheme not in _PORTS or not is_plain or "@" in parts.netloc:
        raise ValueError("is not an address such as https://api.example.com")
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" + ("" if port in (None, _PORTS[scheme]) else f":{port}")


def check_base(url: str) -> None:
    """Raises UsageError unless the API's address is https, or on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise UsageError(f"base_url {url!r} must be https (http is for this machine only)")
