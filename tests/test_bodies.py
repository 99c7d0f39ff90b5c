"""Bodies with pictures, sent over real sockets to a server that counts: exact bytes, known length, nothing held."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import selectors
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from PIL import Image

from batchedit import load_manifest, make_plan, run_plan
from batchedit.bodies import Body, FilePart, Upload
from batchedit.effects import Effects, FewThreads, Offload, in_thread
from batchedit.endpoint import Endpoint
from batchedit.errors import NotSent, ProviderError, Rejected, Unseen
from batchedit.keys import make_request
from batchedit.model import Params, ProviderSettings, SourceImage, UrlImage
from batchedit.providers.base import Answer, Order, Send
from batchedit.providers.runflow import Runflow
from batchedit.wire import Wire
from tests.conftest import Result, Served, Shop, database
from tests.middle import Middle

T = TypeVar("T")

BLOCK = 192 * 1024
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@dataclass
class Arrival:
    """One request as it arrived; `length` as announced, -1 without."""

    head: bytes = b""
    length: int = -1
    size: int = 0
    body: bytearray = field(default_factory=bytearray)

    @property
    def is_whole(self) -> bool:
        """All that was announced has come."""
        return self.size == self.length


class Counter:
    """A server on one thread that reads requests, one per connection, and answers when it may."""

    def __init__(self, *, keeps: bool) -> None:
        self.arrivals: list[Arrival] = []
        self.may_answer = threading.Event()
        self._at_end = threading.Semaphore(0)
        self._keeps = keeps
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waiting: list[socket.socket] = []
        self._buffer = bytearray(65536)
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # sockets only

    def wait_for(self, count: int) -> None:
        """Until so many requests more have come to their end, whole or cut off."""
        for _ in range(count):
            assert self._at_end.acquire(timeout=60)

    def _serve(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(timeout=0.02):
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self.arrivals.append(Arrival())
                    self._selector.register(connection, selectors.EVENT_READ, self.arrivals[-1])
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj, key.data)
            while self._waiting and self.may_answer.is_set():
                self._waiting.pop().sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")

    def _read(self, connection: socket.socket, arrival: Arrival) -> None:
        try:
            size = connection.recv_into(self._buffer)
        except ConnectionError:
            size = 0
        if not size:
            if not arrival.is_whole:
                self._at_end.release()
            self._selector.unregister(connection)
            connection.close()
            return
        data = bytes(self._buffer[:size])
        if not arrival.head:
            arrival.head, _, data = data.partition(b"\r\n\r\n")  # a head fits in one read
            fields = dict(line.lower().split(b": ", 1) for line in arrival.head.split(b"\r\n")[1:])
            arrival.length = int(fields.get(b"content-length", -1))
        arrival.size += len(data)
        if self._keeps:
            arrival.body += data
        if arrival.is_whole:
            self._waiting.append(connection)
            self._at_end.release()


@contextmanager
def counter(*, keeps: bool = True, answers: bool = True) -> Iterator[Counter]:
    server = Counter(keeps=keeps)
    if answers:
        server.may_answer.set()
    try:
        yield server
    finally:
        server.close()


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that begin like a PNG file."""
    return (b"\x89PNG\r\n\x1a\n" + random.Random(seed).randbytes(size))[:size]


def upload(path: Path, data: bytes) -> Upload:
    path.write_bytes(data)
    return Upload.describe(path, hashlib.sha256(data).hexdigest())


def purchase(images: tuple[str | Upload, ...], mask: Upload | None = None, api: str = "runs") -> Send:
    """What the adapter sends for a request with these pictures."""
    source = SourceImage(identity="url:x", ref=UrlImage("https://x"))
    params = Params(quality="low", size="auto", format="png", samples=1)
    request = make_request(
        model="openai/gpt-image-2/edit", prompt='größer "{"', images=(source,), mask=None, params=params, inline=False
    )
    order = Order(request=request, client_ref="be-1-2", generation=1, images=images, mask=mask)
    return Runflow(ProviderSettings(name="runflow", api=api)).order(order)


def put(origin: str, picture: Upload) -> Send:
    body = Body((FilePart(picture, in_base64=False),))
    return Send(method="PUT", url=f"{origin}/storage", body=body, client="put")


def send(
    origin: str, *sends: Send, backend: str = "asyncio", offload: Offload = in_thread
) -> list[Answer | ProviderError]:
    """What came of each call, one after the other."""

    async def main() -> list[Answer | ProviderError]:
        outcomes: list[Answer | ProviderError] = []
        async with Wire(Endpoint(base_url=origin), offload=offload) as wire:
            for one in sends:
                try:
                    outcomes.append(await wire.send(one))
                except ProviderError as problem:
                    outcomes.append(problem)
        return outcomes

    return anyio.run(main, backend=backend)


def digest(body: Body | None) -> str:
    assert body is not None
    return anyio.run(body.sha256, in_thread)


@BACKENDS
@pytest.mark.parametrize("api", ["runs", "run"])
def test_pictures_go_within_the_request_as_data_uris(tmp_path: Path, api: str, backend: str) -> None:
    """Sizes around the block, a mask, a URL between them: the bytes of plain JSON, their length, their digest."""
    sizes = (BLOCK, BLOCK + 1, 3 * BLOCK - 1, 13)
    pictures = [upload(tmp_path / f"{size}", content(size, size)) for size in sizes]
    call = purchase((pictures[0], "https://shop.example/a.png", pictures[1], pictures[2]), pictures[3], api)
    with counter() as server:
        outcomes = send(server.origin, call, call, backend=backend)
    assert [outcome.status for outcome in outcomes if isinstance(outcome, Answer)] == [200, 200]
    for arrival in server.arrivals:
        assert arrival.is_whole
        assert b"transfer-encoding" not in arrival.head.lower()
        assert hashlib.sha256(arrival.body).hexdigest() == digest(call.body)
        data = json.loads(arrival.body)
        assert arrival.body == json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        fields = data["input"] if api == "runs" else data
        urls = [*fields["image_urls"], fields["mask_url"]]
        assert urls.pop(1) == "https://shop.example/a.png"
        for url, size in zip(urls, sizes, strict=True):
            head, _, letters = url.partition(",")
            assert head == "data:image/png;base64"
            assert base64.b64decode(letters, validate=True) == content(size, size)


@BACKENDS
def test_an_upload_is_the_file_itself(tmp_path: Path, backend: str) -> None:
    """Of a known length, as storage wants it."""
    data = content(5 * BLOCK + 7)
    with counter() as server:
        (outcome,) = send(server.origin, put(server.origin, upload(tmp_path / "a.png", data)), backend=backend)
    assert isinstance(outcome, Answer)
    (arrival,) = server.arrivals
    assert arrival.body == data
    assert b"transfer-encoding" not in arrival.head.lower()


def rewritten(path: Path, data: bytes) -> None:
    path.write_bytes(data[:-1] + b"!")


def shortened(path: Path, data: bytes) -> None:
    path.write_bytes(data[:-1])


def emptied(path: Path, data: bytes) -> None:
    path.write_bytes(b"")


def lengthened(path: Path, data: bytes) -> None:
    path.write_bytes(data + b"!")


def removed(path: Path, data: bytes) -> None:
    path.unlink()


def piped(path: Path, data: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("form", ["as it is", "clean"])
@pytest.mark.parametrize("change", [emptied, piped])
def test_what_was_emptied_or_is_a_pipe_by_now_is_not_described(
    tmp_path: Path, change: Callable[[Path, bytes], None], form: str
) -> None:
    """Nothing of an empty file could be compared, and a pipe would be waited for until the night is over."""
    data = content(BLOCK)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    change(path, data)
    describe = Upload.describe if form == "as it is" else Upload.describe_clean
    with pytest.raises(Rejected, match=r"a\.png"):
        describe(path, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("change", [rewritten, shortened, lengthened, emptied, removed, piped])
@pytest.mark.parametrize("form", ["data-uri", "upload"])
def test_a_file_that_has_changed_is_not_sent(tmp_path: Path, change: Callable[[Path, bytes], None], form: str) -> None:
    """Surely: not even a connection is made. What would be sent has no digest either."""
    data = content(3 * BLOCK)
    picture = upload(tmp_path / "a.png", data)
    other = upload(tmp_path / "b.png", data)
    with counter() as server:
        call = purchase((other, picture)) if form == "data-uri" else put(server.origin, picture)
        change(picture.path, data)
        (problem,) = send(server.origin, call)
        assert isinstance(problem, NotSent)
        assert problem.code == ("INPUT_MISSING" if change is removed else "INPUT_CHANGED")
        assert server.arrivals == []
    if change is not lengthened:  # what was planned is still there, and that is what would be sent
        with pytest.raises(Rejected, match=r"a\.png"):
            digest(call.body)


class Meddler:
    """Does the work at once, and something else before one piece of it."""

    def __init__(self, at: int, change: Callable[[], None]) -> None:
        self._left, self._change = at, change

    async def __call__(self, work: Callable[[], T], /) -> T:
        await anyio.lowlevel.checkpoint()
        self._left -= 1
        if not self._left:
            self._change()
        return work()


@BACKENDS
@pytest.mark.parametrize("change", [rewritten, shortened])
@pytest.mark.parametrize("form", ["data-uri", "upload"])
@pytest.mark.parametrize("at", [3, 8])
def test_a_file_that_changes_while_it_is_sent_leaves_an_incomplete_request(
    tmp_path: Path, change: Callable[[Path, bytes], None], form: str, at: int, backend: str
) -> None:
    """The server can do nothing with it; that it was not sent at all is not claimed."""
    data = content(8 * BLOCK)
    picture = upload(tmp_path / "a.png", data)
    # Each piece of work reads a block, the first one after a glance at the files: 8 is the last.
    meddler = Meddler(at, lambda: change(picture.path, data))
    with counter() as server:
        call = purchase((picture,)) if form == "data-uri" else put(server.origin, picture)
        (problem,) = send(server.origin, call, backend=backend, offload=meddler)
        assert isinstance(problem, Unseen)
        assert problem.code == "INPUT_CHANGED"
        assert problem.phase == "sending the body"
        server.wait_for(1)
    (arrival,) = server.arrivals
    assert 0 < arrival.size < arrival.length


def test_requests_that_wait_for_their_answer_hold_no_picture(tmp_path: Path) -> None:
    """64 pictures of 2 MB are 170 MB as data URIs; what waits for minutes is a few kilobytes each."""
    picture = upload(tmp_path / "a.png", content(2_000_000))
    calls = [purchase((picture,)) for _ in range(64)]

    async def main(server: Counter) -> int:
        wire = Wire(Endpoint(base_url=server.origin), offload=FewThreads())
        async with wire, anyio.create_task_group() as group:
            before, _ = tracemalloc.get_traced_memory()
            for call in calls:
                group.start_soon(wire.send, call)
            await in_thread(lambda: server.wait_for(len(calls)))
            held = tracemalloc.get_traced_memory()[0] - before
            server.may_answer.set()
        return held

    with counter(keeps=False, answers=False) as server:
        tracemalloc.start()
        try:
            held = anyio.run(main, server)
        finally:
            tracemalloc.stop()
    assert held < 3_000_000


# -- the whole way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["runs", "run"])
def test_several_pictures_and_a_mask_are_bought_as_data_uris(
    cli: Callable[..., Result], shop: Shop, tampered: Callable[..., tuple[Served, Middle]], api: str
) -> None:
    """Nothing is uploaded, and the ledger has the digest of exactly what the provider got."""
    served, proxy = tampered()
    mask = Image.new("RGBA", (320, 320), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (80, 80, 240, 240))
    mask.save(shop.root / "mask.png")
    rows = "items:\n  - {id: mug, image: in/mug.png, references: [in/shoe.png, in/lamp.png], mask: mask.png}\n"
    served.manifest(shop, rows=rows, provider=f", images_as: data-uri, api: {api}")
    result = cli("run", "night.yaml", "--out", "out", "--json", "--no-input")
    assert result.code == 0, result.err
    assert not any("asset-uploads" in call for call in proxy.seen)
    (body,) = [body for call, body in zip(proxy.seen, proxy.bodies, strict=True) if call.startswith("POST")]
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT body_sha256 FROM attempts").fetchall() == [(hashlib.sha256(body).hexdigest(),)]


def test_a_picture_that_changes_at_any_moment_is_never_bought_as_another(
    shop: Shop, serve: Callable[..., Served]
) -> None:
    """Before each piece of work on files in turn: what was planned is bought, or nothing, and it is said why."""
    served = serve()
    path = shop.root / "in/mug.png"
    Image.frombytes("RGB", (400, 400), random.Random(1).randbytes(480_000)).save(path)
    data = path.read_bytes()
    served.manifest(
        shop,
        rows="items:\n  - {id: mug, image: in/mug.png}\n",
        provider=", images_as: data-uri",
        limits="{timeout: 1, list_lag: 0, poll: 0.1}",
    )
    outcomes = []
    for at in range(8):
        path.write_bytes(data)
        plan = make_plan(load_manifest("night.yaml"), out=f"out{at}")
        effects = Effects(offload=Meddler(at, lambda: rewritten(path, data)))
        summary = anyio.run(partial(run_plan, plan, effects=effects))
        with database(f"out{at}/.batchedit/ledger.db") as db:
            attempts = [outcome for (outcome,) in db.execute("SELECT outcome FROM attempts")]
            codes = [code for (code,) in db.execute("SELECT code FROM requests")]
        outcomes.append((int(summary.exit_code), attempts, codes))
    # It is described, digested, glanced at and read in three blocks, the first at the glance: then it is sent.
    never_sent = (3, ["not sent"], ["INPUT_CHANGED"])
    cut_off = (3, ["absent"], ["INPUT_CHANGED"])
    done = (0, ["done"], [""])
    assert outcomes == [done, *[(3, [], ["INPUT_CHANGED"])] * 3, never_sent, *[cut_off] * 2, done]
    (bought,) = served.audit()["by_input"].values()
    assert bought["billed_runs"] == outcomes.count(done)
