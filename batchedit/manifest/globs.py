"""
Rows from a glob, a folder or a picture: one per picture, sorted, other files counted.

The default id is the file's stem; pictures of one stem in several folders get their path below the pattern's fixed
part instead, without extension.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePath

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import Given, shortened
from batchedit.manifest.findings import Findings, Skip
from batchedit.manifest.layers import Layer, Row

_MOST_VISITS = 100
"""Of one folder, for one part of a pattern: by its own name, and through links."""
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jxl"})
_FOREIGN = "a picture of a kind that cannot be edited (save it as png, jpg, jpeg or webp)"


def glob_rows(pattern: str, root: Path, shown_root: str, place: Place, findings: Findings) -> Iterator[Row]:
    """
    The pictures that match a pattern. A folder means the pictures in it, a file that file.

    Args:
        root: Folder that the pattern starts from.
        shown_root: The same as the user would type it, for places; empty for the working folder.
        place: Where the pattern stands.
    """
    fixed, matches = _matches(pattern, root)
    pictures = [match for match in matches if _suffix(match) in IMAGE_SUFFIXES]
    others = len(matches) - len(pictures)
    if not pictures:
        message = f"no picture matches {shortened(pattern)!r}"
        message += f" ({others} other {'file does' if others == 1 else 'files do'})" if others else ""
        hint = "" if others else "Put a glob in quotes"
        findings.problem(Problem(place=place, code="no-match", value=pattern, message=message, hint=hint))
    elif others:
        _skip_others(matches, shown_root, findings)
    within = Path(root, fixed)
    stems = Counter(PurePath(picture).stem for picture in pictures)
    for picture in pictures:
        below = PurePath(picture).relative_to(fixed)
        row = Row(Place(str(PurePath(shown_root, picture))), Layer(), folder=below.parent.parts, within=within)
        row.layer.fields["image"] = Given(picture, False, row.place)
        row.below = below.with_suffix("").as_posix()
        if stems[below.stem] > 1:
            row.default_id = row.below
        yield row


def _skip_others(matches: list[str], shown_root: str, findings: Findings) -> None:
    """By name: among files that are there by chance may be photographs that somebody misses in the morning."""
    for match in matches:
        if (suffix := _suffix(match)) not in IMAGE_SUFFIXES:
            reason = _FOREIGN if suffix in _FOREIGN_SUFFIXES else "no picture (png, jpg, jpeg, webp)"
            findings.skip(Skip(Place(str(PurePath(shown_root, match))), reason))


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()


def _matches(pattern: str, root: Path) -> tuple[PurePath, list[str]]:
    """The pattern's fixed part, and the files that match, sorted; relative to the root, or all absolute."""
    try:
        if Path(root, pattern).is_file():
            return PurePath(pattern).parent, [str(PurePath(pattern))]
        if Path(root, pattern).is_dir():
            pattern = str(PurePath(glob.escape(pattern), "*"))
        return _fixed_part(pattern), sorted({str(PurePath(name)) for name in _found(pattern, root)})
    except (OSError, ValueError):
        return PurePath(), []


def _found(pattern: str, root: Path) -> Iterator[str]:
    """
    The files that match, as `glob.glob` finds them, which goes round in links that lead back for ever, and recurses.

    A folder may come from somebody else: a link to a folder that it lies in is not followed, and where many links lead
    to one folder it is gone through a few times only.
    """
    # Several ``**`` in a row mean one.
    parts = [part for part, group in groupby(pattern.split("/")) for _ in ([part] if part == "**" else group)]
    start = "/" if pattern.startswith("/") else ""
    waiting, seen, visits = [(start, 1 if start else 0)], set[tuple[str, int]](), Counter[tuple[int, int, int]]()
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        folder, at = state
        part, is_last = parts[at], at == len(parts) - 1
        if part != "**" and not glob.has_magic(part):
            path = os.path.join(folder, part)
            if is_last and os.path.isfile(os.path.join(root, path)):
                yield path
            elif not is_last and os.path.isdir(os.path.join(root, path)):
                waiting.append((path, at + 1))
            continue
        if part == "**" and not is_last:
            waiting.append((folder, at + 1))
        for entry in _entries(os.path.join(root, folder), part):
            path = os.path.join(folder, entry.name)
            if is_last and entry.is_file():
                yield path
            if (part != "**" and is_last) or not entry.is_dir() or _leads_back(entry):
                continue
            there = _identity(entry.path)
            visits[*there, at] += 1
            if visits[*there, at] <= _MOST_VISITS:
                waiting.append((path, at if part == "**" else at + 1))


def _identity(folder: str) -> tuple[int, int]:
    """Which folder it is, by whatever name; of one that has gone meanwhile there is nothing to be found."""
    try:
        found = os.stat(folder)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _entries(folder: str, part: str) -> list[os.DirEntry[str]]:
    """What a part of a pattern takes of a folder; names that begin with a dot only if it does so itself."""
    wanted = None if part == "**" else re.compile(fnmatch.translate(part)).match
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if (part.startswith(".") or not entry.name.startswith(".")) and (wanted is None or wanted(entry.name))
            ]
    except OSError:
        return []


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """True for a link to a folder that it lies in."""
    if not entry.is_symlink():
        return False
    target, here = os.path.realpath(entry.path), os.path.realpath(os.path.dirname(entry.path))
    return here == target or here.startswith(target.rstrip("/") + "/")


def _fixed_part(pattern: str) -> PurePath:
    parts = []
    for part in PurePath(pattern).parts[:-1]:
        if glob.has_magic(part):
            if glob.escape(unescaped := _unescaped(part)) != part:
                break
            part = unescaped
        parts.append(part)
    return PurePath(*parts)


def _unescaped(part: str) -> str:
    return part.replace("[[]", "[").replace("[*]", "*").replace("[?]", "?")
