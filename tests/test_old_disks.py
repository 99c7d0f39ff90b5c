"""Disks that take two names for one, and refuse others: what the tool makes of hostile texts comes back from them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_TOP = Path(__file__).parent.parent
_SIZE_BYTES = 64 * 1024 * 1024
_KERNEL_MODULES = Path("/usr/lib/uml/modules")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount, and these disks are mounted as on Linux"
)


def formatted(tmp_path: Path, program: str) -> Path:
    """An image of an empty disk."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(_SIZE_BYTES)
    subprocess.run([program, str(image)], check=True, capture_output=True)
    return image


@contextmanager
def mounted(*command: str, at: Path) -> Iterator[None]:
    done = subprocess.run([*command, str(at)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def check(told: str) -> None:
    assert (found := re.search(r"old rules; found (\d+)", told)), told
    assert int(found[1]) > 400


def names_on(folder: Path) -> str:
    command = [sys.executable, "-m", "tests.names_on_disk", str(folder)]
    return subprocess.run(command, cwd=_TOP, check=False, capture_output=True, text=True).stdout


def test_names_come_back_from_vfat(tmp_path: Path) -> None:
    """By this machine's kernel where it knows vfat, by one in user space where not."""
    image, folder = formatted(tmp_path, "mkfs.vfat"), tmp_path / "mounted"
    folder.mkdir()
    if "vfat" in Path("/proc/filesystems").read_text():
        with mounted("mount", "-o", "loop,utf8", str(image), at=folder):
            check(names_on(folder))
        return
    kernel, modules = shutil.which("linux.uml"), next(_KERNEL_MODULES.glob("*/kernel/fs"), None)
    if kernel is None or modules is None:
        pytest.skip("this kernel knows no vfat, and there is no user-mode-linux, which does")
    first = tmp_path / "first.sh"
    first.write_text(
        "#!/bin/sh\nmount -t proc proc /proc\n"
        f"cd '{_TOP}'\nexec '{sys.executable}' -m tests.names_on_disk '{folder}' '{modules}'\n"
    )
    first.chmod(0o700)
    machine = [f"ubd0={image}", "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rw", "con=null", "con0=null,fd:1"]
    command = [kernel, *machine, f"init={first}"]
    told = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    check(told)


def test_names_come_back_from_exfat(tmp_path: Path) -> None:
    """Which folds the case of all letters, as Windows does."""
    image, folder = formatted(tmp_path, "mkfs.exfat"), tmp_path / "mounted"
    folder.mkdir()
    if shutil.which("mount.exfat-fuse") is None or shutil.which("losetup") is None:
        pytest.skip("needs exfat-fuse and losetup")
    found = subprocess.run(["losetup", "-f", "--show", str(image)], check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"no loop device here: {found.stderr.strip()}")
    device = found.stdout.strip()
    try:
        with mounted("mount.exfat-fuse", device, at=folder):
            check(names_on(folder))
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
