"""The command line: parse, one call, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys

import click

from batchedit.cli import completing as _completing  # noqa: F401  adds its commands
from batchedit.cli import configuring as _configuring  # noqa: F401  likewise
from batchedit.cli import doctoring as _doctoring  # noqa: F401  likewise
from batchedit.cli import exporting as _exporting  # noqa: F401  likewise
from batchedit.cli import filing as _filing  # noqa: F401  likewise
from batchedit.cli import jobbing as _jobbing  # noqa: F401  likewise
from batchedit.cli import listing as _listing  # noqa: F401  likewise
from batchedit.cli import piloting as _piloting  # noqa: F401  likewise
from batchedit.cli import pricing as _pricing  # noqa: F401  likewise
from batchedit.cli import reediting as _reediting  # noqa: F401  likewise
from batchedit.cli import reporting as _reporting  # noqa: F401  likewise
from batchedit.cli import reviewing as _reviewing  # noqa: F401  likewise
from batchedit.cli import starting as _starting  # noqa: F401  likewise
from batchedit.cli import upkeep as _upkeep  # noqa: F401  likewise
from batchedit.cli import verdicting as _verdicting  # noqa: F401  likewise
from batchedit.cli.asking import listen
from batchedit.cli.commands import cli
from batchedit.cli.voice import say
from batchedit.errors import BatchEditError, ExitCode


def main() -> None:
    """Entry point of `batchedit`: runs one command and ends the process with its exit code."""
    listen()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. Errors go to stderr as sentences, without a traceback."""
    debug = "--debug" in arguments
    try:
        result = cli.main(args=arguments, prog_name="batchedit", standalone_mode=False)
        return int(result) if isinstance(result, int) else int(ExitCode.DONE)
    except click.exceptions.Abort:
        say("stopped; nothing was sent", err=True)
        return int(ExitCode.SIGINT)
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here", err=True)
        return int(ExitCode.SIGINT)
    except click.ClickException as error:
        _explain(error)
        return int(ExitCode.USAGE)
    except BatchEditError as error:
        say(_trace(error) if debug else str(error), err=True)
        return int(error.exit_code)
    except Exception as error:  # the last resort of the last line: a bug becomes a sentence and exit code 1
        from batchedit.redaction import redact

        if debug:
            say(_trace(error), err=True)
            return int(ExitCode.BUG)

        say(
            f"a bug in batchedit: {type(error).__name__}: {redact(str(error))}\n"
            "  the ledger is consistent; run again with --debug to see where, and please report it",
            err=True,
        )
        return int(ExitCode.BUG)


def _trace(error: BaseException) -> str:
    """Where an error comes from, without the values of variables, and redacted like everything else."""
    import traceback

    from batchedit.redaction import redact

    return redact("".join(traceback.format_exception(error)).rstrip())


_KEY_FLAGS = ("--api-key", "--apikey", "--key", "--token", "--secret")


def _explain(error: click.ClickException) -> None:
    """What is wrong with a command line, which may hold what must not be repeated."""
    from batchedit.redaction import redact

    context = getattr(error, "ctx", None)
    if context is not None:
        say(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", err=True)
    say(f"Error: {redact(error.format_message())}", err=True)
    if isinstance(error, click.NoSuchOption) and error.option_name in _KEY_FLAGS:
        say(
            "  there is no flag for a key, since everybody on a machine can read the flags of every program.\n"
            "  Put it into a file that only you can read, and name that: export BATCHEDIT_API_KEY_FILE=...\n"
            "  What has been typed here is in the shell's history by now: replace the key at the provider.",
            err=True,
        )
