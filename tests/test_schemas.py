"""The published schemas: what is really written fits them, and they refuse what is not so."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from batchedit.emulator import Faults
from batchedit.grouping import GROUPINGS
from batchedit.lifecycle import State
from batchedit.model import FORMATS, QUALITIES
from tests.conftest import Result, Served, Shop
from tests.everything import write_everything

Cli = Callable[..., Result]
Serve = Callable[..., Served]


def schema(cli: Cli, form: str) -> dict[str, Any]:
    found: dict[str, Any] = cli("schema", "--of", form).json()
    return found


def objects(found: Any) -> Iterator[dict[str, Any]]:
    """All objects within a schema that describe one."""
    if isinstance(found, dict):
        if found.get("type") == "object":
            yield found
        for each in found.values():
            yield from objects(each)
    elif isinstance(found, list):
        for each in found:
            yield from objects(each)


@pytest.mark.parametrize("form", ["manifest", "report", "results"])
def test_each_is_a_valid_schema(cli: Cli, form: str) -> None:
    """Of the draft that it names."""
    Draft202012Validator.check_schema(schema(cli, form))


@pytest.mark.parametrize("form", ["report", "results"])
def test_they_leave_nothing_open(cli: Cli, form: str) -> None:
    """An object has a list of its names, or a schema for whatever it holds."""
    for each in objects(schema(cli, form)):
        assert each.get("additionalProperties") is not None, each


def test_words_are_those_of_the_program(cli: Cli) -> None:
    """States, qualities and formats; a new one must not be forgotten."""
    results, report = schema(cli, "results"), schema(cli, "report")
    assert results["properties"]["status"]["enum"] == [*map(str, State), "waiting"]
    assert results["properties"]["quality"]["anyOf"][0]["enum"] == list(QUALITIES)
    assert results["properties"]["format"]["anyOf"][0]["enum"] == list(FORMATS)
    assert report["properties"]["tasks"]["propertyNames"]["enum"] == [*map(str, State)]


def validate(cli: Cli, ledger: Path | str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Both forms of a ledger against their schemas."""
    report = cli("report", ledger, "--json", "--by", ",".join(("client", *GROUPINGS)), "--invoice", "1.5").json()
    Draft202012Validator(schema(cli, "report")).validate(report)
    Draft202012Validator(schema(cli, "report")).validate(cli("report", ledger, "--json").json())
    lines = [json.loads(line) for line in cli("export", "ndjson", ledger).out.splitlines()]
    validator = Draft202012Validator(schema(cli, "results"))
    for line in lines:
        validator.validate(line)
    return report, lines


def test_a_run_with_faults_fits(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Moderation and damaged pictures; references, samples and tasks that wait for approval."""
    served = serve(Faults(failed_moderation=0.4, output_corrupt=0.3))
    items = "".join(
        f"  - {{id: i{n}, image: in/mug.png, n: {n % 2 + 1}, references: in/lamp.png, vars: {{w: w{n}}}, labels: {{client: c{n % 3}}}}}\n"
        for n in range(12)
    )
    served.manifest(
        shop,
        rows="edits:\n  white: {prompt: 'white {{ w }}'}\n  warm: {prompt: warmer, from: white, when: approved}\nitems:\n"
        + items,
        defaults="{quality: low, output: '{{ edit }}/{{ id }}_{{ sample }}.{{ ext }}'}",
    )
    ended = cli("run", "night.yaml", "--yes", "--no-input")
    assert ended.code == 3, ended.err
    report, lines = validate(cli, "out")
    assert report["not_done"]
    assert {line["status"] for line in lines} >= {"done", "failed", "waiting"}
    assert all(len(line["inputs"]) == 2 for line in lines if line["edit"] == "white")


def test_every_outcome_fits(cli: Cli, tmp_path: Path) -> None:
    """Drawn ledgers with all states, bases and verdicts."""
    _, lines = validate(cli, write_everything(tmp_path / "ledger.db"))
    assert {line["status"] for line in lines} == {*map(str, State)}


@pytest.mark.parametrize(
    "change",
    [
        {"cost_usd": 0.133}, {"cost_usd": "0,133"}, {"status": "finished"}, {"more": 1}, {"version": 2},
        {"created_at": "yesterday"}, {"request": "abc"}, {"basis": "guessed"}, {"verdict": "fine"},
    ],
)  # fmt: skip
def test_what_is_not_so_is_refused(cli: Cli, tmp_path: Path, change: dict[str, Any]) -> None:
    """The schema says something."""
    line = json.loads(cli("export", "ndjson", write_everything(tmp_path / "ledger.db")).out.splitlines()[0])
    validator = Draft202012Validator(schema(cli, "results"))
    assert validator.is_valid(line)
    assert not validator.is_valid({**line, **change})


def test_each_name_is_needed(cli: Cli, shop: Shop, jobs: Path) -> None:
    """A report that lacks a name, at the top or in its money, does not fit."""
    cli("run", jobs)
    report = cli("report", "out", "--json").json()
    validator = Draft202012Validator(schema(cli, "report"))
    for name in report:
        assert not validator.is_valid({key: value for key, value in report.items() if key != name}), name
    for name in report["total"]:
        changed = copy.deepcopy(report)
        del changed["total"][name]
        assert not validator.is_valid(changed), name
