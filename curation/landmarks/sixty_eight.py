"""The fixed map from the 468 vertices of the face mesh to the 68 points of the iBUG mark-up, and what its points mean.

"Right" and "left" are the person's own: the right eye is on the left of an unmirrored picture. Order and numbering (from 0) follow
Sagonas et al., "300 Faces in-the-Wild Challenge", ICCV Workshops 2013. The mesh topology is that of Kartynnik et al., "Real-time Facial
Surface Geometry from Monocular Video on Mobile GPUs", 2019.
"""

from __future__ import annotations

import numpy as np

N_POINTS = 68
N_MESH_POINTS = 468

JAW = slice(0, 17)  # from the person's right ear over the chin (8) to the left ear
RIGHT_BROW = slice(17, 22)  # outer to inner end
LEFT_BROW = slice(22, 27)  # inner to outer end
NOSE_BRIDGE = slice(27, 31)  # between the eyes down to the tip (30)
NOSE_BASE = slice(31, 36)  # right wing to left wing
RIGHT_EYE = slice(36, 42)  # outer corner, upper lid, inner corner (39), lower lid
LEFT_EYE = slice(42, 48)  # inner corner, upper lid, outer corner (45), lower lid
OUTER_LIPS = slice(48, 60)  # right corner, upper lip, left corner (54), lower lip
INNER_LIPS = slice(60, 68)  # right corner, upper lip, left corner (64), lower lip
LIPS = slice(48, 68)

# Points that speech and blinking hardly move: nose bridge, nose base and the four eye corners.
RIGID = np.array([27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])

# Corners, tips and the lips' middles are the vertices of those names; the others are, of the vertices on the same contour, those that lie
# nearest to an independent 66-point network's points on 70 frontal faces (docs/landmarks.md).
# fmt: off
MESH_INDEX = np.array([
    127, 234, 132, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 361, 454, 356,  # jaw
    70, 63, 105, 66, 107,  # right brow
    336, 296, 334, 293, 300,  # left brow
    6, 197, 5, 4,  # nose bridge
    75, 97, 2, 326, 305,  # nose base
    33, 160, 157, 133, 153, 144,  # right eye
    362, 384, 387, 263, 373, 380,  # left eye
    61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,  # outer lips
    78, 81, 13, 311, 308, 402, 14, 178,  # inner lips
])

# FLIP[i] is the point of the mirrored face that takes the place of point i.
FLIP = np.array([
    *range(16, -1, -1),
    *range(26, 16, -1),
    27, 28, 29, 30,
    35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
])
# fmt: on


def from_mesh(mesh: np.ndarray) -> np.ndarray:
    """Pick the 68 points of (..., 468, C) mesh vertices: (..., 68, C)."""
    if mesh.shape[-2] != N_MESH_POINTS:
        raise ValueError(f"a face mesh has {N_MESH_POINTS} vertices, not {mesh.shape[-2]}")
    return mesh[..., MESH_INDEX, :]


def eye_centres(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the right and of the left eye of (..., 68, C) points, as the mean of each eye's six: two (..., C)."""
    return points[..., RIGHT_EYE, :].mean(axis=-2), points[..., LEFT_EYE, :].mean(axis=-2)


def interocular(points: np.ndarray) -> np.ndarray:
    """Distance between the eye centres of (..., 68, C) points: (...), in the points' unit."""
    right, left = eye_centres(points)
    return np.linalg.norm(left - right, axis=-1)
