"""
Records of Parquet files, read batch by batch with pyarrow, which is an extra.

Numbers and times become the text that Arrow writes for them; lists and objects are taken where a field takes them, as
in JSON Lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.fields import key_problem, looks_like_a_key, shortened
from batchedit.manifest.findings import Collector
from batchedit.manifest.finishing import FINISHES
from batchedit.manifest.jsonl import object_record
from batchedit.manifest.layers import Record

_BATCH = 1000
_OBJECTS = ("labels", "vars")
_ALSO_OBJECTS = (*FINISHES, "references", "tags")
_INSTALL = 'Install it with: pip install "batchedit[parquet]"'


def parquet_records(
    path: Path, shown: str, findings: Collector, header: Callable[[tuple[str, ...], Place], None]
) -> Iterator[Record]:
    """
    The records of a Parquet file. The line of a record is its number, starting at 1.

    Args:
        shown: The path as the user would type it, for messages.
        header: Is told the columns before the first record comes.

    Raises:
        ManifestError: if it cannot be read, or pyarrow is not installed.
    """
    arrow, parquet = _pyarrow(shown)
    try:
        with path.open("rb") as opened, parquet.ParquetFile(opened) as file:
            names = tuple(str(name) for name in file.schema_arrow.names)
            _check(names, shown, findings)
            header(tuple(name for name in names if name not in _OBJECTS), Place(shown))
            kinds = [field.type for field in file.schema_arrow]
            nested = any(name in (*_OBJECTS, *_ALSO_OBJECTS) for name in names) or any(
                arrow.types.is_nested(kind) or _is_binary(arrow, kind) for kind in kinds
            )
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                columns = [_texts(arrow, column) for column in batch.columns]
                for values in zip(*columns, strict=True):
                    number += 1
                    place = Place(shown, number)
                    if not nested:
                        yield Record(place, names, list(values))
                        continue
                    data = {name: value or None for name, value in zip(names, values, strict=True)}
                    record = object_record(data, place, findings)
                    if record is not None:
                        yield record
    except OSError as error:
        raise _refuse(
            shown, "unreadable", f"cannot be read: {error.strerror or shortened(' '.join(str(error).split()))}"
        ) from None
    except UnicodeDecodeError:
        raise _refuse(shown, "encoding", "holds text that is not UTF-8") from None
    except arrow.ArrowException as error:
        detail = shortened(" ".join(str(error).split())).rstrip(".")
        raise _refuse(shown, "parquet-syntax", f"is not valid Parquet: {detail}") from None


def parquet_columns(path: Path, shown: str) -> tuple[str, ...]:
    """
    The columns of a Parquet file.

    Raises:
        ManifestError: as `parquet_records`.
    """
    found: list[str] = []
    for _ in parquet_records(path, shown, _Silent(), lambda names, place: found.extend(names)):
        break
    return tuple(found)


class _Silent:
    """A collector that keeps nothing."""

    def problem(self, problem: Problem) -> None:
        """Forget it."""


def _check(names: tuple[str, ...], shown: str, findings: Collector) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _refuse(shown, "duplicate-column", f"has the column {shortened(twice)!r} twice")
    if any(looks_like_a_key(name) for name in names):
        findings.problem(key_problem(Place(shown), "", cell=True))


def _texts(arrow: Any, column: Any) -> list[Any]:
    """The values of a column as texts, empty for null; lists and dicts of texts for nested ones."""
    types, kind = arrow.types, column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if types.is_nested(kind):
        return [_plain(value) for value in column.to_pylist()]
    if types.is_null(kind):
        return [""] * len(column)
    if _is_binary(arrow, kind):
        return list(column.to_pylist())
    if not (types.is_string(kind) or types.is_large_string(kind)):
        column = column.cast(arrow.string())
    missing = ("nan",) if types.is_floating(kind) else ()
    return ["" if text is None or text in missing else text for text in column.to_pylist()]


def _is_binary(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _plain(value: Any) -> Any:
    """A nested value with texts at its ends, as the reader of JSON Lines has them."""
    if isinstance(value, list):
        # A map's entries are pairs.
        if value and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value):
            return {str(key): _plain(entry) for key, entry in value}
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value if value is None or isinstance(value, (str, bool, bytes)) else str(value)


def _pyarrow(shown: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise _refuse(
            shown, "no-pyarrow", "Parquet files are read with pyarrow, which is not installed", _INSTALL
        ) from None
    return pyarrow, parquet


def _refuse(shown: str, code: str, message: str, hint: str = "") -> ManifestError:
    return ManifestError([Problem(place=Place(shown), code=code, message=message, hint=hint)])
