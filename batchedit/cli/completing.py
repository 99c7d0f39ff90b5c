"""The command `completion`: what shells and readers of manuals are given."""

from __future__ import annotations

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG
from batchedit.cli.voice import say
from batchedit.errors import ExitCode


@cli.command()
@click.argument("form", metavar="bash|zsh|fish|man|markdown",
                type=click.Choice(["bash", "zsh", "fish", "man", "markdown"]))  # fmt: skip
@DEBUG
def completion(form: str, debug: bool) -> int:
    """
    Print a script that lets a shell complete commands and options; or all of the help as a man page or in Markdown.

    \b
      batchedit completion bash > ~/.local/share/bash-completion/completions/batchedit
      batchedit completion zsh > ~/.zfunc/_batchedit
      batchedit completion fish > ~/.config/fish/completions/batchedit.fish
      batchedit completion man > batchedit.1
    """
    from importlib.metadata import version

    from batchedit.cli.helping import completion as script
    from batchedit.cli.helping import manual, reference

    if form == "markdown":
        text = reference(cli)
    else:
        text = manual(cli, version("batchedit")) if form == "man" else script(cli, form)
    say(text.rstrip("\n"))
    return ExitCode.DONE
