"""
From the file that people have to Items and Tasks, streamed, with everything that is wrong in one list.

    load_manifest(source) -> Manifest --tasks(findings)--> Task, Task, ...

A source is a YAML, CSV, TSV or JSON Lines file, or a glob, a folder or a picture.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.expand import Expander
from batchedit.manifest.fields import Given
from batchedit.manifest.findings import Findings, Skip
from batchedit.manifest.head import Head, HeadReader, Layer, Source
from batchedit.manifest.rows import IMAGE_SUFFIXES, Row, csv_rows, glob_rows, jsonl_rows
from batchedit.manifest.yaml_tree import read_yaml
from batchedit.model import Limits, ProviderSettings, Task
from batchedit.money import MicroUSD

__all__ = ["Findings", "Manifest", "Overrides", "Skip", "load_manifest"]

_TABLES = frozenset({".csv", ".tsv"})
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_YAML = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line gives; wins over the manifest. None means not given. Texts are templates."""

    prompt: str | None = None
    output: str | None = None
    quality: str | None = None
    size: str | None = None
    format: str | None = None
    n: int | None = None
    mask: str | None = None
    id: str | None = None
    provider: str | None = None

    def layer(self) -> Layer:
        """The fields as a level of their own."""
        given = {
            name: Given(str(value), True, Place(f"--{name}"))
            for name, value in asdict(self).items()
            if name != "provider" and value is not None
        }
        return Layer(given)


class Manifest:
    """
    A manifest whose head is read; its rows are read as often as tasks are asked for.

    Attributes:
        source: As the user typed it.
        root: Folder that relative paths start from.
        limits_given: Names of the fields of `limits` that the manifest sets.
        budget: The most that a run may spend, None if it does not say.
        files: The files that its head was read from.
    """

    def __init__(self, source: str, path: Path | None, root: Path, head: Head, overrides: Overrides) -> None:
        self.source, self.path, self.root = source, path, root
        self._head, self._overrides = head, overrides
        self._problems: list[Problem] = []

    @property
    def name(self) -> str:
        """What runs of it are noted under."""
        return self._head.name

    @property
    def provider(self) -> ProviderSettings:
        """Who does the edits."""
        wanted = self._overrides.provider
        return self._head.provider if wanted is None else replace(self._head.provider, name=wanted)

    @property
    def limits(self) -> Limits:
        """How hard the provider may be driven."""
        return self._head.limits

    @property
    def limits_given(self) -> frozenset[str]:
        """Which limits the manifest sets."""
        return self._head.limits_given

    @property
    def budget(self) -> MicroUSD | None:
        """The most that a run may spend."""
        return self._head.budget

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the head was read from."""
        return tuple(self._head.files)

    def tasks(self, findings: Findings) -> Iterator[Task]:
        """
        Every task, made when it is asked for.

        A row with a problem makes no task; the problem goes to `findings`, and the next row follows.
        """
        for problem in self._problems:
            findings.problem(problem)
        expander = Expander(self._head, self._overrides.layer(), self.root, findings)
        for source in self._head.sources:
            try:
                for row in islice(self._rows(source, findings), source.limit):
                    yield from expander.tasks(row)
            except ManifestError as error:
                for problem in error.problems:
                    findings.problem(problem)
        reader = HeadReader(findings, self.root, rows_allowed=True)
        for node in self._head.items:
            layer, variables = reader.row_layer(node)
            yield from expander.tasks(Row(node.place, layer, variables, dict(variables), inline=True))

    def _rows(self, source: Source, findings: Findings) -> Iterator[Row]:
        path = self.root / source.where
        shown = source.where if self.path is None else _shown(path)
        match source.kind:
            case "glob":
                rows = glob_rows(source.where, self.root, source.where, source.place, findings)
            case "jsonl":
                rows = jsonl_rows(path, shown, findings)
            case _:
                rows = csv_rows(path, shown, findings)
        for row in rows:
            row.values.update(source.variables)
            missing = [name for name in source.requires if not row.columns.get(name, row.values.get(name, ""))]
            if missing:
                findings.skip(Skip(row.place, f"no {missing[0]}"))
                continue
            row.layer.fields.update(source.layer.fields)
            row.layer.labels.update(source.layer.labels)
            yield row

    def note(self, problems: Findings) -> None:
        """Keep the head's problems, to be reported with those of the rows."""
        self._problems = [*problems.problems, *problems.warnings]


def load_manifest(source: str | Path, *, overrides: Overrides = Overrides(), cwd: Path | None = None) -> Manifest:
    """
    Read a manifest's head.

    Args:
        source: A YAML, CSV, TSV or JSON Lines file, or a glob, a folder or a picture.
        overrides: From the command line.
        cwd: Where relative sources start; None for the working folder.

    Raises:
        ManifestError: if nothing sensible can follow: it does not exist, or is no valid YAML. Other problems are
            reported by `Manifest.tasks`, together with those of the rows.
    """
    text, folder = str(source), cwd or Path.cwd()
    path = folder / text
    suffix = path.suffix.lower()
    findings, head = Findings(), Head()
    if suffix in _YAML | _TABLES | _JSON_LINES and not path.is_dir():
        if not path.is_file():
            raise ManifestError([Problem(place=Place(text), code="unreadable", message="there is no such file")])
        head.name = path.stem
        head.files.append(path)
        root = path.parent
        if suffix in _YAML:
            HeadReader(findings, root, rows_allowed=True).read(read_yaml(path, text), head)
        else:
            _read_sibling(path, text, head, findings)
            kind = "jsonl" if suffix in _JSON_LINES else "csv"
            head.sources = [Source(kind, path.name, Place(text), Layer())]
    elif path.is_dir() or glob.has_magic(text) or suffix in IMAGE_SUFFIXES:
        root = folder
        head.name = path.name if path.is_dir() else (path.parent.name or "pictures")
        head.sources = [Source("glob", text, Place(text), Layer())]
    else:
        message = "is neither a YAML, CSV or JSON Lines file, nor a folder, a picture or a glob"
        raise ManifestError([Problem(place=Place(text), code="unreadable", message=message)])
    manifest = Manifest(text, path if path.is_file() else None, root, head, overrides)
    manifest.note(findings)
    return manifest


def _read_sibling(path: Path, shown: str, head: Head, findings: Findings) -> None:
    """`STEM.defaults.yaml` beside a table may hold every key but items and sources."""
    sibling = path.with_name(f"{path.stem}.defaults.yaml")
    if sibling.is_file():
        head.files.append(sibling)
        name = str(Path(shown).with_name(sibling.name))
        HeadReader(findings, path.parent, rows_allowed=False).read(read_yaml(sibling, name), head)


def _shown(path: Path) -> str:
    """A path as a user in the working folder would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
