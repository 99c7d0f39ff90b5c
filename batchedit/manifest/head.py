"""
Everything of a manifest but its rows: settings, defaults, prompts, edits, sources.

YAML is closed: a key that is not known is a problem, with the nearest known one.
"""

from __future__ import annotations

from pathlib import Path

from batchedit.errors import ManifestError, Place, Problem
from batchedit.manifest.budgeting import read_spending
from batchedit.manifest.chained import ChainReader
from batchedit.manifest.fields import TASK_FIELDS, Given, key_problem, looks_like_a_key, shortened
from batchedit.manifest.findings import Findings
from batchedit.manifest.layers import Edit, Head
from batchedit.manifest.matrix import MatrixReader
from batchedit.manifest.price_list import read_prices
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.refs import is_url
from batchedit.manifest.reviewing import read_review
from batchedit.manifest.selectors import read_selectors
from batchedit.manifest.settings import read_limits, read_provider
from batchedit.manifest.source_keys import SourceReader
from batchedit.manifest.vocabulary import EDIT_KEYS, TOP_KEYS, names
from batchedit.manifest.yaml_tree import Node

VERSION = 1
MAX_PROMPT_FILE = 1_000_000
"""Bytes; a longer file is no prompt."""


class HeadReader:
    """
    Reads a head from its tree.

    Args:
        findings: Where problems go.
        root: Folder that relative paths start from.
        rows_allowed: False for the defaults beside a table, which may not hold items or sources.
    """

    def __init__(self, findings: Findings, root: Path, *, rows_allowed: bool) -> None:
        self._findings, self._root, self._rows_allowed = findings, root, rows_allowed
        self._reading = Reading(findings)

    def read(self, tree: Node, head: Head) -> None:
        """
        Fill in a head. Problems go to the findings.

        Raises:
            ManifestError: if it is no mapping, or of another version: nothing else in it would mean anything.
        """
        if tree.value is not None and not isinstance(tree.value, dict):
            message = f"the manifest must be a mapping of keys and values, not {tree.kind()}"
            raise ManifestError([Problem(place=tree.place, code="wrong-type", message=message)])
        self._version(tree)
        reading, top = self._reading, self._reading.mapping(tree, "the manifest", TOP_KEYS.names)
        if "name" in top:
            head.name = self._reading.name(top["name"][1]) or head.name
        if "provider" in top:
            head.provider = read_provider(top["provider"][1], reading)
        if "limits" in top:
            head.limits, head.limits_given = read_limits(top["limits"][1], reading)
        if "budget" in top:
            head.spending = read_spending(top["budget"][1], reading)
        if "prices" in top:
            self._prices(top["prices"][1], head)
        if "input_roots" in top:
            head.input_roots = self._input_roots(top["input_roots"][1])
        if "review" in top:
            head.review = read_review(top["review"][1], reading)
        if "selectors" in top:
            head.selectors = read_selectors(top["selectors"][1], reading)
        if "prompts" in top:
            head.prompts = self._prompts(top["prompts"][1], head)
        if "defaults" in top:
            head.defaults = reading.layer(reading.mapping(top["defaults"][1], "defaults", TASK_FIELDS))
        if "edits" in top:
            head.edits = self._edits(top["edits"][1]) or head.edits
        if self._rows_allowed:
            self._rows(tree, top, head)
        for key in ("items", "sources"):
            if key in top and not self._rows_allowed:
                reading.wrong(top[key][0], "rows-in-defaults", "the rows are in the table beside it", field=key)

    def _version(self, tree: Node) -> None:
        pairs = tree.value if isinstance(tree.value, dict) else {}
        if "version" not in pairs:
            if "job" in pairs and self._rows_allowed:
                hint = f"Start it with: batchedit job run {tree.place.file}"
                problem = Problem(place=pairs["job"][0], code="no-version", message="this is a job", hint=hint)
                raise ManifestError([problem])
            if self._rows_allowed:
                self._reading.wrong(
                    tree.place, "no-version", "the key version is missing", hint="Begin with: version: 1"
                )
            return
        node = pairs["version"][1]
        text = self._reading.text(node, "version") if node.value is not None else ""
        if text is None:
            raise ManifestError(self._findings.problems)
        if text == str(VERSION):
            return
        newer = text.isascii() and text.isdecimal() and text.strip("0") not in ("", "1")
        why = "needs a newer batchedit" if newer else "is not a version"
        message = f"{shortened(text)!r} {why}; this one reads version {VERSION}"
        raise ManifestError([Problem(place=node.place, code="version", field="version", value=text, message=message)])

    def _rows(self, tree: Node, top: Pairs, head: Head) -> None:
        if "sources" in top:
            head.sources += SourceReader(self._reading).sources(top["sources"][1])
        if "items" in top:
            self._reading.list(top["items"][1], "items")
            head.items = isinstance(top["items"][1].value, list)
        if "items" not in top and "sources" not in top:
            place = next(iter(top.values()))[0] if top else tree.place
            self._reading.wrong(place, "no-rows", "there are neither items nor sources")

    def _prices(self, node: Node, head: Head) -> None:
        name = self._reading.text(node, "prices")
        if not name:
            if node.value is None or name == "":
                self._reading.wrong(node.place, "bad-prices", "must name a price list's file", field="prices")
            return
        path = self._root / name
        head.prices = read_prices(path, name, self._findings)
        head.files.append(path)

    def _input_roots(self, node: Node) -> tuple[str, ...]:
        nodes = [node] if isinstance(node.value, str) else self._reading.list(node, "input_roots")
        found = []
        for child in nodes:
            text = "" if child.value is None else self._reading.text(child, "input_roots")
            if text is not None and (not text.strip() or is_url(text)):
                message = "must be a folder such as ../photos"
                self._reading.wrong(child.place, "bad-source", message, field="input_roots", value=text)
            elif text is not None:
                found.append(text)
        return tuple(found)

    def _prompts(self, node: Node, head: Head) -> dict[str, Given]:
        prompts = {}
        for name, (place, child) in self._reading.mapping(node, "prompts", None).items():
            if isinstance(child.value, dict):
                given = self._prompt_file(child, head)
            else:
                text = self._reading.text(child, f"prompts.{name}")
                given = None if text is None else Given(text, True, child.place)
                if child.value is None:
                    self._reading.wrong(child.place, "prompt-length", "the prompt is empty", field=f"prompts.{name}")
            if self._reading.is_name(name, place, "a prompt") and given is not None:
                prompts[name] = given
        return prompts

    def _prompt_file(self, node: Node, head: Head) -> Given | None:
        pairs = self._reading.mapping(node, "the prompt", ("file",))
        if "file" not in pairs:
            if not node.value:
                self._reading.wrong(node.place, "unreadable", "the prompt is a text, or names its file")
            return None
        child = pairs["file"][1]
        name = self._reading.text(child, "file")
        if not name:
            return None
        path = self._root / name
        text, problem = _small_text(path)
        if problem:
            self._reading.wrong(child.place, "unreadable", f"{path}: {problem}", field="file", value=name)
            return None
        if looks_like_a_key(text):
            self._findings.problem(key_problem(Place(name, 1), "file"))
            return None
        head.files.append(path)
        return Given(text.strip(), True, Place(name, 1))

    def _edits(self, node: Node) -> list[Edit]:
        edits, reading = [], self._reading
        chains = ChainReader(reading)
        for name, (place, child) in reading.mapping(node, "edits", None).items():
            pairs = reading.mapping(child, f"the edit {shortened(name)}", names(EDIT_KEYS))
            edit = Edit(name, reading.layer(pairs))
            if "variants" in pairs:
                for variant, (where, layer) in reading.mapping(pairs["variants"][1], "variants", None).items():
                    fields = reading.mapping(layer, f"the variant {shortened(variant)}", TASK_FIELDS)
                    if reading.is_name(variant, where, "a variant"):
                        edit.variants[variant] = reading.layer(fields)
            MatrixReader(edit, reading).read(pairs)
            if reading.is_name(name, place, "an edit"):
                edits.append(edit)
                chains.read(edit, pairs)
        return chains.connect(edits)


def _small_text(path: Path) -> tuple[str, str]:
    """A prompt's text, and why it cannot be had."""
    try:
        if path.stat().st_size > MAX_PROMPT_FILE:
            return "", "is too long for a prompt"
        return path.read_text("utf-8-sig"), ""
    except OSError as error:
        return "", error.strerror or "cannot be read"
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    except ValueError:
        return "", "is not a path"
