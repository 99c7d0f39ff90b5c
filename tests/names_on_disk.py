"""
Writes files under names made of hostile texts into a folder, and looks whether each is found again as what it is.

    python -m tests.names_on_disk FOLDER            in a folder of any disk
    python -m tests.names_on_disk FOLDER MODULES    as the first process of a kernel in user space, which first learns
                                                    vfat from the modules in that folder and mounts its first disk there
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
import traceback
from pathlib import Path

from batchedit.paths import collision_key, safe_component
from tests.hostile_names import PAYLOADS, hostile

_MODULES = ("nls/nls_cp437", "nls/nls_iso8859-1", "nls/nls_utf8", "fat/fat", "fat/vfat")
_FINIT_MODULE = 313
_POWER_OFF = 0x4321FEDC
_LIBC = ctypes.CDLL(None, use_errno=True)


def names() -> list[str]:
    """Different ones, as different as the tool makes them."""
    draw = random.Random("names on a disk")
    texts = [*PAYLOADS, *(hostile(draw) for _ in range(600))]
    return list({collision_key(name): name for name in map(safe_component, texts)}.values())


def write_and_find(folder: Path) -> str:
    """Each name is a file of its own, is listed as it was written, and holds what was written into it."""
    made, folder = names(), folder / "pictures"
    folder.mkdir()  # the top of a small vfat has room for a few hundred only
    for number, name in enumerate(made):
        with (folder / name).open("xb") as file:
            file.write(b"%d" % number)
    if (listed := sorted(path.name for path in folder.iterdir())) != sorted(made):
        return f"listed otherwise: {sorted({*listed} ^ {*made})!a}"
    torn = [name for number, name in enumerate(made) if (folder / name).read_bytes() != b"%d" % number]
    return f"other content: {torn!a}" if torn else f"found {len(made)}"


def obeys_old_rules(folder: Path) -> bool:
    """True if the disk takes `A` and `a` for one file."""
    (folder / "Seen.txt").touch()
    is_one = (folder / "sEEN.TXT").exists()
    (folder / "Seen.txt").unlink()
    return is_one


def _mount(folder: Path, modules: Path) -> None:
    for name in _MODULES:
        with (modules / f"{name}.ko").open("rb") as file:
            if _LIBC.syscall(_FINIT_MODULE, file.fileno(), b"", 0):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    subprocess.run(["mount", "-t", "vfat", "-o", "utf8", "/dev/ubda", str(folder)], check=True)


def main(folder: Path, modules: Path | None = None) -> None:
    """Print what was found."""
    if modules is not None:
        _mount(folder, modules)
    print("old rules" if obeys_old_rules(folder) else "new rules", write_and_find(folder), sep="; ")
    if modules is not None:
        subprocess.run(["umount", str(folder)], check=True)


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except Exception:
        traceback.print_exc()
        raise
    finally:
        if os.getpid() == 1:  # of that kernel, which ends by itself only in a panic
            sys.stdout.flush()
            sys.stderr.flush()
            os.sync()
            _LIBC.reboot(_POWER_OFF)
