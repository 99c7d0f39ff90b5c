"""Where the pictures of a task go: the written output template, or the default one."""

from __future__ import annotations

import re
import unicodedata

from batchedit.errors import Place
from batchedit.manifest.fields import Given, shortened
from batchedit.manifest.rendering import Renderer
from batchedit.model import EXTENSIONS, Params
from batchedit.paths import path_problem, safe_component

_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|webp|gif|tiff?|bmp|avif|heic)$", re.IGNORECASE)


def written_outputs(given: Given, params: Params, renderer: Renderer) -> tuple[str, ...]:
    """
    The paths that an output template, or an output cell, asks for; one per sample.

    Raises:
        Refused: if one is unsafe, contradicts the format, or is that of two samples.
    """
    paths = []
    written = _IMAGE_SUFFIX.search(given.single.strip())
    for sample in range(1, params.samples + 1):
        renderer.names["sample"] = sample
        text = renderer.text(given, "output", path=True)
        if not text:
            renderer.wrong(given.place, "bad-output", "output", given.single, "the output is empty")
        if written is not None and _extension(written[1]) != EXTENSIONS[params.format]:
            problem = path_problem(text)
            message = f"the output ends in .{written[1]}, the format is {params.format}"
            if problem is None:
                renderer.wrong(given.place, "output-extension", "output", text, message,
                               "Write {{ ext }}, or set format")  # fmt: skip
        paths.append(_checked(text, given.place, params, renderer))
    if len(set(paths)) < len(paths):
        message = f"the {params.samples} pictures of a task would have one name"
        renderer.wrong(given.place, "no-sample", "output", given.single, message,
                       "Add {{ sample }} to the output template")  # fmt: skip
    return tuple(paths)


def default_outputs(
    place: Place, params: Params, renderer: Renderer, *, folders: tuple[str, ...], edits: bool, variants: bool
) -> tuple[str, ...]:
    """
    The paths without an output template: named after the picture, so that what goes out can be joined to what came in.

    Args:
        place: The row's, for problems.
        folders: Input folders to mirror.
        edits: True if there are several edits, which get a folder each.
        variants: True if the edit has variants, which get a suffix each.

    Raises:
        Refused: if the name is too long.
    """
    names = renderer.names
    parts = [safe_component(folder) for folder in folders]
    if edits:
        parts.insert(0, str(names["edit"]))
    stem = safe_component(str(names["stem"]))
    stem += f"_{names['variant']}" if variants else ""
    paths = []
    for sample in range(1, params.samples + 1):
        name = f"{stem}_{sample}" if params.samples > 1 else stem
        paths.append(_checked("/".join([*parts, f"{name}.{names['ext']}"]), place, params, renderer))
    return tuple(paths)


def _checked(text: str, place: Place, params: Params, renderer: Renderer) -> str:
    path = unicodedata.normalize("NFC", text)
    extension = EXTENSIONS[params.format]
    found = _IMAGE_SUFFIX.search(path)
    if path_problem(path) is None and (found is None or _extension(found[1]) != extension):
        path = f"{path}.{extension}"
    problem = path_problem(path)
    if problem is not None:
        renderer.wrong(place, "bad-output", "output", path, f"the output {shortened(path)!r} {problem}")
    return path


def _extension(suffix: str) -> str:
    return suffix.lower().replace("jpeg", "jpg")
