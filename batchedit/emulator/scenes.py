"""Drawn surroundings: backdrops, shadows, and whole pictures for addresses that only the network has."""

from __future__ import annotations

import hashlib
import itertools
import random
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from batchedit.emulator.palette import RGB, mix

_DARK, _LIGHT = (30, 20, 14), (255, 250, 240)


def backdrop(name: str, size: tuple[int, int], horizon: int, draw: random.Random) -> Image.Image:
    """
    A scene to stand something in.

    Args:
        name: ``oak``, ``linen``, ``marble``, ``concrete`` or ``studio``.
        horizon: Row at which wall and table meet.
    """
    match name:
        case "oak":
            return _on_table(size, horizon, (228, 222, 211), _planks((size[0], size[1] - horizon), draw), draw)
        case "marble":
            return _on_table(size, horizon, (214, 216, 218), _marble((size[0], size[1] - horizon), draw), draw)
        case "linen":
            return _linen(size, draw)
        case "concrete":
            wall = _gradient(size, (190, 188, 184), (158, 156, 152))
            for cells, strength in ((7, 0.16), (28, 0.14), (220, 0.1)):
                wall = _mottled(wall, _noise(size, cells, cells, draw), strength)
            return wall
        case _:
            return _studio(size, horizon)


def _on_table(size: tuple[int, int], horizon: int, wall: RGB, table: Image.Image, draw: random.Random) -> Image.Image:
    scene = _gradient(size, mix(wall, _LIGHT, 0.3), mix(wall, _DARK, 0.1))
    light = Image.new("L", size, 0)
    pen = ImageDraw.Draw(light)
    left = size[0] * (0.05 + 0.25 * draw.randrange(3) / 3)
    for pane in range(3):
        x = left + pane * size[0] * 0.2
        pen.polygon(
            [(x, 0), (x + size[0] * 0.15, 0), (x + size[0] * 0.32, horizon), (x + size[0] * 0.17, horizon)], 130
        )
    scene.paste((255, 250, 236), mask=light.filter(ImageFilter.GaussianBlur(size[0] / 30)))
    scene.paste(table, (0, horizon))
    edge = Image.new("L", size, 0)
    ImageDraw.Draw(edge).rectangle((0, horizon - size[1] // 40, size[0], horizon), 150)
    fade = edge.filter(ImageFilter.GaussianBlur(size[1] / 50))
    fade.paste(0, (0, horizon, *size))
    scene.paste((90, 76, 64), mask=fade.point(lambda value: value * 0.5))
    # Far things are out of focus: the wall, and the far end of the table.
    soft = scene.filter(ImageFilter.GaussianBlur(size[0] / 320))
    near = (
        Image.linear_gradient("L").resize((size[0], max(1, size[1] - horizon))).point(lambda value: min(255, value * 4))
    )
    sharp = Image.new("L", size, 0)
    sharp.paste(near, (0, horizon))
    return Image.composite(scene, soft, sharp)


def _planks(size: tuple[int, int], draw: random.Random) -> Image.Image:
    """A table top of oak, its far end on top."""
    width, height = max(8, size[0]), max(8, size[1])
    wood = _gradient((width, height), (206, 170, 126), (170, 126, 82))
    bounds = [0, round(height * 0.13), round(height * 0.34), round(height * 0.64), height]
    for top, bottom in itertools.pairwise(bounds):
        plank = (width, max(1, bottom - top))
        piece = wood.crop((0, top, width, bottom))
        piece = Image.blend(piece, Image.new("RGB", plank, (150, 104, 62)), 0.06 * draw.randrange(4))
        for across, along, strength in ((3, 9, 0.3), (6, 40, 0.32), (3, 110, 0.24)):
            piece = _mottled(piece, _noise(plank, across, along, draw), strength)
        wood.paste(piece, (0, top))
        pen = ImageDraw.Draw(wood)
        pen.line((0, top, width, top), (92, 62, 38), max(1, height // 160))
        pen.line((0, top + max(1, height // 160), width, top + max(1, height // 160)), (222, 188, 146), 1)
    return wood.resize((size[0], max(1, size[1])))


def _marble(size: tuple[int, int], draw: random.Random) -> Image.Image:
    width, height = max(8, size[0]), max(8, size[1])
    stone = _mottled(
        _gradient((width, height), (238, 237, 235), (222, 221, 220)), _noise((width, height), 5, 4, draw), 0.1
    )
    for _ in range(9):
        veins = Image.new("L", stone.size, 0)
        x, y = draw.randrange(-width // 3, width), draw.randrange(-height // 3, height)
        slope, line = 0.25, [(x, y)]
        for _ in range(60):
            slope = max(-0.1, min(0.7, slope + draw.choice((-0.12, -0.05, 0.05, 0.12))))
            x, y = x + width // 60, y + round(slope * width / 60)
            line.append((x, y))
        ImageDraw.Draw(veins).line(line, draw.randrange(60, 130), max(2, width // 400), joint="curve")
        stone.paste((120, 118, 122), mask=veins.filter(ImageFilter.GaussianBlur(width / 420 * draw.randrange(1, 4))))
    return stone.resize((size[0], max(1, size[1])))


def _linen(size: tuple[int, int], draw: random.Random) -> Image.Image:
    cloth = _gradient(size, (240, 233, 220), (219, 208, 190))
    cloth = _mottled(cloth, _noise(size, 4, 5, draw), 0.16)
    for across, along in ((2, size[1] // 3), (size[0] // 3, 2), (30, size[1] // 4), (size[0] // 4, 30)):
        cloth = _mottled(cloth, _noise(size, across, along, draw), 0.12)
    folds = _noise((2 * size[0], 2 * size[1]), 12, 4, draw).rotate(18, Image.Resampling.BILINEAR)
    left, top = size[0] // 2, size[1] // 2
    return _mottled(cloth, folds.crop((left, top, left + size[0], top + size[1])), 0.2)


def _studio(size: tuple[int, int], horizon: int) -> Image.Image:
    sweep = _gradient(size, (176, 178, 182), (224, 224, 226))
    spot = Image.radial_gradient("L").point(lambda value: max(0, 200 - value))
    glow = spot.resize((round(size[0] * 1.5), round(size[1] * 1.3)))
    sweep.paste((246, 246, 247), (-size[0] // 4, horizon - glow.height // 2 - size[1] // 8), glow)
    return sweep


def cast_shadow(ground: Image.Image, alpha: Image.Image, colour: RGB, strength: float) -> Image.Image:
    """The ground with a soft shadow of what stands on it: a dark line of contact, and a wide pale one."""
    shade = shadow_of(alpha, strength)
    result = ground.copy()
    result.paste(colour, mask=shade)
    return result


def shadow_of(alpha: Image.Image, strength: float) -> Image.Image:
    """The shadow alone, mode L."""
    box = alpha.point(lambda value: 255 if value > 96 else 0).getbbox()
    if box is None:
        return Image.new("L", alpha.size, 0)
    left, _, right, bottom = box
    wide, high = right - left, bottom - box[1]
    shade = Image.new("L", alpha.size, 0)
    for foot, thickness, blur, dark in ((0.03, 0.014, 0.012, 0.42), (0.10, 0.05, 0.03, 0.34), (0.3, 0.08, 0.06, 0.24)):
        part = alpha.crop((left, bottom - max(2, round(high * foot)), right, bottom))
        thick = max(2, round(thickness * (wide + high)))
        # Everything that the foot covers from above, pressed flat onto the ground.
        line = part.resize((wide, 1), Image.Resampling.BOX).point(lambda value: min(255, value * 4))
        print_ = Image.new("L", alpha.size, 0)
        print_.paste(line.resize((wide, thick)), (left, bottom - round(thick * 0.62)))
        soft = print_.filter(ImageFilter.GaussianBlur(max(1.0, blur * (wide + high) / 2)))
        shade = ImageChops.add(shade, soft.point([round(value * dark * min(1.6, strength)) for value in range(256)]))
    return shade


def placeholder_picture(url: str) -> Image.Image:
    """A product on a plain background; the same URL gives the same one."""
    draw = random.Random(hashlib.sha256(url.encode()).hexdigest())
    ground = draw.choice(((214, 207, 199), (226, 214, 196), (202, 215, 224), (208, 214, 200), (230, 212, 206)))
    body = draw.choice(((58, 122, 128), (190, 96, 66), (70, 84, 124), (150, 78, 40), (86, 112, 76), (122, 62, 84)))
    size = (1024, 1024)
    image = _gradient(size, mix(ground, _LIGHT, 0.2), mix(ground, _DARK, 0.1))
    mask = Image.new("L", (2048, 2048), 0)
    _outline(ImageDraw.Draw(mask), draw.choice(("vase", "jar", "box", "ball", "bottle")), draw)
    mask = mask.reduce(2)
    image = cast_shadow(image, mask, mix(ground, _DARK, 0.85), 1.0)
    box = mask.getbbox() or (0, 0, *size)
    image.paste(_lit(body, (box[2] - box[0], box[3] - box[1])), box[:2], mask.crop(box))
    band = Image.new("L", size, 0)
    middle = (box[1] + box[3]) // 2 + draw.randrange(-40, 60)
    ImageDraw.Draw(band).rectangle((0, middle, 1024, middle + draw.randrange(24, 90)), 200)
    image.paste(mix(body, _LIGHT, 0.72), mask=ImageChops.multiply(band, mask))
    name = unquote(PurePosixPath(urlsplit(url).path).name)[:48] or "picture"
    font = ImageFont.load_default(size=20)
    ImageDraw.Draw(image).text((512, 984), name, mix(ground, _DARK, 0.55), font, anchor="mm")
    return image


def _outline(pen: ImageDraw.ImageDraw, shape: str, draw: random.Random) -> None:
    """A shape in the middle of 2048 x 2048 pixels that stands on row 1680."""
    half, top = draw.randrange(300, 440), draw.randrange(420, 640)
    left, right = 1024 - half, 1024 + half
    match shape:
        case "vase":
            pen.ellipse((left, 840, right, 1680), 255)
            pen.polygon(
                [(1024 - half // 3, 900), (1024 - half // 2, top), (1024 + half // 2, top), (1024 + half // 3, 900)],
                255,
            )
            pen.rectangle((1024 - half // 2, 1500, 1024 + half // 2, 1680), 255)
        case "jar":
            pen.rounded_rectangle((left, top + 160, right, 1680), 90, 255)
            pen.rounded_rectangle((left + 50, top, right - 50, top + 190), 30, 255)
        case "box":
            pen.rounded_rectangle((left, top + 200, right, 1680), 24, 255)
        case "ball":
            pen.ellipse((1024 - half - 60, 1680 - 2 * half - 120, 1024 + half + 60, 1680), 255)
        case _:
            pen.rounded_rectangle((1024 - half // 2, 820, 1024 + half // 2, 1680), 70, 255)
            pen.polygon([(1024 - half // 2, 900), (950, 640), (1098, 640), (1024 + half // 2, 900)], 255)
            pen.rounded_rectangle((950, 360, 1098, 680), 24, 255)


def _lit(colour: RGB, size: tuple[int, int]) -> Image.Image:
    """A colour across a round body that is lit from the left."""
    row = Image.new("RGB", (7, 1))
    shades = (-0.3, -0.08, 0.3, 0.1, -0.1, -0.32, -0.42)
    for index, shade in enumerate(shades):
        row.putpixel((index, 0), mix(colour, _LIGHT if shade > 0 else _DARK, abs(shade)))
    return row.resize(size, Image.Resampling.BICUBIC)


def _gradient(size: tuple[int, int], top: RGB, bottom: RGB) -> Image.Image:
    """From one colour at the top to another at the bottom."""
    down = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), down)


def _noise(size: tuple[int, int], across: int, down: int, draw: random.Random) -> Image.Image:
    """Smooth noise, mode L, with so many cells across and down."""
    cells = (max(2, across), max(2, down))
    return Image.frombytes("L", cells, draw.randbytes(cells[0] * cells[1])).resize(size, Image.Resampling.BICUBIC)


def _mottled(image: Image.Image, noise: Image.Image, strength: float) -> Image.Image:
    """Darker where the noise is below its middle, lighter where it is above."""
    result = image.copy()
    result.paste(_DARK, mask=noise.point([round(max(0, 128 - value) * strength) for value in range(256)]))
    result.paste(_LIGHT, mask=noise.point([round(max(0, value - 128) * strength) for value in range(256)]))
    return result
