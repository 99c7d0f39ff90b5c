"""Serving a review on this machine, for one browser, until somebody ends it or nobody looks any more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import uvicorn

from batchedit import disk
from batchedit.effects import Effects
from batchedit.errors import UsageError
from batchedit.ledger.decisions import DecisionBook
from batchedit.review.app import Desk
from batchedit.review.guard import Guard
from batchedit.review.sheet import Sheet
from batchedit.review.thumbnailer import Thumbnailer

IDLE_MINUTES = 60.0
"""Without anybody doing anything in the page it ends after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """
    How a review is served.

    Attributes:
        who: The reviewer, noted with each decision.
        read_only: Only show.
        port: 0 takes a free one.
        ipv6: Listen on ::1 too.
        idle_minutes: Ends after so long without anybody doing anything.
    """

    who: str = ""
    read_only: bool = False
    port: int = 0
    ipv6: bool = False
    idle_minutes: float = IDLE_MINUTES


class ReviewServer:
    """
    A review that is ready to be served. A context manager, which opens what is needed and closes it.

    Attributes:
        url: Opens the review, once.
        port: Where it listens.
        cards: How many pictures there are to look at.
    """

    def __init__(self, sheet: Sheet, options: ServeOptions, effects: Effects | None = None) -> None:
        self._sheet, self._options, self._effects = sheet, options, effects
        self._stack = ExitStack()

    def __enter__(self) -> ReviewServer:
        """
        Open the ledger and the port.

        Raises:
            BatchEditError: if there is nothing to look at, or the ledger or the port cannot be had.
        """
        sheet, options = self._sheet, self._options
        try:
            book = None
            if not options.read_only:
                book = self._stack.enter_context(DecisionBook(sheet.ledger, self._effects))
            disk.refuse_links(sheet.ledger.parent / "thumbs")
            sheet.read(options.who)
            self.cards = len(sheet.slots) or len(sheet.pairs)
            self._sockets = self._listen()
            thumbnails = self._stack.enter_context(Thumbnailer(sheet.ledger.parent / "thumbs"))
            thumbnails.make_ahead(sheet.ahead())
            names = ["127.0.0.1", "localhost", *(["[::1]"] if options.ipv6 else [])]
            app: Any = Desk(sheet, thumbnails, book, options.who).app()
            self.guard = Guard(app, [f"{name}:{self.port}" for name in names], self.port)
        except BaseException:
            self._stack.close()
            raise
        self.url = f"http://127.0.0.1:{self.port}/{self.guard.room}/?key={self.guard.key}"
        config = uvicorn.Config(
            self.guard, log_config=None, log_level="critical", access_log=False, server_header=False, lifespan="off",
            http="h11", ws="none", timeout_graceful_shutdown=2, proxy_headers=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._stack.close()

    def serve(self) -> None:
        """Serve until `stop`, Ctrl-C, SIGTERM, or nobody has done anything for long."""

        async def main() -> None:
            self.guard.touched = anyio.current_time()
            async with anyio.create_task_group() as group:
                group.start_soon(self._end_when_idle)
                await self._server.serve(sockets=self._sockets)
                group.cancel_scope.cancel()

        anyio.run(main)

    def stop(self) -> None:
        """End it, from any thread."""
        self._server.should_exit = True

    async def _end_when_idle(self) -> None:
        most = self._options.idle_minutes * 60
        left = most
        while left > 0:
            await anyio.sleep(left)
            left = self.guard.touched + most - anyio.current_time()
        self._server.should_exit = True

    def _listen(self) -> list[socket.socket]:
        """Loopback only, whatever happens."""
        sockets, self.port = [], self._options.port
        for family, host in (
            (socket.AF_INET, "127.0.0.1"),
            *([(socket.AF_INET6, "::1")] if self._options.ipv6 else []),
        ):
            try:
                listener = socket.socket(family)
                self._stack.callback(listener.close)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, self.port))
            except OSError as error:
                message = f"cannot listen on {host} port {self.port or 'of its own'}: {error.strerror}"
                raise UsageError(message, hint="leave out --port for a free one") from None
            listener.listen(128)
            self.port = listener.getsockname()[1]
            sockets.append(listener)
        return sockets


@contextmanager
def serve_in_thread(sheet: Sheet, options: ServeOptions = ServeOptions()) -> Iterator[ReviewServer]:
    """
    Serve a review in a thread, for notebooks and tests; gives the server, whose `url` opens it.

    Raises:
        BatchEditError: as `ReviewServer`.
    """
    with ReviewServer(sheet, options) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()
