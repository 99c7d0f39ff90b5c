"""Templates: what they can do, what they cannot, and that none of them takes the program down."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from batchedit.manifest.templates import TemplateProblem, holds, names_in, render

VALUES: dict[str, Any] = {"a": "Red Boot", "n": "7", "empty": "", "row": {"Image Src": "x.png"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no marks { here }", "no marks { here }"),
        ("{{ a }}", "Red Boot"),
        ("{{ a|lower }} {{ a|upper }} {{ 'x y'|title }} {{ ' x '|trim }}", "red boot RED BOOT X Y x"),
        ("{{ a|replace('Red', 'Blue') }}", "Blue Boot"),
        ("{{ nothing|default('none') }} {{ empty|default('e', true) }}", "none e"),
        ("{{ a|truncate(6, true, '..', 0) }}", "Red .."),
        ("{{ a.split(' ')|join('-') }}", "Red-Boot"),
        ("{{ '%03d' % (n|int) }} {{ (n|int) * 2 }}", "007 14"),
        ("{{ 2.567|round(1) }} {{ 2.1|round(0, 'ceil') }}", "2.6 3.0"),
        ("{{ row['Image Src'] }} {{ row.get('no', 'gone') }}", "x.png gone"),
        ("{% if empty %}no{% else %}yes{% endif %}", "yes"),
        ("{% if nothing is defined %}no{% else %}yes{% endif %}", "yes"),
        ("{% for word in a.split(' ') %}<{{ word }}>{% endfor %}", "<Red><Boot>"),
        ("{{ a.startswith('Red') }}", "True"),
        ("{# a remark #}x", "x"),
    ],
)
def test_what_templates_can_do(template: str, text: str) -> None:
    """Names, a few filters, conditions, one level of loops."""
    assert render(template, VALUES) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**9 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 10 ** 10 ** 8 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ a.ljust(1000000000) }}",
        "{{ a.center(1000000000) }}",
        "{{ a.zfill(1000000000) }}",
        "{{ a.replace('', a) }}",
        "{{ a.encode() }}",
        "{{ a.join(a) }}",
        "{{ 1.5|round(1000000000, 'ceil') }}",
        "{{ 'aaaaaaaaaa'" + "|replace('a', 'aaaaaaaaaa')" * 12 + " }}",
        "{% for i in range(10 ** 12) %}x{% endfor %}",
        "{% for i in a %}{% for j in a %}x{% endfor %}{% endfor %}",
        "{% for i in big %}{{ big }}{% endfor %}",
        "{% set x = a ~ a %}{{ x }}",
        "{% with x = a ~ a %}{{ x }}{% endwith %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% filter upper %}x{% endfilter %}",
        "{% block b %}{% endblock %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{{ a|map('upper') }}",
        "{{ a|attr('x') }}",
        "{{ a.__class__ }}",
        "{{ a.__class__.__mro__[1].__subclasses__() }}",
        "{{ a['__class__'] }}",
        "{{ row.__init__.__globals__ }}",
        "{{ lipsum() }}",
        "{{ cycler }}",
        "{{ self }}",
        "{{ range(3) }}",
        "{{ row }}",
        "{{ none }}",
        "{{ a.upper }}",
        "{{ [1, 2] }}",
        "{{ row.pop('Image Src') }}",
        "{{ a",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ '%d' % a }}",
        "{{ a + 1 }}",
        "{{ a.split('') }}",
        "{{ a[99] }}",
        "{{ '" + "x" * 110_000 + "' }}",
        "{{ big }}" * 10,
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "-" * 5000 + "1 }}",
        "{% if a %}" * 300 + "{% endif %}" * 300,
    ],
    ids=lambda template: template[:40],
)
def test_what_templates_cannot_do(template: str) -> None:
    """Each is a problem with words, at once, and no crash."""
    started = time.perf_counter()
    with pytest.raises(TemplateProblem) as caught:
        render(template, {**VALUES, "big": "x" * 9000})
    assert time.perf_counter() - started < 2
    assert "\n" not in str(caught.value)


INSIDES = [
    "{x}", "a.{x}", "row.{x}", "(a).{x}", "a['{x}']", "row['{x}'].y", "a|attr('{x}')", "('' ~ a).{x}", "[a][0].{x}", "(1).{x}",
    "row.get.{x}", "a.upper.{x}", "'%s'.{x}", "a.split().{x}", "{{}}.{x}", "none.{x}", "true.{x}", "(a or b).{x}", "a[0].{x}",
    "row.items().{x}",
]  # fmt: skip
ATTRIBUTES = [
    "__class__", "__class__.__mro__", "__init__.__globals__", "__globals__", "__subclasses__()", "__dict__", "__doc__.y",
    "__getattribute__('x')", "func_globals", "gi_frame", "f_back.f_globals", "mro()", "__builtins__", "_Context__self",
    "__reduce_ex__(2)", "format_map(row)", "__format__('9')", "co_code",
]  # fmt: skip


@pytest.mark.parametrize("inside", INSIDES)
def test_no_template_reaches_what_texts_are_made_of(inside: str) -> None:
    """Of each value that a template can have: neither its class, nor its module, nor what runs."""
    assert len(INSIDES) * len(ATTRIBUTES) > 300
    for attribute in ATTRIBUTES:
        expression = inside.replace("{{}}", "{}").replace("{x}", attribute)
        for template in ("{{ " + expression + " }}", "{% if " + expression + " %}x{% endif %}"):
            with pytest.raises(TemplateProblem):
                render(template, VALUES)


def test_texts_in_single_braces_are_texts() -> None:
    """As `str.format` would take them; nothing here calls it."""
    for text in ("{x.__class__}", "{0.__init__.__globals__}", "{a!r:>{row}}", "%(a)s", "$a ${row}", "#{a}", "<%= a %>"):
        assert render(text, VALUES) == text
        assert render("{{ a }}", {"a": text}) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ big|join(big) }}",
        "{{ (big ~ big)|join(big ~ big) }}",
        "{{ [big, big, big, big]|join(big) }}",
        "{{ " + " ~ ".join(["big"] * 20_000) + " }}",
        "{{ " + " + ".join(["big"] * 20_000) + " }}",
        "{{ ([big] + [big] + [big])|join }}",
        "{{ '" + "%(big)s" * 12_000 + "' % row }}",
        "{{ '" + "%s" * 3 + "' % (big, big, big) }}",
        "{{ " + "(" * 190 + "big ~ big" + ") ~ big" * 190 + " }}",
    ],
    ids=lambda template: template[:40],
)
def test_a_text_is_bounded_before_it_is_built(template: str) -> None:
    """What would be gigabytes is refused in the memory of what may be."""
    values = {**VALUES, "big": "x" * 100_000}
    values["row"] = {**VALUES["row"], "big": "x" * 100_000}
    tracemalloc.start()
    try:
        with pytest.raises(TemplateProblem):
            render(template, values)
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


LOOPS = [
    "t|replace(c, 'b') == 'q'", "t|upper == c", "t.count(c) > 9", "(t ~ t ~ t) == c", "c in t[1:]", "(c ~ 'b') in t", "t == t[::-1]",
    "t is eq(c ~ t)", "t.split(c)|join == c", "t[5:]|trim == c", "t.find(c ~ 'b') > 5", "('%s' % t) == c", "(t + c) == t",
]  # fmt: skip


@pytest.mark.parametrize("step", LOOPS)
def test_a_loop_over_a_long_text_does_not_take_minutes(step: str) -> None:
    """Each pass goes through the text again; hours of that would fit into one template."""
    started = time.process_time()
    with pytest.raises(TemplateProblem, match="it takes too much work"):
        render("x{% for c in t %}{% if " + step + " %}{% endif %}{% endfor %}", {"t": "a" * 100_000})
    assert time.process_time() - started < 2
    if "~" in step:  # of which there may be 200 parts
        return
    with pytest.raises(TemplateProblem, match="it takes too much work"):
        holds(f"[{', '.join([step] * 1200)}] == []", {"t": "a" * 100_000, "c": "a"})
    assert time.process_time() - started < 6


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 if " + " * ".join(["(t|int(0, 16))"] * 60) + " }}",
        "{{ 1 if " + " * ".join(["9" * 1000] * 60) + " }}",
        "{% for c in t %}{{ 1 if 0x" + "f" * 3_500 + " // 0x" + "f" * 1_500 + " == 5 }}{% endfor %}",
    ],
    ids=lambda template: template[:30],
)
def test_numbers_do_not_grow(template: str) -> None:
    """Multiplying what has a million digits takes hours."""
    started = time.process_time()
    with pytest.raises(TemplateProblem, match="the number grows too large"):
        render(template, {"t": "f" * 100_000})
    assert time.process_time() - started < 3


def test_what_counts_work_changes_nothing() -> None:
    """Loops know where they are, missing columns are told, ordinary work is far from the bound."""
    values = {"t": "a,b,c", "row": {"x": "5"}, "big": "word " * 7_000}
    template = "{% for w in t.split(',') %}{{ loop.index }}{{ w }}{% if not loop.last %}-{% endif %}{% endfor %}"
    assert render(template, values) == "1a-2b-3c"
    assert render("{% for w in t.split(',') %}{{ w }}{{ loop.length }}{% else %}none{% endfor %}", values) == "a3b3c3"
    assert render("{{ 7 - 2 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ t[2:] }} {{ 'x' ~ t[0] }}", values) == "5 3 3.5 b,c xa"
    assert len(render("{% for w in big.split() %}{{ w|upper }}{% endfor %}", values)) == 28_000
    assert holds("'b' in t and row['x']|int > 4 and t is defined", values)
    with pytest.raises(TemplateProblem, match="no such column"):
        render("{% if row['y'] == 'a' %}{% endif %}", values)
    with pytest.raises(TemplateProblem, match="No filter named"):
        render("{{ t|each }}{{ t|counted }}", values)


def test_all_unknown_names_at_once() -> None:
    """Also those in a branch that is not taken; not those that have a default."""
    with pytest.raises(TemplateProblem) as caught:
        render("{% if a %}{{ b }}{% else %}{{ nn }}{% endif %}{{ c|default('') }}", VALUES)
    assert str(caught.value) == "uses {{ b }} and {{ nn }}, which are no columns or variables here"


def test_substituted_values_are_not_rendered_again() -> None:
    """Neither in texts nor in paths."""
    assert render("{{ x }}", {"x": "{{ 7*7 }}"}) == "{{ 7*7 }}"
    assert render("{{ x }}.png", {"x": "{{ 7*7 }}"}, path=True) == "{{ 7-7 }}.png"


def test_slashes_of_the_template_stay_in_paths() -> None:
    """Those of values, and of texts inside the marks, do not."""
    assert render("a/{{ x }}/{{ 'b/c' }}", {"x": "../d"}, path=True) == "a/-d/b-c"


def test_the_names_a_template_needs() -> None:
    """For finding out whether the picture follows from the id."""
    assert names_in("in/{{ id }}_{{ n|default(1) }}.png") == {"id"}
    assert names_in("{{ broken") == names_in("plain") == frozenset()
