"""People's boxes by YOLOX-l (Ge et al., 2021): letterbox, decode, non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from curation.dwpose.session import OnnxNetwork

SIZE_PX = 640  # side of YOLOX-l's input as it was published
STRIDES = (8, 16, 32)  # input px a cell of each of the three output grids
PAD_GREY = 114  # of 255: what YOLOX was trained to see beyond the picture
PERSON = 0  # of the 80 classes of COCO


@dataclass(frozen=True)
class Person:
    """A person's box: (4,) float64 x0, y0, x1, y1 in px of the picture, within it; score 0..1."""

    box_px: np.ndarray
    score: float


def letterbox(rgb: np.ndarray) -> tuple[np.ndarray, float]:
    """A (H, W, 3) uint8 RGB picture as YOLOX was trained on: scaled to fit at the top left of 640 x 640, grey beyond, blue-green-red.

    Returns:
        (640, 640, 3) uint8 BGR, and the scale: letterbox px a source px.
    """
    import cv2

    height, width = rgb.shape[:2]
    scale = min(SIZE_PX / height, SIZE_PX / width)
    new_height, new_width = max(1, int(height * scale)), max(1, int(width * scale))
    canvas = np.full((SIZE_PX, SIZE_PX, 3), PAD_GREY, np.uint8)
    small = cv2.resize(rgb, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    canvas[:new_height, :new_width] = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return canvas, scale


@cache
def _cells() -> tuple[np.ndarray, np.ndarray]:
    """Column and row (8400, 2) and stride (8400, 1) of every cell, finest grid first, row by row."""
    places, strides = [], []
    for stride in STRIDES:
        n = SIZE_PX // stride
        y, x = np.mgrid[:n, :n]
        places.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((n * n, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of people from the network's output for one picture.

    Args:
        raw: (8400, 85) float32: centre offset from the cell and log size, in strides; objectness; 80 class scores.

    Returns:
        (8400, 4) x0, y0, x1, y1 in letterbox px, and (8400,) objectness x person.
    """
    places, strides = _cells()
    centres = (raw[:, :2] + places) * strides
    halves = np.exp(np.minimum(raw[:, 2:4], 10.0)) * strides / 2
    return np.concatenate([centres - halves, centres + halves], axis=1), raw[:, 4] * raw[:, 5 + PERSON]


def suppress(boxes: np.ndarray, scores: np.ndarray, min_score: float, max_iou: float) -> np.ndarray:
    """Indices, best first, of the boxes (N, 4) above `min_score` that overlap no better one by more than `max_iou`."""
    import cv2

    found = np.flatnonzero(scores > min_score)
    if not len(found):
        return found
    corners = boxes[found].astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    kept = cv2.dnn.NMSBoxes(corners.tolist(), scores[found].astype(np.float32).tolist(), float(min_score), float(max_iou))
    return found[np.asarray(kept, int).ravel()]


class PersonDetector:
    """YOLOX-l with 80 classes, of which only people are read.

    Args:
        network: takes (N, 3, 640, 640) BGR 0..255, gives (N, 8400, 85) before decoding.
        min_score, max_iou: thresholds of a box, and of suppression (0.3 and 0.45 in DWPose's own code).
    """

    def __init__(self, network: OnnxNetwork, min_score: float = 0.3, max_iou: float = 0.45):
        self.network = network
        self._min_score, self._max_iou = min_score, max_iou

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Person]]:
        """People on each (H, W, 3) uint8 RGB picture, largest first. Nobody is an empty list, never the whole picture."""
        found = []
        for chunk in self.network.batches(pictures):
            boxed = [letterbox(picture) for picture in chunk]
            outputs = self.network.run([canvas.transpose(2, 0, 1) for canvas, _ in boxed])[0]
            found += [self._people(raw, scale, p.shape[:2]) for raw, (_, scale), p in zip(outputs, boxed, chunk, strict=True)]
        return found

    def _people(self, raw: np.ndarray, scale: float, height_width: tuple[int, int]) -> list[Person]:
        boxes, scores = decode(raw)
        height, width = height_width
        people = []
        for index in suppress(boxes, scores, self._min_score, self._max_iou):
            box_px = np.clip(boxes[index].astype(np.float64) / scale, 0, [width, height, width, height])
            if (box_px[2:] - box_px[:2] >= 2).all():
                people.append(Person(box_px, float(scores[index])))
        return sorted(people, key=lambda person: -float(np.prod(person.box_px[2:] - person.box_px[:2])))
