"""What kind of disk a ledger lies on: write-ahead logging needs memory that all its users share, so one machine."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "lustre", "gpfs", "ceph", "glusterfs", "beegfs", "orangefs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.davfs", "davfs", "vboxsf"}
)
"""Types as the Linux kernel names them."""


def network_type(path: Path) -> str | None:
    """The type of the network file system that holds `path`, None on a local disk or where it cannot be known."""
    kind = file_system(path)
    return kind if kind in NETWORK else None


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, empty where it cannot be known."""
    try:
        lines = MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""  # not Linux
    target = path.resolve()
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, types = before.split(), after.split()
        if len(fields) < 5 or not types:
            continue
        mount = Path(_unescaped(fields[4]))
        # Later mounts cover earlier ones of the same place.
        if target.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), types[0]
    return kind


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
