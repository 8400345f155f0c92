"""From rows to a table: a line a method, with intervals, ranks and comparisons. Nothing is measured here.

Every number of a table rests on the same pairs: those that all methods answered. What a method failed on is its coverage, beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.evaluation.feature_store import FeatureStore
from inference.evaluation.frechet import extrapolated, frechet_distance, frechet_interval
from inference.evaluation.judge import FEATURES_DIR, read_row
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.metrics.registry import metric_columns
from inference.evaluation.run import ROWS_DIR, read_run
from inference.evaluation.statistics import holm, mean_interval, paired_interval, sign_flip_p
from manifests import UserError


@dataclass(frozen=True)
class Cell:
    """One number of the table; NaN where it could not be measured."""

    mean: float
    low: float = math.nan
    high: float = math.nan
    rank: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric, over the pairs that both answered.

    Attributes:
        difference, low, high: mean of first − second and its interval.
        p, p_corrected: sign-flip permutation test; Holm over all comparisons of the table.
    """

    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float = math.nan


@dataclass(frozen=True)
class Table:
    """What an evaluation says.

    Attributes:
        columns: in the order of the table.
        cells: method → column → cell; controls first.
        coverage: method → share of all pairs that it answered.
        n_pairs, n_identities: behind every number.
    """

    columns: list[MetricColumn]
    cells: dict[str, dict[str, Cell]]
    coverage: dict[str, float]
    controls: list[str]
    n_pairs: int
    n_identities: int
    comparisons: list[Comparison]
    unavailable: dict[str, str]

    def frame(self) -> pd.DataFrame:
        """Means, a row a method."""
        return pd.DataFrame(
            {column.name: {method: cells[column.name].mean for method, cells in self.cells.items()} for column in self.columns}
        ).reindex(list(self.cells))


def read_rows(out: str | Path) -> list[dict[str, Any]]:
    """All rows of an evaluation's directory.

    Raises:
        UserError: there is none.
    """
    rows = [row for file in sorted((Path(out) / ROWS_DIR).glob("*/*.json")) if (row := read_row(file)) is not None]
    if not rows:
        raise UserError(f"{out} holds no evaluated pair")
    return rows


def make_table(out: str | Path, *, resamples: int = 10_000, frechet_resamples: int = 100, seed: int = 0) -> Table:
    """The table of an evaluation's directory.

    Args:
        resamples, frechet_resamples: of the bootstrap over identities, for means and for Fréchet distances.
    """
    run, rows = read_run(out), read_rows(out)
    names = [*run["controls"], *run["methods"]]
    rows = [row for row in rows if row["method"] in names]
    by_method = {name: {row["pair_id"]: row for row in rows if row["method"] == name and row["status"] == "scored"} for name in names}
    judged = [name for name in names if name in run["methods"]] or names
    common = sorted(set.intersection(*(set(by_method[name]) for name in judged)))
    identity = {row["pair_id"]: row["identity"] for row in rows}
    who = [identity[pair_id] for pair_id in common]
    distances = {name for rows in by_method.values() for row in rows.values() for name in row["features"]}
    scores = {name for rows in by_method.values() for row in rows.values() for name in row}
    shown = [column for column in metric_columns() if column.name in distances | scores]
    store = FeatureStore(Path(out) / FEATURES_DIR)
    cells: dict[str, dict[str, Cell]] = {}
    for name in names:
        here = [by_method[name].get(pair_id) for pair_id in common]
        cells[name] = {column.name: _cell(column, here, who, store, resamples, frechet_resamples, seed) for column in shown}
    values = {
        (name, column.name): np.array([_value(by_method[name].get(pair_id), column.name) for pair_id in common])
        for name in run["methods"]
        for column in shown
        if column.name not in distances
    }
    return Table(
        shown,
        _ranked(cells, shown, list(run["methods"])),
        {name: len(by_method[name]) / run["pairs"] for name in names},
        list(run["controls"]),
        len(common),
        len(set(who)),
        _comparisons(values, list(run["methods"]), shown, who, resamples, seed),
        run["unavailable"],
    )


def _cell(
    column: MetricColumn,
    rows: list[dict[str, Any] | None],
    who: list[str],
    store: FeatureStore,
    resamples: int,
    frechet_resamples: int,
    seed: int,
) -> Cell:
    features = _paired_features(column.name, rows, who, store)
    if features is not None:
        ours, real, owners = features
        if len(ours) < 2:
            return Cell(math.nan, note="fewer than two samples")
        low, high = frechet_interval(ours, real, owners, resamples=frechet_resamples, seed=seed)
        limit = extrapolated(ours, real, owners, seed=seed).at_infinity
        return Cell(frechet_distance(ours, real), low, high, note=f"N = {len(ours)}, extrapolated to infinite N: {limit:.4g}")
    interval = mean_interval([_value(row, column.name) for row in rows], who, resamples=resamples, seed=seed)
    return Cell(interval.mean, interval.low, interval.high, note="" if interval.n_clips == len(rows) else f"{interval.n_clips} clips")


def _paired_features(
    name: str, rows: list[dict[str, Any] | None], who: list[str], store: FeatureStore
) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
    """Features of answers and of their real clips, row by row, with the identity of each; None if the column is no Fréchet distance."""
    ours, real, owners = [], [], []
    for row, identity in zip(rows, who, strict=True):
        keys = (row or {}).get("features", {}).get(name)
        if keys is None:
            continue
        answer, truth = store.load(keys["store"], keys["answer"]), store.load(keys["store"], keys["real"])
        if answer is None or truth is None:
            raise UserError(f"features of {row['method']}, {row['pair_id']} are gone; run the evaluation again with the same command")
        count = min(len(answer), len(truth))
        ours.append(answer[:count])
        real.append(truth[:count])
        owners += [identity] * count
    return (np.concatenate(ours), np.concatenate(real), owners) if ours else None


def _value(row: dict[str, Any] | None, name: str) -> float:
    value = (row or {}).get(name)
    return math.nan if value is None else float(value)


def _ranked(cells: dict[str, dict[str, Cell]], columns: Sequence[MetricColumn], methods: list[str]) -> dict[str, dict[str, Cell]]:
    """Ranks among the methods, 1 = best; controls have none, nor has "as real"."""
    ranked = {name: dict(row) for name, row in cells.items()}
    for column in columns:
        if column.better == "as real":
            continue
        sign = 1 if column.better == "lower" else -1
        order = sorted(
            (name for name in methods if not math.isnan(cells[name][column.name].mean)), key=lambda n: sign * cells[n][column.name].mean
        )
        for name in order:
            cell = cells[name][column.name]
            rank = 1 + sum(sign * cells[other][column.name].mean < sign * cell.mean for other in order)
            ranked[name][column.name] = Cell(cell.mean, cell.low, cell.high, rank, cell.note)
    return ranked


def _comparisons(
    values: dict[tuple[str, str], np.ndarray],
    methods: list[str],
    columns: Sequence[MetricColumn],
    who: list[str],
    resamples: int,
    seed: int,
) -> list[Comparison]:
    found = []
    for first, second in combinations(methods, 2):
        for column in columns:
            ours, theirs = values.get((first, column.name)), values.get((second, column.name))
            if ours is None or theirs is None or column.better == "as real" or not np.isfinite(ours - theirs).any():
                continue
            interval = paired_interval(ours, theirs, who, resamples=resamples, seed=seed)
            p = sign_flip_p(ours, theirs, who, resamples=resamples, seed=seed)
            found.append(Comparison(first, second, column.name, interval.mean, interval.low, interval.high, p))
    corrected = holm([one.p for one in found])
    return [Comparison(**{**vars(one), "p_corrected": p}) for one, p in zip(found, corrected, strict=True)]


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
