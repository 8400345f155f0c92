"""The animated face back in the whole portrait: the crop's middle replaces the picture's, its rim fades over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from curation.face_crop import transform_points, warp
from inference.driving.amplitude import inverse

if TYPE_CHECKING:
    from inference.driving.reference import Reference

FEATHER = 0.12  # of the crop's side: width of the rim over which the portrait fades into the animation
_EDGE_PX = 2.0  # the same where the crop reaches beyond the picture: resampling mixes in the black from there
_STRIP_PX = 128


class PasteBack:
    """Puts frames of one crop into its picture. What does not change from frame to frame is worked out once.

    Args:
        reference: the portrait and where its crop lies.
        feather: width of the soft rim over the crop's side, above 0 and up to 0.5; it lies within the crop.
    """

    def __init__(self, reference: Reference, feather: float = FEATHER):
        if not 0 < feather <= 0.5:
            raise ValueError(f"feather is {feather}; it must lie in 0..0.5")
        height, width = reference.rgb.shape[:2]
        x, y, side = reference.square
        left, top = math.floor(x - side / 2), math.floor(y - side / 2)
        self._side = math.ceil(side) + 1
        self._size_px = reference.size_px
        self._picture = reference.rgb
        # Crop px to px of the square of whole pixels that holds the crop.
        self._matrix = inverse(reference.matrix) - np.array([[0, 0, left], [0, 0, top]])
        self._x0, self._y0 = max(0, left), max(0, top)
        self._x1, self._y1 = min(width, left + self._side), min(height, top + self._side)
        # Only what lies on the picture is worked out: a crop may be many times as large, where a small face crosses a large driver.
        self._shown = self._matrix - np.array([[0, 0, self._x0 - left], [0, 0, self._y0 - top]])
        self._weight = self._weights(feather, slice(self._x0 - left, self._x1 - left), slice(self._y0 - top, self._y1 - top))[..., None]

    @property
    def weight(self) -> np.ndarray:
        """(H, W) float32 0..1: how much of each of the picture's pixels is replaced."""
        whole = np.zeros(self._picture.shape[:2], np.float32)
        whole[self._y0 : self._y1, self._x0 : self._x1] = self._weight[..., 0]
        return whole

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8: the portrait with an (S, S, 3) uint8 frame of its crop pasted in. Outside the crop no bit changes."""
        if rgb.shape != (self._size_px, self._size_px, 3):
            raise ValueError(f"a frame of shape {rgb.shape} for a crop of {self._size_px} px")
        height, width = self._y1 - self._y0, self._x1 - self._x0
        pasted = warp(rgb, self._shown, max(1, height, width))[:height, :width]
        whole = self._picture.copy()
        place = whole[self._y0 : self._y1, self._x0 : self._x1]
        for top in range(0, height, _STRIP_PX):  # floating point takes eight times the memory of a large portrait
            rows = slice(top, top + _STRIP_PX)
            place[rows] = np.round(place[rows] + self._weight[rows] * (pasted[rows].astype(np.float32) - place[rows]))
        return whole

    def _weights(self, feather: float, columns: slice, rows: slice) -> np.ndarray:
        """(h, w) float32 of these rows and columns of the square: 1 in the middle, falling smoothly to 0 at the crop's border."""
        middles = np.arange(self._side) + 0.5
        to_crop = inverse(self._matrix)
        along = transform_points(np.stack([middles, middles], axis=1), to_crop) / self._size_px  # the map does not turn: x and y apart
        rim = np.minimum(along, 1 - along).clip(0, feather) / feather
        # The part that lies on the picture, and how far its pixels are from those of its sides that the crop passes over.
        edge_px = _EDGE_PX * max(1.0, self._side / self._size_px)
        for axis, part in ((0, columns), (1, rows)):
            for passed, distance in ((part.start > 0, middles - part.start), (part.stop < self._side, part.stop - middles)):
                if passed:
                    rim[:, axis] = np.minimum(rim[:, axis], (distance / edge_px).clip(0, 1))
        smooth = rim * rim * (3 - 2 * rim)
        return np.minimum(smooth[None, columns, 0], smooth[rows, None, 1]).astype(np.float32)
