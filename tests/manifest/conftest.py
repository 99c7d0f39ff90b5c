"""A folder with three files that pass for pictures, and ways to read manifests in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from batchedit.errors import ManifestError
from batchedit.manifest import Findings, Overrides, load_manifest
from batchedit.model import Task


@dataclass
class Folder:
    """The working folder of a test."""

    root: Path

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file, and the folders above it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def tasks(self, source: str, **overrides: str | int) -> list[Task]:
        """All tasks of a manifest that has no problem."""
        found, findings = self.read(source, **overrides)
        findings.raise_if_problems()
        return found

    def read(self, source: str, **overrides: str | int) -> tuple[list[Task], Findings]:
        """What a manifest becomes, and what was found on the way."""
        findings = Findings()
        manifest = load_manifest(source, overrides=Overrides(**overrides))  # type: ignore[arg-type]  # names vary
        return list(manifest.tasks(findings)), findings

    def problems(self, source: str, **overrides: str | int) -> list[str]:
        """Every problem of a manifest, as a user reads it; the folder's own path shortened to ROOT."""
        try:
            found = self.read(source, **overrides)[1].problems
        except ManifestError as error:
            found = list(error.problems)
        return [str(problem).replace(str(self.root), "ROOT") for problem in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A working folder with `in/a.png`, `in/b.png`, `in/c.jpg`."""
    made = Folder(tmp_path)
    for name in ("a.png", "b.png", "c.jpg"):
        made.write(f"in/{name}", b"picture")
    monkeypatch.chdir(tmp_path)
    return made
