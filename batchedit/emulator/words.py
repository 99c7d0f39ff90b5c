"""What a prompt asks for, read from plain words. No more than a rehearsal needs: it must be visible and repeatable."""

from __future__ import annotations

import re
from dataclasses import dataclass

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "white": (255, 255, 255), "black": (24, 24, 26), "grey": (150, 150, 152), "gray": (150, 150, 152),
    "red": (196, 40, 40), "oxblood": (92, 16, 24), "burgundy": (110, 20, 40), "orange": (226, 122, 36),
    "yellow": (236, 200, 60), "mustard": (205, 160, 40), "green": (52, 138, 74), "forest": (32, 82, 50),
    "olive": (110, 112, 52), "mint": (170, 216, 190), "teal": (24, 120, 124), "blue": (48, 96, 184),
    "navy": (26, 38, 84), "pale blue": (198, 216, 232), "purple": (112, 62, 150), "pink": (232, 150, 170),
    "beige": (228, 214, 190), "cream": (244, 236, 216), "tan": (196, 154, 104), "brown": (112, 74, 46),
    "silver": (186, 190, 194), "gold": (206, 166, 74),
}  # fmt: skip

_NAMES = "|".join(sorted(COLOURS, key=len, reverse=True))
_BACKGROUND = re.compile(rf"\b({_NAMES})\b[^.;,]{{0,24}}\b(?:background|backdrop|sweep)\b")
_RECOLOUR = re.compile(rf"\b(?:recolou?r|dye|paint|turn|change)\b.*?\b(?:to|into|in)\s+(?:an?\s+)?({_NAMES})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """
    What was understood. Everything false or None means that no word was.

    Attributes:
        background: Colour to put behind the product.
        scene: ``wood``, ``studio`` or ``linen``: a drawn backdrop.
        recolour: Colour for the product itself.
        tone: ``grayscale`` or ``sepia``.
        light: -1 darker, 1 brighter.
        warmth: -1 cooler, 1 warmer.
        saturation: -1 muted, 1 saturated.
        crop: ``tight`` or ``square``.
    """

    background: Colour | None = None
    transparent: bool = False
    scene: str | None = None
    recolour: Colour | None = None
    tone: str | None = None
    light: int = 0
    warmth: int = 0
    contrast: bool = False
    saturation: int = 0
    sharpen: bool = False
    blur_background: bool = False
    shadow: bool = False
    crop: str | None = None
    mirror: bool = False
    upside_down: bool = False
    rotate: bool = False


NOTHING = Wishes()


def read_prompt(prompt: str) -> Wishes:
    """The wishes in a prompt; word order and case do not matter."""
    text = " ".join(prompt.lower().replace("-", " ").split())

    def says(*words: str) -> bool:
        return any(re.search(rf"\b{word}\b", text) for word in words)

    background = _BACKGROUND.search(text)
    colour = COLOURS[background[1]] if background else None
    if says("pure white", "seamless white", "on white", "packshot", "cut out", "cutout"):
        colour = COLOURS["white"]
    recolour = _RECOLOUR.search(text)
    return Wishes(
        background=colour,
        transparent=says("transparent"),
        scene=_scene(text),
        recolour=COLOURS[recolour[1]] if recolour else None,
        tone="grayscale"
        if says("gr[ae]yscale", "black and white", "monochrome")
        else "sepia"
        if says("sepia")
        else None,
        light=1 if says("brighter", "brighten", "lighter") else -1 if says("darker", "darken") else 0,
        warmth=1 if says("warmer", "warm light", "warm") else -1 if says("cooler", "cool light") else 0,
        contrast=says("contrast"),
        saturation=1 if says("saturated", "vivid") else -1 if says("muted", "desaturated") else 0,
        sharpen=says("sharpen", "sharper", "crisp"),
        blur_background=says("blur(?:red|ry)?") and "background" in text,
        shadow=says("soft shadow", "contact shadow", "drop shadow", "soft contact shadow", "add a shadow"),
        crop="square"
        if says("square crop", "crop square", "crop to a square")
        else "tight"
        if says("crop", "tighter")
        else None,
        mirror=says("flip", "mirror", "mirrored"),
        upside_down=says("upside down"),
        rotate=says("rotate", "rotated"),
    )


def _scene(text: str) -> str | None:
    for words, scene in ((("oak", "wood", "table"), "wood"), (("linen",), "linen"), (("studio",), "studio")):
        if any(re.search(rf"\b{word}\b", text) for word in words):
            return scene
    return None
