"""The command `config`: what is set, and by whom."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from batchedit.cli.carrying import values_for
from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON
from batchedit.cli.voice import say
from batchedit.errors import ExitCode


@cli.group()
def config() -> None:
    """Settings: how the program behaves, never what it buys (docs/settings.md)."""


@config.command()
@click.argument("manifest", required=False)
@click.option("--origin", is_flag=True, help="Also where each one comes from.")
@JSON
@DEBUG
def show(manifest: str | None, origin: bool, as_json: bool, debug: bool) -> int:
    """
    Print every setting that is in force; with MANIFEST, what it says counts too.

    \b
      batchedit config show --origin
      batchedit config show night.yaml --json
    """
    from batchedit.configuration import SETTINGS, project_file, user_file
    from batchedit.manifest import load_manifest

    values = values_for(None if manifest is None else load_manifest(manifest))
    if as_json:
        settings = {
            name: {
                "value": value.value,
                "origin": value.origin,
                "where": value.where or None,
                "variable": SETTINGS[name].variable,
                "about": SETTINGS[name].about,
            }
            for name, value in values.items()
        }
        say(json.dumps({"version": 1, "settings": settings}, indent=2, ensure_ascii=False))
        return ExitCode.DONE
    for name, value in values.items():
        shown = {None: "-", True: "true", False: "false"}.get(value.value, str(value.value))
        source = f"{value.origin}{f' ({value.where})' if value.where else ''}"
        say(f"{name:<16} {shown:<12} {source}" if origin else f"{name:<16} {shown}")
    if origin:
        project, user = project_file(Path.cwd()), user_file(os.environ)
        say(f"project's file: {project or 'none'}; user's file: {user} {'' if user and user.exists() else '(none)'}")
    return ExitCode.DONE
