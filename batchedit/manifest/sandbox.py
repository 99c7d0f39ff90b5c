"""
The Jinja2 environments that templates run in. Imported only when a template is met.

Jinja's sandbox keeps a template away from Python's insides, but does not bound time and memory. So a template here is
an expression language with `if` and one level of `for`: nothing that can name an intermediate result (`set`, `with`,
`macro`) or repeat text (`*`, wide formats, padding methods), which is what growth without bound is made of. Whatever
else takes time is counted while it is done: a loop over a long text that searches that text each time.
"""

from __future__ import annotations

import functools
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from batchedit.paths import safe_component

MAX_TEXT = 200_000
"""Most characters of any text on the way to a result."""

MAX_WORK = 20_000_000
"""Characters that all steps of one rendering may look at; a tenth of a second."""
_STEP = 50
"""What a step costs besides, in characters."""
_MOST_BITS = 4096
_GROWS = "the text grows too long"
_MOST_JOINED = 200
"""Operands of all ``~`` of a template; each may be as long as any text."""

FILTERS = ("default", "float", "int", "join", "lower", "replace", "round", "title", "trim", "truncate", "upper")

_METHODS = frozenset(
    {"split", "rsplit", "splitlines", "partition", "rpartition", "strip", "lstrip", "rstrip", "removeprefix"}
    | {"removesuffix", "lower", "upper", "title", "capitalize", "casefold", "swapcase", "startswith", "endswith"}
    | {"find", "rfind", "count", "isdigit", "isalpha", "isalnum", "isdecimal", "isnumeric", "isupper", "islower"}
)
_FORBIDDEN: tuple[type[nodes.Node], ...] = (
    nodes.Assign, nodes.AssignBlock, nodes.With, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.Block,
    nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport,
)  # fmt: skip
_KINDS: dict[type, str] = {list: "a list", tuple: "a list", dict: "a row", type(None): "none"}
_FORMAT = re.compile(r"%(?:\([^()]*\))?[-+ 0#]{0,5}\d{0,3}(?:\.\d{0,3})?[sdifgexXo%]")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without the operators and calls that make much out of little."""

    intercepted_binops = frozenset({"*", "**", "%", "+", "-", "/", "//"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An arithmetic operator; on texts only ``%``, with moderate widths."""
        _charge(left, right)
        if any(isinstance(number, int) and number.bit_length() > _MOST_BITS for number in (left, right)):
            raise OverflowError("the number grows too large")
        if operator == "%" and isinstance(left, str):
            if "%" in _FORMAT.sub("", left):
                raise SecurityError(f"formats with {left[:40]!r}")
            if len(left) + left.count("%") * _longest(right) > MAX_TEXT:
                raise OverflowError(_GROWS)
        elif operator == "+":
            if isinstance(left, (list, tuple)):
                raise SecurityError("adds lists")
            if isinstance(left, str) and isinstance(right, str) and len(left) + len(right) > MAX_TEXT:
                raise OverflowError(_GROWS)
        elif operator == "**" or (operator in "*%" and not _are_numbers(left, right)):
            raise SecurityError(f"uses the operator {operator}")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  as in Jinja
        """A method call: only of text, and ``get`` of a row."""
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        allowed = (isinstance(owner, str) and name in _METHODS) or (isinstance(owner, Mapping) and name == "get")
        if not allowed:
            raise SecurityError(f"calls {name or 'something'}()")
        _charge(owner, *args)
        return super().call(__context, __obj, *args, **kwargs)


class Compiled:
    """
    A template ready to render.

    Attributes:
        names: What must be known; names that only occur with a default are left out.
    """

    def __init__(self, text: str, *, path: bool) -> None:
        sandbox = environment(path)
        tree = sandbox.parse(text)
        _refuse_statements(tree)
        self.names = _needed(tree)
        _start()
        self._template: Template = sandbox.from_string(_Counting().visit(tree))

    def render(self, values: Mapping[str, Any], limit: int) -> str:
        """
        The text.

        Raises:
            OverflowError: as soon as it is longer than `limit` characters, or has taken too much work.
        """
        parts, length = [], 0
        _start()
        for part in self._template.generate(values):
            length += len(part)
            if length > limit:
                raise OverflowError(f"the text is longer than {limit} characters")
            parts.append(part)
        return "".join(parts)


class Condition:
    """
    An expression ready to be evaluated.

    Attributes:
        names: As with `Compiled`.
    """

    def __init__(self, text: str) -> None:
        sandbox = environment(False)
        sandbox.compile_expression(text)  # which finds whatever is more than an expression
        tree = sandbox.parse("{{ " + text + " }}")
        _refuse_statements(tree)
        self.names = _needed(tree)
        (output,) = _Counting().visit(tree).body
        _start()
        assigned = nodes.Assign(nodes.Name("result", "store"), output.nodes[0], lineno=1)
        self._template = sandbox.from_string(nodes.Template([assigned], lineno=1))

    def value(self, values: Mapping[str, Any]) -> Any:
        """What it comes to."""
        _start()
        context = self._template.new_context(dict(values))
        for _ in self._template.root_render_func(context):
            pass
        return context.vars["result"]


class _Counting(NodeTransformer):
    """Puts the counting filters around whatever can take long and is neither a filter nor a call itself."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  as Jinja names it
        """Each pass counts."""
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _EACH)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        """Both sides count, since one may be searched for the other."""
        self.generic_visit(node)
        node.expr = _filtered(node.expr, _COUNTED)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, _COUNTED)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Test:  # noqa: N802
        """So does what is tested, but for a name that may be missing."""
        self.generic_visit(node)
        node.args = [_filtered(each, _COUNTED) for each in node.args or []]
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem:  # noqa: N802
        """A part of a text is a copy."""
        self.generic_visit(node)
        node.node = _filtered(node.node, _COUNTED)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        """So is a text made of others."""
        self.generic_visit(node)
        return _filtered(node, _COUNTED)


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


class _Work(threading.local):
    """What the rendering that is going on in a thread may still do."""

    left = MAX_WORK


_work = _Work()


def _start() -> None:
    _work.left = MAX_WORK


def _charge(*values: object) -> None:
    """
    Count a step that looks at these values.

    Raises:
        OverflowError: if that is more than a rendering may do.
    """
    _work.left -= _STEP + sum(len(value) for value in values if isinstance(value, (str, list, tuple)))
    if _work.left < 0:
        raise OverflowError("it takes too much work")


def _each(values: Iterable[Any]) -> Iterator[Any]:
    """What a loop goes through; each pass is a step."""
    for value in values:
        _charge(value)
        yield value


def _counted(value: Any) -> Any:
    _charge(value)
    return value


def _charged(work: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose work counts; with the marks by which Jinja knows what it wants to be given."""

    @functools.wraps(work)
    def counted(*args: Any, **kwargs: Any) -> Any:
        _charge(*args, *kwargs.values())
        made = work(*args, **kwargs)
        if isinstance(made, int) and made.bit_length() > _MOST_BITS:
            raise OverflowError("the number grows too large")
        return made

    return counted


_EACH, _COUNTED = " each", " counted"
"""Filters that no template can name."""


@lru_cache(maxsize=64)
def condition(text: str) -> Condition:
    """An expression, kept for the next row."""
    return Condition(text)


@lru_cache(maxsize=1024)
def compiled(text: str, path: bool) -> Compiled:
    """A template, kept for the next row that uses it."""
    return Compiled(text, path=path)


@lru_cache
def environment(path: bool) -> Sandbox:
    """The environment of texts, or of output paths, where every substituted value is made part of one component."""
    sandbox = Sandbox(
        undefined=StrictUndefined,
        finalize=_component if path else _text,
        autoescape=False,
        cache_size=0,
        optimized=False,
    )
    sandbox.globals.clear()
    own: dict[str, Callable[..., Any]] = {"join": _join, "replace": _replace, "round": _round}
    known = {name: _charged(own.get(name, sandbox.filters[name])) for name in FILTERS}
    sandbox.filters.clear()
    sandbox.filters.update({**known, _EACH: _each, _COUNTED: _counted})
    return sandbox


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _text(value: object) -> str:
    """What may be written into a text; a list, a row or a method is there by mistake."""
    if isinstance(value, (str, int, float, Undefined)):
        return str(value)
    raise TypeError(f"{_KINDS.get(type(value), 'this value')} is no text")


def _component(value: object) -> str:
    return safe_component(_text(value))


def _needed(tree: nodes.Template) -> frozenset[str]:
    guarded = {
        node.node.name
        for node in tree.find_all((nodes.Filter, nodes.Test))
        if node.name in ("default", "defined", "undefined") and isinstance(node.node, nodes.Name)
    }
    return frozenset(meta.find_undeclared_variables(tree)) - guarded


def _refuse_statements(tree: nodes.Template) -> None:
    for node in tree.find_all(_FORBIDDEN):
        raise TemplateSyntaxError("only {{ }}, {% if %} and {% for %} can be used", node.lineno)
    if sum(len(joined.nodes) for joined in tree.find_all(nodes.Concat)) > _MOST_JOINED:
        raise TemplateSyntaxError(f"more than {_MOST_JOINED} parts are joined by ~", 1)
    for name in tree.find_all(nodes.Name):
        if name.name == "self":
            raise TemplateSyntaxError("{{ self }} is not a name that can be used", name.lineno)
    for loop in tree.find_all(nodes.For):
        if any(inner is not loop for inner in loop.find_all(nodes.For)):
            raise TemplateSyntaxError("a {% for %} cannot stand in another one", loop.lineno)


def _longest(values: Any) -> int:
    """Characters of the longest of the values that a format may take."""
    if isinstance(values, Mapping):
        values = values.values()
    return max((len(str(value)) for value in values), default=0) if isinstance(values, Iterable) else 400


def _join(values: Iterable[Any], separator: str = "") -> str:
    """Bounded before it is built: a separator may be as long as any text, and stand between any two letters."""
    parts: list[str] = []
    separator, length = str(separator), 0
    for value in values:
        part = str(value)
        length += len(part) + (len(separator) if parts else 0)
        if length > MAX_TEXT:
            raise OverflowError(_GROWS)
        parts.append(part)
    return separator.join(parts)


def _replace(text: str, old: str, new: str) -> str:
    text, old, new = str(text), str(old), str(new)
    if len(text) + text.count(old) * max(len(new) - len(old), 0) > MAX_TEXT:
        raise OverflowError(_GROWS)
    return text.replace(old, new)


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if not -15 <= precision <= 15:
        raise ValueError("round() takes a precision from -15 to 15")
    factor = 10.0**precision
    match method:
        case "common":
            return round(value, precision)
        case "ceil":
            return math.ceil(value * factor) / factor
        case "floor":
            return math.floor(value * factor) / factor
        case _:
            raise ValueError("round() knows common, ceil and floor")
