"""
A first manifest from what people have: a shop's export, a sheet, a list of URLs, a folder of pictures, a data set.

Looks at the columns and at the rows, writes a manifest that can be planned as it stands, and never over a file that is
there.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath

from batchedit import disk
from batchedit.errors import ManifestError, Place, Problem, UsageError
from batchedit.manifest import Findings, load_manifest
from batchedit.manifest.feeding import TABLE_KINDS, columns_of_file, names_pictures, source_rows
from batchedit.manifest.fields import Given, looks_like_a_key, shortened
from batchedit.manifest.globs import IMAGE_SUFFIXES
from batchedit.manifest.imagefolder import METADATA
from batchedit.manifest.layers import Row, Source
from batchedit.manifest.presets import PRESETS, recognise, resolve
from batchedit.manifest.refs import is_url, stem_of
from batchedit.manifest.schema import is_schema, schema_text
from batchedit.manifest.seen import Ids

FIRST_ROWS = 20
"""A new manifest of more rows begins with so many, so that the first look is small."""
_LOOKED_AT = 50
_ENV = """\
# Copy this file to .env and fill it in; .env itself must never be committed.
# Load it with:  set -a; . ./.env; set +a
RUNFLOW_API_KEY=
"""
_IGNORED = """\
.env
/out/
"""
_TITLES = ("title", "name", "product_name", "product", "item", "bezeichnung", "titel", "produkt", "nom", "nombre")
_CAPTIONS = ("caption", "text", "description", "alt")
_LABELS = ("client", "customer", "brand", "vendor", "season", "type", "category", "family")
_PICTURES = re.compile(r"image|picture|photo|foto|bild|img|url|file|link|src", re.IGNORECASE)
_KEYS = re.compile(
    r"^id$|sku|ean|gtin|code|article|artikel|number|nummer|\bnr\b|\bno\b|ref|handle|key|name", re.IGNORECASE
)
_MOST_KEYS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """
    What was written.

    Attributes:
        manifest: The manifest.
        what: What it was made from, in words.
        written: All new files, the manifest first.
        kept: Files that were there already and were left alone.
        limited: True if the manifest begins with the first `FIRST_ROWS` rows of more.
    """

    manifest: Path
    what: str
    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    limited: bool


@dataclass(slots=True)
class _Draft:
    """
    A source on its way into the manifest.

    Attributes:
        what: What it is, in words.
        source: As it is read to look at its rows, from the working folder.
        lines: Its keys and values in YAML, in order; the first names its kind.
        notes: Comments below it.
        named: True if the pictures' own names may be the same, so that what comes out is called by the ids.
    """

    what: str
    source: Source
    lines: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)
    named: bool = False


def start(origin: Path | None, folder: Path, target: Path | None = None) -> Started:
    """
    Write a manifest, and beside it its schema for editors, an example of the environment file and a `.gitignore` where
    there is none.

    Args:
        origin: A table, a list of URLs, a folder or a picture; None for a new folder with an example picture.
        folder: Where the manifest goes; it is made if it is not there.
        target: The manifest's file, None for one in the folder that is called as the origin.

    Raises:
        UsageError: if the manifest is there already, or nothing can be made from the origin.
        StorageError: if the disk does not take it.
    """
    name = "" if origin is None else origin.resolve().stem if origin.is_file() else origin.resolve().name
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    manifest = folder / f"{name or 'manifest'}.yaml" if target is None else target
    if os.path.lexists(manifest):
        raise UsageError(f"{manifest} is there already; nothing was written", hint="name another file with --to")
    written: list[Path] = []
    base = manifest.parent
    if origin is None:
        origin = base / "in"
        if not any(_pictures(origin)):
            written.append(_example(origin))
    draft = _draft(origin, base)
    text, limited = _text(draft, manifest, origin)
    kept, schema = [], base / "schema.json"
    if _is_free_or_ours(schema):
        text = f"# yaml-language-server: $schema={schema.name}\n{text}"
    beside = ((schema, schema_text()), (base / ".env.example", _ENV), (base / ".gitignore", _IGNORED))
    with disk.storage("write", manifest):
        disk.make_folders(base.absolute())
        _create(manifest, text)
        written.insert(0, manifest)
        for path, content in beside:
            if os.path.lexists(path):
                kept.append(path)
            else:
                _create(path, content)
                written.append(path)
    return Started(manifest=manifest, what=draft.what, written=tuple(written), kept=tuple(kept), limited=limited)


def _is_free_or_ours(path: Path) -> bool:
    """False if this is the schema of something else, which an editor must not hold a manifest against."""
    try:
        return not os.path.lexists(path) or is_schema(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False


def problems_of(manifest: Path) -> list[Problem]:
    """What is still wrong with the rows of a manifest, for whoever has just made it."""
    findings = Findings()
    try:
        for _ in load_manifest(manifest).tasks(findings):
            pass
    except ManifestError as error:
        return list(error.problems)
    return findings.problems


def _draft(origin: Path, base: Path) -> _Draft:
    """The source of an origin."""
    where = os.path.relpath(origin, base)
    kind = TABLE_KINDS.get(origin.suffix.lower())
    if looks_like_a_key(where):
        raise UsageError("the path looks like an API key")
    if origin.is_dir():
        return _folder(origin, where)
    if not origin.is_file():
        raise UsageError(f"{origin} is neither a file nor a folder")
    if origin.suffix.lower() in IMAGE_SUFFIXES:
        source = Source("glob", str(origin), Place(str(origin)))
        return _Draft("a picture", source, [("glob", _quoted(glob.escape(where)))])
    if kind is None:
        known = ", ".join(sorted(TABLE_KINDS))
        raise UsageError(
            f"{origin} is no table ({known}), no folder and no picture", hint="save a sheet as CSV (UTF-8)"
        )
    encoding = "" if kind == "parquet" else _encoding(origin)
    source = Source(kind, str(origin), Place(origin.name), encoding=encoding)
    draft = _Draft("a table", source, [(kind, _quoted(where))], named=True)
    if encoding:
        draft.lines.append(("encoding", encoding))
        draft.notes.append(f"The file is not UTF-8. If letters look wrong, it is not {encoding} either.")
    if kind == "urls":
        draft.what = "a list of URLs"
        return draft
    try:
        columns = columns_of_file(origin, encoding)
    except ManifestError as error:
        raise UsageError(str(error.problems[0])) from None
    preset = recognise(columns)
    if preset is not None:
        draft.what = PRESETS[preset].about
        draft.lines.append(("preset", preset))
        if "image" not in resolve(PRESETS[preset].columns, columns):
            name = _picture_column(source, columns)
            source.mapping["image"] = Given(name, False, source.place)
            draft.lines.append(("map", f"{{image: {_quoted(name)}}}"))
        source.preset = Given(preset, False, source.place)
    else:
        _sheet(draft, columns)
    return draft


def _folder(origin: Path, where: str) -> _Draft:
    if any(names_pictures(origin / name) for name in METADATA if (origin / name).is_file()):
        source = Source("imagefolder", str(origin), Place(str(origin)))
        return _Draft("an image folder with metadata", source, [("imagefolder", _quoted(where))])
    if not any(_pictures(origin)):
        raise UsageError(f"there is no picture in {origin}", hint=f"pictures are: {', '.join(sorted(IMAGE_SUFFIXES))}")
    flat = all(path.parent == origin for path in _pictures(origin))
    below = "*" if flat else "**/*"
    source = Source("glob", str(PurePath(glob.escape(str(origin)), below)), Place(str(origin)))
    pattern = str(PurePath(glob.escape(where), below))
    notes = [
        "Names of files can be taken apart, and the parts used in prompts and labels:",
        'pattern: "{sku}_{position}"',
    ]
    return _Draft("a folder of pictures", source, [("glob", _quoted(pattern))], notes)


def _sheet(draft: _Draft, columns: tuple[str, ...]) -> None:
    """Find out which column of a sheet is the picture, and what tells its rows apart."""
    source, mapping = draft.source, dict[str, str]()
    draft.what = "a sheet"
    if "image" not in columns:
        mapping["image"] = _picture_column(source, columns)
        source.mapping["image"] = Given(mapping["image"], False, source.place)
    template = ""
    if "id" not in columns:
        key = _key_of_rows(source, [name for name in columns if name and name not in mapping.values()])
        if key is None:
            raise UsageError(
                f"no column of {source.where} tells its rows apart, and their pictures have the same names",
                hint="add a column id with a different name for each row",
            )
        with_stem, column = key
        draft.named = column != ""
        if column:
            mapping["part" if with_stem else "id"] = column
        template = "{{ stem }}_{{ part }}" if with_stem and column else ""
    if mapping:
        pairs = ", ".join(f"{target}: {_quoted(name)}" for target, name in mapping.items())
        draft.lines.append(("map", f"{{{pairs}}}"))
        source.mapping = {target: Given(name, False, source.place) for target, name in mapping.items()}
    if template:
        draft.lines.append(("id", _quoted(template)))


def _picture_column(source: Source, columns: tuple[str, ...]) -> str:
    """The column whose cells are paths of pictures or URLs."""
    scores: dict[str, int] = dict.fromkeys(columns, 0)
    for row in islice(_rows(source), _LOOKED_AT):
        for name, cell in row.columns.items():
            scores[name] = scores.get(name, 0) + _names_a_picture(cell)
    found = [name for name in scores if name and scores[name]]
    if not found:
        listed = ", ".join(shortened(name) for name in columns if name and not looks_like_a_key(name))
        raise UsageError(
            f"no column of {source.where} names pictures; its columns are: {shortened(listed)}",
            hint="add a column image with paths or https URLs",
        )
    return max(found, key=lambda name: (scores[name], bool(_PICTURES.search(name))))


def _names_a_picture(cell: str) -> int:
    """How much a cell looks like the name of a picture: 2 for its extension, 1 for an https address, else 0."""
    path = cell.split("?", 1)[0].split("#", 1)[0] if is_url(cell) else cell
    if "\n" not in cell and PurePath(path).suffix.lower() in IMAGE_SUFFIXES:
        return 2
    return 1 if cell.lower().startswith("https://") and " " not in cell else 0


def _key_of_rows(source: Source, columns: list[str]) -> tuple[bool, str] | None:
    """
    What tells the rows apart: (True, "") the picture's name, (False, column), (True, column) for both together; None if
    nothing does.
    """
    likely = sorted(columns, key=lambda name: not _KEYS.search(name))[:_MOST_KEYS]
    open_keys = [(True, ""), *((False, name) for name in likely), *((True, name) for name in likely)]
    with ExitStack() as stack:
        seen = {key: stack.enter_context(Ids()) for key in open_keys}
        for row in _rows(source):
            image = row.layer.fields.get("image")
            if image is None:
                continue
            stem = stem_of(image.single)
            for key in tuple(open_keys):
                cell = row.columns.get(key[1], "")
                text = f"{stem if key[0] else ''}\0{cell}"
                known = seen[key].claim(text, "")
                if (key[1] and not cell) or (known is not None and known.id == text):
                    open_keys.remove(key)
    return open_keys[0] if open_keys else None


def _rows(source: Source) -> Iterator[Row]:
    try:
        yield from source_rows(source, Path(), "", Findings())
    except ManifestError as error:
        raise UsageError(str(error.problems[0])) from None


def _text(draft: _Draft, manifest: Path, origin: Path) -> tuple[str, bool]:
    """The manifest's text, and whether it is limited to the first rows."""
    found = (row for row in _rows(draft.source) if "image" in row.layer.fields)
    rows = list(islice(found, FIRST_ROWS + 1))
    if not rows:
        raise UsageError(f"no row of {origin} has a picture")
    names = rows[0].values
    # Objects of JSON Lines need not have the same keys.
    loose = "|default('')" if draft.source.kind == "jsonl" else ""
    limited = len(rows) > FIRST_ROWS
    command = _printable(shlex.quote(str(manifest)))
    lines = [
        f"# Made from {_printable(origin.name or str(origin))}, {draft.what}.",
        "#",
        f"#   batchedit plan {command} --rehearse     what would it cost? sends nothing",
        f"#   batchedit run {command} --rehearse      try it: no key, no network, no real money",
        "#",
        "version: 1",
        "",
        "# For real pictures take out the first # of the next line, and set RUNFLOW_API_KEY (see .env.example).",
        "# provider: runflow",
        "",
        "defaults:",
        "  quality: medium                 # low, medium or high",
        f"  prompt: {_quoted(_prompt(names, loose))}",
        *(['  output: "{{ id }}.{{ ext }}"'] if draft.named else []),
        *_labels(names, loose),
        "",
        "sources:",
    ]
    for number, (key, value) in enumerate(draft.lines):
        lines.append(f"  {'-' if number == 0 else ' '} {key}: {value}")
    if limited:
        lines.append(f"    limit: {FIRST_ROWS}                      # to begin with; take the line out for all rows")
    lines += [f"    # {note}" for note in draft.notes]
    preset = PRESETS.get(draft.source.preset.single) if draft.source.preset is not None else None
    known = {name for name in names if name == name.lower() and not looks_like_a_key(name)}
    own = known & {*preset.columns, "position"} if preset is not None else known
    if own:
        rest = "; and every other column, in lower case with underscores" if len(own) < len(known) else ""
        lines += ["", *_wrapped(f"Names for prompts, labels, outputs and where: {', '.join(sorted(own))}{rest}")]
    lines += ["", "budget: {run: 5.00}               # dollars; no run spends more", ""]
    return "\n".join(lines), limited


def _prompt(names: dict[str, str], loose: str) -> str:
    title = next((name for name in _TITLES if name in names), None)
    caption = next((name for name in _CAPTIONS if name in names), None)
    if title is not None:
        return f"Put the {{{{ {title}{loose} or 'product' }}}} on a pure white background. Change nothing on it."
    if caption is not None:
        return f"Put what the picture is about on a pure white background. It shows: {{{{ {caption}{loose} }}}}"
    return "Put the product on a pure white background. Change nothing on it."


def _labels(names: dict[str, str], loose: str) -> list[str]:
    found = [name for name in _LABELS if name in names][:2]
    if not found:
        return ["  # labels: {client: acme}        # costs are reported by label"]
    pairs = ", ".join(f'{name}: "{{{{ {name}{loose} }}}}"' for name in found)
    return [f"  labels: {{{pairs}}}  # costs are reported by label"]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 110, initial_indent="# ", subsequent_indent="# ", max_lines=6, placeholder=" ...", break_on_hyphens=False
    )


def _printable(text: str) -> str:
    """A text that can stand in a comment."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _quoted(text: str) -> str:
    """A text in YAML's double quotes."""
    escaped = (f"\\{char}" if char in '"\\' else char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(escaped)}"'


def _encoding(path: Path) -> str:
    """Empty for UTF-8, and for UTF-16 with its mark; else the likeliest encoding of old spreadsheets."""
    try:
        with path.open("rb") as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                return ""
        for encoding in ("utf-8", "cp1252"):
            if _is_in(path, encoding):
                return "" if encoding == "utf-8" else encoding
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    return "latin-1"


def _is_in(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding) as file:
            while file.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _pictures(folder: Path) -> Iterator[Path]:
    """The pictures in a folder and below that are not hidden, those in the folder itself first."""
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield Path(base, name)


def _example(folder: Path) -> Path:
    """Draw a picture to begin with."""
    import io

    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (768, 768), (176, 164, 150))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 560, 768, 768), fill=(120, 98, 80))
    draw.ellipse((470, 300, 640, 500), outline=(160, 40, 40), width=34)
    draw.rounded_rectangle((220, 230, 540, 610), radius=40, fill=(190, 54, 50))
    draw.ellipse((220, 195, 540, 275), fill=(96, 22, 22))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    path = folder / "example.png"
    with disk.storage("write", path):
        disk.make_folders(folder.absolute())
        _write(path, buffer.getvalue())
    return path


def _create(path: Path, text: str) -> None:
    _write(path, text.encode())


def _write(path: Path, data: bytes) -> None:
    """Write a complete file of a new name; others may read it."""
    temporary = disk.temporary_in(path.parent, ".batchedit-")
    disk.append(temporary, data)
    os.chmod(temporary, 0o644)
    disk.sync_file(temporary)
    try:
        disk.alone(disk.publish(temporary, path))
    except FileExistsError:
        raise UsageError(f"{path} is there already, and was left as it is") from None
