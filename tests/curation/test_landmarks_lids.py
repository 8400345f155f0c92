"""Eye openings against planted blinks."""

import cv2
import numpy as np
import pytest

from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.lids import LidNetwork
from curation.landmarks.sixty_eight import FLIP, LEFT_EYE, RIGHT_EYE
from curation.samples import head
from curation.samples.clips import open_studio
from curation.samples.face import Expression, Face
from curation.samples.head import Camera, Pose

CAMERA = Camera(2.2, (222.0, 126.0), (512, 512))
BLINKS = np.linspace(0, 1, 9)


@pytest.fixture(scope="module")
def blinking() -> np.ndarray:
    """(9, 512, 512, 3) from open to closed."""
    portrait, _ = open_studio()
    face = Face(portrait)
    pictures = [face.texture(Expression(0.0, 35.5, 0.0, 0.0, 0.0, 0.0, blink=blink)) for blink in BLINKS]
    return np.stack([head.draw(portrait, picture, Pose(0.0, 0.0, 0.0), CAMERA) for picture in pictures])


@pytest.fixture(scope="module")
def points(blinking) -> np.ndarray:
    return np.stack([FaceMesh().detect_image(picture)[0].points_px for picture in blinking])


def test_openings_fall_as_the_lids_do(blinking, points):
    openings = LidNetwork().openings(blinking, points)
    assert np.corrcoef(openings, 1 - BLINKS)[0, 1] > 0.95
    assert openings[-1] < 0.55 * openings[0]


@pytest.mark.parametrize("degrees", [-30, 20])
def test_openings_do_not_change_with_roll(blinking, points, degrees):
    matrix = cv2.getRotationMatrix2D((256, 256), degrees, 1)
    turned = np.stack([cv2.warpAffine(picture, matrix, (512, 512)) for picture in blinking[::4]])
    moved = points[::4] @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(LidNetwork().openings(turned, moved), LidNetwork().openings(blinking[::4], points[::4]), atol=0.006)


def test_a_mirrored_face_is_open_as_far_and_its_eyes_change_places(blinking, points):
    mirrored, moved = blinking[:1, :, ::-1], points[:1, FLIP] * [-1, 1] + [512, 0]
    lids = LidNetwork()
    assert lids.openings(mirrored, moved) == pytest.approx(lids.openings(blinking[:1], points[:1]), abs=0.003)
    contours, others = lids.contours(mirrored[0], moved[0]), lids.contours(blinking[0], points[0])
    assert np.abs(contours[::-1] * [-1, 1] + [512, 0] - others).max() < 0.5


def test_contours_lie_about_the_eyes(blinking, points):
    for contour, eye in zip(LidNetwork().contours(blinking[0], points[0]), (RIGHT_EYE, LEFT_EYE), strict=True):
        lids = points[0, eye]
        assert np.linalg.norm(contour[:16].mean(axis=0) - lids.mean(axis=0)) < 0.1 * np.ptp(lids[:, 0])
        np.testing.assert_allclose(contour[[0, 8]][np.argsort(contour[[0, 8], 0])], lids[[0, 3]], atol=0.15 * np.ptp(lids[:, 0]))


def test_irises_lie_in_the_eyes_and_follow_the_mirror(blinking, points):
    irises = LidNetwork().irises(blinking[0], points[0])
    for iris, eye in zip(irises, (RIGHT_EYE, LEFT_EYE), strict=True):
        lids = points[0, eye]
        assert np.linalg.norm(iris - lids.mean(axis=0)) < 0.25 * np.ptp(lids[:, 0])
    mirrored = LidNetwork().irises(blinking[0, :, ::-1], points[0, FLIP] * [-1, 1] + [512, 0])
    assert np.abs(mirrored[::-1] * [-1, 1] + [512, 0] - irises).max() < 0.5


def test_no_face_has_no_opening(blinking):
    assert np.isnan(LidNetwork().openings(blinking[:2], np.full((2, 68, 2), np.nan))).all()
    assert np.isnan(LidNetwork().opening(blinking[0], np.zeros((68, 2))))
