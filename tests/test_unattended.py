"""Without a terminal nothing asks and nothing waits: every command, in a process whose standard input is closed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from batchedit.cli.commands import cli
from batchedit.cli.helping import walk
from batchedit.errors import ExitCode
from tests.conftest import Shop

SECONDS = 60
# Each with what it ends in where nothing was run before.
COMMANDS = {
    "auth check": ("", 2), "check": ("jobs.csv", 0), "completion": ("bash", 0), "config show": ("", 0),
    "deliver": ("there", 8), "doctor": ("jobs.csv --offline", 0), "export csv": ("out", 8), "export datasette": ("", 0),
    "export imagefolder": ("out", 8), "export ndjson": ("out", 8), "export parquet": ("out", 8),
    "export prometheus": ("out", 8), "export results": ("out", 8), "init": ("--from in --to new.yaml", 0),
    "job check": ("none.yaml", 2), "job install": ("none.yaml --cron", 2), "job list": (".", 0),
    "job run": ("none.yaml", 2), "keep": ("out", 8), "ledger backup": ("out copy.db", 8), "ledger check": ("out", 8), "ledger info": ("out", 8),
    "ls": ("out", 8), "pilot": ("jobs.csv --provider runflow", 2), "plan": ("jobs.csv", 0), "prices": ("", 0),
    "profiles": ("", 0), "reconcile": ("jobs.csv", 8), "reedit": ("jobs.csv --prompt x", 5), "render": ("jobs.csv", 8),
    "report": ("out", 8), "retry": ("out", 8), "review": ("out --static there", 8), "run": ("jobs.csv --provider runflow", 2),
    "schema": ("", 0), "show": ("x out", 8), "status": ("out --watch", 8), "verdicts export": ("v.csv out", 8),
    "verdicts import": ("v.csv out", 8), "verify": ("out", 8),
}  # fmt: skip
SERVES = {"emulate"}
GROUPS = {"auth", "config", "export", "job", "ledger", "verdicts"}


def test_none_is_forgotten() -> None:
    """Every command is in the table."""
    assert set(COMMANDS) | SERVES | GROUPS == {path for path, _ in walk(cli)}


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("path", COMMANDS)
def test_it_ends_by_itself_with_a_documented_code(shop: Shop, path: str) -> None:
    """Neither a question nor a traceback, and the money's consent is never assumed."""
    arguments, code = COMMANDS[path]
    line = f"exec {sys.executable} -m batchedit {path} {arguments} <&-"
    environment = {name: text for name, text in os.environ.items() if not name.endswith("API_KEY")}
    done = subprocess.run(
        ["sh", "-c", line], cwd=shop.root, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode in {int(known) for known in ExitCode} - {1}, said
    assert "Traceback" not in said
    assert "[y/N]" not in said
    assert done.returncode == code, said
