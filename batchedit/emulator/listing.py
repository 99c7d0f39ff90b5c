"""The list of runs: filter, order, projection, cursors. Provider-api, section 7."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchedit.emulator.filters import BadFilter, parse_filter
from batchedit.emulator.records import FIELDS, renamed
from batchedit.emulator.run import Run
from batchedit.emulator.service import Service
from batchedit.emulator.wire import invalid, origin_of

Record = dict[str, Any]
Key = tuple[str, str]
_SORTABLE = frozenset({"created_at", "started_at", "completed_at", "status_code", "client_ref", "id"})
_PLAIN = frozenset({"limit", "sort_by", "fields"})
"""A query without anything else is for the newest runs, and need not look at all of them."""
_LIMIT = 50
_MOST = 500


async def list_runs(request: Request) -> Response:
    """
    `GET /v1/runs`. New runs show up after the list's lag; synchronous ones only if they are listed at all.

    Raises:
        Problem: 422 if a parameter is not understood.
    """
    service: Service = request.app.state.service
    query = request.query_params
    limit = _limit(query.get("limit"))
    field, descending = _order(query.get("sort_by", "created_at:desc"))
    names = _projection(query.get("fields"))
    newest = limit + 1 if (field, descending) == ("created_at", True) and query.keys() <= _PLAIN else None
    found = _matching(service, request, newest=newest)
    rows = sorted(((_key(record, field), record) for record in found), key=lambda row: row[0])
    if descending:
        rows.reverse()
    begin, end = _window([key for key, _ in rows], query.get("pq"), limit, descending, query.get("from_prev") == "true")
    switches = service.switches
    items = [renamed({name: record[name] for name in names}, switches.record_names) for _, record in rows[begin:end]]
    following = _token(rows[end - 1][0]) if end < len(rows) and end > begin else None
    before = _token(rows[begin][0]) if begin > 0 and end > begin else None
    if switches.cursor_names == "next_pq":
        return JSONResponse({"items": items, "next_pq": following, "prev_pq": before})
    return JSONResponse(
        {
            "items": items,
            "first": _link(request, None),
            "next": None if following is None else _link(request, following),
            "previous": None if before is None else _link(request, before, from_prev="true"),
        }
    )


def _matching(service: Service, request: Request, *, newest: int | None) -> list[Record]:
    """All runs that fulfil the filter, or, where there is none, so many of the newest."""
    until = service.clock() - service.switches.list_lag
    try:
        wanted = parse_filter(request.query_params.get("q", ""), service.switches.filter_dialect)
        runs = service.store.newest_runs(newest, created_until=until) if newest else []
        if not runs or not all(_is_listed(service, run) for run in runs):
            runs = service.store.runs(created_until=until, client_ref=wanted.client_ref)
        listed = [run for run in runs if _is_listed(service, run)]
        records = [
            service.record(run, origin_of(request), signed=not service.switches.signed_on_request) for run in listed
        ]
        return [record for record in records if wanted.holds(record)]
    except BadFilter as error:
        raise invalid(str(error), "q") from None


def _is_listed(service: Service, run: Run) -> bool:
    return run.form == "runs" or service.switches.sync_listed


def _limit(text: str | None) -> int:
    if text is None:
        return _LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise invalid(f"limit must be 1 to {_MOST}", "limit")
    return int(text)


def _order(text: str) -> tuple[str, bool]:
    """(field, descending) of the first key; ties are always broken by age."""
    field, _, direction = text.split(",")[0].partition(":")
    if field not in _SORTABLE or direction not in ("", "asc", "desc"):
        raise invalid(f"cannot sort by {text}", "sort_by")
    return field, direction == "desc"


def _projection(text: str | None) -> list[str]:
    names = text.split(",") if text else list(FIELDS)
    unknown = sorted(set(names) - set(FIELDS))
    if unknown:
        raise invalid(f"no such fields: {', '.join(unknown)}", "fields")
    return names


def _key(record: Record, field: str) -> Key:
    return str(record[field] or ""), record["request_id"]


def _window(keys: list[Key], cursor: str | None, limit: int, descending: bool, backwards: bool) -> tuple[int, int]:
    """(begin, end) of the page: it starts after the cursor's row, or ends before it."""
    if not cursor:
        return 0, min(limit, len(keys))
    try:
        value, number = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        at = (str(value), str(number))
    except (ValueError, TypeError):
        raise invalid("not a cursor of this list", "pq") from None
    if backwards:
        end = sum(key > at if descending else key < at for key in keys)
        return max(0, end - limit), end
    begin = sum(key >= at if descending else key <= at for key in keys)
    return begin, min(begin + limit, len(keys))


def _token(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _link(request: Request, cursor: str | None, **more: str) -> str:
    kept = {name: value for name, value in request.query_params.items() if name not in ("pq", "from_prev")}
    return f"{request.url.path}?" + urlencode({**kept, **more, **({"pq": cursor} if cursor else {})})
