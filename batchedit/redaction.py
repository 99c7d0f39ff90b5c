"""
Taking secrets out of text before it is kept or shown: API keys, bearer tokens, signed query strings.

Applied where text from outside enters the ledger, an error or a log; see :mod:`batchedit.wire`.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# Each of these goes through a text once, whatever stands in it: it comes from outside, and may be long. So an address
# is taken whole and cut then, and the name of a scheme has an end.
_URL = re.compile(r"https?://[^\s\"'<>]*", re.IGNORECASE)
_QUERY = re.compile(r"[?#]")
_USERINFO = re.compile(r"([a-z][a-z0-9+.-]{0,30}://)[^/\s\"'<>?#@]*@", re.IGNORECASE)
_KEY = re.compile(r"\b(rf_(?:live|svc)_|sk-|whsec_)[A-Za-z0-9_\-]{4,}")
_BEARER = re.compile(r"(?i)\b(bearer|key)\s+[A-Za-z0-9._\-]{8,}")
# A signed address within another one, or in a message that quotes it: the query's marks are encoded themselves.
_SIGNED = re.compile(
    r"(?i)((?:x-(?:amz|goog|oss)-(?:signature|credential|security-token)|signature|sig|access_token|token)(?:=|%(?:25)*3d|\\+u003d))"
    r"[^&\s\"'<>\\]{6,}"
)
_DATA_URI = re.compile(r"data:([\w.+/-]+);base64,[A-Za-z0-9+/=]+")

# Query parameters that carry a permission and not the identity of a picture. Names of the S3, GCS, Azure and
# CloudFront signing schemes; anything else in a query may choose another picture and is kept.
_SIGNING = frozenset(
    {"expires", "signature", "key-pair-id", "policy", "awsaccesskeyid", "googleaccessid", "token", "access_token"}
    | {"sig", "se", "sp", "sv", "sr", "st", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv"}
)
_DRIVES = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, change a terminal's state, turn text around, or cannot be seen."""


def redact(text: str) -> str:
    """The same text with keys, bearer tokens, passwords and queries of URLs, and inline pictures masked."""
    if ";base64," in text:
        text = _DATA_URI.sub(r"data:\1;base64,...", text)
    if "://" in text:
        text = _USERINFO.sub(r"\1", text)
        text = _URL.sub(_without_query, text)
    # Most texts are a provider's answers that hold none of these, and looking for what all of a kind have is quick.
    if "=" in text or "%" in text or "\\" in text:
        text = _SIGNED.sub(r"\1...", text)
    if "rf_" in text or "sk-" in text or "whsec_" in text:
        text = _KEY.sub(r"\1...", text)
    folded = text.casefold()
    if "bearer" in folded or "key" in folded:
        text = _BEARER.sub(r"\1 ...", text)
    return text


def _without_query(match: re.Match[str]) -> str:
    address, *query = _QUERY.split(match[0], maxsplit=1)
    return f"{address}?..." if query else address


def _is_signing(name: str) -> bool:
    lowered = name.lower()
    return lowered in _SIGNING or lowered.startswith(("x-amz-", "x-goog-", "x-oss-"))


def unsigned_url(url: str) -> str:
    """
    The URL without what only grants access: signing parameters, a user name and password.

    This is what identifies a picture and what may be stored; the full URL stays in memory.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if not _is_signing(name)]
    query = parts.query if len(kept) == len(pairs) else urlencode(kept)
    return urlunsplit((parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower(), parts.path, query, ""))


def harmless(text: str) -> str:
    """
    The text with what would drive a terminal shown as ``\\u001b``. Names of files, titles and a provider's messages can
    hold anything; in JSON the form means the same character, so that nothing is lost there.
    """
    return _DRIVES.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
