"""A model's and an optimiser's tensors by parameter name, whole on the CPU whatever shards them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from manifests.errors import UserError

if TYPE_CHECKING:
    from inference.models.config import ModelConfig
    from inference.models.megactor import MegActorModel

MOMENTS = ("exp_avg", "exp_avg_sq")


def gathered(tensors: Mapping[str, torch.Tensor], here: bool) -> dict[str, torch.Tensor]:
    """Copies of the full tensors on the CPU where `here`; nothing elsewhere, so that of many ranks one fills its memory.

    Where tensors are sharded every rank must call it, for each gives its share; where they are whole a rank without `here` does nothing.
    """
    found = {}
    for name, tensor in tensors.items():
        full = tensor.detach()
        if isinstance(full, DTensor):
            full = full.full_tensor()
        if here:
            found[name] = full.to("cpu", copy=True)
    return found


def like(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`value` on the device, in the dtype and, where `target` is sharded, in the placement of `target`."""
    if isinstance(target, DTensor):
        return distribute_tensor(value.to(target.device, target.dtype), target.device_mesh, target.placements)
    return value.to(target.device, target.dtype, copy=True)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def model_to_save(sizes: ModelConfig, tensors: Mapping[str, torch.Tensor]) -> MegActorModel:
    """A model of exactly these tensors, for `save_pretrained` alone: what is not saved (position tables) is not built."""
    from inference.models import MegActorModel

    with torch.device("meta"):
        model = MegActorModel.from_sizes(sizes)
    model.load_state_dict(dict(tensors), strict=True, assign=True)
    return model


def optimiser_tensors(optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], here: bool) -> dict[str, torch.Tensor]:
    """AdamW's moments and step counts by parameter name; empty before the first update. See `gathered`."""
    found: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        state = optimiser.state.get(parameter)
        if state:
            found |= gathered({f"{moment}.{name}": state[moment] for moment in MOMENTS} | {f"step.{name}": state["step"]}, here)
    return {name: tensor.reshape(1) if name.startswith("step.") else tensor for name, tensor in found.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], file: Path) -> None:
    """Fills an optimiser that has made no step yet.

    Raises:
        UserError: the file does not hold exactly these parameters.
    """
    from safetensors.torch import load_file

    tensors = load_file(file)
    if not tensors:
        return
    expected = {f"{kind}.{name}" for name in parameters for kind in (*MOMENTS, "step")}
    wrong = sorted(expected ^ set(tensors))
    if wrong:
        raise UserError(f"{file}: {len(wrong)} tensors are missing or unknown, such as {wrong[0]!r}")
    for name, parameter in parameters.items():
        optimiser.state[parameter] = {
            "step": tensors[f"step.{name}"].reshape(()).to(_step_device(optimiser, parameter)),
            **{moment: like(tensors[f"{moment}.{name}"], parameter) for moment in MOMENTS},
        }


def _step_device(optimiser: torch.optim.Optimizer, parameter: nn.Parameter) -> torch.device:
    """Fused kernels keep the step count on the parameter's device."""
    return parameter.device if optimiser.defaults.get("fused") else torch.device("cpu")
