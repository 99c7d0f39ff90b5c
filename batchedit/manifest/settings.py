"""The parts of the head that are not about pictures: provider and limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.reading import Reading
from batchedit.manifest.vocabulary import LIMIT_KEYS, PROVIDER_KEYS, names
from batchedit.manifest.yaml_tree import Node
from batchedit.model import ON_UNKNOWN, STORAGE, VERIFY, Limits, ProviderSettings

LIMITS: dict[str, tuple[str, type[int] | type[float]]] = {
    "rpm": ("requests_per_minute", int),
    "ipm": ("images_per_minute", int),
    "calls": ("calls_per_minute", int),
    "concurrency": ("in_flight", int),
    "attempts": ("attempts", int),
    "timeout": ("request_timeout_seconds", float),
    "deadline": ("run_deadline_seconds", float),
    "poll": ("poll_seconds", float),
    "list_lag": ("list_lag_seconds", float),
    "max_fail": ("max_failures", int),
    "jobs": ("jobs", int),
}
"""Key in the manifest -> field of `Limits`, and what kind of number it is."""

RATE_WORDS = {"auto": True, "none": False}
"""What `rpm` may be besides a number, and whether the provider's own limit is then learnt."""

_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_CHOICES = {
    "api": ("runs", "run"),
    "images_as": ("asset", "signed-url", "data-uri"),
    "size_as": ("object", "text"),
    "on_unknown": ON_UNKNOWN,
    "storage": STORAGE,
}
# The model becomes a part of the URL's path, the organization a header.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")
_TOKEN = re.compile(r"[!-~]{1,200}")


def read_provider(node: Node, reading: Reading) -> ProviderSettings:
    """Which provider, and how."""
    if isinstance(node.value, str):
        name = reading.text(node, "provider")
        return ProviderSettings() if name is None else ProviderSettings(name=name)
    settings = ProviderSettings()
    for key, (_, child) in reading.mapping(node, "provider", names(PROVIDER_KEYS)).items():
        text = reading.text(child, f"provider.{key}")
        if text is None:
            continue
        problem, hint = _provider_problem(key, text)
        if problem:
            code = "bad-base-url" if key == "base_url" else "bad-provider"
            shown = "" if "@" in text else text
            reading.wrong(child.place, code, problem, field=f"provider.{key}", value=shown, hint=hint)
        else:
            value: Any = _FLAGS[text.lower()] if key == "keep_metadata" else text
            settings = replace(settings, **{key: value})
    return settings


def _provider_problem(key: str, text: str) -> tuple[str, str]:
    shown = repr(shortened(text))
    if key in _CHOICES and text not in _CHOICES[key]:
        return f"{shown} is not one of {', '.join(_CHOICES[key])}", suggestion(text, _CHOICES[key])
    if key == "keep_metadata" and text.lower() not in _FLAGS:
        return f"{shown} is neither true nor false", ""
    if key == "base_url":
        return _origin_problem(text), ""
    if key == "model" and not _MODEL.fullmatch(text):
        return f"{shown} is not a model id such as openai/gpt-image-2/edit", ""
    if key in ("name", "organization") and not _TOKEN.fullmatch(text):
        return f"{shown} must be one word without spaces", ""
    return "", ""


def _origin_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"{shortened(url)!r} is not an address"
    if parts.username is not None or parts.password is not None:
        return "the address holds a user name or a password"
    if parts.query or parts.fragment or not host or not _TOKEN.fullmatch(url):
        return f"{shortened(url)!r} must be a plain address such as https://api.example.com"
    loopback = host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host)
    if parts.scheme == "https" or (parts.scheme == "http" and loopback):
        return ""
    return f"{shortened(url)!r} must be an https address (http is for this machine only)"


def read_limits(node: Node, reading: Reading) -> tuple[Limits, frozenset[str]]:
    """The limits, and which fields of them are given."""
    limits = Limits()
    given: set[str] = set()
    for key, (_, child) in reading.mapping(node, "limits", names(LIMIT_KEYS)).items():
        text = reading.text(child, f"limits.{key}") if child.value is not None else ""
        if text is None:
            continue
        if key == "verify":
            if text in VERIFY:
                limits = replace(limits, verify=text)
                given.add(key)
            else:
                message = f"{shortened(text)!r} is not one of {', '.join(VERIFY)}"
                hint = suggestion(text, VERIFY)
                reading.wrong(child.place, "bad-limit", message, field="limits.verify", value=text, hint=hint)
            continue
        name, kind = LIMITS[key]
        if key == "rpm" and text in RATE_WORDS:
            limits = replace(limits, learn_rate=RATE_WORDS[text])
            given.add("learn_rate")
            continue
        value = _number(text, kind)
        if value is None or (value == 0 and key != "list_lag"):
            what = (
                "a positive whole number"
                if kind is int and value is None and _number(text, float)
                else "a positive number"
            )
            message = f"{shortened(text)!r} is not {what}" + (", auto or none" if key == "rpm" else "")
            reading.wrong(child.place, "bad-limit", message, field=f"limits.{key}", value=text)
        else:
            limits = replace(limits, **{name: value})
            given.add(name)
    return limits, frozenset(given)


def _number(text: str, kind: Callable[[str], Any]) -> Any:
    pattern = _WHOLE if kind is int else _DECIMAL
    return kind(text) if pattern.fullmatch(text) else None
