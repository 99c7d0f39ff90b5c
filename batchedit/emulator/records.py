"""Run records as they are shown: every field of provider-api, section 5, and every output shape of section 6."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from batchedit.emulator.run import SUCCEEDED, UNFINISHED, Run
from batchedit.emulator.settings import Switches

MODEL = "openai/gpt-image-2/edit"
ORG = "0190aaaa-0000-7000-8000-000000000001"
MODEL_UUID = "0190aaaa-0000-7000-8000-000000000002"

FIELDS = (
    "id",
    "org_id",
    "flow_id",
    "model_id",
    "comfyui_workflow_id",
    "target_type",
    "target_version",
    "status_code",
    "source_code",
    "input",
    "output",
    "context",
    "duration_ms",
    "cost",
    "cost_breakdown",
    "nodes_total",
    "nodes_completed",
    "resolved_template_id",
    "batch_id",
    "client_ref",
    "jurisdiction_code",
    "flow_version_id",
    "request_id",
    "created_by",
    "created_at",
    "started_at",
    "completed_at",
    "callback_url",
    "metadata",
    "has_logs",
    "has_node_runs",
    "links",
    "failure_code",
    "failure_message",
    "failure_stage_code",
    "feedback_is_positive",
    "feedback_reason",
    "current_evaluation_summary",
    "source_chat_message_id",
    "node_runs",
    "logs",
    "flow",
)
"""Names of a run record's fields."""

_OLDER_NAMES = {"status_code": "status", "failure_stage_code": "failure_stage", "completed_at": "finished_at"}


def run_record(run: Run, *, state: str, output: Any, switches: Switches, skew_seconds: float) -> dict[str, Any]:
    """
    The record of a run.

    Args:
        state: As of now.
        output: Its pictures, None if it has none to show.
        skew_seconds: Added to every time stamp.
    """
    ended, good = state not in UNFINISHED, state in SUCCEEDED
    cost = dollars(run.cost_microusd) if good and switches.cost_reported == "yes" else None
    code, message, stage = run.failure if run.failure and ended and not good else (None, None, None)
    begun = state not in ("queued", "dispatching")
    return {
        **dict.fromkeys(FIELDS),
        "id": run.id,
        "org_id": ORG,
        "model_id": MODEL_UUID,
        "target_type": "model",
        "status_code": state,
        "source_code": "api",
        "input": run.input,
        "output": output,
        "duration_ms": round((run.finish_at - run.start_at) * 1000) if ended else None,
        "cost": cost,
        "cost_breakdown": None if cost is None else {"images": run.count, "total": cost},
        "batch_id": run.batch_id,
        "client_ref": run.client_ref,
        "request_id": f"req_{run.seq:08d}",
        "created_at": stamp(run.created_at + skew_seconds),
        "started_at": stamp(run.start_at + skew_seconds) if begun else None,
        "completed_at": stamp(run.finish_at + skew_seconds) if ended else None,
        "callback_url": run.callback_url,
        "metadata": run.metadata,
        "has_logs": False,
        "has_node_runs": False,
        "links": {"self": f"/v1/runs/{run.id}"},
        "failure_code": code,
        "failure_message": message,
        "failure_stage_code": stage,
        "node_runs": [],
        "logs": [],
    }


def renamed(record: dict[str, Any], names: str) -> dict[str, Any]:
    """A record, or a part of one, with the names that are switched on."""
    if names == "reference":
        return record
    older = {_OLDER_NAMES.get(name, name): value for name, value in record.items()}
    if "failure_code" in older:
        error = {"code": older.pop("failure_code"), "message": older.pop("failure_message", None)}
        older["error"] = error if error["code"] else None
    return older


def shaped(urls: Sequence[str], shape: str) -> Any:
    """Pictures in the shape that is switched on; those for one picture become ``outputs`` for several."""
    match shape:
        case "image_urls":
            return {"image_urls": list(urls)}
        case "images":
            return {"images": [{"url": url} for url in urls]}
        case "image" if len(urls) == 1:
            return {"image": {"url": urls[0]}}
        case "url" | "output_url" | "image_url" if len(urls) == 1:
            return {shape: urls[0]}
        case "text" if len(urls) == 1:
            return urls[0]
        case _:
            entries = [{"type": "image", "url": url} for url in urls]
            return {"outputs": entries, "seed": None, "timing": None, "nsfw_detected": None}


def sync_answer(urls: Sequence[str], shape: str) -> dict[str, Any]:
    """The synchronous form's answer: provider-api, section 8."""
    answer: dict[str, Any] = {"seed": None, "timing": None, "nsfw_detected": None}
    if shape in ("images", "both"):
        answer["images"] = [{"url": url} for url in urls]
    if shape in ("outputs", "both"):
        answer["outputs"] = [{"type": "image", "url": url} for url in urls]
    return answer


def stamp(unix: float) -> str:
    """A unix time as the API writes it: ISO 8601 with ``+00:00``."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="microseconds")


def dollars(microusd: int) -> str:
    """An amount as the API writes it: a decimal string."""
    return format(Decimal(microusd) / 1_000_000, "f")
