"""The geometry of crops: against closed forms, planted dots and an oversampled reference."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.face_crop import (
    HAIR_SHIFT,
    HEAD_SCALE,
    NoFaceError,
    clip_square,
    crop_matrix,
    smoothed_squares,
    transform_points,
    warp,
    within_picture,
)

squares = st.tuples(st.floats(-500, 4000), st.floats(-500, 4000), st.floats(8, 4000)).map(np.array)


def face(centre: tuple[float, float], side: float) -> np.ndarray:
    """(68, 2) points whose box is centred at `centre`, `side` high and 0.9 `side` wide."""
    unit = np.random.default_rng(7).uniform(-0.5, 0.5, (68, 2))
    unit = (unit - unit.min(axis=0)) / np.ptp(unit, axis=0) - 0.5
    return unit * [0.9 * side, side] + centre


@given(squares, st.sampled_from([64, 128, 512]), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_matrix_maps_the_square_onto_the_crop(square: np.ndarray, size_px: int, u: float, v: float):
    matrix = crop_matrix(square, size_px)
    corner = square[:2] - square[2] / 2
    np.testing.assert_allclose(transform_points(corner + np.array([u, v]) * square[2], matrix), [u * size_px, v * size_px], atol=1e-6)


@given(squares, st.floats(1, 300), st.floats(1, 300))
def test_points_go_there_and_back(square: np.ndarray, x: float, y: float):
    matrix = crop_matrix(square, 256)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    np.testing.assert_allclose(transform_points(transform_points([[x, y]], matrix), back), [[x, y]], atol=1e-6)


@given(squares, st.integers(1, 3000), st.integers(1, 3000))
def test_squares_within_the_picture(square: np.ndarray, width: int, height: int):
    x, y, side = within_picture(square, width, height)
    assert 0 < side <= min(square[2], width, height)
    assert side / 2 - 1e-6 <= x <= width - side / 2 + 1e-6
    assert side / 2 - 1e-6 <= y <= height - side / 2 + 1e-6
    again = within_picture(np.array([x, y, side]), width, height)
    np.testing.assert_allclose(again, [x, y, side], atol=1e-9)


def test_nan_points_stay_nan_and_shapes_are_kept():
    points = np.full((5, 3, 68, 2), np.nan)
    assert transform_points(points, crop_matrix((1, 2, 3), 8)).shape == points.shape
    assert np.isnan(transform_points(points, crop_matrix((1, 2, 3), 8))).all()


@given(st.floats(50, 900), st.floats(50, 900), st.floats(10, 400), st.integers(1, 40), st.floats(0.5, 3), st.floats(-200, 200))
def test_square_follows_scale_and_shift_of_the_points(x: float, y: float, side: float, n: int, zoom: float, shift: float):
    points = np.stack([face((x, y), side)] * n)
    square = clip_square(points)
    np.testing.assert_allclose(square, [x, y - HAIR_SHIFT * side, HEAD_SCALE * side], rtol=1e-6)
    np.testing.assert_allclose(clip_square(points * zoom + shift), square * zoom + [shift, shift, 0], rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_square_ignores_unseen_frames_and_outliers_and_holds_the_face(seed: int):
    rng = np.random.default_rng(seed)
    centres = np.cumsum(rng.normal(0, 3, (200, 2)), axis=0) + 500
    points = np.stack([face(tuple(centre), 100) for centre in centres])
    square = clip_square(points)
    with_gaps = points.copy()
    with_gaps[rng.random(200) < 0.3] = np.nan
    assert abs(clip_square(with_gaps) - square).max() < 25
    wild = points.copy()
    wild[[3, 90]] += 5000
    assert abs(clip_square(wild) - square).max() < 25
    inside = (abs(points - square[:2]) <= square[2] / 2).all(axis=(1, 2))
    assert inside.mean() > 0.5  # the outermost frames may leave a square that ignores outliers; a walk lingers at both ends of both axes


def test_a_head_that_crosses_the_picture_gets_a_square_that_holds_its_way():
    points = np.stack([face((x, 300), 100) for x in np.linspace(100, 900, 100)])
    x, _, side = clip_square(points)
    assert abs(x - 500) < 1
    assert side > 700


def test_no_face_is_an_error():
    with pytest.raises(NoFaceError, match="no frame has a face"):
        clip_square(np.full((4, 68, 2), np.nan))
    with pytest.raises(NoFaceError, match="no frame has a face"):
        smoothed_squares(np.full((4, 68, 2), np.nan))
    with pytest.raises(ValueError, match="shape"):
        clip_square(np.zeros((68, 2)))


def test_smoothed_squares_follow_a_wandering_head_without_its_jitter():
    rng = np.random.default_rng(0)
    t = np.arange(250) / 25
    path = np.stack([400 + 40 * t, 300 + 30 * np.sin(2 * np.pi * t / 8)], axis=1)
    points = np.stack([face(tuple(p), 120) for p in path + rng.normal(0, 4, path.shape)])
    points[100:110] = np.nan
    points[50] += 3000
    found = smoothed_squares(points)
    middle = slice(40, 210)  # the ends are held, so a steady motion lags there
    assert abs(found[middle, :2] - (path - [0, HAIR_SHIFT * 120])[middle]).max() < 6
    assert abs(np.diff(found[:, :2], n=2, axis=0)).max() < 0.5
    assert abs(found[:, 2] - HEAD_SCALE * 120).max() < 1e-6
    assert found.shape == (250, 3)


def test_smoothed_squares_of_one_frame():
    np.testing.assert_allclose(smoothed_squares(face((50, 60), 20)[None]), [[50, 60 - HAIR_SHIFT * 20, HEAD_SCALE * 20]])


@settings(deadline=None, max_examples=40)
@given(st.floats(250, 390), st.floats(200, 280), st.floats(60, 500), st.sampled_from([64, 128, 256]), st.floats(-0.5, 0.5))
def test_a_dot_lands_where_its_point_does(x: float, y: float, side: float, size_px: int, angle: float):
    """A smooth dot at a known place; its centre of mass in the crop is where `transform_points` says, rotated maps included."""
    picture = np.zeros((480, 640, 3), np.uint8)
    spread = max(4.0, side / 40)
    grid_y, grid_x = np.mgrid[:480, :640] + 0.5
    picture[:] = (250 * np.exp(-((grid_x - x) ** 2 + (grid_y - y) ** 2) / (2 * spread**2)))[..., None]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = crop_matrix((x + side / 9, y - side / 11, side), size_px)
    matrix = np.column_stack([turn @ matrix[:, :2], turn @ matrix[:, 2]])
    place = transform_points([x, y], matrix)
    matrix[:, 2] += size_px / 2 - place + [size_px / 15, -size_px / 15]  # the dot stays inside
    place = transform_points([x, y], matrix)
    crop = warp(picture, matrix, size_px)[..., 0].astype(float)
    crop_y, crop_x = np.mgrid[:size_px, :size_px] + 0.5
    found = np.array([(crop_x * crop).sum(), (crop_y * crop).sum()]) / crop.sum()
    np.testing.assert_allclose(found, place, atol=0.08)


def test_shrinking_averages_instead_of_skipping():
    """One-pixel stripes, shrunk by 7.3: grey, as the mean of what each pixel covers."""
    picture = np.zeros((1024, 1024, 3), np.uint8)
    picture[:, ::2] = 255
    crop = warp(picture, crop_matrix((512, 512, 900), 123), 123)
    assert abs(crop.astype(int) - 127).max() <= 12


def test_whole_numbers_are_exact():
    rgb = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    np.testing.assert_array_equal(warp(rgb, crop_matrix((60, 40, 64), 64), 64), rgb[8:72, 28:92])
    halved = cv2.resize(rgb[8:72, 28:92], (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(warp(rgb, crop_matrix((60, 40, 64), 32), 32).astype(int), halved.astype(int), atol=2)


def test_beyond_the_picture_is_black():
    crop = warp(np.full((20, 20, 3), 200, np.uint8), crop_matrix((0, 0, 20), 40), 40)
    assert (crop[:16] == 0).all()  # bicubic interpolation reaches two pixels of the source far
    assert (crop[:, :16] == 0).all()
    assert (crop[24:, 24:] == 200).all()


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.full((2, 3), np.nan)])
def test_a_map_that_cannot_be_inverted_is_an_error(matrix: np.ndarray):
    with pytest.raises(ValueError, match="inverted"):
        warp(np.zeros((4, 4, 3), np.uint8), matrix, 4)
