"""The Fréchet distance against its closed form and against a matrix square root; the bias of small samples against its simulation."""

import math

import numpy as np
import pytest
from scipy import linalg

from inference.evaluation.frechet import extrapolated, frechet_distance, frechet_interval
from manifests import UserError


def by_square_root(ours: np.ndarray, real: np.ndarray) -> float:
    """As the published FID code has it: scipy's sqrtm of the product of covariances."""
    c1, c2 = np.cov(ours, rowvar=False), np.cov(real, rowvar=False)
    root = linalg.sqrtm(c1 @ c2)
    return float(((ours.mean(0) - real.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root.real))


def with_moments(rng: np.random.Generator, mean: np.ndarray, covariance: np.ndarray, n: int) -> np.ndarray:
    """(n, D) with exactly this mean and unbiased covariance."""
    raw = rng.standard_normal((n, len(mean)))
    raw -= raw.mean(0)
    whitened = raw @ np.linalg.inv(linalg.cholesky(np.cov(raw, rowvar=False)))
    return whitened @ linalg.cholesky(covariance) + mean


def test_known_gaussians() -> None:
    """Commuting covariances: d² = |μ₁ − μ₂|² + Σ (√λ₁ − √λ₂)²."""
    rng = np.random.default_rng(0)
    axes = linalg.qr(rng.standard_normal((6, 6)))[0]
    first, second = rng.uniform(0.1, 4, 6), rng.uniform(0.1, 4, 6)
    mean = rng.standard_normal(6)
    ours = with_moments(rng, np.zeros(6), axes @ np.diag(first) @ axes.T, 50)
    real = with_moments(rng, mean, axes @ np.diag(second) @ axes.T, 70)
    expected = (mean**2).sum() + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(ours, real) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "dims"), [(200, 300, 20), (12, 300, 20), (9, 7, 20)])
def test_against_the_matrix_square_root_also_with_fewer_samples_than_dimensions(n: int, m: int, dims: int) -> None:
    rng = np.random.default_rng(1)
    mix = rng.standard_normal((dims, dims))
    ours, real = rng.standard_normal((n, dims)) @ mix, rng.standard_normal((m, dims)) @ mix + 0.3
    assert frechet_distance(ours, real) == pytest.approx(by_square_root(ours, real), rel=1e-5)


def test_a_set_against_itself_is_zero_and_order_does_not_matter() -> None:
    features = np.random.default_rng(2).standard_normal((40, 64))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


def test_unpaired_small_samples_are_biased_and_extrapolation_takes_most_of_it_out() -> None:
    """Two samples of one distribution: the true distance is 0."""
    rng = np.random.default_rng(3)
    scales = np.arange(1, 101) ** -0.6
    found = [extrapolated(*(rng.standard_normal((2, 120, 100)) * scales), seed=run) for run in range(8)]
    measured, at_infinity = (np.mean([getattr(one, name) for one in found]) for name in ("measured", "at_infinity"))
    assert measured > 0.1 * (scales**2).sum()
    assert abs(at_infinity) < 0.3 * measured
    assert found[0].bias == pytest.approx(found[0].measured - found[0].at_infinity)


def test_interval_over_identities() -> None:
    rng = np.random.default_rng(4)
    who = np.repeat(np.arange(25), 8)
    person = rng.standard_normal((25, 10))[who]
    real = person + 0.3 * rng.standard_normal((200, 10))
    ours = real + 0.5 + 0.1 * rng.standard_normal((200, 10))
    low, high = frechet_interval(ours, real, who, resamples=100)
    assert low <= frechet_distance(ours, real) <= high
    assert (low, high) == frechet_interval(ours, real, who, resamples=100)
    assert all(math.isnan(bound) for bound in frechet_interval(ours, real, np.zeros(200)))


def test_bad_features_are_named() -> None:
    good = np.zeros((3, 4))
    with pytest.raises(ValueError, match="at least two samples"):
        frechet_distance(good[:1], good)
    with pytest.raises(ValueError, match="same extractor"):
        frechet_distance(good, np.zeros((3, 5)))
    damaged = good.copy()
    damaged[1, 2] = np.inf
    with pytest.raises(UserError, match="1 of 3 rows of features hold numbers that are none, the first is row 1"):
        frechet_distance(damaged, good)
