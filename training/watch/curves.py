"""Line charts as SVG text, in the style (and with the axes) of the curation's charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from curation.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, ticks
from curation.wording import number

MAX_POINTS = 400
Series = tuple[str, Sequence[tuple[float, float]]]
"""Name, and (x, y) points in order of x."""


def line_chart(series: Sequence[Series], *, x_label: str, y_label: str, log: bool = False, from_zero: bool = False) -> str:
    """One line for each series (CSS classes `line s0` …); points that are not finite (or, with `log`, not positive) are left out.

    Args:
        log: a logarithmic y axis.
        from_zero: the y axis begins at 0.

    Returns:
        SVG, or an empty text where there is nothing to draw.
    """
    kept = [(name, _thinned([(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)])) for name, points in series]
    values = [y for _, points in kept for _, y in points]
    if not values:
        return ""
    change = math.log10 if log else float
    x = Scale(0.0, max(1.0, *(point[0] for _, points in kept for point in points)), LEFT, WIDTH - RIGHT)
    low, high = change(min(values)), change(max(values))
    low = 0.0 if from_zero and not log else low
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    y = Scale(low if from_zero and not log else low - room, high + room, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(y, log), f'<text class="axis" x="{LEFT}" y="11" text-anchor="start">{escape(y_label)}</text>']
    for index, (name, points) in enumerate(kept):
        path = "L".join(f"{x(px):.1f} {y(change(py)):.1f}" for px, py in points)
        if path:
            last = f"{name}: {number(points[-1][1])} at {number(points[-1][0])}"
            parts.append(f'<path class="line s{index % 7}" d="M{path}"><title>{escape(last)}</title></path>')
            if len(points) == 1:
                parts.append(f'<circle class="s{index % 7}" cx="{x(points[0][0]):.1f}" cy="{y(change(points[0][1])):.1f}" r="2.6"/>')
    base = HEIGHT - BOTTOM
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
    parts += [
        f'<text class="axis" x="{x(t):.1f}" y="{base + 14}" text-anchor="middle">{number(t)}</text>'
        for t in ticks(x.low, x.high, whole=True)
    ]
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_label)} over {escape(x_label)}">{"".join(parts)}</svg>'


def _grid(y: Scale, log: bool) -> list[str]:
    if log:
        first, last = math.floor(y.low), math.ceil(y.high)
        factors = (1, 2, 5) if last - first <= 2 else (1,)
        values = [(power + math.log10(factor), factor * 10.0**power) for power in range(first, last + 1) for factor in factors]
        values = [(at, shown) for at, shown in values if y.low <= at <= y.high]
    else:
        values = [(at, at) for at in ticks(y.low, y.high, 4)]
    return [
        f'<path class="grid" d="M{LEFT} {y(at):.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="axis" x="{LEFT - 5}" y="{y(at) + 3.5:.1f}" text-anchor="end">{number(shown)}</text>'
        for at, shown in values
    ]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of groups of neighbours, so that a long run stays readable and its file small."""
    size = -(-len(points) // MAX_POINTS)
    if size <= 1:
        return points
    groups = [points[k : k + size] for k in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
