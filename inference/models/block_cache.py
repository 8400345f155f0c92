"""Skipping most of the model at steps where it would say nearly the same as before.

First-block caching, as ParaAttention has it and diffusers offers it: if what the first block adds to the residual stream has hardly changed
since the last full evaluation, what the other blocks added then is added again. Costs quality; `benchmarks.inference` measures how much.
"""

from __future__ import annotations

import torch

EVERY_TOKEN = 8  # the change is measured on every eighth token: what is kept for comparison is then small


class BlockCache:
    """The state of one window (all of its guidance branches) from step to step.

    Args:
        threshold: relative mean absolute change of the first block's contribution up to which the others are skipped; 0.1 is careful.

    Attributes:
        evaluated, skipped: how often the blocks behind the first were run, and were not.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold
        self.evaluated = self.skipped = 0
        self._first: torch.Tensor | None = None
        self._rest: torch.Tensor | None = None

    def rest(self, first: torch.Tensor) -> torch.Tensor | None:
        """What to add for the blocks behind the first, or None if they must run.

        Args:
            first: (B, F, N, D), what the first block has added.
        """
        sample = first[:, :, ::EVERY_TOKEN]
        if self._rest is not None and self._first is not None and self._first.shape == sample.shape:
            change = (sample - self._first).abs().mean() / self._first.abs().mean()
            if change.item() < self.threshold:
                self.skipped += 1
                return self._rest
        self._first = sample.clone()
        self.evaluated += 1
        return None

    def keep(self, rest: torch.Tensor) -> None:
        """What the blocks behind the first have added, after a full evaluation."""
        self._rest = rest
