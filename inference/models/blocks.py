"""Transformer blocks with PixArt-α's adaLN-single: one modulation a clip, to which every block adds a table of its own.

Submodules carry the names of diffusers' `BasicTransformerBlock`. Attention and feed-forward read `norm(x)·(1 + scale) + shift`, and their
outputs are gated; the audio attention reads the residual stream (through a norm if `audio_norm`) and adds to it, as PixArt's text attention
did.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from torch import nn

from inference.models.attention import Attention, KeysValues, SpatialAttention
from inference.models.config import ModelConfig
from inference.models.masks import RegionMask
from inference.models.temporal import TemporalModule


def modulate(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return x * (1 + scale) + shift


class ModulatedBlock(nn.Module):
    """What both transformers' blocks share: the table, the two norms without parameters, and the spatial attention's input."""

    def __init__(self, width: int):
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)

    def modulation(self, modulation_B6D: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Shift, scale, gate of the attention, then of the feed-forward; each (B, 1, 1, D)."""
        return tuple(part[:, :, None] for part in (self.scale_shift_table + modulation_B6D).chunk(6, dim=1))

    def attention_input(self, x_BFND: torch.Tensor, modulation_B6D: torch.Tensor) -> torch.Tensor:
        """What the reference hands over: the input of self-attention after norm and modulation (MagicAnimate's bank)."""
        shift, scale, *_ = self.modulation(modulation_B6D)
        return modulate(self.norm1(x_BFND), shift, scale)


class ReferenceBlock(ModulatedBlock):
    """Self-attention and feed-forward of a PixArt-α block without text."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.width)
        self.attn1 = SpatialAttention(config.width, config.num_attention_heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6, elementwise_affine=False)
        self.ff = FeedForward(config.width, activation_fn="gelu-approximate")

    def forward(self, x_BFND: torch.Tensor, modulation_B6D: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The block's output, and its attention input for the denoiser to read."""
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.modulation(modulation_B6D)
        feature = modulate(self.norm1(x_BFND), shift, scale)
        x = x_BFND + gate * self.attn1(feature)
        x = x + ff_gate * self.ff(modulate(self.norm2(x), ff_shift, ff_scale))
        return x, feature


class DenoisingBlock(ModulatedBlock):
    """Spatial attention (own and reference keys) → temporal module → audio attention → feed-forward."""

    def __init__(self, config: ModelConfig, index: int):
        super().__init__(config.width)
        width, heads = config.width, config.num_attention_heads
        self.attn1 = SpatialAttention(width, heads)
        self.temporal = TemporalModule(width, config.temporal_heads, config.temporal_window) if index in config.temporal_blocks else None
        self.audio = Attention(width, heads, context_width=config.audio_width) if config.with_audio else None
        self.norm_audio = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False) if config.audio_norm else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.ff = FeedForward(width, activation_fn="gelu-approximate")

    def reference_keys(self, feature_BND: torch.Tensor) -> KeysValues:
        """The reference's keys and values, each (B, H, N, d), by this block's own matrices."""
        return self.attn1.keys_values(feature_BND)

    def forward(
        self,
        x_BFND: torch.Tensor,
        modulation_B6D: torch.Tensor,
        grid: tuple[int, int],
        reference: KeysValues | None,
        reference_present: torch.Tensor | None,
        mask: RegionMask | None,
        frame_positions_FD: torch.Tensor | None,
        audio_BFTC: torch.Tensor | None,
        audio_gain_BF11: torch.Tensor | None,
    ) -> torch.Tensor:
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.modulation(modulation_B6D)
        x = x_BFND
        x = x + gate * self.attn1(modulate(self.norm1(x), shift, scale), reference, reference_present, mask)
        if self.temporal is not None:
            x = self.temporal(x, grid, frame_positions_FD)
        if audio_BFTC is not None and self.audio is not None and audio_gain_BF11 is not None:
            heard = self.audio(self.norm_audio(x).flatten(0, 1), audio_BFTC.flatten(0, 1)).unflatten(0, x.shape[:2])
            x = x + audio_gain_BF11.to(heard.dtype) * heard
        return x + ff_gate * self.ff(modulate(self.norm2(x), ff_shift, ff_scale))
