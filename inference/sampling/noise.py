"""Noise that is a function of (seed, purpose, frame): longer clips, other windows, batches or devices do not change a frame's noise."""

from __future__ import annotations

import numpy as np
import torch

from inference.sampling.settings import MAX_SEED

INITIAL, STEP = 0, 1  # purposes: the first latents; what a stochastic sampler adds at a step


def frame_noise(seed: int, first_frame: int, num_frames: int, shape: tuple[int, ...], same: bool = False) -> torch.Tensor:
    """(num_frames, *shape) float32 standard normal on the CPU, from Philox keyed by the seed, counted by the frame.

    Args:
        same: all frames have the first frame's, for models without temporal modules: what they make of each frame's noise is not evened out
            over time, so frames of their own noise differ by more than what drives them, and flicker.
    """
    if same:
        return frame_noise(seed, 0, 1, shape).expand(num_frames, *shape).clone()
    frames = range(first_frame, first_frame + num_frames)
    return torch.from_numpy(np.stack([_philox(seed, INITIAL, frame, 0).standard_normal(shape, dtype=np.float32) for frame in frames]))


def _philox(seed: int, purpose: int, frame: int, step: int) -> np.random.Generator:
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed is {seed}; it must lie in 0…2^63 − 1")
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, frame, step]))


def seed_of(generator: torch.Generator | int | None) -> int:
    """One seed for a clip: the number itself, a draw from the generator's state, or a fresh one from the system."""
    if generator is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) & MAX_SEED
    if isinstance(generator, torch.Generator):
        return int(torch.randint(0, MAX_SEED, (1,), generator=generator, device=generator.device, dtype=torch.int64))
    return int(generator)


def step_generators(seed: int, first_frame: int, num_frames: int, step: int) -> list[torch.Generator]:
    """One generator a frame for diffusers' stochastic schedulers, whose batch are the frames: a frame's noise depends neither on its
    neighbours nor on the order of work."""
    draws = [_philox(seed, STEP, frame, step).integers(MAX_SEED) for frame in range(first_frame, first_frame + num_frames)]
    return [torch.Generator().manual_seed(int(draw)) for draw in draws]
