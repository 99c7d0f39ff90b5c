"""Named selections of a manifest: what `@name` stands for in `--select` and `--exclude`."""

from __future__ import annotations

from batchedit.manifest.fields import shortened
from batchedit.manifest.reading import Reading
from batchedit.manifest.yaml_tree import Node
from batchedit.selectors import BadSelector, parse


def read_selectors(node: Node, reading: Reading) -> dict[str, tuple[str, ...]]:
    """Names and their strings. Each is read once, so that a mistake is heard of before anybody uses it."""
    found: dict[str, tuple[str, ...]] = {}
    nodes: dict[str, list[tuple[Node, str]]] = {}
    for name, (place, child) in reading.mapping(node, "selectors", None).items():
        field = f"selectors.{shortened(name)}"
        texts = [child] if isinstance(child.value, str) else reading.list(child, field)
        pairs = [(entry, text) for entry in texts if (text := reading.text(entry, field)) is not None]
        if child.value is None or child.value == []:
            reading.wrong(child.place, "bad-selector", "selects nothing", field=field)
        if reading.is_name(name, place, "a selector"):
            found[name], nodes[name] = tuple(text for _, text in pairs), pairs
    for name, pairs in nodes.items():
        for entry, text in pairs:
            try:
                parse(text, named=found)
            except BadSelector as bad:
                message = f"{shortened(bad.text)!r}, character {bad.position}: {bad.message}"
                reading.wrong(
                    entry.place, "bad-selector", message, field=f"selectors.{name}", value=bad.text, hint=bad.hint
                )
    return found
