"""The 468-point face mesh (Kartynnik et al., 2019): which square to look at, and its points back in the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from curation.landmarks import sixty_eight
from curation.landmarks.detector import LEFT_EYE, RIGHT_EYE, Detection
from curation.landmarks.networks import Network, sigmoid
from curation.landmarks.resampling import averaged, power_of_two

ROI_SCALE = 1.5  # side of the square over the longer side of the face box
_RIGHT_OUTER_CORNER, _LEFT_OUTER_CORNER, _RIGHT_EAR, _LEFT_EAR = 33, 263, 234, 454
_DOWN_THE_FACE = np.array([10, _RIGHT_OUTER_CORNER, _LEFT_OUTER_CORNER, 4, 61, 291, 152])  # forehead, eyes, tip of the nose, mouth, chin

NUDGES = ((1.0, 0.0, 0.0), (1.08, 0.0, 0.0), (0.93, 0.0, 0.0), (1.0, 0.03, 0.0), (1.0, -0.03, 0.0), (1.0, 0.0, 0.03), (1.0, 0.0, -0.03))
"""Squares about a face that the mesh network reads equally well: factor of the side, shifts in sides."""


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
        x0, y0, x1, y1 = box_px.tolist()
        along_x, along_y = (left_eye_px - right_eye_px).tolist()
        return cls((x0 + x1) / 2, (y0 + y1) / 2, ROI_SCALE * max(x1 - x0, y1 - y0), math.atan2(along_y, along_x))

    @classmethod
    def from_detection(cls, detection: Detection) -> Roi:
        return cls.around(detection.box_px, detection.keypoints_px[RIGHT_EYE], detection.keypoints_px[LEFT_EYE])

    @classmethod
    def from_mesh(cls, points_px: np.ndarray) -> Roi:
        """Where to look in the next frame, from (468, 2 or 3) points of this one."""
        xy = points_px[:, :2]
        box_px = np.concatenate([xy.min(axis=0), xy.max(axis=0)])
        return cls.around(box_px, *eye_corners(points_px))

    def nudged(self, scale: float, right: float, down: float) -> Roi:
        """Larger by a factor, shifted by parts of its side."""
        return replace(self, x_px=self.x_px + right * self.side_px, y_px=self.y_px + down * self.side_px, side_px=self.side_px * scale)

    def matrix(self, size_px: int) -> np.ndarray:
        """(2, 3) float64: from a size_px square crop to the picture, both with pixel i covering i..i+1."""
        scale = self.side_px / size_px
        cos, sin = math.cos(self.angle_rad) * scale, math.sin(self.angle_rad) * scale
        half = size_px / 2
        return np.array([[cos, -sin, self.x_px - half * (cos - sin)], [sin, cos, self.y_px - half * (sin + cos)]])


@dataclass(frozen=True)
class MeshFace:
    """One face in one picture.

    Attributes:
        mesh_px: (468, 3) float32; x right, y down in pixels; z in the same scale, smaller = nearer to the camera.
        presence: 0..1, the network's belief that the square shows a face.
        is_upright: within the square, the points lie as a face's do (`_lies_like_a_face`).
    """

    mesh_px: np.ndarray
    presence: float
    is_upright: bool

    @property
    def points_px(self) -> np.ndarray:
        """(68, 2) float32, iBUG order."""
        return sixty_eight.from_mesh(self.mesh_px[:, :2])

    @property
    def box_px(self) -> np.ndarray:
        """(4,) box of the 68 points."""
        return point_box(self.points_px)


def eye_corners(mesh_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outer corners (2,) of the right and of the left eye of (468, 2 or 3) points."""
    return mesh_px[_RIGHT_OUTER_CORNER, :2], mesh_px[_LEFT_OUTER_CORNER, :2]


def point_box(points_px: np.ndarray) -> np.ndarray:
    """Box (..., 4) x0, y0, x1, y1 of (..., N, 2) points."""
    return np.concatenate([points_px.min(axis=-2), points_px.max(axis=-2)], axis=-1)


class MeshNetwork:
    """`face_landmark.tflite`: 192 px crop -> 468 vertices and a face flag."""

    def __init__(self) -> None:
        self.network = Network("face_landmark.tflite")

    def locate(self, rgb: np.ndarray, roi: Roi) -> MeshFace:
        """The face in the square `roi` of a (H, W, 3) uint8 picture; black is assumed beyond its edges."""
        size = self.network.size_px
        matrix = roi.matrix(size)
        raw_points, raw_flag = self.network.run(crop_square(rgb, roi, size), 1 / 255, 0)
        points = raw_points.reshape(-1, 3)
        points[:, :2] += 0.5  # the network counts from pixel centres: a mirrored picture moves its points by one pixel of the crop
        to_picture = np.zeros((3, 3), np.float32)
        to_picture[:2, :2] = matrix[:, :2]
        to_picture[2, 2] = roi.side_px / size
        mesh_px = points @ to_picture.T
        mesh_px[:, :2] += matrix[:, 2].astype(np.float32)
        return MeshFace(mesh_px, sigmoid(raw_flag.item()), _lies_like_a_face(points, size))

    def locate_often(self, rgb: np.ndarray, roi: Roi, looks: int) -> MeshFace:
        """As `locate`, the points' mean over the first `looks` of `NUDGES`; what else is said of the face is of the square itself."""
        faces = [self.locate(rgb, roi.nudged(*nudge)) for nudge in NUDGES[:looks]]
        return replace(faces[0], mesh_px=np.mean([face.mesh_px for face in faces], axis=0))


def _lies_like_a_face(points: np.ndarray, size: int) -> bool:
    """Whether (468, 3) points in a square of `size` make a face: not tiny, not beyond the square, eyes over nose over mouth over chin."""
    forehead_y, right_eye_y, left_eye_y, nose_y, right_mouth_y, left_mouth_y, chin_y = points[_DOWN_THE_FACE, 1].tolist()
    height, width = chin_y - forehead_y, abs(points[_LEFT_EAR, 0].item() - points[_RIGHT_EAR, 0].item())
    right_size = 0.25 * size < max(width, height) < 1.1 * size
    return right_size and (right_eye_y + left_eye_y) / 2 < nose_y < (right_mouth_y + left_mouth_y) / 2 < chin_y


def crop_square(rgb: np.ndarray, roi: Roi, size: int) -> np.ndarray:
    """The rotated square as (size, size, 3) uint8, black beyond the picture."""
    import cv2

    # A bilinear warp reads 2 x 2 pixels and would skip some of a much larger square, so its surroundings are averaged first.
    height, width = rgb.shape[:2]
    n = power_of_two(roi.side_px / size, height, width)
    reach = roi.side_px / 2 * (abs(math.cos(roi.angle_rad)) + abs(math.sin(roi.angle_rad)))
    x0, y0 = max(0, math.floor(roi.x_px - reach)), max(0, math.floor(roi.y_px - reach))
    x1, y1 = min(width, math.ceil(roi.x_px + reach) + n), min(height, math.ceil(roi.y_px + reach) + n)
    if n > 1 and x1 - x0 >= n and y1 - y0 >= n:
        rgb = averaged(rgb[y0:y1, x0:x1], n)
        roi = Roi((roi.x_px - x0) / n, (roi.y_px - y0) / n, roi.side_px / n, roi.angle_rad)
    matrix = roi.matrix(size)
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5  # warpAffine counts from pixel centres, `Roi.matrix` from their edges
    return cv2.warpAffine(rgb, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
