"""
YAML as a tree of text with places, built from libyaml's events without recursion.

Every scalar stays the text that stands in the file: `id: 0123` is "0123" and `no` is "no"; the field decides what it
means. Duplicate keys, tags, anchors and aliases are refused, and so is nesting that no manifest needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from batchedit.errors import ManifestError, Place, Problem

MAX_DEPTH = 50
MAX_NODES = 5_000_000

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True)
class Node:
    """
    A value with its place.

    Attributes:
        value: Text, None for an unquoted null, a list of nodes, or a mapping from keys to (key's place, node).
    """

    place: Place
    value: str | list[Node] | dict[str, tuple[Place, Node]] | None

    def kind(self) -> str:
        """What it is, in words."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else "text"


def read_yaml(path: Path, shown: str) -> Node:
    """
    The tree of a YAML file.

    Args:
        shown: The path as the user would type it, for messages.

    Raises:
        ManifestError: if it cannot be read, or breaks a rule of this module.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _refuse(Place(shown), "encoding", f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    return parse_yaml(text, shown)


def parse_yaml(text: str, shown: str) -> Node:
    """The tree of a YAML text; as `read_yaml`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _build(yaml.parse(text, Loader=loader), shown)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(shown, mark.line + 1, mark.column + 1) if mark else Place(shown)
        detail = " ".join(part for part in (error.context, error.problem) if part)
        raise _refuse(place, "yaml-syntax", f"is not valid YAML: {detail}") from None
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise _refuse(Place(shown), "yaml-syntax", f"is not valid YAML: {detail}") from None


def _build(events: object, shown: str) -> Node:
    import yaml

    root: Node | None = None
    # Open collections, innermost last, each with the key that waits for its value.
    stack: list[tuple[Node, tuple[str, Place] | None]] = []
    count = 0
    for event in events:  # type: ignore[attr-defined]  # PyYAML's stubs do not type the event stream
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            stack.pop()
            continue
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise _refuse(_at(event, shown), "yaml-documents", "holds more than one YAML document")
        if not isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent, yaml.AliasEvent)):
            continue
        place = _at(event, shown)
        _refuse_fancy(event, place)
        count += 1
        if len(stack) >= MAX_DEPTH or count > MAX_NODES:
            raise _refuse(place, "yaml-size", f"is nested deeper than {MAX_DEPTH} levels or has too many values")
        if stack and isinstance(stack[-1][0].value, dict) and stack[-1][1] is None:
            stack[-1] = (stack[-1][0], _key(event, place, stack[-1][0].value))
            continue
        node = _node(event, place)
        if stack:
            _attach(stack, node)
        else:
            root = node
        if not isinstance(event, yaml.ScalarEvent):
            stack.append((node, None))
    return root if root is not None else Node(Place(shown, 1, 1), None)


def _node(event: object, place: Place) -> Node:
    import yaml

    if isinstance(event, yaml.ScalarEvent):
        plain = bool(event.implicit[0])
        return Node(place, None if plain and event.value in _NULLS else event.value)
    return Node(place, [] if isinstance(event, yaml.SequenceStartEvent) else {})


def _attach(stack: list[tuple[Node, tuple[str, Place] | None]], node: Node) -> None:
    parent, key = stack[-1]
    if isinstance(parent.value, list):
        parent.value.append(node)
    elif isinstance(parent.value, dict) and key is not None:
        parent.value[key[0]] = (key[1], node)
        stack[-1] = (parent, None)


def _key(event: object, place: Place, known: dict[str, tuple[Place, Node]]) -> tuple[str, Place]:
    import yaml

    if not isinstance(event, yaml.ScalarEvent):
        raise _refuse(place, "yaml-key", "a key must be plain text")
    if event.value in known:
        first = known[event.value][0]
        raise _refuse(place, "duplicate-key", f"the key {event.value!r} is already given in line {first.line}")
    return event.value, place


def _refuse_fancy(event: object, place: Place) -> None:
    import yaml

    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise _refuse(place, "yaml-alias", "anchors and aliases are not supported; write the value out")
    tag = getattr(event, "tag", None)
    if tag and tag != "!":
        raise _refuse(place, "yaml-tag", f"the tag {tag} is not supported")


def _at(event: object, shown: str) -> Place:
    mark = getattr(event, "start_mark", None)
    return Place(shown, mark.line + 1, mark.column + 1) if mark is not None else Place(shown)


def _refuse(place: Place, code: str, message: str) -> ManifestError:
    return ManifestError([Problem(place=place, code=code, message=message)])
