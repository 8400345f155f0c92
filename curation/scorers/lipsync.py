"""Landmark lip sync: does the sound fit the mouth, and by how many frames is it off? See `docs/lipsync.md` for how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from curation.contracts import Evidence, Scorer
from curation.lipsync.curve import MAX_SHIFT, SHIFTS, clip_curve, read_curve
from curation.lipsync.features import VIDEO_HZ
from curation.lipsync.towers import SHIPPED_WEIGHTS, Towers, load_towers
from curation.silence import is_silent
from manifests import column


@dataclass
class LipSync(Scorer):
    """`lipsync_conf`, `lipsync_offset_frames` (positive = the sound is early) and `lipsync_windows`; never SyncNet's columns.

    Null without an audio stream, at a sampling rate other than 25 Hz, and where fewer than `min_windows` windows of the picture show a
    face throughout (then `lipsync_windows` still says how many there were). Digital silence has a confidence near 0 and no offset.

    Args:
        min_windows: fewest windows worth a score; at the outermost shifts 15 fewer overlap.
        weights: a safetensors file of `python -m curation train-lipsync`; empty = the weights that ship with the package.
    """

    name = "lipsync"
    version = 2
    columns = (column("lipsync_conf"), column("lipsync_offset_frames"), column("lipsync_windows"))
    reads = frozenset({"faces", "audio"})

    min_windows: int = 2 * MAX_SHIFT
    weights: str = ""

    @cached_property
    def towers(self) -> Towers:
        return load_towers(self.weights or SHIPPED_WEIGHTS)

    @property
    def model_name(self) -> str:
        """Name of the weights, as training wrote it."""
        return self.towers.name

    def finish(self, evidence: Evidence) -> dict[str, Any]:
        if evidence.audio is None or evidence.sample_hz != VIDEO_HZ:
            return {}
        curve, n_windows = self._curve(evidence)
        if n_windows < self.min_windows or not np.isfinite(curve).all():
            return {"lipsync_windows": n_windows}
        offset, confidence = read_curve(curve)
        found = {"lipsync_conf": confidence, "lipsync_windows": n_windows}
        return found if is_silent(evidence.audio) else found | {"lipsync_offset_frames": offset}

    def sync_curve(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """For a picture of the curve: offsets (31,) int and mean similarity (31,) float32, all NaN without sound."""
        if evidence.audio is None or evidence.sample_hz != VIDEO_HZ:
            return SHIFTS, np.full(len(SHIFTS), np.nan, dtype=np.float32)
        return SHIFTS, self._curve(evidence)[0]

    def _curve(self, evidence: Evidence) -> tuple[np.ndarray, int]:
        if evidence.audio is None:
            raise ValueError("lip sync needs sound")
        return clip_curve(self.towers, evidence.faces.points_px, evidence.audio, evidence.media.fps)
