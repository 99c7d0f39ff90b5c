"""Answers with pictures in them: read the same whether they are usual or not, and without copies of the pictures."""

from __future__ import annotations

import base64
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.data_uris import Lifted, decoded, lift
from batchedit.filing import Filing
from batchedit.model import OutputLocation, ProviderSettings, Reply
from batchedit.outputs import Outputs
from batchedit.pictures import BadPicture
from batchedit.providers.runflow import Runflow

PICTURES = [random.Random(size).randbytes(size) for size in (7, 1_200_000, 48)]


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


URIS = [uri(data) for data in PICTURES]
RUN = {
    "id": "r1",
    "status_code": "succeeded",
    "cost": "0.009",
    "input": {"prompt": f'größer, like "{uri(b"a prompt")}"', "image_urls": [uri(b"a source")]},
    "output": {"outputs": [{"url": text, "width": 8} for text in URIS]},
}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def read(answer: bytes, api: str = "runs") -> Reply:
    return Runflow(ProviderSettings(name="runflow", api=api)).read(answer, polled=api == "runs")


@pytest.mark.parametrize(
    ("write", "is_usual"),
    [
        (compact, True),
        (lambda value: json.dumps(value, indent=2).encode(), True),
        (lambda value: b"\xef\xbb\xbf" + compact(value), True),
        (lambda value: compact(value).replace(b"/", rb"\/"), False),
        (lambda value: compact(value).replace(b"image/png", rb"image\u002fpng"), False),
        (lambda value: json.dumps(value).encode("utf-16"), False),
    ],
)
@pytest.mark.parametrize("api", ["runs", "run"])
def test_every_way_to_write_an_answer_is_read_alike(write: Callable[[object], bytes], is_usual: bool, api: str) -> None:
    """Only what it costs differs: unusual pictures are texts first."""
    answer = write(RUN if api == "runs" else {"images": RUN["output"]["outputs"], "cost": "0.009"})  # type: ignore[index]
    reply = read(answer, api)
    assert [b"".join(decoded(location)) for location in reply.outputs] == PICTURES
    assert [location.letters is not None for location in reply.outputs] == [is_usual] * 3
    assert [location.width for location in reply.outputs] == [8, 8, 8]
    assert reply.cost == 9_000


@pytest.mark.parametrize("fetched", ["https://storage.example/a.png", "data:image/png,%89PNG"])
def test_other_addresses_stay_as_they_are(fetched: str) -> None:
    """Beside a picture that is there."""
    reply = read(compact({**RUN, "output": {"outputs": [{"url": fetched}, {"url": URIS[0]}]}}))
    assert (reply.outputs[0].url, reply.outputs[0].letters) == (fetched, None)
    assert b"".join(decoded(reply.outputs[1])) == PICTURES[0]


PIECES = st.sampled_from(['"', "\\", "data:", "data:image/png;base64,", ";base64,", "AAAA", "=", "/", "ö", "x", "\n"])
TEXTS = st.lists(PIECES, max_size=6).map("".join)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


def is_same(value: Any, found: Any, lifted: Lifted) -> bool:
    """True if what was found is the value, but for pictures, whose letters must be those of the value."""
    match value, found:
        case str(), str() if found in lifted.pictures:
            head, _, letters = value.partition(";base64,")
            return head.startswith("data:") and letters.encode() == lifted.pictures[found]
        case list(), list():
            return len(value) == len(found) and all(is_same(a, b, lifted) for a, b in zip(value, found, strict=True))
        case dict(), dict():
            return is_same([*value, *value.values()], [*found, *found.values()], lifted)
        case _:
            return bool(value == found)


@given(VALUES, st.booleans())
def test_what_is_cut_out_are_whole_texts(value: Any, is_ascii: bool) -> None:
    """Nothing else of an answer changes, whatever it holds."""
    lifted = lift(json.dumps(value, ensure_ascii=is_ascii).encode())
    assert is_same(value, json.loads(lifted.text), lifted)


@pytest.mark.parametrize(
    "damage", [lambda s: s[:-1], lambda s: s[:4] + "****" + s[8:], lambda s: s[:40] + "=" + s[41:]]
)
@pytest.mark.parametrize("is_lifted", [True, False])
def test_a_damaged_picture_is_said_to_be_one(damage: Callable[[str], str], is_lifted: bool) -> None:
    """And never decoded into something else."""
    head, _, letters = URIS[1].partition(",")
    location = OutputLocation(url=f"{head},{damage(letters)}")
    if is_lifted:
        (location,) = read(compact({**RUN, "output": {"outputs": [{"url": location.url}]}})).outputs
        assert location.letters is not None
    with pytest.raises(BadPicture, match="damaged"):
        list(decoded(location))


def test_padding_at_the_end_of_a_piece_is_not_the_end(tmp_path: Path) -> None:
    """Two pictures in a row are none."""
    first = base64.b64encode(bytes(1024 * 1024 // 4 * 3 - 1))
    assert first.endswith(b"=")
    location = OutputLocation(url="data:#0", letters=memoryview(first + first))
    with pytest.raises(BadPicture, match="damaged"):
        list(decoded(location))


def test_a_picture_in_an_answer_is_not_copied(tmp_path: Path) -> None:
    """Four of 2 MB: besides the answer, no more is held than what is written to the disk at a time."""
    answer = compact({**RUN, "output": {"outputs": [uri(bytes(2_000_000))] * 4}})
    outputs = Outputs(Filing(tmp_path, tmp_path / "state"))
    outputs.files.open()

    async def take(reply: Reply) -> list[bytes | Path]:
        return [await outputs.receive(outputs.unpack(location)) for location in reply.outputs]

    tracemalloc.start()
    try:
        received = anyio.run(take, read(answer))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [path.read_bytes() for path in received if isinstance(path, Path)] == [bytes(2_000_000)] * 4
    assert peak < 4_000_000
