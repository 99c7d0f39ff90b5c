"""The commands `doctor` and `auth`: is everything there, and does the key work? Neither buys."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchedit.cli.carrying import behaviour_for
from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, NO_INPUT
from batchedit.cli.voice import say
from batchedit.errors import UsageError

if TYPE_CHECKING:
    from batchedit.diagnosis import Finding
    from batchedit.planned import Plan

_PROVIDER = click.option("--provider", help="runflow or rehearsal.")


def _outlines(manifest: str | None, provider: str | None, out: str, ledger: str | None) -> list[Plan]:
    """What would be run: a manifest, each one of a job, or nothing in particular."""
    from batchedit.jobs.parts import adapted
    from batchedit.jobs.reading import is_job, load_job
    from batchedit.manifest import Overrides, load_manifest
    from batchedit.planner import outline

    if manifest is not None and is_job(Path(manifest)):
        if provider is not None or ledger is not None:
            raise UsageError("a job says itself what its provider and its ledgers are", hint="leave the flags away")
        job = load_job(manifest)
        plans = [outline(adapted(job, part), out=part.out, rehearse=job.rehearse) for part in job.parts]
        if not plans:
            raise UsageError(f"{manifest} runs no manifest, so that there is nothing to look at")
        return plans
    if manifest is not None:
        # Which tasks there are does not matter, so neither does what their prompt is.
        return [outline(load_manifest(manifest, overrides=Overrides(provider=provider)), out=out, ledger=ledger)]
    here = load_manifest(".", overrides=Overrides(prompt="any prompt", provider=provider))
    return [outline(here, out=out, ledger=ledger)]


@cli.command()
@click.argument("manifest", required=False)
@click.option("--out", default="out", show_default=True, help="Folder for the pictures and the ledger.")
@click.option("--ledger", help="The ledger's file, if it lies elsewhere.")
@_PROVIDER
@click.option("--offline", is_flag=True, help="Do not ask the provider.")
@NO_INPUT
@JSON
@DEBUG
def doctor(manifest: str | None, out: str, ledger: str | None, provider: str | None, offline: bool,
           no_input: bool | None, as_json: bool, debug: bool) -> int:  # fmt: skip
    """
    Look whether all is there that a night with MANIFEST, or a job, needs, for free.

    SQLite, disk, file system, ledger, prices, key, account, balance, clock, model. Each line is ok, warn or fail, with
    what to do. Exit code 0 if nothing fails; else what a run would end in.

    \b
      batchedit doctor night.yaml
      batchedit doctor jobs/nightly-catalog.yaml
      batchedit doctor --provider runflow --json
    """
    from batchedit.diagnosis import diagnose

    found: list[Finding] = []
    for plan in _outlines(manifest, provider, out, ledger):
        behaviour = behaviour_for(plan, no_input=no_input)
        found += diagnose(plan, behaviour.run_options(), environment=os.environ, online=not offline)
    return _say(found, as_json)


@cli.group()
def auth() -> None:
    """The key: whether it works. Where it is looked for: docs/settings.md."""


@auth.command("check")
@click.argument("manifest", required=False)
@_PROVIDER
@NO_INPUT
@JSON
@DEBUG
def check_key(manifest: str | None, provider: str | None, no_input: bool | None, as_json: bool, debug: bool) -> int:
    """
    Ask the provider, for free, whether the key works: account, balance, permissions. Exit code 4 if it does not.

    With MANIFEST, or a job, the provider and the `.env` are its own.

    \b
      batchedit auth check
      batchedit auth check night.yaml --json
    """
    from batchedit.diagnosis import ask

    wanted = ("key", "account", "scopes", "balance")
    found: list[Finding] = []
    for plan in _outlines(manifest, provider or (None if manifest else "runflow"), "out", None):
        behaviour = behaviour_for(plan, no_input=no_input)
        found += ask(plan, behaviour.run_options(), environment=os.environ)
    return _say([finding for finding in found if finding.name in wanted], as_json)


def _say(findings: list[Finding], as_json: bool) -> int:
    from batchedit.diagnosis import worst
    from batchedit.redaction import redact

    findings = [*dict.fromkeys(findings)]  # the manifests of a job share much
    code = worst(findings)
    findings = [replace(found, text=redact(found.text), advice=redact(found.advice)) for found in findings]
    if as_json:
        lines: list[dict[str, Any]] = [
            {name: value for name, value in asdict(found).items() if name != "exit_code"} for found in findings
        ]
        say(json.dumps({"version": 1, "exit_code": int(code), "findings": lines}, indent=2, ensure_ascii=False))
        return code
    for found in findings:
        say(f"{found.level:<4}  {found.name:<12} {found.text}" + (f"\n      {found.advice}" if found.advice else ""))
    return code
