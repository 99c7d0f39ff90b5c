"""Which nearly white pixels hang together with the border: by runs of each row, not pixel by pixel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_RUN = re.compile(rb"\xff+")


def near_white(image: Image, threshold: int) -> Image:
    """A mask (255 or 0) of the pixels none of whose channels is below `threshold`; clear pixels count as white."""
    from PIL import ImageChops

    darkest = image.getchannel("R")
    for band in ("G", "B"):
        darkest = ImageChops.darker(darkest, image.getchannel(band))
    mask = darkest.point([255 if value >= threshold else 0 for value in range(256)])
    if image.mode == "RGBA":
        clear = image.getchannel("A").point([255] + [0] * 255)
        mask = ImageChops.lighter(mask, clear)
    return mask


def reach_from_border(image: Image, threshold: int) -> Image | None:
    """
    A mask of the nearly white pixels that can be reached from the border over such pixels; None if there are none.

    Args:
        image: RGB or RGBA.
        threshold: As in `near_white`.
    """
    import PIL.Image

    width, height = image.size
    data = near_white(image, threshold).tobytes()
    rows = [
        [(run.start(), run.end()) for run in _RUN.finditer(data, y * width, (y + 1) * width)] for y in range(height)
    ]
    first = [0]
    for row in rows:
        first.append(first[-1] + len(row))
    parents = list(range(first[-1] + 1))  # the last one stands for the border
    border = first[-1]

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for y, row in enumerate(rows):
        above, number = (rows[y - 1] if y else []), 0
        for index, (start, end) in enumerate(row):
            me = first[y] + index
            if y in (0, height - 1) or start == y * width or end == (y + 1) * width:
                parents[root(me)] = root(border)
            while number < len(above) and above[number][1] + width <= start:
                number += 1
            other = number
            while other < len(above) and above[other][0] + width < end:
                parents[root(me)] = root(first[y - 1] + other)
                other += 1
    reached = bytearray(len(data))
    found, edge = False, root(border)
    for y, row in enumerate(rows):
        for index, (start, end) in enumerate(row):
            if root(first[y] + index) == edge:
                reached[start:end] = b"\xff" * (end - start)
                found = True
    return PIL.Image.frombytes("L", (width, height), bytes(reached)) if found else None
