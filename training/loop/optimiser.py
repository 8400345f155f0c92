"""AdamW and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from training.config import OptimiserConfig

if TYPE_CHECKING:
    import torch


def learning_rate(config: OptimiserConfig, step: int, total_steps: int) -> float:
    """Of optimiser step `step` (0, 1, …): a function of the step alone, so resuming needs no state."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    share = min(1.0, (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    return config.lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * share)))


def set_learning_rate(optimiser: torch.optim.Optimizer, config: OptimiserConfig, step: int, total_steps: int) -> None:
    """Of every group of `make_optimiser`, each in its own proportion to the configured rate."""
    rate = learning_rate(config, step, total_steps)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_ratio"]


def make_optimiser(
    parameters: Iterable[torch.nn.Parameter], config: OptimiserConfig, fresh: Iterable[torch.nn.Parameter] = ()
) -> torch.optim.AdamW:
    """AdamW in one fused kernel a tensor list.

    Args:
        parameters: all that are trained.
        fresh: those of them that start at random; they learn at `fresh_lr`.
    """
    import torch

    new = {id(parameter) for parameter in fresh}
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        rate = config.fresh_lr if config.fresh_lr is not None and id(parameter) in new else config.lr
        groups.setdefault(rate / config.lr, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": members, "lr": config.lr * ratio, "lr_ratio": ratio} for ratio, members in groups.items()],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
