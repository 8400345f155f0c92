"""From a batch to what the model is called with, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from inference.models.codecs import LatentCodec
from inference.models.schedule import SCHEDULE
from training.augment.patches import augment_driven
from training.batch import TrainingBatch


@dataclass(frozen=True)
class ModelInputs:
    """Attributes:
    x0: (B, F, C, h, w) float32, the clean latents.
    arguments: keyword arguments of `MegActorModel.forward`.
    """

    x0: torch.Tensor
    arguments: dict[str, Any]


@torch.no_grad()
def model_inputs(batch: TrainingBatch, codec: LatentCodec, with_audio: bool) -> ModelInputs:
    """
    Args:
        batch: on the model's device.
        codec: encodes frames where the batch has no cached latents.
        with_audio: False in stage 1, whose model has no audio layers.
    """
    x0 = _latents(batch.target_latents, batch.target_frames, codec)
    arguments = {
        "latents": SCHEDULE.add_noise(x0, batch.noise.to(x0), batch.timesteps),
        "timesteps": batch.timesteps,
        "driven_frames": augment_driven(batch),
        "reference_latents": _latents(batch.reference_latents, batch.reference_frames, codec),
        "reference_present": batch.reference_present,
        "region_mask": batch.region_mask,
    }
    if with_audio:
        arguments |= {"audio": batch.audio.float(), "audio_present": batch.audio_present}
    return ModelInputs(x0, arguments)


def _latents(cached: torch.Tensor | None, frames: torch.Tensor | None, codec: LatentCodec) -> torch.Tensor:
    return cached.float() if cached is not None else codec.encode(frames.float() / 255)
