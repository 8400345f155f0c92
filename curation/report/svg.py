"""Charts as SVG text: a stacked histogram and a scatter plot.

Colours come from CSS classes (`s0`..`s6` for series, `axis`, `grid`, `limit`, `beyond`), so that one drawing serves light and dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from curation.wording import number

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 18, 34


@dataclass(frozen=True)
class Scale:
    """Maps low..high linearly to the pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


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
    parts += _grid(y, ticks(0, y.high, 4, whole=True))
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
    return _chart(parts, x, label, f"histogram: {label}", whole)


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
    parts = _grid(y, ticks(*y_range, 4))
    parts += [f'<path class="limit" d="M{x(at):.1f} {TOP}V{HEIGHT - BOTTOM}"/>' for at in x_limits if x.low <= at <= x.high]
    parts += [f'<path class="limit" d="M{LEFT} {y(at):.1f}H{WIDTH - RIGHT}"/>' for at in y_limits if y.low <= at <= y.high]
    for series in sorted({point[2] for point in points}):
        parts.append(f'<g class="dot {series}">')
        for px, py, kind, title in points:
            if kind == series:
                cx, cy = x(min(max(px, x.low), x.high)), y(min(max(py, y.low), y.high))
                parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="2.6"><title>{escape(title)}</title></circle>')
        parts.append("</g>")
    parts.append(f'<text class="axis" x="{LEFT}" y="11" text-anchor="start">{escape(y_label)} ↑</text>')
    return _chart(parts, x, f"{x_label} →", f"{y_label} against {x_label}")


def _chart(parts: Sequence[str], x: Scale, label: str, name: str, whole: bool = False) -> str:
    base = HEIGHT - BOTTOM
    axis = [f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>']
    axis += [
        f'<text class="axis" x="{x(t):.1f}" y="{base + 14}" text-anchor="middle">{number(t)}</text>'
        for t in ticks(x.low, x.high, whole=whole)
    ]
    axis.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(label)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">{"".join([*parts, *axis])}</svg>'


def _grid(y: Scale, values: Sequence[float]) -> list[str]:
    return [
        f'<path class="grid" d="M{LEFT} {y(v):.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="axis" x="{LEFT - 5}" y="{y(v) + 3.5:.1f}" text-anchor="end">{number(v)}</text>'
        for v in values
    ]


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
