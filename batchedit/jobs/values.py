"""The values of a job file: what is no such value is a problem."""

from __future__ import annotations

import re
from pathlib import Path

from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.yaml_tree import Node


class Values:
    """
    Reads values of mappings.

    Args:
        reading: Where problems go.
        folder: Where relative paths start.
    """

    def __init__(self, reading: Reading, folder: Path) -> None:
        self._reading, self._folder = reading, folder

    def path_in(self, pairs: Pairs, key: str, field: str) -> Path | None:
        """A path, from the job's folder on; None if there is none."""
        text = self._reading.text(pairs[key][1], field) if key in pairs else None
        if key in pairs and text == "":
            self._reading.wrong(pairs[key][1].place, "bad-job", "must name a folder", field=field)
        return self._folder / text if text else None

    def texts(self, pairs: Pairs, key: str, field: str) -> tuple[str, ...]:
        """A list of texts, or one."""
        if key not in pairs:
            return ()
        node = pairs[key][1]
        nodes = [node] if isinstance(node.value, str) else self._reading.list(node, field)
        return tuple(text for child in nodes if (text := self._reading.text(child, field)))

    def words(self, pairs: Pairs, key: str, known: tuple[str, ...], field: str) -> tuple[str, ...]:
        """A list of known words, or one."""
        if key not in pairs:
            return ()
        node = pairs[key][1]
        nodes = [node] if isinstance(node.value, str) else self._reading.list(node, field)
        found = (self.word(child, known, field) for child in nodes)
        return tuple(word for word in found if word is not None)

    def choice(self, pairs: Pairs, key: str, known: tuple[str, ...], field: str = "") -> str | None:
        """One of a few words; None if it is not given."""
        if key not in pairs or pairs[key][1].value is None:
            return None
        return self.word(pairs[key][1], known, field or key)

    def word(self, node: Node, known: tuple[str, ...], field: str) -> str | None:
        """One of a few words; None, with a problem, for another."""
        text = self._reading.text(node, field) if node.value is not None else ""
        if text is None or text in known:
            return text
        message = f"{shortened(text)!r} is not one of {', '.join(known)}"
        hint = suggestion(text.lower(), known)
        self._reading.wrong(node.place, "bad-job", message, field=field, value=text, hint=hint)
        return None

    def flag(self, pairs: Pairs, key: str) -> bool:
        """True or false; false if it is not given."""
        text = self._reading.text(pairs[key][1], key) if key in pairs else None
        if text is None:
            return False
        word = text.strip().lower()
        if word not in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            message = f"{shortened(text)!r} is neither true nor false"
            self._reading.wrong(pairs[key][1].place, "bad-job", message, field=key, value=text)
        return word in ("true", "yes", "on", "1")

    def number(
        self, pairs: Pairs, key: str, field: str, *, least: int = 1, most: int | None = None, whole: bool = True
    ) -> float | None:
        """A number; None if it is not given or wrong."""
        if key not in pairs:
            return None
        node = pairs[key][1]
        text = self._reading.text(node, field) if node.value is not None else ""
        if text is None:
            return None
        pattern = "[0-9]{1,9}" if whole else r"[0-9]{1,9}(\.[0-9]{1,6})?"
        value = float(text) if re.fullmatch(pattern, text) else None
        if value is None or value < least or (most is not None and value > most):
            what = "a whole number" if whole else "a number"
            to = f"from {least} to {most}" if most is not None else f"of {least} or more"
            message = f"{shortened(text)!r} is not {what} {to}"
            self._reading.wrong(node.place, "bad-job", message, field=field, value=text)
            return None
        return value
