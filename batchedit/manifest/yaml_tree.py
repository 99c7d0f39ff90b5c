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
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import looks_like_a_key, shortened, suggestion

if TYPE_CHECKING:
    from yaml.events import Event

MAX_DEPTH = 50
_KEYS_REMEMBERED = 1_000
_make = tuple.__new__
"""Makes a `Place` in half the time that calling it takes."""

MAX_NODES = 1_000_000
"""Most values in the head, and in each single row."""

MAX_CHARACTERS = 64 * 1024 * 1024
"""Most characters of the head, and of each single row: libyaml keeps a text until its end, and a tree all of them."""

MAX_ALIASED = 250_000
"""Most values that the aliases of one document may stand for, written out."""

MAX_ANCHORS = 10_000
"""Most anchors in one document; their values are kept."""

_BLOCK = 1 << 20
_AT_THE_TOP = re.compile(rb"[\n\r](?:[^\s#-]|---)|\r[^\n]|\xc2\x85|\xe2\x80[\xa8\xa9]")
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
        streamed: A key of the top mapping whose list is left empty in the tree; see `stream_list`, which checks it.

    Raises:
        ManifestError: if it cannot be read, or breaks a rule of this module.
    """
    for passes_over in (True, False):
        with _open(path, shown) as file, _told(file, shown):
            builder = _Builder(file, shown, passes_over=passes_over)
            try:
                for _ in builder.document(streamed, is_last=partial(_is_last, path)):
                    pass
            except _AnchorPassed:
                continue  # what follows may need what it stands for
        return builder.root
    raise AssertionError("what passes over nothing passes no anchor")


def stream_list(path: Path, shown: str, key: str) -> Iterator[Node]:
    """
    The values of a list in the top mapping, one at a time.

    Raises:
        ManifestError: as `read_yaml`.
    """
    with _open(path, shown) as file, _told(file, shown):
        yield from _Builder(file, shown).document(key)


def parse_yaml(text: str, shown: str) -> Node:
    """The tree of a YAML text; as `read_yaml`."""
    file = io.StringIO(text)
    with _told(file, shown):
        builder = _Builder(file, shown)
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
        anchor: The one that it has, empty without.
        before: How many values there were before it.
        depth: Of the deepest value within, counted from this one.
    """

    node: Node
    anchor: str
    before: int
    depth: int = 1


class _AnchorPassed(Exception):
    """There is an anchor in what was passed over."""


class _Metered:
    """A file that is read up to a limit, which begins anew with each row."""

    def __init__(self, file: IO[str], shown: str) -> None:
        self._file, self._shown = file, shown
        self.since = 0

    def read(self, size: int) -> str:
        """The next characters."""
        data = self._file.read(size)
        self.since += len(data)
        if self.since > MAX_CHARACTERS:
            message = f"has a head, or a row, of more than {MAX_CHARACTERS} characters"
            raise _refuse(Place(self._shown), "yaml-size", message, "Put rows into a table, and texts into files")
        return data


class _Builder:
    """
    Turns one document's events into nodes.

    Args:
        passes_over: The streamed list is not built.
    """

    def __init__(self, file: IO[str], shown: str, *, passes_over: bool = False) -> None:
        import yaml

        self._passes_over = passes_over
        self._meter = _Metered(file, shown)
        stream: Any = self._meter
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(stream)
        self._next: Callable[[], Any] = loader.get_event
        self._shown = shown
        self._scalar, self._list_start, self._mapping_start = (
            yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent,
        )  # fmt: skip
        self._ends = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        self._document, self._alias, self._stream_end = yaml.DocumentStartEvent, yaml.AliasEvent, yaml.StreamEndEvent
        self._count = self._aliased = 0
        self._anchors: dict[str, _Anchored] = {}
        self._harmless: set[str] = set()
        self.root = Node(Place(shown, 1, 1), None)

    def document(self, streamed: str, is_last: Callable[[int], bool] | None = None) -> Iterator[Node]:
        """
        Build the document into `root`; yields the values of the list under the key `streamed` instead.

        Args:
            is_last: Tells whether nothing follows the list that begins in this line; then it need not be passed over.
        """
        while not isinstance(event := self._next(), (self._document, self._stream_end)):
            pass
        if isinstance(event, self._stream_end):
            return
        event = self._next()
        if isinstance(event, self._mapping_start):
            if (yield from self._top(event, streamed, is_last)):
                return
        else:
            self.root = self._node(event)
        while not isinstance(event := self._next(), self._stream_end):
            if isinstance(event, self._document):
                raise _refuse(self._at(event), "yaml-documents", "holds more than one YAML document")

    def _top(self, start: Event, streamed: str, is_last: Callable[[int], bool] | None) -> Generator[Node, None, bool]:
        """The top mapping; True if its end was not looked for."""
        self._refuse_tag(start)
        self._refuse_anchor(start)
        known: dict[str, tuple[Place, Node]] = {}
        self.root = Node(self._at(start), known)
        while not isinstance(event := self._next(), self._ends):
            key, place = self._key(event, known)
            value = self._next()
            if key == streamed and isinstance(value, self._list_start):
                self._refuse_tag(value)
                self._refuse_anchor(value)
                known[key] = (place, Node(self._at(value), []))
                if self._passes_over:
                    if is_last is not None and place.column == 1 and is_last(self._at(value).line or 1):
                        return True
                    self._pass_over()
                    continue
                head_count = self._count
                while not isinstance(event := self._next(), self._ends):
                    self._count = self._meter.since = 0
                    yield self._node(event)
                self._count = head_count
            elif key == streamed and isinstance(value, self._alias):
                raise _refuse(self._at(value), "yaml-alias", f"the rows of {key} must be written here")
            else:
                known[key] = (place, self._node(value))
        return False

    def _pass_over(self) -> None:
        """Go to the end of the list that has just begun."""
        scalar, ends, next_event, depth = self._scalar, self._ends, self._next, 1
        meter = self._meter
        while depth:
            meter.since = 0
            event = next_event()
            if event.__class__ is scalar:
                if event.anchor is not None:
                    raise _AnchorPassed
            elif isinstance(event, ends):
                depth -= 1
            elif event.anchor is not None:
                raise _AnchorPassed
            else:
                depth += 1

    def _node(self, event: Event) -> Node:
        """The value that begins with an event, complete."""
        stack: list[_Open] = []  # innermost last
        root = self._begin(event, stack)
        next_event, scalar, ends = self._next, self._scalar, self._ends
        while stack:
            event = next_event()
            if event.__class__ is not scalar and isinstance(event, ends):
                self._end(stack)
                continue
            value: Any = stack[-1].node.value
            if value.__class__ is list:
                value.append(self._begin(event, stack))
            else:
                key, place = self._key(event, value)
                value[key] = (place, self._begin(next_event(), stack))
        return root

    def _begin(self, event: Any, stack: list[_Open]) -> Node:
        """The value that begins with an event; put on the stack if more of it follows."""
        if event.__class__ is self._alias:
            return self._shared(event, stack)
        mark, anchor, tag = event.start_mark, event.anchor, event.tag
        place = _make(Place, (self._shown, mark.line + 1, mark.column + 1))
        if tag and tag != "!":
            self._refuse_tag(event)
        self._count += 1
        if self._count > MAX_NODES:
            self._take(place, 0)
        if event.__class__ is self._scalar:
            text = event.value
            node = Node(place, None if text in _NULLS and event.implicit[0] else text)
            if anchor:
                self._keep(anchor, _Anchored(node, place, 1, 0))
            return node
        node = Node(place, [] if isinstance(event, self._list_start) else {})
        if anchor:
            self._keep(anchor, _Anchored(node, place))
        stack.append(_Open(node, anchor or "", self._count - 1))
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

    def _key(self, event: Any, known: dict[str, tuple[Place, Node]]) -> tuple[str, Place]:
        usual = event.__class__ is self._scalar and event.tag is None and event.anchor is None
        if usual and event.value in self._harmless and event.value not in known:
            mark = event.start_mark
            return event.value, _make(Place, (self._shown, mark.line + 1, mark.column + 1))
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
        if key != "<<" and len(self._harmless) < _KEYS_REMEMBERED:
            self._harmless.add(key)  # rows have the same keys over and over
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


def _is_last(path: Path, line: int) -> bool:
    """
    True if no key of a top mapping that begins in the first column comes after this line: it would begin there too.

    May be False where it could be True: with line breaks that are seldom used, or more than one document.
    """
    try:
        with path.open("rb") as file:
            rest, before = b"\n", line
            while block := file.read(_BLOCK):
                if before:
                    lines = block.count(b"\n")
                    if lines < before:
                        before -= lines
                        continue
                    block = block.split(b"\n", before)[before]
                    before, rest = 0, b"\n"
                if _AT_THE_TOP.search(rest + block):
                    return False
                rest = (rest + block)[-4:]
    except OSError:
        return False
    return True


def _open(path: Path, shown: str) -> IO[str]:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise _refuse(Place(shown), "unreadable", f"cannot be read: {error.strerror}") from None


@contextmanager
def _told(file: IO[str], shown: str) -> Iterator[None]:
    """Every way in which YAML can be wrong as our own error."""
    import yaml

    try:
        yield
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
