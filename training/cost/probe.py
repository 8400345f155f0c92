"""A trainer's own step on random data, for `plan` and the benchmarks: everything but reading clips."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from inference.models import SCHEDULE, MegActorModel
from inference.models.codecs import LatentCodec
from inference.models.components import InferenceConfig, build_codec
from inference.models.config import PX_PER_CELL, ModelConfig
from inference.models.masks import eye_mouth_mask
from training.config import TrainingConfig
from training.data.batch import AugmentParameters, TrainingBatch
from training.data.recolour import SAME
from training.loop.trainer import Trainer

SHRUNK = 2  # by which the patches of every second sample lose resolution


class StepProbe:
    """A trainer of the configured stage with random weights, one micro-batch a step; loss, clipping, update and average are its own.

    Args:
        micro_batch: samples of a step.
    """

    def __init__(self, config: TrainingConfig, inference: InferenceConfig, device: torch.device, micro_batch: int):
        hardware = replace(config.hardware, micro_batch=micro_batch, shard=False)
        config = replace(config, batch_size=micro_batch, hardware=hardware)
        sizes = inference.model.at_stage(config.stage)
        codec: LatentCodec = NoAutoencoder(sizes.latent_channels) if inference.codec.kind == "vae" else build_codec(inference, device)
        encodes = inference.codec.kind != "vae" and config.data.latent_cache is None
        self._folder = tempfile.TemporaryDirectory(prefix="megactor-probe-")
        self._device = device
        self._batches = itertools.repeat(random_batch(config, inference, micro_batch, encodes))
        self._trainer = Trainer(
            config,
            inference,
            Path(self._folder.name),
            MegActorModel.from_sizes(sizes).train(),
            Accelerator(cpu=device.type == "cpu", mixed_precision="no"),
            codec,
            lambda start: self._batches,
            say=lambda line: None,
        )

    def step(self) -> None:
        """One optimiser step; returns when the device is done."""
        self._trainer.step(self._batches)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def timed_step(self) -> tuple[float, float]:
        """One step: (seconds of its micro-batch, seconds of its update)."""
        self._trainer.meter.read()
        begin = time.perf_counter()
        self.step()
        whole = time.perf_counter() - begin
        update = self._trainer.meter.read()["optimiser_s"]
        return whole - update, update


class NoAutoencoder:
    """In place of the VAE, which is counted by itself (`training.cost.autoencoder`) and whose weights may not be there."""

    channel_weights: tuple[float, ...] | None = None

    def __init__(self, latent_channels: int):
        self.latent_channels = latent_channels

    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return images.new_zeros(*images.shape[:-3], self.latent_channels, images.shape[-2] // PX_PER_CELL, images.shape[-1] // PX_PER_CELL)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("a step decodes nothing")


def random_batch(config: TrainingConfig, inference: InferenceConfig, samples: int, encodes: bool) -> TrainingBatch:
    """A batch with everything that a stage's batches have, on the CPU.

    Args:
        encodes: pictures in place of latents, as without a latent cache.
    """
    sizes: ModelConfig = inference.model.at_stage(config.stage)
    frames, side = config.data.frames_of_stage(config.stage), inference.size_px
    cells = side // PX_PER_CELL
    tokens = cells // sizes.patch_size
    generator = torch.Generator().manual_seed(0)

    def pictures(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, (*shape, 3, side, side), dtype=torch.uint8, generator=generator)

    def latents(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, sizes.latent_channels, cells, cells, generator=generator)

    eyes, mouth = (torch.zeros(samples, frames, tokens, tokens, dtype=torch.bool) for _ in range(2))
    eyes[:, :, tokens // 4 : tokens // 2, tokens // 4 : 3 * tokens // 4] = True
    mouth[:, :, tokens // 2 : 3 * tokens // 4, tokens // 4 : 3 * tokens // 4] = True
    quarter, half = side // 4, side // 2
    boxes = [[quarter, quarter, half, half], [half, quarter, side - quarter, half], [quarter, half, side - quarter, side - quarter]]
    driven = torch.zeros(samples, frames, 3, side, side, dtype=torch.uint8)
    driven[..., quarter : side - quarter, quarter : side - quarter] = pictures(samples, frames)[..., :half, :half]
    recolour = torch.tensor([(*row, tint) for row, tint in zip(SAME.turn, SAME.tint, strict=True)]).repeat(samples, 1, 1)
    return TrainingBatch(
        sample_index=torch.arange(samples),
        clip_id=tuple(f"random{sample}" for sample in range(samples)),
        modality=torch.zeros(samples, dtype=torch.int8),
        shows_eyes=torch.ones(samples, dtype=torch.bool),
        shows_mouth=torch.ones(samples, dtype=torch.bool),
        target_frames=pictures(samples, frames) if encodes else None,
        target_latents=None if encodes else latents(samples, frames).half(),
        reference_frames=pictures(samples) if encodes else None,
        reference_latents=None if encodes else latents(samples).half(),
        moved_frames=pictures(samples, frames) if sizes.copied_reference == "moved" else None,
        reference_present=torch.ones(samples, dtype=torch.bool),
        driven_frames=driven,
        driven_boxes=torch.tensor(boxes).repeat(samples, frames, 1, 1),
        augmentation=_changes(samples),
        eye_tokens=eyes,
        mouth_tokens=mouth,
        region_mask=eye_mouth_mask(eyes, mouth, paths=config.data.modality.mask_paths) if sizes.with_audio else None,
        loss_keep=torch.ones(samples, frames, cells, cells, dtype=torch.bool),
        audio=torch.randn(samples, frames, sizes.audio_tokens, sizes.audio_width, generator=generator).half() if sizes.with_audio else None,
        audio_present=torch.ones(samples, frames),
        conditions_dropped=torch.zeros(samples, dtype=torch.bool),
        timesteps=torch.randint(0, SCHEDULE.num_steps, (samples,), generator=generator),
        noise=latents(samples, frames),
        recolour=recolour if config.data.recolour.share else None,
    )


def _changes(samples: int) -> AugmentParameters:
    """Of driving patches: every second sample's size, resolution and colour."""
    same = AugmentParameters.identity(samples)
    changed = torch.arange(samples) % 2 == 0
    grown, turned = 1 + 0.05 * changed.float(), 0.05 * changed.float()
    return same._replace(
        scale=grown[:, None].repeat(1, 2), shrink=torch.where(changed, SHRUNK, 1), gain=grown, contrast=grown, saturation=grown, hue=turned
    )
