"""
Proof that a PNG can be decoded, without making its pixels.

A PNG's picture data is one zlib stream of lines, each with a filter in front. Once the stream has been inflated to its
end with the right checksum, has exactly the length that the header announces, and each line's filter is a known one,
nothing can go wrong any more: undoing a filter is arithmetic that always works. That last step takes much of the time
of decoding, and the memory of the whole picture; it is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import cast

from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")
_CHECKSUM_BYTES = 4
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Samples a pixel by colour type; palettes (3) are left to a decoder."""
_DEPTHS = (8, 16)
_LAST_FILTER = 4
_LARGEST_WINDOW = 7
"""In the first byte of a zlib stream: 32 KiB."""
_HARMLESS_AT_THE_END = frozenset({b"tEXt", b"tIME", b"eXIf", b"caBX"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_ERROR = cast("type[Exception]", isal_zlib.error)  # its stub takes it for an instance
_IN_BYTES, _OUT_BYTES = 64 * 1024, 256 * 1024


class _Unusual(Exception):
    """Damaged, or of a kind that is not looked into here."""


def is_decodable(data: bytes) -> bool:
    """
    True if every bit of the picture is proved to be there.

    The checksums of the chunks are not looked at here: Pillow's ``verify`` does that.

    Returns:
        False if it is damaged, and also for what is rare: palettes, fewer than 8 bits, interlacing, animation. Then a
        decoder has to tell.
    """
    try:
        width, height, row = _header(data)
        return width > 0 and height > 0 and _lines_are_whole(_inflated(data), height, row)
    except (_Unusual, struct.error, _ERROR):
        return False


def _header(data: bytes) -> tuple[int, int, int]:
    """Width and height in pixels, and the bytes of a line with its filter."""
    start = len(_SIGNATURE)
    size, kind = _CHUNK.unpack_from(data, start)
    if not data.startswith(_SIGNATURE) or kind != b"IHDR" or size != _HEADER.size:
        raise _Unusual
    width, height, depth, colour, compression, filtering, interlace = _HEADER.unpack_from(data, start + _CHUNK.size)
    if depth not in _DEPTHS or colour not in _CHANNELS or compression or filtering or interlace:
        raise _Unusual
    return width, height, 1 + width * _CHANNELS[colour] * depth // 8


def _picture_data(data: bytes) -> Iterator[memoryview]:
    """The contents of the IDAT chunks; what follows them must be known to be harmless."""
    view, position = memoryview(data), len(_SIGNATURE)
    before, behind = True, 0
    while True:
        size, kind = _CHUNK.unpack_from(data, position)
        is_second_header = kind == b"IHDR" and position != len(_SIGNATURE)  # decoders go by the last one
        content = position + _CHUNK.size
        position = content + size + _CHECKSUM_BYTES
        if kind in _ANIMATION or is_second_header or position > len(data):
            raise _Unusual
        if kind == b"IDAT":
            if behind:
                raise _Unusual
            before = False
            yield view[content : content + size]
        elif kind == b"IEND":
            if before or size or position != len(data):
                raise _Unusual
            return
        elif not before:
            behind += _CHUNK.size + size
            if kind not in _HARMLESS_AT_THE_END or behind > _IN_BYTES:
                raise _Unusual


def _inflated(data: bytes) -> Iterator[bytes]:
    """The picture data, piece by piece."""
    inflater, is_first = isal_zlib.decompressobj(), True
    for chunk in _picture_data(data):
        if is_first and chunk:
            is_first = False
            if chunk[0] >> 4 > _LARGEST_WINDOW:  # other inflaters refuse that
                raise _Unusual
        for start in range(0, len(chunk), _IN_BYTES):
            rest: bytes | memoryview = chunk[start : start + _IN_BYTES]
            if inflater.eof:
                raise _Unusual  # something behind the end of the stream
            while True:
                piece = inflater.decompress(rest, _OUT_BYTES)
                yield piece
                rest = inflater.unconsumed_tail
                if not rest and len(piece) < _OUT_BYTES:
                    break
    if not inflater.eof or inflater.unused_data:
        raise _Unusual


def _lines_are_whole(pieces: Iterator[bytes], height: int, row: int) -> bool:
    """True if they make so many lines and no more, each with a known filter in front."""
    total, seen = height * row, 0
    for piece in pieces:
        filters = piece[-seen % row :: row]
        if filters and max(filters) > _LAST_FILTER:
            return False
        seen += len(piece)
        if seen > total:
            return False
    return seen == total
