"""A tiny model and batches drawn from the real counter-based draws, without clips."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from inference.models import SCHEDULE, BlockDctCodec, eye_mouth_mask
from inference.models.components import InferenceConfig, load_inference_config
from training.config import TrainingConfig, load_training_config
from training.data.batch import AugmentParameters, TrainingBatch
from training.data.draws import batch_noise, draws
from training.data.modality import MIXED

torch.set_num_threads(1)  # sums in one order, so runs can be compared bit for bit
SIZE = 32
TINY = (
    "model.num_layers=2", "model.num_attention_heads=2", "model.attention_head_dim=16", "model.first_reference_block=1",
    "model.sample_size=4", "model.temporal_heads=2", f"size_px={SIZE}",
)  # fmt: skip


def tiny_inference() -> InferenceConfig:
    return load_inference_config("embedded", TINY)


def tiny_config(stage: int = 1, **changes) -> TrainingConfig:
    config = load_training_config("embedded", stage, ("logging.trackers=[]", "videos.at_end=false", "validation.every_steps=0"))
    base = {"steps": 4, "batch_size": 4, "inference_overrides": TINY}
    config = replace(config, **{**base, **{k: v for k, v in changes.items() if k in TrainingConfig.__dataclass_fields__}})
    for name in ("checkpoints", "optimiser", "logging", "hardware", "loss", "validation", "videos", "data"):
        over = {k.removeprefix(f"{name}_"): v for k, v in changes.items() if k.startswith(f"{name}_")}
        config = replace(config, **{name: replace(getattr(config, name), **over)})
    return config


def fake_batch(indices: list[int], stage: int, seed: int = 0, frames: int | None = None) -> TrainingBatch:
    """Every tensor is a function of (seed, stage, index)."""
    frames = frames or (4 if stage == 3 else 1)
    cells, tokens = SIZE // 8, SIZE // 16

    def each(make) -> torch.Tensor:
        return torch.stack([torch.as_tensor(make(draws(seed, stage, i, "fake"))) for i in indices])

    target = each(lambda rng: rng.integers(0, 256, (frames, 3, SIZE, SIZE), np.uint8))
    boxes = torch.zeros(len(indices), frames, 3, 4, dtype=torch.int64)
    boxes[:, :, 0] = torch.tensor([2, 4, 14, 12])
    driven = torch.zeros_like(target)
    driven[..., 4:12, 2:14] = target[..., 4:12, 2:14]
    eyes, mouth = (torch.zeros(len(indices), frames, tokens, tokens, dtype=torch.bool) for _ in range(2))
    eyes[:, :, 0, 0], mouth[:, :, 1, 1] = True, True
    keep = torch.ones(len(indices), frames, cells, cells, dtype=torch.bool)
    keep[:, :, 2:, 2:] = torch.tensor([i % 2 == 0 for i in indices]).reshape(-1, 1, 1, 1)
    audio = each(lambda rng: rng.standard_normal((frames, 20, 80), np.float32)).half() if stage > 1 else None
    return TrainingBatch(
        sample_index=torch.tensor(indices),
        clip_id=tuple(f"clip{i % 3}" for i in indices),
        modality=torch.full((len(indices),), MIXED if stage > 1 else 0, dtype=torch.int8),
        shows_eyes=torch.ones(len(indices), dtype=torch.bool),
        shows_mouth=torch.zeros(len(indices), dtype=torch.bool),
        target_frames=target,
        target_latents=None,
        reference_frames=target[:, 0].flip(-1).contiguous(),
        reference_latents=None,
        moved_frames=target.flip(-1).contiguous(),
        reference_present=torch.tensor([i % 5 != 4 for i in indices]),
        driven_frames=driven,
        driven_boxes=boxes,
        augmentation=AugmentParameters.identity(len(indices)),
        eye_tokens=eyes,
        mouth_tokens=mouth,
        region_mask=eye_mouth_mask(eyes, mouth, eye_dilation=0) if stage == 1 else None,
        loss_keep=keep,
        audio=audio,
        audio_present=torch.ones(len(indices), frames),
        conditions_dropped=torch.zeros(len(indices), dtype=torch.bool),
        timesteps=torch.tensor([int(draws(seed, stage, i, "timestep").integers(SCHEDULE.num_steps)) for i in indices]),
        noise=batch_noise(seed, stage, indices, (frames, BlockDctCodec.latent_channels, cells, cells)),
    )


class FakeBatches:
    """Notes which samples were drawn; `spoil` changes a batch by its first index."""

    def __init__(self, stage: int, micro: int, rank: int = 0, world: int = 1, spoil=None):
        self.stage, self.micro, self.rank, self.world, self.spoil = stage, micro, rank, world, spoil
        self.drawn: list[int] = []

    def __call__(self, start: int) -> Iterator[TrainingBatch]:
        at = start
        while True:
            first = at + self.rank * self.micro
            indices = list(range(first, first + self.micro))
            self.drawn += indices
            batch = fake_batch(indices, self.stage)
            yield self.spoil(batch) if self.spoil else batch
            at += self.micro * self.world


def make_trainer(
    run_dir: Path, stage: int = 1, model=None, batches=None, say=lambda line: None, observers=(), fresh=frozenset(), **changes
):
    """A trainer on the CPU (on the GPU with hardware_device="cuda"); continues what is in `run_dir`."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from training.loop.start import Start, build_model
    from training.loop.trainer import Trainer

    config, inference = tiny_config(stage, **changes), tiny_inference()
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(cpu=config.hardware.device != "cuda")
    micro, _ = config.accumulation(accelerator.num_processes)
    if model is None:
        model = build_model(config, inference, Start("random"))
    batches = batches or FakeBatches(stage, micro, accelerator.process_index, accelerator.num_processes)
    run_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, inference, run_dir, model, accelerator, BlockDctCodec(), batches, observers, say=say, fresh=fresh)
    newest = trainer.checkpoints.newest()
    if newest:
        trainer.resume(newest)
    return trainer


def weights_of(trainer) -> dict[str, torch.Tensor]:
    """Weights, average and optimiser state by name, copied."""
    found = {f"model.{name}": tensor.detach().clone() for name, tensor in trainer.network.named_parameters()}
    optimiser = trainer.optimiser
    found |= {f"ema.{name}": shadow.clone() for name, shadow in zip(optimiser.parameters, optimiser.average.shadow_params, strict=True)}
    for name, parameter in optimiser.parameters.items():
        found |= {f"{kind}.{name}": value.detach().clone() for kind, value in optimiser.adamw.state[parameter].items()}
    return found


@dataclass
class Forked:
    """A child process that was forked from this one, so that it starts without importing torch again."""

    pid: int
    code: int | None = None

    def running(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def wait(self) -> int:
        """Its exit code; minus the signal if one ended it. Killed after four minutes."""
        deadline = time.monotonic() + 240
        while self.running():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.02)
        return self.code


# Autograd settles at its first backward whether forked children may use it; tests that run before these may bring in what forbids it.
torch.zeros(1, requires_grad=True).sum().backward()


def forked(work) -> Forked:
    """Runs `work()` in a child; an exception there is printed and ends it with code 1."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Forked(pid)
    code = 1
    try:
        torch.set_num_threads(1)  # the parent's OpenMP threads do not exist here, and waiting for them would never end
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
