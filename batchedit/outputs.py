"""
Pictures on their way home: received into a temporary file, decoded completely, kept by content, placed by name.

    <out>/<path from the template>          the delivered file
    <out>/.batchedit/raw/ab/SHA256.ext      the same bytes by content (a hard link where the disk can)
    <out>/.batchedit/answers/SHA256         answers that cannot be asked for again, until their pictures are safe

A name shows either nothing or the complete file: bytes go to a random temporary name in the state folder, are
synced, and get their final name in one step that never replaces a file which is not ours.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from batchedit.effects import Offload, inline
from batchedit.errors import StorageError
from batchedit.ledger.connection import sync_folder
from batchedit.ledger.records import OutputRow
from batchedit.model import EXTENSIONS, Raw
from batchedit.pictures import BadPicture, decode

PICTURE_LIMIT_BYTES = 256 * 1024 * 1024
_JOIN_BYTES = 1024 * 1024
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


class InTheWay(Exception):
    """A file that the ledger does not know has the name that a picture should get."""


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

    def open(self) -> None:
        """
        Make the folders and clear what an earlier process left half-written. Call it while holding the ledger.

        Raises:
            StorageError: if the disk refuses it.
        """
        with _storage("make", self.state):
            for folder in (self.root, self.state / "raw", self.state / "answers"):
                _make_folders(folder)
            for stale in self.state.glob("raw/*.part"):
                stale.unlink(missing_ok=True)

    # -- raws ------------------------------------------------------------------------------------------------

    async def receive(self, chunks: AsyncIterator[bytes]) -> Path:
        """
        Write a download to a temporary file, about a megabyte at a time, and return its path.

        Raises:
            BadPicture: if it is larger than any picture may be.
            StorageError: if the disk does not take it.
        """
        path = self.state / "raw" / f"{secrets.token_hex(8)}.part"
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
            with _storage("read", path):
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
            StorageError: if the disk does not take it.
        """
        path = with_extension(planned, raw.format)
        await self._offload(lambda: self._place(self.raw_path(raw), raw.sha256, self.root / path))
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
        with _storage("remove", full):
            if full.is_file() and _digest(full) == sha256:
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
            with _storage("write", path), path.open("ab") as file:
                file.write(data)

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
            sha256=_digest(temporary),
            format=facts.format,
            width=facts.width,
            height=facts.height,
            size_bytes=temporary.stat().st_size,
        )
        target = self.raw_path(raw)
        with _storage("keep", target):
            _make_folders(target.parent)
            _sync_file(temporary)
            # The same content is the same file; replacing it changes nothing.
            temporary.replace(target)
        sync_folder(target.parent)
        return raw

    def _keep_answer(self, body: bytes) -> str:
        digest = hashlib.sha256(body).hexdigest()
        folder = self.state / "answers"
        temporary = folder / f"{secrets.token_hex(8)}.part"
        with _storage("keep", temporary):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder / digest)
        sync_folder(folder)
        return digest

    def _place(self, source: Path, sha256: str, target: Path) -> None:
        with _storage("place", target):
            _make_folders(target.parent)
            if os.path.lexists(target):
                if target.is_file() and not target.is_symlink() and _digest(target) == sha256:
                    return
                if target.is_symlink() or not target.is_file() or not self._replaceable(target):
                    raise InTheWay(f"{target} exists and is not a file of this ledger")
                temporary = self._copy_beside(source, target)
                temporary.replace(target)
            else:
                self._link_new(source, target)
        sync_folder(target.parent)

    def _link_new(self, source: Path, target: Path) -> None:
        try:
            os.link(source, target)
        except FileExistsError:
            raise InTheWay(f"{target} has just been made by somebody else") from None
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                raise
            self._copy_new(source, target)

    def _copy_new(self, source: Path, target: Path) -> None:
        """Where the disk knows no hard links: claim the name with an empty file, then put the copy in its place."""
        temporary = self._copy_beside(source, target)
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            temporary.unlink()
            raise InTheWay(f"{target} has just been made by somebody else") from None
        temporary.replace(target)

    def _copy_beside(self, source: Path, target: Path) -> Path:
        temporary = target.with_name(f".{secrets.token_hex(8)}.part")
        shutil.copyfile(source, temporary)
        _sync_file(temporary)
        return temporary

    def _replaceable(self, path: Path) -> bool:
        # An empty file is what a crash leaves in `_copy_new`; any other must be a content that is kept anyway, so
        # that nothing is lost. A file that a crash left unlisted is recognised in the same way.
        if path.stat().st_size == 0:
            return True
        digest = _digest(path)
        return any((self.state / "raw" / digest[:2]).glob(f"{digest}.*"))


def with_extension(path: str, picture_format: str) -> str:
    """The path with the extension of the format that came, if it names another one."""
    pure = PurePosixPath(path)
    wanted = "." + EXTENSIONS[picture_format]
    suffix = pure.suffix.lower()
    if suffix == wanted or (suffix == ".jpeg" and wanted == ".jpg"):
        return path
    return str(pure.with_suffix(wanted)) if suffix in _SUFFIXES else path + wanted


@contextlib.contextmanager
def _storage(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what} {path}: {error.strerror or error}") from error


def _make_folders(folder: Path) -> None:
    """Make a folder and its parents, each durable before anything is put into it."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
