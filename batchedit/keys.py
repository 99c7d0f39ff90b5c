"""
The identity of what is bought: canonical content, its digest, and the same content as stored in the ledger.

The key's inputs are a closed list: model, prompt, image contents in order, mask content, the parameters that change
pixels, revision. Not in it: paths, names, dates, labels, output paths, limits, the version of this program.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from batchedit.model import ImageRef, LocalImage, Params, Request, SourceImage, TaskImage, UrlImage
from batchedit.redaction import unsigned_url

_KEY_VERSION = 1


def normal_prompt(prompt: str) -> str:
    """The prompt with one kind of line end and no white space around it."""
    return prompt.replace("\r\n", "\n").replace("\r", "\n").strip()


def url_identity(url: str) -> str:
    """What identifies a picture behind a URL: the URL without the parameters that only grant access."""
    return "url:" + unsigned_url(url)


def make_request(
    *,
    model: str,
    prompt: str,
    images: tuple[SourceImage, ...],
    mask: SourceImage | None,
    params: Params,
    revision: int = 1,
    inline: bool = False,
) -> Request:
    """The request with its key."""
    text = normal_prompt(prompt)
    content = {
        "v": _KEY_VERSION,
        "model": model,
        "prompt": text,
        "images": [image.identity for image in images],
        "mask": mask.identity if mask else None,
        "quality": params.quality,
        "size": params.size,
        "format": params.format,
        "samples": params.samples,
        "revision": revision,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Request(
        key=hashlib.sha256(canonical.encode()).hexdigest(),
        model=model,
        prompt=text,
        images=images,
        mask=mask,
        params=params,
        revision=revision,
        inline=inline,
    )


def started_from(request: Request, sha256: str, path: Path) -> Request:
    """
    The same request with a picture in place of the one to edit, and the key that follows from it.

    Args:
        sha256: Of the picture's bytes, hex.
        path: Where they lie.
    """
    return make_request(
        model=request.model,
        prompt=request.prompt,
        images=(SourceImage(identity=f"sha256:{sha256}", ref=LocalImage(path)), *request.images[1:]),
        mask=request.mask,
        params=request.params,
        revision=request.revision,
        inline=request.inline,
    )


def to_spec(request: Request) -> str:
    """The request as JSON for the ledger: everything but the signatures in URLs."""
    return json.dumps(
        {
            "model": request.model,
            "prompt": request.prompt,
            "images": [_image_out(image) for image in request.images],
            "mask": _image_out(request.mask) if request.mask else None,
            "quality": request.params.quality,
            "size": request.params.size,
            "format": request.params.format,
            "samples": request.params.samples,
            "revision": request.revision,
            "inline": request.inline,
        },
        sort_keys=True,
        ensure_ascii=False,
    )


def from_spec(key: str, spec: str) -> Request:
    """The inverse of :func:`to_spec`."""
    data: dict[str, Any] = json.loads(spec)
    return Request(
        key=key,
        model=data["model"],
        prompt=data["prompt"],
        images=tuple(_image_in(image) for image in data["images"]),
        mask=_image_in(data["mask"]) if data["mask"] else None,
        params=Params(quality=data["quality"], size=data["size"], format=data["format"], samples=data["samples"]),
        revision=data["revision"],
        inline=data["inline"],
    )


def client_ref(ledger_id: str, key: str) -> str:
    """
    The caller's reference that the provider keeps with a run, the same for every attempt.

    Only letters, digits and hyphens, far below the 255 characters that are allowed (provider-api, section 9).
    """
    return f"be-{ledger_id}-{key[:40]}"


def idempotency_key(reference: str, generation: int) -> str:
    """
    The `Idempotency-Key` of an intent to buy.

    The same for every transport retry; another one only when a new run is wanted on purpose.
    """
    return hashlib.sha256(f"{reference}/{generation}".encode()).hexdigest()[:48]


def _image_out(image: SourceImage) -> dict[str, str]:
    where = unsigned_url(image.ref.url) if isinstance(image.ref, UrlImage) else str(image.ref)
    return {"id": image.identity, "at": where}


def _image_in(data: dict[str, str]) -> SourceImage:
    kind, where = data["id"].partition(":")[0], data["at"]
    ref: ImageRef
    match kind:
        case "url":
            ref = UrlImage(where)
        case "output":
            ref = TaskImage(where)
        case _:
            ref = LocalImage(Path(where))
    return SourceImage(identity=data["id"], ref=ref)
