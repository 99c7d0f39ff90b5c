"""Assets and storage: the three-step upload, signed downloads. Provider-api, sections 6 and 11."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.records import ORG, stamp
from batchedit.emulator.service import Service
from batchedit.emulator.storage import LIMIT_BYTES, MEDIA_TYPES
from batchedit.emulator.wire import Problem, invalid, json_object, origin_of


async def start_upload(request: Request) -> Response:
    """Step 1: `POST /v1/asset-uploads`."""
    service: Service = request.app.state.service
    data = await json_object(request)
    name, media, size = data.get("filename"), data.get("mime_type"), data.get("size_bytes")
    if not isinstance(name, str) or not 1 <= len(name) <= 500:
        raise invalid("filename must have 1 to 500 characters", "filename")
    if media not in MEDIA_TYPES.values():
        raise invalid(f"mime_type is not supported: {media}", "mime_type")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LIMIT_BYTES:
        raise invalid(f"size_bytes must be 1 to {LIMIT_BYTES}", "size_bytes")
    now = service.clock()
    asset_id = service.chance.uuid7("asset", service.store.next_asset(), now)
    record = {"id": asset_id, "name": name, "mime_type": media, "size_bytes": size, "created_at": now}
    service.store.put_asset(asset_id, record)
    url = service.storage.sign(f"/storage/uploads/{asset_id}", origin_of(request))
    return JSONResponse({"asset_id": asset_id, "upload_url": url}, status_code=201)


async def put_upload(request: Request) -> Response:
    """Step 2: `PUT` of the bytes to the signed URL, without the key."""
    service: Service = request.app.state.service
    asset = _signed_asset(service, request)
    if asset is None:
        return _denied("AccessDenied")
    if request.headers.get("content-type") != asset["mime_type"]:
        return _denied("SignatureDoesNotMatch")
    content = await request.body()
    if not 1 <= len(content) <= LIMIT_BYTES:
        return _denied("EntityTooLarge" if content else "MissingContentLength", status=400)
    asset["sha256"] = hashlib.sha256(content).hexdigest()
    service.store.put_asset(asset["id"], asset, content)
    return Response(status_code=200)


async def confirm_upload(request: Request) -> Response:
    """Step 3: `POST /v1/asset-uploads/{id}/confirmations`: takes the true size from the stored bytes."""
    service: Service = request.app.state.service
    asset = service.store.asset(request.path_params["asset_id"])
    content = None if asset is None else service.store.asset_bytes(asset["id"])
    if asset is None or content is None:
        raise invalid("nothing was uploaded")
    asset |= {"size_bytes": len(content), "confirmed": True}
    service.store.put_asset(asset["id"], asset)
    return JSONResponse(_asset_record(service, asset, origin_of(request)), status_code=201)


async def get_asset(request: Request) -> Response:
    """`GET /v1/assets/{id}` mints a fresh URL."""
    service: Service = request.app.state.service
    asset = service.store.asset(request.path_params["asset_id"])
    if asset is None or not asset.get("confirmed"):
        raise Problem(404, "ASSET_NOT_FOUND", "no such asset")
    return JSONResponse(_asset_record(service, asset, origin_of(request)))


async def asset_types(request: Request) -> Response:
    """`GET /v1/assets/types`."""
    return JSONResponse([{"mime_type": media} for media in MEDIA_TYPES.values()])


async def get_asset_bytes(request: Request) -> Response:
    """A signed download of an input."""
    service: Service = request.app.state.service
    asset = _signed_asset(service, request)
    content = None if asset is None else service.store.asset_bytes(asset["id"])
    if asset is None or content is None:
        return _denied("AccessDenied")
    return Response(content, media_type=asset["mime_type"])


async def get_output(request: Request) -> Response:
    """A signed download of a sold picture, and what can go wrong with it."""
    service: Service = request.app.state.service
    _watch_key(service, request)
    run = service.store.run(request.path_params["run_id"], service.clock())
    number = request.path_params["name"].partition(".")[0]
    if run is None or not service.storage.signature_holds(request.url.path, request.url.query):
        return _denied("AccessDenied")
    if "output_gone" in run.quirks:
        return _denied("Gone", status=410)
    occasion = service.occasion("GET", request.url.path, run)

    def strikes(fault: str) -> bool:
        return service.chance.strikes(fault, f"{run.id}/{number}", occasion) is not None

    if strikes("output_forbidden"):
        return _denied("AccessDenied")
    media, content = await service.storage.picture(run, int(number))
    if strikes("output_truncated"):
        content = content[: len(content) // 2]
    if strikes("output_corrupt"):
        middle = len(content) // 2
        altered = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
        content = content[:middle] + altered + content[middle + 64 :]
    if strikes("output_trailing"):
        content += b"<!DOCTYPE html><script>alert(1)</script>"
    return Response(content, media_type="text/html" if strikes("wrong_media_type") else media)


def _signed_asset(service: Service, request: Request) -> dict[str, Any] | None:
    """The asset that a storage URL is about, None if its signature does not hold."""
    _watch_key(service, request)
    if not service.storage.signature_holds(request.url.path, request.url.query):
        return None
    return service.store.asset(request.path_params["asset_id"])


def _denied(code: str, *, status: int = 403) -> Response:
    """A refusal in the way of an object store."""
    return Response(f"<Error><Code>{code}</Code></Error>", status_code=status, media_type="application/xml")


def _asset_record(service: Service, record: dict[str, Any], origin: str) -> dict[str, Any]:
    created = stamp(record["created_at"] + service.faults.clock_skew)
    return {
        "id": record["id"],
        "org_id": ORG,
        "folder_id": None,
        "name": record["name"],
        "r2_key": f"assets/{record['id']}",
        "url": service.storage.sign(f"/storage/assets/{record['id']}", origin),
        "thumbnail_url": None,
        "mime_type": record["mime_type"],
        "size_bytes": record["size_bytes"],
        "asset_type": "image",
        "source_type": "upload",
        "source_id": None,
        "created_by": None,
        "created_at": created,
        "updated_at": created,
        "deleted_at": None,
        "deleted_by": None,
    }


def _watch_key(service: Service, request: Request) -> None:
    if "authorization" in request.headers:
        service.store.bump("key_leaks")


UPLOAD_ROUTES = [
    Route("/v1/asset-uploads", start_upload, methods=["POST"]),
    Route("/v1/asset-uploads/{asset_id}/confirmations", confirm_upload, methods=["POST"]),
    Route("/v1/assets/types", asset_types),
    Route("/v1/assets/{asset_id}", get_asset),
    Route("/storage/uploads/{asset_id}", put_upload, methods=["PUT"]),
    Route("/storage/assets/{asset_id}", get_asset_bytes),
    Route("/storage/outputs/{run_id}/{name}", get_output),
]
