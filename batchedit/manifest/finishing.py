"""
`post` and `checks`: read strictly by the vocabulary, merged over the levels, made into a recipe.

    profile < defaults < edit < row < variant        key by key; `none` takes a key, or all of it, out again
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from batchedit.errors import Place
from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.findings import Findings
from batchedit.manifest.rendering import Refused, Renderer
from batchedit.manifest.vocabulary import (
    CHECK_KEYS,
    NONE,
    POST_KEYS,
    PROFILES,
    Choice,
    Flag,
    Keys,
    Number,
    Text,
    Value,
)
from batchedit.manifest.yaml_tree import Node, read_yaml
from batchedit.recipe import NO_QUALITY, Check, Post, Recipe, Shape

if TYPE_CHECKING:
    from batchedit.manifest.layers import Layer
    from batchedit.manifest.reading import Reading

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_NAMED = {"white": "#ffffff", "black": "#000000"}
_SHAPES = ("crop", "fit", "pad", "ratio", "aspect", "size")
_KEYS = {"post": POST_KEYS, "checks": CHECK_KEYS}
_WORDS = (*PROFILES, NONE)
FINISHES = ("post", "checks")


@dataclass(slots=True)
class Finish:
    """
    `post` or `checks` as one level gives it.

    Attributes:
        place: Where it stands.
        clears: Nothing of the levels below holds any more.
        values: By key; texts, numbers, flags, and mappings of them.
    """

    place: Place
    clears: bool = False
    values: dict[str, Any] = field(default_factory=dict)


def read_finish(node: Node, name: str, reading: Reading) -> Finish | None:
    """`post` or `checks`, None if it is not given; problems go to the findings."""
    if node.value is None:
        return None
    finish = Finish(node.place)
    if isinstance(node.value, str):
        text = reading.text(node, name)
        words = _words(name)
        if text in words:
            finish.clears = text == NONE
            finish.values = {} if text == NONE else {"profile": text}
        elif text is not None:
            hint = suggestion(text, words) or f"Write {name} as a mapping, or one of: {', '.join(words)}"
            _wrong(
                node, name, f"{shortened(text)!r} is no {'profile' if name == 'post' else 'check'}", text, hint, reading
            )
        return finish
    keys = _KEYS[name]
    for key, (_, child) in reading.mapping(node, name, [each.name for each in keys]).items():
        known = next(each for each in keys if each.name == key)
        value = _read(child, known.value, f"{name}.{key}", known.example, reading)
        if name == "checks" and isinstance(value, dict) and key == "phash_distance":
            value = _bounds(child, value, f"{name}.{key}", reading)
        if value is not None:
            finish.values[key] = value
    return finish


def _words(name: str) -> tuple[str, ...]:
    return _WORDS if name == "post" else (NONE,)


def is_finish_word(text: str, name: str) -> bool:
    """True for a word that stands for all of `post` or `checks`: a profile, or none."""
    return text in _words(name)


def laid_over(below: Finish | None, above: Finish | None) -> Finish | None:
    """What a row gives, and over it what its source says for all of them."""
    if below is None or above is None or above.clears:
        return above or below
    return Finish(above.place, below.clears, _merged(below.values, above.values))


def _bounds(node: Node, value: dict[str, Any], name: str, reading: Reading) -> Any:
    """Bounds that bound something."""
    if not {"least", "most"} & value.keys():
        return _refused(node, name, "needs least, or most, or both", "", "Such as: {least: 2, most: 20}", reading)
    if value.get("least", 0) > value.get("most", 64):
        return _refused(node, name, "least is above most", "", "Such as: {least: 2, most: 20}", reading)
    return value


def _read(node: Node, value: Value, name: str, example: object, reading: Reading) -> Any:
    """A value as its key wants it; None if it is not given, or refused."""
    if node.value is None:
        return None
    if isinstance(value, Keys) and (isinstance(node.value, dict) or value.instead is None):
        return _read_keys(node, value, name, reading)
    if isinstance(value, Keys) and value.instead is not None:
        return _read(node, value.instead, name, example, reading)
    text = reading.text(node, name)
    if text is None:
        return None
    text = text.strip()
    match value:
        case Choice():
            if text in value.words:
                return text
            message = f"{shortened(text)!r} is not one of {', '.join(value.words)}"
            return _refused(node, name, message, text, suggestion(text, value.words), reading)
        case Flag():
            if text.lower() in (*_TRUE, *_FALSE):
                return text.lower() in _TRUE
            return _refused(node, name, f"{shortened(text)!r} is neither true nor false", text, "", reading)
        case Number():
            return _read_number(node, value, name, text, reading)
        case Text():
            return _read_text(node, value, name, text, example, reading)
        case _:
            raise TypeError(value)


def _read_keys(node: Node, value: Keys, name: str, reading: Reading) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    pairs = reading.mapping(node, name, value.names)
    for key, (_, child) in pairs.items():
        known = next(each for each in value.keys if each.name == key)
        read = _read(child, known.value, f"{name}.{key}", known.example, reading)
        if read is not None:
            found[key] = read
    for key in value.required:
        if key not in pairs or pairs[key][1].value is None:
            known = next(each for each in value.keys if each.name == key)
            _wrong(node, name, f"needs the key {key}", "", f"Such as: {key}: {known.example}", reading)
    return found if isinstance(node.value, dict) and all(key in found for key in value.required) else None


def _read_number(node: Node, value: Number, name: str, text: str, reading: Reading) -> Any:
    if text in value.words:
        return text
    if (_WHOLE if value.whole else _DECIMAL).fullmatch(text):
        number = int(text) if value.whole else float(text)
        if number >= value.least and (value.most is None or number <= value.most):
            return number
    kind = "a whole number" if value.whole else "a number"
    bounds = f" from {value.least} to {value.most}" if value.most else "" if not value.least else " above 0"
    words = "".join(f", or {word}" for word in value.words)
    return _refused(node, name, f"{shortened(text)!r} is not {kind}{bounds}{words}", text, "", reading)


def _read_text(node: Node, value: Text, name: str, text: str, example: object, reading: Reading) -> Any:
    hint = f"Such as: {example if not isinstance(example, Mapping) else example['size']}"
    if not re.fullmatch(value.pattern, text):
        return _refused(node, name, f"{shortened(text)!r} cannot be understood", text, hint, reading)
    if name.rpartition(".")[2] in _SHAPES and text != NONE:
        try:
            Shape.parse(text)
        except ValueError as error:
            return _refused(node, name, str(error), text, hint, reading)
    return text


def _refused(node: Node, name: str, message: str, text: str, hint: str, reading: Reading) -> Any:
    """Note a problem; None, for the value that there is not."""
    _wrong(node, name, message, text, hint, reading)
    return None


def _wrong(node: Node, name: str, message: str, text: str, hint: str, reading: Reading) -> None:
    code = "bad-post" if name.startswith("post") else "bad-checks"
    reading.wrong(node.place, code, message, field=name, value=text, hint=hint)


# -- from levels to a recipe -------------------------------------------------------------------------------------------


def recipe_of(levels: Sequence[Layer], asked_format: str, renderer: Renderer) -> Recipe | None:
    """
    What the levels make together, None if nothing.

    Args:
        asked_format: Of the picture that is bought.
        renderer: Takes what does not go together.

    Raises:
        Refused: if something does not.
    """
    post: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    below_post: Mapping[str, Any] = {}
    below_checks: Mapping[str, Any] = {}
    places: dict[str, Place] = {}
    for layer in levels:
        if layer.post is not None:
            if layer.post.clears:
                post, below_post, below_checks = {}, {}, {}
            profile = layer.post.values.get("profile")
            if profile is not None:
                known = None if profile == NONE else profiles()[profile]
                below_post, below_checks = (known.post, known.checks) if known is not None else ({}, {})
            post = _merged(post, layer.post.values)
            places.update(dict.fromkeys(layer.post.values, layer.post.place))
        if layer.checks is not None:
            if layer.checks.clears:
                checks, below_checks = {}, {}
            checks.update(layer.checks.values)
    made = _post({key: value for key, value in _merged(below_post, post).items() if key != "profile"})
    delivered = made.format or asked_format
    if delivered in NO_QUALITY:
        for key in ("quality", "max_bytes"):
            if post.get(key, NONE) != NONE:
                message = f"{key} needs a format with a quality, and the delivered file is {delivered}"
                hint = "Write format: jpeg, or webp, into post"
                renderer.wrong(places[key], "post-quality", f"post.{key}", str(post[key]), message, hint)
    if made.max_bytes is not None and (made.quality or 100) < made.floor:
        message = f"the quality is {made.quality}, and below {made.floor}, the floor of max_bytes"
        place = next(iter(places.values()))
        renderer.wrong(place, "post-quality", "post.quality", str(made.quality), message, "Lower the floor")
    looked = tuple(_check(name, value) for name, value in sorted({**below_checks, **checks}.items()) if value != NONE)
    recipe = Recipe(post=None if made == Post() else made, checks=looked)
    return recipe if recipe.post is not None or recipe.checks else None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    if isinstance(below.get("metadata"), dict) and isinstance(above.get("metadata"), dict):
        merged["metadata"] = {**below["metadata"], **above["metadata"]}
    return merged


def _post(values: Mapping[str, Any]) -> Post:
    given = {key: value for key, value in values.items() if value != NONE}
    fields: dict[str, Any] = {key: given[key] for key in ("srgb", "crop", "snap_white", "quality") if key in given}
    if "background" in given:
        fields["background"] = _colour(given["background"])
    if "format" in given:
        fields["format"] = given["format"].replace("jpg", "jpeg")
    fit, pad, most = given.get("fit"), given.get("pad"), given.get("max_bytes")
    if fit is not None:
        fields |= {"fit": fit} if isinstance(fit, str) else {"fit": fit["size"], "enlarge": fit.get("enlarge", False)}
    if pad is not None:
        told = {"size": pad} if isinstance(pad, str) else pad
        fields |= {"pad": told["size"], "pad_background": _colour(told.get("background", ""))}
    if most is not None:
        told = {"most": most} if isinstance(most, int) else most
        fields |= {"max_bytes": told["most"]} | ({"floor": told["floor"]} if "floor" in told else {})
    metadata = given.get("metadata", {})
    if "keep" in metadata:
        fields["keep_metadata"] = metadata["keep"]
    if metadata.get("digital_source_type", NONE) != NONE:
        fields["digital_source_type"] = metadata["digital_source_type"]
    for key in ("crop", "fit", "pad"):
        if key in fields:
            fields[key] = str(Shape.parse(fields[key]))
    return Post(**fields)


def _colour(text: str) -> str:
    text = _NAMED.get(text, text.lower())
    return "#" + "".join(letter * 2 for letter in text[1:]) if len(text) == 4 else text


def _check(name: str, value: Any) -> Check:
    """A check, from its bound alone or from a mapping."""
    told: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    if name in ("decodes", "not_identical", "not_blank"):
        return Check(name=name, severity=value)
    if not told:
        key = {"aspect": "ratio", "max_bytes": "most", "phash_distance": "most"}.get(name, "least")
        told = {key: value}
    if "ratio" in told:
        told["ratio"] = str(Shape.parse(told["ratio"]))
    return Check(name=name, severity=told.pop("severity", "warn"), **told)


# -- profiles ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """
    What a marketplace is said to want; a help, and no guarantee.

    Attributes:
        about: Whose rules.
        date: When they were read, ISO.
        source: Where.
        notes: What cannot be said in `post` and `checks`, and where sources differ.
        post, checks: As in a manifest, read.
    """

    name: str
    about: str
    date: str
    source: str
    notes: str
    post: Mapping[str, Any]
    checks: Mapping[str, Any]

    def recipe(self) -> Recipe:
        """What it makes by itself."""
        return Recipe(post=_post(self.post), checks=tuple(_check(*pair) for pair in sorted(self.checks.items())))


@cache
def profiles() -> Mapping[str, Profile]:
    """The profiles that come with the package, by name."""
    return {name: _profile(name) for name in PROFILES}


def _profile(name: str) -> Profile:
    from batchedit.manifest.reading import Reading

    findings = Findings()
    reading = Reading(findings)
    with as_file(files("batchedit.manifest").joinpath("marketplaces", f"{name}.yaml")) as path:
        tree = read_yaml(path, path.name)
    pairs = reading.mapping(tree, name, ("about", "date", "source", "notes", "post", "checks"))
    texts = {key: reading.text(pairs[key][1], key) or "" for key in ("about", "date", "source", "notes")}
    told = {key: read_finish(pairs[key][1], key, reading) or Finish(tree.place) for key in ("post", "checks")}
    findings.raise_if_problems()
    return Profile(
        name=name,
        about=texts["about"],
        date=texts["date"],
        source=texts["source"],
        notes=texts["notes"],
        post=told["post"].values,
        checks=told["checks"].values,
    )


__all__ = [
    "FINISHES",
    "Finish",
    "Profile",
    "Refused",
    "is_finish_word",
    "laid_over",
    "profiles",
    "read_finish",
    "recipe_of",
]
