"""Reading the list `sources`: where rows come from, and what applies to all rows of a source."""

from __future__ import annotations

from batchedit.manifest.fields import CELL_FIELDS, Given, shortened, suggestion
from batchedit.manifest.layers import Source
from batchedit.manifest.patterns import OWN_NAMES, Pattern, PatternProblem, read_pattern
from batchedit.manifest.presets import PRESETS
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.refs import is_url
from batchedit.manifest.templates import TemplateProblem, check_condition
from batchedit.manifest.vocabulary import SOURCE_KEYS, names
from batchedit.manifest.yaml_tree import Node

SOURCE_KINDS = ("csv", "jsonl", "parquet", "glob", "urls", "imagefolder")
BELONGS_TO = {
    "preset": ("csv", "jsonl", "parquet"),
    "map": ("csv", "jsonl", "parquet", "imagefolder"),
    "columns": ("csv", "jsonl", "parquet", "imagefolder"),
    "encoding": ("csv", "jsonl", "urls", "imagefolder"),
    "pattern": ("glob", "urls", "imagefolder"),
}
"""Keys that only some kinds of sources have."""
_NO_TEXT_FILES = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7"})
"""Encodings of Python that no table is written in."""


class SourceReader:
    """Reads sources; what is wrong with them goes to the findings of the reading."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def sources(self, node: Node) -> list[Source]:
        """The sources of a list; those that are wrong are left out."""
        found = [self._source(child) for child in self._reading.list(node, "sources")]
        return [source for source in found if source is not None]

    def _source(self, node: Node) -> Source | None:
        reading = self._reading
        pairs = reading.mapping(node, "the source", names(SOURCE_KEYS))
        if not isinstance(node.value, dict):
            if node.value is None:
                reading.wrong(node.place, "bad-source", f"a source has one of: {', '.join(SOURCE_KINDS)}")
            return None
        kinds = [kind for kind in SOURCE_KINDS if kind in pairs]
        source = Source("", "", node.place, reading.layer(pairs), reading.variables(pairs))
        if len(kinds) == 1:
            source.kind = kinds[0]
        self._options(pairs, source)
        if len(kinds) != 1:
            reading.wrong(node.place, "bad-source", f"a source has one of: {', '.join(SOURCE_KINDS)}")
            return None
        named = pairs[source.kind][1]
        source.place = named.place
        if source.kind == "urls" and isinstance(named.value, list):
            return self._listed(named, source)
        where = reading.text(named, source.kind)
        if not where:
            if where == "" or named.value is None:
                reading.wrong(named.place, "bad-source", "is empty", field=source.kind)
            return None
        if source.kind == "urls" and is_url(where):
            source.urls = (Given(where, False, named.place),)
        else:
            source.where = where
        return source

    def _listed(self, node: Node, source: Source) -> Source | None:
        texts = [(self._reading.text(child, "urls"), child.place) for child in self._reading.list(node, "urls")]
        source.urls = tuple(Given(text.strip(), False, place) for text, place in texts if text)
        if not texts:
            self._reading.wrong(node.place, "bad-source", "is empty", field="urls")
        return source if source.urls else None

    def _options(self, pairs: Pairs, source: Source) -> None:
        for key, kinds in BELONGS_TO.items():
            if key in pairs and source.kind and source.kind not in kinds:
                message = f"a source of the kind {source.kind} has no {key}; it belongs to {', '.join(kinds)}"
                self._reading.wrong(pairs[key][0], "bad-source", message, field=key)
        source.requires, source.limit = self._requires(pairs), self._limit(pairs)
        source.preset, source.mapping = self._preset(pairs), self._mapping(pairs)
        source.pattern, source.condition = self._pattern(pairs), self._condition(pairs)
        source.encoding, source.strict = self._encoding(pairs), self._strict(pairs)

    def _requires(self, pairs: Pairs) -> tuple[str, ...]:
        if "requires" not in pairs:
            return ()
        node = pairs["requires"][1]
        nodes = [node] if isinstance(node.value, str) else self._reading.list(node, "requires")
        return tuple(text for child in nodes if (text := self._reading.text(child, "requires")))

    def _limit(self, pairs: Pairs) -> int | None:
        given = self._given(pairs, "limit")
        if given is None:
            return None
        text = given.single
        if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0:
            return int(text)
        self._wrong(given, "bad-limit", "limit", f"{shortened(text)!r} is not a positive number")
        return None

    def _preset(self, pairs: Pairs) -> Given | None:
        given = self._given(pairs, "preset")
        if given is None or given.single in PRESETS:
            return given
        message = f"there is no preset {shortened(given.single)!r}"
        hint = suggestion(given.single.lower(), PRESETS) or f"Known are: {', '.join(PRESETS)}"
        self._wrong(given, "unknown-preset", "preset", message, hint)
        return None

    def _mapping(self, pairs: Pairs) -> dict[str, Given]:
        found: dict[str, Given] = {}
        if "map" not in pairs:
            return found
        for target, (place, child) in self._reading.mapping(pairs["map"][1], "map", None).items():
            shown = shortened(target)
            column = self._reading.text(child, f"map.{shown}")
            if child.value is None or column == "":
                self._reading.wrong(child.place, "bad-map", "names no column", field=f"map.{shown}")
            elif not _can_be_mapped(target):
                message = f"{shown!r} is neither a field, nor label.NAME, nor a name that a variable can have"
                self._reading.wrong(place, "bad-map", message, field="map")
            elif column is not None:
                found[target.removeprefix("var.")] = Given(column, False, child.place)
        return found

    def _pattern(self, pairs: Pairs) -> Pattern | None:
        given = self._given(pairs, "pattern")
        if given is None:
            return None
        try:
            return read_pattern(given.single)
        except PatternProblem as problem:
            self._wrong(given, "bad-pattern", "pattern", f"{shortened(given.single)!r} {problem}")
            return None

    def _condition(self, pairs: Pairs) -> Given | None:
        given = self._given(pairs, "where")
        if given is None:
            return None
        try:
            check_condition(given.single)
        except TemplateProblem as problem:
            self._wrong(given, "condition", "where", f"the condition {problem}", problem.hint)
            return None
        return given

    def _encoding(self, pairs: Pairs) -> str:
        given = self._given(pairs, "encoding")
        if given is None:
            return ""
        text = given.single.strip()
        name = text.lower().replace("-", "_")
        try:
            b"  ".decode(text, "replace")
        except (LookupError, ValueError):
            name = "undefined"
        if name in _NO_TEXT_FILES:
            message = f"there is no encoding {shortened(text)!r}"
            self._wrong(
                given, "bad-encoding", "encoding", message, "Known are for example: utf-8, utf-16, cp1252, latin-1"
            )
            return ""
        return "utf-8-sig" if name in ("utf_8", "utf8") else text

    def _strict(self, pairs: Pairs) -> bool:
        given = self._given(pairs, "columns")
        if given is None:
            return False
        if given.single not in ("strict", "open"):
            message = f"{shortened(given.single)!r} is neither strict nor open"
            self._wrong(given, "bad-columns", "columns", message)
        return given.single == "strict"

    def _given(self, pairs: Pairs, key: str) -> Given | None:
        """The text of a key; an empty one is a text too, a missing one or one that looks like a key is None."""
        if key not in pairs:
            return None
        node = pairs[key][1]
        text = "" if node.value is None else self._reading.text(node, key)
        return None if text is None else Given(text, False, node.place)

    def _wrong(self, given: Given, code: str, field: str, message: str, hint: str = "") -> None:
        self._reading.wrong(given.place, code, message, field=field, value=given.single, hint=hint)


def _can_be_mapped(target: str) -> bool:
    if target.startswith("label."):
        return len(target) > len("label.")
    name = target.removeprefix("var.")
    return target in CELL_FIELDS or (name.isidentifier() and name not in OWN_NAMES and name not in CELL_FIELDS)
