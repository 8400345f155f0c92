"""Where one shot ends and the next begins: PySceneDetect's content detector with its defaults, fed frame by frame."""

from __future__ import annotations

import numpy as np

_COMPARE_WIDTH_PX = 256  # to which PySceneDetect's own reader scales


class ShotDetector:
    """Finds the first frame of every shot but the first.

    Attributes:
        delay: a cut is known for certain this many frames after it, because cuts that follow each other too closely are merged.
    """

    def __init__(self) -> None:
        from scenedetect.detectors import ContentDetector

        self._detector = ContentDetector()
        self.delay = self._detector.event_buffer_length
        self._index = 0
        self._cuts: set[int] = set()

    def push(self, rgb: np.ndarray) -> None:
        """The next frame, (H, W, 3) uint8 RGB."""
        import cv2
        from scenedetect import FrameTimecode

        height, width = rgb.shape[:2]
        if width > _COMPARE_WIDTH_PX:
            factor = width / _COMPARE_WIDTH_PX
            rgb = cv2.resize(rgb, (round(width / factor), max(1, round(height / factor))), interpolation=cv2.INTER_LINEAR)
        time = FrameTimecode(self._index, fps=25.0)
        self._cuts.update(cut.frame_num for cut in self._detector.process_frame(time, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)))
        self._index += 1

    def begins_shot(self, index: int) -> bool:
        """Whether a new shot begins at this frame; for certain once `delay` more frames were pushed, or there are no more."""
        return index in self._cuts
