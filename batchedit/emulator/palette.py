"""Colours by their everyday names."""

from __future__ import annotations

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "white": (255, 255, 255),
    "off-white": (246, 243, 236),
    "ivory": (248, 243, 226),
    "cream": (244, 234, 210),
    "beige": (222, 206, 180),
    "sand": (214, 194, 158),
    "taupe": (139, 126, 112),
    "stone": (190, 184, 172),
    "tan": (193, 145, 94),
    "camel": (186, 139, 84),
    "cognac": (150, 84, 42),
    "chestnut": (119, 62, 40),
    "brown": (110, 72, 46),
    "chocolate": (78, 50, 36),
    "oxblood": (102, 24, 32),
    "burgundy": (112, 20, 44),
    "maroon": (108, 22, 30),
    "crimson": (176, 24, 52),
    "red": (196, 38, 40),
    "brick": (164, 74, 56),
    "rust": (172, 84, 44),
    "terracotta": (196, 104, 74),
    "coral": (240, 122, 102),
    "orange": (232, 124, 36),
    "peach": (246, 194, 160),
    "apricot": (244, 186, 132),
    "amber": (224, 152, 40),
    "mustard": (206, 160, 46),
    "gold": (204, 164, 72),
    "brass": (182, 144, 76),
    "copper": (184, 110, 72),
    "yellow": (242, 206, 58),
    "lime": (164, 200, 60),
    "olive": (112, 112, 54),
    "khaki": (168, 156, 110),
    "sage": (158, 174, 146),
    "mint": (176, 222, 200),
    "green": (62, 138, 76),
    "forest": (34, 78, 50),
    "emerald": (22, 122, 84),
    "teal": (28, 120, 124),
    "turquoise": (58, 184, 180),
    "aqua": (108, 208, 214),
    "sky": (152, 200, 236),
    "blue": (48, 96, 176),
    "cobalt": (28, 74, 172),
    "navy": (30, 42, 80),
    "indigo": (62, 56, 128),
    "denim": (66, 94, 138),
    "slate": (98, 110, 124),
    "lavender": (196, 184, 224),
    "lilac": (202, 176, 214),
    "purple": (112, 62, 142),
    "plum": (98, 44, 84),
    "magenta": (192, 44, 132),
    "pink": (240, 168, 188),
    "blush": (240, 206, 200),
    "rose": (220, 132, 148),
    "silver": (192, 196, 200),
    "gray": (150, 150, 150),
    "charcoal": (60, 62, 66),
    "anthracite": (52, 54, 58),
    "black": (28, 28, 30),
}
"""Dyed rather than pure: what a photograph of the thing would show."""

_SAME = {"grey": "gray", "offwhite": "off-white", "off white": "off-white", "bordeaux": "burgundy", "wine": "burgundy"}

_SHADES: dict[str, tuple[RGB, float]] = {
    "light": ((255, 255, 255), 0.45),
    "pale": ((255, 255, 255), 0.7),
    "pastel": ((255, 255, 255), 0.55),
    "soft": ((255, 255, 255), 0.35),
    "dark": ((0, 0, 0), 0.42),
    "deep": ((0, 0, 0), 0.3),
    "warm": ((255, 190, 120), 0.14),
    "cool": ((130, 180, 255), 0.14),
}
"""What a word before a colour's name mixes into it, and how much of it."""

_FAMILIES = ("green", "blue", "red", "brown", "yellow", "grey", "gray")

NAME_PATTERN = (
    r"(?:(?P<shade>" + "|".join(_SHADES) + r")[ -])?"
    r"(?P<name>" + "|".join(sorted([*COLOURS, *_SAME], key=len, reverse=True)) + r")\b"
    r"(?:[ -](?:" + "|".join(_FAMILIES) + r")\b)?"
)
"""Pattern of a colour's name, such as ``pale blue`` or ``forest green``, with the groups ``shade`` and ``name``."""


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`share` (0 to 1) of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def colour(name: str, shade: str | None = None) -> RGB:
    """
    The colour of a name that `NAME_PATTERN` matched.

    Raises:
        KeyError: if the name is not a known one.
    """
    base = COLOURS[_SAME.get(name, name)]
    if shade is None:
        return base
    other, share = _SHADES[shade]
    return mix(base, other, share)
