"""
Pictures on their way home: received into a temporary file, decoded completely, kept by content, placed by name.

    <out>/<path from the template>          the delivered file
    <out>/.batchedit/raw/ab/SHA256.ext      the same bytes by content, which nobody else touches
    <out>/.batchedit/answers/SHA256         answers that cannot be asked for again, until their pictures are safe

How files are written so that a crash leaves nothing torn is in `disk`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from batchedit import disk
from batchedit.disk import storage
from batchedit.effects import Offload, inline
from batchedit.errors import StorageError
from batchedit.ledger.records import OutputRow
from batchedit.model import EXTENSIONS, Raw
from batchedit.pictures import BadPicture, decode

PICTURE_LIMIT_BYTES = 256 * 1024 * 1024
_GUESS_BYTES = 2 * 1024 * 1024
_JOIN_BYTES = 1024 * 1024
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_LITTER = ".batchedit-"
"""Begins the temporary names that may be left in the tree itself, where it lies on another disk than the raws."""


class InTheWay(Exception):
    """A file that the ledger does not know has the name that a picture should get."""


class RawDamaged(Exception):
    """A kept picture is gone, or its bytes are not those that were kept. The provider may still have it."""


class Outputs:
    """
    The output tree and the store of raws.

    Args:
        root: The output folder.
        state: The folder ``.batchedit`` that belongs to it.
        offload: Where the disk work happens.
    """

    def __init__(self, root: Path, state: Path, offload: Offload = inline) -> None:
        self.root, self.state = root, state
        self._offload = offload
        self._swept: set[Path] = set()
        self._durable: set[Path] = set()
        self._largest = 0

    def open(self) -> None:
        """
        Make the folders and clear what an earlier process left half-written. Call it while holding the ledger.

        Raises:
            StorageError: if the disk refuses it.
        """
        with storage("make", self.state):
            for folder in (self.root, self.state / "raw", self.state / "answers"):
                disk.make_folders(folder)
            for kind in ("raw", "answers"):
                for stale in self.state.glob(f"{kind}/*.part"):
                    stale.unlink(missing_ok=True)

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

    # -- raws ------------------------------------------------------------------------------------------------

    async def receive(self, chunks: AsyncIterator[bytes]) -> Path:
        """
        Write a download to a temporary file, about a megabyte at a time, and return its path.

        Raises:
            BadPicture: if it is larger than any picture may be.
            StorageError: if the disk does not take it.
        """
        path = disk.temporary_in(self.state / "raw")
        buffer, size = bytearray(), 0
        try:
            async for chunk in chunks:
                buffer += chunk
                size += len(chunk)
                if size > PICTURE_LIMIT_BYTES:
                    raise BadPicture(f"more than {PICTURE_LIMIT_BYTES} bytes")
                if len(buffer) >= _JOIN_BYTES:
                    await self._append(path, bytes(buffer))
                    buffer.clear()
            await self._append(path, bytes(buffer))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    async def keep(self, temporary: Path, number: int) -> Raw:
        """
        Decode a received file completely and give it its place among the raws; durable when this returns.

        Raises:
            BadPicture: if it is no complete picture; the file is removed.
            StorageError: if the disk does not take it.
        """
        return await self._offload(lambda: self._keep(temporary, number))

    def raw_path(self, raw: Raw) -> Path:
        """Where a kept picture lies."""
        return self.state / "raw" / raw.name

    # -- answers ---------------------------------------------------------------------------------------------

    async def keep_answer(self, body: bytes) -> str:
        """Store an answer that cannot be asked for again; durable when its digest is returned."""
        return await self._offload(lambda: self._keep_answer(body))

    async def read_answer(self, digest: str) -> bytes:
        """
        A stored answer.

        Raises:
            StorageError: if it is gone.
        """
        path = self.state / "answers" / digest

        def read() -> bytes:
            with storage("read", path):
                return path.read_bytes()

        return await self._offload(read)

    async def drop_answer(self, digest: str) -> None:
        """Remove a stored answer whose pictures are safe."""
        await self._offload(lambda: (self.state / "answers" / digest).unlink(missing_ok=True))

    # -- delivered files -------------------------------------------------------------------------------------

    async def place(self, raw: Raw, planned: str) -> str:
        """
        Give a kept picture its name in the tree and return it; the extension follows the format that came.

        Raises:
            InTheWay: if a file that is not ours has the name.
            RawDamaged: if the kept picture is not what it was.
            StorageError: if the disk does not take it.
        """
        path = with_extension(planned, raw.format)
        await self._offload(lambda: self._place(raw, self.root / path))
        return path

    def missing(self, path: str) -> bool:
        """True if a delivered file is not there any more."""
        return not (self.root / path).is_file()

    async def remove_all(self, rows: Sequence[OutputRow]) -> None:
        """Remove files that the ledger has disowned."""
        for row in rows:
            await self._offload(partial(self.remove, row.path, row.sha256))

    def remove(self, path: str, sha256: str) -> None:
        """Remove a delivered file that the ledger has disowned, if it still has the bytes that we put there."""
        full = self.root / path
        with storage("remove", full):
            if full.is_file() and disk.digest(full) == sha256:
                full.unlink()

    def blocked(self, path: str) -> bool:
        """True if a file that is not ours has this name."""
        full = self.root / path
        if not os.path.lexists(full):
            return False
        return not full.is_file() or full.is_symlink() or not self._replaceable(full)

    # -- inside ----------------------------------------------------------------------------------------------

    async def _append(self, path: Path, data: bytes) -> None:
        def write() -> None:
            with storage("write", path):
                disk.append(path, data)

        await self._offload(write)

    def _keep(self, temporary: Path, number: int) -> Raw:
        try:
            facts = decode(temporary)
        except BadPicture:
            temporary.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise StorageError(f"cannot read {temporary}: {error.strerror}") from error
        raw = Raw(
            number=number,
            sha256=disk.digest(temporary),
            format=facts.format,
            width=facts.width,
            height=facts.height,
            size_bytes=temporary.stat().st_size,
        )
        self._largest = max(self._largest, raw.size_bytes)
        target = self.raw_path(raw)
        with storage("keep", target):
            self._make_folders(target.parent)
            disk.sync_file(temporary)
            # The same content is the same file; replacing it changes nothing.
            disk.replace(temporary, target)
        return raw

    def _keep_answer(self, body: bytes) -> str:
        name = hashlib.sha256(body).hexdigest()
        with storage("keep", self.state / "answers" / name):
            disk.write_private(self.state / "answers", name, body)
        return name

    def _place(self, raw: Raw, target: Path) -> None:
        with storage("place", target):
            self._make_folders(target.parent)
            there = os.path.lexists(target)
            if there and (target.is_symlink() or not target.is_file()):
                raise InTheWay(f"{target} exists and is not a file of this ledger")
            if there and disk.digest(target) == raw.sha256:
                # Whoever placed it may have been killed before its name was durable.
                disk.sync_folder(target.parent)
                return
            if there and not self._replaceable(target):
                raise InTheWay(f"{target} exists and is not a file of this ledger")
            copied = self._copy(raw, target.parent)
            if there:
                disk.replace(copied, target)
                return
            try:
                disk.publish(copied, target)
            except FileExistsError:
                raise InTheWay(f"{target} has just been made by somebody else") from None

    def _make_folders(self, folder: Path) -> None:
        """Make folders durable, once per process each: one sync for a thousand pictures is enough."""
        if folder not in self._durable or not folder.is_dir():
            disk.make_folders(folder)
            self._durable.add(folder)

    def _copy(self, raw: Raw, folder: Path) -> Path:
        """A verified copy of a raw on the disk of `folder`, under a temporary name."""
        source = self.raw_path(raw)
        if self._other_disk(folder):
            self._sweep(folder)
            temporary = disk.temporary_in(folder, _LITTER)
        else:
            temporary = disk.temporary_in(self.state / "raw")
        try:
            sha256 = disk.copy(source, temporary)
        except FileNotFoundError:
            temporary.unlink(missing_ok=True)
            raise RawDamaged(f"the kept picture {source} is gone") from None
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sha256 != raw.sha256:
            temporary.unlink(missing_ok=True)
            raise RawDamaged(f"the kept picture {source} has been changed")
        return temporary

    def _other_disk(self, folder: Path) -> bool:
        return folder.stat().st_dev != (self.state / "raw").stat().st_dev

    def _sweep(self, folder: Path) -> None:
        """Remove what a crash left in a folder of the tree, once per process: whoever places files holds the lock."""
        if folder not in self._swept:
            self._swept.add(folder)
            for stale in folder.glob(f"{_LITTER}*.part"):
                stale.unlink(missing_ok=True)

    def _replaceable(self, path: Path) -> bool:
        # An empty file is what a crash leaves where there are no hard links; any other must be a content that is
        # kept anyway, so that nothing is lost. A file that a crash left unlisted is recognised in the same way.
        if path.stat().st_size == 0:
            return True
        sha256 = disk.digest(path)
        return any((self.state / "raw" / sha256[:2]).glob(f"{sha256}.*"))


def with_extension(path: str, picture_format: str) -> str:
    """The path with the extension of the format that came, if it names another one."""
    pure = PurePosixPath(path)
    wanted = "." + EXTENSIONS[picture_format]
    suffix = pure.suffix.lower()
    if suffix == wanted or (suffix == ".jpeg" and wanted == ".jpg"):
        return path
    return str(pure.with_suffix(wanted)) if suffix in _SUFFIXES else path + wanted
