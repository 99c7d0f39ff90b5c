"""
From a raw to the delivered file: free, local, the same bytes each time. Pure, but for the time it takes.

The order of the steps is fixed, whatever the order in the manifest:

    upright, 8 bits -> srgb -> background -> crop -> fit -> snap_white -> pad -> metadata -> format, quality, max_bytes

Cutting comes before scaling, scaling before the white is snapped (it blends edges), snapping before the canvas (so that
both whites are one).
"""

from __future__ import annotations

from batchedit.pictures import BadPicture, opened, sniff
from batchedit.postprocess.encoding import encode
from batchedit.postprocess.looking import look_at
from batchedit.postprocess.pixels import Unreachable, shaped, upright
from batchedit.recipe import Finding, Post

__all__ = ["BadPicture", "Unreachable", "look_at", "made_from"]


def made_from(data: bytes, post: Post | None) -> tuple[bytes, list[Finding]]:
    """
    The file that a raw becomes, and what there is to say about the making of it.

    Args:
        data: The raw's bytes.
        post: None to leave them as they are.

    Raises:
        Unreachable: if no quality that is allowed makes it small enough, or it would be larger than any picture.
        BadPicture: if it cannot be decoded.
    """
    raw_format = sniff(data[:12])
    if post is None or (raw_format is not None and post == Post(format=raw_format)):
        return data, []
    with opened(data) as image:
        image.load()
        told = upright(image, data, raw_format or "")
    return encode(shaped(told, post), told, post)
