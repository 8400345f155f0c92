"""Averaging pictures before they are looked at."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.landmarks.resampling import averaged, power_of_two


@given(reduction=st.floats(0.01, 200), height=st.integers(0, 300), width=st.integers(0, 300))
def test_the_power_of_two_is_the_largest_that_fits(reduction, height, width):
    n = power_of_two(reduction, height, width)
    most = min(reduction, height, width)
    assert n & (n - 1) == 0
    assert n == 1 or n <= most
    assert 2 * n > most


def test_averages_blocks_and_drops_what_is_left_over():
    rgb = np.random.default_rng(0).integers(0, 255, (35, 50, 3), np.uint8)
    blocks = rgb[:32, :48].reshape(8, 4, 12, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(averaged(rgb, 4), blocks, atol=1.0)  # each halving rounds
    assert averaged(rgb, 1) is rgb
