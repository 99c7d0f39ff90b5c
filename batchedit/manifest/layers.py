"""What a manifest's head is once it is read: levels of fields, edits with their variants, sources, settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from batchedit.errors import Place
from batchedit.manifest.fields import Given
from batchedit.manifest.finishing import Finish
from batchedit.manifest.patterns import Pattern
from batchedit.model import Limits, ProviderSettings, ReviewSettings
from batchedit.money import MicroUSD
from batchedit.pricing import PriceList


@dataclass(slots=True)
class Layer:
    """Fields and labels given at one level: defaults, an edit, a row, a variant, the command line."""

    fields: dict[str, Given] = field(default_factory=dict)
    labels: dict[str, Given] = field(default_factory=dict)
    post: Finish | None = None
    checks: Finish | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Which edit's output another one starts from: its variant (empty without), and what must have become of it."""

    edit: str
    variant: str
    when: str


@dataclass(slots=True)
class Edit:
    """
    A named recipe.

    Attributes:
        variants: By name; without variants there is one, called nothing.
        values: For variants that come from a matrix, their variables.
        start: The edit whose output it starts from, None for one that starts from the row's picture.
    """

    name: str
    layer: Layer
    variants: dict[str, Layer] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    start: Start | None = None


@dataclass(slots=True)
class Source:
    """
    A place that rows come from.

    Attributes:
        kind: ``csv``, ``jsonl``, ``parquet``, ``glob``, ``urls`` or ``imagefolder``.
        where: File, folder or pattern; empty for URLs that stand in the manifest.
        place: Where it is named.
        layer: Fields that apply to each of its rows and win over its columns.
        variables: `vars` for each of its rows.
        requires: Columns that must not be empty; other rows are skipped.
        limit: At most so many rows; None for all.
        preset: Name of a preset for its table, as written; None for none.
        mapping: Field, variable or ``label.NAME`` -> the column that gives it, as written.
        pattern: What the names of its pictures say.
        condition: An expression; rows for which it is false are left out.
        encoding: Of its file; empty to tell it from the file's mark.
        strict: True if a column that is no field, label or variable of `mapping` is a mistake.
        urls: URLs that stand in the manifest.
    """

    kind: str
    where: str
    place: Place
    layer: Layer = field(default_factory=Layer)
    variables: dict[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    limit: int | None = None
    preset: Given | None = None
    mapping: dict[str, Given] = field(default_factory=dict)
    pattern: Pattern | None = None
    condition: Given | None = None
    encoding: str = ""
    strict: bool = False
    urls: tuple[Given, ...] = ()


@dataclass(slots=True)
class Record:
    """
    One line of a table as it is read, before anything is made of its columns.

    Attributes:
        names: The columns; the same object for lines with the same columns.
        cells: Their texts, one for each name.
        labels, variables, lists, finishes: What JSON and Parquet can give as lists and objects; the last are `post`
            and `checks`, by name.
        text: The line itself, where it is JSON.
    """

    place: Place
    names: tuple[str, ...]
    cells: list[str]
    labels: dict[str, Given] | None = None
    variables: dict[str, str] | None = None
    lists: dict[str, Given] | None = None
    finishes: dict[str, Finish] | None = None
    text: str = ""


@dataclass(slots=True)
class Row:
    """
    One input row.

    Attributes:
        place: File and first physical line.
        layer: The fields and labels that it gives.
        values: Variables for templates, by name.
        columns: The row as it stood, by the original column names.
        folder: For globs, the folders below the pattern's fixed part, to be mirrored; else none.
        inline: True for an item written in the manifest itself.
        base: Folder that paths in its cells start from; None for the manifest's own.
        default_id: The id if none is given, where it is not the picture's file name without extension.
        below: The picture's path below its source, without extension; empty for rows of tables.
        within: Folder of its source, which the head names; its files may lie there.
        record: The line of the table as it was read; None without a table.
    """

    place: Place
    layer: Layer = field(default_factory=Layer)
    values: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    folder: tuple[str, ...] = ()
    inline: bool = False
    base: Path | None = None
    default_id: str | None = None
    below: str = ""
    within: Path | None = None
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that may be spent on tasks with one value of a label, or of one edit; and where that is written."""

    label: str
    value: str
    amount: MicroUSD
    place: Place


@dataclass(frozen=True, slots=True)
class Spending:
    """
    The manifest's budget. All amounts in micro-dollars.

    Attributes:
        run: For the whole run; None for no limit of the manifest's.
        per_request: The highest price of one request.
        caps: For labels and edits.
        warn_at: Percent of each limit at which a note is due.
    """

    run: MicroUSD | None = None
    per_request: MicroUSD | None = None
    caps: tuple[Cap, ...] = ()
    warn_at: tuple[int, ...] = ()


@dataclass(slots=True)
class Head:
    """
    The parsed head.

    Attributes:
        items: True if the manifest has rows of its own; they are read anew for each pass.
        prices: A list of the user's own; None for the shipped one.
        input_roots: Folders that rows may name files in, as written, besides those of the manifest and its sources.
        files: What the head was read from, and the tables it names.
        defaults_file: The defaults beside a table, as the user would type it; empty if there are none.
    """

    name: str = ""
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    limits: Limits = field(default_factory=Limits)
    limits_given: frozenset[str] = frozenset()
    spending: Spending = field(default_factory=Spending)
    defaults: Layer = field(default_factory=Layer)
    prompts: dict[str, Given] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=lambda: [Edit("edit", Layer())])
    sources: list[Source] = field(default_factory=list)
    items: bool = False
    selectors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prices: PriceList | None = None
    input_roots: tuple[str, ...] = ()
    review: ReviewSettings = field(default_factory=ReviewSettings)
    files: list[Path] = field(default_factory=list)
    defaults_file: str = ""
