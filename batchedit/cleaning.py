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
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchedit import exif, jpeg
from batchedit.pictures import BadPicture, opened, sniff

if TYPE_CHECKING:
    from PIL import Image

Part = tuple[int, int] | bytes
"""A stretch of the file that is kept, by its begin and its end, or bytes in place of one that is not."""

_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB bKGD pHYs cICP mDCV cLLI".split()
)  # fmt: skip
_PNG_MOST = {
    b"IHDR": 13, b"PLTE": 768, b"IEND": 0, b"tRNS": 256, b"cHRM": 32, b"gAMA": 4, b"sBIT": 4, b"sRGB": 1, b"bKGD": 6,
    b"pHYs": 9, b"cICP": 4, b"mDCV": 24, b"cLLI": 8,
}  # fmt: skip
"""Bytes that a chunk can hold; whatever has more says something else, and decoders look no further."""
_PNG_HEAD = 8
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"ANIM", b"ANMF"))
_WEBP_MOST = {b"VP8X": 10, b"ANIM": 6}
"""Bytes that a chunk can hold."""
_WEBP_FRAME = frozenset((b"VP8 ", b"VP8L", b"ALPH"))
"""What the frame of an animation is made of, behind its head."""
_FRAME_HEAD = 16
_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"ANMF"))
_WEBP_FLAGS = 0x08 | 0x04
"""In the header of WebP: there is EXIF, there is XMP."""
_PNG_COLOURS = frozenset(b"cHRM gAMA sRGB cICP mDCV cLLI".split())
"""What says how a PNG's numbers are meant, and Pillow does not write."""
_MOST_CHUNKS = 100_000
"""The largest PNG there is to send has a third of that, in the smallest chunks that encoders write."""
_JPEG_KEPT = frozenset({*jpeg.FRAMES, jpeg.SOS, jpeg.PIXELS, jpeg.EOI, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
"""Frames, scans, and the tables and numbers that they need."""
_APP0, _APP1, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_JFIF, _ADOBE = b"JFIF\0", b"Adobe"
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_KEPT_APPS = {0xE2: b"ICC_PROFILE\0", _APP14: _ADOBE}
_WINDOW_BYTES = 256 * 1024
_LITTLE_BYTES = 1024 * 1024
_QUALITY = 95


class FileBytes:
    """
    An open file that is looked at like bytes. It is not mapped: one that is cut short meanwhile would end the process.

    Args:
        descriptor: Of the file; it stays open as long as this is used.
        size: Of the file, in bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
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


def content_of(descriptor: int, size: int) -> Buffer:
    """An open file of so many bytes: what it holds if that is little and walked through faster, or a view of it."""
    return os.pread(descriptor, size, 0) if size <= _LITTLE_BYTES else FileBytes(descriptor, size)


@dataclass(slots=True)
class Anatomy:
    """
    What a picture is made of.

    Attributes:
        format: ``png``, ``jpeg`` or ``webp``.
        parts: What is kept of it, in order.
        dropped: Names of the parts that are not.
        trailing_bytes: How many stand behind its end.
        heard: What those said.
        is_exact: Its pixels are kept without loss.
    """

    format: str
    parts: list[Part] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    trailing_bytes: int = 0
    heard: exif.Heard = field(default_factory=exif.Heard)
    is_exact: bool = False

    @property
    def orientation(self) -> int:
        """How the pixels lie, 1 to 8 as in EXIF; 1 is upright."""
        return self.heard.orientation

    @property
    def has_location(self) -> bool:
        """It says where it was taken."""
        return self.heard.has_location

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
    except jpeg.DamagedJpeg as error:
        raise BadPicture(f"damaged: {error}") from None
    raise BadPicture("not a PNG, JPEG or WebP picture")


def says_where(data: Buffer) -> bool:
    """True if a picture says where it was taken; False also for what is no whole picture."""
    try:
        # What stands behind a JPEG's pixels is not looked at here: finding their end takes as long as reading them.
        is_jpeg = sniff(data[:12]) == "jpeg"
        return (_jpeg(data, to_pixels=True) if is_jpeg else anatomy(data)).has_location
    except (BadPicture, jpeg.DamagedJpeg, struct.error, IndexError):
        return False


def trailing_bytes(data: bytes) -> int:
    """How many bytes stand behind a picture's end; 0 also for what cannot be walked through."""
    try:
        return anatomy(data).trailing_bytes
    except BadPicture:
        return 0


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
    made = written.getvalue()
    if found.format == "png":
        made = _with_colours(made, data)
    return assembled(made, anatomy(made))


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


def _chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk of a PNG up to the last: its kind, where it begins and where it ends."""
    position = _PNG_HEAD
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        start, position = position, position + 12 + length
        if position > len(data):
            raise BadPicture("damaged: it is cut short")
        yield kind, start, position
        if kind == b"IEND":
            return
    raise BadPicture(f"damaged: it has more than {_MOST_CHUNKS} parts")


def _png(data: Buffer) -> Anatomy:
    found, end = Anatomy("png", is_exact=True), _PNG_HEAD
    found.keep(0, end)
    has_pixels = False
    for kind, start, end in _chunks(data):
        if start == _PNG_HEAD and kind != b"IHDR":
            raise BadPicture("damaged: it does not begin with its header")
        has_pixels = has_pixels or kind == b"IDAT"
        is_sound = end - start - 12 <= _PNG_MOST.get(kind, end)
        if kind in _PNG_KEPT and is_sound:
            found.keep(start, end)
        elif not kind[0] & 0x20:
            trouble = "is too long" if kind in _PNG_KEPT else "nobody knows"
            raise BadPicture(f"damaged: it has a part {kind!r} that {trouble}")
        else:
            found.dropped.append(kind.decode("latin-1"))
            content = data[start + 8 : min(end - 4, start + 8 + found.heard.unread)]
            if kind == b"eXIf":
                found.heard.tags(content)
            elif kind in (b"iTXt", b"tEXt", b"zTXt"):
                found.heard.png_text(kind, content)
    if not has_pixels:
        raise BadPicture("damaged: it has no pixels")
    _trailing(found, end, len(data))
    return found


def _with_colours(data: bytes, original: bytes) -> bytes:
    """A PNG with the chunks of another one that say how its numbers are meant."""
    header_end = next(end for _, _, end in _chunks(data))
    colours = [original[start:end] for kind, start, end in _chunks(original) if kind in _PNG_COLOURS]
    rest = [data[start:end] for kind, start, end in _chunks(data) if start >= header_end and kind not in _PNG_COLOURS]
    return b"".join((data[:header_end], *colours, *rest))


def _jpeg(data: Buffer, *, to_pixels: bool = False) -> Anatomy:
    found, end = Anatomy("jpeg"), 2
    found.keep(0, end)
    has_frame = False
    for marker, start, content, end in jpeg.segments(data):
        has_frame = has_frame or marker in jpeg.FRAMES
        if marker in _JPEG_KEPT:
            found.keep(start, end)
        else:
            _take_segment(found, data, marker, (start, content, end))
        if marker == jpeg.SOS and to_pixels:
            return found
    if not has_frame:
        raise BadPicture("damaged: it has no pixels")
    _trailing(found, end, len(data))
    return found


def _take_segment(found: Anatomy, data: Buffer, marker: int, where: tuple[int, int, int]) -> None:
    """A segment that makes no pixels: kept, shortened, or dropped for what it says besides them."""
    start, content, end = where
    if marker == _APP0 and data[content : content + 5] == _JFIF and end - content >= _JFIF_BYTES:
        if end - content == _JFIF_BYTES and not any(data[end - 2 : end]):
            found.keep(start, end)
            return
        # It holds a small picture, from before whatever was cut off or painted over.
        found.dropped.append("JFIF thumbnail")
        found.parts.append(b"\xff\xe0\0\x10" + data[content : content + _JFIF_BYTES - 2] + b"\0\0")
    elif marker == _APP14 and end - content > _ADOBE_BYTES and data[content : content + len(_ADOBE)] == _ADOBE:
        found.dropped.append("behind Adobe")
        found.parts.append(b"\xff\xee\0\x0e" + data[content : content + _ADOBE_BYTES])
    elif marker in _KEPT_APPS and data[content : content + len(_KEPT_APPS[marker])] == _KEPT_APPS[marker]:
        found.keep(start, end)
    else:
        is_app = _APP0 <= marker <= _APP15
        found.dropped.append(f"APP{marker - _APP0}" if is_app else "COM" if marker == _COM else f"{marker:02X}")
        text = data[content:end]
        if marker == _APP1 and text.startswith(exif.HEAD):
            found.heard.tags(text)
        else:
            found.heard.text(text)


def _riff(data: Buffer, position: int, end: int, left: Iterator[int]) -> Iterator[tuple[bytes, int, int, int]]:
    """Each chunk between two places: its kind, where it begins, its length, and where it ends; as many as are left."""
    while position + 8 <= end:
        if next(left, None) is None:
            raise BadPicture(f"damaged: it has more than {_MOST_CHUNKS} parts")
        kind, length = struct.unpack("<4sI", data[position : position + 8])
        start, position = position, position + 8 + length + length % 2
        if position > end:
            raise BadPicture("damaged: it is cut short")
        yield kind, start, length, position


def _webp(data: Buffer) -> Anatomy:
    found, position, left = Anatomy("webp"), 12, iter(range(_MOST_CHUNKS))
    end = 8 + struct.unpack("<I", data[4:8])[0]
    if end > len(data):
        raise BadPicture("damaged: it is cut short")
    chunks: list[Part] = []
    has_pixels = False
    for kind, start, length, position in _riff(data, 12, end, left):
        has_pixels = has_pixels or kind in _WEBP_PIXELS
        found.is_exact = found.is_exact or kind == b"VP8L"
        if length > _WEBP_MOST.get(kind, length):
            raise BadPicture(f"damaged: it has a part {kind!r} that is too long")
        flags = data[start + 8 : start + 9]
        if kind == b"VP8X" and flags[0] & _WEBP_FLAGS:
            chunks.append(data[start : start + 8] + bytes([flags[0] & ~_WEBP_FLAGS]) + data[start + 9 : position])
        elif kind == b"ANMF":
            chunks += _frame(found, data, (start, position), left)
        elif kind in _WEBP_KEPT:
            chunks.append((start, position))
        else:
            found.dropped.append(kind.decode("latin-1").strip())
            content = data[start + 8 : start + 8 + min(length, found.heard.unread)]
            if kind == b"EXIF":
                found.heard.tags(content)
            else:
                found.heard.text(content)
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


def _frame(found: Anatomy, data: Buffer, where: tuple[int, int], left: Iterator[int]) -> list[Part]:
    """What is kept of a frame, which may hold parts that nobody knows beside its pixels."""
    start, end = where
    begin = start + 8 + _FRAME_HEAD
    parts = [(first, last) for kind, first, _, last in _riff(data, begin, end, left) if kind in _WEBP_FRAME]
    kept = sum(last - first for first, last in parts)
    if begin + kept == end:
        return [where]
    found.dropped.append("parts of a frame")
    return [b"ANMF" + struct.pack("<I", _FRAME_HEAD + kept) + data[start + 8 : begin], *parts]


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
        found.trailing_bytes = size - end
