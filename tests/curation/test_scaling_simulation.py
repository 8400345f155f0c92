"""The simulation against what is known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scaling.simulation import Fleet, clip_lengths_s, shards_of, simulate

durations = st.lists(st.floats(0.1, 100), min_size=1, max_size=60)


@given(durations)
def test_one_worker_takes_the_sum(shards_s):
    outcome = simulate(shards_s, Fleet(1))
    assert outcome.makespan_s == pytest.approx(sum(shards_s))
    assert outcome.useful == pytest.approx(1)


@given(durations, st.integers(1, 20))
@settings(max_examples=60)
def test_list_scheduling_bounds(shards_s, workers):
    """Graham 1966: at most sum/W + (1 - 1/W) max; at least max(sum/W, max). Longest first: at most (4/3 - 1/3W) of the best."""
    bound = sum(shards_s) / workers + (1 - 1 / workers) * max(shards_s)
    least = max(sum(shards_s) / workers, max(shards_s))
    assert least - 1e-6 <= simulate(shards_s, Fleet(workers)).makespan_s <= bound + 1e-6
    assert simulate(sorted(shards_s, reverse=True), Fleet(workers)).makespan_s <= bound + 1e-6


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 3))
@settings(max_examples=40)
def test_equal_shards_come_in_rounds(n, workers, in_flight):
    if in_flight == 1 or n % workers == 0:
        assert simulate([3.0] * n, Fleet(workers, in_flight=in_flight)).makespan_s == pytest.approx(3 * math.ceil(n / workers))


def test_start_up_and_stragglers():
    outcome = simulate([2.0] * 10, Fleet(10, start_s=5))
    assert (outcome.makespan_s, outcome.useful, outcome.down) == (7, pytest.approx(2 / 7), pytest.approx(5 / 7))
    slow = simulate([1.0] * 1000, Fleet(10, straggler_share=0.1, straggler_slowdown=2))
    assert slow.makespan_s == pytest.approx(1000 / 9.5, rel=0.02)  # rates add up: 9 + 1/2


@pytest.mark.parametrize("mtbf_s", [50.0, 200.0])
def test_failures_cost_what_renewal_theory_says(mtbf_s):
    """Work of d seconds that starts again at each death, on a worker that dies every m and is r away: (m + r)(exp(d/m) - 1) on average."""
    n, d, r = 4000, 60.0, 10.0
    found = simulate([d] * n, Fleet(1, mean_time_between_failures_s=mtbf_s, restart_s=r)).makespan_s / n
    assert found == pytest.approx((mtbf_s + r) * (math.exp(d / mtbf_s) - 1), rel=0.06)


@given(st.integers(1, 300), st.integers(1, 30), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_time_is_accounted_for(n, workers, in_flight, seed):
    shards_s = np.random.default_rng(seed).exponential(10, n)
    fleet = Fleet(workers, 1.0, 0.2, 3.0, 60.0, 5.0, in_flight)
    outcome = simulate(shards_s, fleet, seed)
    assert outcome.useful + outcome.slow + outcome.lost + outcome.down + outcome.idle == pytest.approx(1)
    assert outcome.idle > -0.5 / max(1, workers)  # a restart may last beyond the end
    assert outcome.makespan_s >= shards_s.sum() / workers


def test_what_was_changed_helps():
    """Longest first, one in flight: never worse on a skewed run, and better where workers are many."""
    shards = {first: shards_of(clip_lengths_s(200), 700, longest_first=first) for first in (True, False)}
    misfortune = {"straggler_share": 0.02, "straggler_slowdown": 3.0}
    before = simulate(shards[False], Fleet(100, in_flight=2, **misfortune))
    after = simulate(shards[True], Fleet(100, in_flight=1, **misfortune))
    assert after.useful > before.useful + 0.05
