"""The configuration of a training run: one YAML for all three stages, `stages:` laid over it, then dotted overrides. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests import configuration
from manifests.config_files import config_file
from manifests.errors import UserError, did_you_mean
from training.data.config import DataConfig

CONFIGS = config_file("training")
DEVICES = ("auto", "cpu", "cuda")
INITS = ("pretrained", "random")
PRECISIONS = ("no", "bf16", "fp16")
PICTURES_AT_ONCE = 8  # through the autoencoder in a step: fills a GPU, and at 512 px takes less memory than a micro-batch's activations
SCHEDULES = ("cosine", "constant")
# Settings that change neither the weights nor the curves: a run may be continued with other values of these.
OPERATIONAL = ("init", "hardware", "checkpoints", "logging", "videos", "validation.every_steps", "data.audio_cache", "data.media")


@dataclass(frozen=True)
class HardwareConfig:
    """How the work is done; nothing here is meant to change what is learnt (rounding aside).

    Attributes:
        device: cuda, cpu, or auto (cuda where there is one; the choice is printed).
        precision: bf16 or fp16 (autocast; weights, optimiser and loss stay float32; fp16, for GPUs before Ampere, scales the loss), or no
            (float32).
        micro_batch: samples that a device takes at once, at most: the largest number up to it that divides the device's share of
            `batch_size` is taken, and the rest accumulated. 0 = the whole share.
        shard: FSDP2: each device holds its share of weights, gradients, moments and averages, and gathers a block at a time.
        rank_timeout_s: so long a rank waits for the others before all end; longer than a checkpoint or a rank's sample videos take.
        gradient_checkpointing: recompute blocks in the backward pass: less memory, a third more time.
        compile: each block by torch.compile.
        workers: processes that load data; 0 = this one.
        mfu: report the share of the device's peak that model FLOPs reach; a GPU that is not in the table has none until
            `peak_tflops` is set.
        peak_tflops: of one device, dense, in the precision above; None = from the table (CUDA), not reported (CPU).
    """

    device: str = "cuda"
    precision: str = "bf16"
    micro_batch: int = 0
    shard: bool = False
    rank_timeout_s: int = 3600
    gradient_checkpointing: bool = False
    compile: bool = False
    workers: int = 4
    mfu: bool = True
    peak_tflops: float | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}{did_you_mean(self.device, DEVICES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}{did_you_mean(self.precision, PRECISIONS)}")
        if self.micro_batch < 0 or self.workers < 0:
            raise ValueError("micro_batch and workers must be 0 or more")
        if self.rank_timeout_s < 60:
            raise ValueError("rank_timeout_s must be 60 or more")
        if self.peak_tflops is not None and self.peak_tflops <= 0:
            raise ValueError("peak_tflops must be positive")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, learning rate, clipping and the running average of the weights.

    Attributes:
        lr: peak learning rate.
        fresh_lr: peak learning rate of parts that the stage starts at random (`training.loop.start.fresh_parts`): the driven encoder
            beside PixArt-α's weights, audio attention in stage 2, temporal modules in stage 3 without EasyAnimate's. None = `lr`.
        schedule: after the warm-up, `constant`, or `cosine` down to `final_lr_ratio` of the peak at the last step.
        warmup_steps: steps of linear rise from 0.
        clip_norm: gradients longer than this are shortened to it, once a step, over all accumulated micro-batches.
        ema_decay: of the average; the first steps use less, (1 + n)/(10 + n).
    """

    lr: float = 1e-5
    fresh_lr: float | None = None
    schedule: str = "constant"
    warmup_steps: int = 500
    final_lr_ratio: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.03
    clip_norm: float = 1.0
    ema_decay: float = 0.9999

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}{did_you_mean(self.schedule, SCHEDULES)}")
        if self.lr <= 0 or self.clip_norm <= 0 or self.eps <= 0:
            raise ValueError("lr, clip_norm and eps must be positive")
        if self.fresh_lr is not None and self.fresh_lr <= 0:
            raise ValueError("fresh_lr must be positive")
        if self.warmup_steps < 0 or not 0 <= self.final_lr_ratio <= 1 or self.weight_decay < 0:
            raise ValueError("warmup_steps and weight_decay must be 0 or more, final_lr_ratio in 0…1")
        if not (0 <= self.ema_decay < 1 and 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError("ema_decay, beta1 and beta2 must lie in 0…1, below 1")


@dataclass(frozen=True)
class CheckpointConfig:
    """Attributes:
    every_steps: optimiser steps between checkpoints; the last step always makes one.
    keep: how many of them stay; older ones are removed.
    """

    every_steps: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        if self.every_steps < 1 or self.keep < 1:
            raise ValueError("every_steps and keep must be 1 or more")


@dataclass(frozen=True)
class ValidationConfig:
    """Loss at fixed timesteps under fixed noise, and how far swapped conditions change the picture; on the averaged weights.

    Attributes:
        every_steps: 0 = never.
        samples: held-out samples, the same in every run over one manifest.
        timesteps: strata of 0…999; each sample is seen at the middle of each.
    """

    every_steps: int = 1000
    samples: int = 64
    timesteps: int = 8

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.samples < 1 or not 1 <= self.timesteps <= 1000:
            raise ValueError("every_steps must be 0 or more, samples 1 or more, timesteps in 1…1000")


@dataclass(frozen=True)
class VideoConfig:
    """Short sample videos of the averaged weights: driven by video, by sound and by both.

    Attributes:
        every_steps: 0 = only at the end.
        frames: of each video.
        steps: of the sampler.
        guidance_scale: over all conditions; 1 is none.
        at_end: also at the last step.
        held_out: of a clip that is not trained on, where the manifest has one; False: of one that is.
    """

    every_steps: int = 5000
    frames: int = 32
    steps: int = 25
    guidance_scale: float = 2.0
    at_end: bool = True
    held_out: bool = True

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.frames < 1 or self.steps < 1:
            raise ValueError("every_steps must be 0 or more, frames and steps 1 or more")


@dataclass(frozen=True)
class LoggingConfig:
    """Attributes:
    every_steps: optimiser steps that one record sums up.
    trackers: of accelerate (tensorboard, wandb, mlflow, …); `log.jsonl` is written in any case.
    """

    every_steps: int = 50
    trackers: tuple[str, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise ValueError("every_steps must be 1 or more")


@dataclass(frozen=True)
class LossConfig:
    """Attributes:
    error: of what the squared error is: "noise" (the paper), or "velocity", which is the noise's divided by ᾱ: high timesteps, where
        layout is decided and a small error of the noise is a large one of the picture, then count as much as others.
    min_snr_gamma: as an error of the clean latents, that of the noise weighs SNR and that of the velocity SNR + 1; this caps either
        (Min-SNR); None = no cap.
    region_weight: eyes and mouth of the target count so many times as much as the rest of the picture; 1 = as much (the paper).
    channels: "equal" (the paper), or "pixels": each latent channel counts by what it moves the picture (codecs that know it).
    max_skipped_in_row: so many steps in a row without a finite gradient stop the run.
    """

    error: str = "noise"
    min_snr_gamma: float | None = None
    region_weight: float = 1.0
    channels: str = "equal"
    max_skipped_in_row: int = 20

    def __post_init__(self) -> None:
        if self.region_weight < 1:
            raise ValueError("region_weight must be 1 or more")
        if self.channels not in ("equal", "pixels"):
            raise ValueError(f"channels is {self.channels!r}; it must be equal or pixels")
        if self.error not in ("noise", "velocity"):
            raise ValueError(f"error is {self.error!r}; it must be noise or velocity")
        if self.min_snr_gamma is not None and self.min_snr_gamma <= 0:
            raise ValueError("min_snr_gamma must be positive")
        if self.max_skipped_in_row < 1:
            raise ValueError("max_skipped_in_row must be 1 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """One stage's run, besides its data.

    Attributes:
        profile: a name for messages.
        inference: configs/inference/INFERENCE.yaml, or a path: model sizes, codec, audio encoder, picture size.
        inference_overrides: dotted settings over it, such as `model.num_layers=2`.
        stage: 1, 2 or 3.
        seed: of every random draw.
        steps: optimiser steps.
        batch_size: samples of one optimiser step, over all devices and accumulation: it fixes what is learnt, whatever the hardware.
        init: pretrained: stage 1 starts from `pixart` and stage 3 from `motion`, and neither starts without; random: from neither.
        pixart: stage 1: PixArt-α 512 to start from: a folder or .pth, or its name in the models store.
        pixart_average: take a training checkpoint's averaged weights (`state_dict_ema` of the .pth) instead of its last ones.
        motion: stage 3: EasyAnimate-V1's motion file to start the temporal modules from, or its name in the models store.
        data: which clips, which frames, how they are cut and changed.
    """

    profile: str = "paper"
    inference: str = "paper"
    inference_overrides: tuple[str, ...] = ()
    stage: int = 1
    seed: int = 0
    steps: int = 30_000
    batch_size: int = 64
    init: str = "pretrained"
    pixart: str | None = None
    pixart_average: bool = False
    motion: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    videos: VideoConfig = field(default_factory=VideoConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

    def __post_init__(self) -> None:
        if self.stage not in (1, 2, 3):
            raise ValueError(f"stage is {self.stage!r}; it must be 1, 2 or 3")
        if self.init not in INITS:
            raise ValueError(f"init is {self.init!r}{did_you_mean(self.init, INITS)}")
        if self.steps < 1 or self.batch_size < 1 or self.seed < 0:
            raise ValueError("steps and batch_size must be 1 or more, seed 0 or more")

    def accumulation(self, devices: int) -> tuple[int, int]:
        """(micro-batch, micro-batches a device does before each optimiser step) that make up `batch_size`.

        Raises:
            UserError: the devices cannot share it out evenly.
        """
        share, rest = divmod(self.batch_size, devices)
        if rest:
            fits = max(d for d in range(1, devices) if self.batch_size % d == 0)
            raise UserError(
                f"batch_size {self.batch_size} cannot be shared out over {devices} devices: train on {fits}, or change batch_size"
            )
        ceiling = min(self.hardware.micro_batch or share, share)
        micro = max(size for size in range(1, ceiling + 1) if share % size == 0)
        return micro, share // micro


def load_training_config(config: str = "embedded", stage: int = 1, overrides: tuple[str, ...] = ()) -> TrainingConfig:
    """`config` names configs/training/CONFIG.yaml or is a path; its `stages:` section of that stage is laid over the rest, then overrides.
    A file with `base: OTHER` is laid over that one, stages over stages.

    Raises:
        UserError: one line that names the key or the file.
    """
    tree = _read(config)
    stages = tree.pop("stages", None) or {}
    if not isinstance(stages, dict) or not set(stages) <= {1, 2, 3}:
        raise UserError(f"{config}: `stages:` needs a mapping with the keys 1, 2 and 3")
    tree = configuration.merged(configuration.merged(tree, stages.get(stage) or {}), {"stage": stage})
    for text in overrides:
        tree = configuration.merged(tree, configuration.parse_override(text))
    return configuration.build(TrainingConfig, tree)


def _read(config: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The file's tree over that of its base."""
    named = CONFIGS / f"{config}.yaml"
    file = named if named.is_file() and "/" not in config else Path(config)
    if not file.is_file():
        known = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
        raise UserError(f"no training configuration {config!r}{did_you_mean(config, known)}")
    tree = configuration.read_yaml(file)
    base = tree.pop("base", None)
    if base is None:
        return tree
    if base in above:
        raise UserError(f"{file}: `base: {base}` leads in a circle")
    return configuration.merged(_read(str(base), (*above, config)), tree)


def differences(old: dict[str, Any], new: dict[str, Any], at: str = "") -> list[str]:
    """Lines "key: old → new" of two configuration trees; what may change in a continued run is left out: also the number of
    steps, unless the learning rate depends on it."""
    lines = []
    for key in sorted({*old, *new}):
        path = f"{at}.{key}" if at else key
        if path in OPERATIONAL or (path == "steps" and new.get("optimiser", {}).get("schedule") == "constant"):
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, path)
        elif before != after:
            lines.append(f"{path}: {before!r} → {after!r}")
    return lines
