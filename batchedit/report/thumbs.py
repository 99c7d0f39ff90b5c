"""Small pictures for contact sheets and reviews, made once and kept beside the ledger."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

from batchedit import disk
from batchedit.pictures import INPUT_LIMIT_BYTES, ODD_EXIF, BadPicture, opened

SIDE = 320
"""Pixels of the longer side."""
_QUALITY = 72
_DIGEST = re.compile(r"[0-9a-f]{64}")


def thumbnail(source: Path, digest: str, kept_in: Path) -> str | None:
    """
    A picture in small as a data URI.

    Args:
        digest: SHA-256 of the picture's bytes, under which the thumbnail is kept.
        kept_in: Where thumbnails are kept; that they cannot be is no reason not to have one.

    Returns:
        None if the picture is gone, is another one by now, or no picture any more.
    """
    data = _read(kept_at(kept_in, digest, SIDE)) or make_small(source, digest, kept_in, SIDE)
    return None if data is None else f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def kept_at(kept_in: Path, digest: str, side: int) -> Path:
    """Where the thumbnail of so many pixels of a picture is kept."""
    return kept_in / digest[:2] / f"{digest}-{side}.webp"


def make_small(source: Path, digest: str, kept_in: Path, side: int) -> bytes | None:
    """
    Make a thumbnail and keep it, for arguments as of `thumbnail`; `side` is pixels of the longer side, at most.

    Returns:
        Its bytes, WebP; None as `thumbnail`.
    """
    picture = _read(source)
    if picture is None or hashlib.sha256(picture).hexdigest() != digest:
        return None
    data = _made(picture, side)
    if data is None:
        return None
    kept = kept_at(kept_in, digest, side)
    if kept_in.is_symlink() or kept.parent.is_symlink():
        return data  # somebody has put it there
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = disk.temporary_in(kept.parent)  # somebody else may be making the same one
        disk.append(part, data)
        part.replace(kept)
    return data


def kept_raw(state: Path, digest: str) -> Path | None:
    """
    A picture among the raws; None if there is none of this content.

    Args:
        digest: As a ledger has it, which may have come from anywhere.
    """
    if _DIGEST.fullmatch(digest) is None:
        return None  # it would be taken for a pattern, and could lead through the whole disk
    return next((state / "raw" / digest[:2]).glob(f"{digest}.*"), None)


def _read(path: Path) -> bytes | None:
    """A file of somebody's, if it is one and no larger than a picture may be."""
    try:
        data = disk.read_regular(path, INPUT_LIMIT_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= INPUT_LIMIT_BYTES else None


def _made(picture: bytes, side: int) -> bytes | None:
    from PIL import ImageOps

    with _quietly():
        try:
            with opened(picture) as image:  # which refuses what would take too much memory or time
                image.draft("RGB", (2 * side, 2 * side))
                small = ImageOps.exif_transpose(image)
                small.thumbnail((side, side))
                file = io.BytesIO()
                small.convert("RGBA" if "A" in small.getbands() else "RGB").save(file, "WEBP", quality=_QUALITY)
                return file.getvalue()
        except (*ODD_EXIF, MemoryError, BadPicture):
            return None  # a damaged picture is the business of `verify`


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
