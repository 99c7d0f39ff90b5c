"""
What a call sends: bytes, and files that are read while they are sent.

Hundreds of calls wait for minutes, each with pictures of megabytes in its body. A body is therefore a description: its
length and its digest are known before anything is sent, and each attempt reads the files anew, block by block. What is
read is compared with what was described before the last of it is sent: a file that changes on the way leaves the
server with an incomplete request, never with another picture.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Self

from batchedit import disk
from batchedit.cleaning import Anatomy, Buffer, Part, anatomy, content_of
from batchedit.effects import Offload
from batchedit.errors import Rejected
from batchedit.pictures import INPUT_LIMIT_BYTES, MEDIA_TYPES, BadPicture, sniff

_BLOCK_BYTES = 192 * 1024
"""Read at a time: a multiple of three, so that the base64 of the blocks is the base64 of the file."""
_SMALL_BYTES = 32 * 1024
"""What is larger costs more to copy than to be sent by itself: new memory for it comes page by page."""
_HEAD_BYTES = 12
"""Enough to tell the formats apart."""

Piece = bytes | memoryview
"""A stretch of a file, which need not be a copy."""
_Read = tuple[list[bytes], bool]
"""Blocks, and whether there are no more."""


class ContentChanged(Exception):
    """
    A file is not the one that was described.

    Attributes:
        code: ``INPUT_MISSING`` if it cannot be read, ``INPUT_CHANGED`` if it holds something else.
    """

    def __init__(self, path: Path, error: OSError | None = None) -> None:
        trouble = "has changed since the run was planned; run again"
        super().__init__(f"{path}: {error.strerror or 'cannot be read'}" if error else f"{path} {trouble}")
        self.code = "INPUT_MISSING" if error else "INPUT_CHANGED"

    def refusal(self) -> Rejected:
        """What it means for a request of which nothing has been sent."""
        return Rejected(str(self), code=self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """
    A local picture to be handed over, as it was when it was described.

    Attributes:
        sha256: Of the content that was planned, in hex.
        size_bytes: Of what is sent.
        file_bytes: Of the file.
        stamp: The file's identity and time of change; another one says that it may have changed.
        parts: What is sent of the file, in order; None for all of it.
    """

    path: Path
    sha256: str
    media_type: str
    size_bytes: int
    file_bytes: int
    stamp: tuple[int, int, int]
    parts: tuple[Part, ...] | None = None

    @classmethod
    def describe(cls, path: Path, sha256: str) -> Self:
        """
        The file at `path`, which should have this content; that is not looked at yet.

        Raises:
            Rejected: if it cannot be read.
        """
        return cls._described(path, sha256, None)[0]

    @classmethod
    def describe_clean(cls, path: Path, sha256: str) -> tuple[Self, int]:
        """
        The same, of which only the picture is sent and nothing that it says besides (see `cleaning`).

        Returns:
            Also how its pixels lie, 1 to 8 as in EXIF, which is not sent either.

        Raises:
            Rejected: if it cannot be read, or is no picture.
        """
        return cls._described(path, sha256, anatomy)

    @classmethod
    def _described(cls, path: Path, sha256: str, look: Callable[[Buffer], Anatomy] | None) -> tuple[Self, int]:
        found: Anatomy | None = None
        try:
            with disk.open_regular(path) as file:
                facts = os.fstat(file.fileno())
                if not 0 < facts.st_size <= INPUT_LIMIT_BYTES:  # which was looked at when the run was planned
                    raise ContentChanged(path).refusal()
                content = content_of(file.fileno(), facts.st_size if look is not None else _HEAD_BYTES)
                head = content[:_HEAD_BYTES]
                if look is not None:
                    found = look(content)
        except BadPicture as problem:
            raise Rejected(f"{path} is not sent: {problem}", code="INPUT_NO_PICTURE") from None
        except OSError as error:
            raise ContentChanged(path, error).refusal() from None
        size = facts.st_size
        is_whole = found is None or found.is_clean
        upload = cls(
            path=path,
            sha256=sha256,
            media_type=MEDIA_TYPES[sniff(head) or "png"],
            size_bytes=size if is_whole or found is None else found.length,
            file_bytes=size,
            stamp=_stamp(facts),
            parts=None if is_whole or found is None else tuple(found.parts),
        )
        return upload, found.orientation if found is not None else 1

    @property
    def name(self) -> str:
        """A neutral one: the user's file names stay here."""
        return f"{self.sha256[:16]}.{self.media_type.removeprefix('image/')}"

    def verify(self) -> None:
        """
        Read the file and compare its content.

        Raises:
            Rejected: if it is gone or has changed.
        """
        try:
            for _ in self.blocks():
                pass
        except ContentChanged as problem:
            raise problem.refusal() from None

    def glance(self) -> None:
        """
        Look whether the file seems to be untouched, without reading it.

        Raises:
            ContentChanged: if it does not.
        """
        try:
            facts = self.path.stat()
        except OSError as error:
            raise ContentChanged(self.path, error) from None
        if _stamp(facts) != self.stamp or facts.st_size != self.file_bytes:
            raise ContentChanged(self.path)

    def blocks(self) -> Generator[Piece, None, None]:
        """
        What is sent, block by block; the last one only if all of the file is what was planned.

        Raises:
            ContentChanged: if it is not, or cannot be read.
        """
        return self._file_blocks() if self.parts is None else _in_threes(_picked(self._file_blocks(), self.parts))

    def _file_blocks(self) -> Generator[bytes, None, None]:
        digest, left = hashlib.sha256(), self.file_bytes
        if not left:  # it would be at its end before anything was compared
            raise ContentChanged(self.path)
        try:
            with disk.open_regular(self.path) as file:
                # What is picked was found in the file as it was then.
                if self.parts is not None and _stamp(os.fstat(file.fileno())) != self.stamp:
                    raise ContentChanged(self.path)
                while left:
                    wanted = min(_BLOCK_BYTES, left)
                    block = _read(file, wanted)
                    digest.update(block)
                    left -= len(block)
                    if len(block) < wanted or (not left and digest.hexdigest() != self.sha256):
                        raise ContentChanged(self.path)
                    yield block
        except OSError as error:
            raise ContentChanged(self.path, error) from None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A picture's content within a body, as it is or in base64."""

    upload: Upload
    in_base64: bool

    @property
    def length(self) -> int:
        """In bytes, as sent."""
        size = self.upload.size_bytes
        return 4 * -(-size // 3) if self.in_base64 else size

    def blocks(self) -> Generator[bytes, None, None]:
        """What is sent, as `Upload.blocks`."""
        for block in self.upload.blocks():
            yield binascii.b2a_base64(block, newline=False) if self.in_base64 else bytes(block)


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a call: its parts one after the other."""

    parts: tuple[bytes | FilePart, ...]

    @property
    def length(self) -> int:
        """In bytes: the Content-Length."""
        return sum(len(part) if isinstance(part, bytes) else part.length for part in self.parts)

    @property
    def uploads(self) -> list[Upload]:
        """The pictures that are read while it is sent."""
        return [part.upload for part in self.parts if isinstance(part, FilePart)]

    def mentions(self, text: bytes) -> bool:
        """True if the text occurs outside the pictures."""
        return any(text in part for part in self.parts if isinstance(part, bytes))

    async def sha256(self, offload: Offload) -> str:
        """
        The digest in hex of exactly the bytes that will be sent.

        Raises:
            Rejected: if a picture is gone or has changed.
        """
        return await offload(self._sha256) if self.uploads else self._sha256()

    @asynccontextmanager
    async def opened(self, offload: Offload) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        The bytes to be sent, from files that are read as they are needed. What comes first is read at the opening, so
        that a small body costs one turn of a thread.

        Raises:
            ContentChanged: at the opening, if a picture seems to be another one; within the body, before its last
                byte, if one is not what was planned.
        """
        blocks = self._blocks()
        try:
            # What was read gets no name here: a call that waits for its answer holds no picture.
            async with aclosing(_rest(await self._first(blocks, offload), blocks, offload)) as rest:
                yield rest
        finally:
            blocks.close()

    async def _first(self, blocks: Generator[bytes, None, None], offload: Offload) -> _Read:
        return await offload(partial(self._begin, blocks)) if self.uploads else ([*blocks], True)

    def _begin(self, blocks: Generator[bytes, None, None]) -> _Read:
        for upload in self.uploads:
            upload.glance()
        return _take(blocks)

    def _blocks(self) -> Generator[bytes, None, None]:
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from part.blocks()

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        try:
            for block in self._blocks():
                digest.update(block)
        except ContentChanged as problem:
            raise problem.refusal() from None
        return digest.hexdigest()


def _read(file: FileIO, size: int) -> bytes:
    """So many bytes, fewer only at the file's end; a disk may give them in pieces."""
    block = file.read(size)
    while len(block) < size and (piece := file.read(size - len(block))):
        block += piece
    return block


def _take(blocks: Generator[bytes, None, None]) -> _Read:
    """The next blocks, as many as are worth a turn of a thread, and whether those were the last."""
    taken, size = [], 0
    for block in blocks:
        taken.append(block)
        size += len(block)
        if size >= _BLOCK_BYTES:
            return taken, False
    return taken, True


async def _rest(read: _Read, blocks: Generator[bytes, None, None], offload: Offload) -> AsyncGenerator[bytes, None]:
    while True:
        taken, is_last = read
        for block in taken:
            yield block
        if is_last:
            return
        read = await offload(partial(_take, blocks))


def _picked(blocks: Generator[bytes, None, None], parts: Sequence[Part]) -> Generator[Piece, None, None]:
    """
    The parts of a file that is read from its beginning to its end: all of it, so that it is seen to be what was
    planned. The last of it comes after that.
    """
    waiting, begin = deque(parts), 0
    held: Piece = b""
    with closing(blocks):
        for block in blocks:
            end = begin + len(block)
            while waiting and (isinstance(part := waiting[0], bytes) or part[0] < end):
                waiting.popleft()
                piece: Piece
                if isinstance(part, bytes):
                    piece = part
                else:
                    piece = memoryview(block)[max(part[0], begin) - begin : part[1] - begin]
                    if part[1] > end:
                        waiting.appendleft((end, part[1]))
                if held:
                    yield held
                held = piece
                if not isinstance(part, bytes) and part[1] > end:
                    break
            begin = end
    if held:
        yield held


def _in_threes(pieces: Generator[Piece, None, None]) -> Generator[Piece, None, None]:
    """The same bytes in blocks that are multiples of three, but for the last one; large pieces are not copied."""
    with closing(pieces):
        gathered = bytearray()
        for piece in pieces:
            view = memoryview(piece)
            if len(view) >= _SMALL_BYTES:
                lacking = -len(gathered) % 3
                gathered += view[:lacking]
                view = view[lacking:]
                if gathered:
                    yield bytes(gathered)
                    gathered.clear()
                whole = len(view) - len(view) % 3
                yield view[:whole]
                view = view[whole:]
            gathered += view
            if len(gathered) >= _SMALL_BYTES:
                whole = len(gathered) - len(gathered) % 3
                yield bytes(gathered[:whole])
                del gathered[:whole]
        if gathered:
            yield bytes(gathered)


def json_body(value: object) -> Body:
    """The value as compact JSON, in which each `Upload` is a data URI."""
    try:
        return Body((json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),))
    except TypeError:  # there is a picture in it
        return Body(tuple(_joined(_json(value))))


def _json(value: object) -> Iterator[bytes | FilePart]:
    match value:
        case Upload():
            yield f'"data:{value.media_type};base64,'.encode()
            yield FilePart(value, in_base64=True)
            yield b'"'
        case dict():
            for number, (name, entry) in enumerate(value.items()):
                yield (b"," if number else b"{") + json.dumps(name, ensure_ascii=False).encode() + b":"
                yield from _json(entry)
            yield b"}" if value else b"{}"
        case list() | tuple():
            for number, entry in enumerate(value):
                yield b"," if number else b"["
                yield from _json(entry)
            yield b"]" if value else b"[]"
        case _:
            yield json.dumps(value, ensure_ascii=False).encode()


def _joined(parts: Iterable[bytes | FilePart]) -> Iterator[bytes | FilePart]:
    """The same parts with neighbouring bytes in one piece."""
    pieces: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            pieces.append(part)
            continue
        yield b"".join(pieces)
        pieces = []
        yield part
    yield b"".join(pieces)


def _stamp(facts: os.stat_result) -> tuple[int, int, int]:
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns
