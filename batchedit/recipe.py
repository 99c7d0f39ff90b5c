"""
What becomes of a picture between the kept raw and the delivered file: free, local, repeatable, and no part of what is
bought.

A recipe is kept in the ledger as its canonical text; its digest says whether a file was made as the manifest wants it
now.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

SEVERITIES = ("warn", "fail")
VERDICTS: Mapping[str, str] = {"warn": "warned", "fail": "failed"}
"""What a check says that is not met, by its severity."""

SOURCE_TYPES = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicallyEnhanced",
    "compositeSynthetic",
    "compositeCapture",
    "algorithmicMedia",
    "digitalCapture",
    "digitalCreation",
    "humanEdits",
)
"""Terms of IPTC's vocabulary of digital source types that an edited picture may have."""

CHECK_NAMES = (
    "decodes", "min_side", "aspect", "white_border", "fill", "not_identical", "not_blank", "phash_distance",
    "max_bytes",
)  # fmt: skip

NO_QUALITY = ("png",)
"""Formats without a quality that could be lowered."""

MOST_SIDE = 10_000
MOST_PIXELS = 40_000_000
MOST_RATIO = 10
DEFAULT_QUALITY = 90
DEFAULT_FLOOR = 50
DEFAULT_TOLERANCE = 1.0

_FORM = 1
"""Of the steps themselves: one more whenever the same recipe comes to make other bytes on purpose."""
_SHAPE = re.compile(r"([0-9]{1,5})([x:])([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Shape:
    """A size in pixels, or only a ratio of width to height."""

    width: int
    height: int
    is_ratio: bool = False

    @classmethod
    def parse(cls, text: str) -> Shape:
        """
        From ``800x600`` or ``4:3``.

        Raises:
            ValueError: if it is neither, or larger than anything that is made here.
        """
        found = _SHAPE.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError(f"{text!r} is neither WIDTHxHEIGHT nor WIDTH:HEIGHT")
        width, height = int(found[1]), int(found[3])
        if not (width and height):
            raise ValueError(f"{text!r} has a side of 0")
        if found[2] == ":":
            if max(width, height) > MOST_RATIO * min(width, height):
                raise ValueError(f"{text!r}: one side may be at most {MOST_RATIO} times the other")
            return cls(width, height, is_ratio=True)
        if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
            raise ValueError(f"{text!r}: a side has at most {MOST_SIDE:,} pixels, a picture {MOST_PIXELS:,}")
        return cls(width, height)

    def __str__(self) -> str:
        return f"{self.width}{':' if self.is_ratio else 'x'}{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """
    How a file is made from a raw, in the order of the fields; see `postprocess`.

    Attributes:
        srgb: Convert the colours to sRGB and leave the profile out.
        background: ``#rrggbb`` that shows where pixels are transparent; empty leaves them so where the format can.
        crop: The middle of the picture, as a ratio or at most a size; empty for all of it.
        fit: The box that the picture is scaled down into, ``WIDTHxHEIGHT``; empty for none.
        enlarge: It is scaled up into that as well.
        snap_white: Pixels that hang together with the border become pure white if none of their channels is below
            this; None for none.
        pad: The canvas around the picture, a size or a ratio; empty for none.
        pad_background: Its colour; empty for `background`, or else white.
        keep_metadata: XMP, EXIF and, where the format stays, C2PA go into the file; the colour profile always does.
        digital_source_type: Term that is written into the XMP; empty for none.
        format: ``png``, ``jpeg``, ``webp``; empty for that of the raw.
        quality: 1 to 100, for JPEG and WebP; None for the default.
        max_bytes: The largest file; the quality is lowered down to `floor` for it. None for any.
    """

    srgb: bool = False
    background: str = ""
    crop: str = ""
    fit: str = ""
    enlarge: bool = False
    snap_white: int | None = None
    pad: str = ""
    pad_background: str = ""
    keep_metadata: bool = True
    digital_source_type: str = ""
    format: str = ""
    quality: int | None = None
    max_bytes: int | None = None
    floor: int = DEFAULT_FLOOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One thing that a delivered file is looked at for.

    Attributes:
        name: As in the manifest.
        severity: ``warn`` or ``fail``: what is said if it is not met. Neither buys or hides anything.
        least, most: The bounds of what is measured; None for no bound.
        ratio: For `aspect`.
        tolerance: For `aspect`, in percent.
        side: For `min_side`: ``shortest`` or ``longest``.
    """

    name: str
    severity: str
    least: int | None = None
    most: int | None = None
    ratio: str = ""
    tolerance: float = DEFAULT_TOLERANCE
    side: str = "shortest"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """
    What becomes of a task's pictures once they are there.

    Attributes:
        post: None to deliver the bytes as they came.
        checks: In the order of their names.
    """

    post: Post | None = None
    checks: tuple[Check, ...] = ()

    @cached_property
    def text(self) -> str:
        """The canonical form: what differs from the defaults, as JSON."""
        return json.dumps(
            {
                "form": _FORM,
                "post": None if self.post is None else _told(self.post, Post()),
                "checks": [
                    _told(check, Check(name="", severity="")) for check in sorted(self.checks, key=lambda c: c.name)
                ],
            },
            sort_keys=True,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, hex: two recipes that make the same have the same."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The inverse of `text`."""
        data: dict[str, Any] = json.loads(text)
        return cls(
            post=None if data["post"] is None else Post(**data["post"]),
            checks=tuple(Check(**check) for check in data["checks"]),
        )


def _told(value: Post | Check, default: Post | Check) -> dict[str, Any]:
    told = asdict(value)
    return {field.name: told[field.name] for field in fields(value) if told[field.name] != getattr(default, field.name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What a check has found.

    Attributes:
        verdict: ``passed``, ``warned`` or ``failed``.
        measured, wanted: In words for people.
    """

    name: str
    verdict: str
    measured: str
    wanted: str


POST = "post"
"""Name of the finding about the making of the file itself."""
TRAILING = "trailing"
"""Name of the finding about bytes behind the end of a picture that is delivered as it was sold."""


def as_sold(trailing_bytes: int) -> list[Finding]:
    """What is to be said about a file that is delivered as it was sold, with so many bytes behind its picture's end."""
    if not trailing_bytes:
        return []
    measured, wanted = f"{trailing_bytes} bytes behind the picture's end", "nothing behind the picture's end"
    return [Finding(name=TRAILING, verdict="warned", measured=measured, wanted=wanted)]
