"""
What a power cut may leave of a recorded run, under the strictest reading of POSIX.

* The bytes of a file are safe once a sync of that file, begun after they were written, has returned. Until then each
  write survives, is lost, or is torn where two sectors of 512 bytes meet; each change of the length survives or not.
* A name is safe once a sync of its folder has returned; a sync of the file does not make its name safe. Until then
  each creation, link, rename and removal survives or not, in their order or regardless of it. A rename between two
  folders is a new name in one and a removed name in the other, each of which may survive alone.
* `fdatasync` does the same as `fsync`, for folders too: SQLite relies on it.

Real file systems are kinder. SQLite's `-shm` file is mapped into memory and made anew after a crash: it is left out.
"""

from __future__ import annotations

import posixpath
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.proof.recording import Call

SECTOR = 512
_OPENED = re.compile(r"/proc/self/fd/(\d+)/?([^/]*)")
"""A folder that is open, and a name in it."""
STYLES = ("in order", "regardless of order", "only names", "only bytes", "almost all")


@dataclass(slots=True, eq=False)
class Node:
    """A file or folder that was made during the recording, with everything that happened to it."""

    is_folder: bool
    changes: list[Change] = field(default_factory=list)
    syncs: list[Call] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    names: dict[str, Node] = field(default_factory=dict)

    def is_safe(self, change: Change, moment: int) -> bool:
        """True if a sync that had returned by this line covers the change."""
        return any(change.ended < sync.begun and sync.ended < moment for sync in self.syncs)


@dataclass(slots=True, frozen=True)
class Change:
    """
    One change of a file's bytes or a folder's names.

    Attributes:
        data: Bytes written at `at`; None if the file's length became `at`.
        gone: Names that are removed.
        name: The name that is given to `node`.
    """

    begun: int
    ended: int
    at: int = 0
    data: bytes | None = None
    gone: tuple[str, ...] = ()
    name: str = ""
    node: Node | None = None


@dataclass(slots=True)
class Image:
    """Files and folders after a cut: their paths relative to the recorded folder, and the files' bytes."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def write(self, folder: Path, *, beginning: str = "") -> None:
        """Put it, or the files whose paths begin so, into a real folder."""
        for path in self.folders:
            if path.startswith(beginning):
                (folder / path).mkdir(parents=True, exist_ok=True)
        for path, data in self.files.items():
            if path.startswith(beginning):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)


@dataclass(slots=True)
class _Handle:
    node: Node
    appends: bool
    position: int = 0


class Disk:
    """
    The files below one folder, built from system calls.

    Args:
        obeys: Which syncs do what they promise, by path and kind; a test of the tests leaves some out.
    """

    def __init__(self, *, obeys: Callable[[str, bool], bool] = lambda path, is_folder: True) -> None:
        self.root = Node(is_folder=True)
        self.moments: list[int] = [0]
        self._path = ""
        self._obeys = obeys
        self._open: dict[tuple[str, int], _Handle] = {}
        self._opening: dict[int, _Handle] = {}

    def play(self, calls: Iterable[Call], root: Path) -> None:
        """
        Take in the calls of one command, of all its processes.

        Args:
            root: The folder in which it was started. That and what it had are safe from the beginning; only what the
                processes themselves make in it is looked at.
        """
        self._path = str(root)
        self._open.clear()
        steps: list[tuple[int, int, Call]] = []
        for call in calls:
            steps.append((call.begun, 0, call))
            if call.name in ("open", "openat", "creat"):
                steps.append((call.ended, 1, call))
        for _, phase, call in sorted(steps, key=lambda step: step[:2]):
            if phase:
                self._bind(call)
            else:
                self._take(call)
        self.moments = sorted(set(self.moments))

    # -- images ----------------------------------------------------------------------------------------------

    def image(self, moment: int, draw: random.Random | None) -> Image:
        """
        What a cut before this line may leave.

        Args:
            draw: Decides what of the unsynced survives; None: nothing does.
        """
        image = Image()
        style = draw.choice(STYLES) if draw is not None else ""
        self._fill(image, "", self.root, moment, draw, style)
        return image

    def all_of(self) -> Image:
        """What lies in the folder at the end if there is no cut."""
        image = Image()

        def walk(path: str, node: Node) -> None:
            for name, child in sorted(node.names.items()):
                if child.is_folder:
                    image.folders.append(path + name)
                    walk(f"{path}{name}/", child)
                elif not name.endswith("-shm"):
                    image.files[path + name] = bytes(child.content)

        walk("", self.root)
        return image

    def _fill(self, image: Image, path: str, folder: Node, moment: int, draw: random.Random | None, style: str) -> None:
        names: dict[str, Node] = {}
        for change in _names_that_survive(folder, moment, draw, style):
            for name in change.gone:
                names.pop(name, None)
            if change.node is not None:
                names[change.name] = change.node
        for name, node in sorted(names.items()):
            if node.is_folder:
                image.folders.append(path + name)
                self._fill(image, f"{path}{name}/", node, moment, draw, style)
            elif not name.endswith("-shm"):
                image.files[path + name] = _bytes_that_survive(node, moment, draw, style)

    # -- taking in calls -------------------------------------------------------------------------------------

    def _take(self, call: Call) -> None:
        match call.name:
            case "open" | "openat" | "creat":
                self._begin_open(call)
            case "close":
                self._open.pop(call.handle(), None)
            case "mkdir" | "mkdirat":
                self._name(call, call.texts[0], Node(is_folder=True))
            case "rename" | "renameat" | "renameat2":
                self._rename(call)
            case "link" | "linkat":
                if (node := self._find(call, call.texts[0])) is not None:
                    self._name(call, call.texts[1], node)
            case "unlink" | "unlinkat" | "rmdir":
                self._remove(call)
            case "symlink" | "symlinkat" | "truncate" | "sync" | "syncfs":
                raise AssertionError(f"{call.name}: this model does not know it")
            case name if name not in ("sendto", "sendmsg", "recvfrom", "recvmsg", "connect", "clone", "clone3"):
                self._by_descriptor(call)

    def _by_descriptor(self, call: Call) -> None:
        if call.name == "copy_file_range":
            source, target = self._open.get(call.handle()), self._open.get(call.handle(2))
            assert (source is None) == (target is None), "a copy from or to a file that nobody saw"
            if source is not None and target is not None:
                assert call.words[1] == call.words[3] == "NULL"
                data = bytes(source.node.content[source.position : source.position + call.result])
                source.position += call.result
                self._write(call, target, data, target.position)
                target.position += call.result
            return
        if call.name in ("fork", "vfork") or (handle := self._open.get(call.handle())) is None:
            return
        match call.name:
            case "lseek":
                handle.position = call.result
            case "write":
                if handle.appends:
                    handle.position = len(handle.node.content)
                self._write(call, handle, call.texts[0][: call.result], handle.position)
                handle.position += call.result
            case "pwrite64":
                self._write(call, handle, call.texts[0][: call.result], int(call.words[3]))
            case "ftruncate":
                self._cut(call, handle.node, int(call.words[1]))
            case "fsync" | "fdatasync":
                if self._obeys(path_of(call), handle.node.is_folder):
                    handle.node.syncs.append(call)
                self.moments.append(call.ended + 1)
            case _:
                raise AssertionError(f"{call.name}: this model does not know it")

    def _write(self, call: Call, handle: _Handle, data: bytes, at: int) -> None:
        content = handle.node.content
        content.extend(bytes(max(0, at - len(content))))
        content[at : at + len(data)] = data
        self._note(call, handle.node, Change(call.begun, call.ended, at=at, data=data))

    def _cut(self, call: Call, node: Node, size: int) -> None:
        _resize(node.content, size)
        self._note(call, node, Change(call.begun, call.ended, at=size))

    def _begin_open(self, call: Call) -> None:
        path, flags = call.texts[0], call.arguments
        if posixpath.normpath(posixpath.join(self._path, path.decode())) == self._path:
            self._opening[call.begun] = _Handle(self.root, appends=False)
            return
        if (again := _OPENED.fullmatch(path.decode())) is not None and not again[2]:
            if (handle := self._open.get((call.process, int(again[1])))) is not None:
                self._opening[call.begun] = _Handle(handle.node, appends=False)
            return
        if (place := self._place(call, path)) is None:
            return
        node = place[0].names.get(place[1])
        if node is None:
            if "O_CREAT" not in flags and call.name != "creat":
                return  # it was there before
            node = Node(is_folder=False)
            self._name(call, path, node)
        elif "O_TRUNC" in flags or call.name == "creat":
            self._cut(call, node, 0)
        self._opening[call.begun] = _Handle(node, "O_APPEND" in flags)

    def _bind(self, call: Call) -> None:
        self._open.pop((call.process, call.result), None)
        if (handle := self._opening.pop(call.begun, None)) is not None:
            self._open[call.process, call.result] = handle

    def _name(self, call: Call, path: bytes, node: Node) -> None:
        if (place := self._place(call, path)) is not None:
            folder, name = place
            folder.names[name] = node
            self._note(call, folder, Change(call.begun, call.ended, name=name, node=node))

    def _rename(self, call: Call) -> None:
        old, new = (self._place(call, text) for text in call.texts)
        node = self._find(call, call.texts[0])
        if old is None or new is None or node is None:
            assert old is None, "a rename out of the folder"
            assert new is None, "a rename into the folder"
            return
        del old[0].names[old[1]]
        new[0].names[new[1]] = node
        gone = (old[1],) if old[0] is new[0] else ()
        self._note(call, new[0], Change(call.begun, call.ended, gone=gone, name=new[1], node=node))
        if not gone:
            self._note(call, old[0], Change(call.begun, call.ended, gone=(old[1],)))

    def _remove(self, call: Call) -> None:
        if (place := self._place(call, call.texts[0])) is not None:
            del place[0].names[place[1]]
            self._note(call, place[0], Change(call.begun, call.ended, gone=(place[1],)))

    def _note(self, call: Call, node: Node, change: Change) -> None:
        node.changes.append(change)
        self.moments.append(call.begun + 1)

    def _place(self, call: Call, path: bytes) -> tuple[Node, str] | None:
        """The folder of a path and the name in it; None if it is nothing that the processes have made."""
        if (within := _OPENED.fullmatch(path.decode())) is not None:  # a name in a folder that is open
            handle = self._open.get((call.process, int(within[1])))
            return None if handle is None or not handle.node.is_folder or not within[2] else (handle.node, within[2])
        relative = posixpath.relpath(posixpath.join(self._path, path.decode()), self._path)
        *parents, name = relative.split("/")
        if parents[:1] == [".."] or name in (".", ".."):
            return None
        folder = self.root
        for parent in parents:
            if parent not in folder.names:
                return None
            folder = folder.names[parent]
        # What lay in the first folder before is left alone.
        return None if folder is self.root and (Path(self._path) / name).is_file() else (folder, name)

    def _find(self, call: Call, path: bytes) -> Node | None:
        place = self._place(call, path)
        return None if place is None else place[0].names.get(place[1])


def _names_that_survive(folder: Node, moment: int, draw: random.Random | None, style: str) -> Iterator[Change]:
    begun = [change for change in folder.changes if change.begun < moment]
    unsafe = [change for change in begun if not folder.is_safe(change, moment)]
    kept: set[int] = set()
    if draw is not None:
        match style:
            case "in order":
                kept = set(map(id, unsafe[: draw.randint(0, len(unsafe))]))
            case "only names":
                kept = set(map(id, unsafe))
            case "only bytes":
                pass
            case _:
                odds = 0.9 if style == "almost all" else 0.5
                kept = {id(change) for change in unsafe if draw.random() < odds}
    lost = {id(change) for change in unsafe} - kept
    return (change for change in begun if id(change) not in lost)


def _bytes_that_survive(node: Node, moment: int, draw: random.Random | None, style: str) -> bytes:
    content = bytearray()
    for change in node.changes:
        if change.begun >= moment:
            continue
        data, at = change.data, change.at
        if not node.is_safe(change, moment):
            fate = _fate(draw, style)
            if fate == "lost":
                continue
            if fate == "torn" and data is not None and draw is not None:
                data, at = _tear(data, at, draw)
        if data is None:
            _resize(content, at)
        else:
            content.extend(bytes(max(0, at - len(content))))
            content[at : at + len(data)] = data
    return bytes(content)


def _fate(draw: random.Random | None, style: str) -> str:
    if draw is None or style == "only names":
        return "lost"
    if style == "only bytes":
        return "kept"
    if style == "almost all":
        return draw.choices(("kept", "lost", "torn"), (8, 1, 1))[0]
    return draw.choice(("kept", "lost", "torn"))


def _tear(data: bytes, at: int, draw: random.Random) -> tuple[bytes, int]:
    """One side of a write, which may be all or nothing of it where it lies within one sector."""
    borders = range(-at % SECTOR, len(data) + 1, SECTOR)
    border = draw.choice(borders) if borders else 0
    return (data[:border], at) if draw.random() < 0.5 else (data[border:], at + border)


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def path_of(call: Call) -> str:
    """The path that strace notes beside a descriptor."""
    noted = call.words[0].partition("<")[2].removesuffix(">")
    return bytes.fromhex(noted.replace("\\x", "")).decode() if noted.startswith("\\x") else noted
