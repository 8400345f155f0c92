"""Where the skin's texture lies: two islands of MakeHuman's texture plane, the head's and the chest's, packed one above the other.

Colour is a function of the position on the base mesh (`curation.people.skin`), so that islands, seams and stretched triangles do not show.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from curation.people.head import PARTS, load_head
from curation.people.raster import NO_COLLAR, draw_triangles, empty_buffers

_HEAD_U, _HEAD_V = (0.637, 1.0), (0.145, 0.822)  # the island of the head; everything else of the skin is the body's
_BODY_U, _BODY_V = (0.1, 0.66), (0.62, 0.985)
_BODY_SCALE = 0.45  # the chest is further from the eye of whoever looks
_MARGIN_PX = 4


@dataclass(frozen=True)
class Atlas:
    """Attributes:
    shape: (height, width) of the texture.
    uv: (F, 3, 2) float64, texels, of the skin's triangles; 0 elsewhere.
    texel: (N,) int64, index into the flat texture of what the skin covers, a few texels beyond its edge included.
    triangle: (N,) int32, weights: (N, 2) float64: the point of the mesh that a texel shows.
    """

    shape: tuple[int, int]
    uv: np.ndarray
    texel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    def of_vertices(self, values: np.ndarray) -> np.ndarray:
        """(N, C) float32: values (V, C) at the texels."""
        corner = np.asarray(values, np.float32)[load_head().triangles[self.triangle]]
        a, b = self.weights[:, :1].astype(np.float32), self.weights[:, 1:].astype(np.float32)
        return a * corner[:, 0] + b * corner[:, 1] + (1 - a - b) * corner[:, 2]


@functools.lru_cache(maxsize=4)
def atlas(texels_per_unit: int) -> Atlas:
    """The layout at a resolution; a unit is the width of MakeHuman's texture, 7 times the width of a head."""
    head = load_head()
    skin = head.part == PARTS.index("skin")
    middle = head.uv.mean(axis=1)
    on_head = skin & (middle[:, 0] > _HEAD_U[0] - 0.01) & (middle[:, 1] > _HEAD_V[0])
    on_body = skin & ~on_head
    uv = np.zeros_like(head.uv)
    rows = _MARGIN_PX
    width = 0
    for chosen, u, v, scale in ((on_head, _HEAD_U, _HEAD_V, 1.0), (on_body, _BODY_U, _BODY_V, _BODY_SCALE)):
        scale = scale * texels_per_unit
        uv[chosen] = (head.uv[chosen] * [1, -1] + [-u[0], v[1]]) * scale + [_MARGIN_PX, rows]
        rows += int((v[1] - v[0]) * scale) + 2 * _MARGIN_PX
        width = max(width, int((u[1] - u[0]) * scale) + 2 * _MARGIN_PX)
    screen = np.concatenate([uv.reshape(-1, 2), np.ones((uv.shape[0] * 3, 1))], axis=1)
    corners = np.arange(len(screen), dtype=np.int32).reshape(-1, 3)
    nearness, seen, weights = empty_buffers(rows, width)
    yes, no = np.ones(len(corners), bool), np.zeros(len(corners), bool)
    draw_triangles(screen, corners, skin, yes, no, screen, NO_COLLAR, nearness, seen, weights)
    # A texel just beyond the edge takes the value of the nearest one inside, so that interpolation never reads an empty one.
    distance, label = cv2.distanceTransformWithLabels((seen < 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    inside = np.flatnonzero(seen.ravel() >= 0)
    nearest = np.zeros(label.max() + 1, np.int64)
    nearest[label.ravel()[inside]] = inside
    covered = np.flatnonzero(distance.ravel() <= _MARGIN_PX)
    source = nearest[label.ravel()[covered]]
    return Atlas((rows, width), uv, covered, seen.ravel()[source], weights.reshape(-1, 2)[source].astype(np.float64))
