"""
Connections to a server: one for each request in flight, kept for the next one, last used first.

httpx's own pool looks at every connection twice per request, which is quadratic in what is in flight; the connections
themselves are those of httpcore, httpx's own foundation, and so is what they say about a request that was not answered.
"""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import AsyncIterator

import anyio
import httpcore
import httpx

_KEPT_SECONDS = 30.0


class Connections(httpx.AsyncBaseTransport):
    """
    A transport without a pool.

    Args:
        context: For TLS.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._free: dict[tuple[bytes, bytes, int | None], list[httpcore.AsyncHTTPConnection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a connection of its own; it is free again when the answer has been read and closed."""
        url = request.url
        address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        free = self._free[url.raw_scheme, url.raw_host, url.port]
        connection = await self._connection(address.origin, free)
        inner = httpcore.Request(
            method=request.method,
            url=address,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = await connection.handle_async_request(inner)
        except BaseException as error:
            await _close(connection)
            _raise_as_httpx(error, request)
            raise
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Stream(response, request, connection, free),
            extensions=response.extensions,
            request=request,
        )

    async def aclose(self) -> None:
        """Close what is free."""
        for connections in self._free.values():
            while connections:
                await _close(connections.pop())

    async def _connection(
        self, origin: httpcore.Origin, free: list[httpcore.AsyncHTTPConnection]
    ) -> httpcore.AsyncHTTPConnection:
        while free:
            connection = free.pop()
            # A purchase sent over a connection that the server has closed would be an unknown outcome.
            if not connection.has_expired():
                return connection
            await _close(connection)
        return httpcore.AsyncHTTPConnection(origin, ssl_context=self._context, keepalive_expiry=_KEPT_SECONDS)


class _Stream(httpx.AsyncByteStream):
    """An answer's body, whose connection is free for others once it is closed."""

    def __init__(
        self,
        response: httpcore.Response,
        request: httpx.Request,
        connection: httpcore.AsyncHTTPConnection,
        free: list[httpcore.AsyncHTTPConnection],
    ) -> None:
        self._response, self._request, self._connection, self._free = response, request, connection, free
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except Exception as error:
            _raise_as_httpx(error, self._request)
            raise

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._response.aclose()
        if self._connection.is_idle():
            self._free.append(self._connection)
        else:
            await _close(self._connection)


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    with anyio.CancelScope(shield=True):
        await connection.aclose()


def _raise_as_httpx(error: BaseException, request: httpx.Request) -> None:
    """httpx has an error of the same name for each of httpcore's."""
    for kind in type(error).__mro__:
        if kind.__module__.startswith("httpcore"):
            named = getattr(httpx, kind.__name__, None)
            if named is not None:
                raise named(str(error), request=request) from error
