"""
Pictures that come within an answer, as data URIs: found in its bytes and decoded from there.

Such an answer has many megabytes, nearly all of them base64. Parsing it as JSON would copy each picture into a text,
and taking that apart would copy it again. Here the pictures are cut out of the answer first, which copies nothing, and
what is left is parsed. Whatever looks unusual is left where it is: it is parsed as any other text and decoded from it.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from batchedit.model import OutputLocation, Reply
from batchedit.pictures import BadPicture

_OPENING = b'"data:'
_MARK = b";base64,"
_LONGEST_HEAD = 100
_PIECE_LETTERS = 1024 * 1024
"""Decoded at a time: a multiple of four letters, so that the pieces are those of the whole."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """
    An answer without its pictures.

    Attributes:
        text: The answer with a short name in the place of each picture's data URI.
        pictures: The base64 letters by that name, as views of the answer.
    """

    text: bytes
    pictures: Mapping[str, memoryview]

    def restore(self, reply: Reply) -> Reply:
        """A reply that was read from the text, with the pictures instead of their names."""
        if not self.pictures:
            return reply
        outputs = (replace(output, letters=self.pictures.get(output.url)) for output in reply.outputs)
        return replace(reply, outputs=tuple(outputs))


def lift(answer: bytes) -> Lifted:
    """
    Cut the data URIs in base64 out of a JSON text.

    A quote that no backslash precedes begins a text or ends one, and none ends right before ``data:``. A text with an
    escape in it stays: its letters are not the picture's.
    """
    pieces: list[bytes] = []
    pictures: dict[str, memoryview] = {}
    view = memoryview(answer)
    done = start = 0
    while (start := answer.find(_OPENING, start)) >= 0:
        mark = answer.find(_MARK, start, start + _LONGEST_HEAD)
        first = mark + len(_MARK)
        end = answer.find(b'"', start + len(_OPENING))
        is_usual = start < mark < end and answer[start - 1 : start] != b"\\" and answer.find(b"\\", start, end) < 0
        if is_usual:
            # No letter of base64 is a "#", so that no picture is taken for another one's name.
            name = f"data:#{len(pictures)}"
            pictures[name] = view[first:end]
            pieces += (answer[done : start + 1], name.encode())
            done = end
        start = end if is_usual else start + len(_OPENING)
    if not pictures:
        return Lifted(answer, pictures)
    return Lifted(b"".join((*pieces, answer[done:])), pictures)


def decoded(location: OutputLocation) -> Iterator[bytes]:
    """
    The bytes of a picture that came within an answer, in pieces. Each step blocks for about a millisecond.

    Raises:
        BadPicture: if it is no data URI, or a damaged one.
    """
    try:
        if location.letters is not None:
            yield from _from_base64(location.letters)
            return
        head, comma, data = location.url.partition(",")
        if not comma:
            raise BadPicture("a data URI without data")
        yield from _from_base64(memoryview(data.encode())) if head.endswith(";base64") else [unquote_to_bytes(data)]
    except ValueError as error:  # damaged base64, or letters outside it
        raise BadPicture(f"a damaged data URI ({error})") from None


def _from_base64(letters: memoryview) -> Iterator[bytes]:
    for start in range(0, len(letters), _PIECE_LETTERS):
        piece = binascii.a2b_base64(letters[start : start + _PIECE_LETTERS], strict_mode=True)
        if start + _PIECE_LETTERS < len(letters) and len(piece) < _PIECE_LETTERS * 3 // 4:
            raise ValueError("it ends before its end")
        yield piece
