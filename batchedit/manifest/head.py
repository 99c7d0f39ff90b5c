"""
Everything of a manifest but its rows: provider, limits, budget, defaults, prompts, edits, sources.

YAML is closed: a key that is not known is a problem, with the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import ROW_FIELDS, TASK_FIELDS, Given, looks_like_a_key, suggestion
from batchedit.manifest.findings import Findings
from batchedit.manifest.yaml_tree import Node
from batchedit.model import Limits, ProviderSettings
from batchedit.money import MicroUSD, parse_usd

VERSION = 1
TOP_KEYS = (
    "version", "name", "provider", "defaults", "prompts", "edits", "sources", "items", "budget", "limits",
)  # fmt: skip
SOURCE_KINDS = ("csv", "glob")
SOURCE_KEYS = (*SOURCE_KINDS, "requires", "limit", *(name for name in ROW_FIELDS if name not in ("edit", "note")))

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LIMITS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "rpm": ("requests_per_minute", int),
    "ipm": ("images_per_minute", int),
    "concurrency": ("in_flight", int),
    "attempts": ("attempts", int),
    "timeout": ("request_timeout_seconds", float),
    "deadline": ("run_deadline_seconds", float),
    "poll": ("poll_seconds", float),
    "list_lag": ("list_lag_seconds", float),
    "max_fail": ("max_failures", int),
}
_PROVIDER: dict[str, tuple[str, ...] | None] = {
    "name": None,
    "api": ("runs", "run"),
    "model": None,
    "base_url": None,
    "organization": None,
    "images_as": ("asset", "signed-url", "data-uri"),
    "size_as": ("object", "text"),
}


@dataclass(slots=True)
class Layer:
    """Fields and labels given at one level: defaults, an edit, a row, a variant, the command line."""

    fields: dict[str, Given] = field(default_factory=dict)
    labels: dict[str, Given] = field(default_factory=dict)


@dataclass(slots=True)
class Edit:
    """A named recipe and its variants, by name; without variants there is one, called nothing."""

    name: str
    layer: Layer
    variants: dict[str, Layer] = field(default_factory=dict)


@dataclass(slots=True)
class Source:
    """
    A place that rows come from.

    Attributes:
        kind: ``csv`` or ``glob``.
        where: File or pattern.
        layer: Fields that apply to each of its rows and win over its columns.
        variables: `vars` for each of its rows.
        requires: Columns that must not be empty; other rows are skipped.
        limit: At most so many rows; None for all.
    """

    kind: str
    where: str
    place: Place
    layer: Layer
    variables: dict[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(slots=True)
class Head:
    """The parsed head."""

    name: str = ""
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    limits: Limits = field(default_factory=Limits)
    limits_given: frozenset[str] = frozenset()
    budget: MicroUSD | None = None
    defaults: Layer = field(default_factory=Layer)
    prompts: dict[str, Given] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=lambda: [Edit("edit", Layer())])
    sources: list[Source] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


class HeadReader:
    """
    Reads a head from its tree.

    Args:
        root: Folder that relative paths start from.
        rows_allowed: False for the defaults beside a CSV file, which may not hold items or sources.
    """

    def __init__(self, findings: Findings, root: Path, *, rows_allowed: bool) -> None:
        self._findings, self._root, self._rows_allowed = findings, root, rows_allowed

    def read(self, tree: Node, head: Head) -> Head:
        """Fill in a head. Problems go to the findings."""
        top = self._mapping(tree, "the manifest", TOP_KEYS)
        self._version(tree, top)
        for key in ("items", "sources"):
            if key in top and not self._rows_allowed:
                self._wrong(top[key][0], "rows-in-defaults", "the rows are in the CSV file beside it", field=key)
        if "name" in top:
            head.name = self._text(top["name"][1], "name") or head.name
        if "provider" in top:
            head.provider = self._provider(top["provider"][1])
        if "limits" in top:
            head.limits, head.limits_given = self._limits(top["limits"][1])
        if "budget" in top:
            head.budget = self._budget(top["budget"][1])
        if "prompts" in top:
            head.prompts = self._prompts(top["prompts"][1], head)
        if "defaults" in top:
            head.defaults = self._layer(top["defaults"][1], "defaults", TASK_FIELDS)
        if "edits" in top:
            head.edits = self._edits(top["edits"][1]) or head.edits
        if self._rows_allowed:
            self._rows(top, head)
        return head

    def row_layer(self, node: Node) -> tuple[Layer, dict[str, str]]:
        """An inline item: its fields as templates, and its `vars`."""
        return self._layer(node, "the item", ROW_FIELDS), self._variables(node)

    # -- parts -----------------------------------------------------------------------------------------------

    def _version(self, tree: Node, top: dict[str, tuple[Place, Node]]) -> None:
        if "version" not in top:
            if self._rows_allowed:
                self._wrong(tree.place, "no-version", "the key version is missing", hint="Begin with: version: 1")
            return
        node = top["version"][1]
        text = node.value if isinstance(node.value, str) else ""
        if text != str(VERSION):
            newer = text.isdecimal() and int(text) > VERSION
            why = "needs a newer batchedit" if newer else "is not a version"
            self._wrong(node.place, "version", f"{text!r} {why}; this one reads version {VERSION}", field="version")

    def _rows(self, top: dict[str, tuple[Place, Node]], head: Head) -> None:
        if "sources" in top:
            for node in self._list(top["sources"][1], "sources"):
                source = self._source(node)
                if source is not None:
                    head.sources.append(source)
        if "items" in top:
            head.items = self._list(top["items"][1], "items")
        if "items" not in top and "sources" not in top:
            place = next(iter(top.values()))[0] if top else Place("manifest")
            self._wrong(place, "no-rows", "there are neither items nor sources")

    def _provider(self, node: Node) -> ProviderSettings:
        if isinstance(node.value, str):
            return ProviderSettings(name=node.value)
        settings = ProviderSettings()
        for key, (_, child) in self._mapping(node, "provider", tuple(_PROVIDER)).items():
            text, allowed = self._text(child, f"provider.{key}"), _PROVIDER[key]
            if text is None:
                continue
            if allowed is not None and text not in allowed:
                self._wrong(
                    child.place,
                    "bad-provider",
                    f"{text!r} is not one of {', '.join(allowed)}",
                    field=f"provider.{key}",
                    hint=suggestion(text, allowed),
                )
            elif key == "base_url" and not _is_origin(text):
                self._wrong(
                    child.place,
                    "bad-base-url",
                    f"{text!r} must be an https address (http is for this machine only)",
                    field="provider.base_url",
                )
            else:
                settings = replace(settings, **{key: text})
        return settings

    def _limits(self, node: Node) -> tuple[Limits, frozenset[str]]:
        limits, given = Limits(), set()
        for key, (_, child) in self._mapping(node, "limits", tuple(_LIMITS)).items():
            name, convert = _LIMITS[key]
            text = self._text(child, f"limits.{key}") or ""
            try:
                value = convert(text)
            except ValueError:
                value = None
            if value is None or not 0 <= value < 1e9 or (value == 0 and key != "list_lag"):
                self._wrong(child.place, "bad-limit", f"{text!r} is not a positive number", field=f"limits.{key}")
            else:
                limits = replace(limits, **{name: value})
                given.add(name)
        return limits, frozenset(given)

    def _budget(self, node: Node) -> MicroUSD | None:
        for _, child in self._mapping(node, "budget", ("run",)).values():
            text = self._text(child, "budget.run") or ""
            try:
                return parse_usd(text)
            except ValueError as error:
                self._wrong(child.place, "bad-budget", str(error), field="budget.run")
        return None

    def _prompts(self, node: Node, head: Head) -> dict[str, Given]:
        prompts = {}
        for name, (place, child) in self._mapping(node, "prompts", None).items():
            if isinstance(child.value, dict):
                given = self._prompt_file(child, head)
            else:
                text = self._text(child, f"prompts.{name}")
                given = None if text is None else Given(text, True, child.place)
            if given is not None and self._is_name(name, place, "a prompt"):
                prompts[name] = given
        return prompts

    def _prompt_file(self, node: Node, head: Head) -> Given | None:
        for _, child in self._mapping(node, "the prompt", ("file",)).values():
            path = self._root / (self._text(child, "file") or "")
            try:
                text = path.read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
                self._wrong(child.place, "unreadable", f"{path}: {reason}", field="file")
                return None
            head.files.append(path)
            return Given(text.strip(), True, Place(str(path), 1))
        return None

    def _edits(self, node: Node) -> list[Edit]:
        edits = []
        for name, (place, child) in self._mapping(node, "edits", None).items():
            edit = Edit(name, self._layer(child, f"the edit {name}", (*TASK_FIELDS, "variants")))
            variants = child.value.get("variants") if isinstance(child.value, dict) else None
            if variants is not None:
                for variant, (where, layer) in self._mapping(variants[1], "variants", None).items():
                    if self._is_name(variant, where, "a variant"):
                        edit.variants[variant] = self._layer(layer, f"the variant {variant}", TASK_FIELDS)
            if self._is_name(name, place, "an edit"):
                edits.append(edit)
        return edits

    def _source(self, node: Node) -> Source | None:
        keys = self._mapping(node, "the source", SOURCE_KEYS)
        kinds = [kind for kind in SOURCE_KINDS if kind in keys]
        if len(kinds) != 1:
            self._wrong(node.place, "bad-source", f"a source has one of: {', '.join(SOURCE_KINDS)}")
            return None
        where = self._text(keys[kinds[0]][1], kinds[0])
        if not where:
            return None
        source = Source(
            kinds[0],
            where,
            keys[kinds[0]][1].place,
            self._layer(node, "the source", SOURCE_KEYS),
            self._variables(node),
        )
        if "requires" in keys:
            required = keys["requires"][1]
            texts = [required] if isinstance(required.value, str) else self._list(required, "requires")
            source.requires = tuple(text for child in texts if (text := self._text(child, "requires")))
        if "limit" in keys:
            text = self._text(keys["limit"][1], "limit") or ""
            if text.isdecimal() and int(text) > 0:
                source.limit = int(text)
            else:
                self._wrong(keys["limit"][1].place, "bad-limit", f"{text!r} is not a positive number", field="limit")
        return source

    def _layer(self, node: Node, what: str, allowed: tuple[str, ...]) -> Layer:
        layer = Layer()
        for key, (_, child) in self._mapping(node, what, allowed).items():
            if key == "labels":
                for name, (_, label) in self._mapping(child, "labels", None).items():
                    text = self._text(label, f"labels.{name}")
                    if text is not None:
                        layer.labels[name] = Given(text, True, label.place)
            elif key in TASK_FIELDS or key in ("id", "edit", "note"):
                given = self._given(child, key)
                if given is not None:
                    layer.fields[key] = given
        return layer

    def _given(self, node: Node, name: str) -> Given | None:
        if node.value is None:
            return None
        if isinstance(node.value, list) and name == "references":
            texts = tuple(text for child in node.value if (text := self._text(child, name)))
            return Given(texts, True, node.place)
        text = self._text(node, name)
        return None if text is None else Given(text, True, node.place)

    def _variables(self, node: Node) -> dict[str, str]:
        if not isinstance(node.value, dict) or "vars" not in node.value:
            return {}
        pairs = self._mapping(node.value["vars"][1], "vars", None).items()
        return {name: text for name, (_, child) in pairs if (text := self._text(child, f"vars.{name}")) is not None}

    # -- small parts -----------------------------------------------------------------------------------------

    def _mapping(self, node: Node, what: str, allowed: Iterable[str] | None) -> dict[str, tuple[Place, Node]]:
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._wrong(node.place, "wrong-type", f"{what} must be a mapping of keys and values, not {node.kind()}")
            return {}
        if allowed is None:
            return node.value
        known = tuple(allowed)
        for key, (place, _) in node.value.items():
            if key not in known:
                hint = suggestion(key, known) or f"Known are: {', '.join(known)}"
                self._wrong(place, "unknown-key", f"{what} has no key {key!r}", field=key, hint=hint)
        return {key: pair for key, pair in node.value.items() if key in known}

    def _list(self, node: Node, what: str) -> list[Node]:
        if isinstance(node.value, list):
            return node.value
        if node.value is not None:
            self._wrong(node.place, "wrong-type", f"{what} must be a list, not {node.kind()}", field=what)
        return []

    def _text(self, node: Node, name: str) -> str | None:
        if node.value is None or isinstance(node.value, str):
            if node.value is not None and looks_like_a_key(node.value):
                self._wrong(
                    node.place,
                    "key-in-manifest",
                    "this looks like an API key; keys do not belong in a manifest",
                    field=name,
                    hint="Take it out, replace it at the provider, and set it in the environment",
                )
                return None
            return node.value
        self._wrong(node.place, "wrong-type", f"must be text, not {node.kind()}", field=name)
        return None

    def _is_name(self, name: str, place: Place, what: str) -> bool:
        if _NAME.fullmatch(name):
            return True
        self._wrong(
            place, "bad-name", f"{name!r} is no name for {what}: letters, digits, dots, hyphens and underscores"
        )
        return False

    def _wrong(self, place: Place, code: str, message: str, *, field: str = "", hint: str = "") -> None:
        self._findings.problem(Problem(place=place, code=code, message=message, field=field, hint=hint))


def _is_origin(url: str) -> bool:
    return bool(
        re.fullmatch(r"https://[^/\s@?#]+(/[^\s?#]*)?", url)
        or re.fullmatch(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?/?", url)
    )
