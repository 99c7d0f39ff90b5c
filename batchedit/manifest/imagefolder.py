"""
Rows of an image folder, as Hugging Face's data sets have it: pictures, and beside them `metadata.csv`,
`metadata.jsonl` or `metadata.parquet` whose column `file_name` names them. Sub-folders may have metadata of their own.

A picture that no row names is said, and a row whose picture is not there is a problem like any missing picture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.findings import Findings, Skip
from batchedit.manifest.globs import IMAGE_SUFFIXES
from batchedit.manifest.layers import Row
from batchedit.manifest.seen import Pictures

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def imagefolder_rows(
    folder: Path,
    shown: str,
    place: Place,
    findings: Findings,
    table: Callable[[Path, str], Iterator[Row]],
) -> Iterator[Row]:
    """
    The rows of all metadata in a folder.

    Args:
        shown: The folder as the user would type it.
        place: Where it is named.
        table: Makes the rows of one table; called with its path, and the same as the user would type it.

    Raises:
        ManifestError: if there is no such folder, or nothing in it that says what its pictures are.
    """
    with Pictures() as pictures:
        tables = _survey(folder, pictures)
        if not tables:
            what = "has no metadata.csv, metadata.jsonl or metadata.parquet" if folder.is_dir() else "is no folder"
            hint = "For pictures without metadata write glob instead" if folder.is_dir() else ""
            message = f"{shown} {what}"
            raise ManifestError(
                [Problem(place=place, code="no-metadata", field="imagefolder", message=message, hint=hint)]
            )
        for name in tables:
            below = PurePosixPath(name).parent
            for row in table(folder / name, str(PurePath(shown, name))):
                given = row.layer.fields.get("image")
                if given is not None and not given.refused:
                    path = PurePosixPath(os.path.normpath(below / given.single.replace("\\", "/")))
                    pictures.name(str(path))
                    row.folder = path.parent.parts
                    row.below = str(path.with_suffix("")) if path.name else ""
                    if pictures.is_shared(path.stem):
                        row.default_id = row.below
                row.within = folder
                yield row
        for picture in pictures.unnamed():
            findings.skip(Skip(Place(str(PurePath(shown, picture))), "no row of the metadata names it"))


def _survey(folder: Path, pictures: Pictures) -> list[str]:
    """The metadata of a folder and those below it, relative and sorted; its pictures are noted."""
    tables = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = PurePosixPath(os.path.relpath(base, folder).replace(os.sep, "/"))
        found = [name for name in METADATA if name in names]
        tables += [str(below / name) for name in found[:1]]
        for name in names:
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                pictures.add(str(below / name), PurePosixPath(name).stem)
    return tables
