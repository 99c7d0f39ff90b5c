"""Saying things on stdout and stderr, to readers that may have gone."""

from __future__ import annotations

import os
import re
import sys

import click

_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but for tabs and new lines, and those that turn the direction of writing."""


def say(text: str, *, err: bool = False) -> None:
    """
    Print a line. A reader that has gone, as with `| head`, changes nothing: the command goes on and its exit code
    still tells how it ended. What is no valid Unicode, as in names of files from elsewhere, is shown as ``\\udcff``,
    and what a terminal would take for an order, or for another direction of writing, as ``\\u001b``. That is how JSON
    writes them too.
    """
    text = _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"), err=err)
    except BrokenPipeError:
        # Later writes, and the interpreter's own flush at the end, must not meet the closed pipe again.
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, (sys.stderr if err else sys.stdout).fileno())
        os.close(sink)
