"""
The process that reads a Parquet file: what such a file asks for can be a million times its size, and nothing in its
metadata needs to be true, so that it is unfolded where memory is limited.

The file is standard input. Standard output has messages, each a length of four bytes and a value of `marshal`:

    ("columns", names, holds_nested)    ("rows", values of each row)    ("refused", code, what is wrong)    ("end",)
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

HEAD = struct.Struct(">I")
MEMORY_BYTES = 1024**3
"""So much may be asked for at once, beyond what the reader itself takes."""
LONGEST_ROW = 8 * 1024 * 1024
"""Bytes of all values of a row, as in a line of CSV."""
MOST_ROWS = 50_000_000
MOST_COLUMNS = 100_000
_FREE_ROWS, _FREE_VALUES, _FREE_TEXT = 2_000_000, 50_000_000, 1024**3
_VALUES_A_BYTE, _TEXT_A_BYTE = 10, 100
"""
Each row, value and byte of text costs time, and a few kilobytes of a file can stand for any number of equal ones. So
many are free: what real tables have, folded as well as can be. Beyond that the file must have a byte for each row, and
for so many values and so much text.
"""
_BATCH = 1000
_MESSAGE_BYTES = 1024 * 1024
_LARGEST_PART = 2**32


class _Refused(Exception):
    """Its arguments are a problem's code and message."""


def main() -> None:
    """Read the file that is standard input, until it ends or nobody wants more."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get among the messages
    try:
        for message in _messages():
            _send(channel, message)
        _send(channel, ("end",))
        channel.flush()
    except BrokenPipeError:
        os._exit(0)


def _send(channel: BinaryIO, message: tuple[Any, ...]) -> None:
    data = marshal.dumps(message)
    channel.write(HEAD.pack(len(data)) + data)


def _messages() -> Iterator[tuple[Any, ...]]:
    import pyarrow as arrow
    from pyarrow import parquet

    _limit_memory()
    try:
        with os.fdopen(0, "rb", closefd=False) as opened, parquet.ParquetFile(opened, pre_buffer=False) as file:
            yield from _read(arrow, file, _bytes_on_disk())
    except _Refused as refused:
        yield ("refused", *refused.args)
    except (MemoryError, RecursionError):  # Arrow's own error of memory is one
        yield ("refused", "parquet-size", f"asks for more than {MEMORY_BYTES // 1024**3} GB of memory at once")
    except UnicodeDecodeError:
        yield ("refused", "encoding", "holds text that is not UTF-8")
    except arrow.ArrowException as error:
        yield ("refused", "parquet-syntax", str(error))
    except OSError as error:
        yield ("refused", "unreadable", f"cannot be read: {error.strerror or error}")


def _bytes_on_disk() -> int:
    """Of the file: one with holes is larger than what it holds."""
    found = os.fstat(0)
    return min(found.st_size, found.st_blocks * 512) if found.st_blocks else found.st_size


def _read(arrow: Any, file: Any, file_bytes: int) -> Iterator[tuple[Any, ...]]:
    _look_at_sizes(file.metadata, file_bytes)
    names = tuple(str(name) for name in file.schema_arrow.names)
    kinds = [field.type for field in file.schema_arrow]
    yield ("columns", names, any(arrow.types.is_nested(kind) or _is_binary(arrow, kind) for kind in kinds))
    number, rows, size, left = 0, [], 0, _FREE_TEXT + _TEXT_A_BYTE * file_bytes
    for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
        columns = [_texts(arrow, column) for column in batch.columns]
        for values in zip(*columns, strict=True) if columns else [()] * batch.num_rows:
            number += 1
            taken = _size(values)
            if taken > LONGEST_ROW:
                raise _Refused("parquet-size", f"row {number} has more than {LONGEST_ROW} characters")
            left -= taken
            if left < 0:
                raise _Refused("parquet-size", f"unfolds to much more text than a file of {file_bytes} bytes may")
            rows.append(values)
            size += taken
            if size > _MESSAGE_BYTES:
                yield ("rows", rows)
                rows, size = [], 0
        if rows:
            yield ("rows", rows)
            rows, size = [], 0


def _look_at_sizes(metadata: Any, file_bytes: int) -> None:
    """Refuse what says of itself that it is too large, with the place where it does."""
    values = metadata.num_rows * metadata.num_columns
    if metadata.num_rows > MOST_ROWS:
        raise _Refused("parquet-size", f"has {metadata.num_rows} rows; at most {MOST_ROWS} are read")
    if metadata.num_columns > MOST_COLUMNS:
        raise _Refused("parquet-size", f"has {metadata.num_columns} columns; at most {MOST_COLUMNS} are read")
    if metadata.num_rows > _FREE_ROWS + file_bytes or values > _FREE_VALUES + _VALUES_A_BYTE * file_bytes:
        shape = f"{metadata.num_rows} rows of {metadata.num_columns} columns"
        raise _Refused("parquet-size", f"has {shape} in {file_bytes} bytes, which no table of pictures needs")
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for at in range(group.num_columns):
            part = group.column(at)
            if part.total_uncompressed_size > _LARGEST_PART:
                message = f"row group {number + 1}, column {at + 1} unfolds to {part.total_uncompressed_size} bytes"
                raise _Refused("parquet-size", f"{message}; at most {_LARGEST_PART} are read")


def _size(value: Any) -> int:
    """How much a value takes on its way, about; every value counts, so that empty ones do too."""
    if isinstance(value, (str, bytes)):
        return len(value) + 1
    if isinstance(value, dict):
        return 1 + sum(len(name) + 1 + _size(entry) for name, entry in value.items())
    if isinstance(value, (list, tuple)):
        return 1 + sum(map(_size, value))
    return 1


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


def _limit_memory() -> None:
    """Linux: from now on there is only so much more."""
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = now + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
