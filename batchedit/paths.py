"""
Names of output files: what a substituted value may become, what a whole path must be, when two paths are one file.

The rules of the strictest system hold on every system, so that a tree can be copied anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from batchedit.model import EXTENSIONS

MAX_COMPONENT_BYTES = 200

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789¹²³"}
)


def collision_key(path: str) -> str:
    """
    The path as a file system that folds case and width sees it: equal keys may be one file.

    NFKC, then full case folding, then NFKC again, since folding can undo the first.
    """
    folded = unicodedata.normalize("NFKC", path).casefold()
    return unicodedata.normalize("NFKC", folded)


def safe_component(value: str) -> str:
    """A value from outside as part of one path component: it can neither separate nor hide nor climb."""
    text = _FORBIDDEN.sub("-", unicodedata.normalize("NFC", value))
    text = "".join("-" if unicodedata.category(char)[0] == "C" else char for char in text)
    text = text.strip(" .\u00a0")
    text = _shortened(text, MAX_COMPONENT_BYTES - 40)
    return _shortened(f"_{text}", MAX_COMPONENT_BYTES - 40) if is_device(text) else text or "_"


def path_problem(path: str) -> str | None:
    """Why a rendered path cannot be an output, or None."""
    if path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", path):
        return "must be relative to the output folder"
    if "\\" in path:
        return "uses a backslash; write / between folders"
    parts = path.split("/")
    if parts[0].lower() == ".batchedit":
        return "may not lie in .batchedit"
    for part in parts:
        problem = _component_problem(part)
        if problem:
            return problem
    return None


def is_device(component: str) -> bool:
    """True for names that Windows keeps for devices, with any extension."""
    return component.split(".")[0].rstrip(" ").casefold() in _DEVICES


def _component_problem(part: str) -> str | None:
    if not part:
        return "has an empty folder or file name"
    if part in (".", ".."):
        return f"has the component {part!r}, which would leave its place"
    if part != part.rstrip(" .") or part != part.lstrip(" "):
        return f"has the component {part!r}, which begins or ends with a space or ends with a dot"
    if not part.isprintable() and any(unicodedata.category(char)[0] == "C" for char in part):
        return "has an invisible or control character"
    if _FORBIDDEN.search(part):
        return f"has the component {part!r} with a character that not every system allows"
    if is_device(part):
        return f"has the component {part!r}, a device name on Windows"
    if len(part.encode()) > MAX_COMPONENT_BYTES:
        return f"has a component of {len(part.encode())} bytes; at most {MAX_COMPONENT_BYTES} are safe everywhere"
    return None


def _shortened(text: str, limit: int) -> str:
    data = text.encode()
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore").rstrip(" .")


def with_extension(path: str, picture_format: str) -> str:
    """The path with the extension of the format that came, if it names another one."""
    pure = PurePosixPath(path)
    wanted = "." + EXTENSIONS[picture_format]
    suffix = pure.suffix.lower()
    if suffix == wanted or (suffix == ".jpeg" and wanted == ".jpg"):
        return path
    return str(pure.with_suffix(wanted)) if suffix in _SUFFIXES else path + wanted
