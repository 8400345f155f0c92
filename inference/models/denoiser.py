"""The denoising transformer: PixArt-α without text, with driven, reference, audio and temporal paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers.models.normalization import AdaLayerNormSingle
from torch import nn
from torch.nn import functional

from inference.models.attention import KeysValues
from inference.models.blocks import DenoisingBlock, modulate
from inference.models.config import ModelConfig
from inference.models.masks import RegionMask
from inference.models.positions import sinusoidal_positions
from inference.models.reference import patch_embedding
from inference.models.schedule import SCHEDULE
from inference.models.shapes import ShapeError, Shapes, require_multiple

if TYPE_CHECKING:
    from inference.models.block_cache import BlockCache


def _as_noise(prediction: str, x: torch.Tensor, latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The noise that the first half of the channels imply, which are a velocity or the clean latents. In float32 at least: bfloat16 would
    round away what they say where they say least about the noise."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    said, interpolation = x.to(dtype).chunk(2, dim=2)
    noise_of = SCHEDULE.noise_of_velocity if prediction == "velocity" else SCHEDULE.noise_of_sample
    return torch.cat([noise_of(said, latents.to(dtype), timesteps), interpolation], dim=2)


def audio_tokens(config: ModelConfig, audio_BFTC: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What the audio attention's keys and values are made of: windows of sound, normed if `audio_norm`, and the code of their order."""
    if config.audio_norm:  # before the code, which a spike would otherwise drown; in float32 at least, because half holds no spike's square
        wide = torch.promote_types(audio_BFTC.dtype, torch.float32)
        audio_BFTC = functional.layer_norm(audio_BFTC.to(wide), (config.audio_width,), eps=1e-6)
    audio_BFTC = audio_BFTC.to(dtype)
    return audio_BFTC + sinusoidal_positions(config.audio_tokens, config.audio_width, audio_BFTC)


class DenoisingTransformer(nn.Module):
    """Predicts noise and variance interpolation for every frame of a clip; one timestep a clip."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any]  # diffusers' `enable_gradient_checkpointing` sets it

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.sizes = config
        self.pos_embed = patch_embedding(config, config.latent_channels + config.driven_channels + config.copied_channels)
        self.adaln_single = AdaLayerNormSingle(config.width)
        self.transformer_blocks = nn.ModuleList([DenoisingBlock(config, index) for index in range(config.num_layers)])
        self.norm_out = nn.LayerNorm(config.width, eps=1e-6, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.empty(2, config.width))
        self.proj_out = nn.Linear(config.width, config.patch_size**2 * 2 * config.latent_channels)

    @property
    def blocks(self) -> list[DenoisingBlock]:
        """`transformer_blocks` by their type."""
        return cast("list[DenoisingBlock]", list(self.transformer_blocks))

    def reference_keys(self, features: Sequence[torch.Tensor]) -> tuple[KeysValues, ...]:
        """Keys and values of the reference, projected once a clip by this network's own matrices; reuse them over frames and windows, and
        over sampling steps if `reference_timestep` is "zero".

        Args:
            features: from `ReferenceTransformer`, one (B, N, D) for each reading block.

        Returns:
            For each reading block (k, v), each (B, H, N, d).
        """
        blocks = [self.blocks[index] for index in self.sizes.reference_blocks]
        if len(features) != len(blocks):
            raise ShapeError(f"reference_features has {len(features)} tensors; it needs {len(blocks)}, one for each block that reads them")
        shapes = Shapes()
        for index, feature in enumerate(features):
            shapes.check(f"reference_features[{index}]", feature, "B", "N", self.sizes.width)
        return tuple(block.reference_keys(feature) for block, feature in zip(blocks, features, strict=True))

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        driven: torch.Tensor,
        reference: Sequence[KeysValues] | None = None,
        reference_present: torch.Tensor | None = None,
        audio: torch.Tensor | None = None,
        audio_gain: torch.Tensor | None = None,
        region_mask: RegionMask | None = None,
        copied: torch.Tensor | None = None,
        frame_positions: bool = True,
        block_cache: BlockCache | None = None,
    ) -> torch.Tensor:
        """
        Args:
            latents: (B, F, C, h, w) noisy.
            timesteps: (B,) int64.
            driven: (B, F, Cd, h, w) from `DrivenEncoder`.
            reference: from `reference_keys`; None leaves the reference out (its keys are dropped, not zeroed).
            reference_present: (B,) bool, the clips of a mixed batch that have a reference; None means all.
            audio: (B, F, T, Ca) audio windows; None skips the audio layers.
            audio_gain: (B, F), what Eq. 3 multiplies the audio attention by: audio_scale · present. None means 1.
            region_mask: Eq. 2, see `eye_mouth_mask`; None in all batches that do not need it.
            copied: (B, F, copied_channels, h, w) latents of the reference, see `ModelConfig.copied_reference`: moved, then still; zeros,
                or None, where it is left out.
            frame_positions: False makes the temporal modules blind to the order of frames.
            block_cache: may stand in for the blocks behind the first; a sampler keeps one a window.

        Returns:
            (B, F, 2C, h, w): noise prediction in the first C channels, variance interpolation in the rest; float32 or better
            unless `prediction` is "epsilon".
        """
        config, patch = self.sizes, self.sizes.patch_size
        grid = self._check(latents, timesteps, driven, reference, reference_present, audio, audio_gain, region_mask, copied)
        num_clips, num_frames = latents.shape[:2]

        shown = [latents, driven.to(latents.dtype)]
        if config.copied_channels:
            none = latents.new_zeros(num_clips, num_frames, config.copied_channels, *latents.shape[3:])
            copied = none if copied is None else copied.to(latents.dtype)
            shown.append(copied)
        x = self.pos_embed(torch.cat(shown, dim=2).flatten(0, 1))
        # The patch convolution leaves channels outermost; every sum on the residual stream would keep it so, and every norm would copy.
        x = x.contiguous().unflatten(0, (num_clips, num_frames))
        modulation, embedded_timestep = self.adaln_single(timesteps, hidden_dtype=x.dtype)
        modulation = modulation.unflatten(1, (6, -1))
        positions = sinusoidal_positions(num_frames, config.width, x) if config.with_temporal and frame_positions else None
        if audio is not None:
            audio = audio_tokens(config, audio, x.dtype)
            audio_gain = x.new_ones(num_clips, num_frames) if audio_gain is None else audio_gain
            audio_gain = audio_gain[:, :, None, None]
        mask_with_reference = (
            region_mask.with_reference(num_frames, reference_present) if region_mask is not None and reference is not None else None
        )

        before_first, after_first = x, None
        for index, block in enumerate(self.transformer_blocks):
            reads = reference is not None and index in config.reference_blocks
            inputs = (
                x,
                modulation,
                grid,
                reference[index - config.first_reference_block] if reference is not None and reads else None,
                reference_present if reads else None,
                mask_with_reference if reads else region_mask,
                positions,
                audio,
                audio_gain if audio is not None else None,
            )
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, *inputs)
            else:
                x = block(*inputs)
            if index == 0 and block_cache is not None:
                rest = block_cache.rest(x - before_first)
                if rest is not None:
                    x = x + rest
                    break
                after_first = x
        if block_cache is not None and after_first is not None:
            block_cache.keep(x - after_first)

        shift, scale = (self.scale_shift_table + embedded_timestep[:, None]).chunk(2, dim=1)
        x = self.proj_out(modulate(self.norm_out(x), shift[:, :, None], scale[:, :, None]))
        x = x.unflatten(3, (patch, patch, -1)).unflatten(2, grid)  # B F h w p q C
        x = x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
        if copied is not None:  # zero output is the reference
            x = x + functional.pad(copied[:, :, : config.latent_channels], (0, 0, 0, 0, 0, config.latent_channels))
        return x if config.prediction == "epsilon" else _as_noise(config.prediction, x, latents, timesteps)

    def _check(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        driven: torch.Tensor,
        reference: Sequence[KeysValues] | None,
        reference_present: torch.Tensor | None,
        audio: torch.Tensor | None,
        audio_gain: torch.Tensor | None,
        region_mask: RegionMask | None,
        copied: torch.Tensor | None,
    ) -> tuple[int, int]:
        """Raises `ShapeError` for what does not fit; returns the token grid (h, w)."""
        config, shapes = self.sizes, Shapes()
        shapes.check("latents", latents, "B", "F", config.latent_channels, "h", "w")
        shapes.check("timesteps", timesteps, "B")
        shapes.check("driven", driven, "B", "F", config.driven_channels, "h", "w")
        if copied is not None:
            if not config.copied_channels:
                raise ShapeError("copied was given, but this model takes none (copied_reference is 'none')")
            shapes.check("copied", copied, "B", "F", config.copied_channels, "h", "w")
        side = config.patch_size * (config.temporal_window if config.with_temporal else 1)
        for name, size in (("height", latents.shape[-2]), ("width", latents.shape[-1])):
            require_multiple(f"the {name} of latents", size, side, "cells a token, times tokens a temporal window")
        grid = latents.shape[-2] // config.patch_size, latents.shape[-1] // config.patch_size
        shapes.sizes["N"] = grid[0] * grid[1]
        if reference is not None:
            if len(reference) != len(config.reference_blocks):
                raise ShapeError(f"reference has {len(reference)} pairs of keys and values; it needs {len(config.reference_blocks)}")
            for index, pair in enumerate(reference):
                for name, tensor in zip(("keys", "values"), pair, strict=True):
                    shapes.check(f"reference[{index}] {name}", tensor, "B", config.num_attention_heads, "N", config.attention_head_dim)
        if reference_present is not None:
            shapes.check("reference_present", reference_present, "B")
            if reference_present.dtype != torch.bool:
                raise ShapeError(f"reference_present is {reference_present.dtype}; it needs torch.bool")
        if audio is not None:
            if not config.with_audio:
                raise ShapeError("audio was given, but this model has no audio layers (with_audio is False): grow it to stage 2 first")
            shapes.check("audio", audio, "B", "F", config.audio_tokens, config.audio_width)
        if audio_gain is not None:
            shapes.check("audio_gain", audio_gain, "B", "F")
        if region_mask is not None:
            shapes.check("region_mask.rows", region_mask.rows, "R")
            shapes.check("region_mask.keep", region_mask.keep, "R", 1, "N", "N")
            if region_mask.keep.dtype != torch.bool:
                raise ShapeError(f"region_mask.keep is {region_mask.keep.dtype}; it needs torch.bool")
        return grid
