"""Local pictures whose pixels lie turned, put upright in files of their own, which are what is sent."""

from __future__ import annotations

import hashlib
from pathlib import Path

from batchedit import disk
from batchedit.cleaning import upright
from batchedit.disk import Stages, storage
from batchedit.model import EXTENSIONS
from batchedit.pictures import INPUT_LIMIT_BYTES, BadPicture, sniff


def turn_upright(state: Path, path: Path, sha256: str) -> Stages[Path]:
    """
    Put a picture upright. The same picture always becomes the same file, so that it may be made again at any time; it
    is therefore not synced.

    Returns:
        A private file whose name is its SHA-256.

    Raises:
        BadPicture: if it cannot be decoded, or is another one by now.
        StorageError: if the disk does not take it.
    """
    try:
        data = disk.read_regular(path, INPUT_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadPicture(error.strerror or "cannot be read") from None
    if len(data) > INPUT_LIMIT_BYTES:
        raise BadPicture(f"more than {INPUT_LIMIT_BYTES} bytes")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadPicture("it has changed since the run was planned; run again")
    turned = upright(data)
    folder = state / "upright"
    target = folder / f"{hashlib.sha256(turned).hexdigest()}.{EXTENSIONS[sniff(turned[:12]) or 'png']}"
    with storage("write", target):
        disk.make_private(folder)
        temporary = disk.temporary_in(folder)
        disk.append(temporary, turned)
        yield
        temporary.replace(target)
    return target


def drop_turned(state: Path) -> None:
    """Remove what was put upright for an earlier run."""
    folder = state / "upright"
    if folder.is_dir() and not folder.is_symlink():
        for stale in folder.iterdir():
            stale.unlink(missing_ok=True)
