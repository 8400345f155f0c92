"""A learnt decoder of block-DCT latents that hides where they disagree.

The block-DCT codec decodes every 8 × 8 block by itself: latents that a network made, each a little wrong, show as the blocks' edges. This
network sees the neighbours, was trained on disturbed latents too (`training.codec`), and adds what is missing to the codec's own picture.
What steps are left at the blocks' edges are taken away by `lapped`, which knows nothing but the codec.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from inference.models.block_dct import BLOCK, BlockDctCodec
from inference.models.weight_files import WeightsFileError, load_tensors

WIDTHS = (112, 64, 40, 24)  # channels at strides 8, 4, 2, 1
NUM_BLOCKS = 3


class _ResidualBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(functional.silu(self.conv1(functional.silu(x))))


def lapped(pictures: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) pictures without steps at multiples of 8 px: there they are what the codec makes of them on a grid shifted by half a
    block, whose blocks lie across; in the blocks' middles they stay as they are, in between a squared cosine blends.

    A shifted block keeps no steeper step than the codec's coefficients have, so edges of the picture stay and edges of the grid go (after
    the translation-invariant de-noising of Coifman and Donoho, 1995, which takes all shifts).
    """
    codec, half = BlockDctCodec(), BLOCK // 2
    height, width = pictures.shape[-2:]

    def weight(length: int) -> torch.Tensor:
        return torch.cos(math.pi * (torch.arange(length, device=pictures.device, dtype=pictures.dtype) + 0.5) / BLOCK) ** 2

    result = torch.zeros_like(pictures)
    across, down = weight(width), weight(height)[:, None]
    for shift_y, share_y in ((0, 1 - down), (half, down)):
        for shift_x, share_x in ((0, 1 - across), (half, across)):
            shown = pictures
            if shift_y or shift_x:
                around = functional.pad(pictures, (shift_x, shift_x, shift_y, shift_y), mode="replicate")
                shown = codec.decode(codec.encode(around))[..., shift_y : shift_y + height, shift_x : shift_x + width]
            result = result + share_y * share_x * shown
    return result


class ForgivingDecoder(nn.Module):
    """(N, 21, h, w) latents of `BlockDctCodec` → (N, 3, 8h, 8w) pictures in about 0…1.

    Residual blocks at the latent grid, then three times pixel shuffle and a convolution; the last convolution starts at zero, so that an
    untrained decoder is the codec's own, `lapped`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(BlockDctCodec.latent_channels, WIDTHS[0], 3, padding=1, padding_mode="replicate")
        self.blocks = nn.Sequential(*(_ResidualBlock(WIDTHS[0]) for _ in range(NUM_BLOCKS)))
        stages: list[nn.Module] = []
        for wide, narrow in pairwise(WIDTHS):
            stages += [nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2), nn.SiLU(), nn.Conv2d(narrow, narrow, 3, padding=1), nn.SiLU()]
        self.stages = nn.Sequential(*stages)
        self.conv_out = nn.Conv2d(WIDTHS[-1], 3, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]  # this convolution has one

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        features = self.blocks(self.conv_in(latents))
        return lapped(BlockDctCodec().decode(latents) + self.conv_out(self.stages(features)))

    @classmethod
    def from_file(cls, path: str | Path, device: torch.device | str = "cpu") -> ForgivingDecoder:
        """From a safetensors file, computed in float32.

        Raises:
            WeightsFileError: absent, damaged, or of another network.
        """
        tensors = load_tensors(path)
        decoder = cls()
        expected = {name: tensor.shape for name, tensor in decoder.state_dict().items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != expected:
            raise WeightsFileError(f"{path} does not hold the weights of this decoder; train one by `python -m training codec`")
        decoder.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return decoder.eval().requires_grad_(False).to(device)


class ForgivingDctCodec(BlockDctCodec):
    """`BlockDctCodec`, whose latents are decoded by a `ForgivingDecoder`."""

    def __init__(self, decoder: ForgivingDecoder):
        self._decoder = decoder

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        flat = latents.flatten(0, -4) if latents.ndim > 4 else latents
        weight = self._decoder.conv_in.weight
        pictures = self._decoder(flat.to(weight.device, weight.dtype)).to(latents)
        return pictures.unflatten(0, latents.shape[:-3])
