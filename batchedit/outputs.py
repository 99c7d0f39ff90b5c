"""Pictures on their way home, without holding up the event loop: who does the work of `filing`, and where."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from batchedit import disk
from batchedit.data_uris import decoded
from batchedit.effects import Offload, inline
from batchedit.filing import Ahead, Filing, Made, Source
from batchedit.ledger.records import OutputRow
from batchedit.model import OutputLocation, Raw
from batchedit.paths import with_extension
from batchedit.pictures import BadPicture
from batchedit.recipe import Recipe
from batchedit.turning import turn_upright
from batchedit.workers import Workers

PICTURE_LIMIT_BYTES = 256 * 1024 * 1024
_GUESS_BYTES = 2 * 1024 * 1024
_IN_MEMORY_BYTES = 256 * 1024
_JOIN_BYTES = 2 * 1024 * 1024


class Outputs:
    """
    The output tree and the store of raws of a run.

    Args:
        files: Whose work it is.
        offload: Where the disk work happens.
        workers: Processes for what takes longest, decoding and syncing; None for `offload`.
    """

    def __init__(self, files: Filing, offload: Offload = inline, workers: Workers | None = None) -> None:
        self.root, self.state = files.root, files.state
        self.files = files
        self._offload, self._workers = offload, workers
        self._placed: set[tuple[str, str]] = set()
        self._largest = 0

    def has_room(self, pictures: int) -> bool:
        """
        True if the disks have room for so many pictures, each kept and delivered.

        The largest one so far counts, twice over; before the first there is a guess.
        """
        needed = 2 * pictures * max(_GUESS_BYTES, 2 * self._largest)
        try:
            return all(shutil.disk_usage(folder).free >= needed for folder in (self.root, self.state))
        except OSError:
            return True  # whether it can be written shows soon enough

    async def receive(self, chunks: AsyncIterator[bytes]) -> bytes | Path:
        """
        Take a download: a small one in memory, a larger one in a temporary file, written two megabytes at a time.

        Raises:
            BadPicture: if it is larger than any picture may be.
            StorageError: if the disk does not take it.
        """
        chunks_here: list[bytes] = []
        size = written = 0
        path: Path | None = None
        try:
            async for chunk in chunks:
                chunks_here.append(chunk)
                size += len(chunk)
                if size > PICTURE_LIMIT_BYTES:
                    raise BadPicture(f"more than {PICTURE_LIMIT_BYTES} bytes")
                if size - written >= _JOIN_BYTES:
                    path = path or self.files.temporary()
                    await self._offload(partial(self.files.append, path, chunks_here))
                    chunks_here, written = [], size
            if path is None and size <= _IN_MEMORY_BYTES:
                return b"".join(chunks_here)
            path = path or self.files.temporary()
            await self._offload(partial(self.files.append, path, chunks_here))
        except BaseException:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        return path

    async def unpack(self, location: OutputLocation) -> AsyncIterator[bytes]:
        """
        Decode a picture that came within an answer, piece by piece.

        Raises:
            BadPicture: if it is damaged.
        """
        pieces = decoded(location)
        while (piece := await self._offload(partial(next, pieces, None))) is not None:
            yield piece

    async def keep(self, received: bytes | Path, number: int, ahead: Ahead | None = None) -> Raw:
        """
        Verify a received picture and give it its place among the raws; durable when this returns.

        Args:
            ahead: Where it will be placed if it is as expected: done at once, `place` then has nothing to do.

        The temporary file of a download is gone then, whatever happens.

        Raises:
            BadPicture: if it is no complete picture.
            StorageError: if the disk does not take it.
        """
        try:
            if self._workers is not None:
                kept = await self._workers.keep(received, number, ahead)
            else:
                kept = await self._offload(lambda: disk.alone(self.files.keep(received, number, ahead)))
        finally:
            if isinstance(received, Path):
                self.files.drop_download(received)
        raw = kept.raw
        if ahead is not None and kept.is_placed:
            self._placed.update((raw.sha256, with_extension(planned, raw.format)) for planned in ahead.paths)
        self._largest = max(self._largest, raw.size_bytes)
        return raw

    async def place(self, raw: Raw, planned: str) -> str:
        """
        Give a kept picture its name in the tree and return it; the extension follows the format that came.

        Raises:
            InTheWay: if a file that is not ours has the name.
            RawDamaged: if the kept picture is not what it was.
            StorageError: if the disk does not take it.
        """
        path = with_extension(planned, raw.format)
        if (raw.sha256, path) in self._placed:
            self._placed.remove((raw.sha256, path))
        elif self._workers is not None:
            await self._workers.place(raw, path)
        else:
            await self._offload(lambda: disk.alone(self.files.place(raw, path)))
        return path

    async def render(self, raw: Raw, recipe: Recipe, source: Source) -> Made:
        """
        Make the file that a recipe makes of a kept picture, and look at it; `place_made` gives it its name.

        Raises:
            NotMade, RawDamaged, StorageError: as `Filing.render`.
        """
        if self._workers is not None:
            return await self._workers.render(raw, recipe, source)
        return await self._offload(lambda: disk.alone(self.files.render(raw, recipe, source)))

    async def place_made(self, raw: Raw, made: Made, planned: str) -> str:
        """
        Give what `render` has made its name in the tree and return it; the extension follows its format.

        Args:
            raw: What it was made of.

        Raises:
            InTheWay, RawDamaged, StorageError: as `place`.
        """
        if not made.temporary:
            return await self.place(raw, planned)
        path = with_extension(planned, made.format)
        if self._workers is not None:
            await self._workers.place_made(made, path)
        else:
            await self._offload(lambda: disk.alone(self.files.place_made(made, path)))
        return path

    async def remove_all(self, rows: Sequence[OutputRow]) -> None:
        """Remove files that the ledger has disowned."""
        for row in rows:
            await self._offload(partial(self.files.remove, row.path, row.sha256))

    async def upright(self, path: Path, sha256: str) -> Path:
        """
        A local picture as it is sent where its pixels lie turned: a file named by its content, for as long as this run.

        Args:
            sha256: Of the content that was planned.

        Raises:
            BadPicture: if it cannot be decoded, or is another one by now.
            StorageError: if the disk does not take it.
        """
        if self._workers is not None:
            return await self._workers.upright(path, sha256)
        return await self._offload(lambda: disk.alone(turn_upright(self.state, path, sha256)))

    async def keep_answer(self, body: bytes) -> str:
        """Store an answer that cannot be asked for again; durable when its digest is returned."""
        return await self._offload(partial(self.files.keep_answer, body))

    async def read_answer(self, digest: str) -> bytes:
        """
        A stored answer.

        Raises:
            StorageError: if it is gone.
        """
        return await self._offload(partial(self.files.read_answer, digest))

    async def drop_answer(self, digest: str) -> None:
        """Remove a stored answer whose pictures are safe."""
        await self._offload(partial(self.files.drop_answer, digest))
