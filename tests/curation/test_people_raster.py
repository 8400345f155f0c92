"""The rasteriser against a z-buffer of numpy's and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs the extra `people`")

from curation.landmarks.pose import angles_deg
from curation.people.noise import value_and_gradient
from curation.people.raster import NO_COLLAR, NOTHING, draw_depth, draw_strands, draw_triangles, empty_buffers
from curation.people.surface import normals, project, turn, turn_by_share


def _drawn(screen, triangles, size, two_sided=True):
    nearness, seen, weights = empty_buffers(size, size)
    yes, no = np.ones(len(triangles), bool), np.zeros(len(triangles), bool)
    draw_triangles(screen, triangles, yes, yes if two_sided else no, no, screen, NO_COLLAR, nearness, seen, weights)
    return nearness, seen, weights


def _oracle(screen, triangles, size):
    """Nearness and triangle of every sample, by testing each sample against each triangle."""
    y, x = np.mgrid[:size, :size].astype(float)
    best, which = np.zeros((size, size)), np.full((size, size), NOTHING)
    for t, corners in enumerate(triangles):
        (ax, ay, aw), (bx, by, bw), (cx, cy, cw) = screen[corners]
        matrix = np.array([[ax, bx, cx], [ay, by, cy], [1, 1, 1]])
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        weights = np.linalg.solve(matrix, np.stack([x.ravel(), y.ravel(), np.ones(x.size)])).reshape(3, size, size)
        near = weights[0] * aw + weights[1] * bw + weights[2] * cw
        nearer = (weights > 1e-9).all(axis=0) & (near > best)
        best[nearer], which[nearer] = near[nearer], t
    return best, which


@pytest.mark.parametrize("seed", range(3))
def test_triangles_as_an_oracle_sees_them(seed):
    rng = np.random.default_rng(seed)
    size = 40
    screen = np.column_stack([rng.uniform(-8, size + 8, (60, 2)), rng.uniform(0.05, 0.2, 60)])
    triangles = rng.permutation(60).reshape(20, 3).astype(np.int32)
    nearness, seen, weights = _drawn(screen, triangles, size)
    best, which = _oracle(screen, triangles, size)
    assert (seen != which).mean() < 2e-3  # samples that lie on an edge may go either way
    same = (seen == which) & (seen >= 0)
    np.testing.assert_allclose(nearness[same], best[same], rtol=1e-4)
    # The perspective-correct weights put the sample back where it is: x / depth is linear on the screen.
    a, b = weights[same].astype(float).T
    corner = screen[triangles[seen[same]]]
    depth = 1 / corner[..., 2]
    solid = corner[..., :2] * depth[..., None]
    at = a[:, None] * solid[:, 0] + b[:, None] * solid[:, 1] + (1 - a - b)[:, None] * solid[:, 2]
    z = a * depth[:, 0] + b * depth[:, 1] + (1 - a - b) * depth[:, 2]
    rows, columns = np.nonzero(same)
    np.testing.assert_allclose(at / z[:, None], np.column_stack([columns, rows]), atol=0.02)


def test_the_back_of_a_surface_is_not_drawn():
    screen = np.array([[2, 2, 0.1], [2, 12, 0.1], [12, 2, 0.1]])  # counter-clockwise as seen, with y down
    front = np.array([[0, 1, 2]], np.int32)
    assert (_drawn(screen, front, 16, two_sided=False)[1] >= 0).any()
    assert not (_drawn(screen, front[:, ::-1].copy(), 16, two_sided=False)[1] >= 0).any()
    assert (_drawn(screen, front[:, ::-1].copy(), 16, two_sided=True)[1] >= 0).any()


def test_depth_is_that_of_the_nearest():
    rng = np.random.default_rng(1)
    screen = np.column_stack([rng.uniform(0, 24, (12, 2)), rng.uniform(1, 5, 12)])
    triangles = np.arange(12, dtype=np.int32).reshape(4, 3)
    depth = np.zeros((24, 24), np.float32)
    draw_depth(screen, triangles, np.ones(4, bool), depth)
    best, which = _oracle(screen, triangles, 24)
    assert (np.abs(depth - best) < 1e-4)[which >= 0].mean() > 0.99


def test_a_strand_covers_its_width_and_is_hidden_by_what_is_nearer():
    points = np.array([[4.0, 10.0, 0.1], [26.0, 10.0, 0.1]])
    nearness, seen, weights = empty_buffers(20, 32)
    nearness[:, 20:] = 0.2
    draw_strands(points, np.array([0], np.int32), np.full(2, 0.25, np.float32), np.ones(1, bool), 100.0, 7, nearness, seen, weights)
    assert set(np.unique(seen)) == {NOTHING, 7}
    assert (seen[:, 10] == 7).sum() == 5  # radius 0.25 dm * 100 samples * nearness 0.1 = 2.5 samples on each side
    assert not (seen[:, 20:] == 7).any()
    assert weights[10, 15, 0] == pytest.approx(0.5)


def test_the_camera_is_a_pinhole():
    rng = np.random.default_rng(2)
    points = rng.uniform(-1, 1, (20, 3))
    camera, focal = np.array([0.3, 0.2, 9.0]), 500.0
    screen = np.empty((20, 3))
    project(points, 64.0, 60.0, focal, camera, screen)
    depth = camera[2] - points[:, 2]
    np.testing.assert_allclose(screen[:, 0], 64 + focal * (points[:, 0] - 0.3) / depth)
    np.testing.assert_allclose(screen[:, 1], 60 - focal * (points[:, 1] - 0.2) / depth)
    np.testing.assert_allclose(screen[:, 2], 1 / depth)


@pytest.mark.parametrize("angles", [(20, 0, 0), (0, 10, 0), (0, 0, 15), (25, -8, 12)])
def test_a_turn_has_the_signs_of_the_landmarks_pose(angles):
    other_axes = np.diag([1.0, -1.0, -1.0])
    rotation = other_axes @ turn(*map(float, angles)) @ other_axes
    np.testing.assert_allclose(angles_deg(rotation[None])[0], angles, atol=1e-9)


def test_parts_take_their_share_of_a_turn():
    points = np.array([[1.0, 0, 0]] * 3)
    turn_by_share(points, np.array([0.0, 0.5, 1.0]), np.zeros(3), math.pi / 2, 0.0, 0.0)
    np.testing.assert_allclose(points, [[1, 0, 0], [math.sqrt(0.5), 0, -math.sqrt(0.5)], [0, 0, -1]], atol=1e-12)


def test_normals_of_a_tetrahedron_point_outwards():
    corners = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    np.testing.assert_allclose(normals(corners, faces), corners / math.sqrt(3), atol=1e-9)


def test_the_noise_has_the_gradient_it_says():
    rng = np.random.default_rng(3)
    step = 1e-5
    for place in rng.uniform(-4, 4, (30, 3)):
        value = value_and_gradient(*place, 5)
        assert -1 <= value[0] <= 1
        for axis in range(3):
            ahead, behind = place.copy(), place.copy()
            ahead[axis] += step
            behind[axis] -= step
            slope = (value_and_gradient(*ahead, 5)[0] - value_and_gradient(*behind, 5)[0]) / (2 * step)
            assert slope == pytest.approx(value[1 + axis], abs=1e-6)
