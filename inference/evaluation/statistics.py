"""How sure a comparison is. The unit is the identity: clips of one person are not independent, frames of one clip even less.

Differences between two methods are paired (same pairs, same identities), so that what makes a clip hard drops out. Every draw comes from
the seed that the caller gives. No library: scipy's bootstrap knows no clusters, and Holm's correction alone is not worth statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 10_000
EXACT_UP_TO_CLUSTERS = 13  # 2**13 = 8192 sign patterns are counted out, more are sampled
_CHUNK = 2_000  # resamples at a time: bounds the memory at many identities


@dataclass(frozen=True)
class Interval:
    """A mean over clips with its confidence interval.

    Attributes:
        mean: over all clips, each counted once; NaN without clips.
        low, high: bounds; NaN where fewer than two identities leave nothing to resample.
        n_clips, n_identities: what it rests on.
        confidence: nominal coverage, 0..1.
    """

    mean: float
    low: float
    high: float
    n_clips: int
    n_identities: int
    confidence: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class _Clusters:
    sums: np.ndarray  # (K,) float64, sum of the values of each identity
    sizes: np.ndarray  # (K,) float64, clips of each identity

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())


def mean_interval(
    values: Sequence[float] | np.ndarray,
    identities: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over clips and its interval by the studentised cluster bootstrap: whole identities are drawn with replacement.

    Studentised, since the percentile interval is too narrow at the 20 to 40 identities of HDTF's test split. The standard error of each
    resample is the linearised one of a ratio (sum of values / number of clips), so identities may have different numbers of clips.

    Args:
        values: (N,) one score a clip; NaN is left out (count failures apart, see `coverage` in the table).
        identities: (N,) equal = same person.
    """
    clusters = _clusters(values, identities)
    n_clips, n_identities = int(clusters.sizes.sum()), len(clusters.sizes)
    if n_clips == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0, confidence)
    mean = clusters.mean
    if n_identities < 2:
        return Interval(mean, math.nan, math.nan, n_clips, n_identities, confidence)
    error = _standard_error(np.ones((1, n_identities)), clusters)[0]
    if error == 0:
        return Interval(mean, mean, mean, n_clips, n_identities, confidence)
    t = _bootstrap_t(clusters, resamples, np.random.default_rng(seed))
    low, high = np.quantile(t, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(mean - high * error), float(mean - low * error), n_clips, n_identities, confidence)


def paired_interval(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    identities: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """`mean_interval` of the clip-wise differences ours − theirs; clips that one of both lacks (NaN) are left out."""
    difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    return mean_interval(difference, identities, confidence=confidence, resamples=resamples, seed=seed)


def sign_flip_p(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    identities: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Two-sided p-value of "both methods are alike": the sign of each identity's summed difference is flipped at random.

    Exact (all sign patterns) up to 13 identities, else sampled with the observed pattern counted, so that p is never 0. NaN without a
    difference to test (no identity, or every difference is 0 gives 1).
    """
    clusters = _clusters(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float), identities)
    n = len(clusters.sums)
    if n == 0:
        return math.nan
    observed = abs(clusters.sums.sum())
    slack = 1e-12 * np.abs(clusters.sums).sum()  # sums of the same numbers in another order
    if n <= EXACT_UP_TO_CLUSTERS:
        patterns = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(patterns @ clusters.sums) >= observed - slack))
    rng = np.random.default_rng(seed)
    at_least = 0
    for count in _chunks(resamples):
        patterns = 1 - 2 * rng.integers(0, 2, size=(count, n), dtype=np.int8)
        at_least += int(np.count_nonzero(np.abs(patterns @ clusters.sums) >= observed - slack))
    return (at_least + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given: the chance of one false claim among all of them stays below the level. NaN stays NaN
    and does not count as a test."""
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    corrected, running = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(order) - rank) * p_values[index])
        corrected[index] = min(1.0, running)
    return corrected


def identities_needed(difference: float, identity_sd: float, *, level: float = 0.05, power: float = 0.8) -> int:
    """Identities that a paired comparison needs to find `difference` with the given power (normal approximation).

    Args:
        difference: of the two methods' means, in the metric's unit.
        identity_sd: standard deviation over identities of the mean paired difference; see `identity_sd`.
    """
    if difference == 0:
        raise ValueError("difference is 0: no number of identities can show it")
    z = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)
    return max(2, math.ceil((z * identity_sd / difference) ** 2))


def identity_sd(ours: Sequence[float] | np.ndarray, theirs: Sequence[float] | np.ndarray, identities: Sequence[Hashable]) -> float:
    """Standard deviation over identities of their mean paired difference; NaN with fewer than two."""
    clusters = _clusters(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float), identities)
    return float(np.std(clusters.sums / clusters.sizes, ddof=1)) if len(clusters.sums) > 1 else math.nan


def _clusters(values: Sequence[float] | np.ndarray, identities: Sequence[Hashable]) -> _Clusters:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or len(array) != len(identities):
        raise ValueError(f"values has shape {array.shape} and there are {len(identities)} identities; both need one entry a clip")
    here = np.isfinite(array)
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(who, len(numbers)) for who, kept in zip(identities, here, strict=True) if kept], dtype=int)
    sizes = np.bincount(index, minlength=len(numbers)).astype(float)
    return _Clusters(np.bincount(index, weights=array[here], minlength=len(numbers)), sizes)


def _standard_error(draws: np.ndarray, clusters: _Clusters) -> np.ndarray:
    """(R,) linearised standard error of the ratio for each row of `draws` (R, K), how often an identity was drawn."""
    n = draws.sum(axis=1)
    total = draws @ clusters.sizes
    means = (draws @ clusters.sums) / total
    squares = draws @ clusters.sums**2 - 2 * means * (draws @ (clusters.sums * clusters.sizes)) + means**2 * (draws @ clusters.sizes**2)
    return np.sqrt(np.maximum(squares, 0) * n / (n - 1)) / total


def _bootstrap_t(clusters: _Clusters, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(R,) studentised deviations of the resampled means; resamples without spread (one identity only) are left out."""
    n, found = len(clusters.sums), []
    for count in _chunks(resamples):
        draws = rng.multinomial(n, np.full(n, 1 / n), size=count).astype(float)
        means = (draws @ clusters.sums) / (draws @ clusters.sizes)
        errors = _standard_error(draws, clusters)
        spread = errors > 1e-9 * np.abs(clusters.sums).max() / clusters.sizes.max()
        found.append((means[spread] - clusters.mean) / errors[spread])
    return np.concatenate(found)


def _chunks(resamples: int) -> list[int]:
    return [_CHUNK] * (resamples // _CHUNK) + ([resamples % _CHUNK] if resamples % _CHUNK else [])
