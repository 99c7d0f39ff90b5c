"""
The manifest's vocabulary as a JSON Schema (draft 2020-12), for editors that complete and check while one types.

It knows keys, words and numbers. What depends on rows, files, templates or the ledger only `check` can tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from batchedit.manifest.vocabulary import (
    TOP_KEYS,
    Choice,
    Flag,
    Keys,
    ListOf,
    MapOf,
    Money,
    Number,
    Text,
    Value,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "batchedit manifest, version 1"
_WHOLE = "[0-9]{1,9}"
_DECIMAL = r"[0-9]{1,9}(\.[0-9]{1,6})?"


def manifest_schema() -> Mapping[str, Any]:
    """The schema of a YAML manifest of version 1."""
    return {
        "$schema": DIALECT,
        "title": TITLE,
        **value_schema(TOP_KEYS),
    }


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


def is_schema(text: str) -> bool:
    """True for a schema of manifests, of whatever program version."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("title") == TITLE


@singledispatch
def value_schema(value: object) -> dict[str, Any]:
    """The schema of one value of the vocabulary, if there is one."""
    raise TypeError(value)


@value_schema.register
def _(value: Text) -> dict[str, Any]:
    scalar: dict[str, Any] = {"type": ["string", "number", "boolean"]}
    return {**scalar, "pattern": f"^(?:{value.pattern})$"} if value.pattern else scalar


@value_schema.register
def _(value: Choice) -> dict[str, Any]:
    return {"enum": [*value.words]}


@value_schema.register
def _(_: Flag) -> dict[str, Any]:
    return {"enum": [True, False, 1, 0, "true", "false", "yes", "no", "on", "off", "1", "0"]}


@value_schema.register
def _(value: Number) -> dict[str, Any]:
    positive = "(?!0*(\\.0*)?$)" if value.least else ""
    number: dict[str, Any] = {"type": "integer", "minimum": value.least}
    if not value.whole:
        number = {"type": "number", "exclusiveMinimum" if value.least else "minimum": 0}
    written: dict[str, Any] = {"type": "string", "pattern": f"^{positive}(?:{_WHOLE if value.whole else _DECIMAL})$"}
    if value.most is not None:
        number["maximum"] = value.most
        written = {"enum": [str(each) for each in range(value.least, value.most + 1)]}
    words = [{"enum": [*value.words]}] if value.words else []
    return {"anyOf": [number, written, *words]}


@value_schema.register
def _(_: Money) -> dict[str, Any]:
    return {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1_000_000_000},
            {"type": "string", "pattern": r"^\s*\$?[0-9_]*\.?[0-9_]+(?:[eE][+-]?[0-9]+)?\s*$"},
        ]
    }


@value_schema.register
def _(value: ListOf) -> dict[str, Any]:
    one = value_schema(value.value)
    several = {"type": "array", "items": _or_nothing(one) if isinstance(value.value, Text) else one}
    return {"anyOf": [one, several]} if value.or_one else several


@value_schema.register
def _(value: MapOf) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": _optional(value.value)}
    return {**schema, "propertyNames": {"pattern": f"^(?:{value.names})$"}} if value.names else schema


@value_schema.register
def _(value: Keys) -> dict[str, Any]:
    properties = {
        key.name: {
            "description": key.means,
            "examples": [key.example],
            **(value_schema(key.value) if key.name in value.required else _optional(key.value)),
        }
        for key in value.keys
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if value.required:
        schema["required"] = [*value.required]
    return {"anyOf": [value_schema(value.instead), schema]} if value.instead is not None else schema


def _optional(value: Value) -> dict[str, Any]:
    """The schema of a value that may be left out after its key, where that means "not given"."""
    match value:
        case Money() | Number(optional=False) | Keys(required=(_, *_)):
            return value_schema(value)
        case _:
            return _or_nothing(value_schema(value))


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    return (
        {"anyOf": [*schema["anyOf"], {"type": "null"}]} if "anyOf" in schema else {"anyOf": [schema, {"type": "null"}]}
    )
