"""The vocabulary of job files as a JSON Schema (draft 2020-12), as for manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batchedit.jobs.vocabulary import JOB_KEYS
from batchedit.manifest.schema import DIALECT, value_schema

TITLE = "batchedit job, version 1"


def job_schema() -> Mapping[str, Any]:
    """The schema of a job file of version 1."""
    return {"$schema": DIALECT, "title": TITLE, **value_schema(JOB_KEYS)}


def job_schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(job_schema(), indent=2, ensure_ascii=False) + "\n"
