"""From a field's `Given` to its text, for one task."""

from __future__ import annotations

from typing import Any, NoReturn

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import Given, key_problem, looks_like_a_key, shortened
from batchedit.manifest.findings import Collector
from batchedit.manifest.templates import TemplateProblem, render


class Refused(Exception):
    """The task has a problem, which is noted already."""


class Renderer:
    """
    Fills in one task's templates.

    Attributes:
        names: What templates may use; grows while the task is made.
    """

    def __init__(self, findings: Collector, names: dict[str, Any]) -> None:
        self._findings, self.names = findings, names

    def text(self, given: Given, name: str, *, path: bool = False) -> str:
        """
        The text of a field: rendered if it is a template, as it stands if it is data.

        Args:
            name: The field, for messages.
            path: True for output paths, where every substituted value is made safe.

        Raises:
            Refused: if the template cannot be rendered, or what comes out looks like a key.
        """
        if given.refused:
            raise Refused
        if not given.template:
            return given.single
        try:
            text = render(given.single, self.names, path=path)
        except TemplateProblem as problem:
            self.wrong(given.place, "template", name, given.single, f"the template {problem}", problem.hint)
        if looks_like_a_key(text):
            self._findings.problem(key_problem(given.place, name))
            raise Refused
        return text.strip()

    def wrong(self, place: Place, code: str, name: str, value: str, message: str, hint: str = "") -> NoReturn:
        """
        Note a problem.

        Raises:
            Refused: always.
        """
        self._findings.problem(
            Problem(place=place, code=code, field=name, value=shortened(value), message=message, hint=hint)
        )
        raise Refused

    def warn(self, place: Place, code: str, name: str, value: str, message: str, hint: str = "") -> None:
        """Note what may be a mistake."""
        self._findings.problem(
            Problem(place=place, code=code, field=name, value=value, message=message, hint=hint, warning=True)
        )
