"""The reference transformer: PixArt-α without text, read at the input of its later self-attentions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.embeddings import PatchEmbed
from diffusers.models.normalization import AdaLayerNormSingle
from torch import nn

from inference.models.blocks import ModulatedBlock, ReferenceBlock
from inference.models.config import ModelConfig
from inference.models.shapes import Shapes, require_multiple


def patch_embedding(config: ModelConfig, in_channels: int) -> PatchEmbed:
    """PixArt-α's patch convolution and fixed position table, base grid `sample_size`, scale 1 there."""
    return PatchEmbed(
        height=config.sample_size,
        width=config.sample_size,
        patch_size=config.patch_size,
        in_channels=in_channels,
        embed_dim=config.width,
        interpolation_scale=max(config.sample_size // 64, 1),
    )


class ReferenceTransformer(nn.Module):
    """Sees one clean latent a clip. Of the last block only the attention input is read, so its attention and feed-forward, and the output
    layer, are not built: they would never receive a gradient."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any]  # diffusers' `enable_gradient_checkpointing` sets it

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.sizes = config
        self.pos_embed = patch_embedding(config, config.latent_channels)
        self.adaln_single = AdaLayerNormSingle(config.width)
        self.transformer_blocks = nn.ModuleList([ReferenceBlock(config) for _ in range(config.num_layers - 1)])
        self.last_block = ModulatedBlock(config.width)

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            latents: (B, C, h, w), the reference image encoded, without noise.
            timesteps: (B,) int64, the clip's.

        Returns:
            One (B, N, D) tensor for each block from `first_reference_block` on, in order.
        """
        config = self.sizes
        shapes = Shapes()
        shapes.check("reference_latents", latents, "B", config.latent_channels, "h", "w")
        shapes.check("timesteps", timesteps, "B")
        for name, size in (("height", latents.shape[-2]), ("width", latents.shape[-1])):
            require_multiple(f"the {name} of reference_latents", size, config.patch_size, "cells a token")
        if config.reference_timestep == "zero":
            timesteps = torch.zeros_like(timesteps)
        x = self.pos_embed(latents).contiguous()[:, None]  # (B, 1, N, D): a clip of one frame; token by token in memory
        modulation, _ = self.adaln_single(timesteps, hidden_dtype=x.dtype)
        modulation = modulation.unflatten(1, (6, -1))
        features = []
        for block in self.transformer_blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x, feature = self._gradient_checkpointing_func(block, x, modulation)
            else:
                x, feature = block(x, modulation)
            features.append(feature)
        features.append(self.last_block.attention_input(x, modulation))
        return tuple(feature[:, 0] for feature in features[config.first_reference_block :])
