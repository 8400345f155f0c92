"""LPIPS by the `lpips` package (version 0.1 heads): RGB in −1..1 at canonical size, frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from inference.evaluation.metrics.base import AT_LEAST_0, ClipMetric, Judged, MetricColumn, UnavailableError, require_numbers
from inference.evaluation.metrics.weights import checked_device, found, state_dict, wrong_layout

if TYPE_CHECKING:
    import torch

_SOURCE = "Zhang et al., CVPR 2018; richzhang/PerceptualSimilarity 0.1"


class Lpips(ClipMetric):
    """Mean over the frames. The first frame is skipped: in self-reenactment it is the reference that the method was given.

    Args:
        device: cpu, cuda, cuda:N.
        models_dir: where the trunk's weights are looked for first.
        batch: frames at once.
        every_frames: only each so many frames; 1 = all.
    """

    net: Literal["alex", "vgg"]
    trunk: str  # name in configs/models.yaml

    def __init__(self, device: str = "cpu", models_dir: str | None = None, batch: int = 8, every_frames: int = 1):
        path = found(self.trunk, models_dir)
        try:
            self._network = network(self.net, state_dict(path)).to(checked_device(device))
        except RuntimeError as error:
            raise wrong_layout(path, error) from error
        self._device, self._batch, self._every = device, batch, every_frames
        self._weights = path.stem

    @property
    def fingerprint(self) -> str:
        return f"{self._weights}, every {self._every}"

    def score(self, pair: Judged) -> dict[str, float]:
        if not pair.is_real or len(pair.answer) < 2:
            return {}
        ours, real = pair.answer.frames[1 :: self._every], pair.target.frames[1 : len(pair.answer) : self._every]
        of_frames = require_numbers(self.name, distances(self._network, ours, real, self._device, self._batch))
        return {self.name: float(of_frames.mean())}


class LpipsAlex(Lpips):
    name, net, trunk = "lpips_alex", "alex", "lpips-alexnet"
    columns = (
        MetricColumn(
            "lpips_alex", "lower", "", "LPIPS with AlexNet (the package's default), mean over the frames but the first", _SOURCE, AT_LEAST_0
        ),
    )


class LpipsVgg(Lpips):
    name, net, trunk = "lpips_vgg", "vgg", "lpips-vgg16"
    columns = (MetricColumn("lpips_vgg", "lower", "", "LPIPS with VGG-16, mean over the frames but the first", _SOURCE, AT_LEAST_0),)


def network(net: Literal["alex", "vgg"], trunk: dict[str, torch.Tensor]) -> torch.nn.Module:
    """`lpips.LPIPS` with its own heads and the trunk of torchvision's classifier (`features.N.…` keys; the classifier's are left out).

    Raises:
        RuntimeError: the tensors are not that trunk's.
        UnavailableError: the package is missing.
    """
    try:
        import lpips
    except ImportError as error:
        raise UnavailableError(f"{error}; pip install '.[eval]'") from error
    model = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    # The package spreads the layers of `features` over slices, under their own numbers.
    spread = {f"{slice_name}.{name}": name for slice_name, part in model.net.named_children() for name in part.state_dict()}
    tensors = {key.removeprefix("features."): value for key, value in trunk.items() if key.startswith("features.")}
    model.net.load_state_dict({target: tensors[source] for target, source in spread.items() if source in tensors})
    return model.eval().requires_grad_(False)


def distances(model: torch.nn.Module, ours: np.ndarray, real: np.ndarray, device: str = "cpu", batch: int = 8) -> np.ndarray:
    """(T,) float32 LPIPS of (T, H, W, 3) uint8 frames."""
    import torch

    def tensor(frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1

    with torch.inference_mode():
        parts = [model(tensor(ours[i : i + batch]), tensor(real[i : i + batch])).flatten().cpu() for i in range(0, len(ours), batch)]
    return torch.cat(parts).numpy()
