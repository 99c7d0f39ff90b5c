"""
What may stand in a manifest: every key, what it means, what its value may look like, an example.

The reader takes its known keys from here, the JSON Schema is made from here, and `docs/manifest.md` is compared with
it: one list, so that the three cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from batchedit.manifest.presets import PRESETS
from batchedit.model import (
    FORMATS,
    GATES,
    MAX_PROMPT,
    MAX_REASONS,
    MAX_SAMPLES,
    MIN_PROMPT,
    ON_UNKNOWN,
    QUALITIES,
    REASONS,
    SIZE_PRESETS,
    STORAGE,
    VERIFY,
)
from batchedit.recipe import DEFAULT_FLOOR, DEFAULT_QUALITY, SEVERITIES, SOURCE_TYPES

PRESET_NAMES = tuple(PRESETS)
NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
"""Names of edits, variants and prompts."""


@dataclass(frozen=True, slots=True)
class Text:
    """Any text; numbers and words such as `no` stay what is written. `pattern` is an expression for all of it."""

    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Number:
    """
    A number, or one of a few words instead of it.

    Attributes:
        least: 0 or 1; what is no whole number must be above 0 for 1.
        most: Largest whole number.
        optional: True if its key may stand there without a value.
    """

    whole: bool = True
    least: int = 1
    most: int | None = None
    words: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in dollars."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; where `or_one` is set, a single value may stand for a list of it."""

    value: Value
    or_one: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the user chooses. `names` is a regular expression for them, empty for any."""

    value: Value
    names: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """A mapping with known keys, of which those in `required` must be there; or what `instead` says."""

    keys: tuple[Key, ...]
    required: tuple[str, ...] = ()
    instead: Value | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys."""
        return names(self.keys)


Value: TypeAlias = Text | Choice | Flag | Number | Money | ListOf | MapOf | Keys


@dataclass(frozen=True, slots=True)
class Key:
    """
    One key.

    Attributes:
        means: For whoever hovers over it in an editor, or reads the manual.
        example: A value as it would stand in YAML, already read.
    """

    name: str
    value: Value
    means: str
    example: object


def names(keys: Iterable[Key]) -> tuple[str, ...]:
    """The names of keys."""
    return tuple(key.name for key in keys)


NONE = "none"
"""Switches off what a level below, or a profile, has said."""

PROFILES = (
    "amazon-main", "amazon-secondary", "etsy", "google-merchant", "shopify", "walmart", "zalando-packshot",
)  # fmt: skip
"""Names of the files in `marketplaces`."""

_SIZE, _RATIO = "[0-9]{1,5}[xX][0-9]{1,5}", "[0-9]{1,5}:[0-9]{1,5}"
_COLOUR = "white|black|#(?:[0-9A-Fa-f]{3}){1,2}"
_SEVERITY = Key("severity", Choice(SEVERITIES), "`warn` (default) or `fail`; neither buys or hides anything", "fail")
_TOLD = Choice((*SEVERITIES, NONE))


def _least(most: int | None, example: int, *more: Key) -> Keys:
    """A bound from below, alone or with a severity."""
    least = Key("least", Number(most=most), "the least that is wanted", example)
    return Keys((least, *more, _SEVERITY), required=("least",), instead=Number(most=most, words=(NONE,)))


POST_KEYS = (
    Key("profile", Choice((*PROFILES, NONE)), "a marketplace whose `post` and `checks` hold where nothing else is said",
        "amazon-main"),
    Key("srgb", Flag(), "`true`: convert the colours to sRGB", True),
    Key("background", Text(f"{_COLOUR}|{NONE}"), "colour that shows where pixels are transparent: `white`, `black`,"
        " `#rrggbb`", "#ffffff"),
    Key("crop", Text(f"{_SIZE}|{_RATIO}|{NONE}"), "the middle of the picture: a ratio, or at most a size", "4:5"),
    Key("fit", Keys((
            Key("size", Text(_SIZE), "the box", "1600x1600"),
            Key("enlarge", Flag(), "`true`: smaller pictures are scaled up into it", True),
        ), required=("size",), instead=Text(f"{_SIZE}|{NONE}")),
        "the box that the picture is scaled down into", "1600x1600"),
    Key("snap_white", Number(most=254, words=(NONE,)), "nearly white pixels that hang together with the border become"
        " 255,255,255 if none of their channels is below this", 245),
    Key("pad", Keys((
            Key("size", Text(f"{_SIZE}|{_RATIO}"), "the canvas: pixels, or only a ratio", "1801x2600"),
            Key("background", Text(_COLOUR), "its colour; default: that of `post`, or white", "#f4f4f4"),
        ), required=("size",), instead=Text(f"{_SIZE}|{_RATIO}|{NONE}")),
        "exactly this canvas around the picture, which is scaled down if it is larger", "1801x2600"),
    Key("metadata", Keys((
            Key("keep", Flag(), "`true` (default): XMP, EXIF and, where the format stays, C2PA are kept", True),
            Key("digital_source_type", Choice((*SOURCE_TYPES, NONE)), "IPTC's term for how the picture was made,"
                " written into its XMP", "compositeWithTrainedAlgorithmicMedia"),
        )), "what the file says about itself", {"keep": True}),
    Key("format", Choice((*FORMATS, "jpg", NONE)), "of the delivered file; default: as it was bought", "jpeg"),
    Key("quality", Number(most=100, words=(NONE,)), f"1 to 100, for JPEG and WebP; default {DEFAULT_QUALITY}", 85),
    Key("max_bytes", Keys((
            Key("most", Number(), "the largest file", 500_000),
            Key("floor", Number(most=100), f"the quality is not lowered below this; default {DEFAULT_FLOOR}", 60),
        ), required=("most",), instead=Number(words=(NONE,))),
        "the largest file in bytes; the quality is lowered for it, with JPEG and WebP", 500_000),
)  # fmt: skip
"""What `post` may hold."""

CHECK_KEYS = (
    Key("decodes", _TOLD, "the file can be decoded to its last pixel", "fail"),
    Key("min_side", _least(None, 1000, Key("side", Choice(("shortest", "longest")), "which one; default `shortest`",
        "longest")), "pixels that a side has at least", 1000),
    Key("aspect", Keys((
            Key("ratio", Text(_RATIO), "width to height", "1:1"),
            Key("tolerance", Number(whole=False, least=0), "how far it may be off, in percent; default 1", 0.5),
            _SEVERITY,
        ), required=("ratio",), instead=Text(f"{_RATIO}|{NONE}")), "width to height", "1:1"),
    Key("white_border", _least(100, 100), "percent of the border's pixels that are pure white", 100),
    Key("fill", _least(100, 85), "percent of the frame, in width or in height, that is not background", 85),
    Key("not_identical", _TOLD, "it does not look the same as the picture that it was made from", "warn"),
    Key("not_blank", _TOLD, "there is something to be seen", "fail"),
    Key("phash_distance", Keys((
            Key("least", Number(most=64), "bits that must differ, so that something was done", 2),
            Key("most", Number(most=64), "bits that may differ, so that it is still the same thing", 20),
            _SEVERITY,
        ), instead=Number(most=64, words=(NONE,))), "how far the look is from that of the picture that it was made"
        " from: 0 to 64 bits of a perceptual hash; a number alone is the most", 20),
    Key("max_bytes", Keys((Key("most", Number(), "the largest file", 5_000_000), _SEVERITY), required=("most",),
        instead=Number(words=(NONE,))), "the largest file in bytes", 5_000_000),
)  # fmt: skip
"""What `checks` may hold."""

_LABELS = Key(
    "labels", MapOf(Text()), "names and values for the cost report; merged over the levels", {"client": "acme"}
)

TASK_KEYS = (
    Key("prompt", Text(), f"text, or the name of an entry in `prompts`; {MIN_PROMPT} to {MAX_PROMPT:,} characters",
        "Put the {{ title }} on a white background"),
    Key("image", Text(), "path or https URL of the picture to edit", "in/{{ sku }}.jpg"),
    Key("mask", Text(), "path or https URL; transparent pixels are the region to edit. A path that ends in `?` may be"
        " missing", "masks/{{ stem }}.png?"),
    Key("references", ListOf(Text(), or_one=True), "further pictures; a list, or one text separated by `|`; 16 pictures"
        " in all", ["refs/brand.png"]),
    Key("quality", Choice(QUALITIES), "`low`, `medium`, `high` (default)", "medium"),
    Key("size", Text("|".join(SIZE_PRESETS) + "|[0-9]{1,5}[xX][0-9]{1,5}"),
        "`auto` (default), a preset, or `WIDTHxHEIGHT`: multiples of 16, up to 3840, 655,360 to 8,294,400 pixels",
        "1024x1536"),
    Key("format", Choice((*FORMATS, "jpg")), "`png` (default), `jpeg`, `webp`", "jpeg"),
    Key("n", Number(most=MAX_SAMPLES, optional=True), f"1 to {MAX_SAMPLES} pictures per task", 2),
    Key("sync_mode", Flag(), "`true`: the provider answers with the picture itself instead of a URL", False),
    Key("output", Text(), "template of the path below the output folder", "{{ client }}/{{ stem }}.{{ ext }}"),
    _LABELS,
    Key("tags", ListOf(Text(), or_one=True), "words to select tasks by, as `tag:hero`; a list, or one text separated by"
        " `|`", ["hero"]),
    Key("enabled", Flag(), "`false` skips the row, edit or variant", True),
    Key("post", Keys(POST_KEYS, instead=Text("|".join((*PROFILES, NONE)))), "how the delivered file is made from what"
        " was bought, for free; a profile's name alone is that profile. Levels merge key by key", {"fit": "1600x1600"}),
    Key("checks", Keys(CHECK_KEYS, instead=Text(NONE)), "what delivered files are looked at for. Levels merge key by"
        " key",        {"min_side": 1000}),
)  # fmt: skip
"""What a row, an edit, a variant and the defaults may hold."""

ROW_KEYS = (
    Key("id", Text(), "stable name of the row; default: the picture's file name without extension", "{{ sku }}"),
    *TASK_KEYS,
    Key("edit", ListOf(Text(), or_one=True), "only these edits, a list or separated by `|`", ["white"]),
    Key("note", Text(), "ignored", "ask the client about the label"),
    Key("vars", MapOf(Text()), "variables for templates; data, never rendered", {"colour": "red"}),
)
"""What a row may hold."""

PROVIDER_KEYS = (
    Key("name", Text("[!-~]{1,200}"), "`rehearsal` (default) or `runflow`", "runflow"),
    Key("api", Choice(("runs", "run")), "`runs` (default; runs can be found again) or `run` (synchronous)", "runs"),
    Key("model", Text(r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*"), "the provider's model id",
        "openai/gpt-image-2/edit"),
    Key("base_url", Text(), "address of the API; https, or http on this machine", "https://api.example.com"),
    Key("organization", Text("[!-~]{1,200}"), "whose account pays; default: the key's own", "org_123"),
    Key("images_as", Choice(("asset", "signed-url", "data-uri")), "how local pictures are handed over", "asset"),
    Key("size_as", Choice(("object", "text")), "how an explicit size is written on the wire", "object"),
    Key("storage", Choice(STORAGE), "where pictures are uploaded to and fetched from: `public` (default: https at"
        " public addresses) or `any` (https at any address)", "public"),
    Key("keep_metadata", Flag(), "`true`: local pictures are sent as they are, with the place where they were taken and"
        " whatever else they say", True),
    Key("on_unknown", Choice(ON_UNKNOWN), "what becomes of an outcome that asking the provider does not settle:"
        " `hold` (default), `resend` once, `write-off`", "hold"),
)  # fmt: skip

LIMIT_KEYS = (
    Key("rpm", Number(words=("auto", "none")), "edits started per minute; `auto` (default) finds the provider's limit",
        300),
    Key("ipm", Number(), "pictures bought per minute", 300),
    Key("calls", Number(), "calls of any kind per minute, polls and uploads included", 1200),
    Key("concurrency", Number(), "edits in flight; default 64", 32),
    Key("attempts", Number(), "attempts for one request; default 5", 5),
    Key("timeout", Number(whole=False), "seconds for one call", 60),
    Key("deadline", Number(whole=False), "seconds to follow one run before it is left to the next start", 1800),
    Key("poll", Number(whole=False), "seconds before the first look at a run", 2),
    Key("list_lag", Number(whole=False, least=0), "seconds that the provider's list of runs may lag behind", 60),
    Key("max_fail", Number(), "stop after so many failed requests", 50),
    Key("jobs", Number(), "most tasks that the manifest may make; default 100,000", 1_000_000),
    Key("verify", Choice(VERIFY), "`full` (default) makes sure that each picture that arrives can be decoded to its"
        " last pixel; `structure` checks a PNG by its checksums and its end, which takes a tenth of the time", "full"),
)  # fmt: skip

BUDGET_KEYS = (
    Key("run", Money(), "the most that spent and at risk may come to, in dollars", "25.00"),
    Key("per_request", Money(), "the highest price of one request, in dollars", "0.25"),
    Key("per", MapOf(MapOf(Money())), "label, or `edit` -> value -> the most for it, in dollars",
        {"client": {"acme": "15.00"}}),
    Key("warn_at", ListOf(Number(most=100), or_one=True), "percent of each limit at which a note is made", [50, 80]),
)  # fmt: skip

REVIEW_KEYS = (
    Key("reasons", MapOf(Text(), NAME_PATTERN), f"word -> what it stands for: why pictures are rejected, on the keys 1"
        f" to {MAX_REASONS}; instead of {', '.join(f'`{word}`' for word in REASONS)}", {"halo": "halo or cut edge"}),
    Key("checklist", ListOf(Text(), or_one=True), "what to look for, shown beside the pictures",
        ["Is the label readable?"]),
    Key("blind", Flag(), "`true`: variants are compared side by side without their names", True),
)  # fmt: skip

EDIT_KEYS = (
    *TASK_KEYS,
    Key("variants", MapOf(Keys(TASK_KEYS), NAME_PATTERN), "named alternatives of the edit, each with its own fields",
        {"oak": {"prompt": "Put it on an oak table"}}),
    Key("matrix", MapOf(ListOf(Text(), or_one=True)), "name -> values: a variant for each combination, whose values are"
        " variables", {"colour": ["red", "blue"]}),
    Key("exclude", ListOf(MapOf(Text())), "combinations of the matrix that are left out", [{"colour": "red"}]),
    Key("from", Text("(?:.|\\n)+"), "the edit, or `EDIT/VARIANT`, whose picture this one starts from, instead of the"
        " row's", "white"),
    Key("when", Choice(GATES), "with `from`: start as soon as that picture is `done` (default), or once it is"
        " `approved`", "approved"),
)  # fmt: skip

SOURCE_KEYS = (
    Key("csv", Text(), "a CSV or TSV file", "shop.csv"),
    Key("jsonl", Text(), "a JSON Lines file", "rows.jsonl"),
    Key("parquet", Text(), "a Parquet file, or a folder of them; needs the extra `parquet`", "rows.parquet"),
    Key("glob", Text(), "pictures in folders", "in/**/*.jpg"),
    Key("urls", ListOf(Text(), or_one=True), "a text file with a URL in each line, or a list of URLs", "urls.txt"),
    Key("imagefolder", Text(), "a folder with `metadata.csv` or `metadata.jsonl`", "dataset"),
    Key("preset", Choice(PRESET_NAMES), "what the columns of a known export mean", "shopify"),
    Key("map", MapOf(Text()), "field, variable or `label.NAME` -> column", {"image": "Image Src"}),
    Key("columns", Choice(("strict", "open")), "`strict`: a column that is not known is an error", "strict"),
    Key("encoding", Text(), "of a text file that has no mark and is not UTF-8", "cp1252"),
    Key("pattern", Text(), "names of the parts of a file's name, which become variables", "{sku}_{pos}"),
    Key("where", Text(), "an expression over the columns; other rows are left out", "type != 'Gift card'"),
    Key("requires", ListOf(Text(), or_one=True), "columns that must not be empty; rows without are skipped and listed",
        ["image_src"]),
    Key("limit", Number(), "at most so many rows", 100),
    *(key for key in ROW_KEYS if key.name != "note"),
)  # fmt: skip
"""What a source may hold: where its rows are, and fields for each of them."""

TOP_KEYS = Keys(
    (
        Key("version", Number(most=1), "always 1", 1),
        Key("name", Text(), "what runs are noted under; default: the file's name", "autumn"),
        Key("provider", Keys(PROVIDER_KEYS, instead=Text()), "who does the edits: a name, or a mapping. Never a key",
            "rehearsal"),
        Key("defaults", Keys(TASK_KEYS), "fields for every task", {"quality": "medium"}),
        Key("prompts", MapOf(Keys((Key("file", Text(), "a text file", "p.txt"),), required=("file",), instead=Text()),
            NAME_PATTERN), "name -> text, or `{file: p.txt}`", {"white": "Put it on white"}),
        Key("edits", MapOf(Keys(EDIT_KEYS), NAME_PATTERN), "name -> fields. None: one edit called `edit`",
            {"white": {"prompt": "Put it on white"}}),
        Key("sources", ListOf(Keys(SOURCE_KEYS)), "where rows come from, with any field as a template over their"
            " columns", [{"csv": "shop.csv"}]),
        Key("input_roots", ListOf(Text(), or_one=True), "further folders that rows may name pictures in, besides those"
            " of the manifest, of its tables and of its globs", ["../photos"]),
        Key("items", ListOf(Keys(ROW_KEYS)), "rows in place", [{"id": "a", "image": "in/a.png"}]),
        Key("budget", Keys(BUDGET_KEYS), "how much may be spent", {"run": "25.00"}),
        Key("prices", Text(), "a price list of your own, in the form of `batchedit/prices.yaml`", "prices.yaml"),
        Key("limits", Keys(LIMIT_KEYS), "how hard the provider may be driven", {"rpm": 300}),
        Key("review", Keys(REVIEW_KEYS), "how `batchedit review` lets people look at the pictures", {"blind": True}),
        Key("selectors", MapOf(ListOf(Text(), or_one=True)), "name -> selection, or a list of them (either one counts):"
            " what `@name` stands for in `--select` and `--exclude`", {"nightly": "client:acme,edit:white"}),
    ),
    required=("version",),
)  # fmt: skip
