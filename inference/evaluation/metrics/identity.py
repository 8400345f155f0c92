"""CSIM: is it still the same person? Cosine of ArcFace embeddings of the answer's frames and of the reference."""

from __future__ import annotations

import numpy as np

from curation.landmarks.sixty_eight import eye_centres
from inference.evaluation.metrics.base import ClipMetric, Judged, MetricColumn, UnavailableError
from inference.evaluation.metrics.weights import found

INPUT_PX = 112
EVERY_FRAMES = 5
# ArcFace's alignment template at 112 px (insightface): eye centres, nose tip, mouth corners; from the left of the picture.
TEMPLATE_PX = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
_NOSE_TIP, _MOUTH_CORNERS = 30, (48, 54)


class Csim(ClipMetric):
    """Mean and 5th percentile over every fifth frame that shows a face.

    Args:
        models_dir: where `arcface` is looked for first.
        provider: onnxruntime's: CPUExecutionProvider, CUDAExecutionProvider; what is asked for runs, or the metric is unavailable.
    """

    name = "csim"
    columns = (
        MetricColumn(
            "csim",
            "higher",
            "",
            "cosine of ArcFace embeddings, frames against the reference",
            "Deng et al., CVPR 2019; insightface buffalo_l",
        ),
        MetricColumn("csim_p5", "higher", "", "5th percentile over the frames of the same", "this project"),
    )

    def __init__(self, models_dir: str | None = None, provider: str = "CPUExecutionProvider"):
        path = found("arcface", models_dir)
        try:
            import onnxruntime
        except ImportError as error:
            raise UnavailableError(f"{error}; pip install '.[eval]'") from error
        if provider not in onnxruntime.get_available_providers():
            raise UnavailableError(f"onnxruntime has no {provider}; pip install '.[gpu]' brings CUDA's")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=[provider])
        except Exception as error:  # onnxruntime raises its own kinds, none of them public
            raise UnavailableError(f"{path} is no network that onnxruntime reads: {' '.join(str(error).split())[:160]}") from error
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
        faces = np.stack([aligned(frame, points) for frame, points in zip(frames, points_px, strict=True)])
        blobs = ((faces.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
        vectors = np.concatenate([self._session.run(None, {self._input: blob[None]})[0] for blob in blobs])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def aligned(rgb: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """(112, 112, 3) uint8: the face moved, turned and scaled (least squares) onto ArcFace's template.

    Args:
        rgb: (H, W, 3) uint8.
        points_px: (68, 2), pixel i covering i..i+1.
    """
    import cv2

    five = np.stack([*eye_centres(points_px), points_px[_NOSE_TIP], *points_px[list(_MOUTH_CORNERS)]]).astype(np.float64) - 0.5
    source, target = five[:, 0] + 1j * five[:, 1], TEMPLATE_PX[:, 0] + 1j * TEMPLATE_PX[:, 1]
    turn = (np.conj(source - source.mean()) * (target - target.mean())).sum() / (np.abs(source - source.mean()) ** 2).sum()
    shift = target.mean() - turn * source.mean()
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return cv2.warpAffine(rgb, matrix, (INPUT_PX, INPUT_PX), flags=cv2.INTER_LINEAR)
