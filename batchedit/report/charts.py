"""
Pictures of numbers as SVG that stands in the page: no script, no font of its own, prints as sharp as text.

Written here and not drawn by a library: a report has three plain kinds, and the smallest kept library for them adds
tens of megabytes and a second for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from markupsafe import Markup, escape

WIDTH, HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 14, 28
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: its class in the style sheet, its size, what it is."""

    kind: str
    size: float
    title: str


def bar(parts: Sequence[Part], whole: float) -> Markup:
    """A bar of several pieces, as long as their share of `whole`."""
    pieces, x = [], 0.0
    for part in parts:
        width = 100 * part.size / whole if whole else 0.0
        if width > 0:
            pieces.append(
                Markup(
                    '<rect class="{}" x="{:.3f}%" y="0" width="{:.3f}%" height="14"><title>{}</title></rect>'
                ).format(part.kind, x, width, part.title)
            )
        x += width
    return Markup('<svg class="bar" role="img" width="100%" height="14">{}</svg>').format(Markup("").join(pieces))


def line(
    points: Sequence[tuple[str, float]], *, limit: float | None, unit: str, title: str, limit_title: str = ""
) -> Markup:
    """
    What has come together over time.

    Args:
        points: Label of the moment and the value then, in order.
        limit: Drawn across, if it is not far above.
        unit: Stands in front of the numbers.
    """
    top = max([value for _, value in points], default=0.0)
    shown = limit if limit is not None and limit <= 3 * top else None
    scale = _Scale(len(points), max(top, shown or 0.0))
    path = " ".join(f"{scale.x(n):.1f},{scale.y(value):.1f}" for n, (_, value) in enumerate(points))
    area = f"{scale.x(0):.1f},{scale.y(0):.1f} {path} {scale.x(max(0, len(points) - 1)):.1f},{scale.y(0):.1f}"
    drawn = [Markup('<polygon class="area" points="{}"/><polyline class="line" points="{}"/>').format(area, path)]
    if shown is not None:
        drawn.append(
            Markup('<line class="limit" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                   '<text class="limit" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT, WIDTH - _RIGHT, WIDTH - _RIGHT, scale.y(shown) - 4, limit_title, y=scale.y(shown)
            )
        )  # fmt: skip
    return _frame(scale, [label for label, _ in points], drawn, unit, title)


def columns(values: Sequence[tuple[str, float]], marks: Sequence[float], *, title: str, mark_title: str) -> Markup:
    """How much in each stretch of time; `marks` are drawn on top in another colour."""
    scale = _Scale(
        len(values), max([value + mark for (_, value), mark in zip(values, marks, strict=True)], default=0.0)
    )
    width = max(1.0, (WIDTH - _LEFT - _RIGHT) / max(1, len(values)) - 1)
    drawn = []
    for number, ((label, value), mark) in enumerate(zip(values, marks, strict=True)):
        x = scale.x(number, wide=True)
        drawn.append(
            Markup('<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                   "<title>{}: {:g}</title></rect>").format(
                x, scale.y(value), width, scale.y(0) - scale.y(value), label, value
            )
        )  # fmt: skip
        if mark:
            drawn.append(
                Markup('<rect class="mark" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                       "<title>{}: {:g} {}</title></rect>").format(
                    x, scale.y(value + mark), width, scale.y(value) - scale.y(value + mark), label, mark, mark_title
                )
            )  # fmt: skip
    return _frame(scale, [label for label, _ in values], drawn, "", title)


class _Scale:
    """From values to places in the picture."""

    def __init__(self, count: int, top: float) -> None:
        self.count = count
        self.step = _round_step(top)
        self.top = self.step * max(1, -(-top // self.step)) if self.step else 1.0

    def x(self, number: int, *, wide: bool = False) -> float:
        room = WIDTH - _LEFT - _RIGHT
        if wide:
            return _LEFT + room * number / max(1, self.count)
        return _LEFT + room * number / max(1, self.count - 1)

    def y(self, value: float) -> float:
        room = HEIGHT - _TOP - _BOTTOM
        return HEIGHT - _BOTTOM - room * value / self.top


def _round_step(top: float) -> float:
    """A step of 1, 2 or 5 times a power of ten, of which a few reach the top."""
    if top <= 0:
        return 0.0
    rough = top / _TICKS
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _frame(scale: _Scale, labels: Sequence[str], drawn: Sequence[Markup], unit: str, title: str) -> Markup:
    rules, value = [], 0.0
    while value <= scale.top * 1.0001:
        y = scale.y(value)
        rules.append(
            Markup('<line class="rule" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                   '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}{:,g}</text>').format(
                _LEFT, WIDTH - _RIGHT, _LEFT - 6, y + 4, unit, round(value, 6), y=y
            )
        )  # fmt: skip
        value += scale.step or scale.top
    times = []
    for place in sorted({0, len(labels) // 2, len(labels) - 1} if labels else ()):
        anchor = "start" if place == 0 else "end" if place == len(labels) - 1 else "middle"
        times.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                scale.x(place), HEIGHT - 8, anchor, labels[place]
            )
        )
    return Markup('<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        escape(title), WIDTH, HEIGHT, Markup("").join([*rules, *drawn, *times])
    )
