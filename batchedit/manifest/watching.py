"""
What only shows when many rows are looked at together: one value of a label in several spellings, one prompt for
thousands of rows. Warnings, said once at the end; what is kept does not grow with the rows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import shortened
from batchedit.manifest.findings import Collector

SAME_PROMPT_ROWS = 1000
"""So many tasks with the same prompt are no surprise."""
MAX_VALUES = 1000
"""A label with more values than this is a name of its own for nearly each row, and its spellings say nothing."""


@dataclass(slots=True)
class _Spelling:
    place: Place
    count: int = 0


@dataclass(slots=True)
class _Prompt:
    """The prompt of all tasks of an edit and variant so far; None once two of them differ."""

    text: str | None
    place: Place
    count: int = 0


@dataclass(slots=True)
class Watch:
    """Looks at the tasks of one walk."""

    _labels: dict[str, dict[str, _Spelling] | None] = field(default_factory=dict)
    _prompts: dict[tuple[str, str], _Prompt] = field(default_factory=dict)

    def task(self, edit: str, variant: str, prompt: str, labels: Mapping[str, str], place: Place, told: Place) -> None:
        """
        Look at a task.

        Args:
            place: Of its row.
            told: Where its prompt is written.
        """
        known = self._prompts.get((edit, variant))
        if known is None:
            self._prompts[edit, variant] = known = _Prompt(prompt, told)
        elif known.text is not None and known.text != prompt:
            known.text = None
        known.count += 1
        for name, value in labels.items():
            values = self._labels.setdefault(name, {})
            if values is None:
                continue
            spelling = values.get(value)
            if spelling is None:
                if len(values) >= MAX_VALUES:
                    self._labels[name] = None
                    continue
                values[value] = spelling = _Spelling(place)
            spelling.count += 1

    def end(self, findings: Collector) -> None:
        """Say what was seen."""
        for (edit, variant), prompt in self._prompts.items():
            if prompt.text is not None and prompt.count > SAME_PROMPT_ROWS:
                recipe = f"the edit {edit}" + (f", variant {variant}" if variant else "")
                message = f"all {prompt.count} tasks of {recipe} have the same prompt, word for word"
                hint = "If it should say what is in the picture, use a column, such as {{ title }}"
                findings.problem(
                    Problem(
                        place=prompt.place, code="same-prompt", field="prompt", message=message, hint=hint, warning=True
                    )
                )
        for name, values in self._labels.items():
            if values is not None:
                self._spellings(name, values, findings)

    def _spellings(self, name: str, values: Mapping[str, _Spelling], findings: Collector) -> None:
        alike: dict[str, list[str]] = {}
        for value in values:
            alike.setdefault(_plain(value), []).append(value)
        for spellings in alike.values():
            if len(spellings) < 2:
                continue
            often, *rest = sorted(spellings, key=lambda value: -values[value].count)
            for value in rest:
                count = values[value].count
                message = (
                    f"the value {shortened(value)!r} ({count} {'time' if count == 1 else 'times'}) is spelled"
                    f" {shortened(often)!r} elsewhere ({values[often].count})"
                )
                findings.problem(
                    Problem(
                        place=values[value].place,
                        code="label-spelling",
                        field=f"labels.{name}",
                        value=shortened(value),
                        message=message,
                        hint="Costs are reported for each spelling by itself",
                        warning=True,
                    )
                )


def _plain(value: str) -> str:
    """What two spellings of one value have in common: letters and digits without regard to case and width."""
    folded = unicodedata.normalize("NFKC", value).casefold()
    return "".join(char for char in folded if char.isalnum()) or folded
