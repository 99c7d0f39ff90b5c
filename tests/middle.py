"""
A man in the middle: forwards calls to an emulator over real sockets and alters what a rule says.

It can do what no well-meant server does: half an answer under a full length, a wrong type, silence.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass(frozen=True)
class Reply:
    """
    What the caller gets.

    Attributes:
        cut: Only so many bytes of the body are sent before the connection ends; the length still names all.
        reset: End the connection without a word.
        hang: Seconds of silence before anything is sent.
        drip: Seconds between single bytes of the body.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None
    reset: bool = False
    hang: float = 0.0
    drip: float = 0.0

    def but(self, **changes: object) -> Reply:
        """The same, with changes."""
        return replace(self, **changes)  # type: ignore[arg-type]  # names of its own fields


Change = Callable[[Reply], Reply]


@dataclass
class Rule:
    """Alters calls of one method whose path matches; `forward` False keeps them from the server."""

    method: str
    path: str
    change: Change
    times: int = 1
    forward: bool = True
    fired: int = 0


@dataclass
class Middle:
    """The proxy: its address, its rules, and the calls it has seen, each with its body."""

    url: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def alter(self, method: str, path: str, change: Change, *, times: int = 1, forward: bool = True) -> Rule:
        """Add a rule; the path is a regular expression for all of it, without the query."""
        rule = Rule(method, path, change, times, forward)
        self.rules.append(rule)
        return rule


_KEPT_BACK = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@contextmanager
def middle(upstream: str) -> Iterator[Middle]:
    """Starts one in front of a server."""
    lock = threading.Lock()
    # The server's own URLs follow the Host header, so that storage is reached through here as well.
    client = httpx.Client(base_url=upstream, timeout=120, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0]
            with lock:
                proxy.seen.append(f"{self.command} {path}")
                proxy.bodies.append(body)
                rule = next((r for r in proxy.rules if r.times > r.fired and self._meets(r, path)), None)
                if rule is not None:
                    rule.fired += 1
            reply = Reply(502, {}, b"")
            if rule is None or rule.forward:
                reply = self._forward(body)
            self._send(reply if rule is None else rule.change(reply))

        do_GET = do_POST = do_PUT = answer  # noqa: N815  names that http.server looks for

        def _meets(self, rule: Rule, path: str) -> bool:
            return rule.method == self.command and re.fullmatch(rule.path, path) is not None

        def _forward(self, body: bytes) -> Reply:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _KEPT_BACK}
            try:
                answer = client.request(self.command, self.path, headers=headers, content=body)
            except httpx.HTTPError:
                return Reply(0, {}, b"", reset=True)
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _KEPT_BACK}
            return Reply(answer.status_code, kept, answer.content)

        def _send(self, reply: Reply) -> None:
            if reply.hang:
                time.sleep(reply.hang)
            if reply.reset:
                self._end()
                return
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name in reply.headers):
                self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            body = reply.body if reply.cut is None else reply.body[: reply.cut]
            if reply.drip:
                for number in range(len(body)):
                    self.wfile.write(body[number : number + 1])
                    time.sleep(reply.drip)
            else:
                self.wfile.write(body)
            self.wfile.flush()
            if reply.cut is not None:
                self._end()

        def _end(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """A caller that has gone is no news here."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy = Middle(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        client.close()
