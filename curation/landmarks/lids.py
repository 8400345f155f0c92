"""How far eyes are open, read by a network that looks at one eye alone.

The face mesh hardly moves its lids: between an open eye and a closed one of the sample clips its opening falls by a tenth, and follows the
planted one with a correlation of 0.3 to 0.4. MediaPipe's iris network sees the same eyes at the same size with 0.92 to 0.94.
"""

from __future__ import annotations

import math

import numpy as np

from curation.landmarks.mesh import Roi, crop_square
from curation.landmarks.networks import Network
from curation.landmarks.sixty_eight import interocular

ROI_SCALE = 2.3  # side of the square over the distance between the eye's corners (MediaPipe's iris graph)
N_CONTOUR_POINTS = 71  # the first 9 go along the lower lid from the outer corner to the inner, the next 7 along the upper between them
N_IRIS_POINTS = 5  # the centre, then four on the rim
_LOWER, _UPPER = [3, 4, 5], [11, 12, 13]  # the middles of the lids, each upper point above its lower
_RIGHT_CORNERS, _LEFT_CORNERS = (36, 39), (42, 45)  # among the 68 points, the one further left in an upright picture first


class LidNetwork:
    """`iris_landmark.tflite` (Ablavatski et al., "Real-time Pupil Tracking from Monocular Video for Digital Puppetry", 2020): a 64 px crop
    of an eye → its contour."""

    def __init__(self) -> None:
        self.network = Network("iris_landmark.tflite")

    def openings(self, frames: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(T,) mean distance of the middles of the lids over the distance between the eye centres; NaN where no face is seen.

        Args:
            frames: (T, H, W, 3) uint8 RGB, or anything that yields T such pictures.
            points_px: (T, 68, 2) landmarks, of which only the corners of the eyes are used; NaN where no face is seen.
        """
        return np.array([self.opening(frame, points) for frame, points in zip(frames, points_px, strict=True)])

    def opening(self, rgb: np.ndarray, points_px: np.ndarray) -> float:
        """`openings` of one picture and its (68, 2) points."""
        points = np.asarray(points_px, np.float64)
        distance = float(interocular(points[None])[0])
        if not (np.isfinite(points).all() and distance > 0):
            return float("nan")
        gaps = [np.linalg.norm(contour[_UPPER] - contour[_LOWER], axis=1).mean() for contour in self.contours(rgb, points)]
        return float(np.mean(gaps)) / distance

    def contours(self, rgb: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(2, 71, 2) float32 contour of the person's right and left eye, in px of the picture."""
        right, left = (points_px[list(corners)] for corners in (_RIGHT_CORNERS, _LEFT_CORNERS))
        return np.stack([self._contour(rgb, right, mirrored=True), self._contour(rgb, left, mirrored=False)])

    def irises(self, rgb: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(2, 2) float32 centres of the person's right and left iris, in px of the picture; see `contours`."""
        right, left = (points_px[list(corners)] for corners in (_RIGHT_CORNERS, _LEFT_CORNERS))
        return np.stack([self._points(rgb, right, N_IRIS_POINTS, True)[0], self._points(rgb, left, N_IRIS_POINTS, False)[0]])

    def _contour(self, rgb: np.ndarray, corners_px: np.ndarray, mirrored: bool) -> np.ndarray:
        """(71, 2) of the eye between two corners."""
        return self._points(rgb, corners_px, N_CONTOUR_POINTS, mirrored)

    def _points(self, rgb: np.ndarray, corners_px: np.ndarray, count: int, mirrored: bool) -> np.ndarray:
        """(count, 2) of the eye between two corners (2, 2). The network knows the person's left eye: a right one is shown to it
        mirrored."""
        size = self.network.size_px
        (x, y), (along_x, along_y) = corners_px.mean(axis=0).tolist(), (corners_px[1] - corners_px[0]).tolist()
        roi = Roi(x, y, ROI_SCALE * math.hypot(along_x, along_y), math.atan2(along_y, along_x))
        eye = crop_square(rgb, roi, size)
        outputs = self.network.run(np.ascontiguousarray(eye[:, ::-1]) if mirrored else eye, 1 / 255, 0)
        points = next(out for out in outputs if out.size == 3 * count).reshape(-1, 3)[:, :2].astype(np.float64)
        if mirrored:
            points[:, 0] = size - points[:, 0]
        matrix = roi.matrix(size)
        return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
