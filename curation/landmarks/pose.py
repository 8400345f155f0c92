"""The turn of a head from its 68 points, against a generic face in three dimensions.

Axes: x to the right of the picture, y down, z away from the camera. A head that faces the camera upright has the identity as rotation.
Angles are those of R = Rz(roll) Ry(-yaw) Rx(pitch), right-handed rotations about the fixed axes, pitch first:

- yaw > 0: the face turns towards the right of the picture (the person's own left);
- pitch > 0: the face looks down;
- roll > 0: the head tilts clockwise as seen in the picture.
"""

from __future__ import annotations

import numpy as np

from curation.blocks import blocks
from curation.landmarks import sixty_eight

# The person's right half and the midline of MediaPipe's canonical face model (Apache-2.0; the vertices of `sixty_eight.MESH_INDEX`), in
# centimetres, turned to the axes above. The left half is its mirror image.
# fmt: off
_RIGHT_HALF_CM = {
    # jaw, ear to chin
    0: (-7.74, -2.36, 2.01), 1: (-7.66, -0.67, 2.44), 2: (-7.27, 2.89, 2.25), 3: (-6.72, 4.79, 1.75),
    4: (-5.94, 6.22, 0.63), 5: (-5.09, 7.18, -0.71), 6: (-3.21, 8.53, -2.80), 7: (-2.31, 8.97, -3.61),
    8: (0, 9.40, -4.26),
    # brow
    17: (-5.72, -4.25, -2.83), 18: (-4.99, -4.80, -3.75), 19: (-3.99, -5.11, -4.47), 20: (-2.76, -5.10, -5.02),
    21: (-1.40, -5.01, -5.32),
    # nose bridge
    27: (0, -2.47, -5.79), 28: (0, -1.73, -6.32), 29: (0, -0.37, -7.24), 30: (0, 0.46, -7.59),
    # nose base, wing to middle
    31: (-1.04, 1.46, -5.66), 32: (-0.60, 2.01, -5.87), 33: (0, 2.09, -6.06),
    # eye
    36: (-4.45, -2.66, -3.17), 37: (-3.67, -2.93, -3.72), 38: (-2.29, -2.89, -3.78), 39: (-1.86, -2.59, -3.76),
    40: (-2.72, -2.32, -3.78), 41: (-3.67, -2.36, -3.64),
    # outer lips: corner, upper, lower
    48: (-2.46, 4.34, -4.28), 49: (-1.43, 3.50, -5.50), 50: (-0.71, 3.33, -5.88), 51: (0, 3.41, -5.98),
    57: (0, 5.37, -5.54), 58: (-0.70, 5.29, -5.45), 59: (-1.84, 4.83, -4.82),
    # inner lips: corner, upper, lower
    60: (-2.15, 4.28, -4.04), 61: (-1.02, 3.99, -4.93), 62: (0, 3.99, -5.22), 66: (0, 4.54, -5.40),
    67: (-1.10, 4.46, -5.12),
}
# fmt: on

FRAMES_AT_ONCE = 3000  # bounds the memory for hours of footage
_MIN_POINTS = 9  # of the 13 rigid ones; any nine span all three dimensions
_MIN_CONFIDENCE = 0.3  # of a point, in 0..1: points below are mostly guesses behind hair, hands or the edge of the picture


def _template_cm() -> np.ndarray:
    template = np.empty((sixty_eight.N_POINTS, 3))
    for point, position in _RIGHT_HALF_CM.items():
        template[point] = position
        template[sixty_eight.FLIP[point]] = np.array(position) * [-1, 1, 1]
    return template


TEMPLATE_CM = _template_cm()  # (68, 3)


def head_rotations(points_px: np.ndarray, confidence: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How the head is turned on every frame.

    Solves the perspective-n-point problem of the 13 rigid points (nose, eye corners) under scaled orthography: the affine map from the
    template to the points by weighted least squares, then the nearest rotation. A crop has lost its camera, and this needs none: cropping,
    shifting and resizing the picture leave the angles as they are. At arm's length and beyond, perspective changes them by a few per cent.

    Args:
        points_px: (T, 68, 2), iBUG order; NaN where the face is not seen.
        confidence: (T, 68) in 0..1, the points' weights; points below 0.3 do not count. None weighs all alike.

    Returns:
        rotations: (T, 3, 3) float64; NaN where the face is not seen or fewer than 9 of the 13 points count.
        residual_px: (T,) float64, mean distance between these points and the posed template.
    """
    rotations, residual_px = np.empty((len(points_px), 3, 3)), np.empty(len(points_px))
    for block in blocks(len(points_px), FRAMES_AT_ONCE):
        rotations[block], residual_px[block] = _rotations(points_px[block], None if confidence is None else confidence[block])
    return rotations, residual_px


def _rotations(points_px: np.ndarray, confidence: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    rigid = sixty_eight.RIGID
    points = np.asarray(points_px, np.float64)[:, rigid]  # (T, 13, 2)
    weights = np.ones(points.shape[:2]) if confidence is None else np.asarray(confidence, np.float64)[:, rigid]
    weights = np.where((weights >= _MIN_CONFIDENCE) & np.isfinite(points).all(axis=2), weights, 0.0)
    rotations, residual_px = np.full((len(points), 3, 3), np.nan), np.full(len(points), np.nan)
    usable = (weights > 0).sum(axis=1) >= _MIN_POINTS
    weights, points = weights[usable], points[usable]
    weights = weights / weights.sum(axis=1, keepdims=True)
    points = np.where(weights[..., None] > 0, points, 0.0)

    template = TEMPLATE_CM[rigid]
    solid = template - (weights @ template)[:, None]  # (U, 13, 3)
    flat = points - np.einsum("tk,tkc->tc", weights, points)[:, None]  # (U, 13, 2)
    spread = np.einsum("tk,tki,tkj->tij", weights, solid, solid)
    mixed = np.einsum("tk,tki,tkc->tic", weights, solid, flat)
    affine = np.linalg.solve(spread, mixed).transpose(0, 2, 1)  # (U, 2, 3)

    left, scales, right = np.linalg.svd(affine, full_matrices=False)
    across_down = left @ right  # (U, 2, 3), orthonormal rows
    away = np.cross(across_down[:, 0], across_down[:, 1])
    rotations[usable] = np.concatenate([across_down, away[:, None]], axis=1)
    posed = np.einsum("tki,tci->tkc", solid, across_down) * scales.mean(axis=1)[:, None, None]
    residual_px[usable] = np.einsum("tk,tk->t", weights, np.linalg.norm(flat - posed, axis=2))
    return rotations, residual_px


def angles_deg(rotations: np.ndarray) -> np.ndarray:
    """(..., 3) yaw in -90..90, pitch and roll in -180..180 degrees of (..., 3, 3) rotations; NaN stays NaN."""
    yaw = np.arcsin(np.clip(rotations[..., 2, 0], -1, 1))
    pitch = np.arctan2(rotations[..., 2, 1], rotations[..., 2, 2])
    roll = np.arctan2(rotations[..., 1, 0], rotations[..., 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))


def turn_deg(rotations: np.ndarray) -> np.ndarray:
    """(...) angle in 0..180 degrees of the one rotation that takes the upright frontal head to this pose, of (..., 3, 3) rotations."""
    return np.degrees(np.arccos(np.clip((np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))
