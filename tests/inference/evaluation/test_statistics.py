"""Intervals and tests against simulations whose truth is known, and against SciPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.evaluation import METRIC_KINDS, coverage_of
from inference.evaluation.scale import Scale
from inference.evaluation.statistics import (
    FEWEST_IDENTITIES,
    holm,
    identities_needed,
    identity_sd,
    mean_interval,
    paired_interval,
    sign_flip_p,
)

BETWEEN_SD, WITHIN_SD = 0.9, 0.6  # of a Sync-C-like score: over identities, over clips of one


def simulated(rng: np.random.Generator, n_identities: int, mean: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 1 to 5 clips an identity."""
    sizes = rng.integers(1, 6, n_identities)
    who = np.repeat(np.arange(n_identities), sizes)
    return mean + BETWEEN_SD * rng.standard_normal(n_identities)[who] + WITHIN_SD * rng.standard_normal(len(who)), who


@pytest.mark.parametrize("n_identities", [20, 40])
def test_intervals_cover_the_true_mean_as_often_as_they_say(n_identities: int) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    n_runs = 1000
    for run in range(n_runs):
        interval = mean_interval(*simulated(rng, n_identities), resamples=400, seed=run)
        hits += interval.low <= 6.0 <= interval.high
    assert 0.93 <= hits / n_runs <= 0.97


def skewed(rng: np.random.Generator, n_identities: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 1 to 5 clips an identity of a metric with one bound, two bounds, or a correlation near its bound."""
    who = np.repeat(np.arange(n_identities), rng.integers(1, 6, n_identities))
    if kind == "error":  # as skewed as an exponential
        return rng.exponential(1, n_identities)[who] * rng.gamma(4, 0.25, len(who)), who
    if kind == "share":
        share = rng.beta(9, 1, n_identities)[who]
        return rng.beta(20 * share, 20 * (1 - share) + 1e-9), who
    return np.tanh(1.2 + 0.5 * rng.standard_normal(n_identities)[who] + 0.3 * rng.standard_normal(len(who))), who


BOUNDS = {"error": (0.0, math.inf), "share": (0.0, 1.0), "correlation": (-1.0, 1.0)}


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("n_identities", [6, 10, 20, 40])
def test_intervals_of_skewed_and_bounded_metrics_cover_as_often_and_stay_in_range(kind: str, n_identities: int) -> None:
    truth = {"error": 1.0, "share": 0.9, "correlation": float(skewed(np.random.default_rng(0), 300_000, kind)[0].mean())}[kind]
    rng, n_runs, hits = np.random.default_rng(1), 400, 0
    low_bound, high_bound = BOUNDS[kind]
    for run in range(n_runs):
        interval = mean_interval(*skewed(rng, n_identities, kind), bounds=BOUNDS[kind], resamples=200, seed=run)
        assert low_bound <= interval.low <= interval.mean <= interval.high <= high_bound
        hits += interval.low <= truth <= interval.high
    assert 0.93 <= hits / n_runs <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n_identities", [6, 10, 20, 40])
@pytest.mark.parametrize("kind", METRIC_KINDS)
def test_intervals_of_every_kind_of_metric_cover_as_often_as_they_say(kind: str, n_identities: int) -> None:
    assert 0.93 <= coverage_of(kind, n_identities, 1000) <= 0.97


@pytest.mark.parametrize("n_identities", [6, 10])
def test_intervals_of_few_identities_cover_the_true_mean_as_often_as_they_say(n_identities: int) -> None:
    rng, n_runs = np.random.default_rng(1), 600
    intervals = (mean_interval(*simulated(rng, n_identities), resamples=400, seed=run) for run in range(n_runs))
    assert 0.93 <= sum(one.low <= 6.0 <= one.high for one in intervals) / n_runs <= 0.97


def test_nothing_is_claimed_of_fewer_than_six_identities() -> None:
    """Five that all agree have p = 2 / 2^5 > 0.05: neither test nor interval nor forecast may say otherwise."""
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1.02])
    assert sign_flip_p(values[:5], np.zeros(5), range(5)) > 0.05 >= sign_flip_p(values, np.zeros(6), range(6))
    for n in (2, 4, 5):
        assert math.isnan(mean_interval(values[:n], range(n)).low)
    assert math.isfinite(mean_interval(values, range(6)).low)
    assert min(identities_needed(difference, 1.0) for difference in (1e-3, 0.5, 2.0, 10.0, 1e6)) == FEWEST_IDENTITIES == 6
    assert identities_needed(-10.0, 1.0) == 6
    assert identities_needed(10.0, 1.0, level=0.01) == 8  # 2 / 2^7 > 0.01


@pytest.mark.parametrize("values", [[1, 1, 1, 1, 1, 0.8], [1, 1, 1, 1, 1, 1 - 1e-9], [0, 1, 0, 1, 0, 1], [1] * 6, [1 + 1e-12] * 6])
def test_scores_at_a_bound_have_intervals_within_it(values: list[float]) -> None:
    interval = mean_interval(values, range(6), bounds=(0.0, 1.0), resamples=500)
    assert 0 <= interval.low <= interval.high <= 1 + 1e-9
    assert interval.low <= np.mean(values) <= interval.high + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.floats(0.001, 0.999), st.sampled_from([(-1.0, 1.0), (0.0, 180.0), (0.0, math.inf), (-math.inf, 3.0), (-math.inf, math.inf)]))
def test_a_scale_leads_back_and_its_slope_is_its_derivative(share: float, bounds: tuple[float, float]) -> None:
    low, high = max(bounds[0], -50.0), min(bounds[1], 50.0)
    value = np.array([low + share * (high - low)])
    scale, step = Scale(*bounds), 1e-6 * min(share, 1 - share) * (high - low)
    assert scale.back(float(scale.to(value)[0])) == pytest.approx(value[0], rel=1e-9, abs=1e-9)
    assert (scale.to(value + step) - scale.to(value - step))[0] / (2 * step) == pytest.approx(scale.slope(value)[0], rel=1e-4)


def test_nearness_to_a_bound() -> None:
    assert Scale(0.0, math.inf).nearness(5.0) == 1
    assert Scale(-math.inf, 3.0).nearness(2.0) == -1
    assert Scale().nearness(2.0) == 0
    between = Scale(-1.0, 1.0)
    assert [between.nearness(value) for value in (-1.0, -0.75, 0.0, 0.75, 1.0)] == [1, 0, 0, 0, -1]
    assert 0 > between.nearness(0.8) > between.nearness(0.9)


def test_an_interval_reaches_farther_from_a_bound_that_most_are_near() -> None:
    """Six correlations of which one is lower: on the scale of the log odds as far below the mean as the reach says, and less above."""
    values = np.tanh([2.0, 2.1, 1.9, 2.2, 2.3, 1.0])
    interval, scale = mean_interval(values, range(6), bounds=(-1.0, 1.0)), Scale(-1.0, 1.0)
    low, middle, high = (float(scale.to(np.array([v]))[0]) for v in (interval.low, interval.mean, interval.high))
    assert middle - low > 1.5 * (high - middle) > 0


def test_clips_taken_for_independent_would_cover_far_less() -> None:
    """What the cluster bootstrap is for: the same simulation with every clip as an identity of its own."""
    rng = np.random.default_rng(1)
    hits = 0
    for run in range(400):
        values, _ = simulated(rng, 30)
        interval = mean_interval(values, range(len(values)), resamples=400, seed=run)
        hits += interval.low <= 6.0 <= interval.high
    assert hits / 400 < 0.9


def test_two_copies_of_one_method_differ_significantly_in_at_most_five_in_a_hundred_runs() -> None:
    rng = np.random.default_rng(2)
    false_claims = 0
    for run in range(1000):
        values, who = simulated(rng, 24)
        a, b = (values + 0.4 * rng.standard_normal(len(values)) for _ in range(2))
        false_claims += sign_flip_p(a, b, who, resamples=300, seed=run) <= 0.05
    assert false_claims / 1000 <= 0.05 + 1.65 * math.sqrt(0.05 * 0.95 / 1000)  # 0.05, and what chance adds to 1000 runs


@pytest.mark.parametrize(("n_identities", "clips"), [(6, 1), (9, 1), (8, 3)])
def test_false_claims_are_at_most_the_level_whatever_the_differences(n_identities: int, clips: int) -> None:
    """If both methods are alike, every sign pattern of the identities' differences is as likely: count the claims over all of them."""
    rng = np.random.default_rng(8)
    sizes = rng.standard_normal(n_identities * clips) * rng.gamma(0.5, size=n_identities * clips)  # heavy tails: no normality is needed
    who = np.repeat(np.arange(n_identities), clips)
    patterns = itertools.product((1, -1), repeat=n_identities)
    p_values = np.array([sign_flip_p(sizes * np.repeat(signs, clips), np.zeros(len(who)), who) for signs in patterns])
    for level in (0.01, 0.05, 0.2):
        assert np.mean(p_values <= level) <= level


def test_sign_flips_are_counted_out_for_few_identities() -> None:
    """One clip an identity: SciPy's exact paired permutation test."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(9) + 0.5, rng.standard_normal(9)
    expected = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(a, b, range(9)) == pytest.approx(expected, abs=1e-12)


def test_sampled_sign_flips_agree_with_the_t_test() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal(60) + 0.3, rng.standard_normal(60)
    assert sign_flip_p(a, b, range(60)) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.01)


def test_same_seed_same_interval_and_no_interval_from_one_identity() -> None:
    values, who = simulated(np.random.default_rng(5), 15)
    assert mean_interval(values, who, seed=3) == mean_interval(values, who, seed=3)
    alone = mean_interval([1.0, 2.0, 4.5], ["a", "a", "a"])
    assert alone.mean == pytest.approx(2.5)
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    assert math.isnan(mean_interval([], []).mean)


def test_pairing_takes_out_what_makes_a_clip_hard() -> None:
    rng = np.random.default_rng(6)
    values, who = simulated(rng, 30)
    ours, theirs = values + 0.2 + 0.1 * rng.standard_normal(len(values)), values + 0.1 * rng.standard_normal(len(values))
    paired = paired_interval(ours, theirs, who)
    assert paired.low > 0
    assert paired.half_width < mean_interval(ours, who).half_width / 4
    assert math.isfinite(paired_interval(np.where(values > 6, np.nan, ours), theirs, who).low)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_holm_against_its_definition(p_values: list[float]) -> None:
    tested = [p for p in p_values if not math.isnan(p)]
    for p, corrected in zip(p_values, holm(p_values), strict=True):
        if math.isnan(p):
            assert math.isnan(corrected)
            continue
        # step down: p is significant at level a iff every smaller p_(k) is below a / (m − k)
        smaller = sorted(q for q in tested if q <= p)
        assert corrected == pytest.approx(min(1.0, max((len(tested) - k) * q for k, q in enumerate(smaller))))


@pytest.mark.parametrize("effect", [0.6, 1.0, 1.5, 2.0, 4.0])
def test_identities_that_a_claim_needs_find_it_with_the_promised_power(effect: float) -> None:
    """In units of the standard deviation between identities; one identity fewer than six can never show anything."""
    rng = np.random.default_rng(7)
    needed = identities_needed(effect, 1.0)
    found = sum(
        sign_flip_p(effect + rng.standard_normal(needed), np.zeros(needed), range(needed), resamples=400) <= 0.05 for _ in range(400)
    )
    assert found / 400 > 0.76  # 0.8, less what chance takes of 400 runs


def test_spreads_over_identities() -> None:
    assert identity_sd([1.0, 3.0, 2.0], [0.0, 0.0, 0.0], ["a", "a", "b"]) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="difference is 0"):
        identities_needed(0.0, 1.0)
