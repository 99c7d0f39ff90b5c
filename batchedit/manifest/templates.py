"""
Jinja2 templates in its immutable sandbox: prompts, ids, image paths, outputs, labels.

Unknown names are errors, only a few filters exist, and what a template makes is limited in length. In output
templates every substituted value becomes part of one path component; slashes in the template itself stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from batchedit.manifest.fields import suggestion
from batchedit.paths import safe_component

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FILTERS = ("default", "int", "join", "lower", "replace", "round", "title", "trim", "truncate", "upper")
MAX_RENDERED = 40_000
_LEFTOVER = re.compile(r"\{\{|\{%")
_UNDEFINED = re.compile(r"'([^']+)' is undefined")


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
    if "{" not in text:
        return text
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError, UndefinedError

    try:
        result = _compiled(text, path).render(values)
    except UndefinedError as error:
        found = _UNDEFINED.search(str(error))
        if found is None:
            raise TemplateProblem(f"cannot be filled in: {error}") from None
        hint = suggestion(found[1], values) or f"Known are: {', '.join(sorted(map(str, values))[:12])}"
        raise TemplateProblem(f"uses {{{{ {found[1]} }}}}, which is no column or variable here", hint) from None
    except SecurityError:
        raise TemplateProblem("does something that templates may not do") from None
    except TemplateError as error:
        raise TemplateProblem(f"is not a valid template: {error}") from None
    except (OverflowError, TypeError, ValueError, ZeroDivisionError, MemoryError) as error:
        raise TemplateProblem(f"cannot be filled in: {error}") from None
    if len(result) > MAX_RENDERED:
        raise TemplateProblem(f"makes a text of {len(result)} characters")
    return result


def has_leftover(text: str) -> bool:
    """True if a rendered text still has a template's marks."""
    return _LEFTOVER.search(text) is not None


@cache
def _compiled(text: str, path: bool) -> Template:
    return _environment(path).from_string(text)


@cache
def _environment(path: bool) -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def component(value: object) -> str:
        return safe_component(str(value))

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=component if path else None,
        autoescape=False,
        keep_trailing_newline=False,
        cache_size=0,
    )
    environment.globals.clear()
    for name in set(environment.filters) - set(FILTERS):
        del environment.filters[name]
    return environment
