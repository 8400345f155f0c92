"""A feature metric without weights, which counts how often it ran."""

from __future__ import annotations

import numpy as np

from inference.evaluation.metrics.base import FeatureMetric, MetricColumn, UnavailableError


class MeanColour(FeatureMetric):
    name = "colour"
    column = MetricColumn("colour", "lower", "", "Fréchet distance of mean colours", "tests")
    calls = 0

    def features(self, frames: np.ndarray) -> np.ndarray:
        type(self).calls += 1
        return frames[::5].mean(axis=(1, 2)).astype(np.float32)


class NoWeights(FeatureMetric):
    name = "weightless"
    column = MetricColumn("weightless", "lower", "", "never", "tests")

    def __init__(self) -> None:
        raise UnavailableError("weights of weightless are missing; `make models` gets them")

    def features(self, frames: np.ndarray) -> np.ndarray:
        raise AssertionError
