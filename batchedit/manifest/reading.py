"""Reading nodes of the YAML tree: mappings with known keys, lists, text; what is something else is a problem."""

from __future__ import annotations

import re
from collections.abc import Iterable

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import (
    ROW_FIELDS,
    TASK_FIELDS,
    Given,
    key_problem,
    looks_like_a_key,
    shortened,
    suggestion,
)
from batchedit.manifest.findings import Collector
from batchedit.manifest.finishing import read_finish
from batchedit.manifest.layers import Layer
from batchedit.manifest.yaml_tree import Node

Pairs = dict[str, tuple[Place, Node]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Reading:
    """Reads nodes; what is wrong with them goes to the findings."""

    def __init__(self, findings: Collector) -> None:
        self._findings = findings

    def mapping(self, node: Node, what: str, allowed: Iterable[str] | None) -> Pairs:
        """The pairs of a mapping with known keys; all of them if `allowed` is None."""
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self.wrong(node.place, "wrong-type", f"{what} must be a mapping of keys and values, not {node.kind()}")
            return {}
        if allowed is None:
            return node.value
        known = tuple(allowed)
        for key, (place, _) in node.value.items():
            if key not in known:
                hint = suggestion(key, known) or f"Known are: {', '.join(known)}"
                shown = shortened(key)
                self.wrong(place, "unknown-key", f"{what} has no key {shown!r}", field=shown, hint=hint)
        return {key: pair for key, pair in node.value.items() if key in known}

    def list(self, node: Node, what: str) -> list[Node]:
        """The nodes of a list."""
        if isinstance(node.value, list):
            return node.value
        if node.value is not None:
            self.wrong(node.place, "wrong-type", f"{what} must be a list, not {node.kind()}", field=what)
        return []

    def name(self, node: Node) -> str | None:
        """A name for people, of a manifest or a job."""
        text = self.text(node, "name")
        if text is not None and not (text.strip() and len(text) <= 200 and text.isprintable()):
            message = "a name has 1 to 200 printable characters"
            self.wrong(node.place, "bad-name", message, field="name", value=text)
            return None
        return text

    def text(self, node: Node, name: str) -> str | None:
        """The text of a scalar; None for a null, and for what is no text or looks like a key."""
        if node.value is None:
            return None
        if not isinstance(node.value, str):
            self.wrong(node.place, "wrong-type", f"must be text, not {node.kind()}", field=name)
            return None
        if looks_like_a_key(node.value):
            self._findings.problem(key_problem(node.place, name))
            return None
        return node.value

    def is_name(self, name: str, place: Place, what: str) -> bool:
        """True for a name that edits, variants and prompts may have."""
        if _NAME.fullmatch(name):
            return True
        message = f"{shortened(name)!r} is no name for {what}: letters, digits, dots, hyphens and underscores"
        self.wrong(place, "bad-name", message)
        return False

    def layer(self, pairs: Pairs) -> Layer:
        """The fields and labels among the pairs; others are left alone."""
        layer = Layer()
        for key, (_, node) in pairs.items():
            if key == "labels":
                for name, (_, label) in self.mapping(node, "labels", None).items():
                    text = self.text(label, f"labels.{name}")
                    if text is not None:
                        layer.labels[name] = Given(text, True, label.place)
            elif key == "post":
                layer.post = read_finish(node, key, self)
            elif key == "checks":
                layer.checks = read_finish(node, key, self)
            elif key in TASK_FIELDS or key in ("id", "edit", "note"):
                given = self._given(node, key)
                if given is not None:
                    layer.fields[key] = given
        return layer

    def variables(self, pairs: Pairs) -> dict[str, str]:
        """The `vars` among the pairs; they are data."""
        if "vars" not in pairs:
            return {}
        found = self.mapping(pairs["vars"][1], "vars", None).items()
        return {name: text for name, (_, node) in found if (text := self.text(node, f"vars.{name}")) is not None}

    def item(self, node: Node) -> tuple[Layer, dict[str, str]] | None:
        """An inline row: its fields as templates, and its `vars`; None if it is no mapping."""
        pairs = self.mapping(node, "the item", ROW_FIELDS)
        if not isinstance(node.value, dict):
            if node.value is None:
                self.wrong(node.place, "wrong-type", "the item is empty")
            return None
        return self.layer(pairs), self.variables(pairs)

    def wrong(self, place: Place, code: str, message: str, *, field: str = "", value: str = "", hint: str = "") -> None:
        """Note a problem."""
        self._findings.problem(
            Problem(place=place, code=code, message=message, field=field, value=shortened(value), hint=hint)
        )

    def _given(self, node: Node, name: str) -> Given | None:
        if node.value is None:
            return None
        if isinstance(node.value, list) and name in ("references", "edit", "tags"):
            texts = [self.text(child, name) for child in node.value]
            spoiled = any(
                text is None and child.value is not None for text, child in zip(texts, node.value, strict=True)
            )
            return Given(tuple(text for text in texts if text), True, node.place, refused=spoiled)
        text = self.text(node, name)
        return Given(text or "", True, node.place, refused=text is None)
