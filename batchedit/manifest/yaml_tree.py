"""
YAML as a tree of text with places, built from libyaml's events without recursion.

    bytes --libyaml--> events --_Builder--> Node, Node, ...

Every scalar stays the text that stands in the file: `id: 0123` is "0123" and `no` is "no"; the field decides what it
means. Duplicate keys, tags, anchors and aliases are refused, and so is nesting that no manifest needs. The rows of a
large manifest are built one at a time and dropped: `read_yaml` checks them, `stream_list` hands them out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import looks_like_a_key, shortened

if TYPE_CHECKING:
    from yaml.events import Event

MAX_DEPTH = 50
MAX_NODES = 1_000_000
"""Most values in the head, and in each single row."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufeff\ufffd\U00010000-\U0010ffff]|(?<!^)\ufeff")


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


def read_yaml(path: Path, shown: str, *, streamed: str = "") -> Node:
    """
    The tree of a YAML file.

    Args:
        shown: The path as the user would type it, for messages.
        streamed: A key of the top mapping whose list is checked but left empty in the tree; see `stream_list`.

    Raises:
        ManifestError: if it cannot be read, or breaks a rule of this module.
    """
    with _open(path, shown) as file:
        builder = _Builder(_events(file, shown), shown)
        for _ in builder.document(streamed):
            pass
    return builder.root


def stream_list(path: Path, shown: str, key: str) -> Iterator[Node]:
    """
    The values of a list in the top mapping, one at a time.

    Raises:
        ManifestError: as `read_yaml`.
    """
    with _open(path, shown) as file:
        yield from _Builder(_events(file, shown), shown).document(key)


def parse_yaml(text: str, shown: str) -> Node:
    """The tree of a YAML text; as `read_yaml`."""
    builder = _Builder(_events(io.StringIO(text), shown), shown)
    for _ in builder.document(""):
        pass
    return builder.root


class _Builder:
    """Turns one document's events into nodes."""

    def __init__(self, events: Iterator[Event], shown: str) -> None:
        import yaml

        self._events, self._shown = events, shown
        self._scalar, self._list_start, self._mapping_start = (
            yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent,
        )  # fmt: skip
        self._ends = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        self._document, self._alias, self._stream_end = yaml.DocumentStartEvent, yaml.AliasEvent, yaml.StreamEndEvent
        self._count = 0
        self.root = Node(Place(shown, 1, 1), None)

    def document(self, streamed: str) -> Iterator[Node]:
        """Build the document into `root`; yields the values of the list under the key `streamed` instead."""
        events = self._events
        while not isinstance(event := next(events), (self._document, self._stream_end)):
            pass
        if isinstance(event, self._stream_end):
            return
        event = next(events)
        if isinstance(event, self._mapping_start):
            yield from self._top(event, streamed)
        else:
            self.root = self._node(event)
        for event in events:
            if isinstance(event, self._document):
                raise _refuse(self._at(event), "yaml-documents", "holds more than one YAML document")

    def _top(self, start: Event, streamed: str) -> Iterator[Node]:
        self._refuse_fancy(start)
        known: dict[str, tuple[Place, Node]] = {}
        self.root = Node(self._at(start), known)
        while not isinstance(event := next(self._events), self._ends):
            key, place = self._key(event, known)
            value = next(self._events)
            if key == streamed and isinstance(value, self._list_start):
                self._refuse_fancy(value)
                known[key] = (place, Node(self._at(value), []))
                head_count = self._count
                while not isinstance(event := next(self._events), self._ends):
                    self._count = 0
                    yield self._node(event)
                self._count = head_count
            else:
                known[key] = (place, self._node(value))

    def _node(self, event: Event) -> Node:
        """The value that begins with an event, complete."""
        root = self._begin(event)
        # Open collections, innermost last, each with the key that waits for its value.
        stack: list[tuple[Node, tuple[str, Place] | None]] = []
        if not isinstance(event, self._scalar):
            stack.append((root, None))
        while stack:
            event = next(self._events)
            if isinstance(event, self._ends):
                stack.pop()
                continue
            parent, key = stack[-1]
            if isinstance(parent.value, dict) and key is None:
                stack[-1] = (parent, self._key(event, parent.value))
                continue
            node = self._begin(event)
            if isinstance(parent.value, list):
                parent.value.append(node)
            elif isinstance(parent.value, dict) and key is not None:
                parent.value[key[0]] = (key[1], node)
                stack[-1] = (parent, None)
            if not isinstance(event, self._scalar):
                stack.append((node, None))
                if len(stack) >= MAX_DEPTH:
                    raise _refuse(node.place, "yaml-size", f"is nested deeper than {MAX_DEPTH} levels")
        return root

    def _begin(self, event: Event) -> Node:
        self._refuse_fancy(event)
        place = self._at(event)
        self._count += 1
        if self._count > MAX_NODES:
            raise _refuse(place, "yaml-size", f"has more than {MAX_NODES} values here")
        if isinstance(event, self._scalar):
            plain = bool(event.implicit[0])
            return Node(place, None if plain and event.value in _NULLS else event.value)
        return Node(place, [] if isinstance(event, self._list_start) else {})

    def _key(self, event: Event, known: dict[str, tuple[Place, Node]]) -> tuple[str, Place]:
        self._refuse_fancy(event)
        place = self._at(event)
        if not isinstance(event, self._scalar):
            raise _refuse(place, "yaml-key", "a key must be plain text")
        key = event.value
        if looks_like_a_key(key):
            raise _refuse(place, "key-in-manifest", "this looks like an API key; keys do not belong in a manifest")
        if key in known:
            line = known[key][0].line
            raise _refuse(place, "duplicate-key", f"the key {shortened(key)!r} is already given in line {line}")
        return key, place

    def _refuse_fancy(self, event: Event) -> None:
        if isinstance(event, self._alias) or getattr(event, "anchor", None):
            message = "anchors and aliases are not supported; write the value out"
            raise _refuse(self._at(event), "yaml-alias", message)
        tag = getattr(event, "tag", None)
        if tag and tag != "!":
            raise _refuse(self._at(event), "yaml-tag", f"the tag {shortened(tag)} is not supported")

    def _at(self, event: Event) -> Place:
        mark = event.start_mark
        return Place(self._shown, mark.line + 1, mark.column + 1) if mark is not None else Place(self._shown)


def _open(path: Path, shown: str) -> IO[str]:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None


def _events(file: IO[str], shown: str) -> Iterator[Event]:
    """The events of a text, with every way in which YAML can be wrong as our own error."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(file, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(shown, mark.line + 1, mark.column + 1) if mark else Place(shown)
        detail = " ".join(part for part in (error.context, error.problem) if part)
        raise _refuse(place, "yaml-syntax", f"is not valid YAML: {detail}") from None
    except yaml.reader.ReaderError:
        raise _refuse(_first_forbidden(file, shown), "yaml-syntax", "holds a character that YAML does not allow",
                      "Take the control character out") from None  # fmt: skip
    except yaml.YAMLError as error:
        raise _refuse(Place(shown), "yaml-syntax", f"is not valid YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 (byte {error.object[error.start]:#04x}); save it as UTF-8"
        raise _refuse(Place(shown), "encoding", message) from None
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None
    except (UnicodeEncodeError, RecursionError):
        raise _refuse(Place(shown), "yaml-syntax", "is not valid YAML") from None


def _first_forbidden(file: IO[str], shown: str) -> Place:
    """Where the character stands that libyaml refuses without saying where."""
    file.seek(0)
    for number, line in enumerate(file, start=1):
        found = _FORBIDDEN.search(line)
        if found is not None:
            return Place(shown, number, found.start() + 1)
    return Place(shown)


def _refuse(place: Place, code: str, message: str, hint: str = "") -> ManifestError:
    return ManifestError([Problem(place=place, code=code, message=message, hint=hint)])
