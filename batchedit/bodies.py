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
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from batchedit.effects import Offload
from batchedit.errors import Rejected
from batchedit.pictures import MEDIA_TYPES, sniff

_BLOCK_BYTES = 192 * 1024
"""Read at a time: a multiple of three, so that the base64 of the blocks is the base64 of the file."""


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
        stamp: The file's identity and time of change; another one says that it may have changed.
    """

    path: Path
    sha256: str
    media_type: str
    size_bytes: int
    stamp: tuple[int, int, int]

    @classmethod
    def describe(cls, path: Path, sha256: str) -> Self:
        """
        The file at `path`, which should have this content; that is not looked at yet.

        Raises:
            Rejected: if it cannot be read.
        """
        try:
            with path.open("rb") as file:
                facts, head = os.fstat(file.fileno()), file.read(12)
        except OSError as error:
            raise ContentChanged(path, error).refusal() from None
        media_type = MEDIA_TYPES[sniff(head) or "png"]
        return cls(path=path, sha256=sha256, media_type=media_type, size_bytes=facts.st_size, stamp=_stamp(facts))

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
        if _stamp(facts) != self.stamp or facts.st_size != self.size_bytes:
            raise ContentChanged(self.path)

    def blocks(self) -> Generator[bytes, None, None]:
        """
        The content, block by block; the last one only if all of it is what was planned.

        Raises:
            ContentChanged: if it is not, or cannot be read.
        """
        digest, left = hashlib.sha256(), self.size_bytes
        try:
            with self.path.open("rb") as file:
                while left:
                    block = file.read(min(_BLOCK_BYTES, left))
                    digest.update(block)
                    left -= len(block)
                    if not block or (not left and digest.hexdigest() != self.sha256):
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
            yield binascii.b2a_base64(block, newline=False) if self.in_base64 else block


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

    async def glance(self, offload: Offload) -> None:
        """
        Look whether the pictures seem to be untouched.

        Raises:
            ContentChanged: if one does not.
        """
        if self.uploads:
            await offload(self._glance)

    async def stream(self, offload: Offload) -> AsyncGenerator[bytes, None]:
        """
        The bytes to be sent, from files that are read as they are needed. Close it if it is not used up.

        Raises:
            ContentChanged: within the body, before its last byte, if a picture is not what was planned.
        """
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            blocks = part.blocks()
            try:
                while (block := await offload(partial(next, blocks, None))) is not None:
                    yield block
            finally:
                blocks.close()

    def _glance(self) -> None:
        for upload in self.uploads:
            upload.glance()

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        try:
            for part in self.parts:
                for block in (part,) if isinstance(part, bytes) else part.blocks():
                    digest.update(block)
        except ContentChanged as problem:
            raise problem.refusal() from None
        return digest.hexdigest()


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
