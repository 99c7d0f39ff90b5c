"""Templates: what they can do, what they cannot, and that none of them takes the program down."""

from __future__ import annotations

import time
from typing import Any

import pytest

from batchedit.manifest.templates import TemplateProblem, names_in, render

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
