"""What looks at the model while it trains: called as `observer(trainer)` every `every_steps` optimiser steps and after the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from inference.models.schedule import SCHEDULE
from training.data.batch import TrainingBatch
from training.loop.inputs import model_inputs
from training.loop.loss import training_loss
from training.watch.sensitivity import sensitivity

if TYPE_CHECKING:
    from training.loop.trainer import Trainer


@dataclass
class Validation:
    """Loss of the averaged weights at the middle of each stratum of timesteps, on the same samples under the same noise in every run.

    Attributes:
        batches: made once; ranks share them out.
        num_timesteps: strata.
        every_steps: 0 = after the last step alone.
    """

    batches: Sequence[TrainingBatch]
    num_timesteps: int
    every_steps: int

    @property
    def timesteps(self) -> list[int]:
        width = SCHEDULE.num_steps / self.num_timesteps
        return [int((k + 0.5) * width) for k in range(self.num_timesteps)]

    @torch.no_grad()
    def __call__(self, trainer: Trainer) -> None:
        trainer.model.eval()
        with trainer.averaged_weights():
            values = self._losses(trainer) | sensitivity(trainer, self.batches)
        trainer.model.train()
        trainer.add_record("validation", values)
        trainer.say(
            f"  validation at step {trainer.state.step:,}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items() if "_t" not in k)
        )

    def _losses(self, trainer: Trainer) -> dict[str, float]:
        """The ranks share the batches: rank r of n takes batches r, r + n, r + 2 n …; one that has none left repeats one, which then counts
        nothing, because sharded models need all ranks in every forward."""
        rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
        sums = torch.zeros(self.num_timesteps, 3, dtype=torch.float64, device=trainer.device)
        for first in range(0, len(self.batches), world):
            mine = min(first + rank, len(self.batches) - 1)
            counts = float(first + rank < len(self.batches))
            for row, timestep in enumerate(self.timesteps):
                batch = self.batches[mine].to(trainer.device)
                batch = replace(batch, timesteps=torch.full_like(batch.timesteps, timestep))
                inputs = model_inputs(batch, trainer.codec, trainer.sizes.with_audio)
                prediction = trainer.network(**inputs.arguments)
                terms = training_loss(
                    prediction,
                    x0=inputs.x0,
                    noise=batch.noise,
                    timesteps=batch.timesteps,
                    schedule=SCHEDULE,
                    keep=batch.loss_keep,
                    error=trainer.config.loss.error,
                )
                values = torch.stack([terms.simple.sum(), terms.bound.sum(), torch.ones_like(terms.simple).sum()])
                sums[row] += counts * values.double()
        if world > 1:
            torch.distributed.all_reduce(sums)
        means = (sums[:, :2] / sums[:, 2:]).cpu()
        found = {"loss": float(means.sum(1).mean()), "loss_simple": float(means[:, 0].mean()), "loss_bound": float(means[:, 1].mean())}
        return found | {f"loss_t{t:03d}": float(row.sum()) for t, row in zip(self.timesteps, means, strict=True)}
