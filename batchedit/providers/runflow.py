"""
Runflow's image edits, in both published forms, as flows.

`api: runs` creates a run, learns its id, and polls it. `api: run` waits for the whole edit in one call. Facts and
their certainty: provider-api; what it calls uncertain is tolerated here or a setting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from batchedit.bodies import Body, FilePart, Upload, json_body
from batchedit.credentials import KeyPlaces, KeyUse, check_destination, find_key, place_of_key
from batchedit.data_uris import lift
from batchedit.endpoint import Endpoint, origin_of
from batchedit.errors import (
    InputFormRefused,
    NotSent,
    OutputGone,
    ProviderError,
    Rejected,
    RunMissing,
    Throttled,
    Unseen,
    UsageError,
)
from batchedit.model import ProviderSettings, Reply, explicit_size
from batchedit.money import MicroUSD
from batchedit.providers.account import look
from batchedit.providers.answers import (
    RunRecord,
    find_outputs,
    read_json,
    read_run,
    refusal,
    run_failure,
    run_reply,
    run_seconds,
    sync_reply,
)
from batchedit.providers.base import (
    Accepted,
    Answer,
    Answered,
    Ended,
    Flow,
    Listing,
    Order,
    Send,
    Sighting,
    Wait,
    Watch,
)
from batchedit.providers.registry import Connected, Destination, Setup

BASE_URL = "https://api.runflow.io"
KEY_VARIABLE = "RUNFLOW_API_KEY"
SYNC_TIMEOUT_SECONDS = 900.0
"""One call of the synchronous form covers the whole edit: 44 to 280 s were measured (provider-api, section 6)."""

UPLOAD_LIMIT_BYTES = 52_428_800
_MISSING_LOOKS = 8
_LIST_FIELDS = "id,status_code,client_ref,cost,created_at"
_WATCHED_FIELDS = (
    "id,status_code,client_ref,cost,created_at,completed_at,output,failure_code,failure_message,failure_stage_code"
)
_SCAN_PAGES = 10
_LONGEST_TROUBLE_SECONDS = 10.0


class Runflow:
    """
    The adapter.

    Args:
        settings: As in the manifest.
        poll_seconds: Between looks at a run that is not to be seen.
    """

    name = "runflow"
    prices = "runflow"

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        poll_seconds: float = 2.0,
    ) -> None:
        self.settings = settings
        self.model = settings.model
        self.base_url = (settings.base_url or BASE_URL).rstrip("/")
        self.scope = f"{self.base_url} {settings.organization or ''}".strip()
        self.can_reconcile = settings.api == "runs"
        self.image_form = settings.images_as
        self._poll_seconds = poll_seconds

    # -- buying ----------------------------------------------------------------------------------------------

    def order(self, order: Order) -> Send:
        """The call that buys: an envelope with our reference, or the flat body of the synchronous form."""
        fields = self._input(order)
        if self.settings.api == "run":
            body: dict[str, Any] = fields
            url, timeout = f"/v1/run/{self._model_path()}", SYNC_TIMEOUT_SECONDS
        else:
            url, timeout = f"/v1/models/{self._model_path()}/runs", None
            body = {
                "input": fields,
                "client_ref": order.client_ref,
                # Searchable nowhere, but shown in callbacks and in the dashboard (provider-api, section 9).
                "metadata": {"client_ref": order.client_ref, "generation": order.generation},
            }
        return Send(
            method="POST",
            url=url,
            headers={"content-type": "application/json"},
            body=json_body(body),
            buys=True,
            timeout_seconds=timeout,
        )

    def buy(self, send: Send) -> Flow[Reply]:
        """Send the order and follow it to its end."""
        answer = yield from _send(send)
        if not 200 <= answer.status < 300:
            problem = refusal(answer, buys=True)
            if isinstance(problem, InputFormRefused) and problem.code != "ASSET_UNKNOWN":
                if not _mentions(send, b"runflow://assets/"):
                    raise Rejected(problem.message, code=problem.code, http_status=problem.http_status)
                # Asset references were once refused by all but one kind of model (provider-api, section 4).
                self.image_form = "signed-url"
            raise problem
        run = read_run(read_json(lift(answer.body).text))
        inline = _mentions(send, b'"sync_mode":true')
        if self.settings.api == "run" and (run is None or run.succeeded):
            # No way to ask again: the answer itself must be safe before anybody looks into it.
            yield Answered(answer.body, repeatable=False)
            return self.read(answer.body, polled=False)
        if run is None:
            raise Unseen(
                "the provider accepted the request with an answer that cannot be read",
                code="UNREADABLE",
                http_status=answer.status,
            )
        yield Accepted(run.id, answer.body, inline)
        return (yield from self.follow(run.id, inline=inline))

    def follow(self, run_id: str, *, inline: bool, sign: bool = False) -> Flow[Reply]:
        """Poll until the run ends. Never gives up by itself: how long to look is the pool's decision."""
        # `add_signature` is used by the provider's own tools and in no document (provider-api, section 6).
        url = f"/v1/runs/{quote(run_id, safe='')}" + ("?add_signature=true" if sign else "")
        missing = troubles = 0
        at_once = sign
        while True:
            listed = None if at_once else (yield Watch(run_id, inline))
            at_once = False
            problem: ProviderError | None = None
            answer = b"" if listed is None else listed.body
            # A record from the list may have other URLs than a read that asks for signed ones.
            if listed is None or sign:
                answer, problem = yield from self._look(url)
            lifted = lift(answer)
            run = read_run(read_json(lifted.text)) if problem is None else None
            if run is None and problem is None:
                problem = Unseen("a run record that cannot be read", code="UNREADABLE", http_status=200)
            if run is not None and run.succeeded:
                yield Ended(run_seconds(run))
                yield Answered(answer, repeatable=not inline)
                return self.read(answer, polled=True) if inline else lifted.restore(run_reply(run))
            if run is not None and run.failed:
                yield Ended(run_seconds(run))
                raise run_failure(run)
            if isinstance(problem, Rejected) and problem.http_status == 404:
                missing += 1
                if missing >= _MISSING_LOOKS:
                    raise RunMissing(f"the provider does not know run {run_id}", code="RUN_NOT_FOUND", http_status=404)
                yield Wait(self._poll_seconds)
            elif problem is not None:
                if not isinstance(problem, (Throttled, Unseen, NotSent)):
                    raise problem
                wish = problem.retry_after if isinstance(problem, Throttled) else None
                yield Wait(wish or min(self._poll_seconds * 2.0**troubles, _LONGEST_TROUBLE_SECONDS))
                troubles = min(troubles + 1, 10)
            else:
                troubles = 0

    def newest(self, count: int) -> Flow[Mapping[str, Listing]]:
        """
        The newest runs, with their pictures where they have ended: `output` can be projected (provider-api, section 7).

        A run that has ended without anything to show is to be read.
        """
        answer = yield from _send(self._list(limit=count, sort_by="created_at:desc", fields=_WATCHED_FIELDS))
        runs, _ = _page(answer)
        return {run.id: _listing(run) for run in runs}

    def read(self, answer: bytes, *, polled: bool) -> Reply:
        """Understand a stored answer of either form."""
        lifted = lift(answer)
        data = read_json(lifted.text)
        run = read_run(data)
        if run is None or not run.succeeded:
            return lifted.restore(sync_reply(data))
        if polled and run.data.get("output") is None and find_outputs(run.data, prefix="") is None:
            # What is stored of a poll are inline pictures, which are handed over once.
            raise OutputGone(f"run {run.id} has shown its pictures once already", code="INLINE_SHOWN")
        return lifted.restore(run_reply(run))

    # -- reconciliation --------------------------------------------------------------------------------------

    def find(self, client_ref: str, *, ignore: frozenset[str]) -> Flow[Sighting]:
        """One look at the list of runs, in the first filter dialect that is understood (provider-api, section 9)."""
        for query in (f"client_ref.EQ:'{client_ref}'", f"client_ref:{client_ref}"):
            answer = yield from _send(self._list(q=query, limit=100))
            if answer.status in (400, 422):
                continue
            runs, cursor = _page(answer)
            sighting = _sighting(runs, client_ref, ignore)
            if sighting.run_id is None and (cursor or any(run.client_ref != client_ref for run in runs)):
                # The filter was not obeyed: not being on this page proves nothing.
                raise Unseen("the provider's list of runs was not filtered", code="LIST_NOT_FILTERED")
            return sighting
        return (yield from self._scan(client_ref, ignore))

    def _scan(self, client_ref: str, ignore: frozenset[str]) -> Flow[Sighting]:
        found: list[RunRecord] = []
        cursor: str | None = None
        for _ in range(_SCAN_PAGES):
            answer = yield from _send(self._list(limit=500, sort_by="created_at:desc", pq=cursor))
            runs, cursor = _page(answer)
            found += runs
            if cursor is None:
                return _sighting(found, client_ref, ignore)
        sighting = _sighting(found, client_ref, ignore)
        if sighting.run_id is None:
            # Not having seen the whole list is not the same as not being in it.
            raise Unseen("the provider's list of runs is too long to search", code="LIST_TOO_LONG")
        return sighting

    def _list(
        self,
        *,
        limit: int,
        q: str | None = None,
        sort_by: str = "created_at:asc",
        pq: str | None = None,
        fields: str = _LIST_FIELDS,
    ) -> Send:
        query = {"q": q, "fields": fields, "sort_by": sort_by, "limit": str(limit), "pq": pq}
        return Send(method="GET", url="/v1/runs?" + urlencode({k: v for k, v in query.items() if v is not None}))

    # -- pictures going up -----------------------------------------------------------------------------------

    def upload(self, upload: Upload) -> Flow[str]:
        """The three steps of provider-api, section 11. A crash between them leaves an orphan that costs nothing."""
        if upload.size_bytes > UPLOAD_LIMIT_BYTES:
            raise Rejected(
                f"the picture has {upload.size_bytes} bytes; the provider takes up to {UPLOAD_LIMIT_BYTES}",
                code="TOO_LARGE",
            )
        ticket = yield from self._read_json(
            _post(
                "/v1/asset-uploads",
                {"filename": upload.name, "mime_type": upload.media_type, "size_bytes": upload.size_bytes},
            )
        )
        asset_id, upload_url = ticket.get("asset_id"), ticket.get("upload_url")
        if not isinstance(asset_id, str) or not isinstance(upload_url, str):
            raise Unseen("the provider's upload ticket cannot be read", code="UNREADABLE")
        answer = yield from _send(
            Send(
                method="PUT",
                url=upload_url,
                headers={"content-type": upload.media_type},
                body=Body((FilePart(upload, in_base64=False),)),
                client="put",
                timeout_seconds=120.0 + upload.size_bytes / 50_000,
            )
        )
        if not 200 <= answer.status < 300:
            raise Unseen(f"the storage did not take the picture (HTTP {answer.status})", code="UPLOAD")
        yield from self._read_json(_post(f"/v1/asset-uploads/{quote(asset_id, safe='')}/confirmations", {}))
        return asset_id

    def locate(self, asset_id: str) -> Flow[str]:
        """The asset's reference, or a fresh signed URL of it where references are refused."""
        if self.image_form == "asset":
            return f"runflow://assets/{asset_id}"
        asset = yield from self._read_json(Send(method="GET", url=f"/v1/assets/{quote(asset_id, safe='')}"))
        url = asset.get("url")
        if not isinstance(url, str):
            raise Unseen("the provider's asset record has no URL", code="UNREADABLE")
        return url

    # -- inside ----------------------------------------------------------------------------------------------

    def _input(self, order: Order) -> dict[str, Any]:
        """All eight fields of provider-api, section 4; `sync_mode` only when asked for."""
        request = order.request
        fields: dict[str, Any] = {
            "prompt": request.prompt,
            "image_urls": list(order.images),
            "num_images": request.params.samples,
            "output_format": request.params.format,
            "image_size": self._size(request.params.size),
            "quality": request.params.quality,
        }
        if order.mask is not None:
            fields["mask_url"] = order.mask
        if request.inline:
            fields["sync_mode"] = True
        return fields

    def _size(self, size: str) -> str | dict[str, int]:
        pixels = explicit_size(size)
        if pixels is None or self.settings.size_as == "text":
            return size
        return {"width": pixels[0], "height": pixels[1]}

    def _model_path(self) -> str:
        segments = self.model.split("/")
        if any(segment in ("", ".", "..") for segment in segments):
            raise Rejected(f"{self.model!r} is not a model id", code="MODEL")
        return "/".join(quote(segment, safe="") for segment in segments)

    def _look(self, url: str) -> Flow[tuple[bytes, ProviderError | None]]:
        """A poll's answer: trouble on the way is returned, since a read can always be repeated."""
        try:
            answer = yield from _send(Send(method="GET", url=url))
        except (NotSent, Unseen) as trouble:
            return b"", trouble
        return answer.body, None if 200 <= answer.status < 300 else refusal(answer, buys=False)

    def _read_json(self, send: Send) -> Flow[dict[str, Any]]:
        answer = yield from _send(send)
        if not 200 <= answer.status < 300:
            raise refusal(answer, buys=False)
        data = read_json(answer.body)
        if not isinstance(data, dict):
            raise Unseen("an answer that is not a JSON object", code="UNREADABLE", http_status=answer.status)
        return data


def create(setup: Setup) -> Connected:
    """
    Entry point of the provider ``runflow``.

    Raises:
        UsageError: if there is no key, or it cannot be read.
    """
    found = find_key(setup.environment, setup.places, _use(setup.settings))
    if found is None:
        raise UsageError(
            f"the provider runflow needs a key, and {KEY_VARIABLE} is not set",
            hint=f"export {KEY_VARIABLE}=..., or rehearse for free with --rehearse",
        )
    provider = Runflow(setup.settings, poll_seconds=setup.limits.poll_seconds)
    endpoint = Endpoint(
        base_url=provider.base_url,
        key=found.key,
        organization=setup.settings.organization,
        timeout_seconds=setup.limits.request_timeout_seconds,
        storage=setup.settings.storage,
    )
    return Connected(provider=provider, endpoint=endpoint, world="real", key_origin=found.origin,
                     look=partial(look, provider.model))  # fmt: skip


def destination(settings: ProviderSettings, environment: Mapping[str, str], places: KeyPlaces) -> Destination:
    """
    Where requests and the key would go.

    Raises:
        UsageError: if the key is not for that, or its place cannot be read.
    """
    use = _use(settings)
    check_destination(environment, places, use)
    return Destination(origin=origin_of(use.address), key_place=place_of_key(environment, places, use))


def _use(settings: ProviderSettings) -> KeyUse:
    return KeyUse(provider="runflow", variable=KEY_VARIABLE, home=BASE_URL, address=settings.base_url or BASE_URL)


def _post(url: str, body: dict[str, Any]) -> Send:
    return Send(method="POST", url=url, headers={"content-type": "application/json"}, body=json_body(body))


def _mentions(send: Send, text: bytes) -> bool:
    return send.body is not None and send.body.mentions(text)


def _send(send: Send) -> Flow[Answer]:
    answer = yield send
    assert answer is not None, "the driver answers every Send"
    return answer


def _page(answer: Answer) -> tuple[list[RunRecord], str | None]:
    """Runs and the next cursor; cursors come under two names, bare or as a URL (provider-api, section 7)."""
    if not 200 <= answer.status < 300:
        raise refusal(answer, buys=False)
    data = read_json(answer.body)
    if not isinstance(data, dict) or not isinstance(data.get("items"), list):
        raise Unseen("the provider's list of runs cannot be read", code="UNREADABLE", http_status=answer.status)
    runs = [run for run in map(read_run, data["items"]) if run is not None]
    if len(runs) < len(data["items"]):
        raise Unseen("the provider's list of runs has entries that cannot be read", code="UNREADABLE")
    cursor = data.get("next_pq") or data.get("next")
    if not cursor:
        return runs, None
    if not isinstance(cursor, str):
        # Taken for the end of the list it would make a proof of absence out of one page.
        raise Unseen("the cursor of the provider's list of runs cannot be read", code="UNREADABLE")
    query = cursor.partition("?")[2].partition("#")[0]
    return runs, dict(parse_qsl(query)).get("pq", cursor)


def _listing(run: RunRecord) -> Listing:
    if run.failed:
        return Listing(ended=True, answer=json.dumps(run.data).encode())
    has_pictures = run.succeeded and run.data.get("output") is not None
    return Listing(ended=run.succeeded, answer=json.dumps(run.data).encode() if has_pictures else None)


def _sighting(runs: list[RunRecord], client_ref: str, ignore: frozenset[str]) -> Sighting:
    """Adopt a run that succeeded, else the oldest that goes on, else one that failed; the rest is surplus."""
    ours = [run for run in runs if run.client_ref == client_ref and run.id not in ignore]
    if not ours:
        return Sighting(run_id=None)
    ranked = sorted(ours, key=lambda run: (not run.succeeded, run.failed))
    # A failed run is not billed (provider-api, section 14), unless its record says that it was.
    surplus = [run for run in ranked[1:] if not run.failed or run.cost]
    return Sighting(
        run_id=ranked[0].id,
        has_failed=ranked[0].failed,
        surplus_runs=len(surplus),
        surplus=MicroUSD(sum(run.cost or 0 for run in surplus)),
        surplus_unpriced=sum(run.cost is None or not (run.succeeded or run.failed or run.cost) for run in surplus),
    )
