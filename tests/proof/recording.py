"""
The real command under `strace`: which of its system calls touched a file, and what it said to whom on which line.

The number of a line in the log is the clock of this layer. A call that another thread interrupts has two lines: it
takes place at some moment between them. What it changes may be on the disk from the first line on; what it promises
(a sync, an answer that has come) counts from the second.
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
_BORN = ("clone", "clone3", "fork", "vfork")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded: its first and its last line, and what strace wrote about it."""

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
        env={**os.environ, "RUNFLOW_API_KEY": key},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return list(read_log(log.read_text("ascii").splitlines(), first))


def read_log(lines: Sequence[str], first: int = 0) -> Iterator[Call]:
    """The successful calls of the recorded process and its threads, in the order of their first lines."""
    found: list[tuple[str, Call]] = []
    begun: dict[str, tuple[int, str]] = {}
    strangers: set[str] = set()
    for number, line in enumerate(lines, first):
        process, text = line.split(maxsplit=1)
        start = number
        if text.endswith(_UNFINISHED):
            begun[process] = number, text.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(text):
            start, opening = begun.pop(process)
            text = opening + resumed[1]
        if (match := _CALL.match(text)) is None or match[3].startswith(("-", "?")):
            continue  # a signal, the end of a thread, or a call that did nothing
        if match[1] in _BORN and "CLONE_THREAD" not in match[2]:
            strangers.add(match[3])  # another process, with files of its own
        found.append((process, Call(match[1], match[2], int(match[3]), start, number)))
    for process, call in sorted(found, key=lambda pair: pair[1].begun):
        if process not in strangers:
            yield call


def messages(calls: Sequence[Call]) -> list[Message]:
    """What was said over HTTP, in order. Nobody speaks before the answer to the last question has come."""
    talks: dict[int, _Talk] = {}
    done: list[_Talk] = []
    for call in calls:
        if call.name == "connect":
            done += filter(None, [talks.pop(call.descriptor(), None)])
        elif call.name == "sendto" and call.result > 1:
            talk = talks.setdefault(call.descriptor(), _Talk())
            if talk.answered is not None:
                done.append(talk)
                talk = talks[call.descriptor()] = _Talk()
            talk.hear(call)
        elif call.name == "recvfrom" and call.result > 0 and call.descriptor() in talks:
            talk = talks[call.descriptor()]
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
