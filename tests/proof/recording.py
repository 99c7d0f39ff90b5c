"""
The real command under `strace`: which of its system calls touched a file, and what it said to whom on which line.

The command is several processes: the one that talks and keeps the ledger, and its workers, which write pictures. All of
them are recorded, each with descriptors of its own.

The number of a line in the log is the clock of this layer, one for all processes. A call that another thread or process
interrupts has two lines: it takes place at some moment between them. What it changes may be on the disk from the first
line on; what it promises (a sync, an answer that has come) counts from the second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STRACE = shutil.which("strace")

_TRACED = (
    "open,openat,creat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,"
    "copy_file_range,sendfile,splice,fsync,fdatasync,sync_file_range,sync,syncfs,rename,renameat,renameat2,link,linkat,"
    "symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,dup,dup2,dup3,clone,clone3,fork,vfork,"
    "sendto,sendmsg,recvfrom,recvmsg,connect"
)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_UNDER_WAY = "EINPROGRESS"
"""Says of `connect` that the descriptor is another connection from now on."""
_BORN = ("clone", "clone3", "fork", "vfork")


@dataclass(frozen=True, slots=True)
class Call:
    """
    One system call that succeeded: its first and its last line, and what strace wrote about it.

    Attributes:
        process: Whose threads share their descriptors; named by its first thread.
    """

    process: str
    name: str
    arguments: str
    result: int
    begun: int
    ended: int

    @property
    def texts(self) -> list[bytes]:
        """Its arguments that are paths or buffers."""
        return [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(self.arguments)]

    @property
    def words(self) -> list[str]:
        """All its arguments; no path and no buffer has a comma, since they are written in hex."""
        return self.arguments.split(", ")

    def descriptor(self, position: int = 0) -> int:
        """The file descriptor among its arguments."""
        return int(self.words[position].split("<")[0])

    def handle(self, position: int = 0) -> tuple[str, int]:
        """The same, of its process: what tells open files apart."""
        return self.process, self.descriptor(position)


@dataclass(frozen=True, slots=True)
class Message:
    """
    One HTTP request on a socket.

    Attributes:
        begun: The line on which its first byte was handed to the kernel.
        complete: That of its last byte; the server cannot have acted on it before.
        answered: The line on which the first byte of the answer had come; None if none came.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    begun: int
    complete: int
    answered: int | None

    @property
    def is_creation(self) -> bool:
        """True if it buys."""
        return self.method == "POST" and self.path.endswith("/edit/runs")

    @property
    def reference(self) -> str:
        """Of a creation: what the client calls it."""
        return str(json.loads(self.body)["client_ref"])

    @property
    def key(self) -> str:
        """Of a creation: its idempotency key."""
        return self.headers["idempotency-key"]

    @property
    def body_sha256(self) -> str:
        """Digest of the bytes that were sent."""
        return hashlib.sha256(self.body).hexdigest()


def record(arguments: Sequence[str], *, folder: Path, log: Path, key: str, first: int = 0) -> list[Call]:
    """
    Run `python -m batchedit` with these arguments in a folder, and return what it did.

    Args:
        log: Where strace writes to.
        first: The number of the log's first line, where this recording continues another one.
    """
    assert STRACE is not None
    traced = [STRACE, "-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", f"trace={_TRACED}", "-o", str(log)]
    done = subprocess.run(
        [*traced, sys.executable, "-m", "batchedit", *arguments],
        cwd=folder,
        env={**os.environ, "RUNFLOW_API_KEY": key, "BATCHEDIT_KEY_ORIGIN": "loopback"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return list(read_log(log.read_text("ascii").splitlines(), first))


def read_log(lines: Sequence[str], first: int = 0) -> Iterator[Call]:
    """
    The successful calls of the recorded process and of all that it has started, in the order of their first lines.

    A new process begins with an empty table: what it inherits below the folder is closed when its program begins.
    """
    found: list[tuple[str, str, str, int, int, int]] = []
    begun: dict[str, tuple[int, str]] = {}
    creators: dict[str, str] = {}
    for number, line in enumerate(lines, first):
        thread, text = line.split(maxsplit=1)
        start = number
        if text.endswith(_UNFINISHED):
            begun[thread] = number, text.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(text):
            start, opening = begun.pop(thread)
            text = opening + resumed[1]
        if (match := _CALL.match(text)) is None:
            continue  # a signal, or the end of a thread
        if match[3].startswith(("-", "?")) and _UNDER_WAY not in text:
            continue  # it did nothing
        if match[1] in _BORN and "CLONE_THREAD" in match[2]:
            creators[match[3]] = thread
        elif match[1] in _BORN:
            assert "CLONE_FILES" not in match[2], "two processes with one table of descriptors"
        found.append((thread, match[1], match[2], int(match[3]), start, number))
    # Only now: what is born may have lines before the call that bore it returns.
    for thread, name, arguments, result, start, number in sorted(found, key=lambda entry: entry[4]):
        process = thread
        while process in creators:
            process = creators[process]
        yield Call(process, name, arguments, result, start, number)


def messages(calls: Sequence[Call]) -> list[Message]:
    """What was said over HTTP, in order. Nobody speaks before the answer to the last question has come."""
    talks: dict[tuple[str, int], _Talk] = {}
    done: list[_Talk] = []
    for call in calls:
        if call.name == "connect":
            done += filter(None, [talks.pop(call.handle(), None)])
        elif call.name == "sendto" and call.result > 1:
            talk = talks.setdefault(call.handle(), _Talk())
            if talk.answered is not None:
                done.append(talk)
                talk = talks[call.handle()] = _Talk()
            talk.hear(call)
        elif call.name == "recvfrom" and call.result > 0 and call.handle() in talks:
            talk = talks[call.handle()]
            talk.answered = call.ended if talk.answered is None else talk.answered
    found = [message for talk in (*done, *talks.values()) if (message := talk.message()) is not None]
    return sorted(found, key=lambda message: message.begun)


class _Talk:
    """The bytes of one request."""

    def __init__(self) -> None:
        self.parts: list[Call] = []
        self.answered: int | None = None

    def hear(self, call: Call) -> None:
        self.parts.append(call)

    def message(self) -> Message | None:
        data = b"".join(part.texts[0][: part.result] for part in self.parts)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        if not first.endswith("HTTP/1.1"):
            return None
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        assert len(body) == int(headers.get("content-length", "0"))
        begun, complete = self.parts[0].begun, self.parts[-1].begun
        return Message(method, path, headers, body, begun, complete, self.answered)
