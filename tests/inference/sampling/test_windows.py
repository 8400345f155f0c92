"""Windows of a long clip: coverage, weights, ends; and that the wave over steps equals the plain loop over steps."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.sampling.windows import WindowPlan, padded_length, pyramid
from manifests.errors import UserError

LENGTHS = (1, 15, 16, 17, 24, 100, 101)
SCHEMES = ((8, 0), (4, 0), (4, 3), (2, 5), (0, 0), (0, 7))  # overlap, shift


def plans():
    return st.builds(
        lambda frames, size, overlap, shift: WindowPlan(max(frames, size), size, overlap % size, shift % size),
        st.integers(1, 400), st.integers(1, 24), st.integers(0, 23), st.integers(0, 23),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(plans(), st.integers(0, 60))
def test_windows_are_whole_ascending_anchored_and_cover_every_frame(plan: WindowPlan, step: int) -> None:
    starts = plan.starts(step)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == plan.num_frames - plan.size  # never beyond the end, never wrapping
    assert all(b - a <= plan.stride for a, b in pairwise(starts))  # so neighbours touch or overlap


@settings(max_examples=40, deadline=None)
@given(plans(), st.integers(1, 30))
def test_every_start_of_every_step_is_a_boundary(plan: WindowPlan, num_steps: int) -> None:
    boundaries = plan.boundaries(num_steps)
    assert boundaries == sorted(set(boundaries))
    assert (boundaries[0], boundaries[-1]) == (0, plan.num_frames)
    assert {start for step in range(num_steps) for start in plan.starts(step)} <= set(boundaries)
    assert plan.evaluations(num_steps) == sum(len(plan.starts(step)) for step in range(num_steps))


@pytest.mark.parametrize("num_frames", LENGTHS)
@pytest.mark.parametrize(("overlap", "shift"), SCHEMES)
def test_normalised_weights_sum_to_one(num_frames: int, overlap: int, shift: int) -> None:
    plan = WindowPlan(padded_length(num_frames, 16), 16, overlap, shift)
    for step in range(5):
        weight = np.zeros(plan.num_frames)
        for start in plan.starts(step):
            weight[start : start + 16] += pyramid(16)
        assert (weight > 0).all()
        shares = np.zeros(plan.num_frames)
        for start in plan.starts(step):
            shares[start : start + 16] += pyramid(16) / weight[start : start + 16]
        np.testing.assert_allclose(shares, 1.0, atol=1e-6)


@pytest.mark.parametrize(("num_frames", "overlap", "shift", "evaluations"), [(100, 8, 0, 1.92), (250, 8, 0, 1.98), (250, 4, 0, 1.34)])
def test_cost_is_that_of_the_design(num_frames: int, overlap: int, shift: int, evaluations: float) -> None:
    plan = WindowPlan(num_frames, 16, overlap, shift)
    assert float(Fraction(16 * plan.evaluations(1), num_frames)) == pytest.approx(evaluations, abs=0.07)


def test_one_window_has_one_boundary_pair() -> None:
    for num_frames in (1, 15, 16):
        plan = WindowPlan(padded_length(num_frames, 16))
        assert plan.boundaries(25) == [0, 16]


@pytest.mark.parametrize("wrong", [{"overlap": 16}, {"overlap": -1}, {"shift": 16}, {"num_frames": 15}, {"size": 0}])
def test_impossible_plans_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        WindowPlan(**{"num_frames": 32, **wrong})
    with pytest.raises(UserError):
        padded_length(0, 16)


def test_pyramid_is_symmetric_and_positive() -> None:
    for size in range(1, 20):
        weights = pyramid(size)
        assert weights.min() == 1
        np.testing.assert_array_equal(weights, weights[::-1])
