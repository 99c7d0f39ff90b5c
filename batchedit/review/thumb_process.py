"""A process that makes thumbnails: a picture that breaks the decoder, or wants all the memory, breaks only this one."""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_MOST_MEMORY = 3 * 1024**3
_NICER = 10


def main() -> None:
    """Read a job in each line of standard input, answer each with a line; until the input ends."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not get into the answers
    os.umask(0o077)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    with suppress(OSError):
        os.nice(_NICER)
    from batchedit.report.thumbs import make_small

    for line in sys.stdin:
        job = json.loads(line)
        try:
            made = make_small(Path(job["source"]), job["digest"], Path(job["kept_in"]), job["side"])
        except MemoryError:
            made = None
        channel.write(json.dumps({"is_made": made is not None}) + "\n")
        channel.flush()
