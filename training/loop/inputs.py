"""From a batch to what the model is called with, on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from inference.models.codecs import LatentCodec, RecolouringCodec
from inference.models.schedule import DiffusionSchedule
from manifests.errors import UserError
from training.data.batch import TrainingBatch
from training.data.patches import augment_driven


@dataclass(frozen=True)
class ModelInputs:
    """Attributes:
    x0: (B, F, C, h, w) float32, the clean latents.
    arguments: keyword arguments of `MegActorModel.forward`.
    """

    x0: torch.Tensor
    arguments: dict[str, Any]


@torch.no_grad()
def model_inputs(batch: TrainingBatch, codec: LatentCodec, with_audio: bool, schedule: DiffusionSchedule) -> ModelInputs:
    """
    Args:
        batch: on the model's device.
        codec: encodes frames where the batch has no cached latents.
        with_audio: False in stage 1, whose model has no audio layers.
        schedule: its tables on that device.
    """
    x0 = _recoloured(_latents(batch.target_latents, batch.target_frames, codec), batch, codec)
    arguments = {
        "latents": schedule.add_noise(x0, batch.noise.to(x0), batch.timesteps),
        "timesteps": batch.timesteps,
        "driven_frames": augment_driven(batch),
        "reference_latents": _recoloured(_latents(batch.reference_latents, batch.reference_frames, codec), batch, codec),
        "reference_present": batch.reference_present,
        "region_mask": batch.region_mask,
    }
    if batch.moved_frames is not None:
        arguments["moved_latents"] = _recoloured(codec.encode(batch.moved_frames.float() / 255), batch, codec)
    if with_audio:
        if batch.audio is None:
            raise ValueError("a model that hears needs batches with sound")
        arguments |= {"audio": batch.audio.float(), "audio_present": batch.audio_present}
    return ModelInputs(x0, arguments)


@torch.no_grad()
def encoded(batch: TrainingBatch, codec: LatentCodec) -> TrainingBatch:
    """The batch with float32 latents in place of its pictures, for whoever looks at one batch again and again."""
    return replace(
        batch,
        target_latents=_latents(batch.target_latents, batch.target_frames, codec),
        reference_latents=_latents(batch.reference_latents, batch.reference_frames, codec),
        target_frames=None,
        reference_frames=None,
    )


def emphasis(batch: TrainingBatch, codec: LatentCodec, region_weight: float, channels: str) -> torch.Tensor | None:
    """(B, F, C or 1, h, w) weights of the loss for the settings of `LossConfig`; None where they ask for none.

    Raises:
        UserError: channels "pixels" with a codec that does not know what its channels do to the picture.
    """
    weights = None
    if region_weight != 1:
        regions = batch.eye_tokens | batch.mouth_tokens  # (B, F, ht, wt)
        scale = batch.loss_keep.shape[-1] // regions.shape[-1]
        cells = regions.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        weights = 1 + (region_weight - 1) * cells[:, :, None].float()
    if channels == "pixels":
        if codec.channel_weights is None:
            raise UserError("loss.channels=pixels is for the block-DCT codec: of the VAE's channels nobody knows what they move")
        by_channel = torch.tensor(codec.channel_weights, device=batch.loss_keep.device)[:, None, None]
        weights = by_channel if weights is None else weights * by_channel
    return weights


def _latents(cached: torch.Tensor | None, frames: torch.Tensor | None, codec: LatentCodec) -> torch.Tensor:
    if cached is not None:
        return cached.float()
    if frames is None:
        raise ValueError("a batch holds pictures or their latents")
    return codec.encode(frames.float() / 255)


def _recoloured(latents: torch.Tensor, batch: TrainingBatch, codec: LatentCodec) -> torch.Tensor:
    """(B, …, C, h, w) in the samples' colours.

    Raises:
        UserError: a codec that cannot.
    """
    if batch.recolour is None:
        return latents
    if not isinstance(codec, RecolouringCodec):
        raise UserError("data.recolour.share is for the block-DCT codec: of the VAE's channels nobody knows which are colour; set it to 0")
    recolour = batch.recolour.reshape(-1, *[1] * (latents.ndim - 4), 2, 3)
    return codec.recoloured(latents, recolour[..., :2], recolour[..., 2])
