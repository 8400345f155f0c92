"""What looks at the model while it trains: called as `observer(trainer)` every `every_steps` optimiser steps and after the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from inference.models.schedule import SCHEDULE
from training.data.batch import TrainingBatch
from training.loop.inputs import encoded, model_inputs
from training.loop.loss import training_loss
from training.watch.sensitivity import Changes, summed_over_ranks

if TYPE_CHECKING:
    from training.loop.trainer import Trainer


@dataclass
class Validation:
    """Loss of the averaged weights at the middle of each stratum of timesteps, on the same samples under the same noise in every run.

    Attributes:
        batches: all of them on every rank; ranks share them out.
        num_timesteps: strata.
        every_steps: 0 = after the last step alone.
    """

    batches: Sequence[TrainingBatch]
    num_timesteps: int
    every_steps: int
    name: str = "validation"

    @property
    def timesteps(self) -> list[int]:
        width = SCHEDULE.num_steps / self.num_timesteps
        return [int((k + 0.5) * width) for k in range(self.num_timesteps)]

    @torch.no_grad()
    def __call__(self, trainer: Trainer) -> None:
        sums, changes = LossByTimestep(self.timesteps, trainer.device), Changes(trainer.device)
        trainer.model.eval()
        with trainer.optimiser.averaged_weights():
            for batch, counts in shares(self.batches, trainer.accelerator.process_index, trainer.accelerator.num_processes):
                batch = encoded(batch.to(trainer.device), trainer.codec)
                sums.add(trainer, batch, counts)
                changes.add(trainer, batch, counts)
        trainer.model.train()
        values = sums.read() | changes.read()
        trainer.add_record("validation", values)
        trainer.say(
            f"  validation at step {trainer.state.step:,}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items() if "_t" not in k)
        )


def shares(batches: Sequence[TrainingBatch], rank: int, ranks: int) -> Iterator[tuple[TrainingBatch, bool]]:
    """Every `ranks`-th batch, and whether it counts. Where they do not share out evenly, a rank that has none left repeats the last one in
    vain: a sharded model needs all ranks in every forward."""
    for first in range(0, len(batches), ranks):
        yield batches[min(first + rank, len(batches) - 1)], first + rank < len(batches)


class LossByTimestep:
    """Both terms of the loss at each of some timesteps, summed on the device; `read` sums over ranks."""

    def __init__(self, timesteps: Sequence[int], device: torch.device):
        self._timesteps = timesteps
        self._sums = torch.zeros(len(timesteps), 3, dtype=torch.float64, device=device)

    def add(self, trainer: Trainer, batch: TrainingBatch, counts: bool) -> None:
        """
        Args:
            batch: on the device, with latents.
            counts: False computes it for the other ranks' sake alone.
        """
        for row, timestep in enumerate(self._timesteps):
            batch = replace(batch, timesteps=torch.full_like(batch.timesteps, timestep))
            inputs = model_inputs(batch, trainer.codec, trainer.sizes.with_audio, trainer.schedule)
            terms = training_loss(
                trainer.predict(inputs),
                x0=inputs.x0,
                noise=batch.noise,
                timesteps=batch.timesteps,
                schedule=trainer.schedule,
                keep=batch.loss_keep,
                error=trainer.config.loss.error,
            )
            if counts:
                self._sums[row] += torch.stack([terms.simple.sum(), terms.bound.sum(), torch.ones_like(terms.simple).sum()]).double()

    def read(self) -> dict[str, float]:
        """Means over samples: `loss`, its two terms, and `loss_tNNN` of each timestep. All ranks call it."""
        summed_over_ranks(self._sums)
        means = (self._sums[:, :2] / self._sums[:, 2:]).cpu()
        found = {"loss": float(means.sum(1).mean()), "loss_simple": float(means[:, 0].mean()), "loss_bound": float(means[:, 1].mean())}
        return found | {f"loss_t{t:03d}": float(row.sum()) for t, row in zip(self._timesteps, means, strict=True)}
