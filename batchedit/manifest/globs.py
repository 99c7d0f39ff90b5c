"""
Rows from a glob, a folder or a picture: one per picture, sorted, other files counted.

The default id is the file's stem; pictures of one stem in several folders get their path below the pattern's fixed
part instead, without extension.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import Given, shortened
from batchedit.manifest.findings import Findings, Skip
from batchedit.manifest.layers import Layer, Row

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def glob_rows(pattern: str, root: Path, shown_root: str, place: Place, findings: Findings) -> Iterator[Row]:
    """
    The pictures that match a pattern. A folder means the pictures in it, a file that file.

    Args:
        root: Folder that the pattern starts from.
        shown_root: The same as the user would type it, for places; empty for the working folder.
        place: Where the pattern stands.
    """
    fixed, matches = _matches(pattern, root)
    pictures = [match for match in matches if PurePath(match).suffix.lower() in IMAGE_SUFFIXES]
    others = len(matches) - len(pictures)
    if not pictures:
        message = f"no picture matches {shortened(pattern)!r}"
        message += f" ({others} other {'file does' if others == 1 else 'files do'})" if others else ""
        hint = "" if others else "Put a glob in quotes"
        findings.problem(Problem(place=place, code="no-match", value=pattern, message=message, hint=hint))
    elif others:
        what = "1 file is no picture" if others == 1 else f"{others} files are no pictures"
        findings.skip(Skip(place, f"{what} (png, jpg, jpeg, webp)"))
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


def _matches(pattern: str, root: Path) -> tuple[PurePath, list[str]]:
    """The pattern's fixed part, and the files that match, sorted; relative to the root, or all absolute."""
    try:
        if Path(root, pattern).is_file():
            return PurePath(pattern).parent, [str(PurePath(pattern))]
        if Path(root, pattern).is_dir():
            pattern = str(PurePath(glob.escape(pattern), "*"))
        found = glob.glob(pattern, root_dir=root, recursive=True)
        return _fixed_part(pattern), sorted({str(PurePath(name)) for name in found if Path(root, name).is_file()})
    except (OSError, ValueError):
        return PurePath(), []


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
