"""Serving the emulator over real sockets, where a cut connection really is one."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from batchedit.emulator import Emulator
from batchedit.emulator.app import App, Receive, Scope, Send
from batchedit.emulator.wire import ConnectionCut


def _unheard(base_url: str) -> None:
    """Tell nobody that the server is ready."""


class Cutting:
    """Ends the TCP connection where the application raises `ConnectionCut`; a plain error would become a 500."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or cut it."""
        try:
            await self._app(scope, receive, send)
        except ConnectionCut:
            cycle = getattr(send, "__self__", None)
            transport = getattr(cycle, "transport", None)
            if cycle is None or transport is None:
                raise
            # uvicorn would otherwise still try to send its own error page.
            cycle.disconnected = True
            cycle.response_complete = True
            transport.abort()


def serve(
    emulator: Emulator, host: str = "127.0.0.1", port: int = 0, *, on_ready: Callable[[str], None] = _unheard
) -> None:
    """
    Serve until Ctrl-C or SIGTERM. Prints nothing.

    Args:
        port: 0 takes a free one.
        on_ready: Called with the base URL once connections are accepted.
    """
    listener = _listen(host, port)
    server = _server(emulator)
    with _closing(server, (signal.SIGINT, signal.SIGTERM)):
        name = f"[{host}]" if ":" in host else host
        on_ready(f"http://{name}:{listener.getsockname()[1]}")
        server.run(sockets=[listener])


@contextlib.contextmanager
def run_in_thread(emulator: Emulator) -> Iterator[str]:
    """Serve on a free loopback port in a thread; gives the base URL."""
    listener = _listen("127.0.0.1", 0)
    server = _server(emulator)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


def _server(emulator: Emulator) -> uvicorn.Server:
    config = uvicorn.Config(
        Cutting(emulator.app),
        log_config=None,
        log_level="error",
        access_log=False,
        date_header=False,  # the application dates its answers by its own clock
        server_header=False,
        lifespan="off",
        http="h11",
        ws="none",
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def _closing(server: uvicorn.Server, signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    # uvicorn raises the signal again after a graceful end; a server that was asked to stop has not failed.
    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
