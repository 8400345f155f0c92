"""Memory of a training step: parameters and optimiser by counting, activations by the model's own forward on tensors without data."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from inference.models.config import PX_PER_CELL, ModelConfig
from training.config import PICTURES_AT_ONCE
from training.cost.autoencoder import PARAMETERS, encode_bytes
from training.loop.stages import TRAINED

BYTES_FP32 = 4
BYTES_ADAM = 8
GB = 1e9


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device. What stays through the run, and the two moments that may be the peak: the end of a micro-batch's forward, and
    the update, when activations are gone.

    Attributes:
        weights: float32; the device's share where sharded, as are gradients, optimiser and average.
        gradients, optimiser, average: of the trained parameters.
        activations: what autograd keeps for the backward pass of one micro-batch.
        working: with checkpointing, the block that the backward pass is recomputing, its gradients included.
        gathered: sharded: whole weights and gradients of two blocks, the one at work and the one that comes next.
        autoencoder: weights of the VAE, where it is in the step.
        encoding: what it holds while it encodes.
        average_step: a copy of what is averaged, while the average is updated.
        gradients_stay: gradients are there during the forward: of earlier micro-batches, or as the buckets that ranks reduce.
    """

    weights: int
    gradients: int
    optimiser: int
    average: int
    activations: int
    working: int
    gathered: int = 0
    autoencoder: int = 0
    encoding: int = 0
    average_step: int = 0
    gradients_stay: bool = False

    @property
    def micro_batch(self) -> int:
        """While a micro-batch is worked at; without gradients from before, those of its own come as its activations go."""
        busy = max(self.activations + self.working + self.gathered, self.encoding)
        return self._stays + busy + (self.gradients if self.gradients_stay else 0)

    @property
    def update(self) -> int:
        return self._stays + self.gradients + self.average_step

    @property
    def total(self) -> int:
        return max(self.micro_batch, self.update)

    @property
    def _stays(self) -> int:
        return self.weights + self.optimiser + self.average + self.autoencoder


def estimate_memory(
    sizes: ModelConfig,
    stage: int,
    micro_batch: int,
    frames: int,
    size_px: int,
    precision: str,
    checkpointing: bool,
    *,
    accumulation: int = 1,
    devices: int = 1,
    shard: bool = False,
    average: bool = True,
    with_autoencoder: bool = False,
) -> MemoryEstimate:
    """What a step of `micro_batch` samples needs, the allocator's own waste left out.

    Args:
        accumulation: micro-batches of an update.
        devices, shard: data-parallel on so many, or sharded over them.
        average: False for a step that keeps none.
        with_autoencoder: the VAE encodes in the step.
    """
    from inference.models.summary import parameter_table

    counts = parameter_table(sizes.at_stage(stage))
    trained = sum(counts.get(part, 0) for part in TRAINED[stage])
    each, fixed, block = saved_bytes(sizes, stage, frames, size_px, precision, checkpointing)
    shards = devices if shard else 1
    averaged = trained * BYTES_FP32 // shards if average else 0
    half = BYTES_FP32 if precision == "no" else 2
    pictures = min(PICTURES_AT_ONCE, micro_batch * frames)
    return MemoryEstimate(
        weights=sum(counts.values()) * BYTES_FP32 // shards,
        gradients=trained * BYTES_FP32 // shards,
        optimiser=trained * BYTES_ADAM // shards,
        average=averaged,
        activations=each * micro_batch + fixed,
        working=block * micro_batch,
        gathered=2 * 2 * BYTES_FP32 * _block_parameters(sizes.at_stage(stage)) if shards > 1 else 0,
        autoencoder=PARAMETERS * half if with_autoencoder else 0,
        encoding=encode_bytes(size_px, pictures, half) if with_autoencoder else 0,
        average_step=averaged if shards == 1 else 0,  # sharded ones are averaged one by one
        gradients_stay=accumulation > 1 or devices > 1,
    )


def _block_parameters(sizes: ModelConfig) -> int:
    """Of the largest block: attention and feed-forward, temporal module, audio attention."""
    width = sizes.width
    temporal = 22 * width**2 if sizes.with_temporal else 0  # in, two attentions, gated feed-forward, out
    audio = 2 * width * (width + sizes.audio_width) if sizes.with_audio else 0
    return 12 * width**2 + temporal + audio


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
            "moved_latents": torch.empty(samples, frames, sizes.latent_channels, cells, cells),
            "reference_present": torch.ones(samples, dtype=torch.bool),
        }
        if sizes.with_audio:
            inputs["audio"] = torch.empty(samples, frames, sizes.audio_tokens, sizes.audio_width)
            inputs["audio_present"] = torch.ones(samples, frames)
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, precision != "no"),
        ):
            model(**inputs)
    return sum(storage.nbytes() for storage in seen.values())
