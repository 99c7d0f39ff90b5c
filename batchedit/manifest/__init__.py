"""
From the file that people have to Items and Tasks, streamed, with everything that is wrong in one list.

    load_manifest(source) -> Manifest --tasks(findings)--> Task, Task, ...

A source is a YAML, CSV, TSV, JSON Lines or Parquet file, a list of URLs, or a glob, a folder or a picture. Inside, the
data flows like this:

    yaml_tree --> reading, settings, source_keys, head --> Head (layers)
                                                            |
    rows, jsonl, parquet --> Record --(shaping: presets, columns)--> Row --(feeding)--> expand --> making --> Task
    globs, urls, imagefolder -----------------(patterns)--------------^
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.budgeting import met
from batchedit.manifest.ceiling import up_to
from batchedit.manifest.expand import Expander
from batchedit.manifest.feeding import TABLE_KINDS, columns_of_file, names_pictures, source_rows
from batchedit.manifest.fields import Given, is_unicode, looks_like_a_key, shortened
from batchedit.manifest.findings import Findings, Skip
from batchedit.manifest.globs import IMAGE_SUFFIXES
from batchedit.manifest.head import HeadReader
from batchedit.manifest.imagefolder import METADATA
from batchedit.manifest.layers import Head, Layer, Row, Source, Spending
from batchedit.manifest.presets import PRESETS, recognise
from batchedit.manifest.reading import Reading
from batchedit.manifest.yaml_tree import read_yaml, stream_list
from batchedit.model import Limits, ProviderSettings, ReviewSettings, Task
from batchedit.money import MicroUSD
from batchedit.pricing import PriceList

__all__ = ["Findings", "Manifest", "Overrides", "Skip", "load_manifest"]

_YAML = frozenset({".yaml", ".yml"})
_SEARCHED = frozenset({"glob", "imagefolder"})
"""Kinds of sources that a folder is searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """
    What the command line gives; wins over the manifest. None means not given. Texts are templates.

    Attributes:
        sibling: False reads no ``STEM.defaults.yaml`` beside a table.
    """

    prompt: str | None = None
    output: str | None = None
    quality: str | None = None
    size: str | None = None
    format: str | None = None
    n: int | None = None
    mask: str | None = None
    id: str | None = None
    provider: str | None = None
    sibling: bool = True

    def layer(self) -> Layer:
        """The fields as a level of their own."""
        given = {
            name: Given(str(value), True, Place(f"--{name}"))
            for name, value in asdict(self).items()
            if name not in ("provider", "sibling") and value is not None
        }
        return Layer(given)


class Manifest:
    """
    A manifest whose head is read; its rows are read as often as tasks are asked for.

    Attributes:
        source: As the user typed it.
        path: The file, None for a glob, a folder or a picture.
        root: Folder that relative paths start from.
    """

    def __init__(
        self, source: str, path: Path | None, root: Path, head: Head, overrides: Overrides, shown: str
    ) -> None:
        self.source, self.path, self.root = source, path, root
        self._head, self._overrides, self._shown = head, overrides, shown
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
    def chosen_provider(self) -> str | None:
        """The provider that was named beside the manifest, None if none was."""
        return self._overrides.provider

    @property
    def limits(self) -> Limits:
        """How hard the provider may be driven."""
        return self._head.limits

    def adapt(self, *, provider: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
        """
        Put what a job says in place of what the file says.

        Args:
            provider: Fields of `ProviderSettings`.
            limits: Fields of `Limits`.
        """
        head = self._head
        head.provider = replace(head.provider, **provider)
        head.limits = replace(head.limits, **limits)
        head.limits_given |= frozenset(limits)

    @property
    def limits_given(self) -> frozenset[str]:
        """Names of the fields of `limits` that the manifest sets."""
        return self._head.limits_given

    @property
    def selectors(self) -> Mapping[str, Sequence[str]]:
        """Named selections: what ``@name`` stands for."""
        return self._head.selectors

    @property
    def budget(self) -> MicroUSD | None:
        """The most that a run may spend, None if the manifest does not say."""
        return self._head.spending.run

    @property
    def spending(self) -> Spending:
        """The whole budget: of the run, of one request, of labels and edits."""
        return self._head.spending

    @property
    def prices(self) -> PriceList | None:
        """A price list of the user's own; None for the shipped one."""
        return self._head.prices

    @property
    def review(self) -> ReviewSettings:
        """How its pictures are looked at."""
        return self._head.review

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it is read from: itself, the defaults beside it, prompts, tables."""
        return tuple(self._head.files)

    @property
    def defaults_file(self) -> str:
        """The defaults beside a table that it takes, as the user would type it; empty if there are none."""
        return self._head.defaults_file

    @property
    def is_closed(self) -> bool:
        """True if its files name every row; False where folders are searched for pictures."""
        return self.path is not None and all(source.kind not in _SEARCHED for source in self._head.sources)

    @property
    def overrides(self) -> Overrides:
        """What the command line gave."""
        return self._overrides

    @property
    def given(self) -> str:
        """What the command line gave, in a form that is the same for the same."""
        return repr(self._overrides)

    def tasks(self, findings: Findings) -> Iterator[Task]:
        """
        Every task, made when it is asked for.

        A row with a problem makes no task; the problem goes to `findings`, and the next row follows. Each call reads
        the rows again.
        """
        tasks = up_to((task for _, task in self.pairs(findings)), self.limits.jobs, findings)
        return met(tasks, self.spending.caps, findings) if self.spending.caps else tasks

    def pairs(self, findings: Findings) -> Iterator[tuple[Row, Task]]:
        """Every task with the row that it comes from, as `tasks`."""
        for problem in self._problems:
            findings.problem(problem)
        with Expander(self._head, self._overrides.layer(), self.root, findings) as expander:
            for row in self.rows(findings):
                for task in expander.tasks(row):
                    yield row, task
            expander.end()

    @property
    def is_one_table(self) -> bool:
        """True if all of its rows have the same columns, known from the first one."""
        kinds = [source.kind for source in self._head.sources]
        return not self._head.items and kinds in (["csv"], ["parquet"])

    def rows(self, findings: Findings) -> Iterator[Row]:
        """Every row that is wanted, before anything is made of it. Each call reads them again."""
        folder = "" if self.path is None else str(PurePath(self._shown).parent)
        for source in self._head.sources:
            try:
                yield from source_rows(source, self.root, folder, findings)
            except ManifestError as error:
                for problem in error.problems:
                    findings.problem(problem)
        if self._head.items:
            yield from self._inline(findings)

    def _inline(self, findings: Findings) -> Iterator[Row]:
        assert self.path is not None, "only a file has items"
        reading = Reading(findings)
        try:
            for node in stream_list(self.path, self._shown, "items"):
                found = reading.item(node)
                if found is not None:
                    layer, variables = found
                    yield Row(node.place, layer, variables, dict(variables), inline=True)
        except ManifestError as error:  # the file was changed since its head was read
            for problem in error.problems:
                findings.problem(problem)

    def note(self, problems: Findings) -> None:
        """Keep the head's problems, to be reported with those of the rows."""
        self._problems = [*problems.problems, *problems.warnings]


def load_manifest(source: str | Path, *, overrides: Overrides = Overrides(), cwd: Path | None = None) -> Manifest:
    """
    Read a manifest's head.

    Args:
        source: A YAML, CSV, TSV, JSON Lines or Parquet file, a text file with URLs, or a glob, a picture or a folder;
            metadata in the folder that names its pictures is read.
        overrides: From the command line.
        cwd: Where relative sources start; None for the working folder.

    Raises:
        ManifestError: if nothing sensible can follow: it does not exist, is no valid YAML, or of another version. Other
            problems are reported by `Manifest.tasks`, together with those of the rows.
    """
    text, folder = str(source), cwd or Path.cwd()
    if looks_like_a_key(text) or "\0" in text:
        raise _refused("MANIFEST", "this is no path")
    for given in overrides.layer().fields.values():
        if not is_unicode(given.single):
            raise _refused(given.place.file, "is not valid UTF-8")
    path, shown = folder / text, _shown(text, folder)
    findings, head = Findings(), Head()
    kind = path.suffix.lower()
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refused(shortened(shown), f"cannot be read: {error.strerror}") from None
    if (kind in _YAML or kind in TABLE_KINDS) and not path.is_dir() and (path.is_file() or not glob.has_magic(text)):
        if not path.exists():
            raise _refused(shown, "there is no such file")
        if not path.is_file():
            raise _refused(shown, "is not a regular file")
        root = path.parent
        _read_file(path, shown, head, findings, sibling=overrides.sibling)
    elif path.is_dir() or glob.has_magic(text) or kind in IMAGE_SUFFIXES:
        root = folder
        head.name = path.name if path.is_dir() else (path.parent.name or "pictures")
        metadata = path.is_dir() and any(names_pictures(path / name) for name in METADATA if (path / name).is_file())
        head.sources = [Source("imagefolder" if metadata else "glob", shown, Place(shown))]
    else:
        raise _refused(shown, "is neither a YAML, CSV, JSON Lines or Parquet file, nor a folder, a picture or a glob")
    manifest = Manifest(text, path if head.files else None, root, head, overrides, shown)
    manifest.note(findings)
    return manifest


def _shown(text: str, folder: Path) -> str:
    """A path as a user in the folder would type it."""
    try:
        return str(PurePath(text).relative_to(folder)) if PurePath(text).is_absolute() else text
    except ValueError:
        return text


def _read_file(path: Path, shown: str, head: Head, findings: Findings, *, sibling: bool) -> None:
    head.name = path.stem
    head.files.append(path)
    if path.suffix.lower() in _YAML:
        HeadReader(findings, path.parent, rows_allowed=True).read(read_yaml(path, shown, streamed="items"), head)
        tables = [path.parent / source.where for source in head.sources if source.kind not in _SEARCHED]
        head.files.extend(table for table in tables if os.path.isfile(table))  # which takes any name
        return
    beside = path.with_name(f"{path.stem}.defaults.yaml")
    if sibling and beside.is_file():
        head.files.append(beside)
        head.defaults_file = str(PurePath(shown).with_name(beside.name))
        HeadReader(findings, path.parent, rows_allowed=False).read(read_yaml(beside, head.defaults_file), head)
    head.sources = [Source(TABLE_KINDS[path.suffix.lower()], path.name, Place(shown))]
    _say_what_it_is(path, shown, head, findings)


def _say_what_it_is(path: Path, shown: str, head: Head, findings: Findings) -> None:
    """Refuse an export that is given without its preset: none of its rows would have a picture."""
    levels = [head.defaults, *(layer for edit in head.edits for layer in (edit.layer, *edit.variants.values()))]
    if head.sources[0].kind == "urls" or any("image" in level.fields for level in levels):
        return
    try:
        columns = columns_of_file(path)
    except ManifestError:
        return  # it is said when the rows are read
    preset = recognise(columns) if "image" not in columns else None
    if preset is not None:
        message = f"no column is called image; this looks like {PRESETS[preset].about}"
        hint = f"Write a manifest with preset: {preset}, or let `batchedit init --from {shown}` do it"
        findings.problem(Problem(place=Place(shown, 1), code="known-export", field="image", message=message, hint=hint))


def _refused(shown: str, message: str) -> ManifestError:
    return ManifestError([Problem(place=Place(shown), code="unreadable", message=message)])
