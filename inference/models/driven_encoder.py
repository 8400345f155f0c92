"""Frames that show only the driving eyes and mouth → features at the latent grid."""

from __future__ import annotations

import torch
from torch import nn

from inference.models.config import PX_PER_CELL
from inference.models.shapes import Shapes, require_multiple


class DrivenEncoder(nn.Module):
    """Four stages of two convolutions with SiLU, stride 8, then 1×1 (the paper's "four 2-D convolution layers", as the authors' public UNet
    release builds them: megvii-research/MegActor).

    The output convolution starts random: the denoiser's new patch channels start at zero, and if both were zero neither would ever get a
    gradient.
    """

    def __init__(self, out_channels: int = 4):
        super().__init__()
        # channels in, between, out; kernel and stride of the second convolution
        stages = ((3, 3, 16, 4, 2), (16, 16, 32, 4, 2), (32, 32, 64, 4, 2), (64, 64, 128, 3, 1))
        layers: list[nn.Module] = []
        for c_in, c_mid, c_out, kernel, stride in stages:
            layers += [nn.Conv2d(c_in, c_mid, 3, padding=1), nn.SiLU(), nn.Conv2d(c_mid, c_out, kernel, stride, padding=1), nn.SiLU()]
        self.stages = nn.Sequential(*layers)
        self.proj_out = nn.Conv2d(stages[-1][2], out_channels, 1)

    def initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, F, 3, H, W) in 0…1, black outside the patches → (B, F, C, H/8, W/8). A black frame is "no driving"."""
        Shapes().check("driven_frames", frames, "B", "F", 3, "H", "W")
        require_multiple("the height of driven_frames", frames.shape[-2], PX_PER_CELL, "pixels a latent cell")
        require_multiple("the width of driven_frames", frames.shape[-1], PX_PER_CELL, "pixels a latent cell")
        features = self.proj_out(self.stages(frames.flatten(0, 1) * 2 - 1))
        return features.unflatten(0, frames.shape[:2])
