"""Random draws that depend on (seed, stage, sample index, purpose) alone.

Every draw of training comes from here: ranks, workers, restarts and the order of calls cannot change any of them, and a loader's whole
state is the next sample index. Philox is counter based, so the stream of any index is reached without the streams before it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def draws(seed: int, stage: int, sample_index: int, purpose: str, attempt: int = 0) -> np.random.Generator:
    """A generator of its own for one purpose of one sample.

    Args:
        seed: of the run.
        stage: 1, 2 or 3.
        sample_index: global index of the sample, 0 or more.
        purpose: what is drawn, such as "timestep"; purposes are independent of each other.
        attempt: 0, or how many clips were found broken for this sample before.
    """
    if sample_index < 0 or attempt < 0:
        raise ValueError(f"sample_index is {sample_index} and attempt is {attempt}; both must be 0 or more")
    counter = np.array([0, 0, sample_index, attempt], np.uint64)  # word 0 counts up while numbers are drawn
    return np.random.Generator(np.random.Philox(key=_key(seed, stage, purpose), counter=counter))


def sample_noise(seed: int, stage: int, sample_index: int, shape: Sequence[int]) -> torch.Tensor:
    """Standard normal float32 on the CPU for one sample (its shape has no batch dimension); the same on every rank and machine."""
    import torch

    noise = draws(seed, stage, sample_index, "noise").standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(noise)


def batch_noise(seed: int, stage: int, sample_indices: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """(B, *shape) float32: `sample_noise` of each index."""
    import torch

    return torch.stack([sample_noise(seed, stage, int(index), shape) for index in sample_indices])


@functools.lru_cache(maxsize=256)
def _key(seed: int, stage: int, purpose: str) -> np.ndarray:
    """128 bits; read only, because it is shared."""
    digest = hashlib.blake2b(f"{int(seed)}\n{int(stage)}\n{purpose}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, np.uint64)
    key.flags.writeable = False
    return key
