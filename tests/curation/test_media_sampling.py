"""The sampling grid against a brute-force reading of its definition, and closed cases."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from curation.media.sampling import GridSampler


def assignment(times_s, end_s, sample_hz, tolerance_s=0.0, start_s=0.0, span_end_s=None) -> list[int]:
    """Frame index at each grid point, as `GridSampler` gives it."""
    sampler = GridSampler(start_s, span_end_s, sample_hz, tolerance_s)
    shown = []
    for i, time_s in enumerate(times_s):
        points = sampler.push(time_s)
        assert points.start == len(shown)
        shown += [i - 1] * len(points)
    points = sampler.finish(end_s)
    return shown + [len(times_s) - 1] * len(points)


@given(
    gaps=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    sample_hz=st.sampled_from([5, 8, 25, 30, 50]),
    start=st.integers(0, 300),
    length=st.integers(1, 400) | st.none(),
)
def test_every_grid_point_shows_the_last_frame_that_has_begun(gaps, sample_hz, start, length):
    # Whole centiseconds and a tolerance of half of one, so that no comparison hangs on rounding.
    times = [0]
    for gap in gaps:
        times.append(times[-1] + gap)
    end = times[-1] + 4
    stop = end if length is None else min(end, start + length)
    expected = []
    while (point := start + Fraction(100 * len(expected), sample_hz)) + Fraction(1, 2) < stop:
        expected.append(max(i for i, t in enumerate(times) if i == 0 or t <= point + Fraction(1, 2)))
    span_end_s = None if length is None else (start + length) / 100
    got = assignment([t / 100 for t in times], end / 100, sample_hz, 0.005, start / 100, span_end_s)
    # Equal times replace each other: compare what is seen, the time, not the index.
    assert [times[i] for i in got] == [times[i] for i in expected]


def test_25_fps_at_25_hz_gives_every_frame_once_even_with_rounded_stamps():
    exact = [k / 25 for k in range(5000)]
    assert assignment(exact, 200.0, 25) == list(range(5000))
    late = [0.0, *(k / 25 + 0.0007 for k in range(1, 5000))]  # Matroska, with a first frame that was rounded the other way
    assert assignment(late, 200.0, 25, 0.001) == list(range(5000))


def test_30_fps_at_25_hz_drops_every_sixth_frame():
    shown = assignment([k / 30 for k in range(300)], 10.0, 25, 1 / 15360)
    assert len(shown) == 250
    assert sorted(set(range(300)) - set(shown)) == list(range(5, 300, 6))


def test_8_fps_at_25_hz_repeats_every_frame_three_or_four_times():
    shown = assignment([k / 8 for k in range(80)], 10.0, 25)
    counts = [shown.count(i) for i in range(80)]
    assert len(shown) == 250
    assert set(counts) == {3, 4}


def test_points_before_the_first_frame_belong_to_it():
    assert assignment([0.2, 0.24], 0.28, 25) == [0] * 6 + [1]


def test_a_sampler_without_frames_gives_nothing():
    assert list(GridSampler(0.0, 1.0, 25, 0.0).finish(1.0)) == []


def test_complete_once_the_span_is_covered():
    sampler = GridSampler(0.0, 0.08, 25, 0.0)
    assert not sampler.complete
    sampler.push(0.0)
    sampler.push(0.04)
    assert (sampler.n_assigned, sampler.complete) == (1, False)
    sampler.push(0.08)
    assert (sampler.n_assigned, sampler.complete) == (2, True)
