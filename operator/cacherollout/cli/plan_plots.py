"""A plan as a drawing: origin load and traffic over time, as SVG alone or in a page.

Written by hand: two panels of lines are less than any plotting library weighs in a kubectl plug-in.
Readable on light and dark ground, since whoever opens it chooses that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, log2
from typing import Final

from cacherollout.cli.plan_views import clock, percent, shortened, size
from cacherollout.core.plan.courses import Course, figures

WIDTH: Final = 960
_LEFT, _RIGHT = 64, 24
_LOAD_TOP, _LOAD_HEIGHT = 56, 260
_SHARE_TOP, _SHARE_HEIGHT = 372, 110
_LEGEND_TOP, _LEGEND_LINE = 536, 22
_TICKS: Final = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
"""Seconds between marks of the time axis; the first that gives at most ten of them."""
_COLORS: Final = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c8c8c")
"""Colours that people with any colour vision tell apart (after Okabe and Ito), on either ground."""
_STYLE: Final = """
.plan { --ink: #1f2328; --faint: #d0d7de; --ground: #ffffff; background: var(--ground); }
@media (prefers-color-scheme: dark) {
  .plan { --ink: #e6edf3; --faint: #444c56; --ground: #0d1117; }
}
.plan .ground { fill: var(--ground); }
.plan text { fill: var(--ink); font: 13px system-ui, sans-serif; }
.plan .title { font-size: 16px; font-weight: 600; }
.plan .grid { stroke: var(--faint); stroke-width: 1; }
.plan .budget { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 2 4; }
.plan .course { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
.plan .chosen { stroke-width: 3; }
.plan .otherwise { stroke-dasharray: 7 4; }
"""
_OPENING: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" class="plan" viewBox="0 0 {width} {height}" '
    'role="img" aria-label="{title}">'
)
_PAGE_STYLE: Final = """
body { font: 15px system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2328; background: #ffffff; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #8888; }
th:first-child, td:first-child { text-align: left; }
.events td:last-child, .events th:last-child { text-align: left; }
svg { width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117; } }
"""


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where a value lies on the paper."""

    seconds: int
    highest: float
    """Top of the load axis, a power of two."""
    lowest: float

    def x(self, second: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * second / self.seconds

    def load(self, ratio: float) -> float:
        """Logarithmic: what matters is how many times the load is."""
        within = min(max(ratio, self.lowest), self.highest)
        part = log2(within / self.lowest) / log2(self.highest / self.lowest)
        return _LOAD_TOP + _LOAD_HEIGHT * (1 - part)

    def share(self, share: float) -> float:
        return _SHARE_TOP + _SHARE_HEIGHT * (1 - share)


def svg(name: str, courses: Sequence[Course]) -> str:
    """The drawing; the first course is the chosen one."""
    axes = _Axes(
        # A way that takes for ever, such as a copy of very many keys, must not squeeze the others.
        seconds=min(max(len(course.samples) for course in courses), 2 * len(courses[0].samples)),
        highest=2.0 ** ceil(log2(max(2.0, *(max(course.loads) for course in courses)) * 1.02)),
        lowest=0.5,
    )
    height = _LEGEND_TOP + _LEGEND_LINE * ceil(len(courses) / 2) + 8
    title = f"{name or 'A release'}: load on the origin, and who is served by what"
    parts = [
        _OPENING.format(width=WIDTH, height=height, title=escape(title)),
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="{_LOAD_TOP - 10}">origin reads ÷ normal, per second</text>',
        f'<text x="{_LEFT}" y="{_SHARE_TOP - 10}">traffic on the new version</text>',
        *_load_grid(axes, courses[0].budget),
        *_share_grid(axes),
        *_time_grid(axes),
    ]
    # The chosen one last, over the others.
    for index, course in reversed(list(enumerate(courses))):
        look = _look(index, course)
        shares = [sample.share for sample in course.samples]
        parts += [
            f'<polyline {look} points="{_points(axes, course.loads, axes.load)}"/>',
            f'<polyline {look} points="{_points(axes, shares, axes.share)}"/>',
        ]
    parts += [*_legend(courses), "</svg>"]
    return "\n".join(parts) + "\n"


def _load_grid(axes: _Axes, budget: float | None) -> Iterator[str]:
    ratio = axes.lowest
    while ratio <= axes.highest:
        yield from _level(axes.load(ratio), f"{ratio:g}×")
        ratio *= 2
    if budget is not None:
        y = axes.load(budget)
        yield f'<line class="budget" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield (
            f'<text x="{WIDTH - _RIGHT - 4}" y="{y - 5:.1f}" text-anchor="end">'
            f"budget {budget:g}×</text>"
        )


def _share_grid(axes: _Axes) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        yield from _level(axes.share(share), f"{share * 100:g} %")


def _level(y: float, label: str) -> Iterator[str]:
    yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _time_grid(axes: _Axes) -> Iterator[str]:
    tick = next((each for each in _TICKS if axes.seconds / each <= 10), _TICKS[-1])
    bottom = _SHARE_TOP + _SHARE_HEIGHT
    for second in range(0, axes.seconds + 1, tick):
        x = axes.x(second)
        for top, end in ((_LOAD_TOP, _LOAD_TOP + _LOAD_HEIGHT), (_SHARE_TOP, bottom)):
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{end}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{clock(second)}</text>'


def _points(axes: _Axes, values: Sequence[float], y: Callable[[float], float]) -> str:
    """Not more points than can be seen; of each stretch the highest, which is what counts."""
    values = values[: axes.seconds]
    count = min(len(values), WIDTH // 2)
    edges = [round(at * len(values) / count) for at in range(count + 1)]
    return " ".join(
        f"{axes.x(start):.1f},{y(max(values[start:end])):.1f}" for start, end in pairwise(edges)
    )


def _look(index: int, course: Course) -> str:
    kinds = ["course", "chosen" if index == 0 else ""]
    # Without events nobody decided anything: a way by the clock.
    kinds.append("" if course.events else "otherwise")
    return f'class="{" ".join(filter(None, kinds))}" stroke="{_COLORS[index % len(_COLORS)]}"'


def _legend(courses: Sequence[Course]) -> Iterator[str]:
    for index, course in enumerate(courses):
        column, line = index % 2, index // 2
        x = _LEFT + column * (WIDTH - _LEFT) // 2
        y = _LEGEND_TOP + line * _LEGEND_LINE
        peak = figures(course).peak_1s
        yield f'<polyline {_look(index, course)} points="{x},{y - 4} {x + 34},{y - 4}"/>'
        yield (
            f'<text x="{x + 44}" y="{y}">{escape(course.name)}: peak {peak:.2f}×, '
            f"{_ending(course)}</text>"
        )


def _ending(course: Course) -> str:
    return "given up" if course.promoted_at is None else f"done {clock(course.promoted_at)}"


def html(name: str, courses: Sequence[Course]) -> str:
    """A page of its own: the drawing, the figures and the chosen course's timeline."""
    title = escape(f"Plan of {name or 'a release'}")
    events = "".join(
        f"<tr><td>{clock(event.at)}</td><td>{escape(event.text)}</td></tr>"
        for event in shortened(courses[0].events)
    )
    header = "".join(
        f"<th>{each}</th>"
        for each in (
            "way of releasing", "peak 1 s", "peak 10 s", "over budget", "lowest hit rate",
            "memory", "all served",
        )
    )  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_PAGE_STYLE}</style></head>'
        f"<body><h1>{title}</h1>\n{svg(name, courses)}"
        f"<table><tr>{header}</tr>{''.join(_row(course) for course in courses)}</table>"
        f'<h2>{escape(courses[0].name)}</h2><table class="events"><tr><th>after</th>'
        f"<th>what happens</th></tr>{events}</table></body></html>\n"
    )


def _row(course: Course) -> str:
    found = figures(course)
    cells = (
        escape(course.name),
        f"{found.peak_1s:.2f}×",
        f"{found.peak_10s:.2f}×",
        f"{found.seconds_over} s",
        percent(found.lowest_hit_rate),
        size(found.most_bytes),
        _ending(course),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
