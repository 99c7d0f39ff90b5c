"""Rows from a list of https URLs: a text file with one a line, or a list in the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import Given, key_problem, looks_like_a_key
from batchedit.manifest.findings import Collector
from batchedit.manifest.layers import Layer, Row
from batchedit.manifest.refs import is_url, shown_url, stem_of, url_problem
from batchedit.manifest.rows import LineTooLong, lines_of, marked_encoding, wrong_encoding
from batchedit.manifest.seen import Pictures


def listed_urls(path: Path, shown: str, findings: Collector, encoding: str = "") -> Iterator[Given]:
    """
    The URLs of a text file, one a line; blank lines and lines that begin with ``#`` are left out.

    Args:
        shown: The path as the user would type it, for messages.
        encoding: Empty to tell it from the file's mark.

    Raises:
        ManifestError: if it cannot be read.
    """
    number = 0
    try:
        with path.open(encoding=encoding or marked_encoding(path)) as file:
            for number, line in enumerate(lines_of(file), start=1):
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                place = Place(shown, number)
                if looks_like_a_key(text):
                    findings.problem(key_problem(place, "", cell=True))
                else:
                    yield Given(text, False, place)
    except LineTooLong as error:
        message = f"{error}: it is no list of URLs"
        raise ManifestError([Problem(place=Place(shown, number + 1), code="bad-url", message=message)]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ManifestError([Problem(place=Place(shown), code="unreadable", message=message)]) from None
    except UnicodeError:
        raise wrong_encoding(shown, encoding) from None


def url_rows(first: Iterable[Given], again: Iterable[Given], findings: Collector) -> Iterator[Row]:
    """
    A row for each URL.

    The default id is the name of the file; files of one name get the host and the path instead, without extension.

    Args:
        first: The URLs, to learn which names are shared.
        again: The same once more, to make the rows.
    """
    with Pictures() as pictures:
        for given in first:
            pictures.add(shown_url(given.single), stem_of(given.single))
        for given in again:
            text = given.single
            problem = url_problem(text) if is_url(text) else "is no URL; each line is one https URL"
            if problem is not None:
                message = f"{shown_url(text)!r} {problem}"
                findings.problem(
                    Problem(place=given.place, code="bad-url", field="urls", value=shown_url(text), message=message)
                )
                continue
            row = Row(given.place, Layer({"image": given}), {"url": shown_url(text)})
            row.below = _without_suffix(unquote(urlsplit(text).path).strip("/"))
            if pictures.is_shared(stem_of(text)):
                row.default_id = f"{urlsplit(text).hostname}/{row.below}"
            yield row


def _without_suffix(path: str) -> str:
    folder, _, name = path.rpartition("/")
    stem = stem_of(name)
    return f"{folder}/{stem}" if folder else stem
