"""AdamW, its learning rate, the loss scale of fp16 and the running average of the weights: all that an update changes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.tensor import DTensor

from inference.models.megactor import MegActorModel, parts
from training.config import OptimiserConfig
from training.loop.tensors import gathered, like, load_optimiser, optimiser_tensors, trainable


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


def make_optimiser(parameters: Iterable[nn.Parameter], config: OptimiserConfig, fresh: Iterable[nn.Parameter] = ()) -> torch.optim.AdamW:
    """AdamW in one fused kernel a tensor list.

    Args:
        parameters: all that are trained.
        fresh: those of them that start at random; they learn at `fresh_lr`.
    """
    new = {id(parameter) for parameter in fresh}
    groups: dict[float, list[nn.Parameter]] = {}
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


class Optimiser:
    """One update after another of a model's trained parameters, and their average.

    Args:
        model: on its device, sharded already where it is to be.
        total_steps: of the run; the learning rate may depend on it.
        fresh: parts of the model that start at random (`training.loop.start.fresh_parts`).
        fp16: scale the loss, so that small gradients do not vanish in half precision; 2¹⁶ at first, halved where gradients overflow,
            doubled after 2,000 updates without (torch's defaults).

    Attributes:
        parameters: what is trained, by name.
    """

    def __init__(
        self, model: MegActorModel, config: OptimiserConfig, total_steps: int, fresh: frozenset[str] = frozenset(), fp16: bool = False
    ):
        self.parameters = trainable(model)
        self._config, self._total_steps = config, total_steps
        self.adamw = make_optimiser(self.parameters.values(), config, (p for part in fresh for p in parts(model)[part]))
        some = next(iter(self.parameters.values()))
        # torch has no rule for its list kernels (`foreach`) on sharded tensors.
        self.average = EMAModel(self.parameters.values(), decay=config.ema_decay, foreach=not isinstance(some, DTensor))
        self.scaler = torch.amp.GradScaler(some.device.type, enabled=fp16)

    def rate(self, step: int) -> float:
        """The configured learning rate at a step."""
        return learning_rate(self._config, step, self._total_steps)

    def backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss).backward()

    def update(self, step: int) -> float:
        """Weights, moments and average from the gradients, which are then dropped; the gradient's norm before clipping, the same on every
        rank. Where it is not finite nothing changes, but that a loss scale is halved."""
        self.scaler.unscale_(self.adamw)
        length = nn.utils.clip_grad_norm_(self.parameters.values(), self._config.clip_norm)
        norm = float(length.full_tensor() if isinstance(length, DTensor) else length)
        if math.isfinite(norm):
            set_learning_rate(self.adamw, self._config, step, self._total_steps)
            self.scaler.step(self.adamw)
            self.scaler.update()
            self.average.step(self.parameters.values())
        else:
            self._halve_scale()
        self.drop_gradients()
        return norm

    def _halve_scale(self) -> None:
        """The scaler's own verdict is of this rank's gradients; the norm's is every rank's, so scales stay the same everywhere."""
        if self.scaler.is_enabled():
            halved = self.scaler.get_scale() * self.scaler.get_backoff_factor()
            self.scaler.update(halved)  # also ends this update, as `step` would have
            self.load_scale(halved, 0)

    def drop_gradients(self) -> None:
        self.adamw.zero_grad(set_to_none=True)

    @property
    def scale(self) -> tuple[float, int] | None:
        """The loss scale and the updates since it last changed; None without one."""
        state = self.scaler.state_dict()
        return (float(state["scale"]), int(state["_growth_tracker"])) if state else None

    def load_scale(self, scale: float, updates_since: int) -> None:
        self.scaler.load_state_dict(self.scaler.state_dict() | {"scale": scale, "_growth_tracker": updates_since})

    def averages(self, here: bool) -> dict[str, torch.Tensor]:
        """The averaged weights of what is trained; see `tensors.gathered`."""
        return gathered(dict(zip(self.parameters, self.average.shadow_params, strict=True)), here)

    def tensors(self, here: bool) -> dict[str, torch.Tensor]:
        """Moments and step counts for a checkpoint; see `tensors.gathered`."""
        return optimiser_tensors(self.adamw, self.parameters, here)

    def load(self, averages: Mapping[str, torch.Tensor], file: Path, updates: int) -> None:
        """What `averages` and `tensors` gave.

        Raises:
            UserError: `file` does not hold exactly these parameters.
        """
        with torch.no_grad():
            for (name, parameter), shadow in zip(self.parameters.items(), self.average.shadow_params, strict=True):
                shadow.copy_(like(averages[name], parameter))
        self.average.optimization_step = updates
        load_optimiser(self.adamw, self.parameters, file)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The model holds its averaged weights inside; exactly its own after. They change places, without a third copy."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for parameter, shadow in zip(self.parameters.values(), self.average.shadow_params, strict=True):
            mine, other = (tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in (parameter, shadow))
            held = mine.clone()
            mine.copy_(other)
            other.copy_(held)
