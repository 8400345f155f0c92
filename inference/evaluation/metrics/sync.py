"""Sync-C and Sync-D by the curation's SyncNet, of the answer's lips against the driving sound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curation.contracts import Clip, Evidence, Faces, Frame
from curation.scorers.syncnet import Runtime, SyncNetScorer
from inference.evaluation.canonical import CANONICAL_HZ, CanonicalClip
from inference.evaluation.metrics.base import AT_LEAST_0, ClipMetric, Judged, MetricColumn, UnavailableError
from manifests.errors import UserError

_SOURCE = "Chung & Zisserman 2016; joonson/syncnet_python; docs/syncnet.md"


class SyncNet(ClipMetric):
    """As the curation scores a clip, twice: cropped by the answer's own landmarks, and by the real clip's, which keeps failures to find a
    face apart from failures to speak. Clips of fewer than 51 frames (2 s) have no score.

    Args:
        device: cpu, cuda, cuda:N.
        models_dir: where `syncnet` is looked for first.
    """

    name = "syncnet"
    columns = (
        MetricColumn("sync_c", "higher", "", "SyncNet confidence, crop by the answer's own landmarks", _SOURCE, AT_LEAST_0),
        MetricColumn("sync_d", "lower", "", "SyncNet minimum distance, crop by the answer's own landmarks", _SOURCE, AT_LEAST_0),
        MetricColumn("av_offset_frames", "as real", "frames", "SyncNet's offset; positive = the sound is early", _SOURCE, (-15.0, 15.0)),
        MetricColumn("sync_c_real_crop", "higher", "", "SyncNet confidence, crop by the real clip's landmarks", _SOURCE, AT_LEAST_0),
        MetricColumn("sync_d_real_crop", "lower", "", "SyncNet minimum distance, crop by the real clip's landmarks", _SOURCE, AT_LEAST_0),
    )

    def __init__(self, device: str = "cpu", models_dir: str | None = None):
        self._scorer = SyncNetScorer(runtime=Runtime(device=device, models_dir=models_dir))
        if self._scorer.notice:
            raise UnavailableError(self._scorer.notice)
        try:
            _ = self._scorer.networks
        except UserError as error:
            raise UnavailableError(str(error)) from error

    @property
    def fingerprint(self) -> str:
        return self._scorer.model_name

    def score(self, pair: Judged) -> dict[str, float]:
        audio = pair.target.sound
        if audio is None:
            return {}
        own = self._scored(pair.answer, pair.answer.faces, audio)
        found = {name: own[name] for name in ("sync_c", "sync_d", "av_offset_frames") if own.get(name) is not None}
        if pair.is_real:
            real = own if pair.answer is pair.target else self._scored(pair.answer, pair.target.faces, audio)
            found |= {f"{name}_real_crop": real[name] for name in ("sync_c", "sync_d") if real.get(name) is not None}
        return {name: float(value) for name, value in found.items()}

    def _scored(self, clip: CanonicalClip, faces: Faces, audio: np.ndarray) -> dict[str, float]:
        size_px = clip.frames.shape[1]
        info = replace(clip.info, width_px=size_px, height_px=size_px, has_audio=True)
        self._scorer.begin(info)
        for index, rgb in enumerate(clip.frames):
            self._scorer.on_frame(Frame(index, 1000 * index / CANONICAL_HZ, rgb))
            seen = faces.seen[index] if index < len(faces.seen) else False
            self._scorer.on_faces(faces.points_px[index : index + 1] if seen else np.zeros((0, 68, 2), np.float32))
        return self._scorer.finish(Evidence(Clip("evaluation", "", "", ""), info, CANONICAL_HZ, faces, audio))
