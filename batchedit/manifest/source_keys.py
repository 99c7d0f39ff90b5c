"""Reading the list `sources`: where rows come from, and what applies to all rows of a source."""

from __future__ import annotations

from batchedit.manifest.fields import ROW_FIELDS, shortened
from batchedit.manifest.layers import Source
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.yaml_tree import Node

SOURCE_KINDS = ("csv", "glob")
SOURCE_KEYS = (*SOURCE_KINDS, "requires", "limit", *(name for name in ROW_FIELDS if name != "note"))


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
        pairs = reading.mapping(node, "the source", SOURCE_KEYS)
        if not isinstance(node.value, dict):
            if node.value is None:
                reading.wrong(node.place, "bad-source", f"a source has one of: {', '.join(SOURCE_KINDS)}")
            return None
        kinds = [kind for kind in SOURCE_KINDS if kind in pairs]
        source = Source("", "", node.place, reading.layer(pairs), reading.variables(pairs))
        source.requires, source.limit = self._requires(pairs), self._limit(pairs)
        if len(kinds) != 1:
            reading.wrong(node.place, "bad-source", f"a source has one of: {', '.join(SOURCE_KINDS)}")
            return None
        named = pairs[kinds[0]][1]
        where = reading.text(named, kinds[0])
        if not where:
            if where == "" or named.value is None:
                reading.wrong(named.place, "bad-source", "is empty", field=kinds[0])
            return None
        source.kind, source.where, source.place = kinds[0], where, named.place
        return source

    def _requires(self, pairs: Pairs) -> tuple[str, ...]:
        if "requires" not in pairs:
            return ()
        node = pairs["requires"][1]
        nodes = [node] if isinstance(node.value, str) else self._reading.list(node, "requires")
        return tuple(text for child in nodes if (text := self._reading.text(child, "requires")))

    def _limit(self, pairs: Pairs) -> int | None:
        if "limit" not in pairs:
            return None
        node = pairs["limit"][1]
        text = self._reading.text(node, "limit") if node.value is not None else ""
        if text is None:
            return None
        if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0:
            return int(text)
        message = f"{shortened(text)!r} is not a positive number"
        self._reading.wrong(node.place, "bad-limit", message, field="limit", value=text)
        return None
