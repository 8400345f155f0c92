"""Memory of a training step: parameters and optimiser by counting, activations by the model's own forward on tensors without data."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from inference.models.config import PX_PER_CELL, ModelConfig
from training.loop.stages import TRAINED

BYTES_FP32 = 4
BYTES_ADAM = 8
GB = 1e9


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device that holds everything (data-parallel training without sharding).

    Attributes:
        weights: float32.
        gradients, optimiser, average: of the trained parameters.
        activations: what autograd keeps for the backward pass of one micro-batch.
        working: with checkpointing, the block that the backward pass is recomputing, its gradients included.
    """

    weights: int
    gradients: int
    optimiser: int
    average: int
    activations: int
    working: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.average + self.activations + self.working


def estimate_memory(
    sizes: ModelConfig, stage: int, micro_batch: int, frames: int, size_px: int, precision: str, checkpointing: bool
) -> MemoryEstimate:
    """What a step of `micro_batch` samples needs, the allocator's own waste left out."""
    from inference.models.summary import parameter_table

    counts = parameter_table(sizes.at_stage(stage))
    weights = sum(counts.values())
    trained = sum(counts.get(part, 0) for part in TRAINED[stage])
    each, fixed, block = saved_bytes(sizes, stage, frames, size_px, precision, checkpointing)
    return MemoryEstimate(
        weights=weights * BYTES_FP32,
        gradients=trained * BYTES_FP32,
        optimiser=trained * BYTES_ADAM,
        average=trained * BYTES_FP32,
        activations=each * micro_batch + fixed,
        working=block * micro_batch,
    )


@functools.cache
def saved_bytes(sizes: ModelConfig, stage: int, frames: int, size_px: int, precision: str, checkpointing: bool) -> tuple[int, int, int]:
    """(bytes that autograd keeps for each sample, bytes whatever the number of samples, bytes a sample of one recomputed block).

    Runs the forward on fake tensors: no memory, no arithmetic, but the kernels' own rules of what is saved. What does not grow with the
    samples are the weights' casts to bfloat16.
    """
    one, two = (_measured(sizes.at_stage(stage), stage, samples, frames, size_px, precision) for samples in (1, 2))
    each, fixed = two - one, max(0, 2 * one - two)
    if not checkpointing:
        return each, fixed, 0
    tokens = (size_px // PX_PER_CELL // sizes.patch_size) ** 2
    width_bytes = BYTES_FP32 * tokens * sizes.width
    # Kept: every block's input, and what the reference hands to the denoiser. The reference of stage 3 has no gradient, so keeps nothing.
    kept = sizes.num_layers * frames * width_bytes + 2 * len(sizes.reference_blocks) * width_bytes
    if stage < 3:
        kept += (sizes.num_layers - 1) * width_bytes
    blocks = sizes.num_layers if stage == 3 else 2 * sizes.num_layers - 1
    return kept, fixed, each // blocks * (1 if stage == 3 else 2)


def _measured(sizes: ModelConfig, stage: int, samples: int, frames: int, size_px: int, precision: str) -> int:
    """Bytes of the storages that the backward pass of one forward needs, parameters left out."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from inference.models import MegActorModel
    from training.loop.stages import choose_trainable

    cells = size_px // PX_PER_CELL
    seen: dict[int, torch.UntypedStorage] = {}  # holds the storages: one that is freed could lend its identity to another
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = MegActorModel.from_sizes(sizes).train()
        choose_trainable(model, stage)
        own = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                seen[storage._cdata] = storage
            return tensor

        inputs = {
            "latents": torch.empty(samples, frames, sizes.latent_channels, cells, cells),
            "timesteps": torch.zeros(samples, dtype=torch.int64),
            "driven_frames": torch.empty(samples, frames, 3, size_px, size_px),
            "reference_latents": torch.empty(samples, sizes.latent_channels, cells, cells),
            "reference_present": torch.ones(samples, dtype=torch.bool),
        }
        if sizes.with_audio:
            inputs["audio"] = torch.empty(samples, frames, sizes.audio_tokens, sizes.audio_width)
            inputs["audio_present"] = torch.ones(samples, frames)
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, precision == "bf16"),
        ):
            model(**inputs)
    return sum(storage.nbytes() for storage in seen.values())
