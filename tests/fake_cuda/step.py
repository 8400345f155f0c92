"""`python -m tests.fake_cuda.step`: the trainer's step of the three stages at the paper's size, on fake CUDA tensors; facts as JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from inference.models import MegActorModel
from inference.models.components import InferenceConfig
from inference.models.masks import RegionMask
from tests.fake_cuda.networks import sd_vae
from tests.fake_cuda.watch import Watch
from training.config import load_training_config
from training.cost.memory import estimate_memory
from training.data.batch import AugmentParameters, TrainingBatch
from training.loop.trainer import Trainer
from training.run import inference_config, make_accelerator


def batch_on_the_host(inference: InferenceConfig, stage: int, micro: int, masked_rows: int, latents: bool) -> TrainingBatch:
    """As the loader hands it over: every tensor of its shape and dtype on the CPU."""
    sizes = inference.model.at_stage(stage)
    side, cells = inference.size_px, inference.latent_grid[0]
    tokens, frames, channels = cells // sizes.patch_size, 16 if stage == 3 else 1, sizes.latent_channels

    def pictures(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.uint8)

    def half(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.float16)

    def yes(*shape: int) -> torch.Tensor:
        return torch.ones(*shape, dtype=torch.bool)

    mask = RegionMask(torch.arange(masked_rows), yes(masked_rows, 1, tokens**2, tokens**2)) if masked_rows else None
    return TrainingBatch(
        sample_index=torch.arange(micro),
        clip_id=tuple(f"clip{index}" for index in range(micro)),
        modality=torch.zeros(micro, dtype=torch.int8),
        shows_eyes=yes(micro),
        shows_mouth=yes(micro),
        target_frames=None if latents else pictures(micro, frames, 3, side, side),
        target_latents=half(micro, frames, channels, cells, cells) if latents else None,
        reference_frames=None if latents else pictures(micro, 3, side, side),
        reference_latents=half(micro, channels, cells, cells) if latents else None,
        reference_present=yes(micro),
        driven_frames=pictures(micro, frames, 3, side, side),
        driven_boxes=torch.zeros(micro, frames, 3, 4, dtype=torch.int64),
        augmentation=AugmentParameters.identity(micro),
        eye_tokens=yes(micro, frames, tokens, tokens),
        mouth_tokens=yes(micro, frames, tokens, tokens),
        region_mask=mask,
        loss_keep=yes(micro, frames, cells, cells),
        audio=half(micro, frames, sizes.audio_tokens, sizes.audio_width) if stage > 1 else None,
        audio_present=torch.ones(micro, frames),
        conditions_dropped=yes(micro),
        timesteps=torch.zeros(micro, dtype=torch.int64),
        noise=torch.zeros(micro, frames, channels, cells, cells),
    )


def facts_of(stage: int, micro: int, latents: bool, masked_rows: int, overrides: tuple[str, ...]) -> dict[str, Any]:
    """What the second step does: the first one makes the optimiser's state and fills tables."""
    settings = (f"hardware.micro_batch={micro}", f"batch_size={micro}", "hardware.compile=false", "logging.trackers=[]", *overrides)
    config = load_training_config("paper", stage, settings)
    inference = inference_config(config)
    sizes = inference.model.at_stage(stage)
    out = Path(tempfile.mkdtemp())
    accelerator = make_accelerator(config, out)
    accelerator.device_placement = False  # the model is on the device from the start: fake tensors cannot be moved in place
    with FakeTensorMode(allow_non_fake_inputs=True), Watch() as watch:
        with torch.device("cuda"):
            model = MegActorModel.from_sizes(sizes).train()
            codec = sd_vae()
        trainer = Trainer(config, inference, out, model, accelerator, codec, lambda start: iter(()), say=lambda line: None)

        def batches() -> Iterator[TrainingBatch]:
            while True:
                yield batch_on_the_host(inference, stage, micro, masked_rows, latents)

        found = {}
        for step in range(2):
            watch.restart()
            trainer._step(batches())
            found = watch.facts() | {"step": step}
    estimate = estimate_memory(
        sizes, stage, micro, 16 if stage == 3 else 1, inference.size_px, config.hardware.precision, config.hardware.gradient_checkpointing,
        with_autoencoder=not latents,
    )  # fmt: skip
    return found | {"stage": stage, "planned_gb": estimate.total / 1e9, "parameters": sum(p.numel() for p in model.parameters())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stage", type=int, action="append", help="default: all three")
    parser.add_argument("--micro", type=int, default=1)
    parser.add_argument("--latents", action="store_true")
    parser.add_argument("--masked-rows", type=int, default=1)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    stages = options.stage or [1, 2, 3]
    found = [facts_of(stage, options.micro, options.latents, options.masked_rows, tuple(options.overrides)) for stage in stages]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
