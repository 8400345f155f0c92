"""Drawings of the report: intervals of all methods by one metric, and curves of an amplitude sweep."""

from __future__ import annotations

from collections.abc import Sequence

from curation.svg import N_COLOURS, Interval, Point, intervals, lines
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.outputs import shown
from inference.evaluation.sweep import Curve
from inference.evaluation.table import Table


def interval_chart(column: MetricColumn, table: Table) -> str:
    """A dot and its interval for every method and control; empty where nothing was measured."""
    rows = []
    for method, row in table.cells.items():
        cell = row[column.name]
        series = N_COLOURS - 1 if method in table.controls else 0
        rows.append(Interval(method, cell.mean, cell.low, cell.high, series, f"{method}: {shown(cell)}"))
    return intervals(rows, column.name)


def curve_chart(curves: Sequence[Curve]) -> str:
    """A line a method of one column against one knob, with the intervals of its points."""
    series = [(curve.method, [Point(p.value, p.mean, p.low, p.high) for p in curve.points]) for curve in curves]
    values = sorted({p.value for curve in curves for p in curve.points})
    return lines(series, x_label=curves[0].parameter, y_label=curves[0].column, x_ticks=values)
