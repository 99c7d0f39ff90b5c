"""
YAML as a tree of text with places, built from libyaml's events without recursion.

    bytes --libyaml--> events --_Builder--> Node, Node, ...

Every scalar stays the text that stands in the file: `id: 0123` is "0123" and `no` is "no"; the field decides what it
means. Duplicate keys, tags and merge keys are refused, and so is nesting that no manifest needs. An alias is another
name for the value at its anchor: the value is shared, not copied, and all aliases of a document may stand for so many
values and no more. The rows of a large manifest are built one at a time and dropped: `read_yaml` checks them,
`stream_list` hands them out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import looks_like_a_key, shortened, suggestion

if TYPE_CHECKING:
    from yaml.events import Event

MAX_DEPTH = 50
MAX_NODES = 1_000_000
"""Most values in the head, and in each single row."""

MAX_ALIASED = 250_000
"""Most values that the aliases of one document may stand for, written out."""

MAX_ANCHORS = 10_000
"""Most anchors in one document; their values are kept."""

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


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A value that has an anchor; how many values it is, written out, and how deeply nested. None while it is built."""

    node: Node
    place: Place
    size: int | None = None
    depth: int = 0


@dataclass(slots=True)
class _Open:
    """
    A list or mapping whose end has not come.

    Attributes:
        key: In a mapping, the key that waits for its value.
        anchor: The one that it has, empty without.
        before: How many values there were before it.
        depth: Of the deepest value within, counted from this one.
    """

    node: Node
    anchor: str
    before: int
    key: tuple[str, Place] | None = None
    depth: int = 1


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
        self._count = self._aliased = 0
        self._anchors: dict[str, _Anchored] = {}
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
        self._refuse_tag(start)
        self._refuse_anchor(start)
        known: dict[str, tuple[Place, Node]] = {}
        self.root = Node(self._at(start), known)
        while not isinstance(event := next(self._events), self._ends):
            key, place = self._key(event, known)
            value = next(self._events)
            if key == streamed and isinstance(value, self._list_start):
                self._refuse_tag(value)
                self._refuse_anchor(value)
                known[key] = (place, Node(self._at(value), []))
                head_count = self._count
                while not isinstance(event := next(self._events), self._ends):
                    self._count = 0
                    yield self._node(event)
                self._count = head_count
            elif key == streamed and isinstance(value, self._alias):
                raise _refuse(self._at(value), "yaml-alias", f"the rows of {key} must be written here")
            else:
                known[key] = (place, self._node(value))

    def _node(self, event: Event) -> Node:
        """The value that begins with an event, complete."""
        stack: list[_Open] = []  # innermost last
        root = self._begin(event, stack)
        while stack:
            event, parent = next(self._events), stack[-1]
            if isinstance(event, self._ends):
                self._end(stack)
                continue
            value, key = parent.node.value, parent.key
            if isinstance(value, dict) and key is None:
                parent.key = self._key(event, value)
                continue
            node = self._begin(event, stack)
            if isinstance(value, list):
                value.append(node)
            elif isinstance(value, dict) and key is not None:
                value[key[0]] = (key[1], node)
                parent.key = None
        return root

    def _begin(self, event: Any, stack: list[_Open]) -> Node:
        """The value that begins with an event; put on the stack if more of it follows."""
        if isinstance(event, self._alias):
            return self._shared(event, stack)
        self._refuse_tag(event)
        place, anchor = self._at(event), event.anchor or ""
        self._take(place, 1)
        if isinstance(event, self._scalar):
            plain = bool(event.implicit[0])
            node = Node(place, None if plain and event.value in _NULLS else event.value)
            if anchor:
                self._keep(anchor, _Anchored(node, place, 1, 0))
            return node
        node = Node(place, [] if isinstance(event, self._list_start) else {})
        if anchor:
            self._keep(anchor, _Anchored(node, place))
        stack.append(_Open(node, anchor, self._count - 1))
        if len(stack) >= MAX_DEPTH:
            raise _refuse(place, "yaml-size", f"is nested deeper than {MAX_DEPTH} levels")
        return node

    def _end(self, stack: list[_Open]) -> None:
        done = stack.pop()
        if stack:
            stack[-1].depth = max(stack[-1].depth, done.depth + 1)
        if done.anchor:
            size = self._count - done.before
            self._anchors[done.anchor] = _Anchored(done.node, done.node.place, size, done.depth)

    def _shared(self, event: Any, stack: list[_Open]) -> Node:
        """The value that an alias stands for, at the alias's own place; what is in it is the anchor's."""
        place, name = self._at(event), event.anchor
        known = self._anchors.get(name)
        if known is None:
            message = f"there is no anchor {shortened(name)!r} above"
            raise _refuse(place, "yaml-alias", message, suggestion(name, self._anchors))
        if known.size is None:
            message = f"the alias {shortened(name)!r} stands within the value that it stands for"
            raise _refuse(place, "yaml-alias", message)
        self._aliased += known.size
        if self._aliased > MAX_ALIASED:
            raise _refuse(place, "yaml-size", f"the aliases stand for more than {MAX_ALIASED} values")
        self._take(place, known.size)
        if stack:
            stack[-1].depth = max(stack[-1].depth, known.depth + 1)
        if len(stack) + known.depth >= MAX_DEPTH:
            raise _refuse(place, "yaml-size", f"is nested deeper than {MAX_DEPTH} levels")
        return Node(place, known.node.value)

    def _keep(self, anchor: str, value: _Anchored) -> None:
        if len(self._anchors) >= MAX_ANCHORS and anchor not in self._anchors:
            raise _refuse(value.place, "yaml-size", f"has more than {MAX_ANCHORS} anchors")
        self._anchors[anchor] = value

    def _take(self, place: Place, values: int) -> None:
        self._count += values
        if self._count > MAX_NODES:
            raise _refuse(place, "yaml-size", f"has more than {MAX_NODES} values here")

    def _key(self, event: Event, known: dict[str, tuple[Place, Node]]) -> tuple[str, Place]:
        self._refuse_tag(event)
        place = self._at(event)
        if not isinstance(event, self._scalar):
            raise _refuse(place, "yaml-key", "a key must be plain text")
        self._refuse_anchor(event)
        key = event.value
        if key == "<<" and event.implicit[0]:
            message = "merge keys (<<) are not supported"
            hint = "Put what is shared into defaults, or name a whole value: labels: &shared {...}, labels: *shared"
            raise _refuse(place, "yaml-merge", message, hint)
        if looks_like_a_key(key):
            raise _refuse(place, "key-in-manifest", "this looks like an API key; keys do not belong in a manifest")
        if key in known:
            line = known[key][0].line
            raise _refuse(place, "duplicate-key", f"the key {shortened(key)!r} is already given in line {line}")
        return key, place

    def _refuse_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None)
        if tag and tag != "!":
            raise _refuse(self._at(event), "yaml-tag", f"the tag {shortened(tag)} is not supported")

    def _refuse_anchor(self, event: Any) -> None:
        if event.anchor:
            raise _refuse(self._at(event), "yaml-alias", "there can be no anchor here", "Put it before a value")

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
