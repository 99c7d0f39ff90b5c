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

    That is: write it, or put another one in its place, by what the folders above it allow. A group of which its owner
    is the only member, as some systems give to each user, is nobody else. What cannot be looked at is left to whoever
    reads it.

    Raises:
        UsageError: if somebody else can.
    """
    try:
        file, folders = path.stat(), {folder: folder.stat() for folder in path.resolve().parents}
    except (OSError, ValueError):
        return
    ours = (0, os.geteuid())
    if file.st_uid not in ours:
        raise UsageError(
            f"the {what} {path} belongs to another user (uid {file.st_uid})",
            hint=_WHY[what],
        )
    if others := _others(file):
        raise UsageError(
            f"the {what} {path} can be changed by {others} (mode {stat.S_IMODE(file.st_mode):04o})",
            hint=f"look at what is in it, then: chmod go-w {path}",
        )
    for folder, status in folders.items():
        if status.st_uid not in ours:
            who = f"uid {status.st_uid}, who owns {folder}"
        # In a folder such as /tmp only a file's own owner, and that of the folder, can put another one in its place.
        elif (others := _others(status)) and not status.st_mode & stat.S_ISVTX:
            who = f"{others}: {folder} has the mode {stat.S_IMODE(status.st_mode):04o}"
        else:
            continue
        raise UsageError(f"the {what} {path} can be replaced by {who}", hint="move it, or take that right from others")


def _others(found: os.stat_result) -> str:
    """Who besides its owner may write a file or folder, in words; empty if nobody."""
    if found.st_mode & stat.S_IWOTH:
        return "everybody"
    return "its group" if found.st_mode & stat.S_IWGRP and found.st_gid and not _is_private(found) else ""


def _is_private(file: os.stat_result) -> bool:
    """True for a group that is called as the file's owner, and has no other member."""
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(file.st_uid), grp.getgrgid(file.st_gid)
    except KeyError:
        return False
    return owner.pw_gid == file.st_gid and owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}
