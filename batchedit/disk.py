"""
Every change that this package makes to files of its own, in few primitives: the place to look for what is durable.

A name shows either nothing or the complete file. Bytes go to a random temporary name, are synced, and get their
final name in one step; then the folder is synced. A sync that failed is never tried again: the second one may
succeed although the data is gone.

A change that is a generator stops before each sync. Several of them can go through their stages together, and the first
sync of a stage then does most of the work for all: that is what makes hundreds of durable files a second possible.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Generator, Iterator, Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Generic, TypeVar

from batchedit.errors import StorageError

T = TypeVar("T")
Stages = Generator[None, None, T]
"""A change to files that stops before each sync, so that others catch up. Nothing is durable before its end."""

_CHUNK = 1024 * 1024
_LARGE_BYTES = 256 * 1024
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES)


def alone(stages: Stages[T]) -> T:
    """Carry out one change."""
    while True:
        try:
            next(stages)
        except StopIteration as stop:
            result: T = stop.value
            return result


class Together(Generic[T]):
    """Several changes that are carried out together, each stage for all of them before the next."""

    def __init__(self, changes: Sequence[Stages[T]]) -> None:
        self._open = dict(enumerate(changes))
        self._results: dict[int, T | Exception] = {}

    def advance(self) -> None:
        """Carry out one more stage."""
        for number, stages in [*self._open.items()]:
            try:
                next(stages)
            except StopIteration as stop:
                self._results[number] = stop.value
            except Exception as error:
                self._results[number] = error
            if number in self._results:
                del self._open[number]

    def finish(self) -> list[T | Exception]:
        """Carry out the rest, and say what each change returned or raised, in their order."""
        while self._open:
            self.advance()
        return [self._results[number] for number in sorted(self._results)]


@contextlib.contextmanager
def storage(what: str, path: Path) -> Iterator[None]:
    """
    Turn what the system says about a file into our own words.

    Raises:
        StorageError: for every OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what} {path}: {error.strerror or error}") from error


def temporary_in(folder: Path, prefix: str = "") -> Path:
    """A name in the folder that nobody has."""
    return folder / f"{prefix}{secrets.token_hex(8)}.part"


def make_folders(folder: Path) -> None:
    """
    Make a folder and its parents, each durable before anything is put into it.

    One that is there may be the last thing that a process made before it was killed, or another thread be about to sync
    it: its name is made durable too. What lies above it was durable before it was made.
    """
    parent = folder.parent
    if not folder.is_dir():
        if parent != folder:
            make_folders(parent)
        folder.mkdir(exist_ok=True)
        sync_folder(parent)
    elif folder.stat().st_dev == parent.stat().st_dev and os.access(parent, os.R_OK):
        # Neither where a disk is mounted nor in a folder that may not be listed has a process of ours made one.
        sync_folder(parent)


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may look into, whatever the process lets others do; it is not made durable."""
    folder.mkdir(mode=0o700, exist_ok=True)


def claim(folder: Path, *, is_new: bool) -> None:
    """
    Make sure that a folder which holds state is ours. A new one is private; how open an older one is its owner decided.

    Raises:
        StorageError: if it belongs to another user, who could put anything in the place of what is in it.
    """
    owner = folder.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise StorageError(f"{folder} belongs to another user (uid {owner}); choose another output folder")
    if is_new:
        folder.chmod(0o700)


_STATE_FILES = ("lock", "ledger.db")
"""Who opens these sees for himself, without a moment in between, that they are no links."""

_WITH_FOLDERS = ("raw", "thumbs", "rehearsal")


def refuse_links(folder: Path) -> None:
    """
    Make sure that nobody has put a link among what holds state: what is written and cleared away there would be
    elsewhere. Nobody else can write into the folder; it may have come with what is in it, in an archive for example.

    Raises:
        StorageError: if there is one.
    """
    inside = [folder, *_listed(folder)]
    for path in [*inside]:
        if path.name in _WITH_FOLDERS and not path.is_symlink():
            inside += _listed(path)
    for path in inside:
        if path.is_symlink() and not path.name.startswith(_STATE_FILES):
            raise StorageError(f"{path} is a symbolic link, and holds state; remove it")


def _listed(folder: Path) -> list[Path]:
    with storage("look into", folder):
        return [Path(entry) for entry in os.scandir(folder)] if folder.is_dir() else []


def append(path: Path, *chunks: bytes, mode: int = 0o600) -> None:
    """Add bytes to a temporary file, made private (or with `mode`) if it is new. Not durable before `sync_file`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[file.write(rest) :]


def open_regular(path: Path) -> FileIO:
    """
    Open a file of somebody else's for reading. A pipe that has been put in its place would be waited for, for ever.

    Raises:
        OSError: if it cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
    try:
        file = FileIO(os.open(path, flags))
    except ValueError:  # a NUL within the name
        raise OSError(errno.EINVAL, "is no name of a file") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is not a regular file")
    return file


def read_regular(path: Path, at_most: int) -> bytes:
    """What a file of somebody else's holds, but no more than so many bytes of it. Raises OSError as `open_regular`."""
    with BufferedReader(open_regular(path)) as file:
        return file.read(at_most)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def let_go(path: Path) -> None:
    """
    Let the system use the memory in which it keeps a file's bytes. A night's pictures would push everything else out of
    it, and each new one would have to find memory that is not used yet, which takes longer than writing it.
    """
    if hasattr(os, "posix_fadvise") and path.stat().st_size >= _LARGE_BYTES:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """
    Make the names in a folder durable.

    Raises:
        StorageError: if the disk reports an error; it must not be tried again.
    """
    with storage("sync the folder", folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace(source: Path, target: Path) -> Stages[None]:
    """Give a complete file its name, in place of whatever has it."""
    os.replace(source, target)
    yield
    sync_folder(target.parent)


def publish(source: Path, target: Path) -> Stages[None]:
    """
    Give a complete file its name unless there is a file of that name.

    Raises:
        FileExistsError: if there is one; `source` is removed.
    """
    try:
        try:
            os.link(source, target)
        except OSError as error:
            if isinstance(error, FileExistsError) or error.errno not in _NO_LINKS:
                raise
            # No hard links here: claim the name with an empty file, then put the complete one in its place.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            os.replace(source, target)
    finally:
        source.unlink(missing_ok=True)
    yield
    sync_folder(target.parent)


def second_name(source: Path, target: Path) -> None:
    """Give a file a second name; where there are no hard links, a new name instead. Not durable before `sync_file`."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(source, target)


def copy(source: Path, target: Path) -> Stages[None]:
    """
    Copy a file to a new name.

    A copy and not a second link: whoever edits one of the two in place must not change the other. File systems
    that can share the blocks until then do so.
    """
    with source.open("rb") as old:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as new:
            size = os.fstat(old.fileno()).st_size
            if not _share_blocks(old.fileno(), new.fileno(), size):
                old.seek(0)
                new.seek(0)
                new.truncate(0)
                while chunk := old.read(_CHUNK):
                    new.write(chunk)
    yield
    sync_file(target)
    let_go(source)
    let_go(target)


def write_private(folder: Path, name: str, data: bytes) -> None:
    """Write a complete file that only its owner may read, durable when this returns."""
    temporary = temporary_in(folder)
    append(temporary, data)
    sync_file(temporary)
    alone(replace(temporary, folder / name))


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _share_blocks(old: int, new: int, size: int) -> bool:
    """Copy inside the kernel, which shares blocks where the file system can; False if it cannot copy so."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    try:
        while done < size:
            moved = os.copy_file_range(old, new, size - done)
            if moved == 0:
                return False
            done += moved
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY):
            return False
        raise
    return True
