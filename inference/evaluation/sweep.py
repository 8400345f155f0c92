"""What the amplitude knobs do: ranges of motion by setting, from the rows of an amplitude sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inference.evaluation.measured import NEUTRAL, SET, asked
from inference.evaluation.metrics.registry import metric_columns
from inference.evaluation.statistics import RESAMPLES, mean_interval

# Which columns a knob is to move, and csim, which it is to leave alone.
WATCHED = {
    "motion": ("head_shift_range", "head_roll_range_deg", "head_zoom_range", "csim"),
    "audio_scale": ("mouth_range", "csim"),
}


@dataclass(frozen=True)
class Point:
    """Mean over clips at one setting, with its interval over identities (NaN where they are too few)."""

    value: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One column of one method against one knob, over the clips that were answered at every setting.

    Attributes:
        n_clips: behind every point.
    """

    method: str
    parameter: str
    column: str
    points: tuple[Point, ...]
    n_clips: int


def curves_of(rows: Iterable[dict[str, Any]], methods: Iterable[str], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Curve]:
    """All curves with two points or more; none without a sweep. A pair's driving clip (`target`) tells which pairs belong together."""
    scored = [row for row in rows if row["status"] == "scored"]
    curves = []
    for method in methods:
        ours = [row for row in scored if row["method"] == method]
        for parameter, columns in WATCHED.items():
            by_value: dict[float, dict[str, dict[str, Any]]] = {}
            if not any(parameter in asked(row) for row in ours):
                continue
            for row in ours:
                others = set(asked(row)) - {parameter}
                if not others and any(name.startswith(SET) for name in row):
                    by_value.setdefault(float(row.get(SET + parameter, NEUTRAL)), {})[row["target"]] = row
            for column in columns:
                curve = _curve(by_value, column, resamples, seed)
                if curve is not None:
                    curves.append(Curve(method, parameter, column, *curve))
    return curves


def _curve(by_value: dict[float, dict[str, Any]], column: str, resamples: int, seed: int) -> tuple[tuple[Point, ...], int] | None:
    having = {value: {t for t, row in rows.items() if row.get(column) is not None} for value, rows in by_value.items()}
    having = {value: targets for value, targets in having.items() if targets}
    if len(having) < 2:
        return None
    clips = sorted(set.intersection(*having.values()))
    bounds = next(one.bounds for one in metric_columns() if one.name == column)
    points = []
    for value in sorted(having):
        rows = [by_value[value][target] for target in clips]
        values, who = [row[column] for row in rows], [row["identity"] for row in rows]
        found = mean_interval(values, who, bounds=bounds, resamples=resamples, seed=seed)
        points.append(Point(value, found.mean, found.low, found.high))
    return (tuple(points), len(clips)) if not math.isnan(points[0].mean) else None
