"""Small pictures to edit, and what there is to measure on the results."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from batchedit.emulator.pixels import Picture, render

RGB = tuple[int, int, int]

GROUND: RGB = (206, 198, 188)
OBJECT: RGB = (178, 62, 48)
SIDE = 160
SIZE = f"{SIDE}x{SIDE}"


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def product(ground: RGB = GROUND, body: RGB = OBJECT, side: int = SIDE) -> Image.Image:
    """A cup with a handle on the right, on a plain ground that is darker below, with a soft shadow."""
    image = Image.new("RGB", (side, side), ground)
    shade = Image.linear_gradient("L").resize((side, side)).point(lambda value: value // 8)
    image.paste((90, 80, 70), mask=shade)
    unit = side / 160
    shadow = Image.new("L", (side, side), 0)
    ImageDraw.Draw(shadow).ellipse((46 * unit, 112 * unit, 118 * unit, 128 * unit), 110)
    image.paste((40, 32, 30), mask=shadow.filter(ImageFilter.GaussianBlur(4 * unit)))
    pen = ImageDraw.Draw(image)
    pen.ellipse((84 * unit, 54 * unit, 124 * unit, 104 * unit), body)
    pen.ellipse((96 * unit, 66 * unit, 112 * unit, 92 * unit), image.getpixel((4, round(80 * unit))))
    pen.rectangle((48 * unit, 40 * unit, 98 * unit, 120 * unit), body)
    pen.rectangle((54 * unit, 46 * unit, 60 * unit, 112 * unit), tuple(min(255, part + 50) for part in body))
    return image


INPUT = encoded(product())


def edit(
    prompt: str,
    *,
    images: list[bytes] | None = None,
    mask: bytes | None = None,
    count: int = 1,
    size: str = SIZE,
    output_format: str = "png",
    quality: str = "high",
    seed: str = "seed",
) -> list[Picture]:
    """`render` with something for everything."""
    return render(
        images=images or [INPUT],
        mask=mask,
        prompt=prompt,
        count=count,
        size=size,
        output_format=output_format,
        quality=quality,
        seed=seed,
    )


def edited(prompt: str, **options: object) -> Image.Image:
    """The first picture of an edit, decoded."""
    return decoded(edit(prompt, **options)[0])  # type: ignore[arg-type]


def decoded(picture: Picture) -> Image.Image:
    """The pixels of a result."""
    with Image.open(io.BytesIO(picture.data)) as image:
        image.load()
        return image.copy()


def unmarked(image: Image.Image) -> Image.Image:
    """Without the strip at the bottom that holds the rehearsal mark."""
    return image.crop((0, 0, image.width, image.height - image.height // 10))


def border(image: Image.Image) -> list[int]:
    """Every channel of every pixel on the four edges."""
    width, height = image.size
    strips = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    return [value for strip in strips for value in image.crop(strip).tobytes()]


def mean(image: Image.Image) -> float:
    """Mean lightness."""
    return ImageStat.Stat(image.convert("L")).mean[0]


def channels(image: Image.Image) -> tuple[float, float, float]:
    """Means of red, green and blue."""
    red, green, blue = ImageStat.Stat(image.convert("RGB")).mean
    return red, green, blue


def at(image: Image.Image, x: int, y: int) -> RGB:
    """One pixel."""
    pixel = image.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean difference of two pictures, in levels."""
    return mean(ImageChops.difference(first.convert("RGB"), second.convert("RGB")))


def near(first: RGB, second: RGB, levels: int = 24) -> bool:
    """True if no channel is further apart."""
    return max(abs(a - b) for a, b in zip(first, second, strict=True)) <= levels
