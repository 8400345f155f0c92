"""The portrait laid over a frame's head: against planted similarity maps and scipy's own resampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from curation.landmarks.sixty_eight import RIGID
from inference.driving.estimator import fit_similarity
from inference.driving.moved_reference import moved_reference, steady_distance

SIZE = 64


def face() -> np.ndarray:
    """(68, 2) points that lie on no line."""
    rng = np.random.default_rng(3)
    return SIZE / 2 + rng.uniform(-14, 14, (68, 2))


def smooth_picture() -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.clip(ndimage.gaussian_filter(rng.uniform(-400, 650, (SIZE, SIZE, 3)), (3, 3, 0)), 0, 255).astype(np.uint8)


def similarity(turn_deg: float, zoom: float, x: float, y: float) -> np.ndarray:
    """(2, 3) about the picture's middle."""
    c, s = zoom * np.cos(np.radians(turn_deg)), zoom * np.sin(np.radians(turn_deg))
    linear = np.array([[c, -s], [s, c]])
    middle = np.full(2, SIZE / 2)
    return np.column_stack([linear, middle + np.array([x, y]) - linear @ middle])


def test_points_that_do_not_move_give_the_picture_itself() -> None:
    picture, points = smooth_picture(), face()
    assert np.array_equal(moved_reference(picture, points, points[None])[0], picture)


@settings(deadline=None, max_examples=25)
@given(st.floats(-40, 40), st.floats(0.7, 1.5), st.floats(-12, 12), st.floats(-12, 12))
def test_a_planted_map_is_found_and_carried_out(turn_deg: float, zoom: float, x: float, y: float) -> None:
    picture, points, planted = smooth_picture(), face(), similarity(turn_deg, zoom, x, y)
    ours = moved_reference(picture, points, (points @ planted[:, :2].T + planted[:, 2])[None])[0]
    back = np.linalg.inv(planted[:, :2])
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5  # pixel i covers i..i+1
    at = np.stack([columns, rows], -1) - planted[:, 2]
    from_x, from_y = np.moveaxis(at @ back.T, -1, 0) - 0.5
    inside = (from_x > 2) & (from_x < SIZE - 3) & (from_y > 2) & (from_y < SIZE - 3)
    theirs = np.stack([ndimage.map_coordinates(picture[..., c].astype(float), [from_y, from_x], order=3) for c in range(3)], -1)
    assert np.abs(ours - theirs)[inside].max(initial=0) < 4


def test_what_comes_from_outside_repeats_the_edge() -> None:
    picture = np.full((SIZE, SIZE, 3), 90, np.uint8)
    points = face()
    assert (moved_reference(picture, points, points[None] + 40) == 90).all()


@pytest.mark.parametrize("broken", ["unseen", "one point", "collapsed"])
def test_without_a_map_that_a_head_could_make_the_portrait_stays(broken: str) -> None:
    picture, points = smooth_picture(), face()
    frames = {
        "unseen": np.full((2, 68, 2), np.nan),
        "one point": np.where(np.arange(68)[None, :, None] == 30, np.nan, points[None] + 5).repeat(2, 0),
        "collapsed": np.full((2, 68, 2), 20.0),
    }[broken]
    assert np.array_equal(moved_reference(picture, points, frames), np.stack([picture] * 2))


def clip_of(zooms: np.ndarray, noise_px: float) -> np.ndarray:
    """(F, 68, 2): a face that turns and shifts from frame to frame and grows by `zooms`, read with noise."""
    rng = np.random.default_rng(8)
    maps = [similarity(30 * np.sin(k / 3), zoom, 9 * np.cos(k / 2), 5 * np.sin(k)) for k, zoom in enumerate(zooms)]
    return np.stack([face() @ m[:, :2].T + m[:, 2] for m in maps]) + rng.normal(0, noise_px, (len(zooms), 68, 2))


def sizes_and_rest(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, turns and middles of the rigid points, frame by frame."""
    maps = fit_similarity(face()[RIGID], frames[:, RIGID])
    return np.hypot(maps[:, 0, 0], maps[:, 1, 0]), np.arctan2(maps[:, 1, 0], maps[:, 0, 0]), frames[:, RIGID].mean(1)


def test_the_distance_of_a_head_is_read_through_noise_and_its_turns_and_shifts_are_kept() -> None:
    planted = 1 + 0.1 * np.sin(np.arange(100) / 12)
    frames = clip_of(planted, noise_px=1.0)
    steady = steady_distance(face(), frames, sigma_frames=1.0)
    before, turns, middles = sizes_and_rest(frames)
    after, turns_after, middles_after = sizes_and_rest(steady)
    assert np.abs(after - planted).std() < 0.75 * np.abs(before - planted).std()
    np.testing.assert_allclose(turns_after, turns, atol=1e-9)
    np.testing.assert_allclose(middles_after, middles, atol=1e-9)


@given(st.floats(0.98, 1.02), st.floats(0.0, 3.0))
def test_a_head_that_comes_nearer_steadily_is_not_held_back(rate: float, sigma_frames: float) -> None:
    frames = clip_of(rate ** np.arange(40.0), noise_px=0.0)
    np.testing.assert_allclose(steady_distance(face(), frames, sigma_frames), frames, atol=1e-8)


def test_frames_without_a_face_stay_without_one_and_break_no_other() -> None:
    frames = clip_of(np.full(30, 1.1), noise_px=0.0)
    frames[[0, 7, 8]] = np.nan
    np.testing.assert_allclose(steady_distance(face(), frames, 2.0), frames, atol=1e-8)
    unseen = np.full((3, 68, 2), np.nan)
    assert np.isnan(steady_distance(face(), unseen, 2.0)).all()
