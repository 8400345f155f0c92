"""The scale on which the mean of a bounded metric is spread evenly: what keeps an interval within what the metric can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """Of a metric that lies between `low` and `high`, in the metric's unit: log odds between two bounds, the logarithm of the distance from
    a single one, the value itself without any. Every bound may be infinite.

    Raises:
        ValueError: `low` is not below `high`.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a range from {self.low} to {self.high} holds no value")

    @property
    def of_differences(self) -> Scale:
        """The scale of a difference of two such values."""
        return Scale(self.low - self.high, self.high - self.low)

    def to(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale; infinite at a bound."""
        with np.errstate(divide="ignore"):
            return _log(values - self.low, self.low) - _log(self.high - values, self.high) + self._plain(values)

    def slope(self, values: np.ndarray) -> np.ndarray:
        """How fast the scale runs at values, per unit of the metric; infinite at a bound."""
        with np.errstate(divide="ignore"):
            below = 1 / (values - self.low) if math.isfinite(self.low) else np.zeros_like(values)
            above = 1 / (self.high - values) if math.isfinite(self.high) else np.zeros_like(values)
        return below + above if self._is_bounded else np.ones_like(values)

    def back(self, scaled: float) -> float:
        """A value from where it lies on the scale."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.low + (self.high - self.low) / (1 + math.exp(-max(-_LARGEST, min(_LARGEST, scaled))))
        if math.isfinite(self.low):
            return self.low + math.exp(min(_LARGEST, scaled))
        return self.high - math.exp(min(_LARGEST, -scaled)) if math.isfinite(self.high) else scaled

    def nearness(self, value: float) -> float:
        """How near a value is to a bound for the range: 1 at the low one, -1 at the high one, 0 in the middle three quarters; of a single
        bound always 1 or -1, without any 0."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            off = 1 - 2 * (value - self.low) / (self.high - self.low)
            return math.copysign(max(0.0, (abs(off) - _MIDDLE) / (1 - _MIDDLE)), off)
        return float(math.isfinite(self.low)) - float(math.isfinite(self.high))

    @property
    def _is_bounded(self) -> bool:
        return math.isfinite(self.low) or math.isfinite(self.high)

    def _plain(self, values: np.ndarray) -> np.ndarray:
        return np.zeros_like(values) if self._is_bounded else values


_MIDDLE = 0.75  # of the range
_LARGEST = 700.0  # exp of more is beyond float64


def _log(distance: np.ndarray, bound: float) -> np.ndarray:
    return np.log(distance) if math.isfinite(bound) else np.zeros_like(distance)
