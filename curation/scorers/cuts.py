"""Hard cuts, by PySceneDetect's adaptive content detector fed with the frames that everybody else reads."""

from __future__ import annotations

from dataclasses import dataclass

from curation.contracts import Evidence, Frame, MediaInfo, Scorer
from manifests import column


@dataclass
class Cuts(Scorer):
    """Counts hard cuts between sampled frames.

    A cut is where the HSV difference to the previous frame stands out from its neighbours (`adaptive_ratio`) and is large in itself
    (`min_difference`, mean 8-bit HSV distance), so that a fast head turn or a camera pan is none.
    """

    name = "cuts"
    version = 1
    columns = (column("n_cuts"),)
    reads = frozenset({"frames"})

    adaptive_ratio: float = 3.0
    min_difference: float = 15.0
    min_scene_ms: float = 200.0
    compare_width_px: int = 160

    def begin(self, info: MediaInfo) -> None:
        from scenedetect.detectors import AdaptiveDetector

        self._detector = AdaptiveDetector(
            adaptive_threshold=self.adaptive_ratio,
            min_scene_len=self.min_scene_ms / 1000,
            min_content_val=self.min_difference,
        )
        self._n_cuts = 0
        self._last = None

    def on_frame(self, frame: Frame) -> None:
        import cv2
        from scenedetect import FrameTimecode

        height, width = frame.rgb.shape[:2]
        step = max(1, width // self.compare_width_px)  # a whole number, for which averaging blocks of pixels is many times faster
        size = (width // step, max(1, height // step))
        whole = frame.rgb[: max(1, size[1] * step), : size[0] * step]
        small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
        self._last = FrameTimecode(frame.time_ms / 1000, fps=1000.0)
        self._n_cuts += len(self._detector.process_frame(self._last, cv2.cvtColor(small, cv2.COLOR_RGB2BGR)))

    def finish(self, evidence: Evidence) -> dict[str, int]:
        if self._last is not None:
            self._n_cuts += len(self._detector.post_process(self._last))
        return {"n_cuts": self._n_cuts}
