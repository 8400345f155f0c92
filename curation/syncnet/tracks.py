"""Face tracks by overlap, frame by frame, with the rules of `joonson/syncnet_python` (run_pipeline.py).

There, the boxes of a whole shot are walked through once for each track; a track takes the first box of a frame that overlaps its last one.
As the boxes of a frame hardly overlap each other, going through the frames once with all tracks, older ones first, gives the same tracks.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

MIN_IOU = 0.5  # of two boxes of one face on neighbouring frames, as `syncnet_python` tracks
MAX_GAP_FRAMES = 25  # 1 s without the face ends a track, as there


@dataclass(eq=False)
class Track:
    """One face within one shot.

    Attributes:
        first: index of its first frame.
        n_detected: frames with a detection.
        last_px: (4,) float64 box of the last detection.
    """

    first: int
    n_detected: int = 0
    last_px: np.ndarray = field(default_factory=lambda: np.zeros(4))
    _boxes: array[float] = field(default_factory=lambda: array("d"))  # four numbers a frame

    @property
    def n_frames(self) -> int:
        """Frames up to the last detection."""
        return len(self._boxes) // 4

    @property
    def last(self) -> int:
        """Index of the last frame with a detection."""
        return self.first + self.n_frames - 1

    @property
    def side_px(self) -> float:
        """The larger of mean width and mean height."""
        boxes = self.boxes_px()
        return float((boxes[:, 2:] - boxes[:, :2]).mean(axis=0).max())

    def boxes_px(self, first: int = 0) -> np.ndarray:
        """(n, 4) float64 boxes x0, y0, x1, y1, from the track's frame number `first` up to the last detection, interpolated where there was
        none."""
        return np.array(self._boxes[4 * first :]).reshape(-1, 4)

    def extend(self, index: int, box_px: np.ndarray) -> None:
        if self.n_frames:
            before, gap = self.last_px, index - self.last
            for i in range(1, gap):
                self._boxes.extend(before + (box_px - before) * (i / gap))
        self._boxes.extend(box_px)
        self.last_px = box_px
        self.n_detected += 1


class FaceTracks:
    """The live tracks of a shot."""

    def __init__(self) -> None:
        self.live: list[Track] = []

    def push(self, index: int, boxes_px: np.ndarray) -> list[Track]:
        """The (n, 4) boxes of the next frame, in the detector's order; gives the tracks that ended before it."""
        ended = [track for track in self.live if index - track.last > MAX_GAP_FRAMES]
        self.live = [track for track in self.live if index - track.last <= MAX_GAP_FRAMES]
        left = [np.asarray(box, np.float64) for box in boxes_px]
        for track in self.live:
            for i, box in enumerate(left):
                if overlap(track.last_px, box) > MIN_IOU:
                    track.extend(index, left.pop(i))
                    break
        for box in left:
            self.live.append(Track(index))
            self.live[-1].extend(index, box)
        return ended

    def end(self) -> list[Track]:
        """The shot is over: all tracks end."""
        ended, self.live = self.live, []
        return ended


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (4,) boxes; 0 where both are empty."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    intersection = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - intersection
    return intersection / union if union > 0 else 0.0
