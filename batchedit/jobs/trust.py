"""
Whose a file is that says what is done without anybody being asked: a job names programs that are run (`exec`) and how
much may be spent, a saved plan is consent to buy. Whoever can write it does that in the name of whoever starts it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from batchedit.errors import UsageError

JOB, PLAN = "job", "saved plan"
_WHY = {
    JOB: "copy it: a job says which programs are run, and what may be spent",
    PLAN: "look at the manifest and save a plan of your own: it is consent to buy what it says",
}


def refuse_others(path: Path, what: str = JOB) -> None:
    """
    Make sure that nobody but its owner, who starts it, or root can change a job or a saved plan.

    A group of which its owner is the only member, as some systems give to each user, is nobody else. What cannot be
    looked at is left to whoever reads it.

    Raises:
        UsageError: if somebody else can.
    """
    try:
        file, folder = path.stat(), path.resolve().parent.stat()
    except (OSError, ValueError):
        return
    if file.st_uid not in (0, os.geteuid()):
        raise UsageError(
            f"the {what} {path} belongs to another user (uid {file.st_uid})",
            hint=_WHY[what],
        )
    if others := _others(file):
        raise UsageError(
            f"the {what} {path} can be changed by {others} (mode {stat.S_IMODE(file.st_mode):04o})",
            hint=f"look at what is in it, then: chmod go-w {path}",
        )
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise UsageError(
            f"the {what} {path} can be replaced by everybody: its folder has the mode"
            f" {stat.S_IMODE(folder.st_mode):04o}",
            hint="move it, or take that right from others",
        )


def _others(file: os.stat_result) -> str:
    if file.st_mode & stat.S_IWOTH:
        return "everybody"
    return "its group" if file.st_mode & stat.S_IWGRP and not _is_private(file) else ""


def _is_private(file: os.stat_result) -> bool:
    """True for a group that is called as the file's owner, and has no other member."""
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(file.st_uid), grp.getgrgid(file.st_gid)
    except KeyError:
        return False
    return owner.pw_gid == file.st_gid and owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}
