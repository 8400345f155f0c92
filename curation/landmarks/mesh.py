"""The 468-point face mesh (Kartynnik et al., 2019): which square to look at, and its points back in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.landmarks.detector import LEFT_EYE, RIGHT_EYE, Detection
from curation.landmarks.networks import Network

ROI_SCALE = 1.5  # side of the square over the longer side of the face box
_RIGHT_OUTER_CORNER, _LEFT_OUTER_CORNER = 33, 263


@dataclass(frozen=True)
class Roi:
    """A rotated square: centre and side in px, angle in radians, positive turning x towards y (clockwise on screen)."""

    x_px: float
    y_px: float
    side_px: float
    angle_rad: float

    @classmethod
    def around(cls, box_px: np.ndarray, right_eye_px: np.ndarray, left_eye_px: np.ndarray) -> Roi:
        """The square about a box (4,), upright with the line between the eyes."""
        x0, y0, x1, y1 = (float(v) for v in box_px)
        along_x, along_y = (float(v) for v in left_eye_px - right_eye_px)
        return cls((x0 + x1) / 2, (y0 + y1) / 2, ROI_SCALE * max(x1 - x0, y1 - y0), float(np.arctan2(along_y, along_x)))

    @classmethod
    def from_detection(cls, detection: Detection) -> Roi:
        return cls.around(detection.box_px, detection.keypoints_px[RIGHT_EYE], detection.keypoints_px[LEFT_EYE])

    @classmethod
    def from_mesh(cls, points_px: np.ndarray) -> Roi:
        """Where to look in the next frame, from (468, 2 or 3) points of this one."""
        xy = points_px[:, :2]
        box_px = np.concatenate([xy.min(axis=0), xy.max(axis=0)])
        return cls.around(box_px, xy[_RIGHT_OUTER_CORNER], xy[_LEFT_OUTER_CORNER])

    def matrix(self, size_px: int) -> np.ndarray:
        """(2, 3) float64: from a size_px square crop to the picture, both with pixel i covering i..i+1."""
        scale = self.side_px / size_px
        cos, sin = np.cos(self.angle_rad) * scale, np.sin(self.angle_rad) * scale
        half = size_px / 2
        return np.array([[cos, -sin, self.x_px - half * (cos - sin)], [sin, cos, self.y_px - half * (sin + cos)]])


@dataclass(frozen=True)
class MeshFace:
    """One face in one picture.

    Attributes:
        mesh_px: (468, 3) float32; x right, y down in pixels; z in the same scale, smaller = nearer to the camera.
        presence: 0..1, the network's belief that the square shows a face.
    """

    mesh_px: np.ndarray
    presence: float


class MeshNetwork:
    """`face_landmark.tflite`: 192 px crop -> 468 vertices and a face flag."""

    def __init__(self):
        self.network = Network("face_landmark.tflite")

    def locate(self, rgb: np.ndarray, roi: Roi) -> MeshFace:
        """The face in the square `roi` of a (H, W, 3) uint8 picture; black is assumed beyond its edges."""
        size = self.network.size_px
        matrix = roi.matrix(size)
        raw_points, raw_flag = self.network.run(self._crop(rgb, matrix, roi.side_px), 1 / 255, 0)
        points = raw_points.reshape(-1, 3).astype(np.float64)
        mesh_px = np.empty_like(points, dtype=np.float32)
        mesh_px[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        mesh_px[:, 2] = points[:, 2] * (roi.side_px / size)
        return MeshFace(mesh_px, float(1 / (1 + np.exp(-np.clip(raw_flag.ravel()[0], -80, 80)))))

    def _crop(self, rgb: np.ndarray, matrix: np.ndarray, side_px: float) -> np.ndarray:
        import cv2

        size = self.network.size_px
        # A bilinear warp reads 2x2 pixels; beyond a 2-fold reduction it would skip some, so average over several samples a pixel.
        samples = int(np.clip(side_px / size // 2, 1, 4))
        # warpAffine counts from pixel centres, the matrix from pixel edges.
        to_edges = np.array([[1 / samples, 0, 0.5 / samples], [0, 1 / samples, 0.5 / samples], [0, 0, 1]])
        from_centres = matrix @ to_edges - np.array([[0, 0, 0.5], [0, 0, 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(rgb, from_centres, (size * samples, size * samples), flags=flags, borderMode=cv2.BORDER_CONSTANT)
        return crop if samples == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
