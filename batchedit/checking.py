"""
Finding out for free whether the local pictures of a plan can be used at all: every one is decoded completely, once.

What was found is kept on the disk until the end, so that a million pictures need no memory.
"""

from __future__ import annotations

import os
from pathlib import Path

from batchedit.errors import Place, Problem
from batchedit.manifest import Findings
from batchedit.manifest.findings import OncePerRow
from batchedit.model import ImageRef, LocalImage, Task
from batchedit.pictures import BadPicture, PictureFacts, decode
from batchedit.planned import Plan
from batchedit.scratch import Scratch

SMALL = 256
"""Pixels of the longer side; a picture below that has too little in it for an edit that somebody would look at."""


def check_pictures(plan: Plan) -> None:
    """
    Decode every local picture of the plan's tasks, masks against the size of what they mask.

    Adds to the plan's findings every picture that is damaged, of another kind or too large, and every mask that does
    not fit or has no transparent pixels; as warnings JPEGs in CMYK and pictures below `SMALL`.
    """
    findings, place = OncePerRow(plan.findings), None
    with Decoded() as decoded:
        for task in plan.manifest.tasks(Findings()):
            if task.place != place:
                findings.next_row()
                place = task.place
            _check(task, plan, decoded, findings)


def _check(task: Task, plan: Plan, decoded: Decoded, findings: OncePerRow) -> None:
    names = ["image", *("references" for _ in task.images[1:]), "mask"]
    facts: list[PictureFacts | None] = []
    for name, ref in zip(names, [*task.images, task.mask], strict=True):
        found = _facts(ref, plan, decoded)
        if isinstance(found, str):
            findings.problem(_problem("damaged-image", task.place, name, ref, f"{ref} is {found}"))
            found = None
        elif found is not None and name != "mask":
            _warn(task.place, name, ref, found, findings)
        facts.append(found)
    image, mask = facts[0], facts[-1]
    if image and mask and (image.width, image.height) != (mask.width, mask.height):
        message = f"the mask has {mask.width}x{mask.height} pixels, its image {image.width}x{image.height}"
        hint = "a mask must have the size of the first image"
        findings.problem(_problem("mask-size", task.place, "mask", task.mask, message, hint))
    if mask and not mask.has_alpha:
        message = f"the mask {task.mask} has no transparency"
        hint = "transparent pixels are the region to edit; save it as PNG with an alpha channel"
        findings.problem(_problem("mask-alpha", task.place, "mask", task.mask, message, hint))


def _facts(ref: ImageRef | None, plan: Plan, decoded: Decoded) -> PictureFacts | str | None:
    """What a picture is, or what is wrong with it; None if the provider fetches it, or the plan could not read it."""
    if not isinstance(ref, LocalImage) or ref.path not in plan.digests:
        return None
    return decoded.facts(ref.path)


def _warn(place: Place, name: str, ref: ImageRef | None, facts: PictureFacts, findings: OncePerRow) -> None:
    if facts.is_cmyk:
        message, hint = f"{ref} is in CMYK: its colours may come out different", "Save it as RGB"
        findings.problem(_problem("cmyk-image", place, name, ref, message, hint, warning=True))
    if max(facts.width, facts.height) < SMALL:
        message = f"{ref} has only {facts.width}x{facts.height} pixels, little for an edit to start from"
        findings.problem(_problem("small-image", place, name, ref, message, "Use a larger original", warning=True))


def _problem(
    code: str, place: Place, field: str, ref: ImageRef | None, message: str, hint: str = "", *, warning: bool = False
) -> Problem:
    return Problem(place=place, code=code, field=field, value=str(ref), message=message, hint=hint, warning=warning)


class Decoded(Scratch):
    """The pictures that were decoded already. A context manager."""

    TABLES = """
    CREATE TABLE pictures (path BLOB PRIMARY KEY, flaw TEXT NOT NULL, format TEXT NOT NULL, width INTEGER NOT NULL,
      height INTEGER NOT NULL, is_cmyk INTEGER NOT NULL, has_alpha INTEGER NOT NULL) WITHOUT ROWID;
    """

    def facts(self, path: Path) -> PictureFacts | str:
        """What the picture at a path is, or what is wrong with it."""
        name = os.fsencode(path)
        row = self._connection.execute("SELECT * FROM pictures WHERE path = ?", (name,)).fetchone()
        if row is not None:
            _, flaw, kind, width, height, is_cmyk, has_alpha = row
            return flaw or PictureFacts(
                format=kind, width=width, height=height, is_cmyk=bool(is_cmyk), has_alpha=bool(has_alpha)
            )
        found = _decode(path)
        values = (
            (found, "", 0, 0, False, False)
            if isinstance(found, str)
            else ("", found.format, found.width, found.height, found.is_cmyk, found.has_alpha)
        )
        self._connection.execute("INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)", (name, *values))
        return found


def _decode(path: Path) -> PictureFacts | str:
    try:
        return decode(path)
    except BadPicture as problem:
        return str(problem)
    except OSError as error:
        return error.strerror or "unreadable"
