"""Help, reference pages and completion: made from the parser, current, and true."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from batchedit.cli.commands import cli as root
from batchedit.cli.helping import _parts, reference, walk
from tests.conftest import Result

Cli = Callable[..., Result]
COMMANDS = dict(walk(root))
DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("path", COMMANDS)
def test_help_begins_with_examples(cli: Cli, path: str) -> None:
    """Each command has some, and they come before everything else."""
    result = cli(*path.split(), "--help")
    assert result.code == 0
    assert result.out.startswith("  batchedit "), result.out
    first = result.out.partition("\n\n")[0]
    assert f"batchedit {path}" in first
    assert result.out.splitlines().count(first.splitlines()[0]) == 1, "once is enough"
    assert "\n\nUsage: batchedit" in result.out


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_are_understood(path: str) -> None:
    """The parser takes each of them as it stands."""
    examples, _ = _parts(COMMANDS[path], path)
    tried = 0
    for line in examples:
        if not line.startswith("batchedit "):
            continue
        words = shlex.split(re.split(r"  +|\s[|>]\s|\s&&\s", line)[0])[1:]
        command: click.Command = root
        parent = click.Context(root, info_name="batchedit")
        while isinstance(command, click.Group):
            parent = click.Context(command, info_name=words[0], parent=parent)
            command = command.commands[words.pop(0)]
        command.make_context("x", words, parent=parent)
        tried += 1
    assert tried


def test_the_reference_page_is_current() -> None:
    """`batchedit completion markdown > docs/commands.md` makes it."""
    assert (DOCS / "commands.md").read_text("utf-8") == reference(root)


def test_the_man_page_is_one(cli: Cli) -> None:
    """Every command is in it; groff, where there is one, has nothing to complain about."""
    page = cli("completion", "man").out
    assert all(f".SS {path}".replace("-", "\\-") in page for path in COMMANDS)
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page.encode(), capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_bash_completes(cli: Cli, tmp_path: Path) -> None:
    """The script, in a real shell, with the real program."""
    script = tmp_path / "complete.sh"
    script.write_text(cli("completion", "bash").out)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    ask = (
        f". {script}; COMP_WORDS=(batchedit status --wa); COMP_CWORD=2; _batchedit_completion batchedit;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    code = (
        "import sys; sys.argv = ['batchedit']; from batchedit.cli import main; main()"  # as the installed script does
    )
    (bin_folder / "batchedit").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    (bin_folder / "batchedit").chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--watch"], done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(cli: Cli, shell: str) -> None:
    """Checked by the shell itself where it is there."""
    script = cli("completion", shell).out
    assert "_BATCHEDIT_COMPLETE" in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script.encode(), check=False).returncode == 0
