"""From pixels to the bytes of a file, with what it says about itself. The same bytes each time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from batchedit.postprocess.containers import provenance_of, with_provenance
from batchedit.postprocess.pixels import Told, Unreachable
from batchedit.postprocess.xmp import BadXmp, with_source_type
from batchedit.recipe import DEFAULT_QUALITY, NO_QUALITY, POST, Finding, Post

if TYPE_CHECKING:
    from PIL.Image import Image

_JPEG_SEGMENT = 65_000
"""Bytes; XMP or EXIF that is longer does not fit into one segment of a JPEG."""
_LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383}
"""In pixels: what libjpeg writes, and what WebP can say."""
_FINE = 90
"""From this quality on colours are kept for each pixel."""


def encode(image: Image, told: Told, post: Post) -> tuple[bytes, list[Finding]]:
    """
    The file.

    Args:
        image: Its pixels.
        told: The raw that they come from.

    Raises:
        Unreachable: if it cannot be made small enough, or is longer than the format allows.
    """
    target = post.format or told.format
    longest = _LONGEST_SIDE.get(target)
    if longest is not None and max(image.size) > longest:
        raise Unreachable(
            f"{image.width}x{image.height} pixels, and no side of a {target} has more than {longest:,}:"
            " make it smaller with fit, or write format: png"
        )
    if target == "jpeg" and image.mode == "RGBA":
        import PIL.Image

        # A JPEG has no transparency: what nobody has said lies on white.
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "#ffffff"), image).convert("RGB")
    carried = _carried(told, post, target)
    kept = provenance_of(told.data, told.format) if post.keep_metadata and target == told.format else []

    def make(quality: int) -> bytes:
        return with_provenance(_saved(image, target, quality, carried), target, kept)

    quality = post.quality or DEFAULT_QUALITY
    made = make(quality)
    if post.max_bytes is None or len(made) <= post.max_bytes:
        return made, told.findings
    if target in NO_QUALITY:
        raise Unreachable(
            f"the file has {len(made):,} bytes, {post.max_bytes:,} are allowed, and {target} has no quality to lower:"
            " write format: jpeg or webp, or make it smaller with fit"
        )
    low, high, best = post.floor, quality - 1, None
    while low <= high:
        middle = (low + high) // 2
        smaller = make(middle)
        if len(smaller) <= post.max_bytes:
            best, low = smaller, middle + 1
        else:
            high = middle - 1
    if best is None:
        least = len(make(post.floor))
        raise Unreachable(
            f"at quality {post.floor}, the floor of max_bytes, the file still has {least:,} bytes and"
            f" {post.max_bytes:,} are allowed: make it smaller with fit, lower the floor, or allow more"
        )
    return best, told.findings


def _carried(told: Told, post: Post, target: str) -> dict[str, bytes]:
    """What is written beside the pixels: Pillow drops what it is not given."""
    carried = {"icc_profile": told.icc} if told.icc else {}
    xmp = told.xmp if post.keep_metadata else b""
    if post.keep_metadata and told.exif:
        carried["exif"] = told.exif
    if post.digital_source_type:
        try:
            xmp = with_source_type(xmp, post.digital_source_type)
        except BadXmp as problem:
            _left_out(told, f"XMP {problem}")
            xmp = with_source_type(b"", post.digital_source_type)
    if xmp:
        carried["xmp"] = xmp
    if target == "jpeg":
        for name in ("xmp", "exif"):
            if len(carried.get(name, b"")) > _JPEG_SEGMENT:
                del carried[name]
                _left_out(told, f"{name.upper()} is too long for a JPEG")
        if post.digital_source_type and "xmp" not in carried:
            carried["xmp"] = with_source_type(b"", post.digital_source_type)
    return carried


def _left_out(told: Told, what: str) -> None:
    told.findings.append(
        Finding(name=POST, verdict="warned", measured=f"the picture's {what}, and was left out", wanted="metadata kept")
    )


def _saved(image: Image, target: str, quality: int, carried: dict[str, bytes]) -> bytes:
    options: dict[str, Any] = dict(carried)
    # What the decoded picture remembers must not get in by itself.
    image.info.clear()
    match target:
        case "jpeg":
            options |= {"quality": quality, "optimize": True, "progressive": True}
            options["subsampling"] = "4:4:4" if quality >= _FINE else "4:2:0"
        case "webp":
            options |= {"quality": quality, "method": 4}
        case _:
            from PIL.PngImagePlugin import PngInfo

            xmp = options.pop("xmp", b"")
            if xmp:
                info = PngInfo()
                info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
                options["pnginfo"] = info
            options["compress_level"] = 6
    target_file = io.BytesIO()
    image.save(target_file, format=target.upper(), **options)
    return target_file.getvalue()
