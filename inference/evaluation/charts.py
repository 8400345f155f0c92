"""Drawings of the report, as SVG: intervals of all methods by one metric, and curves of an amplitude sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from curation.report.svg import LEFT, RIGHT, WIDTH, Scale, ticks
from curation.wording import number
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.outputs import shown
from inference.evaluation.sweep import Curve
from inference.evaluation.table import Table

_LINE_PX = 22
_NAMES_PX = 120
_CURVES_PX = 190
_COLOURS = 6  # s0 … s5 of the page's style


def interval_chart(column: MetricColumn, table: Table) -> str:
    """A dot and its interval for every method and control; empty where nothing was measured."""
    cells = [(method, row[column.name]) for method, row in table.cells.items() if not math.isnan(row[column.name].mean)]
    if not cells:
        return ""
    bounds = [value for _, cell in cells for value in (cell.mean, cell.low, cell.high) if not math.isnan(value)]
    room = 0.06 * (max(bounds) - min(bounds)) or 0.1 * abs(bounds[0]) or 1.0
    x = Scale(min(bounds) - room, max(bounds) + room, LEFT + _NAMES_PX, WIDTH - RIGHT)
    height = _LINE_PX * len(cells) + 30
    parts = [f'<path class="grid" d="M{x(t):.1f} 4V{height - 22}"/>' for t in ticks(x.low, x.high)]
    parts += [f'<text class="axis" x="{x(t):.1f}" y="{height - 8}" text-anchor="middle">{number(t)}</text>' for t in ticks(x.low, x.high)]
    for index, (method, cell) in enumerate(cells):
        y = 14 + _LINE_PX * index
        colour = "s6" if method in table.controls else "s0"
        parts.append(f'<text class="axis" x="{LEFT + _NAMES_PX - 8}" y="{y + 4}" text-anchor="end">{escape(method[:22])}</text>')
        if not math.isnan(cell.low):
            parts.append(f'<path class="line {colour}" d="M{x(cell.low):.1f} {y}H{x(cell.high):.1f}"/>')
        parts.append(
            f'<circle class="{colour}" cx="{x(cell.mean):.1f}" cy="{y}" r="4"><title>{escape(method)}: {shown(cell)}</title></circle>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(column.name)}">{"".join(parts)}</svg>'


def curve_chart(curves: Sequence[Curve]) -> str:
    """A line a method of one column against one knob, with the intervals of its points."""
    points = [point for curve in curves for point in curve.points]
    bounds = [value for point in points for value in (point.mean, point.low, point.high) if not math.isnan(value)]
    room = 0.06 * (max(bounds) - min(bounds)) or 0.1 * abs(bounds[0]) or 1.0
    values = [point.value for point in points]
    x = Scale(min(values), max(values), LEFT + 20, WIDTH - RIGHT)
    y = Scale(min(bounds) - room, max(bounds) + room, _CURVES_PX - 26, 8)
    parts = [f'<path class="grid" d="M{LEFT + 20} {y(t):.1f}H{WIDTH - RIGHT}"/>' for t in ticks(y.low, y.high)]
    parts += [f'<text class="axis" x="{LEFT + 14}" y="{y(t) + 4:.1f}" text-anchor="end">{number(t)}</text>' for t in ticks(y.low, y.high)]
    parts += [f'<text class="axis" x="{x(v):.1f}" y="{_CURVES_PX - 8}" text-anchor="middle">{v:g}</text>' for v in sorted(set(values))]
    for index, curve in enumerate(curves):
        colour = f"s{index % _COLOURS}"
        line = "L".join(f"{x(p.value):.1f} {y(p.mean):.1f}" for p in curve.points)
        parts.append(f'<path class="line {colour}" d="M{line}"><title>{escape(curve.method)}</title></path>')
        for p in curve.points:
            if not math.isnan(p.low):
                parts.append(f'<path class="line {colour}" d="M{x(p.value):.1f} {y(p.low):.1f}V{y(p.high):.1f}"/>')
            parts.append(
                f'<circle class="{colour}" cx="{x(p.value):.1f}" cy="{y(p.mean):.1f}" r="3.5"><title>{p.mean:.4g}</title></circle>'
            )
    return f'<svg viewBox="0 0 {WIDTH} {_CURVES_PX}" role="img" aria-label="{escape(curves[0].column)}">{"".join(parts)}</svg>'
