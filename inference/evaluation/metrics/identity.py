"""CSIM: is it still the same person? Cosine of ArcFace embeddings of the answer's frames and of the reference."""

from __future__ import annotations

import numpy as np

from curation.face_crop import warp
from curation.landmarks.arcface import ARCFACE_PX, alignment
from curation.onnx_session import open_session
from inference.evaluation.metrics.base import CORRELATION, ClipMetric, Judged, MetricColumn, UnavailableError, require_numbers
from inference.evaluation.metrics.weights import found
from manifests.errors import UserError

EVERY_FRAMES = 5


class Csim(ClipMetric):
    """Mean and 5th percentile over every fifth frame that shows a face.

    Args:
        models_dir: where `arcface` is looked for first.
        provider: cpu or cuda; what is asked for runs, or the metric is unavailable.
    """

    name = "csim"
    columns = (
        MetricColumn(
            "csim",
            "higher",
            "",
            "cosine of ArcFace embeddings, frames against the reference",
            "Deng et al., CVPR 2019; insightface buffalo_l",
            CORRELATION,
        ),
        MetricColumn("csim_p5", "higher", "", "5th percentile over the frames of the same", "this project", CORRELATION),
    )

    def __init__(self, models_dir: str | None = None, provider: str = "cpu"):
        path = found("arcface", models_dir)
        try:
            self._session = open_session(path, provider, "or use device=cpu")
        except UserError as error:
            raise UnavailableError(str(error)) from error
        self._input, self._weights = self._session.get_inputs()[0].name, path.stem

    @property
    def fingerprint(self) -> str:
        return f"{self._weights}, every {EVERY_FRAMES}"

    def score(self, pair: Judged) -> dict[str, float]:
        reference = pair.reference
        if reference is None or not reference.faces.seen[0]:
            return {}
        seen = np.flatnonzero(pair.answer.faces.seen)[::EVERY_FRAMES]
        if not len(seen):
            return {}
        own = self._embedded(reference.frames[:1], reference.faces.points_px[:1])
        cosines = self._embedded(pair.answer.frames[seen], pair.answer.faces.points_px[seen]) @ own[0]
        return {"csim": float(cosines.mean()), "csim_p5": float(np.percentile(cosines, 5))}

    def _embedded(self, frames: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(N, D) unit vectors."""
        faces = np.stack([warp(frame, alignment(points), ARCFACE_PX) for frame, points in zip(frames, points_px, strict=True)])
        blobs = ((faces.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
        vectors = np.concatenate([self._session.run(None, {self._input: blob[None]})[0] for blob in blobs])
        return require_numbers(self.name, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
