"""The entries of `notify`: who is told, how, and when. URLs and passwords stand in the environment, never here."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from batchedit.jobs.model import Notice
from batchedit.jobs.vocabulary import EVENTS, NOTIFY_KEYS, VARIABLE, WAYS
from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.vocabulary import names
from batchedit.manifest.yaml_tree import Node

_BY_URL = ("url_env",)
_NEEDS = {
    "webhook": _BY_URL,
    "slack": _BY_URL,
    "ntfy": _BY_URL,
    "heartbeat": _BY_URL,
    "apprise": _BY_URL,
    "smtp": ("server", "from", "to"),
    "exec": ("command",),
}
_MAY = {
    "webhook": ("token_env",),
    "ntfy": ("token_env",),
    "smtp": ("port", "security", "user_env", "password_env"),
}
_PATTERNS = {
    "url_env": VARIABLE,
    "token_env": VARIABLE,
    "user_env": VARIABLE,
    "password_env": VARIABLE,
    "server": "[A-Za-z0-9.:_-]{1,255}",
    "from": r"[^\s@]+@[^\s@]+",
    "to": r"[^\s@]+@[^\s@]+",
    "port": "[1-9][0-9]{0,4}",
    "timeout": r"[0-9]{1,9}(\.[0-9]{1,6})?",
}
_FIELDS = {"from": "sender", "timeout": "timeout_seconds"}
_SECURITY = ("starttls", "tls", "none")


def read_notices(node: Node, reading: Reading) -> tuple[Notice, ...]:
    """All of them that are right; what is wrong goes to the reading's findings."""
    found = (_notice(child, number, reading) for number, child in enumerate(reading.list(node, "notify"), start=1))
    return tuple(notice for notice in found if notice is not None)


def is_loopback(host: str) -> bool:
    """True for this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _notice(node: Node, number: int, reading: Reading) -> Notice | None:
    pairs = reading.mapping(node, "the notice", names(NOTIFY_KEYS))
    if "via" not in pairs or pairs["via"][1].value is None:
        if isinstance(node.value, dict) or node.value is None:
            reading.wrong(node.place, "bad-notice", "the key via is missing", hint=f"Known are: {', '.join(WAYS)}")
        return None
    way = _word(pairs["via"][1], WAYS, "notify.via", reading)
    if way is None:
        return None
    allowed = ("via", *(() if way == "heartbeat" else ("on",)), "timeout", *_NEEDS[way], *_MAY.get(way, ()))
    right = True
    for key, (place, _) in pairs.items():
        if key not in allowed:
            reading.wrong(place, "bad-notice", f"{key} means nothing with via: {way}", field=f"notify.{key}")
            right = False
    for key in _NEEDS[way]:
        if key not in pairs or not pairs[key][1].value:
            reading.wrong(node.place, "bad-notice", f"via: {way} needs {key}", field=f"notify.{key}")
            right = False
    values = _values({key: pair for key, pair in pairs.items() if key in allowed}, way, reading)
    if values is None or not right:
        return None
    notice = Notice(via=way, number=number, **values)
    if notice.security == "none" and not is_loopback(notice.server):
        message = "security: none is for this machine only; a password or a name would cross the network in the clear"
        reading.wrong(pairs["security"][1].place, "bad-notice", message, field="notify.security")
        return None
    if bool(notice.user_env) != bool(notice.password_env):
        reading.wrong(node.place, "bad-notice", "user_env and password_env go together", field="notify.user_env")
        return None
    return notice


def _values(pairs: Pairs, way: str, reading: Reading) -> dict[str, Any] | None:
    found: dict[str, Any] = {"events": frozenset(EVENTS)}
    right = True
    for key, (_, node) in pairs.items():
        value: Any = None
        if key == "via":
            continue
        if key == "on":
            value = _words(node, reading)
            key = "events"
        elif key == "security":
            value = _word(node, _SECURITY, "notify.security", reading)
        elif key in ("to", "command"):
            nodes = [node] if isinstance(node.value, str) and key == "to" else reading.list(node, f"notify.{key}")
            texts = [_text(child, key, reading) for child in nodes]
            value = tuple(text for text in texts if text is not None)
            if len(value) != len(texts) or not value:
                value = None
        else:
            value = _text(node, key, reading)
            if value is not None and key == "timeout":
                value = float(value)
            if value is not None and key == "port":
                value = int(value)
        right &= value is not None
        found[_FIELDS.get(key, key)] = value
    return found if right else None


def _words(node: Node, reading: Reading) -> frozenset[str] | None:
    nodes = [node] if isinstance(node.value, str) else reading.list(node, "notify.on")
    words = [_word(child, EVENTS, "notify.on", reading) for child in nodes]
    if not nodes and isinstance(node.value, list):
        reading.wrong(node.place, "bad-notice", "it would never be sent", field="notify.on")
    right = frozenset(word for word in words if word is not None)
    return right if right and len(words) == len([word for word in words if word is not None]) else None


def _word(node: Node, known: tuple[str, ...], field: str, reading: Reading) -> str | None:
    text = reading.text(node, field) if node.value is not None else ""
    if text is None or text in known:
        return text
    message = f"{shortened(text)!r} is not one of {', '.join(known)}"
    hint = suggestion(text.lower(), known)
    reading.wrong(node.place, "bad-notice", message, field=field, value=text, hint=hint)
    return None


def _text(node: Node, key: str, reading: Reading) -> str | None:
    """A text that its key may have. What stands where a variable's name belongs may be the secret itself."""
    field = f"notify.{key}"
    text = reading.text(node, field) if node.value is not None else ""
    if text is None:
        return None
    pattern = _PATTERNS.get(key)
    if pattern is None:
        if "\0" in text or not text:
            reading.wrong(node.place, "bad-notice", "is no argument of a command", field=field)
            return None
        return text
    wrong = re.fullmatch(pattern, text) is None or not text.isprintable()
    if key == "timeout":
        wrong = wrong or float(text) == 0
    if key == "port":
        wrong = wrong or int(text) > 65535
    if not wrong:
        return text
    if key.endswith("_env"):
        message = "is not the name of an environment variable"
        hint = "Put the secret into the environment, and its variable's name here"
        reading.wrong(node.place, "bad-notice", message, field=field, hint=hint)
    else:
        reading.wrong(node.place, "bad-notice", f"{shortened(text)!r} is no {key}", field=field, value=text)
    return None
