"""One call as the faults see it: who it is about, and what it asks for."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from batchedit.emulator.service import Service
from batchedit.emulator.wire import decode_json, origin_of

CREATE_PATH = "/v1/models/openai/gpt-image-2/edit/runs"
SYNC_PATH = "/v1/run/openai/gpt-image-2/edit"
BATCH_PATH = "/v1/models/openai/gpt-image-2/edit/batches"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One HTTP call.

    Attributes:
        route: The path with ids left out, for counting.
        creates: True if it would make runs.
        identity: What draws are keyed by: the reference, else the content for creations; the run otherwise.
        occasion: What scripted faults are matched against.
    """

    method: str
    path: str
    route: str
    creates: bool
    identity: str
    occasion: dict[str, str]


def read_call(service: Service, request: Request, body: bytes) -> Call:
    """Find out what a call is about, without judging it."""
    method, path = request.method, request.url.path
    creates = method == "POST" and path in (CREATE_PATH, SYNC_PATH, BATCH_PATH)
    found = _UUID.search(path)
    if creates:
        data = decode_json(body)
        identity, reference, prompt = _creation(service, data, origin_of(request))
        occasion = {"method": method, "path": path, "client_ref": reference, "prompt": prompt}
    else:
        run = service.store.run(found[0], service.clock()) if found else None
        query = hashlib.sha256(request.url.query.encode()).hexdigest()[:16] if path.startswith("/v1/") else ""
        identity = f"{method} {found[0]}" if found else f"{method} {path} {query}"
        occasion = {"method": method, "path": path} if run is None else service.occasion(method, path, run)
    route = _UUID.sub("{id}", path)
    return Call(method=method, path=path, route=route, creates=creates, identity=identity, occasion=occasion)


def _creation(service: Service, data: Any, origin: str) -> tuple[str, str, str]:
    """(identity, reference, prompt) of a creation's body, whatever is wrong with it."""
    if not isinstance(data, dict):
        return "unreadable", "", ""
    fields = data.get("input", data)
    if not isinstance(fields, dict):
        fields = {}
    reference, images = data.get("client_ref"), fields.get("image_urls")
    if isinstance(reference, str) and reference:
        return reference, reference, str(fields.get("prompt", ""))
    # Assets are named anew with each upload, so the picture's digest stands for them.
    names = images if isinstance(images, list) else []
    stable = {**fields, "image_urls": [service.storage.identity(name, origin) for name in names]}
    if "mask_url" in fields:
        stable["mask_url"] = service.storage.identity(fields["mask_url"], origin)
    digest = hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()
    return digest, "", str(fields.get("prompt", ""))
