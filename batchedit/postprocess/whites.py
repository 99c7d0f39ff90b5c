"""Which nearly white pixels hang together with the border: by runs of each row, not pixel by pixel."""

from __future__ import annotations

import re
from array import array
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
    starts, ends = array("I"), array("I")  # noise has millions of runs
    first = array("I", [0])
    for y in range(height):
        for run in _RUN.finditer(data, y * width, (y + 1) * width):
            starts.append(run.start())
            ends.append(run.end())
        first.append(len(starts))
    border = len(starts)
    parents = array("I", range(border + 1))  # the last one stands for the border

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for y in range(height):
        other = first[y - 1] if y else 0
        last = first[y] if y else 0
        for me in range(first[y], first[y + 1]):
            start, end = starts[me], ends[me]
            if y in (0, height - 1) or start == y * width or end == (y + 1) * width:
                parents[root(me)] = root(border)
            while other < last and ends[other] + width <= start:
                other += 1
            above = other
            while above < last and starts[above] + width < end:
                parents[root(me)] = root(above)
                above += 1
    reached = bytearray(len(data))
    found, edge = False, root(border)
    for me in range(border):
        if root(me) == edge:
            reached[starts[me] : ends[me]] = b"\xff" * (ends[me] - starts[me])
            found = True
    return PIL.Image.frombytes("L", (width, height), bytes(reached)) if found else None
