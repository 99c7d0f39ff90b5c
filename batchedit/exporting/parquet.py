"""A Parquet file with a row for each task: typed columns, dollars as decimals, written batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from batchedit.errors import UsageError
from batchedit.exporting.files import written
from batchedit.ledger.exports import Exports, TaskRow

_BATCH = 10_000
_TEXTS = ("variant", "place", "state", "code", "reason", "provider", "model", "quality", "size", "format", "verdict",
          "verdict_reason", "basis")  # fmt: skip


def write_parquet(reader: Exports, target: Path) -> int:
    """
    Write the file; returns how many rows it has.

    Raises:
        UsageError: if pyarrow is not installed.
        StorageError: if the disk refuses it.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "a Parquet file needs pyarrow, which is not installed", hint='pip install "batchedit[parquet]"'
        ) from None
    schema = _schema(pyarrow)
    count = 0
    with written(target) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        rows, world = reader.task_rows(), reader.world()
        while batch := [{**_values(row), "world": world} for row in islice(rows, _BATCH)]:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _schema(arrow: Any) -> Any:
    text, whole, moment = arrow.string(), arrow.int64(), arrow.timestamp("ms", tz="UTC")
    dollars = arrow.decimal128(18, 6)
    file = arrow.struct(
        [("path", text), ("sha256", text), ("width", arrow.int32()), ("height", arrow.int32()), ("bytes", whole)]
    )
    return arrow.schema(
        [
            ("slot", text), ("item_id", text), ("edit", text), ("labels", arrow.map_(text, text)),
            *((name, text) for name in _TEXTS),
            ("request_key", text), ("shared", arrow.bool_()), ("retryable", arrow.bool_()),
            ("revision", arrow.int32()), ("samples", arrow.int32()), ("attempts", arrow.int32()), ("run", whole),
            ("files", arrow.list_(file)),
            ("spent_usd", dollars), ("at_risk_usd", dollars), ("spent_microusd", whole), ("at_risk_microusd", whole),
            ("decided_at", moment), ("created_at", moment), ("changed_at", moment), ("world", text),
        ],
        metadata={"currency": "USD", "batchedit_results": "1"},
    )  # fmt: skip


def _values(row: TaskRow) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("slot", "item_id", "edit", *_TEXTS)},
        **{name: getattr(row, name) for name in ("shared", "retryable", "revision", "samples", "attempts", "run")},
        "labels": list(row.labels.items()),
        "request_key": row.key or None,
        "files": list(_files(row)),
        "spent_usd": Decimal(row.spent).scaleb(-6),
        "at_risk_usd": Decimal(row.at_risk).scaleb(-6),
        "spent_microusd": row.spent,
        "at_risk_microusd": row.at_risk,
        "decided_at": _moment(row.decided_at),
        "created_at": _moment(row.created_at),
        "changed_at": _moment(row.changed_at),
    }


def _files(row: TaskRow) -> Iterator[dict[str, Any]]:
    for file in row.files:
        yield {
            "path": file.path,
            "sha256": file.sha256,
            "width": file.width,
            "height": file.height,
            "bytes": file.size_bytes,
        }


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
