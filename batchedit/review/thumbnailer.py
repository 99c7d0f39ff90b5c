"""Thumbnails made once, in processes of their own: those that somebody waits for first, the others meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from batchedit.report.thumbs import SIDE, kept_at

SCREEN = 1280
"""Pixels of the longer side of what fills a screen."""
SIDES = (SIDE, SCREEN)

_PATIENCE_SECONDS = 30.0
"""So long may one picture take before its process is ended."""
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from batchedit.review.thumb_process import main; main()"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file with a picture, and the SHA-256 that its bytes must have."""

    path: Path
    digest: str


@dataclass(slots=True, eq=False)
class _Job:
    picture: Picture
    side: int
    done: Future[Path | None] = field(default_factory=Future)


class Thumbnailer:
    """
    Makes thumbnails; a context manager. Of use in several threads.

    Args:
        kept_in: The folder that they are kept in.
        count: So many processes, started when they are needed.
    """

    def __init__(self, kept_in: Path, count: int = 2) -> None:
        self._kept_in = kept_in
        self._change = threading.Condition()
        self._urgent: list[_Job] = []
        self._ahead: Iterator[Picture] = iter(())
        self._open: dict[tuple[str, int], _Job] = {}
        self._hopeless: set[tuple[str, int]] = set()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        with self._change:
            self._closed = True
            waiting, self._open = [*self._open.values()], {}
            self._change.notify_all()
        for job in waiting:
            if not job.done.done():
                job.done.set_result(None)
        for thread in self._threads:
            thread.join()

    def get(self, picture: Picture, side: int) -> Path | None:
        """The thumbnail's file, made if there is none; None if the picture is gone, another one by now, or hopeless."""
        kept = kept_at(self._kept_in, picture.digest, side)
        if kept.is_file():
            return kept
        with self._change:
            name = (picture.digest, side)
            if self._closed or name in self._hopeless:
                return None
            job = self._open.get(name)
            if job is None:
                job = self._open[name] = _Job(picture, side)
                self._urgent.append(job)
                self._change.notify()
        return job.done.result()

    def make_ahead(self, pictures: Iterable[Picture]) -> None:
        """Make small ones of these while nobody waits for others."""
        with self._change:
            self._ahead = iter(pictures)
            self._change.notify_all()

    # -- inside ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        maker = _Maker(self._kept_in)
        try:
            while (job := self._next()) is not None:
                made = maker.make(job.picture, job.side)
                with self._change:
                    name = (job.picture.digest, job.side)
                    self._open.pop(name, None)
                    if not made:
                        self._hopeless.add(name)
                kept = kept_at(self._kept_in, job.picture.digest, job.side)
                if not job.done.done():
                    job.done.set_result(kept if made and kept.is_file() else None)
        finally:
            maker.close()

    def _next(self) -> _Job | None:
        """What to do; waits until there is something, and returns None at the end."""
        with self._change:
            while not self._closed:
                if self._urgent:
                    return self._urgent.pop()  # what was asked for last is what somebody looks at
                picture = next(self._ahead, None)
                if picture is None:
                    self._change.wait()
                elif (
                    (picture.digest, SIDE) not in self._open
                    and (picture.digest, SIDE) not in self._hopeless
                    and not kept_at(self._kept_in, picture.digest, SIDE).is_file()
                ):
                    job = self._open[picture.digest, SIDE] = _Job(picture, SIDE)
                    return job
            return None


class _Maker:
    """One process after the other; a picture at which one dies is not tried again."""

    def __init__(self, kept_in: Path) -> None:
        self._kept_in = kept_in
        self._process: subprocess.Popen[str] | None = None

    def make(self, picture: Picture, side: int) -> bool:
        """True if the thumbnail is there now."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the process that started it
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        job = {
            "source": str(picture.path),
            "digest": picture.digest,
            "kept_in": str(self._kept_in),
            "side": side,
        }
        alarm = threading.Timer(_PATIENCE_SECONDS, process.kill)
        alarm.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            alarm.cancel()
        if not answer:
            self.close()
            return False
        return bool(json.loads(answer)["is_made"])

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # what was still to be sent
                stream.close()
        process.wait()
