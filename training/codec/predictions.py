"""Latents as a trained model gets them wrong, beside the pictures that they should have become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from inference.models.block_dct import BlockDctCodec
from inference.models.schedule import SCHEDULE
from inference.pipeline import MegActorSigmaPipeline
from manifests.errors import UserError
from training.config import load_training_config
from training.data.loader import make_loader, open_clips
from training.data.modality import ModalityConfig
from training.loop.inputs import model_inputs

_AT_ONCE = 16
_FIRST, _SECOND = 999, 499  # timesteps of a sampler of two steps


@torch.no_grad()
def load_predictions(
    pipeline: str, manifest: str, count: int, seed: int, device: str, say: Callable[[str], None]
) -> tuple[torch.Tensor, np.ndarray]:
    """(N, C, h, w) float32 latents that a pipeline's model predicts in two steps from a driver's eyes and mouth, and the (N, S, S, 3) uint8
    pictures that it should have predicted; of the clips that training may use.

    Raises:
        UserError: no such pipeline or manifest.
    """
    pipe = MegActorSigmaPipeline.from_pretrained(pipeline, device=device)
    config = load_training_config("embedded-weights", 1)
    modality = ModalityConfig(eyes_share=0, mouth_share=0, both_share=1, reference_dropout=0, driving_dropout=0, all_dropout=0)
    data = replace(config.data, modality=modality, latent_cache=None)
    table = open_clips(data, pipe.settings, manifest, 1)
    loader = make_loader(data, pipe.settings, table, stage=1, seed=seed, batch_size=_AT_ONCE)
    model, schedule, codec = pipe.transformer.eval(), SCHEDULE.to(device), BlockDctCodec()
    latents: list[torch.Tensor] = []
    pictures: list[np.ndarray] = []
    say(f"{count:,} predictions of {pipeline}")
    for batch in loader:
        on_device = batch.to(device)
        inputs = model_inputs(on_device, codec, False, schedule)
        x0 = torch.zeros_like(inputs.x0)
        for timestep in (_FIRST, _SECOND):
            timesteps = torch.full_like(on_device.timesteps, timestep)
            noisy = schedule.add_noise(x0, on_device.noise, timesteps)
            noise, _ = model(**{**inputs.arguments, "latents": noisy, "timesteps": timesteps}).float().chunk(2, dim=2)
            x0 = schedule.predict_x0(noisy, noise, timesteps)
        if batch.target_frames is None:
            raise UserError("predictions are made from videos, not from cached latents")
        latents.append(x0[:, 0].cpu())
        pictures.append(batch.target_frames[:, 0].permute(0, 2, 3, 1).numpy())
        if len(latents) * _AT_ONCE >= count:
            break
    return torch.cat(latents)[:count], np.concatenate(pictures)[:count]
