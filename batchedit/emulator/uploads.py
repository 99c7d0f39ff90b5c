"""Assets and storage: the three-step upload, signed downloads. Provider-api, sections 6 and 11."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.emulator.service import ORG, Service
from batchedit.emulator.wire import Problem, origin_of

LIMIT_BYTES = 52_428_800
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")


async def start_upload(request: Request) -> Response:
    """Step 1: `POST /v1/asset-uploads`."""
    service: Service = request.app.state.service
    data = await request.json()
    name, media, size = data.get("filename"), data.get("mime_type"), data.get("size_bytes")
    if not isinstance(name, str) or not 1 <= len(name) <= 500:
        raise Problem(422, "VALIDATION", "filename must have 1 to 500 characters")
    if media not in MEDIA_TYPES:
        raise Problem(422, "VALIDATION", f"mime_type is not supported: {media}")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LIMIT_BYTES:
        raise Problem(422, "VALIDATION", f"size_bytes must be 1 to {LIMIT_BYTES}")
    asset_id = service.chance.uuid7("asset", service.store.next_asset(), service.clock())
    service.store.put_asset(asset_id, {"id": asset_id, "name": name, "mime_type": media, "size_bytes": size})
    url = service.sign(f"/storage/uploads/{asset_id}", origin_of(request))
    return JSONResponse({"asset_id": asset_id, "upload_url": url}, status_code=201)


async def put_upload(request: Request) -> Response:
    """Step 2: `PUT` of the bytes to the signed URL, without the key."""
    service: Service = request.app.state.service
    _watch_key(service, request)
    asset_id = request.path_params["asset_id"]
    asset = service.store.asset(asset_id)
    if asset is None or not service.signature_holds(request.url.path, request.url.query):
        return Response("<Error><Code>AccessDenied</Code></Error>", status_code=403, media_type="application/xml")
    if request.headers.get("content-type") != asset[0]["mime_type"]:
        return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", status_code=403)
    service.store.put_asset(asset_id, asset[0], await request.body())
    return Response(status_code=200)


async def confirm_upload(request: Request) -> Response:
    """Step 3: `POST /v1/asset-uploads/{id}/confirmations`."""
    service: Service = request.app.state.service
    asset_id = request.path_params["asset_id"]
    asset = service.store.asset(asset_id)
    if asset is None or asset[1] is None:
        raise Problem(422, "VALIDATION", "nothing was uploaded")
    record = {**asset[0], "size_bytes": len(asset[1]), "confirmed": True}
    service.store.put_asset(asset_id, record)
    return JSONResponse(_asset_record(service, record, origin_of(request)), status_code=201)


async def get_asset(request: Request) -> Response:
    """`GET /v1/assets/{id}` mints a fresh URL."""
    service: Service = request.app.state.service
    asset = service.store.asset(request.path_params["asset_id"])
    if asset is None:
        raise Problem(404, "ASSET_NOT_FOUND", "no such asset")
    return JSONResponse(_asset_record(service, asset[0], origin_of(request)))


async def asset_types(request: Request) -> Response:
    """`GET /v1/assets/types`."""
    return JSONResponse([{"mime_type": media} for media in MEDIA_TYPES])


async def get_asset_bytes(request: Request) -> Response:
    """A signed download of an input."""
    service: Service = request.app.state.service
    _watch_key(service, request)
    asset = service.store.asset(request.path_params["asset_id"])
    if asset is None or asset[1] is None or not service.signature_holds(request.url.path, request.url.query):
        return Response("<Error><Code>AccessDenied</Code></Error>", status_code=403, media_type="application/xml")
    return Response(asset[1], media_type=asset[0]["mime_type"])


async def get_output(request: Request) -> Response:
    """A signed download of a sold picture, and what can go wrong with it."""
    service: Service = request.app.state.service
    _watch_key(service, request)
    run = service.store.run(request.path_params["run_id"])
    number = int(request.path_params["name"].split(".")[0])
    if run is None or not service.signature_holds(request.url.path, request.url.query):
        return Response("<Error><Code>AccessDenied</Code></Error>", status_code=403, media_type="application/xml")
    if "output_gone" in run.quirks:
        return Response("gone", status_code=410)
    occasion = {"method": "GET", "path": request.url.path, "client_ref": run.client_ref or ""}
    identity = f"{run.id}/{number}"

    def strikes(fault: str) -> bool:
        return service.chance.strikes(fault, identity, occasion) is not None

    if strikes("output_forbidden"):
        return Response("<Error><Code>AccessDenied</Code></Error>", status_code=403, media_type="application/xml")
    media, content = await service.picture(run, number)
    if strikes("output_truncated"):
        content = content[: len(content) // 2]
    if strikes("output_corrupt"):
        middle = len(content) // 2
        content = content[:middle] + bytes(64) + content[middle + 64 :]
    return Response(content, media_type=media)


def _asset_record(service: Service, record: dict[str, Any], origin: str) -> dict[str, Any]:
    stamp = service.stamp(service.clock())
    return {
        "id": record["id"],
        "org_id": ORG,
        "folder_id": None,
        "name": record.get("name", ""),
        "r2_key": f"assets/{record['id']}",
        "url": service.sign(f"/storage/assets/{record['id']}", origin),
        "thumbnail_url": None,
        "mime_type": record["mime_type"],
        "size_bytes": record["size_bytes"],
        "asset_type": "image",
        "source_type": "upload",
        "source_id": None,
        "created_by": None,
        "created_at": stamp,
        "updated_at": stamp,
        "deleted_at": None,
        "deleted_by": None,
    }


def _watch_key(service: Service, request: Request) -> None:
    if "authorization" in request.headers:
        service.key_leaks += 1


UPLOAD_ROUTES = [
    Route("/v1/asset-uploads", start_upload, methods=["POST"]),
    Route("/v1/asset-uploads/{asset_id}/confirmations", confirm_upload, methods=["POST"]),
    Route("/v1/assets/types", asset_types),
    Route("/v1/assets/{asset_id}", get_asset),
    Route("/storage/uploads/{asset_id}", put_upload, methods=["PUT"]),
    Route("/storage/assets/{asset_id}", get_asset_bytes),
    Route("/storage/outputs/{run_id}/{name}", get_output),
]
