"""From rows to a table: a line a method, with intervals, ranks and comparisons. Nothing is measured here.

Every figure of a column rests on the same pairs: those on which all methods have one. What a method failed on is its coverage, beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.evaluation.frechet import basic_interval, extrapolated, frechet_distance, resampled_deviations
from inference.evaluation.measured import Measured, read_rows
from inference.evaluation.methods import Method
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.statistics import (
    FEWEST_IDENTITIES,
    RESAMPLES,
    holm,
    identities_needed,
    identity_sd,
    mean_interval,
    paired_interval,
    sign_flip_p,
)
from inference.evaluation.sweep import Curve, curves_of

__all__ = ["Cell", "Comparison", "Table", "make_table", "read_rows", "to_json"]

FRECHET_RESAMPLES = 100
LOW_COVERAGE = 0.8
OFFSET_COLUMNS = ("av_offset_frames", "lipsync_offset_frames")
NOTICED_FRAMES = 1.5  # of 40 ms: an offset beyond is said, because Sync-C and Sync-D are read at the best shift and do not see it


@dataclass(frozen=True)
class Cell:
    """One number of the table; NaN where it could not be measured.

    Attributes:
        n: clips behind it; of a Fréchet distance, feature rows of each side.
        at_infinity: of a Fréchet distance, what it tends to for many samples; NaN with fewer than four identities.
    """

    mean: float
    low: float = math.nan
    high: float = math.nan
    rank: int | None = None
    n: int = 0
    at_infinity: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric, over the pairs behind its column.

    Attributes:
        difference, low, high: mean of first − second (of a Fréchet distance, the difference of both) and its interval.
        p, p_corrected: sign-flip permutation test; Holm over all comparisons of the table. NaN for a Fréchet distance, which no clip has.
        needed: identities that would show a difference of this size at 5 % with 80 % power; None where nothing tells.
    """

    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    p: float = math.nan
    p_corrected: float = math.nan
    needed: int | None = None


@dataclass(frozen=True)
class Table:
    """What an evaluation says.

    Attributes:
        columns: in the order of the table.
        cells: method → column → cell; controls first.
        coverage: method → share of all pairs that it answered.
        n_pairs, n_identities: that every method answered; a column may rest on fewer (`Cell.n`).
        methods: name → what its method.yaml says.
        curves: of an amplitude sweep.
        warnings: what a reader has to know before comparing.
    """

    columns: list[MetricColumn]
    cells: dict[str, dict[str, Cell]]
    coverage: dict[str, float]
    controls: list[str]
    n_pairs: int
    n_identities: int
    comparisons: list[Comparison]
    unavailable: dict[str, str]
    methods: dict[str, Method] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    distances: list[str] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """Means, a row a method."""
        return pd.DataFrame(
            {column.name: {method: cells[column.name].mean for method, cells in self.cells.items()} for column in self.columns}
        ).reindex(list(self.cells))

    def signal(self, name: str) -> str:
        """What a method used of its driver, "" if it does not say."""
        return self.methods[name].signal if name in self.methods else ""


def make_table(out: str | Path, *, resamples: int = RESAMPLES, frechet_resamples: int = FRECHET_RESAMPLES, seed: int = 0) -> Table:
    """The table of an evaluation's directory.

    Args:
        resamples, frechet_resamples: of the bootstrap over identities, for means and for Fréchet distances.
    """
    measured = Measured(out)
    run = measured.run
    methods = {name: _method(name, values) for name, values in run["methods"].items()}
    cells: dict[str, dict[str, Cell]] = {name: {} for name in [*measured.controls, *measured.methods]}
    deviations: dict[tuple[str, str], np.ndarray] = {}
    for column in measured.columns:
        for name in cells:
            if column.name in measured.distances:
                cells[name][column.name], deviations[name, column.name] = _distance(measured, name, column.name, frechet_resamples, seed)
            else:
                who = measured.identities(measured.pairs_behind(column.name))
                found = mean_interval(measured.values(name, column.name), who, bounds=column.bounds, resamples=resamples, seed=seed)
                cells[name][column.name] = Cell(found.mean, found.low, found.high, n=found.n_clips)
    cells = _ranked(cells, measured.columns, measured.methods)
    n_identities = len(set(measured.identities(measured.common)))
    return Table(
        measured.columns,
        cells,
        {name: measured.coverage(name) for name in cells},
        measured.controls,
        len(measured.common),
        n_identities,
        _comparisons(measured, cells, deviations, resamples, seed),
        run["unavailable"],
        methods,
        curves_of(measured.all_rows, measured.methods, resamples=resamples, seed=seed),
        _warnings(measured, methods, cells, n_identities),
        sorted(measured.distances),
    )


def _distance(measured: Measured, name: str, column: str, resamples: int, seed: int) -> tuple[Cell, np.ndarray]:
    """A Fréchet distance, and how it deviates over resamples of the identities."""
    features = measured.features(name, column)
    if features is None or len(features.ours) < 2:
        return Cell(math.nan, n=0 if features is None else len(features.ours)), np.zeros(0)
    distance = frechet_distance(features.ours, features.real)
    deviations = np.zeros(0)
    if len(set(features.owners)) >= FEWEST_IDENTITIES:
        deviations = resampled_deviations(features.ours, features.real, features.owners, resamples=resamples, seed=seed)
    low, high = (bound if math.isnan(bound) else max(0.0, bound) for bound in basic_interval(distance, deviations))
    limit = extrapolated(features.ours, features.real, features.owners, seed=seed).at_infinity
    return Cell(distance, low, high, n=len(features.ours), at_infinity=limit), deviations


def _ranked(cells: dict[str, dict[str, Cell]], columns: Sequence[MetricColumn], methods: list[str]) -> dict[str, dict[str, Cell]]:
    """Ranks among the methods, 1 = best; controls have none, nor has "as real", nor a method that stands alone."""
    ranked = {name: dict(row) for name, row in cells.items()}
    for column in columns:
        if column.better == "as real":
            continue
        sign = 1 if column.better == "lower" else -1
        means = {name: sign * cells[name][column.name].mean for name in methods if not math.isnan(cells[name][column.name].mean)}
        for name, mean in means.items() if len(means) > 1 else ():
            rank = 1 + sum(other < mean for other in means.values())
            ranked[name][column.name] = replace(cells[name][column.name], rank=rank)
    return ranked


def _comparisons(
    measured: Measured, cells: dict[str, dict[str, Cell]], deviations: dict[tuple[str, str], np.ndarray], resamples: int, seed: int
) -> list[Comparison]:
    found = []
    for first, second in combinations([name for name in measured.methods if name not in measured.silent], 2):
        for column in measured.columns:
            name = column.name
            if column.better == "as real":
                continue
            if name in measured.distances:
                spread = deviations[first, name], deviations[second, name]
                difference = cells[first][name].mean - cells[second][name].mean
                if math.isfinite(difference) and len(spread[0]) == len(spread[1]):
                    found.append(Comparison(first, second, name, difference, *basic_interval(difference, spread[0] - spread[1])))
                continue
            ours, theirs, who = (
                measured.values(first, name),
                measured.values(second, name),
                measured.identities(measured.pairs_behind(name)),
            )
            if not np.isfinite(ours - theirs).any():
                continue
            interval = paired_interval(ours, theirs, who, bounds=column.bounds, resamples=resamples, seed=seed)
            p = sign_flip_p(ours, theirs, who, resamples=resamples, seed=seed)
            sd = identity_sd(ours, theirs, who)
            needed = identities_needed(interval.mean, sd) if interval.mean and sd > 0 else None
            found.append(Comparison(first, second, name, interval.mean, interval.low, interval.high, p, needed=needed))
    corrected = holm([one.p for one in found])
    return [replace(one, p_corrected=p) for one, p in zip(found, corrected, strict=True)]


def _warnings(measured: Measured, methods: dict[str, Method], cells: dict[str, dict[str, Cell]], n_identities: int) -> list[str]:
    said = []
    signals: dict[str, list[str]] = {}
    for name, method in methods.items():
        signals.setdefault(method.signal or "unknown", []).append(name)
    if len(signals) > 1:
        groups = "; ".join(f"{signal}: {', '.join(names)}" for signal, names in sorted(signals.items()))
        said.append(
            f"Methods that are given different things are ranked together ({groups}). Who sees the driver's mouth has an upper-bound task;"
            " only methods that hear it alone show skill with sound. Compare within one signal."
        )
    elif "unknown" in signals and len(methods) > 1:
        said.append("No method.yaml says what its method uses of the driver (signal: audio, video or video+audio): ranks may mix tasks.")
    for name in measured.silent:
        said.append(f"{name} has no answer that could be judged; it is left out of all comparisons.")
    for name in measured.methods:
        if name not in measured.silent and measured.coverage(name) < LOW_COVERAGE and len(measured.methods) > 1:
            said.append(f"{name} answered {measured.coverage(name):.0%} of the pairs, and every figure rests on pairs that all answered.")
    if len(measured.run.get("protocols", [])) > 1:
        said.append(f"The pairs are of several protocols ({', '.join(measured.run['protocols'])}); their figures mix.")
    for name in measured.methods:
        for column in OFFSET_COLUMNS:
            offset = cells[name][column].mean if column in cells[name] else math.nan
            if abs(offset) > NOTICED_FRAMES:
                late = "lips late" if offset > 0 else "lips early"
                said.append(f"{name} is out of sync by {abs(offset):.1f} frames ({late}; {column}): Sync-C and Sync-D do not see that.")
    if n_identities < FEWEST_IDENTITIES:
        said.append(f"Fewer than {FEWEST_IDENTITIES} identities ({n_identities}): no intervals, and no difference can be significant.")
    elif n_identities < 20:
        said.append(f"Fewer than 20 identities ({n_identities}): intervals are rough, and no claim about people in general rests on them.")
    return said


def _method(name: str, values: dict[str, Any]) -> Method:
    size = values.get("parameters_b")
    return Method(name, math.nan if size is None else size, values.get("signal", ""), values.get("notes", {}))


def to_json(table: Table) -> str:
    """The whole table as JSON, NaN as null."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return plain(vars(value)) if hasattr(value, "__dict__") else value

    return json.dumps(plain(vars(table)), indent=1, ensure_ascii=False)
