"""Bodies of answers, read and unfolded within bounds."""

from __future__ import annotations

import io
import zlib
from collections.abc import AsyncIterable, Iterator

from batchedit.providers.answers import shorten

_UNFOLDED_BYTES = 1024 * 1024
_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
"""Content codings that are asked for, and what zlib calls them."""


class BadBody(Exception):
    """It is too large, or not encoded as it says; the message says which."""


async def read_capped(chunks: AsyncIterable[bytes], coding: str, limit: int) -> bytes:
    """
    An answer's body, decoded; what unfolds without limit is not unfolded further than that.

    Args:
        chunks: As they come over the wire.
        coding: The header ``Content-Encoding``.
        limit: So many bytes at most, on the wire and unfolded.

    Raises:
        BadBody: if there are more, or they cannot be decoded.
    """
    received = io.BytesIO()  # whose value is no copy
    coding = coding.strip().lower()
    if coding not in ("", "identity", *_WINDOWS):
        raise BadBody(f"the answer has a content coding that was not asked for ({shorten(coding)})")
    unfold = None if coding in ("", "identity") else _Unfolding(_WINDOWS[coding])
    wire_bytes = 0
    async for chunk in chunks:
        wire_bytes += len(chunk)
        pieces = (chunk,) if unfold is None else unfold.feed(chunk)
        for piece in pieces:
            if max(received.tell() + len(piece), wire_bytes) > limit:
                raise BadBody("the answer is larger than any answer may be")
            received.write(piece)
    if unfold is not None:
        unfold.end()
    return received.getvalue()


class _Unfolding:
    """A compressed body, unfolded a megabyte at a time."""

    def __init__(self, windows: tuple[int, ...]) -> None:
        self._windows = [*windows]
        self._inflater = zlib.decompressobj(self._windows.pop(0))
        self._is_first = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk unfolds to."""
        try:
            piece = self._inflater.decompress(chunk, _UNFOLDED_BYTES)
        except zlib.error as error:
            if not (self._is_first and self._windows):
                raise BadBody(str(error)) from error
            # "deflate" is sent with and without the head of zlib.
            self._inflater = zlib.decompressobj(self._windows.pop(0))
            yield from self.feed(chunk)
            return
        self._is_first = self._is_first and not piece
        while piece:
            yield piece
            piece = self._more()

    def _more(self) -> bytes:
        try:
            return self._inflater.decompress(self._inflater.unconsumed_tail, _UNFOLDED_BYTES)
        except zlib.error as error:
            raise BadBody(str(error)) from error

    def end(self) -> None:
        """There is no more: it must have come to its end."""
        if not self._inflater.eof and not self._is_first:
            raise BadBody("the compressed answer is cut short")
