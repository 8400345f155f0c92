"""Face boxes by BlazeFace (Bazarevsky et al., 2019): letterbox, SSD anchors, weighted non-maximum suppression.

Constants as MediaPipe publishes them for its short-range (128 px) and full-range (192 px) models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.landmarks.networks import Network
from curation.landmarks.resampling import averaged, power_of_two

RIGHT_EYE, LEFT_EYE, NOSE_TIP, MOUTH = range(4)  # the key points used here; 4 and 5 are the ears


@dataclass(frozen=True)
class Detection:
    """A face box.

    Attributes:
        score: 0..1.
        box_px: (4,) float32 x0, y0, x1, y1; may reach beyond the frame.
        keypoints_px: (6, 2) float32 right eye, left eye, nose tip, mouth, right ear, left ear.
    """

    score: float
    box_px: np.ndarray
    keypoints_px: np.ndarray

    @property
    def size_px(self) -> float:
        """The longer side of the box."""
        return float(max(self.box_px[2] - self.box_px[0], self.box_px[3] - self.box_px[1]))


def anchor_centres(grids: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Centres (N, 2) in 0..1 of the fixed-size anchors, row by row; `grids` are (cells a side, anchors a cell)."""
    centres = []
    for cells, per_cell in grids:
        axis = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(axis, axis, indexing="ij")
        centres.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), per_cell, axis=0))
    return np.concatenate(centres)


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one (4,) box with (N, 4) boxes: (N,)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return intersection / np.maximum(np.prod(box[2:] - box[:2]) + areas - intersection, 1e-9)


def weighted_nms(detections: list[Detection], max_iou: float = 0.3) -> list[Detection]:
    """Merge overlapping detections into their score-weighted mean, best first; the merged score is the best one's."""
    if len(detections) < 2:
        return list(detections)
    detections = sorted(detections, key=lambda d: -d.score)
    scores = np.array([d.score for d in detections], np.float32)
    boxes = np.stack([d.box_px for d in detections])
    keypoints = np.stack([d.keypoints_px for d in detections])
    left = np.arange(len(detections))
    merged = []
    while len(left):
        best = left[0]
        same = left[iou(boxes[best], boxes[left]) > max_iou]
        same = same if len(same) else left[:1]
        weights = scores[same] / scores[same].sum()
        merged.append(Detection(float(scores[best]), weights @ boxes[same], np.tensordot(weights, keypoints[same], axes=1)))
        left = np.setdiff1d(left, same, assume_unique=True)
    return merged


def search_squares(height_px: int, width_px: int, min_side_px: int) -> list[tuple[int, int, int]]:
    """Overlapping squares (x0, y0, side) that cover a frame, their side half the frame's longer one; none for a frame of less than
    `min_side_px`, which the detector sees well enough as a whole."""
    side = -(-max(height_px, width_px) // 2)
    if 2 * side < min_side_px:
        return []

    def starts(length_px: int) -> list[int]:
        last = max(0, length_px - side)
        n = 1 + -(-2 * last // side)  # at least half a square of overlap, so that no face is cut in all of them
        return sorted({round(last * i / max(n - 1, 1)) for i in range(n)})

    return [(x0, y0, side) for y0 in starts(height_px) for x0 in starts(width_px)]


def _turned(points: np.ndarray) -> np.ndarray:
    """(..., 2) points of the unit square after it was turned clockwise by a right angle."""
    return np.stack([1 - points[..., 1], points[..., 0]], axis=-1)


class FaceDetector:
    """One BlazeFace model. `detect` looks at a whole picture squeezed into the network's square, or at a square of it."""

    def __init__(self, file_name: str, grids: tuple[tuple[int, int], ...]):
        self.network = Network(file_name)
        self._anchors = anchor_centres(grids)

    @classmethod
    def short_range(cls) -> FaceDetector:
        """Faces that fill at least about a fifth of the picture; 128 px."""
        return cls("face_detection_short_range.tflite", ((16, 2), (8, 6)))

    @classmethod
    def full_range(cls) -> FaceDetector:
        """Near and distant faces; 192 px, about three times the cost of the short-range model."""
        return cls("face_detection_full_range.tflite", ((48, 1),))

    def detect(
        self, rgb: np.ndarray, min_score: float, square_px: tuple[float, float, float] | None = None, quarter: int = 0
    ) -> list[Detection]:
        """Faces of a (H, W, 3) uint8 picture, best first.

        Args:
            square_px: (x0, y0, side) of the part to look at, black where it reaches beyond the picture; None for all of it.
            quarter: the part is first turned back by so many right angles, for faces that are rolled clockwise by about as much.
        """
        height, width = rgb.shape[:2]
        if square_px is None:
            side = max(height, width)
            square_px = ((width - side) / 2, (height - side) / 2, side)
        x0, y0, side = (round(v) for v in square_px)
        raw_boxes, raw_scores = self.network.run(np.rot90(self._letterbox(rgb, x0, y0, side), quarter), 2 / 255, -1)
        logits = np.clip(raw_scores[0, :, 0], -80, 80)
        found = np.flatnonzero(logits > np.log(min_score / (1 - min_score)))
        if not len(found):
            return []
        # Both offsets and sizes are in input pixels; anchors have unit size.
        values = raw_boxes[0, found].reshape(-1, 8, 2) / self.network.size_px
        centres, sizes = values[:, 0] + self._anchors[found], values[:, 1]
        keypoints = values[:, 2:] + self._anchors[found, None]
        for _ in range(quarter % 4):
            centres, sizes, keypoints = _turned(centres), sizes[:, ::-1], _turned(keypoints)
        origin = np.array([x0, y0], np.float32)
        boxes_px = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1) * side + np.tile(origin, 2)
        keypoints_px = keypoints * side + origin
        scores = 1 / (1 + np.exp(-logits[found]))
        return weighted_nms([Detection(float(s), b, k) for s, b, k in zip(scores, boxes_px, keypoints_px, strict=True)])

    def _letterbox(self, rgb: np.ndarray, x0: int, y0: int, side: int) -> np.ndarray:
        """The square scaled to the network's size, black beyond the picture's edges: (S, S, 3) uint8."""
        import cv2

        height, width = rgb.shape[:2]
        size = self.network.size_px
        canvas = np.zeros((size, size, 3), np.uint8)
        scale = size / max(side, 1)
        left, top, right, bottom = max(0, x0), max(0, y0), min(width, x0 + side), min(height, y0 + side)
        n = power_of_two(side / size, bottom - top, right - left)
        columns, rows = (right - left) // n, (bottom - top) // n
        to_x, to_y = round((left - x0) * scale), round((top - y0) * scale)
        new_width, new_height = min(round(columns * n * scale), size - to_x), min(round(rows * n * scale), size - to_y)
        if new_width > 0 and new_height > 0:
            part = averaged(rgb[top:bottom, left:right], n)[:rows, :columns]
            canvas[to_y : to_y + new_height, to_x : to_x + new_width] = cv2.resize(part, (new_width, new_height))
        return canvas
