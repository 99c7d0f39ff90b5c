"""
The folders that rows may name files in.

Rows often come from somebody else's system. What they name is read, and sent to the provider, so that a row could
otherwise have any picture sent that whoever runs this may read. The head, which the user has written, says where
pictures are; links are followed before anything is compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_FOLDERS = 10_000
"""So many are remembered with where they really are: a million pictures lie in few."""


class InputRoots:
    """
    Folders, and what lies below them.

    Args:
        folders: Those that hold for all rows.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._real = lru_cache(maxsize=_FOLDERS)(os.path.realpath)
        self._folders = tuple(_with_end(self._real(folder)) for folder in folders)

    def outside(self, path: Path, further: Iterable[Path]) -> Path | None:
        """
        Where a file really is, if that is in none of the folders; else None.

        Args:
            further: Folders that hold for this row.

        Raises:
            OSError: if a folder on the way cannot be looked into.
        """
        is_link = os.path.islink(path)
        real = os.path.realpath(path) if is_link else os.path.join(self._real(path.parent), path.name)
        folders = (*self._folders, *(_with_end(self._real(folder)) for folder in further))
        return None if real.startswith(folders) else Path(real)


def folder_of_template(text: str) -> str:
    """
    The folder that a path in the head begins with, before anything that comes from a row; empty for the manifest's.

    The folder above all others does not count: whoever writes ``/{{ path }}`` leaves everything to the row.
    """
    return text.partition("{")[0].rpartition("/")[0]


def _with_end(folder: str) -> str:
    return folder if folder.endswith(os.sep) else folder + os.sep
