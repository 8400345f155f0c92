"""The rows of an evaluation, ready for statistics: which pairs count, and the values and features behind every column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.evaluation.feature_store import FeatureStore
from inference.evaluation.judge import FEATURES_DIR, read_row
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.metrics.registry import metric_columns
from inference.evaluation.run import ROWS_DIR, read_run
from manifests import UserError

SET = "set_"  # a row's fields for what its pair asked of the method
NEUTRAL = 1.0


def read_rows(out: str | Path) -> list[dict[str, Any]]:
    """The rows of an evaluation's directory that belong to its pairs and methods; of others, left by earlier calls, there may be files.

    Raises:
        UserError: there is no evaluation, or no row.
    """
    run = read_run(out)
    pair_ids, names = set(run["pairs"]), {*run["controls"], *run["methods"]}
    found = (read_row(file) for file in sorted((Path(out) / ROWS_DIR).glob("*/*.json")))
    rows = [row for row in found if row is not None and row["pair_id"] in pair_ids and row["method"] in names]
    if not rows:
        raise UserError(f"{out} holds no evaluated pair")
    return rows


def asked(row: dict[str, Any]) -> dict[str, float]:
    """What the pair asked of the method, apart from the neutral 1."""
    return {name.removeprefix(SET): value for name, value in row.items() if name.startswith(SET) and value != NEUTRAL}


@dataclass(frozen=True)
class Features:
    """Row i of both comes from the same place of the same clip, of which `owners[i]` is the identity."""

    ours: np.ndarray
    real: np.ndarray
    owners: list[str]


class Measured:
    """The scored pairs of an evaluation at their neutral settings (of a sweep, those at amplitude 1).

    Attributes:
        methods, controls: names; `silent` are methods without one answer, which nothing is compared with.
        pair_ids: all that were asked.
        common: the pairs that every method that is not silent answered.
        columns: those that any row has a value of.
    """

    def __init__(self, out: str | Path):
        run = read_run(out)
        self.out, self.run = Path(out), run
        self.all_rows = read_rows(out)
        rows = [row for row in self.all_rows if not asked(row)]
        self.methods, self.controls = list(run["methods"]), list(run["controls"])
        self._scored = {
            name: {row["pair_id"]: row for row in rows if row["method"] == name and row["status"] == "scored"}
            for name in [*self.controls, *self.methods]
        }
        swept = {row["pair_id"] for row in self.all_rows if asked(row)}
        self.pair_ids = [pair_id for pair_id in run["pairs"] if pair_id not in swept]
        self.silent = [name for name in self.methods if not self._scored[name]]
        answering = [name for name in self.methods if name not in self.silent] or list(self._scored)
        self.common = sorted(set.intersection(*(set(self._scored[name]) for name in answering)))
        self._identity = {row["pair_id"]: row["identity"] for row in rows}
        scored = [row for by_pair in self._scored.values() for row in by_pair.values()]
        self.distances = {name for row in scored for name in row["features"]}
        scores = {name for row in scored for name, value in row.items() if value is not None}
        self.columns: list[MetricColumn] = [column for column in metric_columns() if column.name in self.distances | scores]
        self._store = FeatureStore(self.out / FEATURES_DIR)
        self._comparable = {column.name: self._pairs_of(column.name) for column in self.columns}

    def coverage(self, name: str) -> float:
        """Share of all pairs that a method answered in a way that could be judged."""
        return len(self._scored[name]) / len(self.pair_ids) if self.pair_ids else math.nan

    def pairs_behind(self, column: str) -> list[str]:
        """The common pairs on which every method that has the column at all has a value: what all of its figures rest on."""
        return self._comparable[column]

    def identities(self, pair_ids: list[str]) -> list[str]:
        return [self._identity[pair_id] for pair_id in pair_ids]

    def values(self, name: str, column: str) -> np.ndarray:
        """(N,) over `pairs_behind(column)`; NaN where a control has none."""
        return np.array([_value(self._scored[name].get(pair_id), column) for pair_id in self.pairs_behind(column)])

    def features(self, name: str, column: str) -> Features | None:
        """Of `pairs_behind(column)`; None without any.

        Raises:
            UserError: files are gone.
        """
        ours, real, owners = [], [], []
        for pair_id in self.pairs_behind(column):
            row = self._scored[name].get(pair_id)
            keys = (row or {}).get("features", {}).get(column)
            if keys is None:
                continue
            answer, truth = (self._store.load(keys["store"], keys[side]) for side in ("answer", "real"))
            if answer is None or truth is None:
                raise UserError(f"features of {name}, {pair_id} are gone; run the evaluation again with the same command")
            count = min(len(answer), len(truth))
            ours.append(answer[:count])
            real.append(truth[:count])
            owners += [self._identity[pair_id]] * count
        return Features(np.concatenate(ours), np.concatenate(real), owners) if owners else None

    def _pairs_of(self, column: str) -> list[str]:
        def has(name: str, pair_id: str) -> bool:
            row = self._scored[name].get(pair_id)
            if column in self.distances:
                return column in (row or {}).get("features", {})
            return not math.isnan(_value(row, column))

        having = [name for name in self.methods if any(has(name, pair_id) for pair_id in self.common)]
        return [pair_id for pair_id in self.common if all(has(name, pair_id) for name in having)]


def _value(row: dict[str, Any] | None, name: str) -> float:
    value = (row or {}).get(name)
    return math.nan if value is None else float(value)
