"""
Connections to a server: one for each request in flight, kept for the next one, last used first.

This is a transport of httpx: requests, answers and errors are httpx's. Its own transport looks at every connection of
its pool twice per request, which is quadratic in what is in flight, and reads a large answer in many small steps; HTTP
itself is spoken by h11, as there.
"""

from __future__ import annotations

import select
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import h11
import httpx
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from batchedit.addresses import Reach

_KEPT_SECONDS = 30.0
_LEAD_SECONDS = 0.25
_READ_BYTES = 256 * 1024
_LARGE_BYTES = 64 * 1024
_HEAD_LIMIT_BYTES = 100 * 1024
_MOST_HINTS = 100
"""Answers of the kind 1xx before the one that counts; servers send one or two."""
_FREE_PIECES, _PIECE_BYTES = 10_000, 64
"""
Each piece of a body costs the same work, be it of one byte, and is done in the loop that all calls share. So many may
come as they like; beyond that they must have so many bytes each, as those of any server that wants to be read.
"""
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)


def request_to(
    url: httpx.URL | str,
    method: str,
    headers: Mapping[str, str],
    extensions: dict[str, Any],
    content: AsyncIterator[bytes] | None = None,
) -> httpx.Request:
    """
    A request.

    Raises:
        httpx.InvalidURL: also for a host that is the ASCII form of a name in another alphabet, and stands for none.
    """
    try:
        return httpx.Request(method, url, headers=headers, extensions=extensions, content=content)
    except UnicodeError as error:
        raise httpx.InvalidURL(str(error)) from error


class Connections(httpx.AsyncBaseTransport):
    """
    A transport without a pool. HTTP/1.1 only.

    Two extensions of a request are looked at: ``timeout`` with ``connect`` and ``read`` in seconds (None or absent for
    no limit), and ``told``, which is called with each phase that the request enters.

    Args:
        context: For TLS.
        reach: Where it may connect to; None for wherever it is told.
    """

    def __init__(self, context: ssl.SSLContext, reach: Reach | None = None) -> None:
        self._context = context
        self._reach = reach
        self._free: dict[tuple[str, str, int | None], list[_Connection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send on a connection of its own; it is free again when the answer has been read and closed.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol: nothing was sent.
            httpx.TransportError: any other; it may have been sent.
            Rejected: if it may not connect there; nothing was sent.
        """
        url = request.url
        if self._reach is not None:
            self._reach.check(url.scheme, url.host, url.port, url.userinfo)
        free = self._free[url.scheme, url.host, url.port]
        told: Callable[[str], None] = request.extensions.get("told", _nobody)
        timeouts: dict[str, float] = request.extensions.get("timeout", {})
        connection = await self._take(free)
        if connection is None:
            told("connecting")
            connection = await _connect(request, self._context, self._reach, timeouts.get("connect"))
        try:
            with _as_httpx(request):
                answer = await connection.exchange(request, told, timeouts.get("read"))
        except BaseException:
            await connection.close()
            raise
        return httpx.Response(
            status_code=answer.status_code,
            headers=answer.headers.raw_items(),
            stream=_Body(connection, request, free, timeouts.get("read")),
            request=request,
        )

    async def aclose(self) -> None:
        """Close what is free."""
        for connections in self._free.values():
            while connections:
                await connections.pop().close()

    async def _take(self, free: list[_Connection]) -> _Connection | None:
        while free:
            connection = free.pop()
            # A purchase sent over a connection that the server has closed would be an unknown outcome.
            if connection.is_usable():
                return connection
            await connection.close()
        return None


class _Connection:
    """One connection, for one exchange after the other."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT_BYTES)
        self._free_since = 0.0
        self._readable = select.poll()
        self._readable.register(stream.extra(SocketAttribute.raw_socket), select.POLLIN)
        self._tls: ssl.SSLObject | None = stream.extra(TLSAttribute.ssl_object, None)

    def is_usable(self) -> bool:
        """False once it has been free for long, or the server has closed it or said something unasked."""
        if anyio.current_time() - self._free_since >= _KEPT_SECONDS or self._readable.poll(0):
            return False
        return self._tls is None or _is_silent(self._tls)

    async def exchange(
        self, request: httpx.Request, told: Callable[[str], None], read_seconds: float | None
    ) -> h11.Response:
        """Send a request and read the head of its answer."""
        told("sending the headers")
        # A server may refuse a request before it has read it whole; its answer may be there.
        with suppress(*_BROKEN):
            await self._send(request, told)
        # On asyncio the end of what was sent may still be in a buffer: said too early perhaps, never too late.
        told("waiting for the answer")
        for _ in range(_MOST_HINTS):
            event = await self.event(read_seconds)
            if isinstance(event, h11.Response):
                told("reading the answer")
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        raise httpx.RemoteProtocolError("the server does not come to its answer")

    async def _send(self, request: httpx.Request, told: Callable[[str], None]) -> None:
        """Send a request; nothing of its body is held here any more when this returns."""
        http = self._http
        head = h11.Request(method=request.method.encode(), target=request.url.raw_path, headers=request.headers.raw)
        pending = http.send(head) or b""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        chunks = aiter(request.stream)
        assert isinstance(chunks, AsyncGenerator)
        # What is left of a body is closed here, where it is cut off, and not whenever it is collected.
        async with aclosing(chunks):
            async for chunk in chunks:
                data = http.send(h11.Data(data=chunk)) or b""
                if len(data) < _LARGE_BYTES:
                    pending += data
                    continue
                await self._stream.send(pending)
                told("sending the body")
                await self._stream.send(data)
                pending = b""
        pending += http.send(h11.EndOfMessage()) or b""
        if pending:
            await self._stream.send(pending)

    async def event(self, read_seconds: float | None) -> object:
        """The next part of the answer."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if read_seconds is None:
                data = await self._receive()
            else:
                # What `fail_after` does, in half its time: this is done for each piece of each answer.
                with anyio.CancelScope(deadline=anyio.current_time() + read_seconds) as scope:
                    data = await self._receive()
                if scope.cancelled_caught:
                    raise TimeoutError
            self._http.receive_data(data)
        return event

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(_READ_BYTES)
        except anyio.EndOfStream:
            return b""

    def renew(self) -> bool:
        """Make it ready for the next exchange; False if it was the last one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        if self._http.trailing_data != (b"", False):
            return False  # something unasked came behind the answer; it must not be taken for the next one
        self._http.start_next_cycle()
        self._free_since = anyio.current_time()
        return True

    async def close(self) -> None:
        """End it at once."""
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)


def _is_silent(tls: ssl.SSLObject) -> bool:
    """True if nothing has come that was not read yet: it may have left the socket, and wait to be deciphered."""
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:
        return False
    return False


class _Body(httpx.AsyncByteStream):
    """An answer's body, whose connection is free for others once it is closed."""

    def __init__(
        self, connection: _Connection, request: httpx.Request, free: list[_Connection], read_seconds: float | None
    ) -> None:
        self._connection, self._request, self._free, self._read_seconds = connection, request, free, read_seconds
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = size = 0
        with _as_httpx(self._request):
            while True:
                event = await self._connection.event(self._read_seconds)
                if isinstance(event, h11.Data):
                    pieces, size = pieces + 1, size + len(event.data)
                    if pieces > _FREE_PIECES + size // _PIECE_BYTES:
                        raise httpx.RemoteProtocolError("the answer comes in more pieces than any answer may")
                    yield event.data
                elif isinstance(event, h11.EndOfMessage):
                    return
                else:
                    raise httpx.RemoteProtocolError("the server closed the connection within its answer")

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._connection.renew():
            self._free.append(self._connection)
        else:
            await self._connection.close()


async def _connect(
    request: httpx.Request, context: ssl.SSLContext, reach: Reach | None, seconds: float | None
) -> _Connection:
    url = request.url
    if url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(f"neither http nor https: {url.scheme}", request=request)
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    stream: anyio.abc.ByteStream
    try:
        with anyio.fail_after(seconds):
            if reach is None:
                stream = await anyio.connect_tcp(host, port)
            else:
                stream = await _first_of(await reach.addresses(host, port), port)
            if url.scheme == "https":
                stream = await _secured(stream, host, context)
    except TimeoutError as error:
        raise httpx.ConnectTimeout("no connection in time", request=request) from error
    except (OSError, ssl.SSLError, anyio.EndOfStream, *_BROKEN) as error:
        raise httpx.ConnectError(str(error) or type(error).__name__, request=request) from error
    return _Connection(stream)


async def _secured(stream: anyio.abc.ByteStream, host: str, context: ssl.SSLContext) -> anyio.abc.ByteStream:
    try:
        return await TLSStream.wrap(stream, hostname=host, ssl_context=context, standard_compatible=False)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


async def _first_of(addresses: Sequence[str], port: int) -> anyio.abc.SocketStream:
    """A connection to the first address that answers; each one has a short lead over the next (RFC 8305)."""
    streams: list[anyio.abc.SocketStream] = []
    errors: list[OSError] = []

    async def attempt(address: str, over: anyio.Event) -> None:
        try:
            stream = await anyio.connect_tcp(address, port)
        except OSError as error:
            errors.append(error)
        else:
            streams.append(stream)
            group.cancel_scope.cancel()
        finally:
            over.set()

    async with anyio.create_task_group() as group:
        for address in addresses:
            over = anyio.Event()
            group.start_soon(attempt, address, over)
            with anyio.move_on_after(_LEAD_SECONDS):
                await over.wait()
    for late in streams[1:]:
        await anyio.aclose_forcefully(late)
    if not streams:
        raise errors[0] if errors else OSError("the name has no address")
    return streams[0]


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """What goes wrong once there is a connection, in httpx's words."""
    try:
        yield
    except TimeoutError as error:
        raise httpx.ReadTimeout("nothing came for too long", request=request) from error
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error), request=request) from error
    except (*_BROKEN, ssl.SSLError) as error:
        raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error


def _nobody(_: str) -> None:
    """Nobody wants to know."""
