"""Sizes, formats, counts, masks, references, and inputs that are none."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, ImageChops, ImageDraw

from batchedit.emulator.pixels import MaskMismatch, UnreadableImage, output_size, placeholder
from tests.pixels.drawing import (
    INPUT,
    OBJECT,
    SIDE,
    at,
    decoded,
    difference,
    edit,
    edited,
    encoded,
    near,
    product,
    unmarked,
)

ORIGINAL = product()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("1024x1024", (1024, 1024)),
        ("64x48", (64, 48)),
        ("square", (1024, 1024)),
        ("square_hd", (1024, 1024)),
        ("portrait_4_3", (768, 1024)),
        ("portrait_16_9", (720, 1280)),
        ("landscape_4_3", (1024, 768)),
        ("landscape_16_9", (1280, 720)),
    ],
)
def test_sizes_are_exact(size: str, expected: tuple[int, int]) -> None:
    """What was asked for, to the pixel."""
    (picture,) = edit("warmer", size=size)
    assert (picture.width, picture.height) == decoded(picture).size == expected


@pytest.mark.parametrize(
    "source",
    [(1, 1), (160, 160), (1000, 1000), (1024, 768), (4000, 3000), (6000, 6000), (3000, 500), (500, 3000), (8000, 10)],
    ids=str,
)
def test_automatic_size_obeys_the_published_rules(source: tuple[int, int]) -> None:
    """Multiples of 16, 655,360 to 8,294,400 pixels, at most 3840 long and 3 times as long as wide."""
    width, height = output_size(source, "auto")
    assert width % 16 == height % 16 == 0
    assert 655_360 <= width * height <= 8_294_400
    assert max(width, height) <= min(3840, 3 * min(width, height))
    if max(source) <= 2.9 * min(source):
        assert abs(width / height / (source[0] / source[1]) - 1) < 0.04


@pytest.mark.parametrize("size", ["", "large", "0x0", "12x", "x12", "10x10x10", "-4x4"])
def test_unknown_sizes(size: str) -> None:
    """A size that is none is not guessed at."""
    with pytest.raises(ValueError, match="neither WIDTHxHEIGHT nor"):
        output_size((100, 100), size)


def test_another_form_keeps_the_whole_object() -> None:
    """A plain ground goes on at the sides instead of the object being cut."""
    result = edited("grayscale", size="320x160")
    assert abs(at(result, 2, 80)[0] - at(result, 78, 80)[0]) < 30
    assert at(result, 155, 80)[0] < 130


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_formats(output_format: str) -> None:
    """The bytes are what the format says."""
    (picture,) = edit("warmer", output_format=output_format)
    assert picture.format == output_format
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.format == output_format.upper()


def test_unknown_format() -> None:
    """A format that is none is refused."""
    with pytest.raises(ValueError, match="none of png"):
        edit("warmer", output_format="gif")


def test_the_same_request_gives_the_same_bytes() -> None:
    """Whatever is drawn by chance is drawn from the seed."""
    prompt = "on an oak table, soft shadow, warmer"
    first, second = (edit(prompt, count=3) for _ in range(2))
    assert [picture.data for picture in first] == [picture.data for picture in second]
    assert edit(prompt, seed="other")[0].data != first[0].data


@pytest.mark.parametrize("prompt", ["white background", "grayscale", "nothing that is known", "transparent background"])
def test_each_of_several_differs_a_little(prompt: str) -> None:
    """Siblings: neither copies nor other pictures."""
    pictures = [decoded(picture) for picture in edit(prompt, count=4)]
    assert len(pictures) == 4
    for number, first in enumerate(pictures):
        for second in pictures[number + 1 :]:
            assert 0.3 < difference(unmarked(first), unmarked(second)) < 30


def test_every_one_of_several_is_on_pure_white() -> None:
    """The variation is the object's, not the ground's."""
    for picture in edit("white background", count=4):
        assert at(decoded(picture), 1, 1) == (255, 255, 255)


def test_quality_decides_the_detail() -> None:
    """Low is softest; each differs from the others."""
    low, medium, high = (decoded(edit("warmer", quality=name)[0]) for name in ("low", "medium", "high"))
    assert 0 < difference(medium, high) < difference(low, high) < 8


def test_the_mark() -> None:
    """In the lower right corner, legible, away from the border and from the middle."""
    result = edited("white background", size="640x640").convert("L")
    box = ImageChops.invert(result.crop((320, 560, 640, 640))).getbbox()
    assert box is not None
    left, top, right, bottom = (box[0] + 320, box[1] + 560, box[2] + 320, box[3] + 560)
    assert left > 480
    assert top > 600
    assert right < 636
    assert bottom < 636
    assert min(result.crop((left, top, right, bottom)).tobytes()) < 190


# -- masks -------------------------------------------------------------------------------------------------------


def _mask(box: tuple[int, int, int, int], *, alpha: bool) -> bytes:
    region = Image.new("L", (SIDE, SIDE), 0)
    ImageDraw.Draw(region).rectangle(box, 255)
    if not alpha:
        return encoded(region)
    mask = Image.new("RGBA", region.size, (0, 0, 0, 255))
    mask.putalpha(ImageChops.invert(region))
    return encoded(mask)


@pytest.mark.parametrize("alpha", [True, False], ids=["alpha", "white"])
@pytest.mark.parametrize(
    "prompt", ["much brighter", "recolour it to navy", "flip", "white background", "sepia, blur", "unknown", "crop"]
)
def test_only_the_masked_region_changes(prompt: str, alpha: bool) -> None:
    """Inside something happens, outside not one pixel differs."""
    box = (50, 50, 90, 110)
    for picture in edit(prompt, mask=_mask(box, alpha=alpha), count=2, quality="low"):
        changed = ImageChops.difference(unmarked(decoded(picture)), unmarked(ORIGINAL))
        inside = changed.crop((50, 50, 91, 111))
        assert inside.getbbox() is not None
        changed.paste((0, 0, 0), (50, 50, 91, 111))
        assert changed.getbbox() is None


def test_an_empty_mask_changes_nothing() -> None:
    """Where nothing may change, nothing does."""
    mask = encoded(Image.new("L", (SIDE, SIDE), 0))
    result = edited("sepia, flip", mask=mask)
    assert difference(unmarked(result), unmarked(ORIGINAL)) == 0


def test_a_mask_scales_with_the_picture() -> None:
    """At another output size the region is at the same place."""
    result = edited("recolour it to forest", mask=_mask((48, 40, 73, 120), alpha=True), size="320x320")
    assert at(result, 130, 160)[1] > at(result, 130, 160)[0]
    assert near(at(result, 180, 160), OBJECT, 4)


def test_a_mask_of_another_size() -> None:
    """It is refused with both sizes."""
    with pytest.raises(MaskMismatch, match="10x10 pixels, the image 160x160"):
        edit("warmer", mask=encoded(Image.new("L", (10, 10), 255)))


# -- references --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["white background, soft shadow", "on an oak table", "warmer", "unknown"])
def test_references_contribute(prompt: str) -> None:
    """Without a reference, or with another one, the picture is another one."""
    blue, red = (encoded(Image.new("RGB", (40, 30), name)) for name in ("blue", "red"))
    variants = [[INPUT], [INPUT, blue], [INPUT, red], [INPUT, blue, blue]]
    pictures = {edit(prompt, images=images)[0].data for images in variants}
    assert len(pictures) == 4


# -- inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1", "I;16", "CMYK"])
def test_modes(mode: str) -> None:
    """Every kind of picture that the formats can hold."""
    image, expected = ORIGINAL.convert("L" if mode == "I;16" else mode), ORIGINAL.convert("RGB")
    if mode == "I;16":
        image = image.convert("I").point(lambda value: value * 257.0).convert("I;16")
        expected = ORIGINAL.convert("L")
    elif mode in {"P", "1"}:
        # Few colours: what was lost on the way there is not the emulator's doing.
        expected = image.convert("RGB")
    result = edited("flip", images=[encoded(image, "JPEG" if mode == "CMYK" else "PNG")])
    flipped = expected.convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert difference(unmarked(result).convert("L"), unmarked(flipped)) < 4


def test_orientation() -> None:
    """A picture that says that it lies on its side is put upright."""
    exif = Image.Exif()
    exif[0x0112] = 3
    result = edited("sharpen", images=[encoded(ORIGINAL, "JPEG", quality=95, exif=exif)])
    assert difference(unmarked(result), unmarked(ORIGINAL.rotate(180))) < 6


def _bomb(width: int, height: int) -> bytes:
    """A PNG that says that it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GIF = encoded(Image.new("RGB", (8, 8)), "GIF")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        INPUT[:200],
        INPUT[:-40],
        encoded(ORIGINAL, "JPEG")[:900],
        GIF,
        _bomb(7000, 7000),
        _bomb(12_000, 12_000),
        _bomb(60_000, 60_000),
    ],
    ids=["empty", "text", "cut", "cut-late", "cut-jpeg", "gif", "49-MP", "144-MP", "3600-MP"],
)
def test_unreadable_inputs(data: bytes) -> None:
    """Whatever is wrong with an input, it is named by its place, -1 for the mask."""
    with pytest.raises(UnreadableImage) as first:
        edit("warmer", images=[data])
    with pytest.raises(UnreadableImage, match="image 2") as second:
        edit("warmer", images=[INPUT, data])
    with pytest.raises(UnreadableImage, match="the mask") as mask:
        edit("warmer", mask=data)
    assert (first.value.index, second.value.index, mask.value.index) == (0, 1, -1)


# -- placeholders ------------------------------------------------------------------------------------------------


def test_placeholders() -> None:
    """The same URL is the same picture, another URL another one, and its ground is not white."""
    urls = [f"https://shop.example.com/files/product-{number}.jpg?v=1" for number in range(4)]
    pictures = [placeholder(url) for url in urls]
    assert placeholder(urls[0]) == pictures[0]
    assert len(set(pictures)) == 4
    for data in pictures:
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            assert min(image.size) >= 1024
            assert max(at(image, 4, 4)) < 250


def test_a_placeholder_can_be_edited() -> None:
    """It is plain enough to be cut out."""
    result = edited("white background", images=[placeholder("https://example.com/a.jpg")])
    assert at(result, 2, 2) == (255, 255, 255)
    assert max(at(result, SIDE // 2, round(SIDE * 0.6))) < 252
