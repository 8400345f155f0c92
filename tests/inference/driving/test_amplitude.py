"""Amplitude adjustment: the twelve assertions of the corrected Eq. 4, each on some hundreds of random motions, and where the printed
formula breaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.face_crop import transform_points, warp
from curation.landmarks.sixty_eight import N_POINTS, RIGID
from inference.driving.amplitude import (
    Amplitude,
    Motion,
    adjusted,
    compose,
    corrections,
    inverse,
    printed_equation_4,
)
from inference.driving.estimator import estimate_motion, fit_affine, fit_similarity, smoothed
from manifests import UserError

MANY = settings(max_examples=200, deadline=None)
alphas = st.floats(0, 2)
modes = st.sampled_from(["geometric", "keep"])
seeds = st.integers(0, 2**32 - 1)


def random_motion(seed: int, kind: str, frames: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(matrices (F, 2, 3), pivot (2,), rigid landmarks of the first frame (N, 2) about it); the first frame is at rest."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 60, (len(RIGID), 2))
    pivot = rng.uniform(0, 512, 2)
    points += pivot - points.mean(axis=0)
    angle = np.cumsum(rng.uniform(-1.2, 1.2, frames))
    scale = np.exp(rng.uniform(-0.5, 0.5, (frames, 2)))
    shear = rng.uniform(-0.5, 0.5, frames)
    if kind == "similarity":
        scale[:, 1] = scale[:, 0]
        shear[:] = 0
    shift = rng.uniform(-80, 80, (frames, 2))
    angle[0] = shear[0] = shift[0] = 0
    scale[0] = 1
    return Motion(angle, shear, scale, shift, pivot).matrices(), pivot, points


motions = st.builds(random_motion, seeds, st.sampled_from(["similarity", "affine"]))
similarities = st.builds(random_motion, seeds, st.just("similarity"))


def moved(points: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    return np.stack([transform_points(points, matrix) for matrix in matrices])


# 1 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, modes, seeds)
def test_01_at_one_nothing_changes_to_the_last_bit(motion, mode, seed):
    matrices, pivot, points = motion
    rgb = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    to_crop = np.array([[0.7, 0.0, 3.3], [0.0, 0.7, -1.7]])
    np.testing.assert_array_equal(adjusted(matrices, pivot, Amplitude.of(1.0, mode)), matrices)
    for correction, target in zip(corrections(matrices, pivot, Amplitude.of(1.0, mode)), moved(points, matrices), strict=True):
        np.testing.assert_array_equal(transform_points(target, correction), target)
        np.testing.assert_array_equal(warp(rgb, correction, 24), rgb)
        np.testing.assert_array_equal(warp(rgb, compose(to_crop, correction), 16), warp(rgb, to_crop, 16))
    # Without the short cut the formula itself gives M back.
    np.testing.assert_allclose(Motion.of(matrices, pivot).scaled(Amplitude.of(1.0, mode)).matrices(), matrices, atol=1e-9)


# 2 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(alphas, alphas, alphas, modes, st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)))
def test_02_no_motion_stays_no_motion_at_any_gain(translation, roll, zoom, mode, pivot):
    still = np.tile(np.eye(2, 3), (3, 1, 1))
    for matrix in corrections(still, np.array(pivot), Amplitude(translation, roll, zoom, mode)):
        np.testing.assert_allclose(matrix, np.eye(2, 3), atol=1e-9)


def test_02_the_printed_formula_breaks_where_nothing_moves():
    expected = {0.0: 0.0, 0.25: 0.383, 0.5: 0.707, 1.0: 1.0, 1.5: 0.707, 2.0: 0.0, 2.5: -0.707}
    for alpha, determinant in expected.items():
        assert np.linalg.det(printed_equation_4(np.eye(2, 3), alpha)[:, :2]) == pytest.approx(determinant, abs=5e-4)
    np.testing.assert_allclose(printed_equation_4(np.eye(2, 3), 0.0), [[1, 0, 0], [1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(printed_equation_4(np.eye(2, 3), 0.5)[1], [0.7071, 0.7071, 0], atol=1e-4)
    ten_degrees = Motion(np.radians([10.0]), np.zeros(1), np.ones((1, 2)), np.zeros((1, 2)), np.zeros(2)).matrices()[0]
    np.testing.assert_allclose(printed_equation_4(ten_degrees, 0.5)[1], [0.643, 0.766, 0], atol=5e-4)
    np.testing.assert_allclose(printed_equation_4(ten_degrees, 1.0), ten_degrees, atol=1e-12)


def test_02_the_printed_formula_moves_a_face_that_only_zooms():
    """It zooms about the corner: at α = 0 a zoom of 1.1 moves the middle of a 512 px picture by 36 px; ours does not move it."""
    centre = np.array([256.0, 256.0])
    zoom = np.array([[1.1, 0, -25.6], [0, 1.1, -25.6]])  # about the middle
    about_corner = Motion.of(zoom[None], np.zeros(2)).scaled(Amplitude.of(0.0, "keep")).matrices()[0]
    assert np.linalg.norm(transform_points(centre, about_corner) - centre) == pytest.approx(36.2, abs=0.05)
    about_face = adjusted(zoom[None], centre, Amplitude.of(0.0, "keep"))[0]
    np.testing.assert_allclose(transform_points(centre, about_face), centre, atol=1e-9)


# 3 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(st.floats(-179, 179), alphas, st.tuples(st.floats(0, 512), st.floats(0, 512)), st.tuples(st.floats(0, 512), st.floats(0, 512)))
def test_03_a_roll_about_any_point_becomes_alpha_times_the_roll(degrees, alpha, centre, pivot):
    import cv2

    roll = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    result = adjusted(np.stack([np.eye(2, 3), roll]), np.array(pivot), Amplitude.of(alpha))[1]
    wanted = cv2.getRotationMatrix2D((0, 0), alpha * degrees, 1.0)
    np.testing.assert_allclose(result[:, :2], wanted[:, :2], atol=1e-9)


@MANY
@given(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), alphas, modes)
def test_03_a_shift_becomes_alpha_times_the_shift(shift, alpha, mode):
    matrix = np.column_stack([np.eye(2), shift])
    result = adjusted(matrix[None], np.array([200.0, 100.0]), Amplitude.of(alpha, mode))[0]
    np.testing.assert_allclose(result, np.column_stack([np.eye(2), alpha * np.array(shift)]), atol=1e-9)


@MANY
@given(st.floats(0.3, 3), alphas)
def test_03_a_zoom_is_taken_to_the_power_of_alpha_or_kept(zoom, alpha):
    pivot = np.array([200.0, 100.0])
    matrix = np.column_stack([zoom * np.eye(2), (1 - zoom) * pivot])[None]
    power, kept = (adjusted(matrix, pivot, Amplitude.of(alpha, mode))[0] for mode in ("geometric", "keep"))
    np.testing.assert_allclose(power, np.column_stack([zoom**alpha * np.eye(2), (1 - zoom**alpha) * pivot]), atol=1e-9)
    np.testing.assert_allclose(kept, matrix[0], atol=1e-9)


@MANY
@given(similarities, alphas)
def test_03_the_gains_are_separate(motion, alpha):
    matrices, pivot, _ = motion

    def parts(maps: np.ndarray) -> dict[str, np.ndarray]:
        motion = Motion.of(maps, pivot)
        return {"translation": motion.shift_px, "roll": motion.angle_rad, "zoom": np.log(motion.scale)}

    whole = parts(matrices)
    for scaled_part in whole:
        result = parts(adjusted(matrices, pivot, Amplitude(**{scaled_part: alpha})))
        for name, values in result.items():
            wanted = whole[name] * (alpha if name == scaled_part else 1)
            if name == "roll":  # whole turns cannot be read back
                values, wanted = np.exp(1j * values), np.exp(1j * wanted)
            np.testing.assert_allclose(values, wanted, atol=1e-9)


# 4 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(similarities)
def test_04_at_zero_the_rigid_landmarks_lie_on_those_of_the_first_frame(motion):
    matrices, pivot, points = motion
    targets = moved(points, matrices)
    for mode in ("geometric", "keep"):
        for target, correction, matrix in zip(targets, corrections(matrices, pivot, Amplitude.of(0.0, mode)), matrices, strict=True):
            zoom = 1.0 if mode == "geometric" else np.sqrt(np.linalg.det(matrix[:, :2]))
            np.testing.assert_allclose(transform_points(target, correction), pivot + zoom * (points - pivot), atol=1e-8)


# 5 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, alphas, modes)
def test_05_the_middle_of_the_face_moves_by_alpha_times_its_shift(motion, alpha, mode):
    matrices, pivot, points = motion
    middles = moved(points, matrices).mean(axis=1)
    results = np.stack(
        [transform_points(m, c) for m, c in zip(middles, corrections(matrices, pivot, Amplitude.of(alpha, mode)), strict=True)]
    )
    np.testing.assert_allclose(results - pivot, alpha * (middles - pivot), atol=1e-8)


# 6 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, alphas, modes, seeds)
def test_06_fitting_again_gives_the_adjusted_motion(motion, alpha, mode, seed):
    matrices, pivot, points = motion
    noisy = moved(points, matrices) + np.random.default_rng(seed).normal(0, 1, (len(matrices), len(points), 2))
    fitted = fit_affine(points, noisy)
    targets = np.stack([transform_points(p, c) for p, c in zip(noisy, corrections(fitted, pivot, Amplitude.of(alpha, mode)), strict=True)])
    np.testing.assert_allclose(fit_affine(points, targets), adjusted(fitted, pivot, Amplitude.of(alpha, mode)), atol=1e-8)


# 7 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, alphas, modes)
def test_07_pictures_are_never_mirrored_nor_flattened(motion, alpha, mode):
    matrices, pivot, _ = motion
    shear = Motion.of(matrices, pivot).shear_rad
    determinants = np.linalg.det(adjusted(matrices, pivot, Amplitude.of(alpha, mode))[:, :, :2])
    assert (determinants[np.abs(alpha * shear) < np.pi / 2] > 0).all()
    assert (np.abs(alpha * shear) < np.pi / 2).all()  # every motion drawn here


# 8 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, st.floats(0, 2), st.floats(0, 1))
def test_08_two_adjustments_are_one_by_their_product(motion, alpha, beta):
    matrices, pivot, _ = motion
    once = Motion.of(matrices, pivot).scaled(Amplitude.of(alpha))
    if (np.abs(np.diff(once.angle_rad)) < 3.1).all():  # faster turns cannot be told from their other way round
        again = adjusted(once.matrices(), pivot, Amplitude.of(beta))
        np.testing.assert_allclose(again, adjusted(matrices, pivot, Amplitude.of(alpha * beta)), atol=1e-7)
    np.testing.assert_allclose(
        once.scaled(Amplitude.of(beta)).matrices(), Motion.of(matrices, pivot).scaled(Amplitude.of(alpha * beta)).matrices(), atol=1e-8
    )


# 9 ---------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, alphas, modes, seeds)
def test_09_what_is_not_rigid_motion_is_left_as_it_is(motion, alpha, mode, seed):
    matrices, pivot, points = motion
    speaking = points + np.random.default_rng(seed).normal(0, 8, (len(matrices), *points.shape))
    targets = np.stack([transform_points(p, m) for p, m in zip(speaking, matrices, strict=True)])
    amplitude = Amplitude.of(alpha, mode)
    rows = zip(targets, speaking, corrections(matrices, pivot, amplitude), adjusted(matrices, pivot, amplitude), strict=True)
    for target, expression, correction, matrix in rows:
        np.testing.assert_allclose(transform_points(transform_points(target, correction), inverse(matrix)), expression, atol=1e-7)


# 10 --------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, st.floats(0, 1.999), modes)
def test_10_a_little_more_amplitude_moves_a_little(motion, alpha, mode):
    matrices, pivot, points = motion
    step = 1e-4
    a, b = (
        np.stack([transform_points(points, c) for c in corrections(matrices, pivot, Amplitude.of(value, mode))])
        for value in (alpha, alpha + step)
    )
    assert np.abs(a - b).max() < 1e5 * step


@MANY
@given(st.floats(0, 2), st.floats(0.01, 0.2), st.sampled_from([-1, 1]))
def test_10_a_head_that_turns_over_does_not_jump(alpha, step_rad, sign):
    angle = sign * np.arange(0, 2 * np.pi, step_rad)  # passes ±180°
    pivot = np.array([256.0, 256.0])
    n = len(angle)
    matrices = Motion(angle, np.zeros(n), np.ones((n, 2)), np.zeros((n, 2)), pivot).matrices()
    points = moved(pivot + np.array([[100.0, 0.0]]), adjusted(matrices, pivot, Amplitude.of(alpha)))[:, 0]
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() <= 100 * alpha * step_rad + 1e-6


# 11 --------------------------------------------------------------------------------------------------------------------------------------
@MANY
@given(motions, alphas, modes, seeds, st.sampled_from(["similarity", "affine"]))
def test_11_the_first_frame_stays_and_missing_landmarks_do_not_spread(motion, alpha, mode, seed, estimator):
    matrices, pivot, points = motion
    rng = np.random.default_rng(seed)
    landmarks = np.zeros((len(matrices), N_POINTS, 2))
    landmarks[:, RIGID] = moved(points, matrices)
    missing = rng.random(len(matrices)) < 0.4
    missing[0] = False
    broken = rng.random(len(matrices)) < 0.2
    broken[0] = False
    landmarks[broken] = rng.uniform(0, 100, 2)  # all points the same
    landmarks[missing] = np.nan
    estimate = estimate_motion(landmarks, estimator)
    result = corrections(estimate.matrices, estimate.pivot_px, Amplitude.of(alpha, mode))
    assert len(result) == len(matrices)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[0], np.eye(2, 3), atol=1e-9)
    assert estimate.n_missing == missing.sum()
    assert estimate.n_degenerate == (broken & ~missing).sum()
    np.testing.assert_allclose(estimate.pivot_px, pivot, atol=1e-8)
    last = 0
    for frame in range(len(matrices)):
        last = frame if not (missing[frame] or broken[frame]) else last
        assert estimate.fitted[frame] == (last == frame)
        wanted = matrices[last] if estimator == "affine" else fit_similarity(points, moved(points, matrices)[last])
        np.testing.assert_allclose(estimate.matrices[frame], wanted, atol=1e-7)


# 12 --------------------------------------------------------------------------------------------------------------------------------------
DOTS = np.array([[60.0, 62.0], [132.0, 58.0], [97.0, 100.0], [72.0, 130.0], [122.0, 134.0]])
SIZE = 192


def draw_dots(points: np.ndarray) -> np.ndarray:
    """A (SIZE, SIZE, 3) uint8 picture of soft dots, each of its own brightness; pixel i covers i..i+1."""
    grid = np.arange(SIZE) + 0.5
    picture = np.zeros((SIZE, SIZE))
    for x, y in points:
        picture = np.maximum(picture, np.exp(-(((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * 2.5**2))))
    return np.round(255 * np.repeat(picture[..., None], 3, axis=2)).astype(np.uint8)


def find_dots(rgb: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Centre of mass about each of the places where dots should be."""
    grid = np.arange(SIZE) + 0.5
    weight = rgb[..., 0].astype(float)
    weight[weight < 20] = 0
    found = []
    for x, y in near:
        part = weight * ((np.abs(grid[None, :] - x) < 9) & (np.abs(grid[:, None] - y) < 9))
        found.append([(part * grid[None, :]).sum() / part.sum(), (part * grid[:, None]).sum() / part.sum()])
    return np.array(found)


@MANY
@given(st.floats(-20, 20), st.floats(0.87, 1.15), st.tuples(st.floats(-18, 18), st.floats(-18, 18)))
def test_12_dots_found_again_on_the_warped_picture_are_at_half_the_motion(roll_deg, zoom, shift):
    pivot = DOTS.mean(axis=0)

    def at(alpha: float) -> np.ndarray:
        motion = Motion(np.radians([alpha * roll_deg]), np.zeros(1), np.full((1, 2), zoom**alpha), alpha * np.array([shift]), pivot)
        return transform_points(DOTS, motion.matrices()[0])

    measured = find_dots(draw_dots(at(1.0)), at(1.0))
    matrix = fit_similarity(DOTS, measured)
    correction = corrections(matrix[None], pivot, Amplitude.of(0.5))[0]
    found = find_dots(warp(draw_dots(at(1.0)), correction, SIZE), at(0.5))
    assert np.abs(found - at(0.5)).max() < 0.5


# The estimators and the smoothing -------------------------------------------------------------------------------------------------------
@settings(max_examples=50, deadline=None)
@given(seeds)
def test_the_similarity_is_the_least_squares_one(seed):
    """Against scipy's orthogonal Procrustes, which solves for the turn alone by an SVD."""
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 50, (13, 2))
    turn = rng.uniform(-np.pi, np.pi)
    c, s = np.cos(turn), np.sin(turn)
    target = 1.3 * source @ np.array([[c, s], [-s, c]]) + [30, -20] + rng.normal(0, 5, (13, 2))
    centred, centred_target = source - source.mean(axis=0), target - target.mean(axis=0)
    rotation, total = linalg.orthogonal_procrustes(centred, centred_target)
    scale = total / (centred**2).sum()
    wanted = scale * rotation.T
    result = fit_similarity(source, target)
    np.testing.assert_allclose(result[:, :2], wanted, atol=1e-10)
    np.testing.assert_allclose(transform_points(source.mean(axis=0), result), target.mean(axis=0), atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_the_affine_map_is_the_least_squares_one(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 50, (13, 2)), rng.normal(0, 50, (13, 2))
    wanted = np.linalg.lstsq(np.column_stack([source, np.ones(13)]), target, rcond=None)[0].T
    np.testing.assert_allclose(fit_affine(source, target), wanted, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(seeds, st.floats(0.5, 4), st.integers(2, 30))
def test_smoothing_keeps_ends_and_steady_motion(seed, sigma, n):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (n, 3, 2))
    result = smoothed(values, sigma)
    np.testing.assert_allclose(result[[0, -1]], values[[0, -1]], atol=1e-9)
    steady = rng.normal(0, 1, (1, 3, 2)) * np.arange(n)[:, None, None] + rng.normal(0, 1, (1, 3, 2))
    gappy = np.where((rng.random(n) < 0.3)[:, None, None], np.nan, steady)
    np.testing.assert_allclose(smoothed(gappy, sigma), gappy, atol=1e-8)


def test_smoothing_halves_the_jitter_that_a_stilled_head_shows():
    rng = np.random.default_rng(0)
    landmarks = np.tile(rng.normal(256, 60, (1, N_POINTS, 2)), (400, 1, 1)) + rng.normal(0, 1, (400, N_POINTS, 2))

    def jitter_px(smooth_frames: float) -> float:
        estimate = estimate_motion(landmarks, smooth_frames=smooth_frames)
        warps = corrections(estimate.matrices, estimate.pivot_px, Amplitude.of(0.0))
        return float(np.stack([transform_points(landmarks[0, RIGID], w) for w in warps]).std(axis=0).mean())

    assert jitter_px(1.0) < 0.6 * jitter_px(0.0)


# Bad input -------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("alpha", [-0.1, 2.01, float("nan"), float("inf")])
def test_an_amplitude_out_of_range_is_one_clear_line(alpha):
    with pytest.raises(UserError, match=r"motion translation is .*; it must lie in 0\.\.2") as caught:
        Amplitude.of(alpha)
    assert "\n" not in str(caught.value)


def test_other_mistakes():
    with pytest.raises(UserError, match="scale_mode is 'linear'"):
        Amplitude(scale_mode="linear")
    with pytest.raises(ValueError, match="positive determinant"):
        Motion.of(np.array([[[1.0, 0, 0], [0, -1.0, 0]]]), np.zeros(2))
    with pytest.raises(ValueError, match="no frame has a face"):
        estimate_motion(np.full((3, N_POINTS, 2), np.nan))
    with pytest.raises(ValueError, match="unknown estimator 'ransac'"):
        estimate_motion(np.zeros((3, N_POINTS, 2)), "ransac")
