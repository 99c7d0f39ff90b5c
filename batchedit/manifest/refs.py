"""What a picture may be named: a file that is there, or an https URL without a password."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from batchedit.manifest.fields import is_unicode


def is_url(text: str) -> bool:
    """True for what is meant as a URL, allowed or not."""
    return "://" in text or text.lower().startswith(("data:", "file:", "http:", "https:"))


def stem_of(text: str) -> str:
    """The file name of a path or URL without its extension."""
    name = text
    if is_url(text):
        try:
            name = unquote(urlsplit(text).path)
        except ValueError:
            name = ""
    return PurePosixPath(name.replace("\\", "/")).stem


def shown_url(url: str) -> str:
    """A URL for a message: without query, fragment, user name and password, not too long."""
    plain = url.split("?", 1)[0].split("#", 1)[0]
    scheme, mark, rest = plain.partition("://")
    if mark:
        host, slash, path = rest.partition("/")
        plain = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    elif "," in plain:
        plain = plain.split(",", 1)[0] + ",..."
    return plain if len(plain) <= 200 else plain[:197] + "..."


def url_problem(url: str) -> str | None:
    """Why the provider should not be sent this URL, or None."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme.lower() != "https":
        return "must be an https URL or a path"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or a password"
    if " " in url or not url.isprintable():  # every other space counts as not printable
        return "has a space or a control character; write %20 for a space"
    return None if host else "names no host"


def file_problem(path: Path) -> str | None:
    """Why this file cannot be a picture, as far as can be told without opening it, or None."""
    if not is_unicode(str(path)):
        return "has a name that is not valid UTF-8; rename it"
    try:
        if path.is_dir():
            return "is a folder"
        if not path.exists():
            return "does not exist"
        if not path.is_file():
            return "is not a regular file"
        if path.stat().st_size == 0:
            return "is empty"
        return None if os.access(path, os.R_OK) else "may not be read"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "is not a path"
