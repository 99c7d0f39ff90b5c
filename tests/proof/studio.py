"""
Recorded runs for power-cut images, and what the provider knows at the moment of a cut.

Each purchase is judged by what had gone over the socket before the cut: one that was answered is known to the provider,
one whose last byte had been sent may be, one that was not complete is not. The provider of a recovery gets the books
of the recording without the purchases that it does not know, so that "the client knows nothing of it" can be told from
"nothing was sent". Keeping the books of the end would be wrong: they have runs that no byte had asked for yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

from PIL import Image as Pillow

from batchedit.emulator import Emulator, Switches, pixels
from batchedit.emulator.canvas import Picture
from batchedit.emulator.serve import run_in_thread
from tests.conftest import KEY, draw_picture
from tests.proof.images import Disk
from tests.proof.recording import Call, Message, messages, record

_NIGHT = """\
version: 1
provider: {{name: runflow, base_url: '{url}'}}
limits: {{timeout: 5, list_lag: 0, deadline: 60, poll: 0.1, concurrency: 3}}
budget: {{run: 50}}
defaults: {{prompt: grayscale, quality: low{defaults}}}
items:
"""
_ROWS = (
    "id: a, image: in/p0.png",
    "id: b, image: in/p1.png, n: 2, output: 'pairs/b_{{ sample }}.{{ ext }}'",
    "id: c, image: in/p2.png, format: jpeg",
    "id: d, image: in/p3.png, prompt: large, output: deep/down/d.png",
    "id: e, image: in/p4.png, n: 2, output: 'pairs/e_{{ sample }}.{{ ext }}'",
    "id: f, image: in/p5.png",
    "id: g, image: in/p0.png, output: again/g.png",
)
_RENAMED = (
    "id: a, image: in/p0.png, output: p5.png",
    "id: b, image: in/p1.png, n: 2, output: 'b_{{ sample }}.{{ ext }}'",
    "id: c, image: in/p2.png, format: jpeg",
    "id: d, image: in/p3.png, prompt: large, output: deep/d.png",
    "id: e, image: in/p4.png, n: 2, output: 'pairs/b_{{ sample }}.{{ ext }}'",
    "id: f, image: in/p5.png, output: p0.png",
    "id: g, image: in/p0.png, output: again/g.png",
)
_NEVER = 1 << 60
REQUESTS = len(_ROWS) - 1
"""The last row wants the same edit as the first one: it is bought once and delivered twice."""


@dataclass(frozen=True)
class Scene:
    """
    A recording.

    Attributes:
        folder: Where it took place: pictures, manifest, and `out/`.
        calls: Those of each command with the folder it ran in; all but the last one were killed, workers and all.
        said: All that was said to the provider.
        books: The provider's file at the end.
        over_at: The line on which the program had ended with exit code 0.
        ended: Unix seconds of the end.
        url: Where the provider was.
        names: What lies in the output tree at the end.
        former: What lay there when the last command began; a cut may leave it there.
    """

    folder: Path
    calls: tuple[tuple[Path, tuple[Call, ...]], ...]
    said: tuple[Message, ...]
    books: bytes
    over_at: int
    ended: float
    url: str
    names: frozenset[str]
    former: frozenset[str]
    first: int

    def disk(self, **options: Any) -> Disk:
        """Its files, from the calls."""
        disk = Disk(**options)
        for folder, calls in self.calls:
            disk.play(calls, folder)
        return disk

    def moments(self, disk: Disk) -> list[int]:
        """The lines before which a cut makes a difference."""
        spoken = {message.begun + 1 for message in self.said}
        heard = {message.answered + 1 for message in self.said if message.answered is not None}
        return sorted(moment for moment in {*disk.moments, *spoken, *heard} if moment >= self.first)

    def pictures(self) -> frozenset[str]:
        """Digests of everything that was sold."""
        with self.reopened(self.books) as db:
            return frozenset(hashlib.sha256(row[0]).hexdigest() for row in db.execute("SELECT content FROM pictures"))

    def unknown(self, moment: int, draw: random.Random | None) -> set[str]:
        """
        References of the purchases that the provider does not know at that moment.

        Args:
            draw: Decides about those that are on the way; None: they arrive.
        """
        known: set[str] = set()
        asked = {message.reference for message in self.said if message.is_creation}
        for message in self.said:
            if not message.is_creation or message.complete >= moment:
                continue
            is_answered = message.answered is not None and message.answered < moment
            if is_answered or draw is None or draw.random() < 0.5:
                known.add(message.reference)
        return asked - known

    @staticmethod
    @contextlib.contextmanager
    def reopened(books: bytes) -> Iterator[sqlite3.Connection]:
        """Books in memory."""
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            # A file that says it has a write-ahead log cannot be read from memory: say that it has none.
            db.deserialize(books[:18] + b"\1\1" + books[20:])
            yield db


def _names(out: Path) -> frozenset[str]:
    files = (str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return frozenset(name for name in files if not name.startswith(".batchedit"))


def prune(books: Path, references: set[str]) -> None:
    """Let the provider whose books lie in this folder forget purchases."""
    with contextlib.closing(sqlite3.connect(books / "emulator.db")) as db, db:
        for reference in references:
            rows = db.execute("SELECT id, json_extract(data, '$.idempotency_key') FROM runs WHERE client_ref = ?",
                              (reference,)).fetchall()  # fmt: skip
            for run, key in rows:
                db.execute("DELETE FROM pictures WHERE run = ?", (run,))
                db.execute("DELETE FROM replies WHERE key = ?", (key,))
                db.execute("DELETE FROM runs WHERE id = ?", (run,))
        db.execute("DELETE FROM starts")


def render(**job: Any) -> list[Picture]:
    """
    Pictures that do not shrink, each run's own: of a few sectors, which come home in memory, or, where the prompt says
    so, too large for that: one process writes such a download, another one makes it durable.
    """
    side = 300 if job["prompt"] == "large" else 28
    pictures = []
    for number in range(job["count"]):
        draw = random.Random(f"{job['seed']}/{number}/{job['prompt']}")
        image = Pillow.frombytes("RGB", (side, side), draw.randbytes(side * side * 3))
        buffer = io.BytesIO()
        image.save(buffer, job["output_format"])
        pictures.append(Picture(data=buffer.getvalue(), width=side, height=side, format=job["output_format"]))
    return pictures


class Switchboard:
    """One address behind which one emulator after another answers."""

    def __init__(self) -> None:
        self.emulator: Emulator | None = None

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one call."""
        assert self.emulator is not None
        await self.emulator.app(scope, receive, send)


@dataclass(frozen=True)
class Studio:
    """
    Where scenes are recorded.

    Args:
        folder: An empty one.
    """

    folder: Path
    url: str
    switchboard: Switchboard

    def night(self, name: str, *, defaults: str = "") -> Scene:
        """A whole run, undisturbed."""
        folder = self.folder / name
        for number in range(REQUESTS):
            draw_picture(folder / "in" / f"p{number}.png", (20 * number, 90, 200 - 10 * number), side=16 + 6 * number)
        text = _NIGHT.format(url=self.url, defaults=defaults)
        (folder / "night.yaml").write_text(text + "".join(f"  - {{{row}}}\n" for row in _ROWS))
        return self._record(folder)

    def renamed(self, scene: Scene, name: str) -> Scene:
        """A second run after a finished one, with other names for the same edits, some of them swapped. It is free."""
        manifest = (scene.folder / "night.yaml").read_text()
        rows = "".join(f"  - {{{row}}}\n" for row in _RENAMED)
        return self.again(scene, name, scene.over_at, manifest=manifest.partition("items:\n")[0] + "items:\n" + rows)

    def again(self, scene: Scene, name: str, line: int, *, manifest: str = "") -> Scene:
        """
        The run of a scene killed before a line, with its workers, and started again.

        The kernel lives on: the second command sees all that the first one wrote, but nothing is safer than it was. A
        sync that had not returned is not counted, since it may have died with its process.
        """
        folder = self.folder / name
        before = tuple(
            call
            for call in scene.calls[0][1]
            if call.begun < line and (call.ended < line or call.name not in ("fsync", "fdatasync"))
        )
        disk = Disk()
        disk.play(before, scene.folder)
        shutil.copytree(scene.folder / "in", folder / "in")
        (folder / "night.yaml").write_text(manifest or (scene.folder / "night.yaml").read_text())
        disk.all_of().write(folder)
        (folder / "books").mkdir()
        (folder / "books/emulator.db").write_bytes(scene.books)
        unknown = scene.unknown(line, None)
        prune(folder / "books", unknown)
        # What the provider has got by now it knows for ever, what it has not got never comes.
        said = tuple(
            replace(message, complete=_NEVER)
            if message.is_creation and message.reference in unknown
            else replace(message, answered=line - 1)
            for message in scene.said
            if message.begun < line
        )
        return self._record(folder, before=((scene.folder, before),), said=said, first=scene.over_at)

    def _record(
        self,
        folder: Path,
        before: tuple[tuple[Path, tuple[Call, ...]], ...] = (),
        said: tuple[Message, ...] = (),
        first: int = 0,
    ) -> Scene:
        former = _names(folder / "out")
        switches = Switches(latency=(0.02, 0.05), create_delay=(0.005, 0.02))
        books = folder / "books"
        emulator = self.switchboard.emulator = Emulator(switches=switches, state_dir=books)
        try:
            arguments = ("run", "night.yaml", "--out", "out", "--no-input", "-q")
            calls = tuple(record(arguments, folder=folder, log=folder / "log", key=KEY, first=first))
        finally:
            emulator.close()
        (folder / "log").unlink()
        return Scene(
            folder=folder,
            calls=(*before, (folder, calls)),
            said=(*said, *messages(calls)),
            books=(books / "emulator.db").read_bytes(),
            over_at=max(call.ended for call in calls) + 1,
            ended=time.time(),
            url=self.url,
            names=_names(folder / "out"),
            former=former,
            first=first,
        )


@contextlib.contextmanager
def studio(folder: Path) -> Iterator[Studio]:
    """A place to record in, with a provider on a real socket."""
    switchboard = Switchboard()
    with mock.patch.object(pixels, "render", render), run_in_thread(cast(Emulator, switchboard)) as url:
        yield Studio(folder, url, switchboard)
