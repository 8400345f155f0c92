"""Head pose against scipy's rotations, on projected templates; signs, order, invariances; the scorer's columns."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from curation.contracts import Clip, Evidence, Faces, MediaInfo
from curation.landmarks import sixty_eight
from curation.landmarks.pose import TEMPLATE_CM, angles_deg, head_rotations, turn_deg
from curation.scorers.head_pose import HeadPose

yaw = st.floats(-80, 80)
angle = st.floats(-60, 60)


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Rotation:
    """Pitch first, about the fixed axes x right, y down, z away from the camera."""
    return Rotation.from_euler("xyz", [pitch_deg, -yaw_deg, roll_deg], degrees=True)


def project(turned: Rotation, scale: float = 20.0, shift=(300.0, 200.0), distance_cm: float | None = None) -> np.ndarray:
    """(1, 68, 2) points of the generic face; parallel, or from a camera at a distance."""
    points = turned.apply(TEMPLATE_CM)
    depth = 1.0 if distance_cm is None else 1 + points[:, 2:] / distance_cm
    return (points[:, :2] / depth * scale + shift)[None]


def evidence(points_px: np.ndarray, confidence: np.ndarray | None = None) -> Evidence:
    n = len(points_px)
    seen = np.isfinite(points_px).all(axis=(1, 2))
    confidence = np.where(seen[:, None], np.ones((n, 68)), 0) if confidence is None else confidence
    faces = Faces(40.0 * np.arange(n), seen.astype(np.int16), points_px.astype(np.float32), confidence.astype(np.float32))
    info = MediaInfo(640, 480, 25.0, n, 40.0 * n, "h264", False, None)
    return Evidence(Clip("folder", "a", "a", "a.mp4"), info, 25.0, faces, None)


@given(yaw=yaw, pitch=angle, roll=angle, scale=st.floats(0.5, 100))
def test_the_planted_rotation_is_found(yaw, pitch, roll, scale):
    planted = rotation(yaw, pitch, roll)
    found, residual_px = head_rotations(project(planted, scale))
    np.testing.assert_allclose(found[0], planted.as_matrix(), atol=1e-6)
    np.testing.assert_allclose(angles_deg(found[0]), [yaw, pitch, roll], atol=1e-4)
    assert turn_deg(found[0]) == pytest.approx(np.degrees(planted.magnitude()), abs=1e-4)
    assert residual_px[0] == pytest.approx(0, abs=1e-5 * scale)


def test_signs():
    nose_tip, right_eye, left_eye = 30, 36, 45
    at_rest = project(rotation(0, 0, 0))[0]
    to_the_right = project(rotation(20, 0, 0))[0] - at_rest
    assert to_the_right[nose_tip, 0] > 0  # the nose moves to the right of the picture
    down = project(rotation(0, 20, 0))[0] - at_rest
    assert down[nose_tip, 1] > 0
    clockwise = project(rotation(0, 0, 20))[0]
    assert clockwise[left_eye, 1] > clockwise[right_eye, 1]  # the picture's right side sinks


def test_a_frontal_upright_face_reads_zero():
    found, _ = head_rotations(project(rotation(0, 0, 0)))
    np.testing.assert_allclose(angles_deg(found), 0, atol=1e-6)


@given(yaw=yaw, pitch=angle, roll=angle)
def test_a_mirrored_face_turns_and_rolls_the_other_way(yaw, pitch, roll):
    points = project(rotation(yaw, pitch, roll))
    mirrored = points[:, sixty_eight.FLIP] * [-1, 1] + [640, 0]
    np.testing.assert_allclose(angles_deg(head_rotations(mirrored)[0])[0], [-yaw, pitch, -roll], atol=1e-4)


@given(yaw=st.floats(-45, 45), pitch=st.floats(-25, 25), roll=st.floats(-40, 40))
def test_perspective_at_a_metre_costs_a_few_degrees_at_most(yaw, pitch, roll):
    found, _ = head_rotations(project(rotation(yaw, pitch, roll), distance_cm=100.0))
    np.testing.assert_allclose(angles_deg(found)[0], [yaw, pitch, roll], atol=4.5)


def test_small_errors_of_the_points_give_small_errors_of_the_angles():
    rng = np.random.default_rng(0)
    points = np.concatenate([project(rotation(25, -10, 15))] * 400)
    noise_px = 0.02 * sixty_eight.interocular(points[0])
    found = angles_deg(head_rotations(points + rng.normal(0, noise_px, points.shape))[0])
    assert np.abs(found.mean(axis=0) - [25, -10, 15]).max() < 1.5
    assert found.std(axis=0).max() < 4


def test_lips_and_jaw_do_not_matter():
    points = project(rotation(15, 5, -10))
    talking = points.copy()
    talking[:, sixty_eight.LIPS, 1] += 30
    talking[:, sixty_eight.JAW, 1] += 40
    np.testing.assert_array_equal(head_rotations(talking)[0], head_rotations(points)[0])


def test_points_without_confidence_do_not_count():
    points = project(rotation(30, 0, 0))
    confidence = np.ones((1, 68))
    wrong = points.copy()
    wrong[:, [36, 31, 45]] += 500
    confidence[:, [36, 31, 45]] = 0.1
    np.testing.assert_allclose(angles_deg(head_rotations(wrong, confidence)[0])[0], [30, 0, 0], atol=1e-4)
    confidence[:, [32, 33]] = 0
    found, residual_px = head_rotations(points, confidence)  # eight of thirteen left
    assert np.isnan(found).all()
    assert np.isnan(residual_px).all()


def test_frames_without_a_face_stay_unknown():
    points = np.concatenate([project(rotation(10, 0, 0)), np.full((1, 68, 2), np.nan)])
    found, residual_px = head_rotations(points)
    np.testing.assert_array_equal(np.isnan(found).all(axis=(1, 2)), [False, True])
    np.testing.assert_array_equal(np.isnan(residual_px), [False, True])
    assert head_rotations(np.zeros((0, 68, 2)))[0].shape == (0, 3, 3)


def test_the_scorers_columns():
    turns = [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 0, 20)]
    points = np.concatenate([*(project(rotation(*turn)) for turn in turns), np.full((1, 68, 2), np.nan)])
    values = HeadPose().finish(evidence(points))
    assert set(values) == {column.name for column in HeadPose.columns}
    assert values["yaw_deg_mean_abs"] == pytest.approx(15, abs=0.01)
    assert values["yaw_deg_p95"] == pytest.approx(30, abs=0.01)
    assert values["roll_deg_mean_abs"] == pytest.approx(5, abs=0.01)
    assert values["pitch_deg_mean_abs"] == pytest.approx(0, abs=0.01)
    assert values["head_rotation_deg"] == pytest.approx(20, abs=0.01)
    assert values["pose_residual_px"] == pytest.approx(0, abs=0.01)


def test_a_clip_without_a_face_has_no_pose():
    assert HeadPose().finish(evidence(np.full((5, 68, 2), np.nan))) == {}


def test_the_residual_is_in_pixels():
    points = project(rotation(0, 0, 0))
    rng = np.random.default_rng(1)
    off = points + rng.normal(0, 3.0, (200, 68, 2))
    assert 1.5 < np.median(head_rotations(off)[1]) < 4.0


def test_a_long_clip_takes_no_time():
    points = np.repeat(project(rotation(10, 5, 0)), 10_000, axis=0)
    began = time.perf_counter()
    HeadPose().finish(evidence(points))
    assert (time.perf_counter() - began) / len(points) < 0.3e-3
