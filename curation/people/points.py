"""The 68 points of the iBUG mark-up on the mesh: places that ride on its surface.

Which place of a contour a point takes is a convention; the project's is that of its FaceMesh backend (`curation.landmarks.sixty_eight`). So
the places on brows, nose, outer lips and jaw are those of the surface whose projection lies nearest to that network's points, one place for
everyone, both halves of the face together: `python -m benchmarks.people.places` fits them on people who speak and turn, and measures the
agreement on people kept out. Lids and inner lips are not left to a network: they lie on the edge of the lid where the lashes grow, and on
the line where the lips touch, so that a shut eye and a closed mouth have no gap.

Along the jaw's line a mark-up spreads its points evenly over the face that it sees, so the same place of the mesh would slide along it from
one person to the next: a wide chin takes the points with it. The jaw's points therefore lie, on each person's face at rest, at fixed angles
about the middle between the eyes, seen from the front; from then on they keep to the skin, as the network's do: turned away, they go behind
the cheek and are marked as hidden, and do not slide along the outline.
"""

from __future__ import annotations

import functools

import numpy as np

from curation.landmarks.sixty_eight import FLIP, N_POINTS
from curation.people.face_hair import lash_sheets
from curation.people.head import PARTS, load_head

# Places on the base mesh, dm, of the person's right half and the middle.
# fmt: off
_ON_SKIN_DM = {
    0: (-0.694, 7.264, 0.835), 1: (-0.695, 7.127, 0.837), 2: (-0.657, 6.853, 0.852), 3: (-0.617, 6.692, 0.831), 4: (-0.543, 6.580, 1.007),
    5: (-0.477, 6.496, 1.100), 6: (-0.315, 6.332, 1.268), 7: (-0.237, 6.261, 1.323), 8: (0.0, 6.189, 1.419),
    17: (-0.559, 7.413, 1.233), 18: (-0.502, 7.464, 1.303), 19: (-0.401, 7.505, 1.386), 20: (-0.293, 7.507, 1.444),
    21: (-0.132, 7.502, 1.506),
    27: (0.0, 7.269, 1.512), 28: (0.0, 7.205, 1.533), 29: (0.0, 7.076, 1.602), 30: (0.0, 7.003, 1.652),
    31: (-0.116, 6.871, 1.586), 32: (-0.057, 6.817, 1.552), 33: (0.0, 6.827, 1.603),
    36: (-0.450, 7.289, 1.349), 39: (-0.177, 7.276, 1.382),
    48: (-0.248, 6.614, 1.374), 49: (-0.145, 6.697, 1.546), 50: (-0.066, 6.704, 1.592), 51: (0.0, 6.686, 1.601),
    57: (0.0, 6.527, 1.562), 58: (-0.054, 6.530, 1.549), 59: (-0.193, 6.570, 1.468),
}
_LID_X_DM = {37: -0.383, 38: -0.230, 40: -0.267, 41: -0.364}
# Angles about the middle between the eyes of the jaw's points of the right half, from the right of the face (0) to straight down (-90).
JAW_ANGLES_DEG = {1: -14.2, 2: -35.6, 3: -45.7, 4: -54.1, 5: -60.7, 6: -73.0, 7: -77.9}
_STEPS_OF_LINE = 16  # places between two of the jaw line's
FITTED_POINTS = tuple(point for point in _ON_SKIN_DM if point not in (36, 39))  # the eyes' corners are the mesh's own
_UPPER_LID = (37, 38)
# MakeHuman's vertices of the line where the lips touch, of the person's left half: its right is found by mirroring.
_INNER_LIPS = {62: 474, 63: 7226, 64: 7190, 65: 7236, 66: 493}
# fmt: on


def on_surface(positions_dm: np.ndarray, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, 3): where places given by vertices (N, 3) and weights (N, 2) of the first two lie, the mesh's vertices being at (V, 3)."""
    corner, a, b = positions_dm[vertices], weights[:, :1], weights[:, 1:]
    return np.asarray(a * corner[:, 0] + b * corner[:, 1] + (1 - a - b) * corner[:, 2])


@functools.cache
def anchors(places: tuple[tuple[int, tuple[float, ...]], ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (68, 3) int32 and weights (68, 2) float64 of the first two of them.

    Args:
        places: (point, place in dm on the base mesh) in place of the fitted ones.
    """
    head = load_head()
    vertices, weights = np.zeros((N_POINTS, 3), np.int32), np.zeros((N_POINTS, 2))
    place = {int(number): vertex for vertex, number in enumerate(head.number)}
    for point, position in {**_ON_SKIN_DM, **dict(places)}.items():
        vertices[point], weights[point] = _nearest(np.array(position))
    for point, x in _LID_X_DM.items():
        vertices[point], weights[point] = _on_lid(x, upper=point in _UPPER_LID)
    for point, number in _INNER_LIPS.items():
        vertices[point], weights[point] = place[number], (1.0, 0.0)
    done = {*_ON_SKIN_DM, *_LID_X_DM, *_INNER_LIPS}
    for point in sorted(set(range(N_POINTS)) - done):
        vertices[point], weights[point] = head.mirror[vertices[FLIP[point]]], weights[FLIP[point]]
    return vertices, weights


def anchors_of(rest_dm: np.ndarray, angles_deg: dict[int, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As `anchors`, the jaw's points at their angles on a person's own face.

    Args:
        rest_dm: (V, 3) the person's face at rest, head on.
        angles_deg: of the right half's points, in place of the fitted ones.
    """
    vertices, weights = (part.copy() for part in anchors())
    for line, of in ((jaw_line(), lambda point: point), (jaw_line(left=True), lambda point: int(FLIP[point]))):
        at = line_angles_deg(rest_dm, *line)
        for point, angle_deg in (angles_deg or JAW_ANGLES_DEG).items():
            nearest = int(np.abs(at - angle_deg).argmin())
            vertices[of(point)], weights[of(point)] = line[0][nearest], line[1][nearest]
    return vertices, weights


@functools.cache
def jaw_line(left: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Places from the ear (point 0) to the chin (point 8) along the jaw of the right half of the face, or of the left."""
    corners = np.array([_ON_SKIN_DM[point] for point in range(9)])
    at = np.arange(8 * _STEPS_OF_LINE + 1) / _STEPS_OF_LINE
    line = np.stack([np.interp(at, np.arange(9), corners[:, axis]) for axis in range(3)], axis=1)
    vertices, weights = (np.array(part) for part in zip(*(_nearest(position) for position in line), strict=True))
    return (load_head().mirror[vertices], weights) if left else (vertices, weights)


def line_angles_deg(rest_dm: np.ndarray, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,) at which angles about the middle between the eyes places lie on a face at rest (V, 3): 0 to the side, -90 straight down."""
    middle = np.mean([rest_dm[eye].mean(axis=0) for eye in load_head().eyes], axis=0)
    aside, up = (on_surface(rest_dm, vertices, weights) - middle)[:, :2].T
    return np.degrees(np.arctan2(up, np.abs(aside)))


def _nearest(position_dm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of the skin nearest to a position: a triangle's vertices, weights of the first two."""
    head = load_head()
    triangles = head.triangles[head.part == PARTS.index("skin")]
    corners = head.positions_dm[triangles]
    near = np.argsort(np.linalg.norm(corners.mean(axis=1) - position_dm, axis=1))[:40]
    a, b, c = (corners[near, k] for k in range(3))
    e0, e1, d = a - c, b - c, position_dm - c
    d00, d01, d11, f0, f1 = ((u * v).sum(axis=1) for u, v in ((e0, e0), (e0, e1), (e1, e1), (d, e0), (d, e1)))
    determinant = d00 * d11 - d01 * d01
    weights = np.stack([(d11 * f0 - d01 * f1) / determinant, (d00 * f1 - d01 * f0) / determinant], axis=1)
    weights = np.clip(np.column_stack([weights, 1 - weights.sum(axis=1)]), 0, 1)
    weights /= weights.sum(axis=1, keepdims=True)
    best = np.linalg.norm(np.einsum("tk,tkc->tc", weights, corners[near]) - position_dm, axis=1).argmin()
    return triangles[near[best]], weights[best, :2]


def _on_lid(x_dm: float, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """The place on the edge of the right eye's lid at x."""
    head = load_head()
    rows = [sheet[0] for sheet in lash_sheets() if head.positions_dm[sheet[0], 0].mean() < 0]
    row = sorted(rows, key=lambda edge: head.positions_dm[edge, 1].mean())[1 if upper else 0]
    x = head.positions_dm[row, 0]  # falling: from the middle of the face outwards
    k = int(np.flatnonzero((x[:-1] >= x_dm) & (x[1:] <= x_dm))[0])
    along = (x_dm - x[k]) / (x[k + 1] - x[k])
    return np.array([row[k], row[k + 1], row[k + 1]]), np.array([1 - along, along])
