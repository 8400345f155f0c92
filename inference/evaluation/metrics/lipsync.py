"""The embedded profile's lip sync: the curation's own two-tower network on landmarks. Never Sync-C."""

from __future__ import annotations

import numpy as np

from curation.lipsync.curve import MAX_SHIFT, SHIFTS, clip_curve, read_curve
from curation.lipsync.towers import load_towers
from inference.evaluation.metrics.base import ClipMetric, Judged, MetricColumn

IN_SYNC_FRAMES = 1  # of 40 ms: what lies within reads as in sync; people notice sound 45 ms early (ITU-R BT.1359)
_IN_SYNC = np.abs(SHIFTS) <= IN_SYNC_FRAMES


class LandmarkLipSync(ClipMetric):
    """The curation's sync curve, of the answer's mouth against the driving sound: not against the answer's own sound track, which a method
    may have shifted or lost. The curation asks whether lips and sound belong together at any shift; here they are to be together, so the
    confidence is read in place, and lips that come late lose it."""

    name = "lipsync"
    version = 2
    columns = (
        MetricColumn(
            "lipsync_conf",
            "higher",
            "",
            "landmark lip sync: mean similarity with the sound in place (within 1 frame) minus the median over 31 shifts; no Sync-C",
            "docs/lipsync.md",
            (-2.0, 2.0),
        ),
        MetricColumn(
            "lipsync_offset_frames",
            "as real",
            "frames",
            "landmark lip sync: offset of the best shift; positive = the sound is early",
            "docs/lipsync.md",
            (-float(MAX_SHIFT), float(MAX_SHIFT)),
        ),
    )

    def __init__(self) -> None:
        self._towers = load_towers()

    @property
    def fingerprint(self) -> str:
        return self._towers.name

    def score(self, pair: Judged) -> dict[str, float]:
        if pair.target.sound is None:
            return {}
        curve, n_windows = clip_curve(self._towers, pair.answer.faces.points_px, pair.target.sound)
        if n_windows < 2 * MAX_SHIFT or not np.isfinite(curve).all():
            return {}
        return {
            "lipsync_conf": float(curve[_IN_SYNC].max() - np.median(curve)),
            "lipsync_offset_frames": float(read_curve(curve)[0]),
        }
