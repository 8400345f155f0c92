"""How a model lies on several ranks: whole on each (torch's DDP), or every rank a share of each tensor (torch's FSDP2).

accelerate's launcher starts the ranks; the wrapping is done here, so that both kinds are the same on gloo, where they are tested, and NCCL.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from inference.models import MegActorModel

# Gathered weights stay float32 and autocast casts them, as on one device, so both kinds compute the same; gradients are summed in float32.
SHARDED_PRECISION = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)


def spread(model: MegActorModel, device: torch.device, ranks: int, shard: bool) -> nn.Module:
    """What the training forward is called on; `model` itself where there is one rank, or where it is sharded in place.

    Blocks must be compiled before: FSDP2's hooks then stay outside the graphs.

    Args:
        shard: every block is a unit that is gathered for its own work, the rest one more; for one rank there is nothing to share out.
    """
    if any(parameter.device.type != device.type for parameter in model.parameters()):  # models are built on the CPU
        model.to(device)
    if ranks == 1:
        return model
    if not shard:
        devices = [device] if device.type == "cuda" else None
        # The gradients lie in the buckets that are reduced, rather than beside them. Buffers are constant tables.
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True)
    mesh = init_device_mesh(device.type, (ranks,))
    for block in [*model.reference.transformer_blocks, *model.denoiser.transformer_blocks]:
        fully_shard(block, mesh=mesh, mp_policy=SHARDED_PRECISION)
    for block in model.denoiser.transformer_blocks:
        register_fsdp_forward_method(block, "reference_keys")  # called before, and outside of, the block's forward
    fully_shard(model, mesh=mesh, mp_policy=SHARDED_PRECISION)
    return model


def accumulating(model: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
    """Around a micro-batch's forward and backward: DDP reduces gradients after the last one alone. What is sharded reduces after each, for
    whole gradients of all blocks would not fit where the model had to be sharded."""
    if last or not isinstance(model, DistributedDataParallel):
        return contextlib.nullcontext()
    return model.no_sync()
