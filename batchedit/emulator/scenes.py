"""Backdrops and stand-in pictures, drawn."""

from __future__ import annotations

import hashlib
import random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]


def backdrop(scene: str, size: tuple[int, int], draw: random.Random) -> Image.Image:
    """A plain scene to stand a product in: ``wood``, ``linen`` or ``studio``."""
    width, height = size
    horizon = round(height * 0.62)
    wall, floor = {
        "wood": ((226, 220, 208), (178, 130, 84)),
        "linen": ((240, 234, 222), (226, 216, 198)),
        "studio": ((206, 206, 210), (232, 232, 234)),
    }[scene]
    image = Image.new("RGB", size, wall)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, horizon, width, height), floor)
    if scene == "wood":
        plank = max(8, (height - horizon) // 5)
        for top in range(horizon, height, plank):
            shade = draw.randint(-14, 14)
            pen.rectangle((0, top, width, top + plank - 2), _shift(floor, shade))
            for _ in range(14):
                y = top + draw.randint(2, plank - 3)
                x = draw.randint(-width // 4, width)
                pen.line((x, y, x + draw.randint(width // 8, width // 2), y + draw.randint(-2, 2)), _shift(floor, -18))
    elif scene == "linen":
        for x in range(0, width, 5):
            pen.line((x, 0, x, height), _shift(wall, draw.randint(-7, 3)))
    return image.filter(ImageFilter.GaussianBlur(width / 400 if scene == "wood" else width / 120))


def draw_placeholder(url: str) -> Image.Image:
    """A simple product on a plain background; colours and shape follow from the URL, so the same URL is the same."""
    draw = random.Random(hashlib.sha256(url.encode()).hexdigest())
    side = 1024
    ground = (draw.randint(196, 226), draw.randint(194, 222), draw.randint(186, 216))
    body = (draw.randint(30, 210), draw.randint(30, 170), draw.randint(30, 190))
    image = Image.new("RGB", (side, side), ground)
    shadow = Image.new("L", (side, side), 0)
    ImageDraw.Draw(shadow).ellipse((250, 760, 774, 850), 120)
    image = Image.composite(Image.new("RGB", (side, side), _shift(ground, -70)), image, shadow.filter(
        ImageFilter.GaussianBlur(24)))  # fmt: skip
    pen = ImageDraw.Draw(image)
    shape = draw.choice(("vase", "box", "ball"))
    if shape == "vase":
        pen.rounded_rectangle((380, 420, 644, 810), 90, body)
        pen.rectangle((450, 280, 574, 450), body)
        pen.ellipse((430, 250, 594, 310), _shift(body, 30))
    elif shape == "box":
        pen.polygon([(300, 420), (512, 330), (724, 420), (512, 510)], _shift(body, 45))
        pen.polygon([(300, 420), (512, 510), (512, 820), (300, 720)], body)
        pen.polygon([(724, 420), (512, 510), (512, 820), (724, 720)], _shift(body, -25))
    else:
        pen.ellipse((290, 330, 734, 810), body)
        pen.ellipse((380, 400, 500, 500), _shift(body, 60))
    name = url.rsplit("/", 1)[-1].split("?")[0][:40]
    pen.text((24, 984), name, font=ImageFont.load_default(size=22), fill=_shift(ground, -90))
    return image.filter(ImageFilter.GaussianBlur(0.8))


def _shift(colour: Colour, by: int) -> Colour:
    red, green, blue = (max(0, min(255, part + by)) for part in colour)
    return red, green, blue
