"""Where the API is, the key to it, and which addresses may be used at all."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from batchedit.errors import Rejected, UsageError

ASGIApp = Callable[..., Awaitable[None]]

_SHORTEST_SECRET = 8


class Key:
    """An API key whose text shows up nowhere by accident."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The key itself, for the Authorization header."""
        return self._text

    def mask(self, body: bytes) -> bytes:
        """The body without the key, should a server repeat it: answers are kept and shown."""
        secret = self._text.encode()
        return body.replace(secret, b"...") if len(secret) >= _SHORTEST_SECRET else body

    def fingerprint(self, salt: str) -> str:
        """Tells keys apart within one ledger, and is of no use anywhere else."""
        return hmac.new(salt.encode(), self._text.encode(), "sha256").hexdigest()[:16]

    def __repr__(self) -> str:
        return "Key(...)"


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
    """

    base_url: str
    key: Key | None = None
    organization: str | None = None
    app: ASGIApp | None = None
    timeout_seconds: float = 60.0


def is_loopback(url: str) -> bool:
    """True if the URL's host is this machine."""
    host = (urlsplit(url).hostname or "").lower()
    return host in ("localhost", "::1") or host.startswith("127.")


def check_base(url: str) -> None:
    """Raises UsageError unless the API's address is https, or on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise UsageError(f"base_url {url!r} must be https (http is for this machine only)")


def check_storage(url: str) -> None:
    """Raises Rejected unless the storage's address is https, or on this machine."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Rejected(f"the storage's address is not a URL ({error})", code="URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise Rejected(f"the storage's address is not https ({parts.scheme}://{parts.hostname})", code="URL")
