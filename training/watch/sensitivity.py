"""How far a swapped condition changes the picture, region by region: the early sign of whether sound has taken hold.

Where audio layers learn beside motion modules, models are known that move smoothly and show the same mouth for any sound. Here the denoised
picture of one prediction is compared with that for another sample's sound, and for another sample's driving patches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from training.data.batch import TrainingBatch
from training.loop.inputs import model_inputs

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

TIMESTEP = 700  # so noisy that face parts come from the conditions, not from the noised picture


REGIONS = ("mouth", "eyes")
SWAPS = ("sound_swapped", "driver_swapped")


class Changes:
    """Mean absolute change of the denoised picture in 0…255, inside the target's mouth and eyes; summed on the device.

    Of batches in which a swapped sample saw the condition and missed nothing; `read` sums over ranks.
    """

    def __init__(self, device: torch.device):
        self._sums = torch.zeros(len(SWAPS), len(REGIONS), 2, dtype=torch.float64, device=device)  # of batches' means, and their number

    @torch.no_grad()
    def add(self, trainer: Trainer, batch: TrainingBatch, counts: bool = True) -> None:
        """
        Args:
            batch: on the device, with latents.
            counts: False computes it for the other ranks' sake alone.
        """
        if batch.batch_size == 1:
            return
        batch = replace(batch, timesteps=torch.full_like(batch.timesteps, TIMESTEP))
        usable = batch.reference_present & ~batch.conditions_dropped
        plain = _picture(trainer, batch)
        if trainer.sizes.with_audio and batch.audio is not None:
            hears = usable & batch.audio_present.bool().all(1)
            swapped = replace(batch, audio=batch.audio.roll(1, dims=0), audio_present=torch.ones_like(batch.audio_present))
            self._add(0, plain, _picture(trainer, swapped), batch, hears & hears.roll(1) & counts)
        sees = usable & (batch.shows_eyes | batch.shows_mouth)
        same = (batch.shows_eyes == batch.shows_eyes.roll(1)) & (batch.shows_mouth == batch.shows_mouth.roll(1))
        swapped = replace(batch, driven_frames=batch.driven_frames.roll(1, dims=0), driven_boxes=batch.driven_boxes.roll(1, dims=0))
        self._add(1, plain, _picture(trainer, swapped), batch, sees & sees.roll(1) & same & counts)

    def _add(self, swap: int, plain: torch.Tensor, swapped: torch.Tensor, batch: TrainingBatch, rows: torch.Tensor) -> None:
        change = (plain - swapped).abs().mean(2)  # (B, F, S, S)
        for region, tokens in enumerate((batch.mouth_tokens, batch.eye_tokens)):
            inside = functional.interpolate(tokens.float(), size=change.shape[-2:], mode="nearest").bool() & rows.reshape(-1, 1, 1, 1)
            area = inside.sum()
            self._sums[swap, region] += torch.stack([(change * inside).sum() / area.clamp(min=1), (area > 0).float()]).double()

    def read(self) -> dict[str, float]:
        """`sound_swapped_mouth`, `sound_swapped_eyes` (stages 2, 3), `driver_swapped_mouth` and `driver_swapped_eyes`; without those that
        no sample could show. All ranks call it."""
        summed_over_ranks(self._sums)
        table = self._sums.cpu()
        return {
            f"{name}_{region}": float(table[s, r, 0] / table[s, r, 1])
            for s, name in enumerate(SWAPS)
            for r, region in enumerate(REGIONS)
            if table[s, r, 1]
        }


def summed_over_ranks(sums: torch.Tensor) -> None:
    """In place; every rank gets the sum."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums)


def _picture(trainer: Trainer, batch: TrainingBatch) -> torch.Tensor:
    """(B, F, 3, S, S) in 0…255: the clean picture that one prediction implies."""
    inputs = model_inputs(batch, trainer.codec, trainer.sizes.with_audio, trainer.schedule)
    epsilon, _ = trainer.predict(inputs).chunk(2, dim=2)
    x0 = trainer.schedule.predict_x0(inputs.arguments["latents"].float(), epsilon, batch.timesteps)
    return trainer.codec.decode(x0).clamp(0, 1) * 255
