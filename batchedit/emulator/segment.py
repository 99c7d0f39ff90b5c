"""
Telling a product from the plain background that it stands on.

A plane is fitted to the colours along the border, so that a soft gradient still counts as plain. A pixel that is only
a darker version of the background is its shadow; everything else is the product.
"""

from __future__ import annotations

from PIL import Image, ImageFilter

_WORK_SIDE = 288
_THRESHOLD = 14.0
_SHADOW_FROM = 0.5
_FULL_LIGHT = 0.9
_LIT, _SHADED, _PRODUCT = 0, 1, 2

Plane = tuple[float, float, float]


def product_mask(image: Image.Image) -> Image.Image:
    """Where the product is: mode L, the image's size, 255 inside, soft at the edge."""
    scale = min(1.0, _WORK_SIDE / max(image.size))
    small = image.convert("RGB").resize(
        (max(8, round(image.width * scale)), max(8, round(image.height * scale))), Image.Resampling.BOX
    )
    planes = _border_planes(small)
    width, height = small.size
    data = small.tobytes()
    marks = bytearray(width * height)
    for y in range(height):
        rows = [plane[0] + plane[2] * y for plane in planes]
        for x in range(width):
            at = 3 * (y * width + x)
            marks[y * width + x] = _kind(data[at], data[at + 1], data[at + 2], x, rows, planes)
    _keep_dull_insides(marks, width, height)
    mask = Image.frombytes("L", (width, height), bytes(255 if mark == _PRODUCT else 0 for mark in marks))
    # Specks go, small holes close; a hole as large as a mug's handle stays.
    mask = mask.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(5))
    soft = mask.resize(image.size, Image.Resampling.BICUBIC)
    return soft.filter(ImageFilter.GaussianBlur(max(0.6, 0.7 / scale))).point(_steepen)


def _steepen(value: int) -> int:
    return max(0, min(255, round((value - 96) * 255 / 112)))


def _kind(red: int, green: int, blue: int, x: int, rows: list[float], planes: list[Plane]) -> int:
    """Background in full light, background in shadow, or product."""
    back = [row + plane[1] * x for row, plane in zip(rows, planes, strict=True)]
    norm = back[0] * back[0] + back[1] * back[1] + back[2] * back[2] or 1.0
    light = (red * back[0] + green * back[1] + blue * back[2]) / norm
    light = max(_SHADOW_FROM, min(1.04, light))
    far = max(abs(red - light * back[0]), abs(green - light * back[1]), abs(blue - light * back[2]))
    if far > _THRESHOLD:
        return _PRODUCT
    return _LIT if light > _FULL_LIGHT else _SHADED


def _keep_dull_insides(marks: bytearray, width: int, height: int) -> None:
    """
    A shaded patch that no path of background joins to the border is part of the product, such as a highlight on
    something dark; a lit one is a hole, such as that of a mug's handle.
    """
    border = [x + y * width for x in range(width) for y in (0, height - 1)]
    border += [x + y * width for y in range(height) for x in (0, width - 1)]
    outside = bytearray(width * height)
    stack = [at for at in border if marks[at] != _PRODUCT]
    for at in stack:
        outside[at] = 1
    while stack:
        at = stack.pop()
        for step in (at - 1, at + 1, at - width, at + width):
            if 0 <= step < len(marks) and not outside[step] and marks[step] != _PRODUCT:
                outside[step] = 1
                stack.append(step)
    for at, mark in enumerate(marks):
        if mark == _SHADED and not outside[at]:
            marks[at] = _PRODUCT


def _border_planes(image: Image.Image) -> list[Plane]:
    """For each channel (a, b, c) of a + b x + c y, by least squares over the border's pixels."""
    width, height = image.size
    points = [(x, y) for x in range(width) for y in (0, 1, height - 2, height - 1)]
    points += [(x, y) for y in range(2, height - 2) for x in (0, 1, width - 2, width - 1)]
    colours = [image.getpixel(point) for point in points]
    mean_x, mean_y = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    spread_x = sum((x - mean_x) ** 2 for x, _ in points) or 1.0
    spread_y = sum((y - mean_y) ** 2 for _, y in points) or 1.0
    planes = []
    for channel in range(3):
        values = [colour[channel] for colour in colours if isinstance(colour, tuple)]
        mean = sum(values) / len(values)
        # The border is symmetric about its middle, so the two slopes do not depend on each other.
        slope_x = sum((x - mean_x) * (v - mean) for (x, _), v in zip(points, values, strict=True)) / spread_x
        slope_y = sum((y - mean_y) * (v - mean) for (_, y), v in zip(points, values, strict=True)) / spread_y
        planes.append((mean - slope_x * mean_x - slope_y * mean_y, slope_x, slope_y))
    return planes
