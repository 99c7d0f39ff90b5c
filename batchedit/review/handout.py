"""A review as a folder for somebody else: the same page with its pictures, whose decisions come back as a file."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from batchedit import disk
from batchedit.effects import Effects
from batchedit.errors import StorageError, UsageError
from batchedit.ledger.reader import Ledger
from batchedit.report.thumbs import SIDE
from batchedit.review.app import as_block, full_picture, page_html, part
from batchedit.review.sheet import Sheet, whiches_of
from batchedit.review.thumbnailer import SCREEN, Thumbnailer

_POLICY = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'"
_NONCE_LETTERS = 16
_SIZES = {"small": SIDE, "screen": SCREEN}


def report_id(ledger: Path, nonce: str | None = None) -> str:
    """
    What a review is known by when its decisions come back.

    It proves which ledger it is of to whoever has that, and tells nobody else anything.

    Raises:
        LedgerError: if there is none.
    """
    nonce = nonce or f"{Effects().draw('review').getrandbits(64):016x}"
    with Ledger(ledger) as reader:
        proof = hashlib.sha256(f"{reader.identity()}/{nonce}".encode()).hexdigest()
    return f"{nonce}{proof[:_NONCE_LETTERS]}"


def is_of(report: str, ledger: Path) -> bool:
    """True if this is the id of a review of the ledger."""
    return len(report) == 2 * _NONCE_LETTERS and report_id(ledger, report[:_NONCE_LETTERS]) == report


def secret_of(report: str) -> bytes:
    """What the ids of tasks in a review are made with, so that they are found again when it comes back."""
    return hashlib.sha256(f"batchedit review {report}".encode()).digest()


def write_handout(sheet: Sheet, folder: Path, *, report: str, who: str = "", full: bool = False) -> int:
    """
    Write a folder that opens from a disk, without any server.

    Args:
        folder: Must not exist, or be empty.
        report: From `report_id`; the sheet's secret must be that of it.
        who: The reviewer, as far as known; the page asks.
        full: With the pictures in full size, for looking at them at 100 %.

    Returns:
        How many cards or pairs there are to look at.

    Raises:
        UsageError: if the folder holds something.
        StorageError: if the disk does not take it.
        BatchEditError: as `Sheet.read`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--static: {folder} is not empty", hint="name a folder that is not there yet")
    data = sheet.read(who)
    data |= {"report": report, "full": full, "seed": sheet.seed}
    names = [(card["id"], _whiches(card)) for card in data.get("cards", ())]
    names += [(pair["id"], _sides(pair)) for pair in data.get("pairs", ())]
    with disk.storage("write", folder):
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        with Thumbnailer(sheet.ledger.parent / "thumbs") as thumbnails:
            for name, whiches in names:
                for which in whiches:
                    _write_pictures(sheet, thumbnails, folder / "pictures", name, which, full=full)
        for name in ("review.css", "review.js"):
            _write(folder / name, part(name).encode())
        # Last: a folder with a page is whole.
        _write(folder / "index.html", page_html(as_block(data), _POLICY).encode())
    return len(names)


def _whiches(card: dict[str, Any]) -> list[str]:
    return [*(["before"] if card["before"] else []), *(str(number + 1) for number in range(card["count"]))]


def _sides(pair: dict[str, Any]) -> list[str]:
    return [*(["before"] if pair["before"] else []), *whiches_of(pair["counts"])]


def _write_pictures(sheet: Sheet, thumbnails: Thumbnailer, folder: Path, name: str, which: str, *, full: bool) -> None:
    picture = sheet.picture(name, which)
    if picture is None:
        return
    for size, side in _SIZES.items():
        small = thumbnails.get(picture, side)
        if small is not None:
            shutil.copyfile(small, folder / f"{name}-{which}-{size}.webp")
    if full:
        found = full_picture(picture)
        if found.status_code == 200:
            _write(folder / f"{name}-{which}-full.img", bytes(found.body))


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise StorageError(f"{path} exists already") from None
