"""The portrait laid over a frame's head: against planted similarity maps and scipy's own resampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.driving.moved_reference import moved_reference

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
