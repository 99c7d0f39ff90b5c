"""
What a picture says besides its pixels, and the same picture without that.

Photos carry where they were taken, the camera's serial number, a small copy from before they were cropped, whatever
somebody wrote behind their end. None of it is needed for an edit. A picture is walked through part by part, and only
the parts that make its pixels and their colours are kept, each as it is: nothing is decoded and nothing is lost. Only
where the pixels lie turned, and a tag says so, they are put upright and encoded anew.

The same bytes always give the same bytes.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchedit.pictures import BadPicture, opened, sniff

if TYPE_CHECKING:
    from PIL import Image

Part = tuple[int, int] | bytes
"""A stretch of the file that is kept, by its begin and its end, or bytes in place of one that is not."""

_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB bKGD pHYs cICP mDCV cLLI".split()
)  # fmt: skip
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"ANIM", b"ANMF"))
_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"ANMF"))
_WEBP_FLAGS = 0x08 | 0x04
"""In the header of WebP: there is EXIF, there is XMP."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SOI, _EOI, _SOS, _APP0, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xFE
_APP = range(0xE0, 0xF0)
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JFIF = b"JFIF\0"
_JFIF_BYTES = 14
_KEPT_APPS = {0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_EXIF = b"Exif\0\0"
_ORIENTATION, _GPS = 0x0112, 0x8825
_PLACE = re.compile(rb"GPSL(?:atitude|ongitude)")
_RAW_EXIF = re.compile(rb"exif\0|Raw profile type (?:exif|APP1)", re.IGNORECASE)
_MOST_ENTRIES = 1_000
_MOST_TEXT = 4 * 1024 * 1024
"""So much of a part that is dropped is searched for a place."""
_WINDOW_BYTES = 64 * 1024
_SEARCHED_BYTES = 1024 * 1024
_QUALITY = 95


class FileBytes:
    """
    An open file that is looked at like bytes. It is not mapped: one that is cut short meanwhile would end the process.

    Args:
        descriptor: Of the file; it stays open as long as this is used.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        self._begin, self._window = 0, b""

    def __len__(self) -> int:
        """Its size in bytes."""
        return self._size

    def __getitem__(self, wanted: slice) -> bytes:
        """A stretch; shorter where the file ends."""
        begin, end, _ = wanted.indices(self._size)
        if not self._begin <= begin <= end <= self._begin + len(self._window):
            self._begin, self._window = begin, os.pread(self._descriptor, max(_WINDOW_BYTES, end - begin), begin)
        return self._window[begin - self._begin : end - self._begin]


Buffer = bytes | FileBytes


@dataclass(slots=True)
class Anatomy:
    """
    What a picture is made of.

    Attributes:
        format: ``png``, ``jpeg`` or ``webp``.
        parts: What is kept of it, in order.
        dropped: Names of the parts that are not.
        orientation: How the pixels lie, 1 to 8 as in EXIF; 1 is upright.
        has_location: It says where it was taken.
        is_exact: Its pixels are kept without loss.
    """

    format: str
    parts: list[Part] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    orientation: int = 1
    has_location: bool = False
    is_exact: bool = False

    @property
    def is_clean(self) -> bool:
        """True if all of it is kept as it is."""
        return not self.dropped

    @property
    def length(self) -> int:
        """Of what is kept, in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in self.parts)

    def keep(self, start: int, end: int) -> None:
        """Keep a stretch; one that begins where the last one ends is the same."""
        last = self.parts[-1] if self.parts else None
        if isinstance(last, tuple) and last[1] == start:
            self.parts[-1] = (last[0], end)
        else:
            self.parts.append((start, end))

    def heard(self, tags: bytes) -> None:
        """Take from EXIF what it says of the picture."""
        orientation, has_location = _tags(tags)
        self.orientation = orientation if self.orientation == 1 else self.orientation
        self.has_location = self.has_location or has_location

    def read(self, text: bytes) -> None:
        """Take from XMP, or any other text, whether there is a place in it."""
        self.has_location = self.has_location or _PLACE.search(text) is not None


def anatomy(data: Buffer) -> Anatomy:
    """
    Walk through a picture. Its pixels are not decoded.

    Raises:
        BadPicture: if it is none of the three formats, or its parts do not fit together.
    """
    kind = sniff(data[:12])
    try:
        if kind == "png":
            return _png(data)
        if kind == "jpeg":
            return _jpeg(data)
        if kind == "webp":
            return _webp(data)
    except (struct.error, IndexError):
        raise BadPicture("damaged: it is cut short") from None
    raise BadPicture("not a PNG, JPEG or WebP picture")


def says_where(data: Buffer) -> bool:
    """True if a picture says where it was taken; False also for what is no whole picture."""
    try:
        # What stands behind a JPEG's pixels is not looked at here: finding their end takes as long as reading them.
        is_jpeg = sniff(data[:12]) == "jpeg"
        return (_jpeg(data, to_pixels=True) if is_jpeg else anatomy(data)).has_location
    except (BadPicture, struct.error, IndexError):
        return False


def assembled(data: Buffer, found: Anatomy) -> bytes:
    """What is kept of a picture, in one piece."""
    return b"".join(part if isinstance(part, bytes) else data[part[0] : part[1]] for part in found.parts)


def upright(data: bytes) -> bytes:
    """
    The picture with its pixels as they are meant to be seen, and nothing else but its colour profile.

    Raises:
        BadPicture: if it cannot be decoded.
    """
    found = anatomy(data)
    if found.orientation == 1:
        return assembled(data, found)
    with opened(assembled(data, found)) as image:
        image.load()
        turned = _turned(image, found.orientation)
        kept = {"icc_profile": image.info.get("icc_profile") or None}
        written = io.BytesIO()
        if found.format == "jpeg":
            turned.save(written, "JPEG", quality=_QUALITY, subsampling=0, **kept)
        elif found.format == "webp":
            turned.save(written, "WEBP", lossless=found.is_exact, quality=_QUALITY, exact=True, **kept)
        else:
            turned.save(written, "PNG", **kept)
    return assembled(written.getvalue(), anatomy(written.getvalue()))


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    return image.transpose(
        {
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.ROTATE_180,
            4: Transpose.FLIP_TOP_BOTTOM,
            5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_270,
            7: Transpose.TRANSVERSE,
            8: Transpose.ROTATE_90,
        }[orientation]
    )


def _png(data: Buffer) -> Anatomy:
    found, position, size = Anatomy("png", is_exact=True), 8, len(data)
    found.keep(0, position)
    has_header = has_pixels = False
    while True:
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        start, position = position, position + 12 + length
        if position > size:
            raise BadPicture("damaged: it is cut short")
        if start == 8 and kind != b"IHDR":
            raise BadPicture("damaged: it does not begin with its header")
        has_header, has_pixels = has_header or kind == b"IHDR", has_pixels or kind == b"IDAT"
        if kind in _PNG_KEPT:
            found.keep(start, position)
        elif not kind[0] & 0x20:
            raise BadPicture(f"damaged: it has a part {kind!r} that nobody knows")
        else:
            found.dropped.append(kind.decode("latin-1"))
            _hear_png(found, kind, data[start + 8 : min(position - 4, start + 8 + _MOST_TEXT)])
        if kind == b"IEND":
            break
    if not (has_header and has_pixels):
        raise BadPicture("damaged: it has no pixels")
    _trailing(found, position, size)
    return found


def _hear_png(found: Anatomy, kind: bytes, content: bytes) -> None:
    if kind == b"eXIf":
        found.heard(content)
    elif kind in (b"iTXt", b"tEXt", b"zTXt"):
        text = _png_text(kind, content)
        found.read(text)
        if _RAW_EXIF.match(text):
            found.heard(_unhexed(text))


def _png_text(kind: bytes, content: bytes) -> bytes:
    """Keyword and text, inflated if it is deflated and not too much."""
    name, _, rest = content.partition(b"\0")
    is_deflated = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"iTXt":
        rest = rest[2:].split(b"\0", 2)[-1]
    elif kind == b"zTXt":
        rest = rest[1:]
    if is_deflated:
        try:
            rest = zlib.decompressobj().decompress(rest, _MOST_TEXT)
        except zlib.error:
            rest = b""
    return name + b"\0" + rest


def _unhexed(text: bytes) -> bytes:
    """EXIF as ImageMagick writes it into a text: a name, a number, lines of hex digits."""
    digits = re.sub(rb"[^0-9a-fA-F]", b"", b"".join(text.split(b"\0", 1)[-1].split(b"\n")[3:]))
    tags = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    return tags.removeprefix(_EXIF)


def _jpeg(data: Buffer, *, to_pixels: bool = False) -> Anatomy:
    found, position, size = Anatomy("jpeg"), 2, len(data)
    found.keep(0, position)
    has_frame = False
    while True:
        if data[position : position + 1] != b"\xff":
            cut = position >= size
            raise BadPicture("damaged: it is cut short" if cut else "damaged: something stands between its parts")
        while data[position : position + 1] == b"\xff":  # and any number of them again
            position += 1
        marker = data[position : position + 1][0]
        start, position = position - 1, position + 1
        if marker == _EOI:
            break
        if marker == _SOI or marker in _ALONE:
            raise BadPicture("damaged: its parts are out of order")
        length = struct.unpack(">H", data[position : position + 2])[0]
        position += length
        if length < 2 or position > size:
            raise BadPicture("damaged: it is cut short")
        has_frame = has_frame or marker in _FRAMES
        _take_segment(found, data, marker, start, position)
        if marker == _SOS and to_pixels:
            return found
        if marker == _SOS:
            following = _next_marker(data, position)
            found.keep(position, following)
            position = following
    if not has_frame:
        raise BadPicture("damaged: it has no pixels")
    found.keep(start, position)
    _trailing(found, position, size)
    return found


def _next_marker(data: Buffer, position: int) -> int:
    """Where the compressed pixels end that begin here."""
    while True:
        block = data[position : position + _SEARCHED_BYTES]
        if (match := _MARKER.search(block)) is not None:
            return position + match.start()
        if position + len(block) >= len(data):
            raise BadPicture("damaged: it is cut short")
        position += len(block) - 1  # a marker may begin with the last byte


def _take_segment(found: Anatomy, data: Buffer, marker: int, start: int, end: int) -> None:
    """A segment with its marker: kept, shortened, or dropped for what it says besides the pixels."""
    content = start + 4
    if marker not in _APP and marker != _COM:
        found.keep(start, end)
    elif marker == _APP0 and data[content : content + 5] == _JFIF and end - content >= _JFIF_BYTES:
        if end - content == _JFIF_BYTES and not any(data[end - 2 : end]):
            found.keep(start, end)
            return
        # It holds a small picture, from before whatever was cut off or painted over.
        found.dropped.append("JFIF thumbnail")
        found.parts.append(b"\xff\xe0\0\x10" + data[content : content + _JFIF_BYTES - 2] + b"\0\0")
    elif marker in _KEPT_APPS and data[content : content + len(_KEPT_APPS[marker])] == _KEPT_APPS[marker]:
        found.keep(start, end)
    else:
        found.dropped.append("COM" if marker == _COM else f"APP{marker - _APP0}")
        text = data[content:end]
        if text.startswith(_EXIF):
            found.heard(text[len(_EXIF) :])
        else:
            found.read(text)


def _webp(data: Buffer) -> Anatomy:
    found, position = Anatomy("webp"), 12
    end = 8 + struct.unpack("<I", data[4:8])[0]
    if end > len(data):
        raise BadPicture("damaged: it is cut short")
    chunks: list[Part] = []
    has_pixels = False
    while position + 8 <= end:
        kind, length = data[position : position + 4], struct.unpack("<I", data[position + 4 : position + 8])[0]
        start, position = position, position + 8 + length + length % 2
        if position > end:
            raise BadPicture("damaged: it is cut short")
        content = data[start + 8 : start + 8 + min(length, _MOST_TEXT)] if kind not in _WEBP_PIXELS else b""
        has_pixels = has_pixels or kind in _WEBP_PIXELS
        found.is_exact = found.is_exact or kind == b"VP8L"
        if kind == b"VP8X" and content[0] & _WEBP_FLAGS:
            chunks.append(data[start : start + 8] + bytes([content[0] & ~_WEBP_FLAGS]) + data[start + 9 : position])
        elif kind in _WEBP_KEPT:
            chunks.append((start, position))
        else:
            found.dropped.append(kind.decode("latin-1").strip())
            if kind == b"EXIF":
                found.heard(content.removeprefix(_EXIF))
            else:
                found.read(content)
    if not has_pixels:
        raise BadPicture("damaged: it has no pixels")
    if position != end:
        found.dropped.append("trailing bytes")
    kept = sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in chunks)
    flags_lie = any(isinstance(part, bytes) for part in chunks)
    if found.dropped or flags_lie:
        found.dropped = found.dropped or ["VP8X flags"]
        found.parts = [b"RIFF" + struct.pack("<I", kept + 4) + b"WEBP", *_joined(chunks)]
    else:
        found.keep(0, end)
    _trailing(found, end, len(data))
    return found


def _joined(parts: Sequence[Part]) -> Iterator[Part]:
    open_part: tuple[int, int] | None = None
    for part in parts:
        if open_part is not None and isinstance(part, tuple) and part[0] == open_part[1]:
            open_part = open_part[0], part[1]
            continue
        if open_part is not None:
            yield open_part
        open_part = part if isinstance(part, tuple) else None
        if isinstance(part, bytes):
            yield part
    if open_part is not None:
        yield open_part


def _trailing(found: Anatomy, end: int, size: int) -> None:
    if end != size:
        found.dropped.append("trailing bytes")


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
            if tag == _ORIENTATION and kind == 3:
                value = struct.unpack_from(order + "H", tags, entry + 8)[0]
                orientation = value if 1 <= value <= 8 else 1
            elif tag == _GPS:
                places = struct.unpack_from(order + "I", tags, entry + 8)[0]
                has_location = has_location or struct.unpack_from(order + "H", tags, places)[0] > 0
    except struct.error:
        pass
    return orientation, has_location
