"""Telling whether bytes are a complete picture: by decoding it, and by its structure alone."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from batchedit.pictures import BadPicture, PictureFacts, decode, examine


def picture(kind: str) -> bytes:
    """Small, with enough in it that a part of it is not the whole."""
    image = Image.effect_noise((40, 24), 60).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def hollow() -> bytes:
    """A PNG whose checksums are right and whose pixels are not there."""
    header = struct.pack(">IIBBBBB", 40, 24, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 50)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


LOOKS = [decode, examine]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_whole_picture_passes(look: Callable[[bytes], PictureFacts], kind: str) -> None:
    """With its format and size."""
    assert look(picture(kind)) == PictureFacts(format=kind, width=40, height=24)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_part_of_a_picture_does_not(look: Callable[[bytes], PictureFacts], kind: str) -> None:
    """Wherever it is cut; a JPEG's last bytes are its end mark, which decoders do not miss."""
    data = picture(kind)
    whole = len(data) - (2 if kind == "jpeg" else 1)
    for size in range(0, whole, 7):
        with pytest.raises(BadPicture):
            look(data[:size])


@pytest.mark.parametrize("look", LOOKS)
def test_a_png_in_which_a_bit_has_changed_does_not(look: Callable[[bytes], PictureFacts]) -> None:
    """Its checksums tell, wherever in the pixels it is."""
    data = picture("png")
    begin, end = data.index(b"IDAT") + 4, data.rindex(b"IEND") - 4
    for at in range(begin, end, 31):
        with pytest.raises(BadPicture):
            look(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_no_picture_or_too_large_does_not(look: Callable[[bytes], PictureFacts]) -> None:
    """Before anything is decoded."""
    with pytest.raises(BadPicture, match="not a PNG"):
        look(b"<html>sorry</html>")
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(BadPicture, match="pixels"):
        look(bomb)


def test_only_decoding_finds_what_was_written_wrong() -> None:
    """This is what the setting gives up, and why it is not the default."""
    with pytest.raises(BadPicture):
        decode(hollow())
    assert examine(hollow()).width == 40
