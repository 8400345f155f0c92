"""FVD's features: one vector for every 16 frames at 25 fps, all disjoint windows of a clip, paired with the real clip's windows.

Two extractors, whose figures are on different scales: I3D logits (Kinetics-400) by the TorchScript file that StyleGAN-V ships, which gives
the original TensorFlow network's FVD within 1e-6; and VideoMAE-v2 as content-debiased FVD (`cd-fvd`) uses it, which looks less at single
frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inference.evaluation.metrics.base import AT_LEAST_0, FeatureMetric, MetricColumn, UnavailableError
from inference.evaluation.metrics.weights import checked_device, found, state_dict, wrong_layout

if TYPE_CHECKING:
    import torch

WINDOW_FRAMES = 16
INPUT_PX = 224


def windows(frames: np.ndarray) -> np.ndarray:
    """(N, 16, S, S, 3) disjoint windows from the start; a rest of fewer than 16 frames is left out."""
    count = len(frames) // WINDOW_FRAMES
    return frames[: count * WINDOW_FRAMES].reshape(count, WINDOW_FRAMES, *frames.shape[1:])


class FvdI3d(FeatureMetric):
    """(N, 400) I3D logits of windows at 224 px (bicubic, anti-aliased), values −1..1.

    Args:
        device: cpu, cuda, cuda:N.
        models_dir: where `i3d` is looked for first.
        batch: windows at once.
    """

    name = "fvd"
    column = MetricColumn(
        "fvd",
        "lower",
        "",
        "Fréchet distance of I3D logits over 16-frame windows at 25 fps",
        "Unterthiner et al. 2018; StyleGAN-V's I3D",
        AT_LEAST_0,
    )

    def __init__(self, device: str = "cpu", models_dir: str | None = None, batch: int = 4):
        import torch

        path = found("i3d", models_dir)
        try:
            self._network = torch.jit.load(str(path), map_location=checked_device(device)).eval()
        except RuntimeError as error:
            raise wrong_layout(path, error) from error
        self._device, self._batch, self._weights = device, batch, path.stem

    @property
    def fingerprint(self) -> str:
        return self._weights

    def features(self, frames: np.ndarray) -> np.ndarray:
        import torch

        clips = windows(frames)
        found = [np.zeros((0, 400), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(clips), self._batch):
                batch = i3d_input(clips[start : start + self._batch]).to(self._device)
                found.append(self._network(batch, rescale=False, resize=False, return_features=True).float().cpu().numpy())
        return np.concatenate(found)


class FvdVideoMae(FeatureMetric):
    """(N, 1408) features of VideoMAE-v2 ViT-g, fine-tuned on Something-Something v2, as the package `cd-fvd` computes them."""

    name = "fvd_videomae"
    column = MetricColumn(
        "fvd_videomae",
        "lower",
        "",
        "Fréchet distance of VideoMAE-v2 features over 16-frame windows at 25 fps",
        "Ge et al., CVPR 2024; cd-fvd",
        AT_LEAST_0,
    )

    def __init__(self, device: str = "cpu", models_dir: str | None = None, batch: int = 1):
        path = found("videomae-g", models_dir)
        try:
            from cdfvd.third_party.VideoMAEv2.videomaev2_finetune import vit_giant_patch14_224
        except ImportError as error:
            raise UnavailableError(f"{error}; pip install '.[eval]'") from error
        settings = {"img_size": INPUT_PX, "num_classes": 174, "all_frames": WINDOW_FRAMES, "tubelet_size": 2, "use_mean_pooling": True}
        network = vit_giant_patch14_224(pretrained=False, drop_path_rate=0.3, **settings)
        try:
            network.load_state_dict(state_dict(path, inside=("model", "module")))
        except RuntimeError as error:
            raise wrong_layout(path, error) from error
        self._network = network.to(checked_device(device)).eval().requires_grad_(False)
        self._device, self._batch, self._weights = device, batch, path.stem

    @property
    def fingerprint(self) -> str:
        return self._weights

    def features(self, frames: np.ndarray) -> np.ndarray:
        import torch

        clips = windows(frames)
        found = [np.zeros((0, self._network.embed_dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(clips), self._batch):
                found.append(
                    self._network.forward_features(videomae_input(clips[start : start + self._batch]).to(self._device))
                    .float()
                    .cpu()
                    .numpy()
                )
        return np.concatenate(found)


def i3d_input(clips: np.ndarray) -> torch.Tensor:
    """(N, 16, S, S, 3) uint8 → (N, 3, 16, 224, 224) float32 in −1..1."""
    import torch
    from torch.nn.functional import interpolate

    flat = torch.from_numpy(np.ascontiguousarray(clips)).flatten(0, 1).permute(0, 3, 1, 2).float()
    small = interpolate(flat, (INPUT_PX, INPUT_PX), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    return small.unflatten(0, clips.shape[:2]).transpose(1, 2) / 127.5 - 1


def videomae_input(clips: np.ndarray) -> torch.Tensor:
    """(N, 16, S, S, 3) uint8 → (N, 3, 16, 224, 224) float32 in 0..1, resized as cd-fvd does (bilinear, not anti-aliased)."""
    import torch
    from torch.nn.functional import interpolate

    flat = torch.from_numpy(np.ascontiguousarray(clips)).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    return interpolate(flat, (INPUT_PX, INPUT_PX), mode="bilinear", align_corners=False).unflatten(0, clips.shape[:2]).transpose(1, 2)
