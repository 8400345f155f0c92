"""Face size and valid frames, on planted points."""

from dataclasses import replace

import numpy as np
import pytest

from curation.contracts import Clip, Evidence, Faces, MediaInfo
from curation.landmarks.pose import TEMPLATE_CM
from curation.scorers.face import FaceResolution, ValidFrames

UNIT = (TEMPLATE_CM[:, :2] - TEMPLATE_CM[:, :2].min(axis=0)) / np.ptp(TEMPLATE_CM[:, :2], axis=0)  # fills 0..1 both ways


def evidence(points_px: np.ndarray, n_faces=None, confidence=None) -> Evidence:
    n = len(points_px)
    seen = np.isfinite(points_px).all(axis=(1, 2))
    n_faces = seen.astype(np.int16) if n_faces is None else np.asarray(n_faces, np.int16)
    confidence = np.repeat(seen[:, None], 68, axis=1) if confidence is None else confidence
    faces = Faces(40.0 * np.arange(n), n_faces, points_px.astype(np.float32), np.asarray(confidence, np.float32))
    info = MediaInfo(1920, 1080, 25.0, n, 40.0 * n, "h264", False, None)
    return Evidence(Clip("folder", "a", "a", "a.mp4"), info, 25.0, faces, None)


def boxes(*corners: tuple[float, float, float, float]) -> np.ndarray:
    """(T, 68, 2) faces that fill the boxes x0, y0, width, height."""
    return np.stack([UNIT * [w, h] + [x, y] for x, y, w, h in corners])


def test_size_and_place_are_medians_at_source_scale():
    values = FaceResolution().finish(evidence(boxes((10, 20, 100, 120), (20, 40, 110, 130), (90, 60, 300, 400))))
    assert values["face_width_px"] == pytest.approx(110)
    assert values["face_height_px"] == pytest.approx(130)
    assert [values[f"face_{edge}_px"] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([20, 40, 130, 170])
    assert set(values) == {column.name for column in FaceResolution.columns}


def test_the_fifth_percentile_is_of_the_smaller_side():
    widths = np.linspace(100, 200, 101)
    values = FaceResolution().finish(evidence(boxes(*((0, 0, w, 500) for w in widths))))
    assert values["face_size_px_p5"] == pytest.approx(105)
    values = FaceResolution().finish(evidence(boxes(*((0, 0, 500, w) for w in widths))))
    assert values["face_size_px_p5"] == pytest.approx(105)


def test_interocular_distance_in_closed_form():
    points = boxes((0, 0, 154.8, 100))  # as wide as the template times ten: one centimetre is ten pixels
    right, left = TEMPLATE_CM[36:42].mean(axis=0), TEMPLATE_CM[42:48].mean(axis=0)
    assert FaceResolution().finish(evidence(points))["interocular_px_p5"] == pytest.approx(10 * (left - right)[0], rel=1e-3)


def test_frames_without_a_face_do_not_dilute_the_size():
    points = np.concatenate([boxes((0, 0, 100, 100)), np.full((3, 68, 2), np.nan)])
    assert FaceResolution().finish(evidence(points))["face_width_px"] == pytest.approx(100)
    assert FaceResolution().finish(evidence(points[1:])) == {}


def test_valid_frames_have_exactly_one_trusted_face():
    points = boxes(*[(0, 0, 100, 100)] * 10)
    points[8] = np.nan
    confidence = np.ones((10, 68))
    confidence[2, :9] = 0.2  # 59 trusted
    confidence[3, :8] = 0.2  # 60 trusted
    confidence[8] = 0
    values = ValidFrames().finish(evidence(points, [1, 1, 1, 1, 2, 1, 1, 1, 0, 1], confidence))
    assert values["valid_frame_ratio"] == pytest.approx(0.7)


def test_the_face_that_the_index_names_is_valid_beside_others():
    """Two people throughout; one frame without the named one."""
    points = boxes(*[(0, 0, 100, 100)] * 10)
    points[4] = np.nan
    unnamed = evidence(points, n_faces=np.full(10, 2))
    named = replace(unnamed, clip=replace(unnamed.clip, face_box_px=(0.0, 0.0, 150.0, 150.0)))
    assert ValidFrames().finish(unnamed) == {"n_faces_max": 2, "valid_frame_ratio": 0.0}
    assert ValidFrames().finish(named) == {"n_faces_max": 2, "valid_frame_ratio": pytest.approx(0.9)}


def test_one_face_that_is_not_the_main_one_is_not_valid():
    points = np.full((4, 68, 2), np.nan)
    assert ValidFrames().finish(evidence(points, [1, 1, 1, 1]))["valid_frame_ratio"] == 0


@pytest.mark.parametrize(
    ("n_faces", "expected"),
    [
        ([0] * 50, 0),
        ([1] * 50, 1),
        ([1] * 48 + [2] * 2, 1),  # a moment
        ([1] * 47 + [2] * 3, 2),
        ([1] * 295 + [2] * 5, 1),  # under two per cent
        ([1] * 294 + [3] * 6, 3),
        ([2] * 20 + [3] * 2 + [2] * 20, 2),
        ([1, 2], 1),
        ([2, 2], 2),
        ([2], 2),
    ],
)
def test_the_number_of_people_needs_to_last(n_faces, expected):
    points = boxes(*[(0, 0, 100, 100)] * len(n_faces))
    assert ValidFrames().finish(evidence(points, n_faces))["n_faces_max"] == expected


def test_a_clip_without_frames_says_nothing():
    assert ValidFrames().finish(evidence(np.zeros((0, 68, 2)))) == {}
