"""
Telling an object from the plain background that it stands on, without a model.

    picture --> colours of the border --> background everywhere (a curved surface per channel)
            --> what is like it, or like it in the shade, and smooth   --> areas
            --> areas at the border, and holes of the same colour      --> background
            --> at the edge: how much of each pixel is object          --> alpha

The areas are found in a smaller copy; the edge is worked out at full size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageFilter, ImageMath

_WORK_SIDE = 448
_GRID = 40
_SHADE, _GLARE = 0.34, 1.08
"""How dark a shadow and how bright a gleam on the background may be, relative to it."""
_CHROMA, _STEP, _SAME = 7.0, 9, 7
"""Largest difference in colour, between neighbours, and from the estimated background; levels of 255."""
_FOOT = 0.7
"""Where the lowest part of an object begins, as a share of its height."""
_SMALLEST_OBJECT, _SMALLEST_HOLE = 0.0012, 0.00012
"""Shares of the picture."""
_RUN = re.compile(rb"\x01+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """
    An object without its background.

    Attributes:
        colours: The object's colours, continued beyond its edge so that no trace of the background is left.
        alpha: Mode L, 255 where the object is.
        ground: What is behind it, as far as it can be guessed; the object itself is painted over.
        certain: False if no object was found and `alpha` is only the middle of the picture.
    """

    colours: Image.Image
    alpha: Image.Image
    ground: Image.Image
    certain: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the object."""
        return self.alpha.point(lambda value: 255 if value > 96 else 0).getbbox() or (0, 0, *self.alpha.size)


def cut_out(image: Image.Image, known: Image.Image | None = None) -> Cutout:
    """
    Separate the object from its background.

    Args:
        image: Mode RGB.
        known: The alpha channel that the picture came with, None if there was none.
    """
    if known is not None and known.getextrema() != (255, 255):
        inner = known.point(lambda value: 255 if value > 250 else 0)
        colours = _spread(image, inner, _reach(image))
        return Cutout(colours=colours, alpha=known, ground=Image.new("RGB", image.size, "white"), certain=True)
    scale = min(1.0, _WORK_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BOX)
    ground = estimate_ground(small)
    background = _background(small, ground)
    share = background.histogram()[0] / (size[0] * size[1])
    if not 0.004 < share < 0.985:
        alpha = _middle(image.size)
        return Cutout(colours=image, alpha=alpha, ground=ground.resize(image.size), certain=False)
    coarse = ImageChops.invert(background).resize(image.size, Image.Resampling.BICUBIC)
    return _matte(image, coarse, ground)


# -- the background's colour -------------------------------------------------------------------------------------


def estimate_ground(image: Image.Image) -> Image.Image:
    """The background as it would look without an object, from the colours along the border."""
    width, height = image.size
    inset = max(1, min(width, height) // 60)
    points = [(x, y) for x in range(0, width, 3) for y in (0, inset, height - 1 - inset, height - 1)]
    points += [(x, y) for y in range(0, height, 3) for x in (0, inset, width - 1 - inset, width - 1)]
    terms = [_terms((x + 0.5) / width, (y + 0.5) / height) for x, y in points]
    pixels = image.load()
    colours: list[Any] = [pixels[point] for point in points] if pixels is not None else []
    surfaces = _fit(terms, colours)
    for _ in range(2):
        # An object that touches the border must not pull the background towards its colour.
        misses = [
            max(abs(_at(s, t) - c[n]) for n, s in enumerate(surfaces)) for t, c in zip(terms, colours, strict=True)
        ]
        limit = max(5.0, 2.5 * sorted(misses)[len(misses) // 2])
        good = [number for number, miss in enumerate(misses) if miss <= limit]
        if len(good) < 24:
            break
        surfaces = _fit([terms[n] for n in good], [colours[n] for n in good])
    cells = [_terms((x + 0.5) / _GRID, (y + 0.5) / _GRID) for y in range(_GRID) for x in range(_GRID)]
    data = bytes(max(0, min(255, round(_at(surface, cell)))) for cell in cells for surface in surfaces)
    return Image.frombytes("RGB", (_GRID, _GRID), data).resize(image.size, Image.Resampling.BICUBIC)


def plainness(image: Image.Image) -> float:
    """How uneven the border is, in levels: below about 10 the background is plain."""
    small = image.resize((64, 64), Image.Resampling.BOX)
    data = ImageChops.difference(small, estimate_ground(small)).convert("L").tobytes()
    border = sorted(data[:64] + data[-64:] + data[::64] + data[63::64])
    return float(border[len(border) * 9 // 10])


def _terms(x: float, y: float) -> tuple[float, ...]:
    return (1.0, x, y, x * x, x * y, y * y)


def _at(surface: Sequence[float], terms: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(surface, terms, strict=True))


def _fit(terms: Sequence[Sequence[float]], colours: Sequence[Sequence[int]]) -> list[list[float]]:
    """Least squares for each channel: the surface through the colours."""
    order = len(terms[0])
    # The small number keeps a border of one pixel, or of one point, from having no solution.
    matrix = [[sum(t[i] * t[j] for t in terms) + (1e-6 if i == j else 0.0) for j in range(order)] for i in range(order)]
    sides = [[sum(t[i] * c[n] for t, c in zip(terms, colours, strict=True)) for n in range(3)] for i in range(order)]
    for pivot in range(order):
        best = max(range(pivot, order), key=lambda row: abs(matrix[row][pivot]))
        matrix[pivot], matrix[best] = matrix[best], matrix[pivot]
        sides[pivot], sides[best] = sides[best], sides[pivot]
        for row in range(order):
            if row != pivot:
                factor = matrix[row][pivot] / matrix[pivot][pivot]
                matrix[row] = [a - factor * b for a, b in zip(matrix[row], matrix[pivot], strict=True)]
                sides[row] = [a - factor * b for a, b in zip(sides[row], sides[pivot], strict=True)]
    return [[sides[i][n] / matrix[i][i] for i in range(order)] for n in range(3)]


# -- areas -------------------------------------------------------------------------------------------------------


def _background(image: Image.Image, ground: Image.Image) -> Image.Image:
    """255 where the background is, 0 where the object is."""
    away = _strongest(ImageChops.difference(image, ground))
    smooth = _strongest(
        ImageChops.difference(image.filter(ImageFilter.MaxFilter(3)), image.filter(ImageFilter.MinFilter(3)))
    )
    candidates = ImageChops.lighter(
        ImageChops.darker(_shades(image, ground, _CHROMA), _below(smooth, _STEP)),
        ImageChops.darker(_below(away, _SAME), _below(smooth, 3 * _STEP)),
    )
    first = _without_object(candidates, away)
    box = ImageChops.invert(first).getbbox()
    if box is None:
        return first
    # The shadow where the object stands has steep sides: around the foot more counts as a shade of the background.
    foot = Image.new("L", image.size, 0)
    foot.paste(255, (0, round(box[1] + _FOOT * (box[3] - box[1])), *image.size))
    deep = ImageChops.darker(_shades(image, ground, 1.35 * _CHROMA), _below(smooth, 3.0 * _STEP))
    second = _without_object(ImageChops.lighter(candidates, ImageChops.darker(deep, foot)), away)
    second.paste(second.filter(ImageFilter.MedianFilter(5)), mask=foot)
    return second


def _without_object(candidates: Image.Image, away: Image.Image) -> Image.Image:
    """What of the candidates is background, grown to the object's edge, without specks of other things in it."""
    size = candidates.size
    everything = size[0] * size[1]
    kept = [area for area in _areas(candidates) if area.at_border or _is_hole(area, away, everything)]
    # The edge itself is not smooth: one pixel of it belongs to the background.
    background = _painted(kept, size).filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.MedianFilter(3))
    objects = [area for area in _areas(ImageChops.invert(background)) if area.pixels > _SMALLEST_OBJECT * everything]
    return ImageChops.invert(_painted(objects, size))


@dataclass(slots=True)
class _Area:
    """Connected pixels as runs (start, end) in the rows' common numbering."""

    runs: list[tuple[int, int]]
    pixels: int
    at_border: bool


def _areas(mask: Image.Image) -> list[_Area]:
    """All connected areas of pixels that are not 0; two pixels are neighbours if they share a side."""
    width, height = mask.size
    data = mask.point(lambda value: 1 if value > 127 else 0).tobytes()
    parents: list[int] = []
    runs: list[tuple[int, int]] = []

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    above: list[int] = []
    for y in range(height):
        here: list[int] = []
        first = 0
        for match in _RUN.finditer(data, y * width, (y + 1) * width):
            index = len(parents)
            parents.append(index)
            runs.append(match.span())
            here.append(index)
            start, end = match.start() - width, match.end() - width
            while first < len(above) and runs[above[first]][1] <= start:
                first += 1
            for other in above[first:]:
                if runs[other][0] >= end:
                    break
                parents[root(index)] = root(other)
        above = here
    found: dict[int, _Area] = {}
    for index, (start, end) in enumerate(runs):
        area = found.setdefault(root(index), _Area([], 0, False))
        area.runs.append((start, end))
        area.pixels += end - start
        area.at_border |= start % width == 0 or end % width == 0 or start < width or end > width * (height - 1)
    return list(found.values())


def _painted(areas: Sequence[_Area], size: tuple[int, int]) -> Image.Image:
    canvas = bytearray(size[0] * size[1])
    for area in areas:
        for start, end in area.runs:
            canvas[start:end] = b"\xff" * (end - start)
    return Image.frombytes("L", size, bytes(canvas))


def _is_hole(area: _Area, away: Image.Image, everything: int) -> bool:
    """True if the background shows through here: the handle of a mug, the legs of a chair."""
    if area.pixels < _SMALLEST_HOLE * everything:
        return False
    data = away.tobytes()
    return sum(sum(data[start:end]) for start, end in area.runs) < 1.4 * _SAME * area.pixels


def _shades(image: Image.Image, ground: Image.Image, tolerance: float) -> Image.Image:
    """255 where the colour is the background's, lit a little more or less."""
    light = image.convert("L"), ground.convert("L")
    channels = list(zip(image.split(), ground.split(), strict=True))

    def measure(args: dict[str, Any]) -> Any:
        ratio = args["float"](args["here"]) / (args["float"](args["there"]) + 1.0)
        off = 0.0
        for number in range(3):
            miss = abs(args["float"](args[f"i{number}"]) - ratio * args["float"](args[f"g{number}"]))
            off = args["max"](miss, off)
        fits = (off < tolerance) * (ratio > _SHADE) * (ratio < _GLARE)
        return args["convert"](fits * 255, "L")

    named = {f"i{n}": pair[0] for n, pair in enumerate(channels)} | {
        f"g{n}": pair[1] for n, pair in enumerate(channels)
    }
    return _calculated(measure, here=light[0], there=light[1], **named)


def _strongest(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _below(image: Image.Image, limit: float) -> Image.Image:
    return image.point(lambda value: 255 if value <= limit else 0)


# -- the edge ----------------------------------------------------------------------------------------------------


def _matte(image: Image.Image, coarse: Image.Image, ground: Image.Image) -> Cutout:
    """How much of each pixel at the edge is object, from the colours on both sides."""
    reach = _reach(image)
    wide = coarse.filter(ImageFilter.GaussianBlur(reach * 0.6))
    inside = wide.point(lambda value: 255 if value > 232 else 0)
    outside = wide.point(lambda value: 255 if value < 20 else 0)
    colours = _spread(image, inside, reach)
    behind = _spread(image, outside, reach)
    share = _share_of_object(image, colours, behind, wide.point(_steep))
    alpha = ImageChops.darker(ImageChops.lighter(share, inside), ImageChops.invert(outside))
    full_ground = _spread(image, outside, reach, ground.resize(image.size, Image.Resampling.BICUBIC))
    return Cutout(colours=colours, alpha=alpha, ground=full_ground, certain=True)


def _share_of_object(
    image: Image.Image, colours: Image.Image, behind: Image.Image, fallback: Image.Image
) -> Image.Image:
    """
    Where a pixel's colour lies between the object's and the background's, as alpha.

    Where the two are too similar to tell, the fallback is taken.
    """

    def measure(args: dict[str, Any]) -> Any:
        along, length = 0.0, 1.0
        for number in range(3):
            base = args["float"](args[f"b{number}"])
            span = args["float"](args[f"c{number}"]) - base
            along = along + (args["float"](args[f"i{number}"]) - base) * span
            length = length + span * span
        share = args["max"](args["min"](along / length * 1.12 - 0.06, 1.0), 0.0) * 255.0
        trust = args["max"](args["min"]((length - 300.0) / 1500.0, 1.0), 0.0)
        return args["convert"](share * trust + args["float"](args["fallback"]) * (1.0 - trust), "L")

    named: dict[str, Image.Image] = {}
    for letter, picture in (("i", image), ("c", colours), ("b", behind)):
        named |= {f"{letter}{number}": channel for number, channel in enumerate(picture.split())}
    return _calculated(measure, fallback=fallback, **named)


def _spread(image: Image.Image, mask: Image.Image, reach: float, base: Image.Image | None = None) -> Image.Image:
    """The picture inside of the mask; outside of it the nearest colours, farther away the base."""
    result = base.copy() if base is not None else image.copy()
    cut = image.convert("RGBA")
    cut.putalpha(mask)
    premultiplied = cut.convert("RGBa")
    for radius in (3.0 * reach, reach):
        soft = premultiplied.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        result.paste(soft.convert("RGB"), mask=soft.getchannel("A").point(lambda value: min(255, value * 8)))
    result.paste(image, mask=mask)
    return result


def _reach(image: Image.Image) -> float:
    """How many pixels the edge may be off after scaling the areas up."""
    return max(1.0, max(image.size) / _WORK_SIDE * 1.3)


def _steep(value: int) -> int:
    return max(0, min(255, round((value - 96) * 255 / 80)))


def _middle(size: tuple[int, int]) -> Image.Image:
    """A soft oval: what is taken for the object if nothing stands out."""
    oval = Image.radial_gradient("L").point(lambda value: max(0, min(255, (150 - value) * 6)))
    return oval.resize(size, Image.Resampling.BICUBIC)


def _calculated(formula: Callable[[dict[str, Any]], Any], **pictures: Image.Image) -> Image.Image:
    result = ImageMath.lambda_eval(formula, **pictures)
    assert isinstance(result, Image.Image)
    return result
