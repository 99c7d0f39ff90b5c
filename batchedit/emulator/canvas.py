"""From encoded pictures to pixels of the wanted size, and back."""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter, ImageOps, UnidentifiedImageError

from batchedit.emulator.segment import plainness

MAX_PIXELS = 40_000_000
"""Largest input that is decoded."""

_FEWEST, _MOST, _LONGEST, _WIDEST = 655_360, 8_294_400, 3840, 3.0
_AUTO_MOST = 1_600_000
"""``auto`` stays below this for the sake of speed; the provider's own limit is `_MOST`."""
_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (1024, 1024),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (720, 1280),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1280, 720),
}
_PLAIN = 14.0
"""A border less even than this is cropped rather than continued when the output has another form."""
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError, struct.error, zlib.error)
"""What Pillow raises for damaged pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """
    A finished picture.

    Attributes:
        data: Encoded.
        width: In pixels.
        height: In pixels.
        format: ``png``, ``jpeg`` or ``webp``.
    """

    data: bytes
    width: int
    height: int
    format: str


class UnreadableImage(ValueError):
    """An input is no picture that can be edited; `index` counts the inputs from 0, -1 is the mask."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"{'the mask' if index < 0 else f'image {index + 1}'} cannot be read: {why}")
        self.index = index


class MaskMismatch(ValueError):
    """The mask has another size than the first image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    A decoded input, upright.

    Attributes:
        rgb: Mode RGB; what was transparent is white.
        alpha: Mode L, None if nothing is transparent.
    """

    rgb: Image.Image
    alpha: Image.Image | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.rgb.size


def decode(data: bytes, index: int) -> Source:
    """
    Decode an input.

    Raises:
        UnreadableImage: if it is no complete PNG, JPEG or WebP picture, or too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(index, f"{image.width}x{image.height} pixels; the limit is {MAX_PIXELS} in all")
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _source(upright)
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(index, f"more than {MAX_PIXELS} pixels") from None
    except _DAMAGE as error:
        # The text of Pillow's first complaint names a memory address.
        why = "not a PNG, JPEG or WebP picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImage(index, why) from None


def _source(image: Image.Image) -> Source:
    if image.mode.startswith(("I", "F")):
        # 16 bits per pixel: Pillow's own conversion would clip instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if "A" not in image.getbands() and "a" not in image.getbands() and "transparency" not in image.info:
        return Source(rgb=image.convert("RGB"), alpha=None)
    full = image.convert("RGBA")
    alpha = full.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return Source(rgb=full.convert("RGB"), alpha=None)
    flat = Image.new("RGB", full.size, "white")
    flat.paste(full, mask=alpha)
    return Source(rgb=flat, alpha=alpha)


def decode_mask(data: bytes, size: tuple[int, int]) -> Image.Image:
    """
    Decode a mask to mode L, 255 where the picture may change.

    Transparent pixels may change; in a mask without transparency, white ones.

    Raises:
        UnreadableImage: if it is no picture.
        MaskMismatch: if it has another size.
    """
    mask = decode(data, -1)
    if mask.size != size:
        raise MaskMismatch(f"the mask has {mask.size[0]}x{mask.size[1]} pixels, the image {size[0]}x{size[1]}")
    if mask.alpha is not None:
        return ImageChops.invert(mask.alpha)
    return mask.rgb.convert("L")


def output_size(source: tuple[int, int], size: str) -> tuple[int, int]:
    """
    Width and height of the result.

    Args:
        source: Width and height of the (cropped, turned) input.
        size: ``auto``, a preset, or ``WIDTHxHEIGHT``, which is taken as it is.
    Raises:
        ValueError: if `size` is none of them.
    """
    if size in _PRESETS:
        return _PRESETS[size]
    if size != "auto":
        width, cross, height = size.partition("x")
        if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise ValueError(f"{size!r} is neither WIDTHxHEIGHT nor one of auto, {', '.join(_PRESETS)}")
        return int(width), int(height)
    aspect = max(1 / _WIDEST, min(_WIDEST, source[0] / source[1]))
    pixels = max(_FEWEST, min(_AUTO_MOST, source[0] * source[1]))
    wide, high = _in_sixteens(math.sqrt(pixels * aspect)), _in_sixteens(math.sqrt(pixels / aspect))
    while wide * high < _FEWEST or wide > _WIDEST * high or high > _WIDEST * wide:
        # The rounding went below a limit: one step for the side that is shorter than it should be.
        if wide < aspect * high:
            wide += 16
        else:
            high += 16
    return wide, high


def _in_sixteens(side: float) -> int:
    return max(16, min(_LONGEST, round(side / 16) * 16))


def fit(image: Image.Image, size: tuple[int, int], *, plain: bool, empty: int | None = None) -> Image.Image:
    """
    The picture in another size: stretched a little at most, else continued at the border, else cropped.

    Args:
        plain: Whether the border may be continued.
        empty: Value for what is added, instead of continuing the border.
    """
    if image.size == size:
        return image
    aspect, wanted = image.width / image.height, size[0] / size[1]
    if abs(aspect / wanted - 1) < 0.02:
        return image.resize(size, Image.Resampling.LANCZOS)
    if not plain:
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    inner = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
    left, top = (size[0] - inner.width) // 2, (size[1] - inner.height) // 2
    if empty is not None:
        canvas = Image.new(image.mode, size, empty)
    else:
        canvas = _continued(inner, size, left, top)
    canvas.paste(inner, (left, top))
    return canvas


def is_plain(image: Image.Image) -> bool:
    """True if the border is even enough to be continued."""
    return plainness(image) < _PLAIN


def _continued(inner: Image.Image, size: tuple[int, int], left: int, top: int) -> Image.Image:
    """A canvas on which the picture's outermost lines run on to the edges."""
    canvas = Image.new(inner.mode, size)
    width, height = inner.size
    soft = inner.filter(ImageFilter.GaussianBlur(3))
    if left:
        canvas.paste(soft.crop((0, 0, 1, height)).resize((left, height)), (0, top))
        right = size[0] - left - width
        canvas.paste(soft.crop((width - 1, 0, width, height)).resize((right, height)), (left + width, top))
    if top:
        canvas.paste(soft.crop((0, 0, width, 1)).resize((width, top)), (left, 0))
        below = size[1] - top - height
        canvas.paste(soft.crop((0, height - 1, width, height)).resize((width, below)), (left, top + height))
    return canvas


def encode(image: Image.Image, output_format: str, quality: str) -> Picture:
    """
    Encode a result.

    Raises:
        ValueError: if the format is none of ``png``, ``jpeg``, ``webp``.
    """
    if output_format == "jpeg" and image.mode != "RGB":
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    level = {"low": 82, "medium": 88}.get(quality, 92)
    buffer = io.BytesIO()
    match output_format:
        case "png":
            image.save(buffer, "PNG", compress_level=4)
        case "jpeg":
            image.save(buffer, "JPEG", quality=level)
        case "webp":
            image.save(buffer, "WEBP", quality=level, method=2)
        case _:
            raise ValueError(f"{output_format!r} is none of png, jpeg, webp")
    return Picture(data=buffer.getvalue(), width=image.width, height=image.height, format=output_format)
