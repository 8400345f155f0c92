"""The response matrix: how what is read of an output follows what was planted in its driver.

A clip's readings are regressed on all ten signals at once, so that two signals that happen to move together in a short clip are told apart.
Landmarks mix factors (closed lids look like a smaller face): their own matrix, measured where the truth is known, is divided out. How much
they see of a factor differs from face to face, and of some they see nothing (lips in a full beard): each face's own gain, measured on its
own act, is divided out too, and faces in which a factor cannot be read say nothing of it.
What a clip says is kept as its covariances, from which everything follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.truth.factors import FACTORS, READ, SIGNALS
from inference.evaluation.statistics import Interval, mean_interval

READABLE_R = 0.9
"""Least correlation of a reading with the truth in a person's own act, from which on the person counts for that factor: what is asked of
a model cannot be read by less."""
_P = len(SIGNALS)
_STILL = 1e-12
_UNBOUNDED = (-np.inf, np.inf)


def over_people(values: Sequence[float] | np.ndarray, people: Sequence[int], bounds: tuple[float, float] = _UNBOUNDED) -> Interval:
    """The evaluation's interval, with fewer draws: there are a thousand of them on a page."""
    return mean_interval(values, people, bounds=bounds, resamples=2000)


@dataclass(frozen=True)
class Moments:
    """Of one clip: `count` frames with a face, and `covariance` (10 + 8, 10 + 8) of the signals and of the readings that `READ` names."""

    count: int
    covariance: np.ndarray

    @classmethod
    def of(cls, signals: np.ndarray, tracks: np.ndarray) -> Moments | None:
        """signals (T, 10), tracks (T, 9); None where fewer than twice as many frames show a face as there are signals."""
        both = np.column_stack([signals, tracks[:, READ]])
        both = both[np.isfinite(both).all(axis=1)]
        return cls(len(both), np.cov(both.T)) if len(both) > 2 * _P else None

    @classmethod
    def from_tree(cls, tree: dict[str, object]) -> Moments:
        lower = np.zeros((_P + len(READ),) * 2)
        lower[np.tril_indices(len(lower))] = tree["covariance"]
        return cls(int(tree["count"]), lower + np.tril(lower, -1).T)  # type: ignore[call-overload]

    def to_tree(self) -> dict[str, object]:
        """For JSON."""
        return {"count": self.count, "covariance": [float(f"{x:.6g}") for x in self.covariance[np.tril_indices(len(self.covariance))]]}

    def mixed(self, matrix: np.ndarray) -> Moments:
        """With other readings: (8, 8) `matrix` times these."""
        whole = np.eye(len(self.covariance))
        whole[_P:, _P:] = matrix
        return Moments(self.count, whole @ self.covariance @ whole.T)

    @property
    def slopes(self) -> np.ndarray:
        """(8, 10): by how much a reading changes for a unit of a signal, the others held."""
        return np.linalg.solve(self.covariance[:_P, :_P], self.covariance[:_P, _P:]).T

    def partial(self, reading: int, signal: int) -> float:
        """Correlation of a reading with a signal, the other signals held; 0 for a reading that does not move."""
        others = [k for k in range(_P) if k != signal]
        pair = [signal, _P + reading]
        across = self.covariance[np.ix_(others, pair)]
        left = self.covariance[np.ix_(pair, pair)] - across.T @ np.linalg.solve(self.covariance[np.ix_(others, others)], across)
        return float(left[0, 1] / np.sqrt(left[0, 0] * left[1, 1])) if left[1, 1] > _STILL * left[0, 0] else 0.0

    @property
    def spreads(self) -> np.ndarray:
        """(18,) standard deviations."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class Calibration:
    """What landmarks make of faces whose truth is known.

    Attributes:
        reads: (8, 8) mean change of a reading for a unit of a factor, both as `READ`; of a reading, over those in whom it can be read.
        spreads: (10,) standard deviation of the signals in the drivers.
        r: (8,) by person: partial correlation of each reading with its own factor.
        gains: (8,) by person: how much more of each factor is read in this face than on average.
    """

    reads: np.ndarray
    spreads: np.ndarray
    r: Mapping[int, np.ndarray]
    gains: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, clips: Mapping[int, Moments]) -> Calibration:
        """From clips by person, whose readings are of the drivers themselves."""
        r = {who: np.array([clip.partial(k, own) for k, own in enumerate(READ)]) for who, clip in clips.items()}
        slopes = np.array([clip.slopes[:, READ] for clip in clips.values()])  # (people, 8, 8)
        counts = np.array([found >= READABLE_R for found in r.values()])
        counts[:, ~counts.any(axis=0)] = True  # nobody: the mean of all, of which nothing will be said
        reads = np.stack([slopes[counts[:, k], k].mean(axis=0) for k in range(len(READ))])
        own = np.diagonal(slopes, axis1=1, axis2=2) / np.diag(reads)
        gains = {who: np.where(found >= READABLE_R, gain, 1.0) for (who, found), gain in zip(r.items(), own, strict=True)}
        return cls(reads, np.sqrt(np.mean([clip.spreads[:_P] ** 2 for clip in clips.values()], axis=0)), r, gains)

    @classmethod
    def exact(cls, clips: Mapping[int, Moments]) -> Calibration:
        """For readings that are the truth itself."""
        ones = {who: np.ones(len(READ)) for who in clips}
        return cls(np.eye(len(READ)), cls.of(clips).spreads, ones, ones)

    def corrected(self, clip: Moments, who: int) -> Moments:
        """Readings of a person's face in the factors' units, without what landmarks mix."""
        return clip.mixed(np.linalg.inv(self.reads) / self.gains[who]) if who in self.gains else clip.mixed(np.linalg.inv(self.reads))

    def readable(self, who: int) -> np.ndarray:
        """(8,) bool: which factors can be read in a person's face."""
        return np.asarray(self.r[who] >= READABLE_R) if who in self.r else np.zeros(len(READ), bool)

    @property
    def crosstalk(self) -> np.ndarray:
        """(8, 8): response of a reading to one deviation of a factor, in % of that to its own."""
        spreads = self.spreads[list(READ)]
        return 100 * self.reads * spreads / (np.diag(self.reads) * spreads)[:, None]


class Responses:
    """Of one condition: a clip a person, corrected. What cannot be read in a face is NaN, which no mean or interval counts.

    Args:
        people: whose face is in each clip.
    """

    def __init__(self, clips: Sequence[Moments], people: Sequence[int], calibration: Calibration):
        self.people, self.spreads = list(people), calibration.spreads
        self._clips = [calibration.corrected(clip, who) for clip, who in zip(clips, self.people, strict=True)]
        self._readable = np.array([calibration.readable(who) for who in self.people])  # (N, 8)
        self.slopes = np.where(self._readable[:, :, None], [clip.slopes for clip in self._clips], np.nan)  # (N, 8, 10)

    def slope(self, factor: str, signal: str) -> Interval:
        """1 = as much as the driver does."""
        return over_people(self.slopes[:, _row(factor), SIGNALS.index(signal)], self.people)

    def r(self, factor: str, signal: str) -> Interval:
        """Partial correlation."""
        return over_people(self.rs(factor, signal), self.people, (-1, 1))

    def rs(self, factor: str, signal: str) -> np.ndarray:
        """(N,) partial correlations."""
        return self._read(factor, [clip.partial(_row(factor), SIGNALS.index(signal)) for clip in self._clips])

    def own_response(self, factor: str, own: str) -> float:
        """Mean response to one deviation of its own signal; NaN where nobody's can be read."""
        k = SIGNALS.index(own)
        slopes = self.slopes[self._readable[:, _row(factor)], _row(factor), k]
        return float(slopes.mean() * self.spreads[k]) if len(slopes) else float("nan")

    def leak(self, factor: str, signal: str, own_response: float) -> Interval:
        """Response to one deviation of a signal, in % of `own_response`; with its sign, so that chance does not add up over people."""
        return over_people(self.leaks(factor, signal, own_response), self.people)

    def leaks(self, factor: str, signal: str, own_response: float) -> np.ndarray:
        """(N,) of each clip, as `leak`."""
        k = SIGNALS.index(signal)
        return np.asarray(100 * self.slopes[:, _row(factor), k] * self.spreads[k] / own_response)

    def spread(self, factor: str) -> np.ndarray:
        """(N,) standard deviation over time."""
        return self._read(factor, [clip.spreads[_P + _row(factor)] for clip in self._clips])

    def _read(self, factor: str, values: list[float]) -> np.ndarray:
        return np.where(self._readable[:, _row(factor)], values, np.nan)


def _row(factor: str) -> int:
    return READ.index(FACTORS.index(factor))
