"""JSON Lines: an object for each task, and the metadata of an image folder with a line for each delivered picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from batchedit.ledger.exports import Exports, FileRow, TaskRow
from batchedit.money import decimal_text

RESULTS_VERSION = 1
"""Of the objects for tasks; `results.schema.json` has their schema."""


def write_ndjson(reader: Exports, target: IO[str]) -> int:
    """Write an object for each task; returns how many."""
    world = reader.world()
    return _write(target, ({**_task(row, reader), "world": world} for row in reader.task_rows()))


def write_imagefolder(reader: Exports, target: IO[str], *, root: Path, folder: Path, approved: bool = False) -> int:
    """
    Write a line for each delivered picture, as data sets of edited pictures have it; returns how many.

    Args:
        root: The output folder.
        folder: Where the metadata lies; names of files start there.
        approved: Leave out what nobody has approved.
    """
    return _write(target, _pictures(reader, os.path.relpath(root, folder), approved=approved))


def _write(target: IO[str], objects: Iterator[dict[str, Any]]) -> int:
    count = 0
    for each in objects:
        target.write(json.dumps(each, ensure_ascii=False, separators=(",", ":")) + "\n")
        count += 1
    return count


def _task(row: TaskRow, reader: Exports) -> dict[str, Any]:
    spec = reader.spec(row.key) if row.key else {}
    return {
        "version": RESULTS_VERSION,
        "slot": row.slot,
        "id": row.item_id,
        "edit": row.edit,
        "variant": row.variant,
        "labels": row.labels,
        "status": row.state,
        "class": row.code,
        "reason": row.reason,
        "retryable": row.retryable,
        "place": row.place,
        "request": row.key or None,
        "revision": row.revision,
        "shared": row.shared,
        "provider": row.provider,
        "model": row.model or None,
        "quality": row.quality or None,
        "size": row.size or None,
        "format": row.format or None,
        "samples": row.samples,
        "prompt": spec.get("prompt"),
        "inputs": spec.get("images", []),
        "mask": spec.get("mask"),
        "files": [_file(file) for file in row.files],
        "verdict": row.verdict or None,
        "verdict_reason": row.verdict_reason,
        "decided_at": row.decided_at,
        "checks": [
            {"name": each.name, "verdict": each.verdict, "measured": each.measured, "wanted": each.wanted}
            for each in (reader.checks_of(row.slot) if row.unmet else ())
            if each.verdict != "passed"
        ],
        "attempts": row.attempts,
        "currency": "USD",
        "cost_usd": decimal_text(row.spent),
        "cost_microusd": row.spent,
        "at_risk_usd": decimal_text(row.at_risk),
        "at_risk_microusd": row.at_risk,
        "basis": row.basis,
        "run": row.run,
        "created_at": row.created_at,
        "changed_at": row.changed_at,
    }


def _file(file: FileRow) -> dict[str, Any]:
    return {
        "path": file.path,
        "sha256": file.sha256,
        "width": file.width,
        "height": file.height,
        "bytes": file.size_bytes,
    }


def _pictures(reader: Exports, below: str, *, approved: bool) -> Iterator[dict[str, Any]]:
    names = reader.label_names()
    for row in reader.task_rows():
        if not row.files or (approved and row.verdict != "approved"):
            continue
        spec: dict[str, Any] = dict(reader.spec(row.key))
        first, *others = spec["images"]
        for number, file in enumerate(row.files, start=1):
            yield {
                "file_name": os.path.normpath(os.path.join(below, file.path)).replace(os.sep, "/"),
                "source_file": first["at"],
                "source_id": first["id"],
                "references": [other["at"] for other in others],
                "mask_file": spec["mask"]["at"] if spec["mask"] else None,
                "instruction": spec["prompt"],
                "slot": row.slot,
                "sample": number,
                "samples": len(row.files),
                "sha256": file.sha256,
                "width": file.width,
                "height": file.height,
                "model": row.model,
                "quality": row.quality,
                "size": row.size,
                # All names in each line: readers that guess columns from the first lines find the same in all.
                "labels": {name: row.labels.get(name) for name in names},
                "cost_usd": decimal_text(row.spent),
                "verdict": row.verdict or None,
                "verdict_reason": row.verdict_reason,
            }
