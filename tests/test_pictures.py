"""Telling whether bytes are a complete picture: by decoding it, and by its structure alone."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batchedit.pictures import BadPicture, PictureFacts, decode, examine
from batchedit.png import is_decodable


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
    for size in (*range(0, whole, 7), *range(whole - 20, whole)):
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


CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


@st.composite
def pngs(draw: st.DrawFn, *, spoiled: bool) -> bytes:
    """Of any usual kind, written line by line; `spoiled` in one of the ways that checksums do not show."""
    colour, depth = draw(st.sampled_from(sorted(CHANNELS))), draw(st.sampled_from([8, 16]))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    row = width * CHANNELS[colour] * depth // 8
    last = 255 if spoiled else 4
    lines = b"".join(
        bytes([draw(st.integers(0, last) if spoiled else st.integers(0, 4))])
        + draw(st.binary(min_size=row, max_size=row))
        for _ in range(height)
    )
    if spoiled:
        lines = lines[: draw(st.integers(0, len(lines)))] + draw(st.binary(max_size=9))
    stream = zlib.compress(lines, draw(st.integers(0, 9)))
    if spoiled:
        stream = stream[: draw(st.integers(0, len(stream)))] + draw(st.binary(max_size=9))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=3)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    text = b"a\0\0" + zlib.compress(b"b")
    more = [chunk(kind, text) for kind in draw(st.lists(st.sampled_from([b"tEXt", b"abCd", b"zTXt"]), max_size=2))]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(b"IDAT", part) for part in parts)
    return data + b"".join(more) + chunk(b"IEND", b"")


@given(pngs(spoiled=False))
def test_any_whole_png_is_decodable(data: bytes) -> None:
    """With every colour type, depth and filter, however its data is cut into chunks."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    assert is_decodable(data) or b"zTXt" in data or b"abCd" in data
    assert decode(data).format == "png"


@given(pngs(spoiled=True))
def test_what_is_called_decodable_can_be_decoded(data: bytes) -> None:
    """Without making the pixels, the proof is never given where a decoder would fail."""
    if is_decodable(data):
        with Image.open(io.BytesIO(data)) as image:
            image.load()


def test_a_real_picture_needs_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photograph's PNG is proved whole by its data alone; what is rare is decoded."""
    loaded: list[str] = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: loaded.append(image.mode))
    assert decode(picture("png")).width == 40
    assert loaded == []
    buffer = io.BytesIO()
    Image.effect_noise((40, 24), 60).convert("P").save(buffer, "png")
    assert decode(buffer.getvalue()).width == 40
    assert loaded == ["P"]


def whole_png(width: int, height: int, *, first: bytes = b"", stream: bytes | None = None) -> bytes:
    """A grey PNG; `first` stands before its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = stream if stream is not None else zlib.compress(b"\0" * (height * (width + 1)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + first + chunk(b"IDAT", lines)
    return data + chunk(b"IEND", b"")


def test_a_second_header_is_for_a_decoder_to_judge() -> None:
    """It goes by the last one, for which the data is too short."""
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, 8, 0, 0, 0, 0))
    assert is_decodable(whole_png(20, 20))
    assert not is_decodable(whole_png(20, 20, first=second))
    with pytest.raises(BadPicture):
        decode(whole_png(20, 20, first=second))


def test_a_window_that_no_decoder_takes_is_not_taken_here() -> None:
    """The first bytes of the data name a window of 64 KiB, which zlib does not have."""
    stream = zlib.compress(b"\0" * (20 * 21))
    assert not is_decodable(whole_png(20, 20, stream=b"\x88\x1c" + stream[2:]))
