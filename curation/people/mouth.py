"""How much light comes into the mouth: what lies behind the lips is lit through the opening between them alone."""

from __future__ import annotations

import functools

import numpy as np

from curation.people.head import load_head

_HALF_WIDTH_DM = 0.25  # of the opening, on the base mesh
_BEND = 1.9  # 1/dm: how the lips' line falls back to the corners
_LEAST_DEPTH_DM = 0.03


@functools.cache
def _inside() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (K,) inside the mouth, how deep (K,) they lie behind the lips, dm, and the opening's height (K,) there, 1 in the middle."""
    head = load_head()
    vertices = head.vertices_of("mouth", "teeth", "tongue")
    x, _, z = head.positions_dm[vertices].T
    lips_z = head.positions_dm[head.lip_line, 2].mean() - _BEND * np.minimum(np.abs(x), _HALF_WIDTH_DM) ** 2
    return vertices, np.maximum(lips_z - z, _LEAST_DEPTH_DM), np.clip(1 - (x / _HALF_WIDTH_DM) ** 2, 0, 1)


def darken_mouth(occlusion: np.ndarray, gap_dm: float) -> np.ndarray:
    """A copy of (V,) light shares, with those inside the mouth for lips that stand gap_dm apart: a slit's, seen from a depth."""
    vertices, depth_dm, height = _inside()
    opening_dm = gap_dm * height
    lit = occlusion.copy()
    lit[vertices] = opening_dm / (opening_dm + 2 * depth_dm)
    return lit
