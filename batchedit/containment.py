"""
Folders of the output tree, reached so that nobody can lead us out of it while we are on the way.

A name that was looked at may be another thing a moment later: whoever may write in the tree can put a symbolic link in
the place of a folder. On Linux each folder is therefore opened within the one above it, without following links, and
what is done in it is done through that open folder: `/proc/self/fd/7/mug.png` is a name in the folder which was opened
as 7, wherever that is and whatever its own name leads to by then. Where there is no such thing the names are looked at
right before they are used.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from batchedit import disk

_OPENED = Path("/proc/self/fd")
_BLOCKED = (errno.ELOOP, errno.ENOTDIR)
_TRIES = 3


class InTheWay(Exception):
    """Something that the ledger does not know has the name that a picture, or its folder, should get."""


def is_guarded() -> bool:
    """True if folders are held open while something is done in them, False if their names are only looked at."""
    return hasattr(os, "O_NOFOLLOW") and _OPENED.is_dir()


class Tree:
    """
    The folders below an output folder.

    Args:
        root: The output folder itself; that it may be a link is its owner's choice.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._is_guarded = is_guarded()
        self._durable: set[Path] = set()

    @contextmanager
    def folder_of(self, path: str, *, make: bool = False) -> Iterator[Path]:
        """
        A name in the tree as a path that leads into its folder, as it is now, until the end of the block.

        Args:
            path: Relative to the root, with ``/`` between folders.
            make: The folders are made, each durable before anything is put into it.

        Raises:
            InTheWay: if there is a link, or something else that is no folder, on the way.
            OSError: if the disk refuses it, or a folder is not there and is not to be made.
        """
        *folders, name = PurePosixPath(path).parts
        if make and not self.root.is_dir():
            disk.make_folders(self.root)
        if not self._is_guarded:
            yield self._looked_at(folders, make=make) / name
            return
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            shown = self.root
            for part in folders:
                shown = shown / part
                inner = self._opened(_OPENED / str(descriptor) / part, shown, make=make)
                os.close(descriptor)
                descriptor = inner
            yield _OPENED / str(descriptor) / name
        finally:
            os.close(descriptor)

    def link_in(self, path: str) -> Path | None:
        """A symbolic link among the folders that a file would lie in; None if there is none. Good for a message."""
        folder = self.root
        for part in PurePosixPath(path).parts[:-1]:
            folder = folder / part
            if folder.is_symlink():
                return folder
        return None

    # -- inside ----------------------------------------------------------------------------------------------

    def _opened(self, folder: Path, shown: Path, *, make: bool) -> int:
        if make and shown not in self._durable:
            self._made(folder, shown)
        for tries_left in reversed(range(_TRIES)):
            try:
                return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                if not make or not tries_left:
                    raise
                self._made(folder, shown)  # somebody has removed it
            except OSError as error:
                if error.errno in _BLOCKED:
                    raise _in_the_way(folder, shown) from None
                raise
        raise AssertionError("the last try returns or raises")

    def _made(self, folder: Path, shown: Path) -> None:
        """Make a folder durable, once per process each: one sync for a thousand pictures is enough."""
        try:
            disk.make_folders(folder)
        except FileExistsError:
            raise _in_the_way(folder, shown) from None
        self._durable.add(shown)

    def _looked_at(self, folders: list[str], *, make: bool) -> Path:
        folder = self.root
        for part in folders:
            folder = folder / part
            if folder.is_symlink():
                raise _in_the_way(folder, folder)
            if make and (folder not in self._durable or not folder.is_dir()):
                self._made(folder, folder)
        return folder


def _in_the_way(folder: Path, shown: Path) -> InTheWay:
    try:
        is_link = stat.S_ISLNK(os.lstat(folder).st_mode)
    except OSError:
        return InTheWay(f"{shown} is changed by somebody else")
    return InTheWay(f"{shown} is a symbolic link" if is_link else f"{shown} is in the way: it is not a folder")
