"""
Reading what Runflow answers, in all the shapes that were seen (provider-api, sections 5, 6, 8, 13 and 21).

Pure functions of bytes. Codes and ids are opaque, unknown fields and states are normal, and what cannot be read is
said so: it is never guessed into a success or a refusal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from batchedit.errors import (
    Halted,
    InputFormRefused,
    ProviderError,
    Rejected,
    RunFailed,
    Throttled,
    Unavailable,
    Unreadable,
    Unseen,
)
from batchedit.json_size import MOST_OF_AN_ANSWER, values_in
from batchedit.model import OutputLocation, Reply
from batchedit.money import MicroUSD, parse_usd
from batchedit.providers.base import Answer
from batchedit.redaction import redact

SUCCEEDED = frozenset({"succeeded", "partial_succeeded"})
CANCELLED = frozenset({"canceled", "cancelled"})
FAILED = frozenset({"failed", "errored", "timeout"}) | CANCELLED

_PERMANENT = ("validation", "unsupported", "too large", "too_large", "moderation", "safety", "policy", "invalid")
_MESSAGE_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """
    The part of a run record that matters here.

    Attributes:
        status: In lower case, ``canceled`` spelled with one l.
        cost: As reported, None when it is not there.
        client_ref: Our reference, None when it was not shown.
    """

    id: str
    status: str
    cost: MicroUSD | None
    client_ref: str | None
    failure_code: str
    failure_message: str
    data: Mapping[str, Any]

    @property
    def succeeded(self) -> bool:
        """True if it ended with pictures."""
        return self.status in SUCCEEDED

    @property
    def failed(self) -> bool:
        """True if it ended without."""
        return self.status in FAILED


def read_json(body: bytes) -> Any:
    """The body as JSON, None if it is none, or has so many values that they would fill the memory."""
    if values_in(body) > MOST_OF_AN_ANSWER:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # ValueError is also UnicodeDecodeError
        return None


def read_run(data: object) -> RunRecord | None:
    """A run record from decoded JSON, None if it does not look like one."""
    if not isinstance(data, dict):
        return None
    run_id = _text(data, "id", "run_id")
    status = _text(data, "status_code", "status")
    if not run_id or not status:
        return None
    error = data.get("error")
    nested: dict[str, Any] = error if isinstance(error, dict) else {}
    status = status.lower()
    return RunRecord(
        id=run_id,
        status="canceled" if status in CANCELLED else status,
        cost=_cost(data.get("cost")),
        client_ref=_text(data, "client_ref") or None,
        failure_code=_text(data, "failure_code") or _text(nested, "code"),
        failure_message=_text(data, "failure_message", "failure_reason") or _text(nested, "message"),
        data=data,
    )


def run_seconds(run: RunRecord) -> float | None:
    """Seconds from a run's creation to its end by the provider's own clock; None if the record does not say."""
    try:
        begin, end = (
            datetime.fromisoformat(_text(run.data, *names))
            for names in (("created_at",), ("completed_at", "finished_at"))
        )
        seconds = (end - begin).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if 0 <= seconds <= _LONGEST_RUN_SECONDS else None


_LONGEST_RUN_SECONDS = 86_400.0


def run_failure(run: RunRecord) -> RunFailed:
    """
    What a run that ended without pictures means for a new one.

    There is no published list of failure codes, so words decide, conservatively: what speaks of the request itself
    is permanent, the rest is worth another run, since failed runs are not billed (provider-api, sections 6 and 14).
    """
    code = run.failure_code or run.status.upper()
    words = f"{code} {run.failure_message}".lower()
    permanent = run.status == "canceled" or any(word in words for word in _PERMANENT)
    detail = run.failure_message or "the provider gave no reason"
    message = shorten(f"the provider's run ended as {run.status}: {detail}")
    return RunFailed(message, code=code, permanent=permanent, cost_microusd=run.cost or 0)


def run_reply(run: RunRecord) -> Reply:
    """
    The pictures of a run that succeeded.

    Raises:
        Unreadable: if no known shape matches.
    """
    located = find_outputs(run.data.get("output"), prefix="output")
    if located is None:
        located = find_outputs(run.data, prefix="")
    if located is None:
        raise Unreadable(
            f"run {run.id} succeeded, but its pictures could not be found in the answer",
            code="UNKNOWN_SHAPE",
            hint="the run is paid and kept; run again with a version of batchedit that knows the shape",
        )
    shape, outputs = located
    return Reply(outputs=outputs, cost=run.cost, run_id=run.id, shape=shape)


def sync_reply(data: object) -> Reply:
    """
    The pictures of a synchronous answer: every shape at top level and under `output` (provider-api, section 8).

    Raises:
        Unreadable: if no known shape matches.
    """
    located = None
    if isinstance(data, dict):
        located = find_outputs(data, prefix="")
        if located is None:
            located = find_outputs(data.get("output"), prefix="output")
    if located is None:
        raise Unreadable("the provider's answer holds no picture in any known shape", code="UNKNOWN_SHAPE")
    shape, outputs = located
    assert isinstance(data, dict)
    return Reply(outputs=outputs, cost=_cost(data.get("cost")), run_id=_text(data, "run_id", "id") or None, shape=shape)


def find_outputs(data: object, *, prefix: str) -> tuple[str, tuple[OutputLocation, ...]] | None:
    """
    The pictures in one object, by the first shape that matches, and the name of that shape.

    The order is that of provider-api, section 6. None if no shape matches; an empty list of outputs is a match.
    """
    if isinstance(data, str):
        return (prefix, (OutputLocation(url=data),)) if _is_url(data) else None
    if not isinstance(data, dict):
        return None
    dot = f"{prefix}." if prefix else ""
    for name in ("outputs", "images", "image_urls"):
        entries = data.get(name)
        if isinstance(entries, list):
            # An empty entry is a picture that did not come; the count tells.
            located = [_location(entry) for entry in entries if entry is not None]
            if all(located):
                return f"{dot}{name}[]", tuple(entry for entry in located if entry)
    for name in ("image", "url", "output_url", "image_url"):
        single = _location(data.get(name))
        if single is not None:
            return f"{dot}{name}", (single,)
    return None


def refusal(answer: Answer, *, buys: bool) -> ProviderError:
    """
    What an answer outside 2xx means (provider-api, section 13).

    A complete 4xx is surely refused, and so is what names one of the codes with which the provider says that it takes
    nothing now, whatever its status. Any other 5xx, a conflict and anything unusual leave it open whether something was
    bought; a read that ends so is simply tried again.
    """
    code, message = read_error(answer)
    text = shorten(f"{message} (HTTP {answer.status}{' ' + code if code else ''})")
    status = answer.status
    if status == 429 or code == "RATE_LIMITED":
        return Throttled(text, retry_after=retry_after(answer.headers), code=code)
    if status in (401, 402, 403):
        return Halted(text, code=code or str(status), http_status=status, hint=_ACCOUNT_HINTS[status])
    if status == 404 and buys and not _speaks_of_missing_asset(message):
        return Halted(text, code=code or "404", http_status=404, hint="check `model`, `api` and `base_url`")
    if status == 422 and "runflow" in message.lower() and ("http" in message.lower() or "scheme" in message.lower()):
        return InputFormRefused(text, code=code, http_status=status)
    if status in (404, 422) and buys and _speaks_of_missing_asset(message):
        return InputFormRefused(text, code="ASSET_UNKNOWN", http_status=status)
    if status == 503 and code == "MODEL_UNAVAILABLE":
        return Unavailable(text, code=code, http_status=status)
    if 400 <= status < 500 and status not in (408, 409, 425):
        return Rejected(text, code=code or str(status), http_status=status)
    return Unseen(text, code=code or str(status), http_status=status)


def _speaks_of_missing_asset(message: str) -> bool:
    # No code for it is published, so the words decide; a wrong guess costs an upload, never a purchase.
    words = message.lower()
    return "asset" in words and any(word in words for word in ("not found", "unknown", "does not exist", "deleted"))


_ACCOUNT_HINTS = {
    401: "the key was not accepted: check RUNFLOW_API_KEY",
    402: "the credit is used up: top it up, then run the same command again",
    403: "the key may not do this: check its scopes (runs:create, runs:read, assets:create, assets:read)",
}


def read_error(answer: Answer) -> tuple[str, str]:
    """(code, message) of an error body in any of its envelopes, or of no JSON at all. Redacted."""
    data = read_json(answer.body)
    if not isinstance(data, dict):
        return "", "an answer that is not JSON"
    nested = data.get("error")
    if isinstance(nested, dict):
        data = {**data, **nested}
    elif isinstance(nested, str):
        data = {"message": nested, **data}
    message = _text(data, "message", "detail") or "no message"
    details = data.get("errors")
    if isinstance(details, list):
        message = "; ".join([message, *(_detail(entry) for entry in details[:8])])
    return _text(data, "code"), shorten(message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Seconds until the server wants to be asked again, from seconds or an HTTP date; None without a usable header.

    A date is read against the server's own `Date`, so that a wrong clock here does not matter. Capped at an hour.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
        except (ValueError, TypeError):
            return None
    if not seconds >= 0:
        return 0.0
    return min(seconds, _LONGEST_WAIT_SECONDS)


def exhausted(headers: Mapping[str, str]) -> float | None:
    """
    Seconds for which the server takes nothing more, by `X-RateLimit-Remaining` and `-Reset`; None if it does not say.

    The reset is a Unix time (provider-api, section 12), read against the server's own `Date`.
    """
    try:
        if float(headers["x-ratelimit-remaining"]) > 0:
            return None
        reset = float(headers["x-ratelimit-reset"])
        seconds = reset - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None
    return min(seconds, _LONGEST_WAIT_SECONDS) if seconds > 0 else None


_LONGEST_WAIT_SECONDS = 3600.0
"""No server is obeyed for longer than this at a time."""


def shorten(text: str) -> str:
    """The text on one line, redacted, of a length that a table can show."""
    line = " ".join(redact(text).split())
    return line if len(line) <= _MESSAGE_LIMIT else line[: _MESSAGE_LIMIT - 1] + "…"


def _detail(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    where = entry.get("field") or entry.get("loc") or entry.get("path") or ""
    if isinstance(where, list):
        where = ".".join(str(part) for part in where)
    what = _text(entry, "message", "msg", "code")
    return f"{where}: {what}" if where else what


def _location(entry: object) -> OutputLocation | None:
    if isinstance(entry, str):
        return OutputLocation(url=entry) if _is_url(entry) else None
    if not isinstance(entry, dict):
        return None
    url = entry.get("url")
    if not isinstance(url, str) or not _is_url(url):
        return None
    return OutputLocation(url=url, width=_pixels(entry.get("width")), height=_pixels(entry.get("height")))


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://", "data:"))


def _pixels(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _cost(value: object) -> MicroUSD | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return parse_usd(str(value))
    except ValueError:
        return None


def _text(data: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = data.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""
