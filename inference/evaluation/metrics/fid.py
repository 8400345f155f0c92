"""FID's features: Inception-v3 pool3 of single frames, by torch-fidelity, which follows the original TensorFlow code."""

from __future__ import annotations

import numpy as np

from inference.evaluation.metrics.base import AT_LEAST_0, FeatureMetric, MetricColumn, UnavailableError
from inference.evaluation.metrics.weights import checked_device, found, state_dict, wrong_layout

EVERY_FRAMES = 5  # frames of one clip are far from independent: five times as many hardly change the distance


class Fid(FeatureMetric):
    """(N, 2048) features of every fifth frame, uint8 at canonical size in, resized to 299 px within torch-fidelity.

    Args:
        device: cpu, cuda, cuda:N.
        models_dir: where `inception` is looked for first.
        batch: frames at once.
    """

    name = "fid"
    column = MetricColumn(
        "fid",
        "lower",
        "",
        "Fréchet distance of Inception-v3 pool3 features, every fifth frame, paired frames",
        "Heusel et al., NeurIPS 2017; torch-fidelity",
        AT_LEAST_0,
    )

    def __init__(self, device: str = "cpu", models_dir: str | None = None, batch: int = 16):
        path = found("inception", models_dir)
        state_dict(path)  # refuses what is no mere tensors before torch-fidelity, which does not, opens it
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise UnavailableError(f"{error}; pip install '.[eval]'") from error
        try:
            self._network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path)).to(
                checked_device(device)
            )
        except RuntimeError as error:
            raise wrong_layout(path, error) from error
        self._device, self._batch, self._weights = device, batch, path.stem

    @property
    def fingerprint(self) -> str:
        return f"{self._weights}, every {EVERY_FRAMES}"

    def features(self, frames: np.ndarray) -> np.ndarray:
        import torch

        chosen = np.ascontiguousarray(frames[::EVERY_FRAMES].transpose(0, 3, 1, 2))
        with torch.inference_mode():
            parts = [
                self._network(torch.from_numpy(chosen[i : i + self._batch]).to(self._device))[0].cpu()
                for i in range(0, len(chosen), self._batch)
            ]
        return torch.cat(parts).numpy()
