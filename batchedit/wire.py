"""
The one place that talks HTTP: three separate clients, the map from transport errors to ours, the flow driver.

    api    carries the key, goes to one origin only, follows no redirect
    put    uploads to storage, no key
    fetch  downloads pictures, no key, follows a few redirects

Which error means "not sent" decides about double purchases. Only a failed connection does, and a file that had changed
before there was one; everything later may have reached the provider.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Protocol, Self, TypeVar

import anyio
import anyio.abc
import httpx

from batchedit.addresses import Reach, path_of
from batchedit.bodies import Body, ContentChanged
from batchedit.connections import Connections, request_to
from batchedit.effects import Offload, inline
from batchedit.endpoint import ASGIApp, Endpoint, Key, check_base
from batchedit.errors import NotSent, OutputGone, ProviderError, Rejected, Unseen
from batchedit.providers.answers import shorten
from batchedit.providers.base import Accepted, Answer, Answered, Ended, Flow, Send, Wait, Watch
from batchedit.unfolding import BadBody, read_capped

T = TypeVar("T")

ANSWER_LIMIT_BYTES = 128 * 1024 * 1024
"""Largest API answer: four large pictures as data URIs fit."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_GONE = (403, 404, 410)
_TIMEOUTS = {"connect": 15.0}
_MOST_REDIRECTS = 5
_HEADERS = {"user-agent": "batchedit", "accept": "*/*"}
# Pictures do not shrink by compression, and an encoded answer could unfold without limit.
_FETCH_HEADERS = httpx.Headers({**_HEADERS, "accept-encoding": "identity"})
_parsed = lru_cache(maxsize=32)(httpx.URL)  # most calls go to the same few addresses


class Hooks(Protocol):
    """What the driver needs from whoever runs a flow."""

    async def before_read(self) -> None:
        """Wait for a turn to send something that buys nothing."""
        ...

    def answered_to(self, send: Send, sent: float, answer: Answer) -> None:
        """
        A call was answered, be it with a refusal: what that says about the pace.

        Args:
            sent: Clock time at which the call was sent.
        """
        ...

    async def watch(self, step: Watch) -> bytes | None:
        """Wait until a look at the run is worthwhile; the answer of a read that was made for several, or None."""
        ...

    def ended(self, step: Ended) -> None:
        """A run is over."""
        ...

    async def accepted(self, step: Accepted) -> None:
        """Make the run id durable."""
        ...

    async def answered(self, step: Answered) -> None:
        """Make the answer durable."""
        ...


class Wire:
    """
    The clients of one run. An async context manager.

    Args:
        endpoint: Where the API is.
        servers: Task group for an in-process server, so that the server outlives a client that gives up; None
            opens one for the time of the context.
        offload: Where the files of a body are read.
    """

    def __init__(
        self, endpoint: Endpoint, *, servers: anyio.abc.TaskGroup | None = None, offload: Offload = inline
    ) -> None:
        check_base(endpoint.base_url)
        self._endpoint = endpoint
        self._servers = servers
        self._offload = offload
        self._stack = contextlib.AsyncExitStack()
        self._context: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        """Open the clients."""
        endpoint = self._endpoint
        if endpoint.app is not None and self._servers is None:
            self._servers = await self._stack.enter_async_context(_until_closed())
        self._api = self._transport()
        self._put, self._fetch = (self._transport(endpoint.reach()) for _ in range(2))
        self._origin = _origin(httpx.URL(endpoint.base_url))
        self._api_headers = {**_HEADERS, "accept-encoding": "gzip, deflate"}
        if endpoint.key is not None:
            self._api_headers["authorization"] = f"Bearer {endpoint.key.reveal()}"
        if endpoint.organization:
            self._api_headers["x-organization-id"] = endpoint.organization
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the clients."""
        with anyio.CancelScope(shield=True):
            for transport in (self._api, self._put, self._fetch):
                await transport.aclose()
        await self._stack.__aexit__(kind, error, trace)

    async def send(self, send: Send, *, idempotency_key: str | None = None) -> Answer:
        """
        Make one call and read its whole answer.

        Raises:
            NotSent: if surely no byte was sent, be it because a file of the body has changed.
            Rejected: if the address is not one that the call may go to; nothing was sent.
            Unseen: if no complete answer came, or a file turned out to have changed while it was sent: the server then
                has an incomplete request.
        """
        if send.client == "put":
            transport, headers, url, path = self._put, _HEADERS, send.url, path_of(send.url)
        else:
            transport, headers, path = self._api, self._api_headers, send.url.partition("?")[0]
            url = self._endpoint.base_url.rstrip("/") + send.url
        headers = {**headers, **send.headers}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        if send.body is not None:
            headers["content-length"] = str(send.body.length)
        deadline = send.timeout_seconds or self._endpoint.timeout_seconds
        progress = _Progress()
        with progress.noted(), translated(f"{send.method} {path}"), anyio.fail_after(deadline):
            # The transport's own time-outs are per step and do nothing in process.
            extensions = {"timeout": _TIMEOUTS, "told": progress.told}
            async with self._content(send.body) as content:
                request = request_to(_parsed(url), send.method, headers, extensions, content)
                if transport is self._api and _origin(request.url) != self._origin:
                    raise Rejected("an address that is not the API's, which alone may see the key", code="ORIGIN")
                response = await transport.handle_async_request(request)
            try:
                body = await _read_capped(response, ANSWER_LIMIT_BYTES)
            finally:
                await response.aclose()
        key = self._endpoint.key
        if key is not None:
            body = key.mask(body)
        return Answer(status=response.status_code, headers=_headers(response, key), body=body)

    @contextlib.asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Download a picture: the body in chunks, complete when they end.

        Raises:
            OutputGone: if the storage refuses it (403, 404, 410).
            Unseen: if it broke off or the storage is in trouble.
            NotSent: if the storage could not be reached.
        """
        patience = self._endpoint.timeout_seconds
        # The transport's time-out is per read: without this a storage that drips could hold a slot for ever.
        with translated("the picture's download"), anyio.fail_after(10 * patience):
            response = await self._get(url)
            try:
                if response.status_code in _GONE:
                    raise OutputGone(
                        f"the storage refuses the picture (HTTP {response.status_code})",
                        code="OUTPUT_GONE",
                        http_status=response.status_code,
                    )
                if response.status_code != 200:
                    raise Unseen(
                        f"the storage answered HTTP {response.status_code}",
                        code="DOWNLOAD",
                        http_status=response.status_code,
                    )
                coding = response.headers.get("content-encoding", "identity")
                if coding.strip().lower() not in ("", "identity"):
                    # It was asked not to; what is encoded could unfold without limit.
                    message = f"the storage sends the picture encoded ({shorten(coding)}), which is not taken"
                    raise Unseen(message, code="DOWNLOAD", http_status=response.status_code)
                yield aiter(_stream(response))
            finally:
                await response.aclose()

    async def _get(self, url: str) -> httpx.Response:
        """The answer to a GET, after a few redirects, each checked like the first address."""
        extensions = {"timeout": {**_TIMEOUTS, "read": self._endpoint.timeout_seconds}}
        for _ in range(_MOST_REDIRECTS + 1):
            request = request_to(url, "GET", _FETCH_HEADERS, extensions)
            response = await self._fetch.handle_async_request(request)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            try:
                url = str(request.url.join(response.headers["location"]))
            except ValueError as error:  # of Python's own reading of addresses
                raise httpx.InvalidURL(str(error)) from error
        raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects")

    @contextlib.asynccontextmanager
    async def _content(self, body: Body | None) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """A body's bytes for one call, whose files are closed at its end."""
        if body is None:
            yield None
            return
        async with body.opened(self._offload) as content:
            yield content

    def _transport(self, reach: Reach | None = None) -> httpx.AsyncBaseTransport:
        if self._endpoint.app is None:
            if self._context is None:
                self._context = httpx.create_ssl_context()
            return Connections(self._context, reach)
        assert self._servers is not None
        return Detached(self._endpoint.app, self._servers)


async def drive(wire: Wire, flow: Flow[T], hooks: Hooks, *, idempotency_key: str | None = None) -> T:
    """
    Run a flow to its end: perform what it asks for and tell it what came of it.

    Raises:
        ProviderError: whatever the flow raises.
    """
    answer: Answer | None = None
    problem: ProviderError | None = None
    while True:
        try:
            step = flow.send(answer) if problem is None else flow.throw(problem)
        except StopIteration as stop:
            result: T = stop.value
            return result
        answer = problem = None
        match step:
            case Wait(seconds):
                await anyio.sleep(seconds)
            case Watch():
                body = await hooks.watch(step)
                answer = None if body is None else Answer(status=200, headers={}, body=body)
            case Ended():
                hooks.ended(step)
            case Accepted():
                await hooks.accepted(step)
            case Answered():
                await hooks.answered(step)
            case Send():
                try:
                    answer = await _send(wire, step, hooks, idempotency_key)
                except ProviderError as error:
                    problem = error


async def _send(wire: Wire, step: Send, hooks: Hooks, idempotency_key: str | None) -> Answer:
    """
    One call. A read that is throttled is made again after the pause, so that a flow of several calls gets on: one that
    began anew each time would use up the provider's limit with its first call and never come to its last.
    """
    tries = 1 if step.buys or step.client != "api" else _THROTTLED_READS
    while True:
        if not step.buys:
            await hooks.before_read()
        sent = anyio.current_time()
        answer = await wire.send(step, idempotency_key=idempotency_key if step.buys else None)
        hooks.answered_to(step, sent, answer)
        tries -= 1
        if answer.status != 429 or not tries:
            return answer


_THROTTLED_READS = 20
"""So often a call that buys nothing is made before its flow hears that it is throttled."""


class _Progress:
    """How far a call has got on the wire, told by the transport."""

    def __init__(self) -> None:
        self._phase = ""

    def told(self, phase: str) -> None:
        """What the transport calls."""
        self._phase = phase

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Let an error that passes say how far it got, and what a changed file means depends on it."""
        try:
            yield
        except ContentChanged as problem:
            kind = NotSent if self._phase in ("", "connecting") else Unseen
            error = kind(str(problem), code=problem.code)
            error.phase = self._phase
            raise error from problem
        except ProviderError as error:
            error.phase = self._phase
            raise


class Detached(httpx.AsyncBaseTransport):
    """
    Answers from an ASGI application that runs in a task group of its own.

    In the client's own task the server would die with it, and the worst case could never happen: the server that
    acts after the client has given up.
    """

    def __init__(self, app: ASGIApp, servers: anyio.abc.TaskGroup) -> None:
        self._inner = httpx.ASGITransport(app)
        self._servers = servers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request to the server and wait for its answer."""
        await request.aread()
        done = anyio.Event()
        outcome: list[httpx.Response | Exception] = []

        async def serve() -> None:
            try:
                outcome.append(await self._inner.handle_async_request(request))
            except Exception as error:
                # Whatever broke the server, the client of a real one would only see the connection end.
                outcome.append(error)
            done.set()

        self._servers.start_soon(serve)
        await done.wait()
        result = outcome[0]
        if isinstance(result, Exception):
            raise httpx.RemoteProtocolError("the server closed the connection", request=request) from result
        return result


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn transport errors into ours, saying what was being done."""
    try:
        yield
    except _NOT_SENT as error:
        raise NotSent(
            f"{what}: no connection ({shorten(str(error)) or type(error).__name__})", code="CONNECT"
        ) from error
    except (httpx.HTTPError, httpx.StreamError, BadBody, TimeoutError) as error:
        raise Unseen(
            f"{what}: no complete answer ({shorten(str(error)) or type(error).__name__})", code=type(error).__name__
        ) from error
    except httpx.InvalidURL as error:
        raise Rejected(f"{what}: not a usable URL ({shorten(str(error))})", code="URL") from error


@contextlib.asynccontextmanager
async def _until_closed() -> AsyncIterator[anyio.abc.TaskGroup]:
    group = anyio.create_task_group()
    await group.__aenter__()
    try:
        yield group
    finally:
        group.cancel_scope.cancel()
        # Not told of an error, the group does not wrap it: it goes on as what it is.
        await group.__aexit__(None, None, None)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream


async def _read_capped(response: httpx.Response, limit: int) -> bytes:
    return await read_capped(_stream(response), response.headers.get("content-encoding", "identity"), limit)


def _headers(response: httpx.Response, key: Key | None) -> Mapping[str, str]:
    return {name: text if key is None else key.mask_text(text) for name, text in response.headers.items()}
