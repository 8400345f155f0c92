"""Charts as SVG text, for every report of the project: a stacked histogram, a scatter plot, lines, and intervals.

Colours come from CSS classes (`s0`..`s6` for series, `line`, `axis`, `grid`, `limit`, `beyond`), so that one drawing serves light and dark
pages. A report is one file that works without a network and is written by every run: altair draws with scripts from a server, matplotlib
(30 MB, half a second to import) fixes colours and fonts when it draws. What is left to write is this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from curation.wording import number

N_COLOURS = 7  # s0 … s6 of the pages' style
WIDTH, HEIGHT = 380, 230  # of the drawing's own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 18, 34  # room for numbers, for the last label, for the y label, for numbers and the x label
_NAMES = 120  # room for the names of an interval chart
_ROW = 22  # height of one of its rows
_NAME_LETTERS = 22  # of a name that fit there
_MAX_POINTS = 400  # of a line: more are not told apart at this width, and make the file large


@dataclass(frozen=True)
class Scale:
    """Maps low..high linearly to the pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


class Point(NamedTuple):
    """A point of a line; with the interval low..high where one is known."""

    x: float
    y: float
    low: float = math.nan
    high: float = math.nan


class Interval(NamedTuple):
    """A row of an interval chart; `series` is the number of its colour."""

    name: str
    mean: float
    low: float
    high: float
    series: int
    tooltip: str


def ticks(low: float, high: float, about: int = 5, *, whole: bool = False) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) within low..high; with `whole`, whole numbers only."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    step = max(1.0, step) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def histogram(
    edges: np.ndarray,
    counts: Sequence[tuple[str, np.ndarray]],
    *,
    label: str,
    limits: Sequence[tuple[float, str]] = (),
    beyond: Sequence[tuple[float, float]] = (),
    open_ends: tuple[bool, bool] = (False, False),
    whole: bool = False,
) -> str:
    """Stacked bars.

    Args:
        edges: (B+1,) ascending bin edges.
        counts: (name, (B,) counts) of each series; they are stacked in this order, class `s<i>`.
        label: text below the axis.
        limits: threshold lines (where, text); those outside the edges are left out.
        beyond: intervals that a threshold rejects, shaded; infinite ends reach to the edge of the chart.
        whole: the values are whole numbers.
        open_ends: the first/last bin also holds what lies below/above it; said in the tooltip.
    """
    total = np.sum([values for _, values in counts], axis=0) if counts else np.zeros(len(edges) - 1, dtype=int)
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, WIDTH - RIGHT)
    y = Scale(0, max(1, int(total.max(initial=0))), HEIGHT - BOTTOM, TOP)
    parts = [_shade(x, low, high) for low, high in beyond]
    parts += _grid(y, [(at, at) for at in ticks(0, y.high, 4, whole=True)])
    for i in np.flatnonzero(total):
        below, above = open_ends[0] and i == 0, open_ends[1] and i == len(total) - 1
        span = f"{'below ' if below else ''}{number(edges[i + 1] if below else edges[i])}"
        span = f"{number(edges[i])} and more" if above else span if below else f"{span} to {number(edges[i + 1])}"
        left, right, stacked = x(edges[i]), x(edges[i + 1]), 0
        for k, (name, values) in enumerate(counts):
            if values[i]:
                top, bottom = y(stacked + values[i]), y(stacked)
                stacked += values[i]
                parts.append(
                    f'<rect class="s{k}" x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(right - left - 1, 0.6):.1f}" '
                    f'height="{max(bottom - top, 0.4):.1f}"><title>{escape(f"{name}: {values[i]:,} clips, {span}")}</title></rect>'
                )
    parts += [_limit(x, at, text) for at, text in limits if x.low <= at <= x.high]
    return _chart(parts, x, ticks(x.low, x.high, whole=whole), label, f"histogram: {label}")


def scatter(
    points: Sequence[tuple[float, float, str, str]],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    x_limits: Sequence[float] = (),
    y_limits: Sequence[float] = (),
) -> str:
    """Dots of (x, y, CSS class, tooltip); values outside the ranges are drawn at the edge."""
    x, y = Scale(*x_range, LEFT, WIDTH - RIGHT), Scale(*y_range, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(y, [(at, at) for at in ticks(*y_range, 4)]), _y_label(f"{y_label} ↑")]
    parts += [f'<path class="limit" d="M{x(at):.1f} {TOP}V{HEIGHT - BOTTOM}"/>' for at in x_limits if x.low <= at <= x.high]
    parts += [f'<path class="limit" d="M{LEFT} {y(at):.1f}H{WIDTH - RIGHT}"/>' for at in y_limits if y.low <= at <= y.high]
    for series in sorted({point[2] for point in points}):
        parts.append(f'<g class="dot {series}">')
        for px, py, kind, title in points:
            if kind == series:
                cx, cy = x(min(max(px, x.low), x.high)), y(min(max(py, y.low), y.high))
                parts.append(_dot(cx, cy, title))
        parts.append("</g>")
    return _chart(parts, x, ticks(x.low, x.high), f"{x_label} →", f"{y_label} against {x_label}")


def lines(
    series: Sequence[tuple[str, Sequence[Point]]],
    *,
    x_label: str,
    y_label: str,
    log: bool = False,
    from_zero: bool = False,
    x_ticks: Sequence[float] | None = None,
) -> str:
    """One line for each series of (name, points in order of x), CSS classes `line s0` …

    Points whose y is not finite (or, with `log`, not positive) are left out; a long line is drawn through the means of groups of points.

    Args:
        log: a logarithmic y axis.
        from_zero: the y axis begins at 0.
        x_ticks: the values of x that occur, few: they are labelled, the points are dotted, and their intervals drawn. Else the x axis
            begins at 0 and has whole numbers.

    Returns:
        SVG, or an empty text where there is nothing to draw.
    """
    kept = [(name, _thinned([p for p in points if math.isfinite(p.y) and (p.y > 0 or not log)])) for name, points in series]
    values = [v for _, points in kept for p in points for v in (p.y, p.low, p.high) if math.isfinite(v) and (v > 0 or not log)]
    if not values:
        return ""
    change: Callable[[float], float] = math.log10 if log else float
    places = [p.x for _, points in kept for p in points]
    x = Scale(min(places), max(places), LEFT, WIDTH - RIGHT) if x_ticks else Scale(0.0, max(1.0, *places), LEFT, WIDTH - RIGHT)
    low, high = (0.0 if from_zero and not log else change(min(values))), change(max(values))
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    y = Scale(low if from_zero and not log else low - room, high + room, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(y, _log_ticks(y) if log else [(at, at) for at in ticks(y.low, y.high, 4)]), _y_label(y_label)]
    for index, (name, points) in enumerate(kept):
        if not points:
            continue
        colour = f"s{index % N_COLOURS}"
        path = "L".join(f"{x(p.x):.1f} {y(change(p.y)):.1f}" for p in points)
        title = f"{name}: {number(points[-1].y)} at {number(points[-1].x)}"
        parts.append(f'<path class="line {colour}" d="M{path}"><title>{escape(title)}</title></path>')
        parts += [
            f'<path class="line {colour}" d="M{x(p.x):.1f} {y(change(p.low)):.1f}V{y(change(p.high)):.1f}"/>'
            for p in points
            if math.isfinite(p.low) and math.isfinite(p.high)
        ]
        if x_ticks or len(points) == 1:
            parts += [_dot(x(p.x), y(change(p.y)), f"{name}: {number(p.y)} at {number(p.x)}", colour) for p in points]
    at = ticks(x.low, x.high, whole=True) if x_ticks is None else sorted(set(x_ticks))
    return _chart(parts, x, at, x_label, f"{y_label} over {x_label}")


def intervals(rows: Sequence[Interval], label: str) -> str:
    """A dot and its interval for every row; an empty text where nothing was measured."""
    rows = [row for row in rows if math.isfinite(row.mean)]
    if not rows:
        return ""
    bounds = [value for row in rows for value in (row.mean, row.low, row.high) if math.isfinite(value)]
    room = 0.06 * (max(bounds) - min(bounds)) or 0.1 * abs(bounds[0]) or 1.0
    x = Scale(min(bounds) - room, max(bounds) + room, LEFT + _NAMES, WIDTH - RIGHT)
    height = _ROW * len(rows) + 30
    parts = [f'<path class="grid" d="M{x(t):.1f} 4V{height - 22}"/>' for t in ticks(x.low, x.high)]
    parts += [_text(x(t), height - 8, number(t)) for t in ticks(x.low, x.high)]
    for index, row in enumerate(rows):
        y = 14 + _ROW * index
        parts.append(_text(LEFT + _NAMES - 8, y + 4, row.name[:_NAME_LETTERS], "end"))
        if math.isfinite(row.low) and math.isfinite(row.high):
            parts.append(f'<path class="line s{row.series}" d="M{x(row.low):.1f} {y}H{x(row.high):.1f}"/>')
        parts.append(_dot(x(row.mean), y, row.tooltip, f"s{row.series}"))
    return _drawing(parts, height, label)


def _chart(parts: Sequence[str], x: Scale, x_ticks: Sequence[float], label: str, name: str) -> str:
    base = HEIGHT - BOTTOM
    axis = [f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>']
    axis += [_text(x(t), base + 14, number(t)) for t in x_ticks]
    axis.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, label))
    return _drawing([*parts, *axis], HEIGHT, name)


def _drawing(parts: Sequence[str], height: int, name: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="axis" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, title: str, colour: str = "") -> str:
    kind = f' class="{colour}"' if colour else ""
    return f'<circle{kind} cx="{x:.1f}" cy="{y:.1f}" r="{3.5 if colour else 2.6}"><title>{escape(title)}</title></circle>'


def _y_label(text: str) -> str:
    return _text(LEFT, 11, text, "start")


def _grid(y: Scale, values: Sequence[tuple[float, float]]) -> list[str]:
    """A line for each (place on the axis, number shown)."""
    return [
        f'<path class="grid" d="M{LEFT} {y(at):.1f}H{WIDTH - RIGHT}"/>{_text(LEFT - 5, y(at) + 3.5, number(shown), "end")}'
        for at, shown in values
    ]


def _log_ticks(y: Scale) -> list[tuple[float, float]]:
    """Powers of ten on an axis of logarithms; with 2 and 5 times each where it spans few of them."""
    first, last = math.floor(y.low), math.ceil(y.high)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    values = [(power + math.log10(factor), factor * 10.0**power) for power in range(first, last + 1) for factor in factors]
    return [(at, shown) for at, shown in values if y.low <= at <= y.high]


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Means of groups of neighbours, so that a long run stays readable and its file small."""
    size = -(-len(points) // _MAX_POINTS)
    if size <= 1:
        return points
    groups = [points[k : k + size] for k in range(0, len(points), size)]
    return [Point(group[-1].x, sum(p.y for p in group) / len(group)) for group in groups]


def _limit(x: Scale, value: float, text: str) -> str:
    at = x(value)
    anchor = "end" if at > WIDTH - 60 else "start" if at < LEFT + 30 else "middle"
    return (
        f'<path class="limit" d="M{at:.1f} {TOP - 4}V{HEIGHT - BOTTOM}"/>'
        f'<text class="limit" x="{at:.1f}" y="{TOP - 7}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _shade(x: Scale, low: float, high: float) -> str:
    left, right = x(max(low, x.low)), x(min(high, x.high))
    return f'<rect class="beyond" x="{left:.1f}" y="{TOP}" width="{max(right - left, 0):.1f}" height="{HEIGHT - BOTTOM - TOP}"/>'
