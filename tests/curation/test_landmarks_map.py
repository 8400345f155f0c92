"""The 68 points: order, left and right, mirroring; on the generic face and on a real picture."""

import numpy as np
import pytest
from clip_files import astronaut

from curation.landmarks import sixty_eight as s
from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.pose import TEMPLATE_CM


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    (face,) = FaceMesh().detect_image(astronaut(320))
    return face.points_px


def _inside(polygon: np.ndarray, point: np.ndarray) -> bool:
    """Whether `point` lies within a polygon (N, 2), by the winding of the angles to its corners."""
    to = polygon - point
    steps = np.diff(np.unwrap(np.arctan2(to[:, 1], to[:, 0]), axis=0), append=np.arctan2(to[0, 1], to[0, 0]))
    return abs(((steps + np.pi) % (2 * np.pi) - np.pi).sum()) > np.pi


@pytest.mark.parametrize("which", ["template", "picture"])
def test_parts_lie_where_their_names_say(which, points):
    p = TEMPLATE_CM[:, :2] if which == "template" else points
    right_eye, left_eye = s.eye_centres(p)
    assert right_eye[0] < left_eye[0]  # the person's right is on the left of the picture
    assert (np.diff(p[s.JAW, 0]) > -0.02 * s.interocular(p)).all()
    assert p[s.JAW, 1].max() - p[8, 1] < 0.02 * s.interocular(p)
    assert p[s.RIGHT_BROW, 1].max() < right_eye[1]
    assert p[s.LEFT_BROW, 1].max() < left_eye[1]
    assert (np.diff(p[s.NOSE_BRIDGE, 1]) > 0).all()
    assert (np.diff(p[s.NOSE_BASE, 0]) > 0).all()
    assert p[36, 0] < p[39, 0] < p[27, 0] < p[42, 0] < p[45, 0]
    assert p[48, 0] < p[60, 0] < p[62, 0] < p[64, 0] < p[54, 0]
    assert p[51, 1] < p[62, 1] <= p[66, 1] < p[57, 1] < p[8, 1]


def test_eyes_and_mouth_lie_within_jaw_and_brows(points):
    outline = np.concatenate([points[s.JAW], points[s.LEFT_BROW][::-1], points[s.RIGHT_BROW][::-1]])
    assert all(_inside(outline, points[i]) for i in range(27, 68))


def test_flip_is_its_own_inverse_and_mirrors_the_template():
    np.testing.assert_array_equal(s.FLIP[s.FLIP], np.arange(68))
    np.testing.assert_allclose(TEMPLATE_CM[s.FLIP] * [-1, 1, 1], TEMPLATE_CM)
    for group in (s.JAW, s.NOSE_BRIDGE, s.NOSE_BASE, s.OUTER_LIPS, s.INNER_LIPS):
        assert set(s.FLIP[group]) == set(range(68)[group])
    assert set(s.FLIP[s.RIGHT_EYE]) == set(range(42, 48))
    assert set(s.FLIP[s.RIGHT_BROW]) == set(range(22, 27))
    assert set(s.FLIP[s.RIGID]) == set(s.RIGID)


def test_a_mirrored_picture_gives_the_mirrored_points(points):
    image = astronaut(320)
    (mirrored,) = FaceMesh().detect_image(np.ascontiguousarray(image[:, ::-1]))
    expected = points[s.FLIP] * [-1, 1] + [320, 0]
    distance = np.linalg.norm(mirrored.points_px - expected, axis=1) / s.interocular(points)
    assert distance.mean() < 0.04  # a wrong permutation is off by 0.3 and more
    assert distance.max() < 0.12


def test_from_mesh_keeps_leading_axes_and_refuses_other_meshes():
    mesh = np.arange(2 * 468 * 3).reshape(2, 468, 3)
    assert s.from_mesh(mesh).shape == (2, 68, 3)
    np.testing.assert_array_equal(s.from_mesh(mesh)[1, 30], mesh[1, 4])  # the tip of the nose
    with pytest.raises(ValueError, match="468"):
        s.from_mesh(np.zeros((478, 3)))


def test_the_map_names_every_vertex_once():
    assert len(s.MESH_INDEX) == len(set(s.MESH_INDEX.tolist())) == 68
