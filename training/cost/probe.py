"""One micro-batch's work on random data, for `plan` and the benchmarks."""

from __future__ import annotations

import torch

from inference.models import SCHEDULE, MegActorModel
from inference.models.components import InferenceConfig
from training.config import TrainingConfig
from training.loop.hardware import dtype_of
from training.loop.loss import training_loss
from training.loop.optimiser import make_optimiser
from training.loop.stages import choose_trainable
from training.loop.tensors import trainable


class StepProbe:
    """A model of the configured stage with its loss and optimiser, as the trainer runs them.

    Args:
        micro_batch: samples of a step.
    """

    def __init__(self, config: TrainingConfig, inference: InferenceConfig, device: torch.device, micro_batch: int):
        sizes = inference.model.at_stage(config.stage)
        self._device, self._dtype = device, dtype_of(config.hardware.precision)
        self._model = MegActorModel.from_sizes(sizes).train()
        choose_trainable(self._model, config.stage)
        torch.nn.Module.to(self._model, device)
        if config.hardware.gradient_checkpointing:
            self._model.enable_gradient_checkpointing()
        if config.hardware.compile:
            self._model.compile_repeated_blocks(fullgraph=True)
        self._optimiser = make_optimiser(trainable(self._model).values(), config.optimiser)
        frames, cells = config.data.frames_of_stage(config.stage), inference.latent_grid[0]
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator).to(device)

        self._x0 = normal(micro_batch, frames, sizes.latent_channels, cells, cells)
        self._noise = normal(*self._x0.shape)
        self._timesteps = torch.randint(0, SCHEDULE.num_steps, (micro_batch,), generator=generator).to(device)
        self._inputs = {
            "latents": SCHEDULE.add_noise(self._x0, self._noise, self._timesteps),
            "timesteps": self._timesteps,
            "driven_frames": torch.rand(micro_batch, frames, 3, inference.size_px, inference.size_px, generator=generator).to(device),
            "reference_latents": normal(micro_batch, sizes.latent_channels, cells, cells),
            "moved_latents": normal(*self._x0.shape),
            "reference_present": torch.ones(micro_batch, dtype=torch.bool, device=device),
        }
        if sizes.with_audio:
            self._inputs["audio"] = normal(micro_batch, frames, sizes.audio_tokens, sizes.audio_width)
            self._inputs["audio_present"] = torch.ones(micro_batch, frames, device=device)

    def step(self) -> None:
        """Forward, loss, backward and update; returns when the device is done."""
        with torch.autocast(self._device.type, self._dtype, self._dtype != torch.float32):
            prediction = self._model(**self._inputs)
        training_loss(prediction, self._x0, self._noise, self._timesteps, SCHEDULE).total.backward()
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
