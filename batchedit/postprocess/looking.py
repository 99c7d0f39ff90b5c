"""What delivered files are looked at for. Each check measures and says what it found; none decides anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from batchedit.pictures import BadPicture, decode, opened
from batchedit.postprocess.pixels import on_ground, upright
from batchedit.postprocess.whites import near_white
from batchedit.recipe import VERDICTS, Check, Finding, Shape

if TYPE_CHECKING:
    from PIL.Image import Image

NEARLY_WHITE = 250
"""From here on a pixel is background for `fill`: what encoding does to white is less."""
SAME = 1.0
"""Mean difference of two pictures, of 255, up to which they look the same."""
BLANK = 2.0
"""Spread of brightness, of 255, below which there is nothing to be seen."""
_SMALL, _HASHED, _BITS, _NOISE = 256, 32, 8, 0.01

Source = bytes | str
"""The picture that an edit started from, or why it cannot be compared with."""


def look_at(data: bytes, checks: Sequence[Check], source: Callable[[], Source]) -> list[Finding]:
    """
    Look at a delivered file.

    Args:
        source: Reads the picture that the edit started from; called only if a check compares with it.
    """
    if not checks:
        return []
    try:
        decode(data)
        with opened(data) as image:
            image.load()
            seen = upright(image, data, "").image
    except BadPicture as problem:
        return [_told(check, False, f"the file is {problem}", "a file that can be decoded") for check in checks]
    view = _View(data, seen, source)
    return [_told(check, *_CHECKS[check.name](view, check)) for check in checks]


class _View:
    """A file that is looked at, and the one that it is compared with, if that is asked for."""

    def __init__(self, data: bytes, image: Image, source: Callable[[], Source]) -> None:
        self.data, self.image, self._source = data, image, source
        self._compared: Image | str | None = None

    def on_white(self) -> Image:
        return on_ground(self.image, "#ffffff")

    def original(self) -> Image | str:
        """The picture that it was made from, or why that cannot be had."""
        if self._compared is None:
            data = self._source()
            if isinstance(data, str):
                self._compared = data
            else:
                try:
                    with opened(data) as image:
                        image.load()
                        self._compared = on_ground(upright(image, data, "").image, "#ffffff")
                except BadPicture as problem:
                    self._compared = f"the picture that it was made from is {problem}"
        return self._compared


_Outcome = tuple[bool | None, str, str]
"""Whether it is met (None if that cannot be told), what was measured, what is wanted."""


def _told(check: Check, met: bool | None, measured: str, wanted: str) -> Finding:
    verdict = "passed" if met else "warned" if met is None else VERDICTS[check.severity]
    return Finding(name=check.name, verdict=verdict, measured=measured, wanted=wanted)


def _decodes(view: _View, _check: Check) -> _Outcome:
    return True, f"{view.image.width}x{view.image.height} pixels, decoded to the last", "a file that can be decoded"


def _min_side(view: _View, check: Check) -> _Outcome:
    side = (min if check.side == "shortest" else max)(view.image.size)
    return side >= (check.least or 0), f"the {check.side} side has {side} pixels", f"at least {check.least}"


def _aspect(view: _View, check: Check) -> _Outcome:
    shape = Shape.parse(check.ratio)
    wanted, found = shape.width / shape.height, view.image.width / view.image.height
    off = abs(found / wanted - 1) * 100
    return (
        off <= check.tolerance,
        f"{view.image.width}x{view.image.height}, {off:.2f} % off",
        f"{check.ratio}, at most {check.tolerance:g} % off",
    )


def _white_border(view: _View, check: Check) -> _Outcome:
    pure = near_white(view.on_white(), 255)
    width, height = pure.size
    strip = max(1, min(width, height) // 100)
    inner = (strip, strip, width - strip, height - strip)
    white, total = pure.histogram()[255], width * height
    if inner[2] > inner[0] and inner[3] > inner[1]:
        middle = pure.crop(inner)
        white, total = white - middle.histogram()[255], total - middle.width * middle.height
    share = 100 * white / total
    met = share >= (check.least or 0)
    # Rounded down: 99.99 % is not all of it.
    return met, f"{math.floor(share * 10) / 10:g} % of the border is pure white", f"at least {check.least} %"


def _fill(view: _View, check: Check) -> _Outcome:
    from PIL import ImageChops

    flat = view.on_white()
    box = ImageChops.invert(near_white(flat, NEARLY_WHITE)).getbbox()
    share = 0.0 if box is None else 100 * max((box[2] - box[0]) / flat.width, (box[3] - box[1]) / flat.height)
    return share >= (check.least or 0), f"{share:.1f} % of the frame is filled", f"at least {check.least} %"


def _not_identical(view: _View, _check: Check) -> _Outcome:
    from PIL import ImageChops, ImageStat

    wanted = f"more than {SAME:g} of 255"
    original = view.original()
    if isinstance(original, str):
        return None, f"cannot be compared: {original}", wanted
    one, other = (picture.resize((_SMALL, _SMALL)) for picture in (view.on_white(), original))
    mean = sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3
    return mean > SAME, f"differs from its original by {mean:.2f} of 255 on average", wanted


def _not_blank(view: _View, _check: Check) -> _Outcome:
    from PIL import ImageStat

    spread = max(ImageStat.Stat(view.on_white()).stddev)
    return spread >= BLANK, f"the colours spread by {spread:.1f} of 255", f"at least {BLANK:g}"


def _phash_distance(view: _View, check: Check) -> _Outcome:
    bounds = (("at least", check.least), ("at most", check.most))
    wanted = ", ".join(f"{words} {bound}" for words, bound in bounds if bound is not None) + " of 64 bits"
    original = view.original()
    if isinstance(original, str):
        return None, f"cannot be compared: {original}", wanted
    bits = (phash(view.on_white()) ^ phash(original)).bit_count()
    met = (check.least or 0) <= bits <= (64 if check.most is None else check.most)
    return met, f"{bits} of 64 bits differ from its original", wanted


def _max_bytes(view: _View, check: Check) -> _Outcome:
    size, most = len(view.data), check.most or 0
    return size <= most, f"{size:,} bytes", f"at most {most:,}"


_CHECKS: Mapping[str, Callable[[_View, Check], _Outcome]] = {
    "decodes": _decodes,
    "min_side": _min_side,
    "aspect": _aspect,
    "white_border": _white_border,
    "fill": _fill,
    "not_identical": _not_identical,
    "not_blank": _not_blank,
    "phash_distance": _phash_distance,
    "max_bytes": _max_bytes,
}


def phash(image: Image) -> int:
    """64 bits about how a picture looks: the signs of the low frequencies of its brightness, but for the mean."""
    import PIL.Image

    grey = image.convert("L").resize((_HASHED, _HASHED), PIL.Image.Resampling.LANCZOS).tobytes()
    waves = _waves()
    lines = [[sum(wave[x] * grey[y * _HASHED + x] for x in range(_HASHED)) for wave in waves] for y in range(_HASHED)]
    found = [sum(wave[y] * lines[y][u] for y in range(_HASHED)) for wave in waves for u in range(_BITS)]
    # What is nearly the middle, as in symmetric pictures, must not be decided by an encoder's noise.
    middle = sorted(found[1:])[len(found) // 2 - 1] + _NOISE * max(map(abs, found[1:]))
    return sum(1 << n for n, value in enumerate(found) if value > middle)


@cache
def _waves() -> tuple[tuple[float, ...], ...]:
    """The first cosines."""
    return tuple(
        tuple(math.cos(math.pi * u * (2 * x + 1) / (2 * _HASHED)) for x in range(_HASHED)) for u in range(_BITS)
    )
