"""Anchors, overlap, merging, search squares; and that boxes follow the face."""

import numpy as np
import pytest
from clip_files import astronaut
from hypothesis import given
from hypothesis import strategies as st

from curation.landmarks.detector import LEFT_EYE, RIGHT_EYE, Detection, FaceDetector, anchor_centres, iou, search_squares, weighted_nms

side = st.floats(1, 50)
place = st.floats(-50, 50)
box = st.tuples(place, place, side, side).map(lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]]))


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector.full_range()


def _detection(score: float, *corners: float) -> Detection:
    return Detection(score, np.array(corners, np.float32), np.zeros((6, 2), np.float32))


def test_anchor_centres_of_both_models():
    short = anchor_centres(((16, 2), (8, 6)))
    assert short.shape == (896, 2)
    np.testing.assert_allclose(short[[0, 1, 2]], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]])
    np.testing.assert_allclose(short[512], [1 / 16, 1 / 16])
    full = anchor_centres(((48, 1),))
    assert full.shape == (2304, 2)
    np.testing.assert_allclose(full[48], [1 / 96, 3 / 96])


@given(a=box, b=box)
def test_iou_is_symmetric_and_bounded(a, b):
    there, back = iou(a, b[None])[0], iou(b, a[None])[0]
    assert there == pytest.approx(back)
    assert 0 <= there <= 1
    assert iou(a, a[None])[0] == pytest.approx(1)


def test_iou_in_closed_form():
    np.testing.assert_allclose(iou(np.array([0, 0, 2, 2]), np.array([[1, 0, 3, 2], [5, 5, 6, 6], [0, 0, 1, 1]])), [1 / 3, 0, 1 / 4])


def test_overlapping_detections_are_averaged_by_score_and_others_kept():
    merged = weighted_nms([_detection(0.3, 2, 0, 12, 10), _detection(0.9, 0, 0, 10, 10), _detection(0.6, 50, 50, 60, 60)])
    assert [d.score for d in merged] == pytest.approx([0.9, 0.6])
    np.testing.assert_allclose(merged[0].box_px, [0.5, 0, 10.5, 10])
    np.testing.assert_allclose(merged[1].box_px, [50, 50, 60, 60])


@given(width=st.integers(384, 4000), height=st.integers(384, 4000), x=st.floats(0, 1), y=st.floats(0, 1), size=st.floats(0.01, 1))
def test_every_small_face_lies_wholly_in_some_search_square(width, height, x, y, size):
    squares = search_squares(height, width, 384)
    reach = squares[0][2]
    face = size * min(reach / 2, width, height)
    x0, y0 = x * (width - face), y * (height - face)
    slack = 1  # starts are rounded to whole pixels
    assert any(
        sx - slack <= x0 and x0 + face <= sx + s + slack and sy - slack <= y0 and y0 + face <= sy + s + slack for sx, sy, s in squares
    )
    assert len(squares) <= 9
    assert all(sx >= 0 and sy >= 0 for sx, sy, _ in squares)


def test_a_small_frame_is_not_searched_in_parts():
    assert search_squares(200, 300, 384) == []


@pytest.mark.parametrize(("scale", "dx", "dy"), [(1.0, 0, 0), (0.5, 300, 40), (0.45, 20, 200), (1.6, -60, -40)])
def test_the_box_follows_the_face(detector, scale, dx, dy):
    import cv2

    picture = astronaut(320)
    (at_rest,) = detector.detect(picture, 0.5)
    moved = cv2.warpAffine(picture, np.array([[scale, 0, dx], [0, scale, dy]]), (640, 420), flags=cv2.INTER_AREA)
    (found,) = detector.detect(moved, 0.5)
    expected = at_rest.box_px * scale + [dx, dy, dx, dy]
    assert iou(found.box_px, expected[None])[0] > 0.65
    assert found.keypoints_px[RIGHT_EYE, 0] < found.keypoints_px[LEFT_EYE, 0]


def test_a_part_of_the_picture_gives_boxes_in_the_whole_pictures_pixels(detector):
    wide = np.full((400, 900, 3), 90, np.uint8)
    wide[40:360, 560:880] = astronaut(320)
    (whole,) = detector.detect(wide, 0.5)
    (part,) = detector.detect(wide, 0.5, (520.3, -20.2, 420.0))  # reaches beyond the upper and right edges
    assert iou(whole.box_px, part.box_px[None])[0] > 0.75


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (64, 64), (1080, 1920)])
def test_a_picture_without_a_face_gives_nothing(detector, shape):
    assert detector.detect(np.full((*shape, 3), 128, np.uint8), 0.5) == []
    assert detector.detect(np.full((*shape, 3), 128, np.uint8), 0.5, (-900.0, -900.0, 50.0)) == []
