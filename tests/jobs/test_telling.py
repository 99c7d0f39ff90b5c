"""What a night that did not go as planned tells: why, and what a person has to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, Served, Shop

Cli = Callable[..., Result]
TOLD = "notify: [{via: exec, command: [sh, -c, 'cat > told.json']}]\n"


def job(shop: Shop, more: str = "") -> None:
    """Three pictures of the rehearsal."""
    shop.write("night.yaml", "version: 1\ndefaults: {prompt: grayscale, quality: low}\nsources: [{glob: 'in/*.png'}]\n")
    shop.write("job.yaml", f"job: 1\nname: night\nmanifests: [night.yaml]\n{more}{TOLD}")


def told() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(Path("told.json").read_text())
    return facts


def test_what_has_changed_is_told_with_the_command_that_buys_it(cli: Cli, shop: Shop) -> None:
    """Else each night would stop with work left, and nobody would know why. The command does what is said of it."""
    job(shop)
    assert cli("job", "run", "job.yaml").code == 0
    shop.write("night.yaml", Path("night.yaml").read_text().replace("grayscale", "mirror it"))
    result = cli("job", "run", "job.yaml")
    assert result.code == 6
    reason, command = told()["reasons"]
    assert reason == "night.yaml: 3 tasks have changed since bought, and no job buys that again"
    assert command in result.out
    assert cli(*command.split()[1:], "-y").code == 0
    assert cli("job", "run", "job.yaml").code == 0
    assert told()["reasons"] == []


def test_what_waits_for_somebody_is_told(cli: Cli, shop: Shop) -> None:
    """An edit that starts from an approved one: the night is done, and there is something to do."""
    job(shop)
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low}\nsources: [{glob: 'in/*.png'}]\nedits:\n  white: {prompt: grayscale}\n"
        "  scene: {prompt: mirror it, from: white, when: approved}\n",
    )
    assert cli("job", "run", "job.yaml").code == 0
    assert "3 tasks wait for approval" in told()["reasons"][0]


def test_a_provider_that_cannot_be_reached_is_a_failure(
    cli: Cli, shop: Shop, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 6, as work is left; but whoever wants to hear of failures does."""
    served = serve()
    limits = "{timeout: 5, concurrency: 1, max_fail: 3}"
    served.manifest(shop, limits=limits)
    manifest = Path("night.yaml").read_text()
    url = manifest.partition("base_url: ")[2].split()[0].strip("'\",}")
    shop.write("night.yaml", manifest.replace(url, "http://127.0.0.1:9"))
    shop.write(
        "job.yaml",
        f"job: 1\nmanifests: [night.yaml]\nbudget: {{night: 1}}\n{TOLD.replace('exec,', 'exec, on: [failed],')}",
    )
    result = cli("job", "run", "job.yaml")
    assert result.code == 6, result.err
    assert told()["events"] == ["failed", "limit"]


def test_a_report_without_a_ledger_says_so(cli: Cli, shop: Shop) -> None:
    """Exit code 8, and the reason is in the notice; the disk is not to blame."""
    shop.write("job.yaml", f"job: 1\ndo: report\nledgers: [out]\nreport: {{text: r.txt}}\n{TOLD}")
    result = cli("job", "run", "job.yaml")
    assert result.code == 8
    assert told()["reasons"] == ["nothing to report: there is no ledger yet"]
    job(shop)
    assert cli("job", "run", "job.yaml").code == 0
    shop.write("job.yaml", f"job: 1\ndo: report\nledgers: [out]\nreport: {{text: in}}\n{TOLD}")
    assert cli("job", "run", "job.yaml").code == 9
    assert "was not written" in told()["reasons"][0]


@pytest.mark.parametrize("broken", ["batchedit.jobs.running.write_files", "batchedit.jobs.running.plan_part"])
def test_a_bug_is_told_as_well(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Exit code 1, and that it was one, without what the error may hold of secrets."""

    def breaks(*_: object, **__: object) -> None:
        raise KeyError("https://bucket.example/a?signature=canary")

    job(shop)
    monkeypatch.setattr(broken, breaks)
    result = cli("job", "run", "job.yaml")
    assert result.code == 1
    assert told()["exit_code"] == 1
    assert told()["events"] == ["failed"]
    assert "a bug in batchedit: KeyError" in told()["reasons"][0]
    assert "canary" not in result.out + result.err + Path("told.json").read_text()


@pytest.mark.parametrize("command", ["job run job.yaml --json", "job check job.yaml", "plan night.yaml"])
def test_an_answer_that_the_disk_does_not_take(shop: Shop, command: str) -> None:
    """Exit code 9 and a sentence, no bug."""
    job(shop)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batchedit", *command.split()], cwd=shop.root, stdout=full, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True, env=os.environ, check=False,
        )  # fmt: skip
    assert done.returncode == 9
    assert "cannot be written: No space left on device" in done.stderr
    assert "bug" not in done.stderr


def test_checking_looks_where_the_key_is_and_goes(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the night: no place that gives one is a warning, an origin that it is not for a problem with its place."""
    monkeypatch.delenv("RUNFLOW_API_KEY", raising=False)
    job(shop, "budget: {night: 1}\nprovider: runflow\n")
    result = cli("job", "check", "job.yaml")
    assert result.code == 0
    assert "no place gives a key for https://api.runflow.io: the scheduler must" in result.err
    monkeypatch.setenv("BATCHEDIT_KEY_COMMAND", "pass show runflow")
    assert "no place" not in cli("job", "check", "job.yaml").err
    job(shop, "budget: {night: 1}\nprovider: {name: runflow, base_url: 'https://gateway.example'}\n")
    result = cli("job", "check", "job.yaml")
    assert result.code == 2
    assert "job.yaml:3:13: " in result.err
    assert "base_url would send it to https://gateway.example" in result.err
    monkeypatch.setenv("BATCHEDIT_KEY_ORIGIN", "https://gateway.example")
    assert cli("job", "check", "job.yaml").code == 0
