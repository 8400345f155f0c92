"""A latent codec without weights: the lowest coefficients of an orthonormal 8×8 block DCT.

Y keeps the 15 coefficients with u + v ≤ 4, Cb and Cr the 3 with u + v ≤ 1: 21 channels at stride 8. Decoding and encoding again gives the
same latents, so what is kept is kept exactly.
"""

from __future__ import annotations

import math

import torch

from inference.models.shapes import ShapeError, require_multiple

BLOCK = 8
# (plane, u, v): plane 0 is Y, 1 Cb, 2 Cr; u vertical and v horizontal frequency.
KEPT = (
    *((0, u, s - u) for s in range(5) for u in range(s + 1)),
    *((plane, u, s - u) for plane in (1, 2) for s in range(2) for u in range(s + 1)),
)
_N_LUMA = sum(plane == 0 for plane, _, _ in KEPT)
# Fixed scales that give every channel about unit variance, measured on 150 face crops of 128 px; a channel left larger makes samples of a
# diffusion model blow up there. Frequencies other than 0 have mean 0.
MEAN = (3.51, *[0.0] * 14, -0.11, 0.0, 0.0, 0.106, 0.0, 0.0)
DEVIATION = (
    1.9,
    0.424,
    0.356,
    0.199,
    0.172,
    0.17,
    0.115,
    0.11,
    0.103,
    0.1,
    0.076,
    0.075,
    0.075,
    0.068,
    0.065,
    0.535,
    0.093,
    0.071,
    0.737,
    0.105,
    0.088,
)

_RGB_TO_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=torch.float64
)  # ITU-R BT.601, full range


class BlockDctCodec:
    """See the module. Images are (…, 3, H, W) in 0…1, latents (…, 21, H/8, W/8); any floating dtype, on any device."""

    latent_channels = len(KEPT)
    # Between all alike, where 18 channels of detail outweigh the 3 of brightness and colour, and squares of pixels, where they vanish.
    channel_weights = tuple(d * len(DEVIATION) / sum(DEVIATION) for d in DEVIATION)

    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Deterministic; `generator` is there for the interface alone."""
        if images.ndim < 4 or images.shape[-3] != 3:
            raise ShapeError(f"images has shape {tuple(images.shape)}; it needs (…, 3, H, W)")
        require_multiple("the height of images", images.shape[-2], BLOCK, "pixels a block")
        require_multiple("the width of images", images.shape[-1], BLOCK, "pixels a block")
        planes = torch.einsum("pc,...chw->...phw", _RGB_TO_YCBCR.to(images), images)
        blocks = planes.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))  # … p h 8 w 8
        latents = torch.einsum("kpij,...phiwj->...khw", _basis().to(images), blocks)
        return (latents - _column(MEAN, latents)) / _column(DEVIATION, latents)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Not clamped to 0…1, so that encoding gives the latents back."""
        if latents.ndim < 4 or latents.shape[-3] != self.latent_channels:
            raise ShapeError(f"latents has shape {tuple(latents.shape)}; it needs (…, {self.latent_channels}, h, w)")
        coefficients = latents * _column(DEVIATION, latents) + _column(MEAN, latents)
        blocks = torch.einsum("kpij,...khw->...phiwj", _basis().to(latents), coefficients)
        planes = blocks.flatten(-2).flatten(-3, -2)
        return torch.einsum("cp,...phw->...chw", torch.linalg.inv(_RGB_TO_YCBCR).to(latents), planes)

    def recoloured(self, latents: torch.Tensor, turn: torch.Tensor, tint: torch.Tensor) -> torch.Tensor:
        """See `inference.models.codecs.RecolouringCodec`: exact, because the transform is linear and alike for Cb and Cr."""
        coefficients = latents * _column(DEVIATION, latents) + _column(MEAN, latents)
        brightness, chroma = coefficients[..., :_N_LUMA, :, :], coefficients[..., _N_LUMA:, :, :]
        planes = chroma.unflatten(-3, (2, -1))  # … 2 coefficients h w
        planes = torch.einsum("...pq,...qkhw->...pkhw", turn.to(latents), planes)
        # The mean of a block is its first coefficient over the block's side.
        planes = planes + BLOCK * tint.to(latents)[..., None, None, None] * _first(planes.shape[-3], planes)
        turned = torch.cat([brightness, planes.flatten(-4, -3)], dim=-3)
        return (turned - _column(MEAN, latents)) / _column(DEVIATION, latents)


def _first(count: int, like: torch.Tensor) -> torch.Tensor:
    """(count, 1, 1): 1, then zeros."""
    return (torch.arange(count, device=like.device) == 0).to(like)[:, None, None]


def _basis() -> torch.Tensor:
    """(21, 3, 8, 8) float64: the pixels of each kept coefficient, orthonormal."""
    frequency, position = torch.arange(BLOCK, dtype=torch.float64)[:, None], torch.arange(BLOCK, dtype=torch.float64)[None]
    dct = torch.cos(math.pi * (2 * position + 1) * frequency / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    dct[0] /= math.sqrt(2)
    basis = torch.zeros(len(KEPT), 3, BLOCK, BLOCK, dtype=torch.float64)
    for channel, (plane, u, v) in enumerate(KEPT):
        basis[channel, plane] = dct[u][:, None] * dct[v][None]
    return basis


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
