"""The parts of a JPEG, in their order, found without decoding anything (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

SOI, EOI, SOS, PIXELS = 0xD8, 0xD9, 0xDA, 0x00
"""Begin and end of a picture, the head of a scan, and what follows that, which has no marker of its own."""
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of the segment that says how large the picture is."""

_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FEW_BYTES, _BLOCK_BYTES = 8, 1024 * 1024
_NO_FILLING = re.compile(rb"[^\xff]")
_MOST_SEGMENTS = 10_000


class DamagedJpeg(ValueError):
    """Its parts do not fit together; the message says how."""


class Bytes(Protocol):
    """What can be looked at like bytes."""

    def __len__(self) -> int: ...
    def __getitem__(self, wanted: slice, /) -> bytes: ...


class Segment(NamedTuple):
    """
    One part.

    Attributes:
        marker: Which kind, the second byte of its marker.
        start: Where its marker begins; bytes that only fill up are not part of it.
        content: Where its content begins, behind its length.
        end: Where it ends.
    """

    marker: int
    start: int
    content: int
    end: int


def segments(data: Bytes) -> Iterator[Segment]:
    """
    Each part behind the first marker, to the last, which ends the picture. Pixels are looked through only when the part
    that follows the head of their scan is asked for.

    Raises:
        DamagedJpeg: if they do not fit together, or there are thousands more than any picture needs.
    """
    position, size = 2, len(data)
    for _ in range(_MOST_SEGMENTS):
        if data[position : position + 1] != b"\xff":
            raise DamagedJpeg("it is cut short" if position >= size else "something stands between its parts")
        position = _behind_filling(data, position)
        if position >= size:
            raise DamagedJpeg("it is cut short")
        marker = data[position : position + 1][0]
        start, position = position - 1, position + 1
        if marker == EOI:
            yield Segment(marker, start, position, position)
            return
        if marker == SOI or marker in _ALONE:
            raise DamagedJpeg("its parts are out of order")
        length = int.from_bytes(data[position : position + 2], "big")
        content, position = position + 2, position + length
        if length < 2 or position > size:
            raise DamagedJpeg("it is cut short")
        yield Segment(marker, start, content, position)
        if marker == SOS:
            start, position = position, _next_marker(data, position)
            yield Segment(PIXELS, start, start, position)
    raise DamagedJpeg(f"it has more than {_MOST_SEGMENTS} parts")


def scans(data: bytes) -> int:
    """
    How many times its pixels are gone through.

    Raises:
        DamagedJpeg: as `segments`.
    """
    return sum(segment.marker == SOS for segment in segments(data))


def _behind_filling(data: Bytes, position: int) -> int:
    """Where the bytes end that fill up before a marker, of which there may be any number; the file's end if they do."""
    size = _FEW_BYTES  # nearly always there are none
    while block := data[position : position + size]:
        if (match := _NO_FILLING.search(block)) is not None:
            return position + match.start()
        position, size = position + len(block), _BLOCK_BYTES
    return position


def _next_marker(data: Bytes, position: int) -> int:
    """Where the compressed pixels end that begin here."""
    if isinstance(data, bytes):  # which need no copies
        if (match := _MARKER.search(data, position)) is None:
            raise DamagedJpeg("it is cut short")
        return match.start()
    while True:
        block = data[position : position + _BLOCK_BYTES]
        if (match := _MARKER.search(block)) is not None:
            return position + match.start()
        if position + len(block) >= len(data):
            raise DamagedJpeg("it is cut short")
        position += len(block) - 1  # a marker may begin with the last byte
