"""Which way up a face is: detector and mesh know upright faces, and read one upside down as another face that is upright.

Turned by up to 75 degrees a face is read to the degree; from there on more and more faces are read the wrong way up, and the mesh believes
in them. The close-up detector tells: shown the face in four orientations, it believes most in the one that is upright (0.87 to 0.95; 0.43
to 0.79 for the same face upside down, at least 0.13 less for each of 39 people).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from curation.landmarks.detector import LEFT_EYE, RIGHT_EYE, Detection, FaceDetector

_SQUARE_SCALE = 2.0  # side of the square that is shown over the longer side of the face's box
_MARGIN = 0.05  # by less than this no orientation is better than another
_CERTAIN = 0.7  # belief from which on a face is turned against what was first seen
_LOWEST = 0.1


def quarter_of(right_eye_px: np.ndarray, left_eye_px: np.ndarray) -> int:
    """By how many right angles, to the nearest, a face with these eyes is rolled clockwise: 0..3."""
    x, y = (left_eye_px - right_eye_px).tolist()
    return round(math.atan2(y, x) / (math.pi / 2)) % 4


@dataclass(frozen=True)
class Orientations:
    """What the close-up detector sees of one face in the four orientations: the best detection of each, or None."""

    seen: tuple[Detection | None, ...]

    def score(self, quarter: int) -> float:
        """0..1, belief in the face if it is rolled by `quarter` right angles."""
        detection = self.seen[quarter]
        return detection.score if detection is not None else 0.0

    @property
    def best(self) -> int:
        return max(range(len(self.seen)), key=self.score)

    def upright(self, first: Detection, trusted: bool) -> Detection | None:
        """`first` or, where the face clearly lies otherwise, the detection that says how; None where it lies on its side or head and
        nothing confirms that.

        Args:
            trusted: the mesh believes in the face as `first` has it.
        """
        own, best = quarter_of(first.keypoints_px[RIGHT_EYE], first.keypoints_px[LEFT_EYE]), self.best
        if self.score(best) >= _CERTAIN and (self.score(own) < self.score(best) - _MARGIN or not trusted):
            return self.seen[best]
        return first if own == 0 or self.score(own) >= _CERTAIN else None

    def contradict(self, quarter: int) -> bool:
        """Whether a face that is followed as rolled by `quarter` clearly is the other way up."""
        return self.score(self.best) >= max(_CERTAIN, self.score(quarter) + 2 * _MARGIN)


def look_closely(detector: FaceDetector, rgb: np.ndarray, box_px: np.ndarray, quarters: tuple[int, ...] = (0, 1, 2, 3)) -> Orientations:
    """Shows a face to the close-up detector in several orientations.

    Args:
        rgb: (H, W, 3) uint8.
        box_px: (4,) about the face.
        quarters: the orientations to try; of the others nothing is seen.
    """
    x0, y0, x1, y1 = box_px.tolist()
    side = _SQUARE_SCALE * max(x1 - x0, y1 - y0)
    square_px = ((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)
    seen: list[Detection | None] = [None] * 4
    for quarter in quarters:
        found = detector.detect(rgb, _LOWEST, square_px, quarter)
        seen[quarter] = next((d for d in found if _centre_within(d.box_px, box_px)), None)
    return Orientations(tuple(seen))


def _centre_within(box_px: np.ndarray, limits_px: np.ndarray) -> bool:
    centre = (box_px[:2] + box_px[2:]) / 2
    return bool((centre >= limits_px[:2]).all() and (centre <= limits_px[2:]).all())
