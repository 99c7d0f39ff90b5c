"""Light and colour: what the words about tone do to pixels."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageMath, ImageOps

from batchedit.emulator.palette import RGB
from batchedit.emulator.words import Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """
    How one picture of several differs from the first.

    Attributes:
        warmth: On the scale of the wishes.
        brightness: On the scale of the wishes.
        zoom: 1.0 for none.
        angle: Degrees clockwise.
    """

    warmth: float = 0.0
    brightness: float = 0.0
    zoom: float = 1.0
    angle: float = 0.0


def variation(number: int, draw: random.Random) -> Variation:
    """The variation of a picture, numbered from 0; the first has none."""
    if number == 0:
        return Variation()
    side = 1 if number % 2 else -1
    return Variation(
        warmth=side * draw.choice((0.3, 0.4, 0.5)),
        brightness=draw.choice((-0.2, 0.2)),
        zoom=1.045 + 0.01 * draw.randrange(3),
        angle=side * (0.9 + 0.2 * draw.randrange(4)),
    )


def toned(image: Image.Image, wishes: Wishes, change: Variation) -> Image.Image:
    """Brightness, warmth, contrast, saturation and sharpness, in this order."""
    brightness = wishes.brightness + change.brightness
    warmth = wishes.warmth + change.warmth
    if brightness or warmth:
        image = image.point(_curves(brightness, warmth))
    if wishes.contrast:
        image = ImageEnhance.Contrast(image).enhance(1 + (0.42 if wishes.contrast > 0 else 0.34) * wishes.contrast)
    if wishes.saturation:
        image = ImageEnhance.Color(image).enhance(max(0.0, 1 + 0.55 * wishes.saturation))
    if wishes.sharpness > 0:
        radius = max(1.0, max(image.size) / 600)
        image = image.filter(ImageFilter.UnsharpMask(radius=radius, percent=round(150 * wishes.sharpness), threshold=1))
    elif wishes.sharpness < 0:
        image = image.filter(ImageFilter.GaussianBlur(max(1.0, max(image.size) / 110) * -wishes.sharpness))
    return image


def _curves(brightness: float, warmth: float) -> list[int]:
    """Tables for red, green and blue in one list. Black and white stay, so that nothing is clipped flat."""
    gamma = 2.0 ** (-0.62 * brightness)
    table = []
    for gain in (0.3 * warmth, 0.04 * warmth, -0.36 * warmth):
        power = gamma * 2.0 ** (-gain)
        table += [round(255 * (value / 255) ** power) for value in range(256)]
    return table


def finished(image: Image.Image, wishes: Wishes) -> Image.Image:
    """What goes over the whole picture in the end: sepia and grayscale."""
    if wishes.sepia:
        gray = ImageOps.grayscale(image)
        image = ImageOps.colorize(gray, black=(30, 18, 8), mid=(150, 112, 74), white=(255, 244, 222))
    if wishes.grayscale:
        image = ImageOps.grayscale(image).convert("RGB")
    return image


def default_look(image: Image.Image) -> Image.Image:
    """What happens if no word is understood: a little more contrast, and darker corners."""
    lively = Image.blend(image, ImageOps.autocontrast(image, cutoff=0.5, preserve_tone=True), 0.4)
    lively = ImageEnhance.Contrast(lively).enhance(1.08)
    # The radial gradient is 0 in the middle and 255 in the corners.
    corners = Image.radial_gradient("L").resize(image.size).point(lambda value: max(0, value - 90) * 0.55)
    lively.paste((16, 14, 18), mask=corners)
    return lively


def tinted_towards(image: Image.Image, colour: RGB | None, share: float) -> Image.Image:
    """A little of a colour over everything."""
    return image if colour is None else Image.blend(image, Image.new("RGB", image.size, colour), share)


def recoloured(image: Image.Image, area: Image.Image, colour: RGB) -> Image.Image:
    """
    The picture with the main material in an area dyed; shading stays, and so do parts of another colour.

    Args:
        area: Mode L, 255 where the object is.
    """
    light = ImageOps.grayscale(image)
    middle = max(24, min(220, _median(light, area)))
    target = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    tables = []
    for part in colour:
        # Shadows go towards black and highlights towards white on both sides of the material's own lightness.
        tables += [_dyed(value, middle, part, target) for value in range(256)]
    dyed = Image.merge("RGB", (light, light, light)).point(tables)
    return Image.composite(dyed, image, ImageChops.multiply(area, _main_material(image, area)))


def _dyed(value: int, middle: int, part: int, target: float) -> int:
    if value <= middle:
        return round(part * math.pow(value / middle, 0.9))
    share = (value - middle) / (255 - middle)
    # Dark dyes shine less: a highlight on oxblood is not pink.
    power, shine = (1.5, 0.75) if target < 110 else (1.0, 1.0)
    return round(part + (255 - part) * math.pow(share, power) * shine)


def _main_material(image: Image.Image, area: Image.Image) -> Image.Image:
    """Mode L, 255 where the colour is the one that most of the area has, whatever its lightness."""
    inside = area.point(lambda value: 255 if value > 128 else 0)
    _, blue, red = image.convert("YCbCr").split()
    main_blue, main_red = _mode(blue, inside) - 128, _mode(red, inside) - 128
    strength = main_blue**2 + main_red**2

    def measure(args: dict[str, Any]) -> Any:
        here_blue, here_red = args["float"](args["blue"]) - 128.0, args["float"](args["red"]) - 128.0
        if strength < 60:
            # Black, gray or white: the material is what has no colour.
            colour = (here_blue**2 + here_red**2) ** 0.5
            return args["convert"](args["max"](args["min"]((16.0 - colour) / 8.0, 1.0), 0.0) * 255.0, "L")
        # How much of the main colour is in the pixel, and how much of any other.
        along = (here_blue * main_blue + here_red * main_red) / strength
        across = abs(here_blue * main_red - here_red * main_blue) / strength
        much = args["max"](args["min"]((along - 0.44) * 6.0, 1.0), 0.0)
        alike = args["max"](args["min"]((0.75 - across) * 4.0, 1.0), 0.0)
        return args["convert"](much * alike * 255.0, "L")

    weight = ImageMath.lambda_eval(measure, blue=blue, red=red)
    assert isinstance(weight, Image.Image)
    covered = sum(ImageChops.multiply(weight, inside).histogram()[128:])
    if covered < 0.3 * sum(inside.histogram()[128:]):
        return Image.new("L", image.size, 255)
    # Noise must not leave specks; at half the size the filter costs a quarter.
    half = weight.reduce(2).filter(ImageFilter.MedianFilter(5)).resize(image.size, Image.Resampling.BILINEAR)
    return half.filter(ImageFilter.GaussianBlur(max(0.8, max(image.size) / 1400)))


def _mode(channel: Image.Image, mask: Image.Image) -> int:
    """The most common value, neighbours counted in."""
    counts = channel.histogram(mask)
    return max(range(3, 253), key=lambda value: sum(counts[value - 3 : value + 4]))


def _median(channel: Image.Image, mask: Image.Image) -> int:
    counts = channel.histogram(mask.point(lambda value: 255 if value > 128 else 0))
    half, seen = sum(counts) / 2, 0
    for value, count in enumerate(counts):
        seen += count
        if seen >= half:
            return value
    return 128
