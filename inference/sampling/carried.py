"""Sampling without an end: each window begins with the last frames of the one before, as they came out, and looks no further ahead.

The clips' sampler lets windows overlap and merges what they say, which needs the next window before a frame can leave. Here the first
frames of a window are known: at every step they are shown to the model with as much of their noise as that step has (what inpainting by
diffusion does, Lugmayr et al., CVPR 2022), and the temporal modules carry them on into the new ones.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from inference.models.attention import KeysValues
from inference.models.megactor import MegActorModel
from inference.sampling.noise import frame_noise, step_generators


class CarriedSampler:
    """Makes the frames of one endless clip, driven by pictures alone and without guidance.

    Args:
        model: on the device and in the dtype to compute in.
        scheduler: a diffusers scheduler; it is copied, never changed.
        reference_latents: (C, h, w).
        num_steps: solver steps.
        context: frames that a window takes from the last one; 0 for models without temporal modules.
        seed: of the noise, which depends on it and, in models with temporal modules, on a frame's number.
    """

    def __init__(
        self, model: MegActorModel, scheduler: Any, reference_latents: torch.Tensor, *, num_steps: int, context: int, seed: int = 0
    ):
        self._model, self._scheduler, self._steps, self._seed = model, scheduler, num_steps, seed
        self._context = context if model.sizes.with_temporal else 0
        self._reference = reference_latents[None].to(model.device, model.dtype)
        self._keys: dict[int, tuple[KeysValues, ...]] = {}  # by step
        self._latents = reference_latents.new_zeros(0, *reference_latents.shape).to(model.device)  # (k, C, h, w) of the last frames
        self._driven: torch.Tensor | None = None  # (k, Cd, h, w) of them
        self._copied: torch.Tensor | None = None  # (k, copied_channels, h, w) of them
        self._num_frames = 0

    @torch.no_grad()
    def next(self, driven: torch.Tensor, moved: torch.Tensor | None = None) -> torch.Tensor:
        """The next frames, (n, C, h, w) float32 latents; n ≥ 1.

        Args:
            driven: (n, 3, 8h, 8w) in 0…1, black outside the patches.
            moved: (n, C, h, w) latents of the reference moved to each frame's head, for models that see it; None leaves it where it is.
        """
        model, known, count = self._model, len(self._latents), len(driven)
        features = model.driven_encoder(driven[None].to(model.device, model.dtype))[0]
        copied = self._shown_reference(moved, count)
        if self._driven is not None:
            features = torch.cat([self._driven, features])
        if self._copied is not None and copied is not None:
            copied = torch.cat([self._copied, copied])
        scheduler = copy.copy(self._scheduler)
        scheduler.set_timesteps(self._steps)
        first = self._num_frames - known
        shape, same = tuple(self._reference.shape[1:]), not model.sizes.with_temporal
        noise = frame_noise(self._seed, first, known + count, shape, same).to(model.device)
        latents = noise[known:] * scheduler.init_noise_sigma
        for step, timestep in enumerate(scheduler.timesteps):
            shown = scheduler.scale_model_input(latents, timestep)
            if known:
                carried = scheduler.add_noise(self._latents, noise[:known], timestep.reshape(1).expand(known))
                shown = torch.cat([scheduler.scale_model_input(carried, timestep), shown])
            output = model.denoiser(
                shown[None].to(model.dtype),
                timestep.reshape(1).to(model.device),
                features[None],
                reference=self._reference_keys(step, timestep),
                copied=None if copied is None else copied[None],
            ).float()[0, known:]
            latents = self._solved(scheduler, output, timestep, latents, step)
        self._num_frames += count
        if self._context:
            self._latents = torch.cat([self._latents, latents])[-self._context :]
            self._driven = features[-self._context :]
            self._copied = None if copied is None else copied[-self._context :]
        return latents

    def _solved(self, scheduler: Any, output: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor, step: int) -> torch.Tensor:
        import inspect

        channels = self._model.sizes.latent_channels
        learned = getattr(scheduler.config, "variance_type", None) in ("learned", "learned_range")
        arguments = {}
        if "generator" in inspect.signature(scheduler.step).parameters:
            arguments["generator"] = step_generators(self._seed, self._num_frames, len(latents), step)
        return scheduler.step(output if learned else output[:, :channels], timestep, latents, **arguments).prev_sample.float()

    def _shown_reference(self, moved: torch.Tensor | None, count: int) -> torch.Tensor | None:
        """(n, copied_channels, h, w); None for models that are shown nothing of it beside the frames."""
        model = self._model
        if not model.sizes.copied_channels:
            return None
        given = None
        if model.sizes.copied_reference == "moved":
            still = self._reference.expand(count, *self._reference.shape[1:])
            given = (still if moved is None else moved.to(model.device, model.dtype))[None]
        copied = model.copied(self._reference, given, count)
        return None if copied is None else copied[0]

    def _reference_keys(self, step: int, timestep: torch.Tensor) -> tuple[KeysValues, ...]:
        key = 0 if self._model.sizes.reference_timestep == "zero" else step
        if key not in self._keys:
            self._keys[key] = self._model.reference_keys(self._reference, timestep.reshape(1).to(self._model.device))
        return self._keys[key]
