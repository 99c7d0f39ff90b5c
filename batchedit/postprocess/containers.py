"""
C2PA's parts of a file, carried over as they are where the format stays.

    PNG   chunks caBX        JPEG   segments APP11 that begin with JP        WebP   chunks C2PA

They say who made the original; after a change of pixels their signature covers that, and no longer the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

_PNG_HEAD = 8
_APP11 = 0xEB
_MOST_BYTES = 16 * 1024 * 1024
_EXTENDED = struct.Struct("<B3x")
_ALPHA = 0x10


def provenance_of(data: bytes, picture_format: str) -> list[bytes]:
    """The parts, whole, as they stand in the file; none if they are larger than any that are honest."""
    match picture_format:
        case "png":
            found = [data[start:end] for name, start, end in _png_chunks(data) if name == b"caBX"]
        case "jpeg":
            found = [
                data[start:end]
                for marker, start, end in _jpeg_segments(data)
                if marker == _APP11 and data[start + 4 : start + 6] == b"JP"
            ]
        case "webp":
            found = [data[start:end] for name, start, end in _webp_chunks(data) if name == b"C2PA"]
        case _:
            found = []
    return found if sum(map(len, found)) <= _MOST_BYTES else []


def with_provenance(data: bytes, picture_format: str, parts: Sequence[bytes]) -> bytes:
    """The file with these parts, which come from one of the same format."""
    if not parts:
        return data
    more = b"".join(parts)
    match picture_format:
        case "png":
            after = next(end for name, _, end in _png_chunks(data) if name == b"IHDR")
            return data[:after] + more + data[after:]
        case "jpeg":
            after = 2
            for marker, _, end in _jpeg_segments(data):
                if not 0xE0 <= marker <= 0xEF:
                    break
                after = end
            return data[:after] + more + data[after:]
        case _:
            return _webp_with(data, more)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, begin, end) of each chunk that is whole."""
    at = _PNG_HEAD
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        if zlib.crc32(data[at + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0]:
            yield data[at + 4 : at + 8], at, end
        at = end


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end) of each segment before the picture itself."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if marker == 0xDA or length < 2 or end > len(data):
            return
        yield marker, at, end
        at = end


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        end = at + 8 + length + length % 2
        if end > len(data):
            return
        yield data[at : at + 4], at, end
        at = end


def _webp_with(data: bytes, more: bytes) -> bytes:
    """Further chunks need the extended form of the file, which says how large the picture is."""
    chunks = [(name, data[start:end]) for name, start, end in _webp_chunks(data)]
    body = b"".join(chunk for _, chunk in chunks)
    if chunks[0][0] != b"VP8X":
        import io

        from PIL import Image

        with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
            (width, height), has_alpha = image.size, image.mode == "RGBA"
        sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        body = b"VP8X" + struct.pack("<I", 10) + _EXTENDED.pack(_ALPHA if has_alpha else 0) + sides + body
    body += more
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
