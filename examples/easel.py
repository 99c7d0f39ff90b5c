"""
A little easel for product illustrations: smooth outlines, gradients, soft light and shadow, all with Pillow.

Coordinates are pixels of the finished picture. Everything is painted larger and scaled down at the end, so that edges
come out smooth.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Point = tuple[float, float]
RGB = tuple[int, int, int]
Stops = Sequence[tuple[float, RGB]]

FOLDER = Path(__file__).resolve().parent / "manifests"
WHITE: RGB = (250, 247, 240)
OVER = 2
"""How much larger everything is painted."""


def curve(*points: Point, steps: int = 14) -> list[Point]:
    """A smooth open line through the points (Catmull-Rom)."""
    ends = [points[0], *points, points[-1]]
    line: list[Point] = []
    for (x0, y0), (x1, y1), (x2, y2), (x3, y3) in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for step in range(steps):
            t = step / steps
            line.append((_spline(x0, x1, x2, x3, t), _spline(y0, y1, y2, y3, t)))
    return [*line, points[-1]]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t)


def arc(box: tuple[float, float, float, float], start: float, end: float, steps: int = 48) -> list[Point]:
    """Part of the ellipse in a box, from one angle to another in degrees; 0 is right, 90 is down."""
    middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    radius_x, radius_y = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(middle_x + radius_x * math.cos(angle), middle_y + radius_y * math.sin(angle)) for angle in angles]


def oval(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The whole ellipse in a box."""
    return arc((left, top, right, bottom), 0, 360, 96)


def tube(line: Sequence[Point], start: float, end: float | None = None) -> list[Point]:
    """The outline of a line with a width; the width may change from start to end."""
    last = start if end is None else end
    left: list[Point] = []
    right: list[Point] = []
    for number, (x, y) in enumerate(line):
        before, after = line[max(0, number - 1)], line[min(len(line) - 1, number + 1)]
        dx, dy = after[0] - before[0], after[1] - before[1]
        length = math.hypot(dx, dy) or 1.0
        half = (start + (last - start) * number / (len(line) - 1)) / 2
        left.append((x - dy / length * half, y + dx / length * half))
        right.append((x + dy / length * half, y - dx / length * half))
    return [*left, *reversed(right)]


def blend(first: RGB, second: RGB, share: float) -> RGB:
    """`share` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: RGB, share: float) -> RGB:
    """A darker, slightly warmer version of a colour."""
    return blend(colour, (24, 16, 14), share)


def paler(colour: RGB, share: float) -> RGB:
    """A paler version of a colour."""
    return blend(colour, (255, 252, 246), share)


def rounded(stops_from: RGB) -> list[tuple[float, RGB]]:
    """Shades of a colour across a cylinder that is lit from the left."""
    return [
        (0.0, darker(stops_from, 0.34)),
        (0.1, darker(stops_from, 0.12)),
        (0.28, paler(stops_from, 0.26)),
        (0.42, paler(stops_from, 0.06)),
        (0.7, darker(stops_from, 0.2)),
        (0.92, darker(stops_from, 0.5)),
        (1.0, darker(stops_from, 0.4)),
    ]


def ramp(size: tuple[int, int], stops: Stops, *, down: bool = False) -> Image.Image:
    """A picture that goes through the colours, left to right or top to bottom."""
    row = Image.new("RGB", (256, 1))
    for index in range(256):
        place = index / 255
        lower = max((stop for stop in stops if stop[0] <= place), key=lambda stop: stop[0], default=stops[0])
        upper = min((stop for stop in stops if stop[0] >= place), key=lambda stop: stop[0], default=stops[-1])
        span = upper[0] - lower[0]
        row.putpixel((index, 0), blend(lower[1], upper[1], (place - lower[0]) / span if span else 0.0))
    return (row.transpose(Image.Transpose.ROTATE_270) if down else row).resize(size, Image.Resampling.BICUBIC)


class Easel:
    """
    A picture in progress.

    Args:
        width, height: Of the finished picture.
        wall: Colour at the top.
        floor: Colour at the bottom.
    """

    def __init__(self, width: int, height: int, wall: RGB, floor: RGB) -> None:
        self.size = (width * OVER, height * OVER)
        self.image = ramp(self.size, [(0.0, wall), (0.55, blend(wall, floor, 0.45)), (1.0, floor)], down=True)
        corners = Image.radial_gradient("L").resize(self.size).point([value // 9 for value in range(256)])
        self.image.paste(darker(floor, 0.4), mask=corners)

    def shape(self, *outlines: Sequence[Point], holes: Sequence[Sequence[Point]] = ()) -> Image.Image:
        """The area inside of outlines but outside of the holes."""
        mask = Image.new("L", (self.size[0] * 2, self.size[1] * 2), 0)
        pen = ImageDraw.Draw(mask)
        for value, group in ((255, outlines), (0, holes)):
            for outline in group:
                pen.polygon([(x * OVER * 2, y * OVER * 2) for x, y in outline], value)
        return mask.reduce(2)

    def fill(self, shape: Image.Image, stops: RGB | Stops, *, down: bool = False) -> None:
        """Paint an area in one colour or with a gradient over its box."""
        box = shape.getbbox()
        if box is None:
            return
        if isinstance(stops, tuple) and isinstance(stops[0], int):
            self.image.paste(stops, mask=shape)
            return
        size = (box[2] - box[0], box[3] - box[1])
        self.image.paste(ramp(size, stops, down=down), box[:2], shape.crop(box))  # type: ignore[arg-type]

    def glow(self, shape: Image.Image, spot: Image.Image, colour: RGB, blur: float, strength: float) -> None:
        """Soft light or shade of a spot's form that stays inside of the area."""
        soft = spot.filter(ImageFilter.GaussianBlur(blur * OVER))
        self._tint(ImageChops.multiply(soft, shape), colour, strength)

    def edge(self, shape: Image.Image, colour: RGB, shift: Point, blur: float, strength: float) -> None:
        """Shade along the inner edge, on the side that the shift points away from."""
        moved = ImageChops.offset(shape, round(shift[0] * OVER), round(shift[1] * OVER))
        rim = ImageChops.invert(moved).filter(ImageFilter.GaussianBlur(blur * OVER))
        self._tint(ImageChops.multiply(rim, shape), colour, strength)

    def shadow(self, left: float, top: float, right: float, bottom: float, blur: float, strength: float) -> None:
        """A soft shadow on the ground, of the form of an ellipse."""
        soft = self.shape(oval(left, top, right, bottom)).filter(ImageFilter.GaussianBlur(blur * OVER))
        self._tint(soft, (34, 26, 24), strength)

    def line(self, points: Sequence[Point], width: float, colour: RGB, strength: float = 1.0) -> None:
        """A line of an even width with round ends."""
        radius = width / 2
        ends = [oval(x - radius, y - radius, x + radius, y + radius) for x, y in (points[0], points[-1])]
        self._tint(self.shape(tube(points, width), *ends), colour, strength)

    def stitches(self, points: Sequence[Point], colour: RGB, width: float = 2.0, every: int = 4) -> None:
        """A dashed line."""
        dashes = [points[at : at + every // 2 + 1] for at in range(0, len(points) - every // 2, every)]
        self._tint(self.shape(*(tube(dash, width) for dash in dashes)), colour, 0.85)

    def grain(self, shape: Image.Image, seed: str, strength: float, stretch: tuple[int, int] = (1, 1)) -> None:
        """Fine irregularities of a material; stretched they become the grain of wood."""
        draw = random.Random(seed)
        width, height = max(8, self.size[0] // (2 * stretch[0])), max(8, self.size[1] // (2 * stretch[1]))
        noise = Image.frombytes("L", (width, height), draw.randbytes(width * height)).resize(
            self.size, Image.Resampling.BICUBIC
        )
        self._tint(ImageChops.multiply(noise, shape), (30, 20, 14), strength)

    def text(self, middle: Point, words: str, size: float, colour: RGB) -> None:
        """Words, centred."""
        font = ImageFont.load_default(size=size * OVER)
        ImageDraw.Draw(self.image).text((middle[0] * OVER, middle[1] * OVER), words, colour, font, anchor="mm")

    def save(self, name: str, folder: str = "in") -> None:
        """Write the finished picture as JPEG."""
        self.image.reduce(OVER).save(_path(folder, f"{name}.jpg"), "JPEG", quality=86, optimize=True)

    def save_mask(self, shape: Image.Image, name: str) -> None:
        """Write a mask as PNG: transparent where the picture may change."""
        alpha = ImageChops.invert(shape.reduce(OVER))
        mask = Image.new("RGBA", alpha.size, (0, 0, 0, 255))
        mask.putalpha(alpha)
        mask.save(_path("masks", f"{name}.png"), "PNG", optimize=True)

    def _tint(self, mask: Image.Image, colour: RGB, strength: float) -> None:
        self.image.paste(colour, mask=mask.point([round(value * strength) for value in range(256)]))


def _path(folder: str, name: str) -> Path:
    (FOLDER / folder).mkdir(parents=True, exist_ok=True)
    return FOLDER / folder / name
