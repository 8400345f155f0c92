"""Where a model's weights come from: PixArt-α, EasyAnimate-V1's motion modules, or the stage before.

Strict both ways: every source tensor is copied or on a list of those to drop, every target tensor is filled or on a list of new ones;
anything else is a `WeightsError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from inference.models.initialise import zero_driven_channels
from inference.models.megactor import MegActorModel
from inference.models.pixart_layout import diffusers_layout
from manifests.errors import UserError


class WeightsError(UserError):
    """A source whose tensors do not match the model's."""


@dataclass(frozen=True)
class WeightsReport:
    """Names of tensors: of the source, used and dropped; of the model, filled and left as they were initialised."""

    used: tuple[str, ...]
    dropped: tuple[str, ...]
    filled: tuple[str, ...]
    new: tuple[str, ...]


def initialise_from_pixart(model: MegActorModel, tensors: Mapping[str, torch.Tensor]) -> WeightsReport:
    """Fills both transformers from PixArt-α (its 512 px checkpoint), in diffusers' or the original layout, see `load_tensors`.

    Text attention and caption projection are dropped. The patch embedding's driven channels become zero, so that the model starts as
    PixArt-α whatever drives it. Driven encoder, audio and temporal layers keep their random start.
    """
    sizes = model.sizes
    try:
        source = diffusers_layout(tensors)
    except KeyError as error:
        raise WeightsError(f"tensor {error.args[0]!r} is not one of PixArt-α's original layout") from error
    if any("resolution_embedder" in name or "aspect_ratio_embedder" in name for name in source):
        raise WeightsError("these are the weights of PixArt-α at 1024 px, with resolution embedders; the model starts from the 512 px ones")

    def targets(name: str) -> list[str] | None:
        if re.fullmatch(r"transformer_blocks\.\d+\.attn2\..+|caption_projection\..+", name):
            return None
        inner = name.replace("attn1.to_out.0.", "attn1.to_out.")
        if inner.startswith(("proj_out.", "scale_shift_table")):
            return [f"denoiser.{inner}"]
        last = f"transformer_blocks.{sizes.num_layers - 1}."
        if inner == f"{last}scale_shift_table":
            return [f"denoiser.{inner}", "reference.last_block.scale_shift_table"]
        return [f"denoiser.{inner}"] if inner.startswith(last) else [f"denoiser.{inner}", f"reference.{inner}"]

    def adapt(target: str, tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        if target != "denoiser.pos_embed.proj.weight" or tensor.shape[1] != sizes.latent_channels:
            return tensor
        return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], sizes.driven_channels, *tensor.shape[2:])], dim=1)

    def is_new(name: str) -> bool:
        return name.startswith("driven_encoder.") or ".audio." in name or ".temporal." in name

    report = _fill(model, source, targets, is_new, adapt)
    zero_driven_channels(model.denoiser, model.sizes.latent_channels)
    return report


def load_motion_weights(model: MegActorModel, tensors: Mapping[str, torch.Tensor]) -> WeightsReport:
    """Fills the temporal modules from EasyAnimate-V1's motion file; the modules of even blocks and the position tables are dropped."""
    if not model.sizes.with_temporal:
        raise WeightsError("this model has no temporal modules (with_temporal is False): grow it to stage 3 first")
    pattern = re.compile(r"transformer_blocks\.(\d+)\.attn_temporal\.temporal_transformer\.(.+)")

    def targets(name: str) -> list[str] | None:
        match = pattern.fullmatch(name)
        if match is None:
            return [name]  # no such target: reported as unknown
        index, inner = int(match[1]), match[2]
        if index not in model.sizes.temporal_blocks or inner.endswith(".pos_encoder.pe"):
            return None
        inner = inner.removeprefix("transformer_blocks.0.").replace("attention_blocks.", "attentions.").replace("to_out.0.", "to_out.")
        return [f"denoiser.transformer_blocks.{index}.temporal.{inner}"]

    return _fill(model, tensors, targets, lambda name: ".temporal." not in name)


def grow(model: MegActorModel, stage: int) -> MegActorModel:
    """A model with the layers of a later stage: 1 → 2 adds audio attention, 2 → 3 temporal modules. What both have is copied; what is new
    starts as the identity. Same dtype and device."""
    if stage <= model.sizes.stage:
        raise WeightsError(f"the model is at stage {model.sizes.stage}; it can only grow to a later stage, not to {stage}")
    grown = MegActorModel.from_sizes(model.sizes.at_stage(stage))
    torch.nn.Module.to(
        grown, device=model.device, dtype=model.dtype
    )  # diffusers' own `to` warns of modules to keep in float32; there are none
    added = [mark for mark, has in ((".audio.", model.sizes.with_audio), (".temporal.", model.sizes.with_temporal)) if not has]
    _fill(grown, model.state_dict(), lambda name: [name], lambda name: any(mark in name for mark in added))
    return grown.train(model.training)


def _as_is(target: str, tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return tensor


@torch.no_grad()
def _fill(
    model: MegActorModel,
    source: Mapping[str, torch.Tensor],
    targets: Callable[[str], list[str] | None],
    is_new: Callable[[str], bool],
    adapt: Callable[[str, torch.Tensor, torch.Size], torch.Tensor] = _as_is,
) -> WeightsReport:
    """Copies only after all names and shapes were found right, so a failure leaves the model as it was."""
    own = model.state_dict()
    plan: dict[str, torch.Tensor] = {}
    dropped = []
    for name, tensor in source.items():
        destinations = targets(name)
        if destinations is None:
            dropped.append(name)
            continue
        for target in destinations:
            if target not in own:
                raise WeightsError(f"tensor {name!r} of the source has no place in the model (looked for {target!r})")
            if is_new(target):
                raise WeightsError(f"tensor {name!r} of the source would overwrite {target!r}, which it should not hold")
            value = adapt(target, tensor, own[target].shape)
            if value.shape != own[target].shape:
                raise WeightsError(f"tensor {name!r} has shape {tuple(value.shape)}; {target!r} needs {tuple(own[target].shape)}")
            plan[target] = value
    new = tuple(name for name in own if is_new(name))
    missing = [name for name in own if name not in plan and not is_new(name)]
    if missing:
        raise WeightsError(f"the source lacks {len(missing)} tensors that the model needs, such as {missing[0]!r}")
    for target, value in plan.items():
        own[target].copy_(value)
    used = tuple(name for name in source if name not in set(dropped))
    return WeightsReport(used=used, dropped=tuple(dropped), filled=tuple(plan), new=new)
