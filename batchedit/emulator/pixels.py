"""
Real edits with Pillow: what a rehearsal sells instead of a model's pictures.

Deterministic: the same arguments give the same bytes.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, ImageStat

from batchedit.emulator.scenes import backdrop, draw_placeholder
from batchedit.emulator.segment import product_mask
from batchedit.emulator.words import NOTHING, Wishes, read_prompt

MAX_PIXELS = 40_000_000
_AUTO_PIXELS = 1_600_000
_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (1024, 1024),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (720, 1280),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1280, 720),
}
_SHARPNESS = {"low": 0.6, "medium": 0.85, "high": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A finished picture: encoded bytes, size in pixels, format (``png``, ``jpeg``, ``webp``)."""

    data: bytes
    width: int
    height: int
    format: str


class UnreadableImage(ValueError):
    """An input is no picture that can be used; `index` counts the inputs from 0, -1 is the mask."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"image {index}: {why}")
        self.index = index


class MaskMismatch(ValueError):
    """The mask has another size than the first image."""


def render(
    *,
    images: Sequence[bytes],
    mask: bytes | None,
    prompt: str,
    count: int,
    size: str,
    output_format: str,
    quality: str,
    seed: str,
) -> list[Picture]:
    """
    Edit the first image as the prompt says.

    Args:
        images: The picture to edit, then references; encoded.
        mask: Marks what may change: transparent pixels, or white ones if it has no transparency.
        count: How many pictures; each differs a little from the others.
        size: ``auto``, a preset, or ``WIDTHxHEIGHT``.

    Raises:
        UnreadableImage: if an input cannot be decoded.
        MaskMismatch: if the mask does not fit the first image.
    """
    sources = [_open(data, index) for index, data in enumerate(images)]
    first = sources[0]
    region = None if mask is None else _region(_open(mask, -1), first.size)
    wishes = read_prompt(prompt)
    target = output_size(first.size, size)
    hint = _hint(sources[1:])
    pictures = []
    for number in range(count):
        draw = random.Random(f"{seed}/sample/{number}")
        edited = _edit(first, wishes, hint, draw, vary=number > 0)
        if region is not None:
            edited = Image.composite(edited.convert("RGB"), first, region) if edited.size == first.size else first
        fitted = edited if region is not None and edited.size == target else _fit(edited, target)
        pictures.append(_encode(_mark(_soften(fitted, quality)), output_format))
    return pictures


def placeholder(url: str) -> bytes:
    """A PNG of 1024 pixels drawn from the URL, for pictures that only the network has."""
    buffer = io.BytesIO()
    draw_placeholder(url).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def output_size(source: tuple[int, int], size: str) -> tuple[int, int]:
    """(width, height) of the result: multiples of 16, within the published limits."""
    if size in _PRESETS:
        return _PRESETS[size]
    if size != "auto":
        sides = size.split("x")
        return int(sides[0]), int(sides[1])
    ratio = max(1 / 3, min(3.0, source[0] / source[1]))
    pixels = max(655_360 * 1.05, min(_AUTO_PIXELS, source[0] * source[1]))
    width = max(16, round(math.sqrt(pixels * ratio) / 16) * 16)
    return width, max(16, round(width / ratio / 16) * 16)


# -- the edit ------------------------------------------------------------------------------------------------


def _edit(
    image: Image.Image, wishes: Wishes, hint: tuple[int, int, int] | None, draw: random.Random, *, vary: bool
) -> Image.Image:
    """All wishes in a fixed order: the product first, what is behind it next, tone and geometry last."""
    result = image
    needs_mask = wishes.background or wishes.scene or wishes.recolour or wishes.blur_background or wishes.transparent
    alpha = product_mask(image) if needs_mask or wishes.shadow else None
    if alpha is not None:
        if wishes.recolour is not None:
            result = Image.composite(_tint(result, wishes.recolour), result, alpha)
        result = _behind(result, alpha, wishes, hint, draw)
    result = _tone(result, wishes)
    result = _geometry(result, wishes, alpha)
    if wishes == NOTHING:
        result = _vignette(ImageOps.autocontrast(result, cutoff=1))
    if hint is not None and result.mode == "RGB":
        result = Image.blend(result, Image.new("RGB", result.size, hint), 0.03)
    return _variation(result, draw) if vary else result


def _behind(
    image: Image.Image, alpha: Image.Image, wishes: Wishes, hint: tuple[int, int, int] | None, draw: random.Random
) -> Image.Image:
    if wishes.transparent:
        cut = image.convert("RGBA")
        cut.putalpha(alpha)
        return cut
    if wishes.scene is not None:
        ground = backdrop(wishes.scene, image.size, draw)
    elif wishes.background is not None:
        ground = Image.new("RGB", image.size, wishes.background)
    elif wishes.blur_background:
        ground = image.filter(ImageFilter.GaussianBlur(image.width / 40))
    else:
        ground = image
    if wishes.shadow or wishes.scene:
        ground = _shadow(ground, alpha, hint or (20, 18, 16))
    return Image.composite(image, ground, alpha)


def _shadow(ground: Image.Image, alpha: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """A soft contact shadow: the product's silhouette, flattened and moved to its foot."""
    box = alpha.getbbox()
    if box is None:
        return ground
    left, top, right, bottom = box
    flat = alpha.crop(box).resize((right - left, max(4, (bottom - top) // 8)), Image.Resampling.BILINEAR)
    layer = Image.new("L", alpha.size, 0)
    layer.paste(flat, (left, bottom - flat.height // 2))
    layer = layer.filter(ImageFilter.GaussianBlur(alpha.width / 70)).point([value * 45 // 100 for value in range(256)])
    return Image.composite(Image.new("RGB", ground.size, colour), ground, layer)


def _tint(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    dark = tuple(part // 5 for part in colour)
    light = tuple(min(255, part + (255 - part) * 3 // 5) for part in colour)
    return ImageOps.colorize(ImageOps.grayscale(image), black=dark, white=light, mid=colour)


def _tone(image: Image.Image, wishes: Wishes) -> Image.Image:
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    result = image.convert("RGB")
    if wishes.tone == "grayscale":
        result = ImageOps.grayscale(result).convert("RGB")
    elif wishes.tone == "sepia":
        result = ImageOps.colorize(ImageOps.grayscale(result), black=(28, 18, 8), white=(255, 240, 212))
    if wishes.light:
        result = ImageEnhance.Brightness(result).enhance(1 + 0.22 * wishes.light)
    if wishes.warmth:
        result = _warm(result, wishes.warmth * 0.12)
    if wishes.contrast:
        result = ImageEnhance.Contrast(result).enhance(1.35)
    if wishes.saturation:
        result = ImageEnhance.Color(result).enhance(1 + 0.5 * wishes.saturation)
    if wishes.sharpen:
        result = result.filter(ImageFilter.UnsharpMask(radius=2, percent=140))
    if alpha is not None:
        result.putalpha(alpha)
    return result


def _warm(image: Image.Image, amount: float) -> Image.Image:
    red, green, blue = image.split()
    up = [min(255, round(value * (1 + amount))) for value in range(256)]
    down = [min(255, round(value * (1 - amount))) for value in range(256)]
    return Image.merge("RGB", (red.point(up), green, blue.point(down)))


def _geometry(image: Image.Image, wishes: Wishes, alpha: Image.Image | None) -> Image.Image:
    if wishes.crop == "tight":
        box = (alpha or product_mask(image.convert("RGB"))).point([0] * 128 + [255] * 128).getbbox()
        image = image.crop(_grown(box or (0, 0, *image.size), image.size))
    elif wishes.crop == "square":
        side = min(image.size)
        image = ImageOps.fit(image, (side, side))
    if wishes.mirror:
        image = ImageOps.mirror(image)
    if wishes.upside_down:
        image = ImageOps.flip(image)
    if wishes.rotate:
        image = image.transpose(Image.Transpose.ROTATE_90)
    return image


def _grown(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    margin = round(0.06 * max(box[2] - box[0], box[3] - box[1]))
    return (
        max(0, box[0] - margin),
        max(0, box[1] - margin),
        min(size[0], box[2] + margin),
        min(size[1], box[3] + margin),
    )


def _vignette(image: Image.Image) -> Image.Image:
    # The radial gradient is 0 in the middle and 255 in the corners.
    edge = Image.radial_gradient("L").resize(image.size).point([value // 3 for value in range(256)])
    return Image.composite(Image.new("RGB", image.size, (10, 10, 14)), image.convert("RGB"), edge)


def _variation(image: Image.Image, draw: random.Random) -> Image.Image:
    """A second sample is a sibling, not a copy: a little other light, a little closer."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    result = ImageEnhance.Brightness(_warm(image.convert("RGB"), draw.uniform(-0.05, 0.05))).enhance(
        draw.uniform(0.93, 0.99)
    )
    if alpha is not None:
        result.putalpha(alpha)
    inset = round(min(result.size) * draw.uniform(0.01, 0.03))
    return result.crop((inset, inset, result.width - inset, result.height - inset)).resize(image.size)


# -- in and out ----------------------------------------------------------------------------------------------


def _open(data: bytes, index: int) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(index, f"more than {MAX_PIXELS} pixels")
            upright = ImageOps.exif_transpose(image)
            if index == -1:
                return upright.copy()
            if upright.mode in ("RGBA", "LA", "PA", "P"):
                flat = Image.new("RGB", upright.size, (255, 255, 255))
                rgba = upright.convert("RGBA")
                flat.paste(rgba, mask=rgba.getchannel("A"))
                return flat
            return upright.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(index, str(error)) from None


def _region(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    if mask.size != size:
        raise MaskMismatch(f"the mask has {mask.width}x{mask.height} pixels, the image {size[0]}x{size[1]}")
    if "A" in mask.getbands() or "transparency" in mask.info:
        return ImageChops.invert(mask.convert("RGBA").getchannel("A"))
    return ImageOps.grayscale(mask)


def _hint(references: Sequence[Image.Image]) -> tuple[int, int, int] | None:
    if not references:
        return None
    means = [ImageStat.Stat(image.resize((32, 32))).mean for image in references]
    return (
        round(sum(mean[0] for mean in means) / len(means)),
        round(sum(mean[1] for mean in means) / len(means)),
        round(sum(mean[2] for mean in means) / len(means)),
    )


def _fit(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Scale into the target; what is missing at the sides continues the corner's colour."""
    scaled = ImageOps.contain(image, target, Image.Resampling.LANCZOS)
    if scaled.size == target:
        return scaled
    if min(scaled.width / target[0], scaled.height / target[1]) > 0.97:
        return ImageOps.fit(image, target, Image.Resampling.LANCZOS)
    ground = Image.new(scaled.mode, target, scaled.getpixel((0, 0)))
    ground.paste(scaled, ((target[0] - scaled.width) // 2, (target[1] - scaled.height) // 2))
    return ground


def _soften(image: Image.Image, quality: str) -> Image.Image:
    share = _SHARPNESS.get(quality, 1.0)
    if share == 1.0:
        return image
    small = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _mark(image: Image.Image) -> Image.Image:
    """The word REHEARSAL in the lower right corner, small and half transparent."""
    layer = image.convert("RGBA")
    overlay = Image.new("RGBA", layer.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(overlay)
    font = ImageFont.load_default(size=max(12, layer.width // 48))
    left, top, right, bottom = pen.textbbox((0, 0), "REHEARSAL", font=font)
    pad = layer.width // 100
    x, y = layer.width - (right - left) - 3 * pad, layer.height - (bottom - top) - 3 * pad
    pen.rounded_rectangle((x - pad, y - pad, x + right - left + pad, y + bottom - top + pad), pad, (0, 0, 0, 70))
    pen.text((x - left, y - top), "REHEARSAL", font=font, fill=(255, 255, 255, 200))
    marked = Image.alpha_composite(layer, overlay)
    return marked if image.mode == "RGBA" else marked.convert("RGB")


def _encode(image: Image.Image, output_format: str) -> Picture:
    if output_format == "jpeg" and image.mode == "RGBA":
        flat = Image.new("RGB", image.size, (255, 255, 255))
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    options: dict[str, dict[str, int]] = {
        "png": {"compress_level": 3},
        "jpeg": {"quality": 90},
        "webp": {"quality": 88},
    }
    buffer = io.BytesIO()
    image.save(buffer, output_format.upper(), **options[output_format])
    return Picture(data=buffer.getvalue(), width=image.width, height=image.height, format=output_format)
