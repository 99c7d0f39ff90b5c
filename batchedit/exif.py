"""
What a picture's tags and texts say of it, as far as that matters for sending it: how it lies, and if there is a place.

Browsers and other viewers take the orientation from EXIF alone and only as a short number; so does this. XMP repeats
it, but editors that turn the pixels often leave the old value there.
"""

from __future__ import annotations

import re
import struct
import zlib

HEAD = b"Exif\0\0"
"""Stands before the tags in a JPEG, and in some other files."""

_ORIENTATION, _GPS = 0x0112, 0x8825
_SHORT = 3
_MOST_ENTRIES = 1_000
_PLACE = re.compile(rb"GPSL(?:atitude|ongitude)")
_RAW_EXIF = re.compile(rb"exif\0|Raw profile type (?:exif|APP1)", re.IGNORECASE)
_MOST_TEXT = 4 * 1024 * 1024
_PIECE = 64 * 1024


class Heard:
    """
    What the tags and texts of one picture have said until now. The first orientation counts.

    Attributes:
        orientation: How the pixels lie, 1 to 8 as in EXIF; 1 is upright.
        has_location: It says where it was taken.
        unread: So many bytes are still looked at. A picture may hold any number of texts that unfold to anything.
    """

    def __init__(self) -> None:
        self.orientation = 1
        self.has_location = False
        self.unread = _MOST_TEXT
        self._unread_tags = _MOST_TEXT

    def tags(self, tags: bytes) -> None:
        """Take EXIF, with its head or without."""
        tags = tags[: self._unread_tags]
        self._unread_tags -= len(tags)
        orientation, has_location = _tags(tags.removeprefix(HEAD))
        self.orientation = orientation if self.orientation == 1 else self.orientation
        self.has_location = self.has_location or has_location

    def text(self, text: bytes) -> None:
        """Take XMP, or any other text."""
        text = text[: self.unread]
        self.unread -= len(text)
        self.has_location = self.has_location or _PLACE.search(text) is not None

    def png_text(self, kind: bytes, content: bytes) -> None:
        """Take what a PNG has as ``tEXt``, ``zTXt`` or ``iTXt``; ImageMagick writes EXIF there."""
        text = _png_text(kind, content, self.unread)
        self.text(text)
        self.unread -= min(self.unread, len(content))  # what unfolds to nothing costs something too
        if _RAW_EXIF.match(text):
            self.tags(_unhexed(text))


def _png_text(kind: bytes, content: bytes, at_most: int) -> bytes:
    """Keyword and text, inflated if it is deflated, but not to more than that."""
    name, _, rest = content.partition(b"\0")
    is_deflated = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"iTXt":
        rest = rest[2:].split(b"\0", 2)[-1]
    elif kind == b"zTXt":
        rest = rest[1:]
    return name + b"\0" + (_inflated(rest, at_most) if is_deflated else rest)


def _inflated(data: bytes, at_most: int) -> bytes:
    """
    What a deflated text unfolds to, as far as it is sound: one that is damaged at its very end has cost as much as any
    other, and counts as much.
    """
    inflater, pieces = zlib.decompressobj(), []
    try:
        while at_most and data:
            piece = inflater.decompress(data, min(at_most, _PIECE))
            pieces.append(piece)
            at_most -= len(piece)
            data = inflater.unconsumed_tail
    except zlib.error:
        pass
    return b"".join(pieces)


def _unhexed(text: bytes) -> bytes:
    """EXIF as ImageMagick writes it into a text: a name, a number, lines of hex digits."""
    digits = re.sub(rb"[^0-9a-fA-F]", b"", b"".join(text.split(b"\0", 1)[-1].split(b"\n")[3:]))
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))


def _tags(tags: bytes) -> tuple[int, bool]:
    """Orientation, and whether there is a place, of a TIFF structure; what cannot be read says nothing."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tags[:4])
    if order is None:
        return 1, False
    orientation, has_location = 1, False
    try:
        start = struct.unpack_from(order + "I", tags, 4)[0]
        count = struct.unpack_from(order + "H", tags, start)[0]
        for number in range(min(count, _MOST_ENTRIES)):
            entry = start + 2 + 12 * number
            tag, kind, _ = struct.unpack_from(order + "HHI", tags, entry)
            if tag == _ORIENTATION and kind == _SHORT:
                value = struct.unpack_from(order + "H", tags, entry + 8)[0]
                orientation = value if 1 <= value <= 8 else 1
            elif tag == _GPS:
                places = struct.unpack_from(order + "I", tags, entry + 8)[0]
                has_location = has_location or struct.unpack_from(order + "H", tags, places)[0] > 0
    except struct.error:
        pass
    return orientation, has_location
