"""
Templates: prompts, ids, image paths, outputs, labels.

Unknown names are errors, found before rendering, all of a template's at once. Only a few filters exist, and what a
template makes is limited in length. In output templates every substituted value becomes part of one path component;
slashes in the template itself stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchedit.manifest.fields import suggestion

if TYPE_CHECKING:
    from batchedit.manifest.sandbox import Compiled, Condition

MAX_RENDERED = 40_000
MAX_TEMPLATE = 100_000
_MARKS = ("{{", "{%", "{#")
_LEFTOVER = re.compile(r"\{\{|\{%")
_NO_COLUMN = re.compile(r"'dict object' has no attribute '(.+)'")


class TemplateProblem(Exception):
    """A template cannot be rendered; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def render(text: str, values: Mapping[str, Any], *, path: bool = False) -> str:
    """
    A template with its names filled in.

    Args:
        values: By name.
        path: True makes every substituted value safe within one path component.

    Raises:
        TemplateProblem: if the template is wrong, uses an unknown name, or makes too much text.
    """
    if not any(mark in text for mark in _MARKS):
        return text
    from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

    template = _compiled(text, path)
    missing = sorted(template.names.difference(values))
    if missing:
        raise _unknown(missing, values)
    try:
        return template.render(values, MAX_RENDERED)
    except UndefinedError as error:
        raise _undefined(str(error), values) from None
    except SecurityError as error:
        raise TemplateProblem(_forbidden(error)) from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError,
            MemoryError) as error:  # fmt: skip
        raise TemplateProblem(f"cannot be filled in: {str(error) or type(error).__name__}") from None


def check_condition(text: str) -> None:
    """
    Make sure that a text is an expression.

    Raises:
        TemplateProblem: if it is none.
    """
    _condition(text)


def holds(text: str, values: Mapping[str, Any]) -> bool:
    """
    Whether an expression is true.

    Raises:
        TemplateProblem: if it is wrong, uses an unknown name, or is neither true nor false: texts such as ``no`` would
            count as true.
    """
    from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

    condition = _condition(text)
    missing = sorted(condition.names.difference(values))
    if missing:
        raise _unknown(missing, values, bare=True)
    try:
        found = condition.value(values)
        if isinstance(found, bool):
            return found
        str(found)  # an unknown column complains here
    except UndefinedError as error:
        raise _undefined(str(error), values) from None
    except SecurityError as error:
        raise TemplateProblem(_forbidden(error)) from None
    except TypeError as error:
        hint = (
            "Cells are text: compare them with text, or write NAME|float"
            if "not supported between" in str(error)
            else ""
        )
        raise TemplateProblem(f"cannot be evaluated: {error}", hint) from None
    except (TemplateError, ArithmeticError, LookupError, ValueError, AttributeError, RuntimeError,
            MemoryError) as error:  # fmt: skip
        raise TemplateProblem(f"cannot be evaluated: {str(error) or type(error).__name__}") from None
    raise TemplateProblem("is neither true nor false", "Compare it, such as title != ''")


def names_in(text: str) -> frozenset[str]:
    """The names that a template needs; none for a template that cannot be read."""
    if not any(mark in text for mark in _MARKS):
        return frozenset()
    try:
        return _compiled(text, False).names
    except TemplateProblem:
        return frozenset()


def has_leftover(text: str) -> bool:
    """True if a rendered text still has a template's marks."""
    return _LEFTOVER.search(text) is not None


def _compiled(text: str, path: bool) -> Compiled:
    from jinja2 import TemplateError

    from batchedit.manifest.sandbox import FILTERS, compiled

    if len(text) > MAX_TEMPLATE:
        raise TemplateProblem(f"has more than {MAX_TEMPLATE} characters")
    try:
        return compiled(text, path)
    except TemplateError as error:
        message = error.message or "it cannot be read"
        hint = f"Filters are: {', '.join(FILTERS)}" if "No filter named" in message else ""
        message = message.rstrip(".") if hint else message
        raise TemplateProblem(f"is not a valid template: {message}", hint) from None
    except (RecursionError, MemoryError, SyntaxError, ValueError):
        # Python's compiler gives up on what Jinja makes of a template that is nested too deeply.
        raise TemplateProblem("is not a valid template: it is nested too deeply") from None


def _condition(text: str) -> Condition:
    from jinja2 import TemplateError

    from batchedit.manifest.sandbox import FILTERS, condition

    if len(text) > MAX_TEMPLATE:
        raise TemplateProblem(f"has more than {MAX_TEMPLATE} characters")
    try:
        return condition(text)
    except TemplateError as error:
        message = error.message or "it cannot be read"
        hint = f"Filters are: {', '.join(FILTERS)}" if "No filter named" in message else ""
        raise TemplateProblem(f"is not a valid expression: {message.rstrip('.')}", hint) from None
    except (RecursionError, MemoryError, SyntaxError, ValueError):
        raise TemplateProblem("is not a valid expression: it is nested too deeply") from None


def _forbidden(error: Exception) -> str:
    detail = str(error)
    if detail.startswith(("calls ", "uses ", "formats ")):
        return f"{detail}, which templates may not do"
    return "does something that templates may not do"


def _undefined(message: str, values: Mapping[str, Any]) -> TemplateProblem:
    column = _NO_COLUMN.fullmatch(message)
    if column is None:
        return TemplateProblem(f"cannot be filled in: {message}")
    row = values.get("row")
    known = list(row) if isinstance(row, Mapping) else []
    return TemplateProblem(f"uses row[{column[1]!r}], and there is no such column", suggestion(column[1], known))


def _unknown(missing: list[str], values: Mapping[str, Any], *, bare: bool = False) -> TemplateProblem:
    marks = " and ".join(name if bare else f"{{{{ {name} }}}}" for name in missing)
    what = "which is no column or variable here" if len(missing) == 1 else "which are no columns or variables here"
    near = [hint for name in missing if (hint := suggestion(name, values))]
    hint = " ".join(near) or f"Known are: {', '.join(sorted(map(str, values))[:12])}"
    return TemplateProblem(f"uses {marks}, {what}", hint)
