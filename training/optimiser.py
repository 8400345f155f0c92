"""AdamW and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curation.configuration import nearest

if TYPE_CHECKING:
    import torch

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, learning rate, clipping and the running average of the weights.

    Attributes:
        lr: peak learning rate.
        schedule: after the warm-up, `constant`, or `cosine` down to `final_lr_ratio` of the peak at the last step.
        warmup_steps: steps of linear rise from 0.
        clip_norm: gradients longer than this are shortened to it, once a step, over all accumulated micro-batches.
        ema_decay: of the average; the first steps use less, (1 + n)/(10 + n).
    """

    lr: float = 1e-5
    schedule: str = "constant"
    warmup_steps: int = 500
    final_lr_ratio: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.03
    clip_norm: float = 1.0
    ema_decay: float = 0.9999

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}{nearest(self.schedule, SCHEDULES)}")
        if self.lr <= 0 or self.clip_norm <= 0 or self.eps <= 0:
            raise ValueError("lr, clip_norm and eps must be positive")
        if self.warmup_steps < 0 or not 0 <= self.final_lr_ratio <= 1 or self.weight_decay < 0:
            raise ValueError("warmup_steps and weight_decay must be 0 or more, final_lr_ratio in 0…1")
        if not (0 <= self.ema_decay < 1 and 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError("ema_decay, beta1 and beta2 must lie in 0…1, below 1")


def learning_rate(config: OptimiserConfig, step: int, total_steps: int) -> float:
    """Of optimiser step `step` (0, 1, …): a function of the step alone, so resuming needs no state."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    share = min(1.0, (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    return config.lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * share)))


def make_optimiser(parameters: Iterable[torch.nn.Parameter], config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW in one fused kernel a tensor list."""
    import torch

    return torch.optim.AdamW(
        list(parameters),
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
