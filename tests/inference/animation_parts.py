"""A tiny pipeline with random weights and a driver made of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

SIZE_PX = 32
SIZES = {
    "num_layers": 2,
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "latent_channels": 21,
    "sample_size": 4,
    "first_reference_block": 1,
    "audio_width": 80,
    "audio_tokens": 20,
    "temporal_heads": 2,
}


def tiny_pipeline(stage: int = 3, dropout: float = 0.05, landmarks=None, **sizes):
    import torch

    from inference.models import MegActorModel, ModelConfig
    from inference.models.components import InferenceConfig, TrainingRecord
    from inference.pipeline import MegActorSigmaPipeline
    from inference.sampling.samplers import make_scheduler

    torch.manual_seed(0)
    config = ModelConfig(**{**SIZES, **sizes}).at_stage(stage)
    model = MegActorModel.from_sizes(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    settings = InferenceConfig(profile="tiny", model=config, size_px=SIZE_PX)
    return MegActorSigmaPipeline(model, make_scheduler(), None, settings, TrainingRecord(stage, 7, {"all": dropout}, {}, "test"), landmarks)


@dataclass
class ArrayReport:
    notes: tuple[str, ...] = ()


@dataclass
class ArrayDriving:
    """Implements `inference.driving.contracts.DrivenFrames`."""

    frames: np.ndarray  # (F, 3, S, S) uint8
    fps: Fraction = Fraction(25)
    audio: np.ndarray | None = None
    report: ArrayReport = field(default_factory=ArrayReport)
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    def driven_frames(self, start: int, stop: int) -> np.ndarray:
        self.asked.append((start, stop))
        return self.frames[start:stop]


def make_driving(n_frames: int = 20, seed: int = 0, **kwargs) -> ArrayDriving:
    return ArrayDriving(np.random.default_rng(seed).integers(0, 256, (n_frames, 3, SIZE_PX, SIZE_PX), np.uint8), **kwargs)


def make_reference(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)


def make_speech(duration_s: float = 0.8, seed: int = 2) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(round(16_000 * duration_s))).astype(np.float32)
