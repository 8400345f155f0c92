"""How far a swapped condition changes the picture, region by region: the early sign of whether sound has taken hold.

Where audio layers learn beside motion modules, models are known that move smoothly and show the same mouth for any sound. Here the denoised
picture of one prediction is compared with that for another sample's sound, and for another sample's driving patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from inference.models.schedule import SCHEDULE
from training.data.batch import TrainingBatch
from training.loop.inputs import model_inputs

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

TIMESTEP = 700  # so noisy that face parts come from the conditions, not from the noised picture


@torch.no_grad()
def sensitivity(trainer: Trainer, batches: Sequence[TrainingBatch]) -> dict[str, float]:
    """Mean absolute change of the denoised picture in 0…255, inside the target's mouth and eyes. All ranks call it with the same batches.

    Keys: `sound_swapped_mouth`, `sound_swapped_eyes` (stages 2, 3) and `driver_swapped_mouth`, `driver_swapped_eyes`; those without a
    sample that has the condition are left out. Only samples that see the condition and miss nothing count.
    """
    sums: dict[str, list[float]] = {}
    for batch in batches:
        batch = _same_noise(batch.to(trainer.device))
        usable = batch.reference_present & ~batch.conditions_dropped
        plain = _picture(trainer, batch)
        if batch.audio is not None and trainer.sizes.with_audio and batch.batch_size > 1:
            hears = usable & batch.audio_present.bool().all(1)
            swapped = replace(batch, audio=batch.audio.roll(1, dims=0), audio_present=torch.ones_like(batch.audio_present))
            _add(sums, "sound_swapped", plain, _picture(trainer, swapped), batch, hears & hears.roll(1))
        if batch.batch_size > 1:
            sees = usable & (batch.shows_eyes | batch.shows_mouth)
            same = (batch.shows_eyes == batch.shows_eyes.roll(1)) & (batch.shows_mouth == batch.shows_mouth.roll(1))
            swapped = replace(batch, driven_frames=batch.driven_frames.roll(1, dims=0), driven_boxes=batch.driven_boxes.roll(1, dims=0))
            _add(sums, "driver_swapped", plain, _picture(trainer, swapped), batch, sees & sees.roll(1) & same)
    return {name: sum(values) / len(values) for name, values in sums.items() if values}


def _same_noise(batch: TrainingBatch) -> TrainingBatch:
    return replace(batch, timesteps=torch.full_like(batch.timesteps, TIMESTEP))


def _picture(trainer: Trainer, batch: TrainingBatch) -> torch.Tensor:
    """(B, F, 3, S, S) in 0…255: the clean picture that one prediction implies."""
    inputs = model_inputs(batch, trainer.codec, trainer.sizes.with_audio)
    epsilon, _ = trainer.network(**inputs.arguments).float().chunk(2, dim=2)
    x0 = SCHEDULE.predict_x0(inputs.arguments["latents"].float(), epsilon, batch.timesteps)
    return trainer.codec.decode(x0).clamp(0, 1) * 255


def _add(
    sums: dict[str, list[float]], name: str, plain: torch.Tensor, swapped: torch.Tensor, batch: TrainingBatch, rows: torch.Tensor
) -> None:
    change = (plain - swapped).abs().mean(2)  # (B, F, S, S)
    for region, tokens in (("mouth", batch.mouth_tokens), ("eyes", batch.eye_tokens)):
        inside = functional.interpolate(tokens.float(), size=change.shape[-2:], mode="nearest").bool() & rows.reshape(-1, 1, 1, 1)
        if inside.any():
            sums.setdefault(f"{name}_{region}", []).append(float(change[inside].mean()))
