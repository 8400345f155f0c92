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

from inference.evaluation.scale import Scale

RESAMPLES = 10_000
LEVEL = 0.05
FEWEST_IDENTITIES = 6  # of an interval and of a claim: with fewer the sign-flip test cannot go below LEVEL (2 / 2**5 > 0.05)
EXACT_UP_TO_CLUSTERS = 13  # 2**13 = 8192 sign patterns are counted out, more are sampled
# By simulation (`benchmarks.evaluation --coverage`), so that 6 to 40 identities hold the truth as often as they say:
_LEAST, _PER_SKEWNESS = 0.9, 0.9  # a bootstrap's quantile over Student's is held between the first and 1 + the second times the skewness
_AWAY, _TOWARDS = 0.6, 0.15  # wider by the first away from a near bound, where few identities may lie far off; narrower towards it
_UNLIKE = 0.5  # of both is left out for each unit of skewness that the scale leaves towards the bound
_CHUNK = 2_000  # resamples at a time: bounds the memory at many identities


@dataclass(frozen=True)
class Interval:
    """A mean over clips with its confidence interval.

    Attributes:
        mean: over all clips, each counted once; NaN without clips.
        low, high: bounds, within the metric's range; NaN with fewer than `FEWEST_IDENTITIES`.
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

    @property
    def effective(self) -> float:
        """How many identities with equally many clips say as much (Kish)."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())


def mean_interval(
    values: Sequence[float] | np.ndarray,
    identities: Sequence[Hashable],
    *,
    bounds: tuple[float, float] | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over clips and its interval by the studentised cluster bootstrap: whole identities are drawn with replacement.

    The mean is studentised on the scale of the metric's range (`Scale`), by the jackknife over identities, so that no bound leaves the
    range and skewed metrics are covered as often as others. The bootstrap's quantiles go wild with few identities: they are held near
    Student's, with as many degrees of freedom as there would be identities with equally many clips (Kish) less one; the farther away the
    more skewed the identities are. Six of them may hold none of the few that lie far from a bound which the others are near: the interval
    reaches farther on that side.

    Args:
        values: (N,) one score a clip; NaN is left out (count failures apart, see `coverage` in the table).
        identities: (N,) equal = same person.
        bounds: what the metric can be at all, in its unit; either may be infinite. None: not known; values of one sign are taken to be
            bounded by 0, others not at all.
    """
    clusters = _clusters(values, identities)
    n_clips, n_identities = int(clusters.sizes.sum()), len(clusters.sizes)
    if n_clips == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0, confidence)
    mean = clusters.mean
    if n_identities < FEWEST_IDENTITIES:
        return Interval(mean, math.nan, math.nan, n_clips, n_identities, confidence)
    scale = _scale_by_sign(np.asarray(values, dtype=float)) if bounds is None else Scale(*bounds)
    low, high = _bounds(clusters, scale, confidence, resamples, np.random.default_rng(seed))
    return Interval(mean, low, high, n_clips, n_identities, confidence)


def paired_interval(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    identities: Sequence[Hashable],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """`mean_interval` of the clip-wise differences ours − theirs of a metric within `bounds`; clips that one of both lacks (NaN) are left
    out."""
    difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    scale = Scale(*bounds).of_differences
    return mean_interval(difference, identities, bounds=(scale.low, scale.high), confidence=confidence, resamples=resamples, seed=seed)


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


def identities_needed(difference: float, identity_sd: float, *, level: float = LEVEL, power: float = 0.8) -> int:
    """Identities that the sign-flip test needs to find `difference` with the given power; never fewer than could reach the level at all.

    Guenther's sample size of the paired t test (American Statistician 35, 1981), which the sign-flip test follows; at the smallest number
    of identities that can reach the level, where all of them must agree, the chance that they do.

    Args:
        difference: of the two methods' means, in the metric's unit.
        identity_sd: standard deviation over identities of the mean paired difference, in the same unit; see `identity_sd`.
        level: of the test, 0..1, without a correction for the number of comparisons.
        power: chance to find the difference, 0..1.
    """
    if difference == 0:
        raise ValueError("difference is 0: no number of identities can show it")
    normal = NormalDist()
    fewest = math.ceil(1 - math.log2(level))  # 2 of 2**n sign patterns are as extreme as "all agree"
    if identity_sd == 0:
        return fewest
    z, effect = normal.inv_cdf(1 - level / 2), abs(difference) / identity_sd
    needed = math.ceil(((z + normal.inv_cdf(power)) / effect) ** 2 + z**2 / 2)
    if needed > fewest:
        return needed
    return fewest if normal.cdf(effect) ** fewest >= power else fewest + 1


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


def _scale_by_sign(values: np.ndarray) -> Scale:
    here = values[np.isfinite(values)]
    return Scale(low=0.0) if (here > 0).all() else Scale(high=0.0) if (here < 0).all() else Scale()


def _bounds(clusters: _Clusters, scale: Scale, confidence: float, resamples: int, rng: np.random.Generator) -> tuple[float, float]:
    mean = np.array([clusters.mean])
    error = _standard_error(np.ones((1, len(clusters.sums))), clusters)
    if error[0] == 0 or not scale.low < mean[0] < scale.high:  # no spread, or all values at a bound (rounding may put them beyond)
        return float(mean[0]), float(mean[0])
    centre, half = float(scale.to(mean)[0]), _scaled_error(clusters, scale)
    low, high = np.quantile(_bootstrap_t(clusters, scale, resamples, rng), [(1 - confidence) / 2, (1 + confidence) / 2])
    student = _student_quantile((1 + confidence) / 2, clusters.effective - 1)
    skewness = _skewness(clusters.sums - mean[0] * clusters.sizes)
    near = _nearness(clusters, scale, half)
    below = student * _held(high / student, -skewness) * _reach(-near)
    above = student * _held(-low / student, skewness) * _reach(near)
    return scale.back(centre - below * half), scale.back(centre + above * half)


def _held(ratio: float, skewness: float) -> float:
    """A bootstrap's quantile over Student's on the side to which the identities have that skewness."""
    return float(np.clip(ratio, _LEAST, 1 + _PER_SKEWNESS * max(0.0, skewness)))


def _reach(near: float) -> float:
    """Factor of the interval's half on the side away from the bound (`near` above 0) or towards it (below 0)."""
    return 1 + (_AWAY if near > 0 else _TOWARDS) * near


def _nearness(clusters: _Clusters, scale: Scale, half: float) -> float:
    """How much the interval depends on a bound, -1..1: above 0 the low one, below 0 the high one, 0 where both are far or all identities
    are alike on the scale."""
    near = scale.nearness(clusters.mean) * min(1.0, half * math.sqrt(len(clusters.sums)))
    means = clusters.sums / clusters.sizes
    if near == 0 or not ((means > scale.low) & (means < scale.high)).all():
        return near
    scaled = scale.to(means)
    towards = -math.copysign(1, near) * _skewness(scaled - np.average(scaled, weights=clusters.sizes))
    return near * float(np.clip(1 - _UNLIKE * towards, 0, 1))


def _skewness(deviations: np.ndarray) -> float:
    spread = float((deviations**2).mean())
    return float((deviations**3).mean()) / spread**1.5 if spread else 0.0


def _scaled_error(clusters: _Clusters, scale: Scale) -> float:
    """The jackknife's standard error of the mean on a scale; never more than twice that of its linearisation, which it leaves behind where
    a single identity keeps the mean from a bound."""
    n = len(clusters.sums)
    without = (clusters.sums.sum() - clusters.sums) / (clusters.sizes.sum() - clusters.sizes)
    linear = math.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()) * float(scale.slope(np.array([clusters.mean]))[0])
    inside = bool(((without > scale.low) & (without < scale.high)).all())
    scaled = scale.to(without) if inside else np.full(n, math.inf)
    own = math.sqrt((n - 1) / n * ((scaled - scaled.mean()) ** 2).sum()) if inside else math.inf
    return min(own, 2 * linear)


def _student_quantile(probability: float, degrees: float) -> float:
    """Of Student's t, by integrating cos(θ)^(ν − 1) with t = √ν tan θ; to four figures from 2 degrees of freedom on."""
    degrees = max(2.0, degrees)
    theta = np.linspace(-math.pi / 2, math.pi / 2, 4_001)
    density = np.cos(theta) ** (degrees - 1)
    share = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(math.sqrt(degrees) * math.tan(np.interp(probability, share / share[-1], theta)))


def _standard_error(draws: np.ndarray, clusters: _Clusters) -> np.ndarray:
    """(R,) linearised standard error of the ratio for each row of `draws` (R, K), how often an identity was drawn."""
    n = draws.sum(axis=1)
    total = draws @ clusters.sizes
    means = (draws @ clusters.sums) / total
    squares = draws @ clusters.sums**2 - 2 * means * (draws @ (clusters.sums * clusters.sizes)) + means**2 * (draws @ clusters.sizes**2)
    return np.sqrt(np.maximum(squares, 0) * n / (n - 1)) / total


def _bootstrap_t(clusters: _Clusters, scale: Scale, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(R,) studentised deviations of the resampled means on a scale; resamples without spread (one identity only) are left out."""
    n, found = len(clusters.sums), []
    centre = scale.to(np.array([clusters.mean]))[0]
    for count in _chunks(resamples):
        draws = rng.multinomial(n, np.full(n, 1 / n), size=count).astype(float)
        means = (draws @ clusters.sums) / (draws @ clusters.sizes)
        errors = _standard_error(draws, clusters)
        spread = (errors > 1e-9 * np.abs(clusters.sums).max() / clusters.sizes.max()) & (means > scale.low) & (means < scale.high)
        found.append((scale.to(means[spread]) - centre) / (errors[spread] * scale.slope(means[spread])))
    return np.concatenate(found)


def _chunks(resamples: int) -> list[int]:
    return [_CHUNK] * (resamples // _CHUNK) + ([resamples % _CHUNK] if resamples % _CHUNK else [])
