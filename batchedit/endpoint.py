"""Where the API is, and the key to it."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from batchedit.addresses import Reach, is_loopback
from batchedit.errors import UsageError

ASGIApp = Callable[..., Awaitable[None]]

_SHORTEST_SECRET = 8
_PORTS = {"https": 443, "http": 80}


class Key:
    """An API key whose text shows up nowhere by accident."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._forms = _forms_of(text.encode()) if len(text) >= _SHORTEST_SECRET else ()

    def reveal(self) -> str:
        """The key itself, for the Authorization header."""
        return self._text

    def mask(self, body: bytes) -> bytes:
        """The body without the key, should a server repeat it: answers are kept and shown."""
        for form in self._forms:
            if form in body:
                body = body.replace(form, b"...")
        return body

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
