"""Telling whether bytes are a complete picture, with limits that are checked before anything is decoded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchedit import jpeg
from batchedit.png import is_decodable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

INPUT_LIMIT_BYTES = 256 * 1024 * 1024
"""Largest picture that is handed over; providers take far less."""
MAX_PIXELS = 40_000_000
"""Largest picture that is decoded: five times the model's own largest output."""
MAX_SCANS = 200
"""
So many times a JPEG may go through its pixels, which costs the time of decoding them again and next to no bytes.
Encoders write ten, or a few dozen.
"""
DAMAGED = (SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error, zlib.error)
"""What Pillow raises at a damaged picture, besides OSError."""
ODD_EXIF = (*DAMAGED, AttributeError, OSError)
"""What it raises at EXIF that is no EXIF."""

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class BadPicture(Exception):
    """The bytes are no complete PNG, JPEG or WebP picture; the message says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """
    Format (``png``, ``jpeg``, ``webp``), size in pixels, whether its colours are those of print, and whether pixels can
    be transparent.
    """

    format: str
    width: int
    height: int
    is_cmyk: bool = False
    has_alpha: bool = False


def sniff(head: bytes) -> str | None:
    """The format that the first 12 bytes announce, None if it is none of ours."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return None


def decode(source: Path | bytes) -> PictureFacts:
    """
    Make sure that a picture can be decoded completely.

    Args:
        source: Its file or its bytes.

    Raises:
        BadPicture: if it is cut short, altered, of another kind, or too large to decode.
        OSError: if the file cannot be read.
    """
    with _told():
        # verify() checks PNG checksums and ends the object; load() decodes. Each finds what the other misses.
        with _opened(source) as image:
            _refuse_bombs(image, source)
            facts = _facts(image)
            image.verify()
        if facts.format == "png":
            data = _bytes_of(source)
            if is_decodable(data):
                return facts
            if _PNG_END not in data:  # a decoder does not miss it
                raise BadPicture("damaged: it does not end as a PNG does")
        with _opened(source) as image:
            image.load()
            return _facts(image)


@contextmanager
def opened(source: Path | bytes) -> Iterator[ImageFile]:
    """
    A picture to work with, not decoded yet.

    Raises:
        BadPicture: if it is none, or too large, or turns out to be damaged within the block.
    """
    with _told(), _opened(source) as image:
        _refuse_bombs(image, source)
        yield image


def _facts(image: ImageFile) -> PictureFacts:
    return PictureFacts(
        format=(image.format or "").lower(),
        width=image.width,
        height=image.height,
        is_cmyk=image.mode == "CMYK",
        has_alpha="A" in image.getbands() or "transparency" in image.info,
    )


@contextmanager
def _opened(source: Path | bytes) -> Iterator[ImageFile]:
    from PIL import Image

    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=("PNG", "JPEG", "WEBP")) as image:
        yield image


@contextmanager
def _told() -> Iterator[None]:
    """What Pillow says about a damaged picture, in our own words."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise BadPicture("not a PNG, JPEG or WebP picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadPicture(f"more than {MAX_PIXELS} pixels") from None
    except DAMAGED as error:
        raise BadPicture(f"damaged: {error}") from None
    except MemoryError:
        raise BadPicture("needs more memory than decoding a picture may take") from None
    except OSError as error:
        if error.errno is not None:
            raise
        # Pillow reports truncated data as an OSError without a number.
        raise BadPicture(f"damaged: {error}") from None


def examine(data: bytes) -> PictureFacts:
    """
    Look at a picture's structure: a PNG by its checksums and its last chunk, without decoding it. JPEG and WebP have no
    checksums, so that they are decoded.

    Raises:
        BadPicture: as `decode`. A PNG that passes is what its writer wrote, be it nonsense.
    """
    if sniff(data[:12]) != "png":
        return decode(data)
    if not data.endswith(_PNG_END):
        raise BadPicture("damaged: it does not end as a PNG does")
    with _told(), _opened(data) as image:
        _refuse_large(image.width, image.height)
        facts = _facts(image)
        image.verify()
        return facts


def _bytes_of(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _refuse_bombs(image: ImageFile, source: Path | bytes) -> None:
    """What would take too much memory or time is not decoded."""
    _refuse_large(image.width, image.height)
    if image.format == "JPEG":
        _refuse_scans(_bytes_of(source))


def _refuse_scans(data: bytes) -> None:
    # The bytes of their markers may stand elsewhere, too; only where there are many it is worth a closer look.
    if data.count(bytes((0xFF, jpeg.SOS))) > MAX_SCANS and (count := jpeg.scans(data)) > MAX_SCANS:
        raise BadPicture(f"{count} scans; the limit is {MAX_SCANS}")


def _refuse_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadPicture(f"{width}x{height} pixels; the limit is {MAX_PIXELS} in all")
