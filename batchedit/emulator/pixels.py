"""
Real edits with Pillow: what a rehearsal gets instead of a model's pictures.

    inputs --> upright, turned, cropped --> the output's size --> object | background --> colour, ground, shadow, tone
           --> only inside of the mask --> rehearsal mark --> encoded

The same arguments give the same bytes. `batchedit.emulator.words` knows what a prompt can say.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageStat

from batchedit.emulator import scenes
from batchedit.emulator.canvas import (
    MaskMismatch,
    Picture,
    Source,
    UnreadableImage,
    decode,
    decode_mask,
    encode,
    fit,
    is_plain,
    output_size,
)
from batchedit.emulator.looks import Variation, default_look, finished, recoloured, tinted_towards, toned, variation
from batchedit.emulator.palette import RGB, mix
from batchedit.emulator.segment import Cutout, cut_out
from batchedit.emulator.words import Wishes, understand

__all__ = ["MaskMismatch", "Picture", "UnreadableImage", "output_size", "placeholder", "render"]

_DETAIL = {"low": 0.7, "medium": 0.9}
"""Resolution that a quality works at, relative to the output's; 1 for ``high``."""
_MARK = "REHEARSAL"


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
        prompt: Plain English.
        count: How many pictures; each differs a little from the others.
        size: ``auto``, a preset, or ``WIDTHxHEIGHT``.
        output_format: ``png``, ``jpeg`` or ``webp``.
        quality: ``low``, ``medium`` or ``high``; decides how much detail survives.
        seed: Decides everything that is drawn by chance.
    Raises:
        UnreadableImage: if an input cannot be decoded.
        MaskMismatch: if the mask has another size than the first image.
        ValueError: if the size or the format is unknown.
    """
    sources = [decode(data, index) for index, data in enumerate(images)]
    region = None if mask is None else decode_mask(mask, sources[0].size)
    wishes = understand(prompt)
    job = _job(sources[0], region, wishes, size, quality)
    hint = _hint(sources[1:])
    pictures = []
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        change = variation(number, draw)
        layers = job.layers if job.region is not None else _moved(job.layers, change)
        edited = _edit(layers, wishes, hint, change, draw, masked=job.region is not None)
        result = _inside(job, edited)
        pictures.append(encode(_marked(result), output_format, quality))
    return pictures


def placeholder(url: str) -> bytes:
    """A PNG of 1024 x 1024 pixels drawn from the URL, for pictures that only the network has."""
    buffer = io.BytesIO()
    scenes.placeholder_picture(url).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


# -- before the edit ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layers:
    """The picture at working size; `cutout` is None if no wish needs one."""

    picture: Image.Image
    cutout: Cutout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all pictures of a request share: `base` and `region` have the output's size."""

    layers: _Layers
    base: Image.Image
    region: Image.Image | None


def _job(source: Source, region: Image.Image | None, wishes: Wishes, size: str, quality: str) -> _Job:
    plain = is_plain(source.rgb)
    base = source
    if region is not None:
        target = output_size(source.size, size)
        # Nothing outside of the region may move, so the region turns within its own box.
        source = _turned_within(source, region, wishes)
        region = fit(region, target, plain=plain, empty=0)
    else:
        source = base = _framed(_turned(source, wishes), wishes, size)
        target = output_size(source.size, size)
    detail = _DETAIL.get(quality, 1.0)
    work = (max(1, round(target[0] * detail)), max(1, round(target[1] * detail)))
    picture = fit(source.rgb, work, plain=plain)
    cutout = None
    if wishes.needs_cutout:
        known = None if source.alpha is None else fit(source.alpha, work, plain=plain, empty=0)
        cutout = cut_out(picture, known)
        if region is not None:
            cutout = _restricted(cutout, region)
    return _Job(layers=_Layers(picture=picture, cutout=cutout), base=fit(base.rgb, target, plain=plain), region=region)


def _restricted(cutout: Cutout, region: Image.Image) -> Cutout:
    """The object inside of the region; the whole region if it holds little of the object."""
    inside = region.resize(cutout.alpha.size)
    both = ImageChops.multiply(cutout.alpha, inside)
    enough = ImageStat.Stat(both).sum[0] > 0.3 * ImageStat.Stat(inside).sum[0]
    return replace(cutout, alpha=both if enough else inside)


def _turned(source: Source, wishes: Wishes) -> Source:
    if not (wishes.mirror or wishes.turn):
        return source
    alpha = None if source.alpha is None else _turn(source.alpha, wishes, 0)
    return Source(rgb=_turn(source.rgb, wishes, _corner(source.rgb)), alpha=alpha)


def _turn(image: Image.Image, wishes: Wishes, fill: RGB | int) -> Image.Image:
    if wishes.mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    quarters, rest = divmod(wishes.turn, 90.0)
    if rest:
        return image.rotate(-wishes.turn, Image.Resampling.BICUBIC, fillcolor=fill)
    turns = (None, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)
    turn = turns[int(quarters) % 4]
    return image if turn is None else image.transpose(turn)


def _turned_within(source: Source, region: Image.Image, wishes: Wishes) -> Source:
    box = region.getbbox()
    if box is None or not (wishes.mirror or wishes.turn):
        return source
    part = source.rgb.crop(box)
    picture = source.rgb.copy()
    picture.paste(_turn(part, wishes, _corner(source.rgb)).resize(part.size), box[:2])
    return Source(rgb=picture, alpha=None)


def _corner(image: Image.Image) -> RGB:
    """A colour for what comes in from outside."""
    red, green, blue = ImageStat.Stat(image.crop((0, 0, max(1, image.width // 20), max(1, image.height // 20)))).mean
    return round(red), round(green), round(blue)


def _framed(source: Source, wishes: Wishes, size: str) -> Source:
    """Cropped around the object, in the output's form as far as the picture reaches."""
    if not (wishes.crop or wishes.square):
        return source
    width, height = source.size
    found = cut_out(source.rgb.resize((max(1, width // 2), max(1, height // 2))), None)
    left, top, right, bottom = (2 * side for side in found.box)
    if wishes.crop:
        margin = 0.16 / wishes.crop * max(right - left, bottom - top)
        # Even where the object fills the frame a crop must be seen.
        wide = min(right - left + 2 * margin, 0.92 * width)
        high = min(bottom - top + 2 * margin, 0.92 * height)
    else:
        wide, high = float(width), float(height)
    aspect = 1.0 if wishes.square else width / height
    if size != "auto":
        target = output_size(source.size, size)
        aspect = target[0] / target[1]
    wide, high = (max(wide, high * aspect), max(high, wide / aspect)) if wishes.crop else (wide, wide / aspect)
    shrink = min(1.0, width / wide, height / high)
    wide, high = wide * shrink, high * shrink
    x = max(0.0, min(width - wide, (left + right - wide) / 2))
    y = max(0.0, min(height - high, (top + bottom - high) / 2))
    box = (round(x), round(y), max(round(x) + 1, round(x + wide)), max(round(y) + 1, round(y + high)))
    return Source(rgb=source.rgb.crop(box), alpha=None if source.alpha is None else source.alpha.crop(box))


def _hint(references: Sequence[Source]) -> tuple[RGB, float] | None:
    """The mean colour of the references and how much of it to take: more for each of them."""
    if not references:
        return None
    total = [0.0, 0.0, 0.0]
    for reference in references:
        total = [a + b for a, b in zip(total, ImageStat.Stat(reference.rgb.resize((24, 24))).mean, strict=True)]
    red, green, blue = (round(part / len(references)) for part in total)
    return (red, green, blue), 0.04 + 0.01 * len(references)


# -- the edit ----------------------------------------------------------------------------------------------------


def _moved(layers: _Layers, change: Variation) -> _Layers:
    """A little closer, a little turned."""
    if change == Variation():
        return layers
    cutout = layers.cutout
    if cutout is not None:
        cutout = replace(
            cutout,
            colours=_zoomed(cutout.colours, change),
            alpha=_zoomed(cutout.alpha, change),
            ground=_zoomed(cutout.ground, change),
        )
    return _Layers(picture=_zoomed(layers.picture, change), cutout=cutout)


def _zoomed(image: Image.Image, change: Variation) -> Image.Image:
    width, height = image.size
    turned = image.rotate(-change.angle, Image.Resampling.BICUBIC)
    # At least so close that the turned corners stay outside.
    zoom = max(change.zoom, 1 + abs(change.angle) * 0.0175 * max(width / height, height / width))
    left, top = width * (1 - 1 / zoom) / 2, height * (1 - 1 / zoom) / 2
    return turned.resize((width, height), Image.Resampling.BICUBIC, (left, top, width - left, height - top))


def _edit(
    layers: _Layers,
    wishes: Wishes,
    hint: tuple[RGB, float] | None,
    change: Variation,
    draw: random.Random,
    *,
    masked: bool,
) -> Image.Image:
    """All wishes at working size; RGBA if nothing shall be behind the object."""
    tint, share = hint if hint is not None else (None, 0.0)
    picture, cutout = tinted_towards(layers.picture, tint, share), layers.cutout
    if not wishes:
        return toned(default_look(picture), wishes, change)
    if cutout is None:
        return finished(toned(picture, wishes, change), wishes)
    if masked:
        # What is left of the background inside of a mask must go on to match what is outside.
        picture = layers.picture
        cutout = replace(cutout, colours=toned(cutout.colours, Wishes(), change))
        change = Variation()
    colours = tinted_towards(cutout.colours, tint, share)
    if wishes.recolour is not None:
        colours = recoloured(colours, cutout.alpha, wishes.recolour)
    shadow = (20, 17, 16) if tint is None else mix((20, 17, 16), tint, 0.35)
    if wishes.background is not None or wishes.transparent:
        return _on_plain(toned(colours, wishes, change), cutout.alpha, wishes, shadow)
    if wishes.backdrop:
        _, _, _, bottom = cutout.box
        horizon = max(
            round(0.42 * picture.height), min(round(0.8 * picture.height), bottom - round(0.2 * picture.height))
        )
        ground = tinted_towards(scenes.backdrop(wishes.backdrop, picture.size, horizon, draw), tint, 2 * share)
        ground = scenes.cast_shadow(ground, cutout.alpha, shadow, wishes.shadow or 0.9)
    else:
        ground = picture
        if wishes.blur_background:
            ground = cutout.ground.filter(ImageFilter.GaussianBlur(max(picture.size) / 40 * wishes.blur_background))
        # Inside of a mask a new shadow would end where the mask does: only if nothing else is asked for.
        if wishes.shadow and not (masked and wishes.recolour):
            ground = scenes.cast_shadow(ground, cutout.alpha, shadow, 0.8 * wishes.shadow)
    together = Image.composite(colours, ground, cutout.alpha)
    return finished(toned(together, wishes, change), wishes)


def _on_plain(colours: Image.Image, alpha: Image.Image, wishes: Wishes, shadow: RGB) -> Image.Image:
    """On one colour, which tone words leave alone, or on nothing."""
    if wishes.background is None:
        clear = Image.new("RGB", colours.size, shadow)
        clear.paste(finished(colours, wishes), mask=alpha)
        shade = scenes.shadow_of(alpha, wishes.shadow) if wishes.shadow else Image.new("L", alpha.size, 0)
        clear.putalpha(ImageChops.lighter(alpha, shade))
        return clear
    ground = Image.new("RGB", colours.size, wishes.background)
    if wishes.shadow:
        ground = scenes.cast_shadow(ground, alpha, shadow, wishes.shadow)
    return finished(Image.composite(colours, ground, alpha), wishes)


# -- after the edit ----------------------------------------------------------------------------------------------


def _inside(job: _Job, edited: Image.Image) -> Image.Image:
    """At the output's size; outside of the mask as it was."""
    if edited.size != job.base.size:
        edited = edited.resize(job.base.size, Image.Resampling.BICUBIC)
    if job.region is None:
        return edited
    return Image.composite(edited, job.base.convert(edited.mode), job.region)


def _marked(image: Image.Image) -> Image.Image:
    """With the word REHEARSAL in the lower right corner, small and half transparent, a little away from the border."""
    font = ImageFont.load_default(size=max(8, round(min(image.size) / 42)))
    label = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(label)
    margin = max(2, round(min(image.size) * 0.024))
    at = (image.width - margin, image.height - margin)
    pen.text(at, _MARK, 150, font, anchor="rs")
    box = label.getbbox()
    if box is None:
        return image
    light = ImageStat.Stat(image.convert("L").crop(box)).mean[0]
    shade = 40 if light > 110 else 235
    result = image.copy()
    if image.mode == "RGBA":
        result.paste((shade, shade, shade, 255), mask=label)
        result.putalpha(ImageChops.lighter(image.getchannel("A"), label))
    else:
        result.paste((shade, shade, shade), mask=label)
    return result
