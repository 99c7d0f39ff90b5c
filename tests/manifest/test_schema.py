"""The JSON Schema and the reader have one vocabulary, and agree on what is right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from batchedit.errors import ManifestError
from batchedit.manifest import Findings, load_manifest
from batchedit.manifest.schema import manifest_schema, value_schema
from batchedit.manifest.vocabulary import TOP_KEYS, Key, Keys, ListOf, MapOf, Value
from batchedit.manifest.yaml_tree import Node, parse_yaml
from tests.conftest import Result
from tests.manifest.conftest import Folder
from tests.manifest.test_wrong import YAML

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "manifests").glob("*.yaml"))
SHAPE = {
    "unknown-key", "wrong-type", "no-version", "version", "bad-quality", "bad-format", "bad-n", "bad-sync_mode",
    "bad-enabled", "bad-limit", "bad-budget", "bad-provider",
}  # fmt: skip
"""What can be told from keys, words and numbers alone."""
VALIDATOR = Draft202012Validator(dict(manifest_schema()))


def as_written(node: Node) -> Any:
    """A document with every scalar as the text that it is."""
    if isinstance(node.value, dict):
        return {key: as_written(child) for key, (_, child) in node.value.items()}
    if isinstance(node.value, list):
        return [as_written(child) for child in node.value]
    return node.value


def refused(text: str) -> list[str]:
    """What the schema has against a manifest whose scalars are text."""
    return [error.json_path for error in VALIDATOR.iter_errors(as_written(parse_yaml(text, "m.yaml")))]


def test_it_is_a_schema() -> None:
    """Of the draft that it says it is of."""
    Draft202012Validator.check_schema(dict(manifest_schema()))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_pass(path: Path) -> None:
    """As an editor reads them, with numbers and flags, and as we do."""
    text = path.read_text("utf-8")
    instance = yaml.safe_load(text)
    if path.name.endswith(".defaults.yaml"):
        instance.setdefault("version", 1)
    assert not list(VALIDATOR.iter_errors(instance))
    assert not refused(text)


@pytest.mark.parametrize("name", YAML)
def test_the_schema_agrees_about_what_is_wrong(folder: Folder, name: str) -> None:
    """What it refuses the reader refuses; and it refuses whatever is wrong in keys, words and numbers."""
    text, _ = YAML[name]
    folder.write("m.yaml", text)
    findings = Findings()
    try:
        list(load_manifest("m.yaml").tasks(findings))
        codes = set(findings.counts)
        parse_yaml(text, "m.yaml")
    except ManifestError as error:
        codes = {problem.code for problem in error.problems}
        if any(code.startswith("yaml-") or code in ("duplicate-key", "key-in-manifest") for code in codes):
            return  # no document at all
    if refused(text):
        assert codes
    else:
        assert not codes & SHAPE


def keys_in(value: Value, path: str = "") -> Iterator[tuple[str, Key]]:
    """Every key, however deep."""
    match value:
        case Keys():
            for key in value.keys:
                yield f"{path}.{key.name}", key
                yield from keys_in(key.value, f"{path}.{key.name}")
        case ListOf() | MapOf():
            yield from keys_in(value.value, path)
        case _:
            return


@pytest.mark.parametrize(
    ("path", "key"), [*keys_in(TOP_KEYS)], ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_key_has_an_example_that_passes(path: str, key: Key) -> None:
    """And says what it means."""
    assert len(key.means) > 5
    Draft202012Validator(value_schema(key.value)).validate(key.example)


@pytest.mark.parametrize("name", sorted({key.name for _, key in keys_in(TOP_KEYS)}))
def test_the_manual_tells_of_each_key(name: str) -> None:
    """In docs/manifest.md."""
    assert re.search(rf"`{name}\b|\b{name}: ", (ROOT / "docs" / "manifest.md").read_text("utf-8"))


def test_the_command_prints_it(cli: Callable[..., Result]) -> None:
    """For an editor to be pointed at."""
    result = cli("schema")
    assert result.code == 0
    assert json.loads(result.out) == json.loads(json.dumps(manifest_schema()))
