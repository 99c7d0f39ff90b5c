"""
The plain English that the emulator understands, and nothing cleverer.

    "Put the mug on a pure white background with a soft shadow, slightly warmer. Do not crop."
         --> Wishes(background=(255, 255, 255), shadow=1.0, warmth=0.5)

Clauses that forbid or preserve ("no ...", "do not ...", "keep ...") are taken out first, so that what shall stay as it
is never reads as an order. What was understood as a background or a colour is taken out as well, so that the *warm* of
"a warm grey background" does not warm the picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchedit.emulator.palette import NAME_PATTERN, RGB, colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """
    What a prompt asks for. Strengths are 1.0 as a rule, 0.5 for "slightly", 1.6 for "much"; 0 means not asked for.

    Attributes:
        background: Colour behind the object, None to leave what is there.
        transparent: Nothing behind the object.
        backdrop: Name of a drawn scene; empty for none.
        blur_background: Strength.
        shadow: Strength of the shadow below the object.
        recolour: Colour of the object, None to leave it.
        brightness: Above 0 is brighter, below is darker.
        warmth: Above 0 is warmer, below is cooler.
        contrast: Above 0 is more, below is less.
        saturation: Above 0 is more, below is less.
        sharpness: Above 0 sharpens, below blurs everything.
        grayscale: Without colour.
        sepia: Brown tones.
        crop: Strength of a crop around the object.
        square: Crop to a square.
        mirror: Left and right swap.
        turn: Degrees clockwise.
    """

    background: RGB | None = None
    transparent: bool = False
    backdrop: str = ""
    blur_background: float = 0.0
    shadow: float = 0.0
    recolour: RGB | None = None
    brightness: float = 0.0
    warmth: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    sharpness: float = 0.0
    grayscale: bool = False
    sepia: bool = False
    crop: float = 0.0
    square: bool = False
    mirror: bool = False
    turn: float = 0.0

    def __bool__(self) -> bool:
        return self != Wishes()

    @property
    def new_ground(self) -> bool:
        """True if what is behind the object is replaced."""
        return self.background is not None or self.transparent or bool(self.backdrop)

    @property
    def needs_cutout(self) -> bool:
        """True if the object has to be told from its background."""
        touched = self.recolour is not None or self.blur_background or self.shadow or self.crop or self.square
        return self.new_ground or bool(touched)


# -- what must not be done ---------------------------------------------------------------------------------------

_VERBS = (
    "make|put|place|set|turn|change|replace|recolor|recolour|paint|crop|flip|mirror|give|add|swap|move|convert|render"
)
_CLAUSE = r"[^,.;:!\n]*?(?=\b(?:and|but|then)\b|[,.;:!\n]|$)"
_FORBIDDEN = re.compile(rf"\b(?:do not|don['\u2019]?t|never|without|avoid|no|not)\b{_CLAUSE}")
_REMOVED = re.compile(rf"\b(?:remove|delete|erase|get rid of)\b{_CLAUSE}")
_KEPT = re.compile(
    r"\b(?:keep|preserve|retain|leave)\b.{0,500}?"
    rf"(?=[.;!\n]|\bbut\b|,? (?:and|then) (?:{_VERBS})\b|, (?:{_VERBS})\b|$)"
)
_KEPT_SHADOW = re.compile(r"\b(?:keep|preserve|retain|leave)\b[^.;!\n]{0,300}\bshadow")

# -- what is behind the object -----------------------------------------------------------------------------------

_PLAIN = "pure|plain|seamless|solid|clean|bright|neutral|smooth|simple|studio|infinity|paper|uniform|flat|soft"
_GROUND = r"(?:background|backdrop|bg|sweep|cyclorama|cyc|cove|wall)"
_GROUNDS = (
    # "white seamless background", "pale blue (#cfe0ee) studio backdrop"
    re.compile(rf"\b{NAME_PATTERN}(?: \([^)]*\))?(?:[ ,-]+(?:{_PLAIN})){{0,3}}[ -]+{_GROUND}s?\b"),
    # "make the background a plain white"
    re.compile(
        rf"\b{_GROUND}\b(?: colou?r)?(?: (?:is|be|to|in|into|with|of|as|should|must|an?|the|all|fully|{_PLAIN}))*"
        rf"[ :=]+{NAME_PATTERN}"
    ),
    # "on white.", "against pure white and with a shadow"
    re.compile(
        rf"\b(?:on|onto|against|over)(?: (?:an?|{_PLAIN}))* {NAME_PATTERN}"
        r"(?=$| ?[,.;:!(\n]| (?:and|with|in|for|but)\b)"
    ),
    # "pure white", "seamless white" without another word
    re.compile(rf"\b(?:pure|seamless) {NAME_PATTERN}"),
)
_PACKSHOT = re.compile(r"\bpack[ -]?shots?\b|#fff(?:fff)?\b")
_NO_GROUND = re.compile(
    rf"\btransparent\b(?: {_GROUND})?|\b{_GROUND} transparent\b"
    rf"|\b(?:remove|delete|erase|strip)(?: (?:the|its|any|all|whole))* {_GROUND}\b"
)
_CUT_OUT = re.compile(r"\b(?:cut(?:ting)?[ -]?out|isolated?)\b")
_BLURRED_GROUND = re.compile(
    rf"\b(?:blur|defocus|soften)(?:red|ed|s|ring)?(?: (?:out|the|its|a|an|away|whole))* {_GROUND}\b|\bbokeh\b"
    rf"|\b{_GROUND} (?:\w+ ){{0,3}}?(?:blur\w*|out of focus)|\bshallow (?:depth of field|focus)\b"
    rf"|\bout[ -]of[ -]focus {_GROUND}\b"
)
_PLACED = r"\b(?:on|onto|upon|in|into|against|over|with|before|at|beside)\b(?: [\w-]+){0,4}? (?:[\w]+-)?"
_WOOD = "oak|wood|wooden|walnut|pine|timber"
_BACKDROPS = {
    "linen": re.compile(rf"{_PLACED}(?:linen|fabric|cloth|cotton)\b"),
    "marble": re.compile(rf"{_PLACED}marble\b"),
    "concrete": re.compile(rf"{_PLACED}(?:concrete|plaster|cement)\b"),
    "oak": re.compile(
        rf"{_PLACED}(?:{_WOOD})\b|\b(?:{_WOOD}) (?:table|tabletop|desk|board|surface|floor|shelf)\b"
        r"|\bon (?:a|an|the) (?:\w+ )?(?:table|tabletop|desk|shelf)\b"
    ),
    "studio": re.compile(r"\bstudio\b"),
}

# -- what colour the object gets ---------------------------------------------------------------------------------

_TO = r"(?: (?:an?|the|rich|shade|of))*"
_RECOLOURS = (
    re.compile(
        r"\b(?:re-?colou?r|repaint|paint|dye|re-?tint|tint|colou?ri[sz]e)(?:e?d|s|ing)?\b[^.;\n]{0,90}?"
        rf"\b(?:to|in|into|as){_TO} {NAME_PATTERN}"
    ),
    re.compile(rf"\b(?:change|turn|switch|convert)\b[^.;\n]{{0,90}}?\b(?:to|into){_TO} {NAME_PATTERN}"),
    re.compile(
        rf"\b(?:make|paint|dye|turn|colou?r|recolou?r)(?: (?:the|this|its|whole|entire))+"
        rf"(?: [\w-]+){{1,3}}? {NAME_PATTERN}"
    ),
    re.compile(rf"\bin {NAME_PATTERN} (?:leather|suede|colou?rway|version|finish|glaze)\b"),
)

# -- more or less of something -----------------------------------------------------------------------------------

_STRENGTH = (
    r"(?:(?P<softly>slightly|slight|a little|a bit|a touch|subtly|subtle|gently|mildly|somewhat)"
    r"|(?P<strongly>much|very|strongly|strong|a lot|far|significantly|really|heavily|heavy|dramatically|extremely)"
    r"|(?P<less>less|lower|low|reduced?|decreased?))"
)
_DIALS: tuple[tuple[str, float, str], ...] = (
    ("shadow", 1.0, r"shadows?"),
    ("brightness", 1.0, r"brighter|brighten(?:ed|ing|s)?|lighter|lighten(?:ed)?|brightness|exposure|high[ -]key"),
    ("brightness", -1.0, r"darker|darken(?:ed|ing|s)?|dimmer|dimmed|moody|low[ -]key"),
    (
        "warmth",
        1.0,
        r"warmer|warm(?:ed|ing)?|golden(?: hour)?|sun(?:light|lit|ny|set)|(?:late )?(?:morning|afternoon) light",
    ),
    ("warmth", -1.0, r"cooler|cool|colder|cold|bluish|icy"),
    ("contrast", -1.0, r"low[ -]contrast|flatter|matte look|hazy"),
    ("contrast", 1.0, r"contrast(?:y|ier)?|punchy|punchier|dramatic"),
    (
        "saturation",
        1.0,
        r"saturat(?:ed?|ion|es|ing)|vivid|vibrant|(?:more|richer|stronger|bolder) colou?rs?|colou?rful",
    ),
    ("saturation", -1.0, r"muted|desaturat\w*|pastel|faded|washed[ -]out|paler|fewer colou?rs?"),
    ("sharpness", 1.0, r"sharpen(?:ed|ing|s)?|sharper|sharpness|crisp(?:er)?|more detail(?:ed|s)?"),
    ("sharpness", -1.0, r"blur(?:red|ry|s)?|softer focus|soft focus|out of focus"),
    ("crop", 1.0, r"crop(?:ped|ping|s)?|zoom(?:ed)?(?: in)?|close[ -]?up|fill (?:the|most of the) frame"),
)
_DIAL_PATTERNS = tuple(
    (name, sign, re.compile(rf"(?:\b{_STRENGTH} (?:more |the |its |a )?)?\b(?:{words})\b"))
    for name, sign, words in _DIALS
)

# -- the rest ----------------------------------------------------------------------------------------------------

_GRAYSCALE = re.compile(r"\bgr[ae]y[ -]?scale\b|\bblack[ -](?:and|&|n)[ -]white\b|\bb ?[&/] ?w\b|\bmonochrom\w*")
_SEPIA = re.compile(r"\bsepia\b")
_SQUARE = re.compile(r"\bsquare[ -]crop|\bcrop\w*(?: \w+){0,4} square\b|\bsquare (?:format|frame|picture|image)\b")
_TIGHT = re.compile(r"\btight(?:er|ly)?\b|\bcrop\w*(?: \w+){0,3} closer\b|\bclose[ -]?up\b")
_UPSIDE_DOWN = re.compile(
    r"\bupside[ -]?down\b|\bflip\w*(?: \w+){0,3} vertical\w*|\bvertical(?:ly)? (?:flip|mirror)\w*"
)
_MIRROR = re.compile(r"\b(?:flip|mirror)(?:ped|ed|s|ping|ing)?\b|\bface the other way\b")
_ROTATE = re.compile(r"\b(?:rotat(?:e|ed|es|ing)|turn(?:ed)?)\b(?P<rest>[^.;\n]{0,60})")
_DEGREES = re.compile(r"(?P<number>\d{1,3}) ?(?:\u00b0|deg)")
_BACKWARDS = re.compile(r"\b(?:counter|anti)[ -]?clockwise\b|\bleft\b")


def understand(prompt: str) -> Wishes:
    """What a prompt asks for; equal to ``Wishes()`` if no word of it is known."""
    text = re.sub(r"[ \t\r]+", " ", prompt.lower().replace("_", " ")).strip()
    found: dict[str, object] = {}
    if _KEPT_SHADOW.search(text):
        found["shadow"] = 0.8
    text = _take(_NO_GROUND, text, found, "transparent")
    for pattern in (_FORBIDDEN, _REMOVED, _KEPT):
        text = pattern.sub(" ", text)
    text = _grounds(text, found)
    for pattern in _RECOLOURS:
        text = _take_colour(pattern, text, found, "recolour")
    for name, pattern in (("grayscale", _GRAYSCALE), ("sepia", _SEPIA)):
        text = _take(pattern, text, found, name)
    text = _geometry(text, found)
    _dials(text, found)
    return Wishes(**found)  # type: ignore[arg-type]


def _grounds(text: str, found: dict[str, object]) -> str:
    """Everything about what is behind the object."""
    text = _take(_BLURRED_GROUND, text, found, "blur_background", 1.0)
    for pattern in _GROUNDS:
        text = _take_colour(pattern, text, found, "background")
    if _PACKSHOT.search(text) and not found.keys() & {"background", "transparent"}:
        found["background"] = colour("white")
    if not found.keys() & {"background", "transparent"}:
        for name, pattern in _BACKDROPS.items():
            if pattern.search(text):
                found["backdrop"] = name
                break
    if _CUT_OUT.search(text) and not found.keys() & {"background", "backdrop", "blur_background"}:
        found["transparent"] = True
    if "background" in found:
        # "Remove the background and put it on white": the colour is what is meant in the end.
        found.pop("transparent", None)
    return text


def _geometry(text: str, found: dict[str, object]) -> str:
    """Everything that moves pixels."""
    if _TIGHT.search(text):
        found["crop"] = 1.6
    text = _take(_SQUARE, text, found, "square")
    if _UPSIDE_DOWN.search(text):
        found["turn"] = 180.0
        return _UPSIDE_DOWN.sub(" ", text)
    text = _take(_MIRROR, text, found, "mirror")
    match = _ROTATE.search(text)
    if match is not None and (degrees := _degrees(match)):
        found["turn"] = degrees
    return text


def _degrees(match: re.Match[str]) -> float:
    """Clockwise degrees that a "rotate ..." or "turn ..." means; 0 if it means something else."""
    rest = match["rest"]
    number = _DEGREES.search(rest)
    if not (number or match[0].startswith("rotat") or "clockwise" in rest or "quarter" in rest):
        return 0.0
    degrees = float(number["number"]) if number else 90.0
    return (-degrees if _BACKWARDS.search(rest) else degrees) % 360.0


def _dials(text: str, found: dict[str, object]) -> None:
    """Everything that is more or less of something; of two opposites the first in the table counts."""
    for name, sign, pattern in _DIAL_PATTERNS:
        match = pattern.search(text)
        if match is None:
            continue
        strength = sign
        if match["softly"]:
            strength *= 0.5
        elif match["strongly"]:
            strength *= 1.6
        elif match["less"]:
            strength *= -1.0
        found.setdefault(name, abs(strength) if name in {"shadow", "crop"} else strength)


def _take(pattern: re.Pattern[str], text: str, found: dict[str, object], name: str, value: object = True) -> str:
    """The text without what the pattern matches; if it matches, the wish is noted."""
    if not pattern.search(text):
        return text
    found[name] = value
    return pattern.sub(" ", text)


def _take_colour(pattern: re.Pattern[str], text: str, found: dict[str, object], name: str) -> str:
    """The same for a wish whose value is the colour that was named; the first one that is found counts."""
    match = pattern.search(text)
    if match is None:
        return text
    found.setdefault(name, colour(match["name"], match["shade"]))
    return pattern.sub(" ", text)
