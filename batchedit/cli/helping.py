"""Help with examples first, and everything that is made from the parser: reference pages, a man page, completion."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import click

# For commands whose own text has no block of them.
_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": ("batchedit run jobs.csv --out out", "batchedit plan night.yaml", "batchedit report out"),
    "auth": ("batchedit auth check night.yaml",),
    "check": ("batchedit check night.yaml", "batchedit check jobs.csv --json"),
    "config": ("batchedit config show --origin",),
    "emulate": ("batchedit emulate --port 8080 --switch latency=1,3 --fault answer_lost=0.1",),
    "export": ("batchedit export csv out --out finance.csv", "batchedit export results out --out results.csv"),
    "export csv": ("batchedit export csv out --out finance.csv --tz Europe/Berlin",),
    "export imagefolder": ("batchedit export imagefolder out --out metadata.jsonl",),
    "export ndjson": ("batchedit export ndjson out --select status:failed",),
    "export parquet": ("batchedit export parquet out --out tasks.parquet",),
    "export prometheus": ("batchedit export prometheus out --out batchedit.prom",),
    "keep": ("batchedit keep out --task 'BOOT-01/*'",),
    "ledger": ("batchedit ledger check out", "batchedit ledger backup out copy.db"),
    "ledger backup": ("batchedit ledger backup out copy.db",),
    "ledger check": ("batchedit ledger check out",),
    "ledger info": ("batchedit ledger info out --json",),
    "plan": ("batchedit plan night.yaml --by client", "batchedit plan night.yaml --save night.json"),
    "prices": ("batchedit prices", "batchedit prices night.yaml --json"),
    "profiles": ("batchedit profiles",),
    "reconcile": ("batchedit reconcile night.yaml --out out",),
    "render": ("batchedit render night.yaml --dry-run", "batchedit render night.yaml --select client:acme"),
    "retry": ("batchedit retry out", "batchedit retry out --state suspect --task 'BOOT-*'"),
    "run": (
        "batchedit run night.yaml --budget 25",
        'batchedit run "in/*.jpg" --prompt "white background" --out out',
        "batchedit run night.yaml --rehearse",
        "batchedit run night.yaml --budget 25 --no-input -q --log-file night.log --events night.ndjson",
    ),
    "show": ("batchedit show BOOT-01 out", "batchedit show BOOT-01/white out --json"),
    "verdicts": ("batchedit verdicts export sheet.csv out", "batchedit verdicts import sheet.csv out"),
    "verdicts export": ("batchedit verdicts export sheet.csv out",),
    "verdicts import": ("batchedit verdicts import sheet.csv out",),
    "verify": ("batchedit verify out", "batchedit verify out --read-data"),
}
_BLOCK = "\b\n"
PIPE = "\\|"
"""As a cell of a table has it."""


def _parts(command: click.Command, path: str) -> tuple[list[str], str]:
    """A command's examples, and the rest of what it says."""
    examples, rest = [], []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = [line.strip() for line in paragraph.removeprefix(_BLOCK).splitlines()]
        if paragraph.startswith(_BLOCK) and any(line.startswith("batchedit ") for line in lines):
            examples += lines
        else:
            rest.append(paragraph)
    return examples or list(_EXAMPLES.get(path, ())), "\n\n".join(rest).strip()


def _path(context: click.Context) -> str:
    return context.command_path.partition(" ")[2]


class _ExamplesFirst(click.Command):
    """A command whose help begins with how it is used."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then what click writes."""
        examples, _ = _parts(self, _path(ctx))
        for line in examples:
            formatter.write(f"  {line}\n")
        if examples:
            formatter.write("\n")
        super().format_help(ctx, formatter)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it does, without the examples."""
        whole = self.help
        _, self.help = _parts(self, _path(ctx))
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = whole


class Command(_ExamplesFirst):
    """A command."""


class Group(_ExamplesFirst, click.Group):
    """A group of commands."""

    command_class = Command
    group_class = type


def walk(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below one, by its words, in alphabetical order."""
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            below = f"{path} {name}".strip()
            yield below, child
            yield from walk(child, below)


def reference(root: click.Group) -> str:
    """The page of all commands, in Markdown."""
    lines = [
        "# Commands",
        "",
        "Made from the program itself by `batchedit completion markdown`; a test keeps it so. What the words mean is",
        "in the [README](../README.md), what is set where in [settings.md](settings.md).",
    ]
    for path, command in walk(root):
        examples, text = _parts(command, path)
        lines += ["", f"## {path}", ""]
        if examples:
            lines += [*(f"    {line}" for line in examples), ""]
        lines += [" ".join(part.split()) + "\n" for part in text.split("\n\n")]
        lines[-1] = lines[-1].rstrip()
        lines += ["", f"Usage: `batchedit {path}{_usage(command, path)}`"]
        options = [_option(each) for each in command.params if isinstance(each, click.Option) and not each.hidden]
        if options:
            lines += ["", "| option | meaning |", "| --- | --- |", *options]
    return "\n".join(lines) + "\n"


def _usage(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path)
    return "".join(f" {piece}" for piece in command.collect_usage_pieces(context))


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    context = click.Context(click.Command("x"))
    value = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
    words = (option.help or "").rstrip()
    if option.show_default and option.default is not None:
        words += f" Default: {option.default}."
    return f"| {names}{value.replace('|', PIPE)} | {words.replace('|', PIPE)} |"


def manual(root: click.Group, version: str) -> str:
    """A man page (section 1) of all commands."""

    def safe(text: str) -> str:
        escaped = text.replace("\\", "\\e").replace("-", "\\-")
        return "\\&" + escaped if escaped.startswith((".", "'")) else escaped

    lines = [
        f'.TH BATCHEDIT 1 "" "batchedit {safe(version)}"',
        ".SH NAME",
        "batchedit \\- bulk image edits through a paid API",
        ".SH SYNOPSIS",
        ".B batchedit",
        "COMMAND [ARGUMENTS]",
        ".SH COMMANDS",
    ]
    for path, command in walk(root):
        examples, text = _parts(command, path)
        lines += [f".SS {safe(path + _usage(command, path))}"]
        lines += [safe(" ".join(part.split())) + "\n.PP" for part in text.split("\n\n")]
        if examples:
            lines += [".nf", *(safe(line) for line in examples), ".fi"]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                lines += [".TP", f".B {safe(', '.join((*option.opts, *option.secondary_opts)))}"]
                lines.append(safe(" ".join((option.help or "").split())))
    return "\n".join(lines) + "\n"


def completion(root: click.Command, shell: str) -> str:
    """A script for a shell, which asks the program what may follow."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    return found(root, {}, "batchedit", "_BATCHEDIT_COMPLETE").source()
