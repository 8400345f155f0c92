"""The embedded profile's lip sync: the curation's own two-tower network on landmarks. Never Sync-C."""

from __future__ import annotations

import numpy as np

from curation.lipsync.curve import MAX_SHIFT, clip_curve, read_curve
from curation.lipsync.towers import load_towers
from inference.evaluation.metrics.base import ClipMetric, Judged, MetricColumn


class LandmarkLipSync(ClipMetric):
    """The curation's `lipsync_conf` and offset, of the answer's mouth against the driving sound: not against the answer's own sound track,
    which a method may have shifted or lost."""

    name = "lipsync"
    columns = (
        MetricColumn(
            "lipsync_conf",
            "higher",
            "",
            "landmark lip sync: best mean similarity over 31 shifts minus their median; no Sync-C",
            "docs/lipsync.md",
        ),
        MetricColumn(
            "lipsync_offset_frames",
            "as real",
            "frames",
            "landmark lip sync: offset of the best shift; positive = the sound is early",
            "docs/lipsync.md",
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
        offset, confidence = read_curve(curve)
        return {"lipsync_conf": float(confidence), "lipsync_offset_frames": float(offset)}
